//! `smore eval`.

use super::options::{ChangesArgs, DeviceArgs, InferenceArgs, on};
use super::{Global, note, print, print_json};
use crate::eval::import;
use crate::graph::Split;
use crate::train::evaluate::{Evaluation, Queries, evaluate_saved};
use crate::train::{Observer, RunFolder};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

/// Arguments of `smore eval`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of a run
    run: PathBuf,
    /// Split to evaluate on: valid or test
    #[arg(long, default_value = "test", value_parser = parse_split)]
    split: Split,
    /// Structures to evaluate [default: the run's own]
    #[arg(long, value_name = "STRUCTURES")]
    structures: Option<String>,
    /// At most so many queries of a structure [default: the run's own]
    #[arg(long, value_name = "N")]
    queries: Option<usize>,
    /// Queries to evaluate instead: JSON lines or a folder of pickle files as `smore sample` writes them, the folder
    /// of another KGReasoning or BetaE data set, or SMORE's all-test-data.pkl
    #[arg(long, value_name = "FILE|FOLDER", conflicts_with_all = ["structures", "queries"])]
    query_set: Option<PathBuf>,
    #[command(flatten)]
    inference: InferenceArgs,
    #[command(flatten)]
    changes: ChangesArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

/// A split that has evaluation queries.
pub(super) fn parse_split(text: &str) -> Result<Split, String> {
    match text {
        "valid" => Ok(Split::Valid),
        "test" => Ok(Split::Test),
        _ => Err("expected valid or test".into()),
    }
}

/// Runs `smore eval`.
pub fn run(args: Args, global: &Global) -> anyhow::Result<()> {
    let folder = global.opened(RunFolder::open_with(&args.run, args.changes.changes())?)?;
    let mut config = args.inference.applied(folder.config()?)?;
    if let Some(structures) = args.structures {
        config.evaluation.structures = structures;
    }
    if let Some(queries) = args.queries {
        config.evaluation.queries = queries;
        config.evaluation.valid_queries = queries;
    }
    let cache = global.cache()?;
    let graph = folder.graph()?;
    let cache = cache.derived(graph.fingerprint());
    let queries = match &args.query_set {
        None => Queries::Drawn(&cache),
        Some(path) => {
            let mut set = import::read(path, &graph, args.split)?;
            set.notes.insert(0, format!("the queries are those of {}", path.display()));
            Queries::Given(set)
        }
    };
    // Nothing is lost by Ctrl-C here: it ends the process.
    static NEVER: AtomicBool = AtomicBool::new(false);
    let prepared = args.inference.prepare(&config, &folder, &graph, global)?;
    let (graph, config, split, inference) = (&graph, &config, args.split, prepared.inference.as_ref());
    let evaluation = Evaluation { graph, config, queries, split, inference, stop: &NEVER };
    let (report, meta) = on!(args.device.open(config.training.math, global)?, backend =>
        evaluate_saved(&backend, &folder, evaluation, &mut Notes)
    )?;
    if global.json {
        return print_json(&report);
    }
    note(format_args!("{} of step {} on {}", meta.model, crate::table::count(meta.step), graph.dataset()));
    print(report.render())
}

/// Passes notes on.
pub(super) struct Notes;

impl Observer for Notes {
    fn note(&mut self, text: &str) {
        note(format_args!("note: {text}"));
    }

    fn stage(&mut self, what: &str) {
        note(what);
    }

    fn work(&self) -> crate::progress::Progress {
        super::progress::printer()
    }
}
