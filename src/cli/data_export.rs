//! `smore data export`: a graph as a folder of triples.

use super::{Global, note, print_json, progress, shown};
use crate::dataset::export::dgl_ke;
use crate::graph::KnowledgeGraph;
use crate::table::bytes;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Arguments of `smore data export`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The folder is one of DGL-KE's Freebase: entity2id.txt and relation2id.txt (the count, then name<TAB>id), and train.txt, \
valid.txt and test.txt with ids as head<TAB>tail<TAB>relation. `smore data import FOLDER` makes the same graph of it, \
labels and hard negatives apart.")]
pub struct ExportArgs {
    /// Name of a dataset, folder, or graph file
    dataset: String,
    /// The folder to write; it must not have a train file yet
    folder: PathBuf,
}

/// Runs `smore data export`.
pub fn run(args: ExportArgs, global: &Global) -> anyhow::Result<()> {
    let graph = global.open(&args.dataset)?;
    let written = export(&graph, &args.folder)?;
    match global.json {
        true => print_json(
            &json!({ "dataset": graph.dataset(), "folder": shown(&args.folder), "bytes": written }),
        ),
        false => Ok(()),
    }
}

/// Writes the folder and reports it; returns its bytes.
pub(super) fn export(graph: &KnowledgeGraph, folder: &Path) -> anyhow::Result<u64> {
    let start = Instant::now();
    let written = dgl_ke(graph, folder, &progress::printer())?;
    note(format_args!(
        "wrote {} into {}, {:.2} s",
        bytes(written),
        folder.display(),
        start.elapsed().as_secs_f64()
    ));
    Ok(written)
}
