//! `smore bench train | eval | infer | sample`: speed of the parts, as the program runs them.

use super::options::{ConfigArgs, DeviceArgs, on};
use super::{Global, note, print, print_json};
use crate::backend::Backend;
use crate::config::Config;
use crate::eval::{ModelScorer, QueryOptions, Scorer, cache};
use crate::graph::{KnowledgeGraph, Split};
use crate::model::{self, Weights};
use crate::pipeline::{Pipeline, PipelineOptions};
use crate::process;
use crate::query::{Mix, Plan, Structure};
use crate::sampler::{Rejection, StructureStats};
use crate::table::{Table, count};
use clap::Subcommand;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Arguments of `smore bench`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: BenchCommand,
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    /// Training steps, sampling and optimizer included
    ///
    /// With what a step spends its time on, in microseconds (`step` in JSON): waiting for a batch; asking the device for its
    /// operations, on the CPU doing them; waiting for memory to copy a batch to the GPU from, because the GPU is behind;
    /// waiting for losses. On a GPU also kernels launched and library products a step, copies and bytes to the GPU, and the
    /// GPU's time: the median of every 16th step between two events, which includes pauses in which the GPU waits for the host.
    Train(super::bench_train::Args),
    /// Full-ranking evaluation of test queries by an untrained model
    Eval(EvalArgs),
    /// Inference over the links of a saved run, exact where it fits
    ///
    /// Test queries of each structure, answered once with rows made on the way, then again with rows kept (as far as --memory goes, or from
    /// the file of `smore infer`); by structure the rows that a query asks for, and the most bytes that its values take.
    Infer(super::bench_infer::Args),
    /// Drawing of training batches, without a model
    ///
    /// Every structure by itself, then the mix, on --threads workers. By structure: queries per second; draws that were
    /// thrown away per query, in a second table by reason; entities at the cut, mean and most; negatives that are answers
    /// and so masked, mean; bytes read per query (32 for where a row of the graph begins and ends, 8 for a fragment compared
    /// or listed, 4 for a tail walked or compared, 24 for a candidate that a relation leaves, 8 for an entity looked up in the
    /// pool), those of draws that were thrown away included.
    Sample(SampleArgs),
    /// The first training steps: their losses and a checksum of the tables, to be compared
    ///
    /// 20 steps, or --steps. Two versions of the program, or two numbers of threads, train alike where the checksums are
    /// the same. --output writes what another program needs to make the same steps: start.safetensors (all tables at the
    /// start), batches.safetensors (N.anchors, N.relations, N.positives, N.negatives, N.mask, N.weights of batch N; with
    /// 1vsall and kvsall N.heads, N.relations, N.label_offsets, N.labels) and steps.json (losses, configuration, and the
    /// structures of a batch as nested tuples with their number of queries).
    Steps(super::bench_steps::Args),
    /// Has become `cargo bench --bench kernels`
    #[command(hide = true, disable_help_flag = true)]
    Kernels {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
}

/// How long and how often.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Timing {
    /// Seconds of each run [default: so many that all of it takes about a minute and a half]
    #[arg(long, value_name = "S", value_parser = parse_seconds, allow_negative_numbers = true)]
    seconds: Option<f64>,
    /// Seconds before the first run [default: 5, shared by all that is measured]
    #[arg(long, value_name = "S", value_parser = parse_seconds, allow_negative_numbers = true)]
    warm_up: Option<f64>,
    /// Number of runs; the median is reported
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub runs: usize,
}

/// Seconds of all runs of a bench with its defaults.
const ALL_RUNS: f64 = 80.0;

impl Timing {
    /// Seconds of each run where so many things are measured one after the other.
    pub fn seconds(&self, things: usize) -> f64 {
        self.seconds.unwrap_or(ALL_RUNS / (self.runs.max(1) * things.max(1)) as f64)
    }

    /// Seconds before the first run of each.
    pub fn warm_up(&self, things: usize) -> f64 {
        self.warm_up.unwrap_or(5.0 / things.max(1) as f64)
    }
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.0..=86_400.0).contains(seconds));
    seconds.ok_or_else(|| "expected seconds, from 0 to 86400".into())
}

