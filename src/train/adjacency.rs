//! The adjacency of a run folder: the file that `smore infer` makes, found again by what it was made of.

use super::RunFolder;
use crate::error::Result;
use crate::graph::KnowledgeGraph;
use crate::inference::adjacency::{Adjacency, Origin, file_name};
use crate::inference::{Engine, Inference};
use crate::storage::checksum;
use crate::storage::mmap::Mapped;
use crate::storage::verified::Verified;
use std::path::PathBuf;

/// Where it is, or is going to be.
pub fn path(folder: &RunFolder, inference: &Inference) -> PathBuf {
    folder.file(&file_name(inference.options().evidence))
}

/// What it is made of. Reads the model's file.
pub fn origin(folder: &RunFolder, graph: &KnowledgeGraph, inference: &Inference) -> Result<Origin> {
    let model = Mapped::open(&folder.model()?)?;
    Ok(inference.origin(format!("{:016x}", checksum::section(model.bytes())), graph))
}

/// Inference with the rows of the folder's file, if it has one that fits; a note where it has one that does not.
///
/// # Errors
///
/// Where the file is damaged.
pub fn attach(
    inference: Inference,
    folder: &RunFolder,
    graph: &KnowledgeGraph,
    verified: &Verified,
) -> Result<(Inference, Option<String>)> {
    if inference.options().engine == Engine::Embedding {
        return Ok((inference, None));
    }
    match Adjacency::open(&path(folder, &inference), Some(verified))? {
        None => Ok((inference, None)),
        Some(adjacency) => {
            let origin = origin(folder, graph, &inference)?;
            Ok(inference.with_adjacency(adjacency, &origin))
        }
    }
}
