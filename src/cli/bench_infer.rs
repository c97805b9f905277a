//! `smore bench infer`: how fast a saved run's links answer queries, with rows made on the way and with rows kept.

use super::bench::median;
use super::options::{DeviceArgs, InferenceArgs, on};
use super::{Global, note, print, print_json};
use crate::backend::Backend;
use crate::config::Config;
use crate::eval::{ModelScorer, QueryOptions, Reasoned, Scorer, cache};
use crate::graph::{KnowledgeGraph, Split};
use crate::inference::{Inference, Trace};
use crate::process;
use crate::query::{Query, structure};
use crate::table::{Table, bytes, count};
use crate::train::RunFolder;
use crate::train::evaluate::{Loaded, load_model};
use crate::train::inference::Prepared;
use serde_json::{Map, json};
use std::path::PathBuf;
use std::time::Instant;

/// Arguments of `smore bench infer`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of a run
    run: PathBuf,
    /// Structures, by name or as tuples; "all" are the 14 named ones
    #[arg(long, value_name = "STRUCTURES", default_value = "all")]
    structures: String,
    /// At most so many test queries of a structure
    #[arg(long, value_name = "N", default_value_t = 20)]
    queries: usize,
    /// Times that the queries are answered again; the median is reported
    #[arg(long, value_name = "N", default_value_t = 5)]
    runs: usize,
    #[command(flatten)]
    inference: InferenceArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Runs `smore bench infer`.
pub fn run(args: Args, global: &Global) -> anyhow::Result<()> {
    let folder = global.opened(RunFolder::open(&args.run)?)?;
    let config = args.inference.applied(folder.config()?)?;
    let graph = folder.graph()?;
    let engine = config.inference.engine.over_links();
    let prepared = args.inference.prepare_engine(engine, &config, &folder, &graph, global)?;
    let Prepared { inference: Some(inference), .. } = prepared else {
        unreachable!("no embedding was asked for")
    };
    on!(args.device.open(config.training.math, global)?, backend => {
        let loaded = load_model(&backend, &graph, &config, &folder)?;
        measure(&backend, &loaded, &graph, &config, &inference, &args, global)
    })
}

fn measure<B: Backend>(
    backend: &B,
    loaded: &Loaded<B>,
    graph: &KnowledgeGraph,
    config: &Config,
    inference: &Inference,
    args: &Args,
    global: &Global,
) -> anyhow::Result<()> {
    let options = QueryOptions {
        structures: structure::all_or_listed(&args.structures)?,
        max_queries: args.queries,
        max_answers: config.evaluation.max_answers,
        seed: config.evaluation.seed,
    };
    let watch = super::progress::watch();
    let drawn = global.cache()?.derived(graph.fingerprint());
    let (set, _) = cache::load_or_generate(graph, Split::Test, &options, &drawn, &watch)?;
    let scorer = ModelScorer::new(backend, &*loaded.model, &loaded.weights);
    let propagation = inference.over(graph, &scorer, watch.clone());
    let reasoned = Reasoned::new(inference.over(graph, &scorer, watch.clone()), String::new());
    let mut table = Table::new().left("structure");
    for head in
        ["queries", "rows a query", "made, queries/s", "kept, queries/s", "ms a query", "values a query"]
    {
        table = table.right(head);
    }
    let (mut structures, mut totals) = (Map::new(), (0usize, 0u64, 0.0, 0.0));
    let mut row = |name: &str, queries: usize, rows: u64, cold: f64, warm: f64, memory: Option<usize>| {
        let rate = |seconds: f64| format!("{:.1}", queries as f64 / seconds);
        table.row([
            name.into(),
            count(queries),
            count(rows / queries as u64),
            rate(cold),
            rate(warm),
            format!("{:.2}", 1e3 * warm / queries as f64),
            memory.map_or("-".into(), |memory| bytes(memory as u64)),
        ]);
    };
    let wanted = || inference.row_stats().wanted;
    for group in set.groups.iter().filter(|group| !group.is_empty()) {
        let name = group.structure.to_string();
        note(format_args!("measuring {name}"));
        let before = wanted();
        let begun = Instant::now();
        reasoned.rank(&group.all())?;
        let (cold, rows) = (begun.elapsed().as_secs_f64(), wanted() - before);
        let mut times = Vec::new();
        for _ in 0..args.runs.max(1) {
            let begun = Instant::now();
            reasoned.rank(&group.all())?;
            times.push(begun.elapsed().as_secs_f64());
        }
        let warm = median(&times);
        let queries: Vec<Query> = (0..group.len()).map(|q| group.all().query(q)).collect();
        let traces = propagation.traces(&queries.iter().collect::<Vec<_>>())?;
        let memory = traces.iter().map(Trace::bytes).max().unwrap_or(0);
        row(&name, group.len(), rows, cold, warm, Some(memory));
        totals = (totals.0 + group.len(), totals.1 + rows, totals.2 + cold, totals.3 + warm);
        structures.insert(name, json!({
            "queries": group.len(), "rows_per_query": rows as f64 / group.len() as f64, "seconds_made": cold,
            "seconds_kept": warm, "runs": times, "queries_per_second": group.len() as f64 / warm, "value_bytes": memory,
        }));
    }
    let (queries, all_rows, cold, warm) = totals;
    if queries == 0 {
        anyhow::bail!("there are no test queries of these structures");
    }
    let rows = inference.row_stats();
    row("all", queries, all_rows, cold, warm, None);
    if global.json {
        return print_json(&json!({
            "benchmark": "infer", "inference": inference.options(), "structures": structures, "queries": queries,
            "queries_per_second": queries as f64 / warm, "seconds_made": cold, "seconds_kept": warm, "rows": rows,
            "device": backend.describe(), "peak_resident_bytes": process::peak_resident_bytes(),
        }));
    }
    note("");
    print(table)?;
    note(format_args!(
        "{}; {} of rows kept; at most {} resident",
        inference.options().describe(),
        bytes(rows.bytes),
        bytes(process::peak_resident_bytes().unwrap_or(0))
    ));
    Ok(())
}