/// Arguments of `smore bench eval`.
#[derive(Debug, clap::Args)]
struct EvalArgs {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    timing: Timing,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Arguments of `smore bench sample`.
#[derive(Debug, clap::Args)]
struct SampleArgs {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    timing: Timing,
}

/// Runs `smore bench`.
pub fn run(args: Args, global: &Global) -> anyhow::Result<()> {
    match args.command {
        BenchCommand::Train(args) => super::bench_train::run(args, global),
        BenchCommand::Eval(args) => {
            let config = args.config.load()?.explicit();
            let device = args.device.open(config.training.math, global)?;
            on!(device, backend => eval(backend, config, args.timing, global))
        }
        BenchCommand::Sample(args) => sample(args, global),
        BenchCommand::Infer(args) => super::bench_infer::run(args, global),
        BenchCommand::Steps(args) => super::bench_steps::run(args, global),
        BenchCommand::Kernels { options } => anyhow::bail!(
            "operations are timed by themselves from smore's source folder: cargo bench --bench kernels{}{}",
            if options.is_empty() { "" } else { " -- " },
            options.join(" ")
        ),
    }
}

/// The middle of the sorted values.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Calls `body` once and until `seconds` have passed; the number of queries that it returned, a second.
fn rate(seconds: f64, mut body: impl FnMut() -> anyhow::Result<usize>) -> anyhow::Result<f64> {
    let (start, mut queries) = (Instant::now(), 0);
    loop {
        queries += body()?;
        if start.elapsed() >= Duration::from_secs_f64(seconds) {
            break;
        }
    }
    Ok(queries as f64 / start.elapsed().as_secs_f64())
}

/// Warms up and runs; the rates of the runs.
fn rates(
    timing: Timing,
    (what, number, of): (&str, usize, usize),
    mut body: impl FnMut() -> anyhow::Result<usize>,
) -> anyhow::Result<Vec<f64>> {
    let seconds = timing.seconds(of);
    if timing.warm_up(of) + seconds * timing.runs.max(1) as f64 > 2.0 {
        note(format_args!("measuring {what} ({} of {of})", number + 1));
    }
    rate(timing.warm_up(of), &mut body)?;
    (0..timing.runs.max(1)).map(|_| rate(seconds, &mut body)).collect()
}

fn eval<B: Backend>(backend: B, config: Config, timing: Timing, global: &Global) -> anyhow::Result<()> {
    let graph = global.open(&config.data.dataset)?;
    let model = model::create(&config.model)?;
    let mut weights = Weights::zeros(&backend, &*model, graph.num_entities(), graph.num_relations(), None)?;
    weights.start(&backend, &*model, config.training.seed)?;
    let structures: Vec<Structure> = config.training_mix()?.into_iter().map(|(s, _)| s).collect();
    for structure in &structures {
        model::check_expressible(&*model, &structure.to_string(), structure)?;
    }
    let options = QueryOptions {
        structures,
        max_queries: config.evaluation.queries,
        max_answers: config.evaluation.max_answers,
        seed: config.evaluation.seed,
    };
    let folder = crate::dataset::Cache::new(global.cache_dir.as_deref())?.derived(graph.fingerprint());
    let (set, _) =
        cache::load_or_generate(&graph, Split::Test, &options, &folder, &super::progress::watch())?;
    let scorer = ModelScorer::new(&backend, &*model, &weights);
    let mut per_structure = Map::new();
    let mut rows = Vec::new();
    let groups: Vec<_> = set.groups.iter().filter(|group| !group.is_empty()).collect();
    for (number, group) in groups.iter().enumerate() {
        let mut ranked = 0;
        let runs = rates(timing, (&group.structure.to_string(), number, groups.len()), || {
            ranked = scorer.rank(&group.all())?.len();
            Ok(group.len())
        })?;
        let queries = median(&runs);
        let name = group.structure.to_string();
        let answers = queries * ranked as f64 / group.len() as f64;
        rows.push((
            name.clone(),
            format!("{} queries/s, {} answers/s", count(queries as u64), count(answers as u64)),
        ));
        per_structure.insert(name, json!({
            "queries_per_second": queries, "answers_per_second": answers, "queries": group.len(), "runs": runs,
        }));
    }
    let document = json!({
        "benchmark": "eval", "structures": per_structure, "device": backend.describe(),
        "peak_resident_bytes": process::peak_resident_bytes(), "config": config,
    });
    let rows: Vec<(&str, String)> = rows.iter().map(|(name, text)| (name.as_str(), text.clone())).collect();
    show(
        global,
        &document,
        &format!("rank all entities, {} on {}", config.model.name, graph.dataset()),
        &rows,
    )
}

fn sample(args: SampleArgs, global: &Global) -> anyhow::Result<()> {
    let config = args.config.load()?.explicit();
    let graph = Arc::new(global.open(&config.data.dataset)?);
    let weighted = config.training_mix()?;
    let alone = weighted.iter().map(|(s, _)| (s.to_string(), vec![(s.clone(), 1.0)]));
    let mut results: Vec<(String, Sampled)> = Vec::new();
    let things = if weighted.len() > 1 { weighted.len() + 1 } else { 1 };
    for (number, (name, weighted)) in alone.enumerate() {
        let place = (name.as_str(), number, things);
        let sampled = sample_mix(&graph, &config, &weighted, args.timing, place, global)?;
        results.push((name, sampled));
    }
    // A mix of one structure is that structure.
    let mix = match &results[..] {
        [(_, only)] => only.clone(),
        _ => {
            let place = ("the mix", things - 1, things);
            sample_mix(&graph, &config, &weighted, args.timing, place, global)?
        }
    };
    results.push(("mix".into(), mix));
    if global.json {
        let structures: Map<String, Value> =
            results.iter().map(|(name, sampled)| (name.clone(), sampled.json())).collect();
        return print_json(&json!({
            "benchmark": "sample", "structures": structures, "threads": threads(global), "config": config,
        }));
    }
    let mut rates = Table::new().left("structure");
    for column in ["queries/s", "drawn again", "frontier mean", "max", "masked", "bytes"] {
        rates = rates.right(column);
    }
    results.iter().for_each(|(name, sampled)| rates.row(sampled.row(name)));
    print(rates)?;
    let met: Vec<Rejection> = Rejection::ALL
        .into_iter()
        .filter(|&reason| results.iter().any(|(_, sampled)| sampled.stats.rejections.of(reason) > 0))
        .collect();
    if met.is_empty() {
        return Ok(());
    }
    let mut reasons = Table::new().left("drawn again because of");
    for reason in &met {
        reasons = reasons.right(reason.name());
    }
    for (name, sampled) in &results {
        let shares = met.iter().map(|&reason| match sampled.stats.rejections.of(reason) {
            0 => "-".into(),
            count => format!("{:.3}", sampled.per_query(count)),
        });
        reasons.row(std::iter::once(name.clone()).chain(shares));
    }
    print("\n")?;
    print(reasons)
}

fn threads(global: &Global) -> usize {
    global.threads.map_or_else(rayon::current_num_threads, usize::from)
}

/// Rates of a mix on all threads, with what was drawn.
fn sample_mix(
    graph: &Arc<KnowledgeGraph>,
    config: &Config,
    weighted: &[(Structure, f64)],
    timing: Timing,
    place: (&str, usize, usize),
    global: &Global,
) -> anyhow::Result<Sampled> {
    let mix = Mix::new(weighted, config.training.batch_size)?;
    let plan = Arc::new(Plan::new(&mix)?);
    let options = PipelineOptions { workers: threads(global), ahead: 4, first: 0 };
    let mut pipeline = Pipeline::start(graph.clone(), &mix, plan, config.sampler_options(), options)?;
    let runs = rates(timing, place, || {
        let batch = pipeline.next()?;
        let queries = batch.positives.len();
        pipeline.recycle(batch);
        Ok(queries)
    })?;
    let mut stats = StructureStats::default();
    pipeline.stats().iter().for_each(|(_, of_structure)| stats.merge(of_structure));
    Ok(Sampled { runs, stats })
}

/// What workers drew of a mix, and how fast.
#[derive(Clone)]
struct Sampled {
    runs: Vec<f64>,
    stats: StructureStats,
}

impl Sampled {
    fn per_query(&self, sum: u64) -> f64 {
        sum as f64 / self.stats.drawn.max(1) as f64
    }

