//! Inference of a saved run: the options of its configuration, the rows and the calibration that its folder has.

use super::RunFolder;
use super::calibration::{self, Entry, Of};
use crate::config::Config;
use crate::error::Result;
use crate::graph::KnowledgeGraph;
use crate::inference::adjacency::{Adjacency, file_name};
use crate::inference::{Engine, Inference, Options};
use crate::storage::checksum;
use crate::storage::mmap::Mapped;
use crate::storage::verified::Verified;
use std::path::PathBuf;

/// How the queries of a saved run are answered.
#[derive(Debug)]
pub struct Prepared {
    /// Inference; `None` where the model's embeddings answer.
    pub inference: Option<Inference>,
    /// What makes probabilities of scores, where that was calibrated.
    pub calibration: Option<Entry>,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// Prepares an engine by a run's configuration, with rows in at most `memory` bytes.
///
/// # Errors
///
/// Where exact inference does not fit; where a file of the folder is damaged.
pub fn prepare(
    folder: &RunFolder,
    graph: &KnowledgeGraph,
    config: &Config,
    engine: Engine,
    memory: u64,
    verified: &Verified,
) -> Result<Prepared> {
    let (entries, mut notes) = (calibration::read(folder)?, Vec::new());
    let mut options = Options { engine, ..config.inference_options() };
    let adjacency = match engine {
        Engine::Embedding => None,
        _ => Adjacency::open(&adjacency_path(folder, &options), Some(verified))?,
    };
    // Reads the model's file: not where nothing is compared with it.
    let model = match entries.is_empty() && adjacency.is_none() {
        true => String::new(),
        false => model_checksum(folder)?,
    };
    let answers = |options: &Options| -> Result<Of> {
        Ok(Of { model: model.clone(), options: options.resolved(graph.num_entities())? })
    };
    if !entries.is_empty() && config.inference.negation_scale.is_none() {
        let chosen = calibration::chosen_scale(&entries, &answers(&options)?);
        options.negation_scale = chosen.unwrap_or(options.negation_scale);
    }
    let calibration = calibration::find(entries, &answers(&options)?);
    if engine == Engine::Embedding {
        return Ok(Prepared { inference: None, calibration, notes });
    }
    let mut inference = Inference::new(options, graph.num_entities(), memory)?;
    if let Some(adjacency) = adjacency {
        let origin = inference.origin(model, graph);
        let (with, note) = inference.with_adjacency(adjacency, &origin);
        inference = with;
        notes.extend(note);
    }
    Ok(Prepared { inference: Some(inference), calibration, notes })
}

/// Checksum of the model's file, all of which is read.
pub fn model_checksum(folder: &RunFolder) -> Result<String> {
    let model = Mapped::open(&folder.model()?)?;
    Ok(format!("{:016x}", checksum::section(model.bytes())))
}

/// Where the adjacency of a run is, or is going to be.
pub fn adjacency_path(folder: &RunFolder, options: &Options) -> PathBuf {
    folder.file(&file_name(options.evidence))
}
