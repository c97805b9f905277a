//! The plan of `smore train`: as a table before a run begins, and by itself with `--dry-run`.

use super::{Global, note, print, print_json};
use crate::backend::Backend;
use crate::config::{Config, Objective};
use crate::graph::KnowledgeGraph;
use crate::model::Model;
use crate::program::Program;
use crate::sampler::Pooling;
use crate::table::{Table, bytes, count, counted};
use crate::train::pace::Usage;
use crate::train::plan::EvaluationCost;
use crate::train::{RunPlan, step};
use serde_json::json;
use std::path::Path;

/// What `smore train --dry-run` prints.
pub struct DryRun<'a> {
    /// The plan.
    pub plan: &'a RunPlan,
    /// The model.
    pub model: &'a dyn Model,
    /// The graph.
    pub graph: &'a KnowledgeGraph,
    /// The configuration.
    pub config: &'a Config,
    /// Why no GPU is used.
    pub no_gpu: Option<&'a str>,
    /// Where the run would go, or is.
    pub folder: &'a Path,
}

impl DryRun<'_> {
    /// Prints the plan, and the operations of a step where the user asks for them.
    pub fn print<B: Backend>(&self, with_program: bool, global: &Global) -> anyhow::Result<()> {
        let DryRun { plan, model, graph, config, no_gpu, folder } = *self;
        let program = || -> crate::error::Result<Program> {
            let tables = [graph.num_entities(), graph.num_relations()];
            Ok(step::write::<B>(model, tables, plan.work(), config)?.program)
        };
        if global.json {
            let mut document = json!({ "plan": plan, "config": config });
            if with_program {
                document["program"] = program()?.to_json();
            }
            return print_json(&document);
        }
        print(table(plan, config.training.batch_size, no_gpu, (folder, " (dry run: nothing is written)")))?;
        if with_program {
            let program = program()?;
            print(format_args!("\n{}", program.table_of_operations()))?;
            let memory = program.memory();
            note(format_args!(
                "a step: {}; arrays of {} share {}",
                counted(program.len(), "operation", "operations"),
                bytes(4 * program.num_numbers() as u64),
                bytes(4 * memory.numbers() as u64)
            ));
        }
        Ok(())
    }
}

/// The plan of a run as a table. `folder` says where the run goes, `no_gpu` why no GPU is used where one would have been.
pub fn table(plan: &RunPlan, batch_size: usize, no_gpu: Option<&str>, run_folder: (&Path, &str)) -> Table {
    let mut table = Table::new().left("plan").left("");
    let mut row = |what: &str, value: String| table.row([what.into(), value]);
    row(
        "graph",
        format!(
            "{}: {}, {}, {} ({} mapped)",
            plan.dataset,
            counted(plan.num_entities, "entity", "entities"),
            counted(plan.num_relations, "relation", "relations"),
            counted(plan.num_edges, "directed edge", "directed edges"),
            bytes(plan.mapped_bytes)
        ),
    );
    row("model", format!("{}, d = {}, {} parameters", plan.model, plan.dim, count(plan.num_parameters)));
    let (batch, unit) = match plan.objective {
        Objective::Queries | Objective::Negatives => {
            let mix: Vec<String> = plan.batch.iter().map(|(s, n)| format!("{s} {n}")).collect();
            let pool = match plan.pool {
                Pooling::Shared => "shared negatives",
                Pooling::Own => "negatives for each query",
            };
            (format!("{}; {} {pool}", mix.join(", "), count(plan.negatives)), "queries".to_string())
        }
        Objective::OneVsAll | Objective::KvsAll => (
            format!("{} {}, each against all entities", count(batch_size), plan.batch[0].0),
            plan.batch[0].0.clone(),
        ),
    };
    row("batch", batch);
    row("length", format!("{} of {} {unit}", counted(plan.steps, "step", "steps"), count(batch_size)));
    let compared = match plan.compared_bytes {
        0 => String::new(),
        compared => format!(", {} to evaluate", bytes(compared as u64)),
    };
    let tables = format!(
        "{} parameters, {} optimizer{compared}",
        bytes(plan.parameter_bytes as u64),
        bytes(plan.optimizer_bytes as u64)
    );
    let drawing = match plan.popularity_bytes {
        0 => String::new(),
        drawing => format!(", {} to draw by degree", bytes(drawing as u64)),
    };
    let (device, host) = (plan.device_bytes() as u64, plan.host_bytes() as u64);
    let (buffers, batches) = (plan.buffer_bytes as u64, plan.batch_bytes as u64);
    if plan.on_host {
        let buffers = bytes(buffers + batches);
        row("memory", format!("{}: {tables}, {buffers} buffers{drawing}", bytes(device + host)));
    } else {
        row("GPU memory", format!("{}: {tables}, {} buffers", bytes(device), bytes(buffers)));
        row("host memory", format!("{}: batches that wait{drawing}", bytes(host)));
    }
    if plan.table_bytes > 0 {
        let file = run_folder.0.join(crate::train::row_file::NAME);
        row(
            "entity rows",
            format!("{} with optimizer, mapped from {}", bytes(plan.table_bytes), file.display()),
        );
    }
    row("evaluation", scores(&plan.evaluation));
    let no_gpu = no_gpu.map(|why| format!("; no GPU is used: {why}"));
    row("device", plan.device.clone() + &no_gpu.unwrap_or_default());
    let (folder, remark) = run_folder;
    row("run folder", format!("{}{remark}", folder.display()));
    table
}

/// What evaluations take at most, as a row of the plan.
fn scores(cost: &EvaluationCost) -> String {
    let number = |scores: f64| if scores < 1e6 { count(scores as u64) } else { format!("{scores:.1e}") };
    let links = match cost.link_prediction_scores {
        0.0 => String::new(),
        scores => format!(", link prediction {}", number(scores)),
    };
    format!(
        "at most {} scores on valid, {}; {} on test{links}",
        number(cost.valid_scores),
        counted(cost.valid_evaluations, "time", "times"),
        number(cost.test_scores)
    )
}

/// What training took, as a line.
pub fn spent(usage: &Usage) -> String {
    format!(
        "trained {}; at most {} of memory and {} of mapped pages were resident; page faults: {} minor, {} major",
        usage.rate,
        bytes(usage.anonymous_bytes),
        bytes(usage.mapped_bytes),
        count(usage.page_faults.minor),
        count(usage.page_faults.major)
    )
}
