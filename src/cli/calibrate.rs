//! `smore calibrate`: probabilities of answers, and sets that hold an answer as often as they say.

use super::eval::Notes;
use super::options::{ChangesArgs, DeviceArgs, InferenceArgs, on};
use super::{Global, note, print, print_json, progress, shown};
use crate::eval::ModelScorer;
use crate::eval::calibrate::Tested;
use crate::table::{Table, count};
use crate::train::calibrate::{Task, calibrate};
use crate::train::calibration::{self, Entry};
use crate::train::evaluate::load_model;
use crate::train::inference::model_checksum;
use crate::train::{RunFolder, examples};
use serde_json::json;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

/// Arguments of `smore calibrate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Validation queries teach, for each structure, how probable a candidate (an answer that was not observed) is by its score, and how \
far down an answer may stand. Test queries show what that is worth. The negation scale is chosen on validation queries too, unless it is given. \
All of it goes to calibration.json in the run folder: `smore query` then shows probabilities, and takes --min-probability and --coverage. \
Ranks stay what they are.")]
pub struct Args {
    /// Folder of a run
    run: PathBuf,
    /// Structures to calibrate [default: as `smore eval`]
    #[arg(long, value_name = "STRUCTURES")]
    structures: Option<String>,
    /// At most so many validation queries of a structure [default: the run's own]
    #[arg(long, value_name = "N")]
    queries: Option<usize>,
    /// At most so many test queries of a structure [default: the run's own]
    #[arg(long, value_name = "N")]
    test_queries: Option<usize>,
    /// Share of answers that sets are to hold when they are tested
    #[arg(long, value_name = "SHARE", default_value_t = 0.9, value_parser = parse_coverage)]
    coverage: f64,
    #[command(flatten)]
    inference: InferenceArgs,
    #[command(flatten)]
    changes: ChangesArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

/// A share between 0 and 1, both excluded.
pub(super) fn parse_coverage(text: &str) -> Result<f64, String> {
    let share = text.trim().parse().ok().filter(|share: &f64| *share > 0.0 && *share < 1.0);
    share.ok_or_else(|| "expected a number between 0 and 1".into())
}

/// Runs `smore calibrate`.
pub fn run(args: Args, global: &Global) -> anyhow::Result<()> {
    let folder = global.opened(RunFolder::open_with(&args.run, args.changes.changes())?)?;
    let mut config = args.inference.applied(folder.config()?)?;
    let evaluation = &mut config.evaluation;
    evaluation.structures = args.structures.unwrap_or(evaluation.structures.clone());
    evaluation.valid_queries = args.queries.unwrap_or(evaluation.valid_queries);
    evaluation.queries = args.test_queries.unwrap_or(evaluation.queries);
    let graph = folder.graph()?;
    let prepared = args.inference.prepare(&config, &folder, &graph, global)?;
    // Of embeddings: what explains the examples.
    let engine = config.inference.engine.over_links();
    let reasons = match &prepared.inference {
        Some(_) => None,
        None => args.inference.prepare_engine(engine, &config, &folder, &graph, global)?.inference,
    };
    let cache = global.cache()?.derived(graph.fingerprint());
    static NEVER: AtomicBool = AtomicBool::new(false);
    let entry = on!(args.device.open(config.training.math, global)?, backend => {
        let loaded = load_model(&backend, &graph, &config, &folder)?;
        let task = Task {
            graph: &graph,
            config: &config,
            inference: prepared.inference.as_ref(),
            model: model_checksum(&folder)?,
            cache: &cache,
            coverage: args.coverage,
            stop: &NEVER,
        };
        let entry = calibrate(&backend, &loaded, task, &mut Notes)?;
        let scorer = ModelScorer::new(&backend, &*loaded.model, &loaded.weights);
        let inference = prepared.inference.as_ref().or(reasons.as_ref()).expect("one of them was prepared");
        let watch = progress::watch();
        let answered = examples::answer(&scorer, &graph, &config, inference, &cache, &watch, &mut Notes)?;
        examples::write(&folder, &answered)?;
        entry
    });
    calibration::add(&folder, entry.clone())?;
    let path = folder.file(calibration::NAME);
    if global.json {
        return print_json(&json!({ "output": shown(&path), "calibration": entry }));
    }
    print(render(&entry))?;
    note(format_args!("written to {}", path.display()));
    Ok(())
}

fn render(entry: &Entry) -> String {
    let options = &entry.of.options;
    let mut text = format!("{}\n\n", options.describe());
    if !entry.negation_scales.is_empty() {
        let mut table = Table::new().right("negation scale").right("MRR on valid").left("");
        for (scale, mrr) in &entry.negation_scales {
            let chosen = if *scale == options.negation_scale { "chosen" } else { "" };
            table.row([scale.to_string(), format!("{:.2}", 100.0 * mrr), chosen.into()]);
        }
        text += &format!("{table}\n");
    }
    let mut table = Table::new().left("structure").right("valid").left("curve");
    for head in ["test"].into_iter().chain(Tested::HEADS) {
        table = table.right(head);
    }
    for (name, calibrated) in entry.in_order() {
        let mut row = vec![name.clone(), count(calibrated.queries), calibrated.curve.method().into()];
        match &calibrated.tested {
            None => row.extend(["-"; 9].map(String::from)),
            Some(tested) => {
                row.push(count(tested.coverage.queries));
                row.extend(tested.cells());
            }
        }
        table.row(row);
    }
    text += &format!(
        "{table}\nin percent, but for sizes; learnt on valid, judged on test; a candidate is an entity that is no observed answer\n\
         ECE: expected calibration error over the {} best candidates of each query in ten bins; constant: the share of answers on valid for all\n\
         coverage: share of test queries of which one hard answer, drawn at random, is in a set that is to hold it with {:.0} %; size: its candidates\n",
        crate::eval::calibration::CANDIDATES,
        100.0 * entry.coverage(),
    );
    text
}