    fn row(&self, name: &str) -> [String; 7] {
        let StructureStats { rejections, frontier_sum, frontier_max, masked_sum, bytes, .. } = &self.stats;
        [
            name.into(),
            count(median(&self.runs).round() as u64),
            format!("{:.2}", self.per_query(rejections.total())),
            format!("{:.1}", self.per_query(*frontier_sum)),
            count(*frontier_max),
            format!("{:.1}", self.per_query(*masked_sum)),
            count(self.per_query(*bytes).round() as u64),
        ]
    }

    fn json(&self) -> Value {
        let StructureStats { drawn, rejections, frontier_sum, frontier_max, masked_sum, bytes, .. } =
            &self.stats;
        let by_reason: Map<String, Value> =
            Rejection::ALL.iter().map(|&r| (r.name().to_string(), json!(rejections.of(r)))).collect();
        json!({
            "queries_per_second": median(&self.runs),
            "runs": self.runs,
            "drawn": drawn,
            "rejections": by_reason,
            "frontier_mean": self.per_query(*frontier_sum),
            "frontier_max": frontier_max,
            "masked_mean": self.per_query(*masked_sum),
            "bytes_per_query": self.per_query(*bytes),
        })
    }
}

pub(super) fn show(
    global: &Global,
    document: &Value,
    title: &str,
    rows: &[(&str, String)],
) -> anyhow::Result<()> {
    if global.json {
        return print_json(document);
    }
    let mut table = Table::new().left(title).left("");
    rows.iter().for_each(|(what, value)| table.row([what.to_string(), value.clone()]));
    note("");
    print(table)
}
