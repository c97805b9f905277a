//! `smore infer`: the truth of every link of a run's model, in a file of its folder.

use super::options::{ChangesArgs, DeviceArgs, InferenceArgs, on};
use super::{Global, note, print, print_json, progress, shown};
use crate::config::TableKind;
use crate::eval::ModelScorer;
use crate::inference::adjacency::{self, Adjacency, Plan};
use crate::inference::{Engine, Inference, Options};
use crate::table::{Table, bytes, count};
use crate::train::RunFolder;
use crate::train::evaluate::{Loaded, load_model};
use crate::train::inference::{adjacency_path, model_checksum};
use anyhow::bail;
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;

/// Arguments of `smore infer`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The file holds, for each entity and each relation in both directions, the tails whose truth is not below \
inference.row_threshold. `smore eval`, `smore query` and the library use it for beam and exact inference where it was made of the \
same model with the same evidence, threshold and temperature; else they make rows as they need them.")]
pub struct Args {
    /// Folder of a run
    run: PathBuf,
    /// Print how large the file is going to be, and end
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    inference: InferenceArgs,
    #[command(flatten)]
    changes: ChangesArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Runs `smore infer`.
pub fn run(args: Args, global: &Global) -> anyhow::Result<()> {
    let folder = global.opened(RunFolder::open_with(&args.run, args.changes.changes())?)?;
    let config = args.inference.applied(folder.config()?)?;
    let graph = folder.graph()?;
    if config.training.table == TableKind::File {
        bail!(
            "{}: its entity rows are in a file that changes in place: smore infer is for rows in memory",
            args.run.display()
        );
    }
    let memory = Inference::default_memory();
    let options = Options { engine: Engine::Exact, ..config.inference_options() };
    let inference = Inference::new(options, graph.num_entities(), memory)?;
    let path = adjacency_path(&folder, inference.options());
    on!(args.device.open(config.training.math, global)?, backend => {
        let Loaded { model, weights, .. } = load_model(&backend, &graph, &config, &folder)?;
        let scorer = ModelScorer::new(&backend, &*model, &weights);
        let watch = progress::watch();
        let propagation = inference.over(&graph, &scorer, watch.clone());
        let begun = Instant::now();
        let plan = Plan::new(&propagation.rows, graph.num_relations())?;
        let sampled = begun.elapsed();
        let options = inference.options();
        let mut table = Table::new().left("plan").left("");
        table.row(["rows".into(), format!(
            "{}: {} entities, {} directed relations", count(plan.rows), count(graph.num_entities()),
            count(graph.num_relations())
        )]);
        table.row(["truth".into(), format!(
            "evidence {}, links below {} are cut", options.evidence.name(), options.row_threshold
        )]);
        table.row(["file".into(), format!(
            "{}, about {} give or take {}, by some rows", path.display(), bytes(plan.bytes), bytes(plan.plus_or_minus)
        )]);
        if !global.json {
            print(&table)?;
        }
        if args.dry_run {
            if global.json {
                print_json(&json!({ "output": shown(&path), "plan": plan, "options": options }))?;
            }
            return Ok(());
        }
        let origin = inference.origin(model_checksum(&folder)?, &graph);
        let report = |done| watch.progress.report("making rows", done, plan.rows);
        let written =
            adjacency::write(&path, &propagation.rows, graph.num_relations(), &origin, plan.bytes, &mut {report})?;
        let made = Adjacency::open(&path, Some(&global.cache()?.verified()))?;
        let links = made.map_or(0, |made| made.num_links());
        let took = begun.elapsed().saturating_sub(sampled);
        if global.json {
            let rate = plan.rows as f64 / took.as_secs_f64();
            return print_json(&json!({
                "output": shown(&path), "plan": plan, "options": options, "links": links, "bytes": written,
                "seconds": took.as_secs_f64(), "rows_per_second": rate,
            }));
        }
        note(format_args!(
            "{} links in {}, made in {}: {}", count(links), bytes(written), crate::table::duration(took), path.display()
        ));
        Ok(())
    })
}
