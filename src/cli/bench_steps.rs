//! `smore bench steps`: the first training steps, to be compared with those of another version, device or program.

use super::bench::show;
use super::options::{ConfigArgs, DeviceArgs, on};
use super::{Global, note};
use crate::backend::{Backend, Number, Parameters};
use crate::config::{Config, TableKind};
use crate::error::{Error, Result};
use crate::graph::KnowledgeGraph;
use crate::model::{self, Weights};
use crate::pipeline::{OneVsAllPipeline, Pipeline, PipelineOptions};
use crate::query::print::structure_tuple;
use crate::sampler::Batch;
use crate::storage::{atomic, checksum};
use crate::table::counted;
use crate::train::checkpoint::{self, Meta};
use crate::train::objective::Work;
use crate::train::objective::queries::query_weights;
use crate::train::{Learner, RunPlan};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Arguments of `smore bench steps`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// Write start.safetensors, batches.safetensors and steps.json to this folder
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

/// Steps where neither --steps nor --epochs are given: a document says how long a whole run is.
const STEPS: u64 = 20;

/// Runs `smore bench steps`.
pub fn run(mut args: Args, global: &Global) -> anyhow::Result<()> {
    if args.config.epochs.is_none() {
        args.config.steps.get_or_insert(STEPS);
    }
    let config = args.config.load()?.explicit();
    if config.training.table == TableKind::File {
        return Err(Error::invalid("bench steps compares tables in memory: leave out --table file").into());
    }
    on!(args.device.open(config.training.math, global)?, backend => steps(backend, config, args, global))
}

fn steps<B: Backend>(backend: B, config: Config, args: Args, global: &Global) -> anyhow::Result<()> {
    let graph = Arc::new(global.open(&config.data.dataset)?);
    let model = model::create(&config.model)?;
    let plan = RunPlan::new(&backend, &*model, &graph, &config)?;
    let (entities, relations) = (graph.num_entities(), graph.num_relations());
    let mut weights =
        Weights::zeros(&backend, &*model, entities, relations, Some(config.training.optimizer))?;
    weights.start_as(&backend, &*model, config.model.start, config.training.seed)?;
    if let Some(folder) = &args.output {
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
        let meta = Meta { model: model.spec().name.into(), ..Meta::default() };
        checkpoint::save(
            &folder.join("start.safetensors"),
            &backend,
            &*model,
            &weights,
            &meta,
            false,
            |_| Ok(()),
        )?;
        let batches = batches(&graph, &config, &plan)?;
        write(&folder.join("batches.safetensors"), &batches)?;
    }

    let mut learner = Learner::start(backend, model, weights, (&graph, &config, &plan), 0)?;
    let mut losses = Vec::new();
    for step in 1..=plan.steps {
        let rate = config.training.rate_at(step, plan.steps, 0);
        learner.step(&mut None, rate, step, step < plan.steps)?;
        if learner.step.is_full() || step == plan.steps {
            losses.extend(learner.step.losses()?);
        }
    }
    let tables = checksums(learner.step.backend(), &learner.step.weights.named(learner.step.model()))?;
    let all: String = tables.iter().map(|(name, sum)| format!("{name} {sum}\n")).collect();
    let bits: Vec<u8> = losses.iter().flat_map(|loss| loss.to_le_bytes()).collect();
    let (losses_sum, weights_sum) = (checksum::hex(&bits), checksum::hex(all.as_bytes()));
    let mix: Vec<(String, usize)> = match plan.work() {
        Work::Queries { mix, .. } => {
            mix.parts.iter().map(|(s, count)| (structure_tuple(s), *count)).collect()
        }
        Work::OneVsAll(_) => Vec::new(),
    };
    let document = json!({
        "benchmark": "steps",
        "losses": losses,
        "losses_checksum": losses_sum,
        "weights_checksum": weights_sum,
        "tables": tables.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        "mix": mix,
        "entities": entities,
        "relations": relations,
        "device": plan.device,
        "config": config,
    });
    if let Some(folder) = &args.output {
        let path = folder.join("steps.json");
        atomic::write_bytes(&path, &serde_json::to_vec_pretty(&document).expect("plain data"))?;
        note(format_args!("written to {}", folder.display()));
    }
    let last = losses.last().copied().unwrap_or(f64::NAN);
    let rows = [
        ("losses, first and last", format!("{:.6}, {last:.6}", losses.first().copied().unwrap_or(f64::NAN))),
        ("checksum of all losses", losses_sum),
        ("checksum of all tables with their optimizer's state", weights_sum),
    ];
    show(
        global,
        &document,
        &format!("{}, {} on {}", counted(plan.steps, "step", "steps"), plan.model, plan.dataset),
        &rows,
    )
}

/// A checksum of each table: its values, then what the optimizer keeps, as float32.
fn checksums<B: Backend>(backend: &B, tables: &[(String, &Parameters<B>)]) -> Result<Vec<(String, String)>> {
    let read = |buffer: &B::Buffer, len: usize| -> Result<Vec<f32>> {
        let mut host = vec![B::Scalar::default(); len];
        backend.download(buffer, 0, &mut host)?;
        Ok(host.into_iter().map(|x| B::Scalar::value(x) as f32).collect())
    };
    let of = |(name, table): &(String, &Parameters<B>)| {
        let mut numbers = read(&table.values, table.rows * table.cols)?;
        numbers.extend(read(&table.first, table.rows * table.state[0])?);
        numbers.extend(read(&table.second, table.rows * table.state[1])?);
        let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        Ok((name.clone(), checksum::hex(&bytes)))
    };
    tables.iter().map(of).collect()
}

/// A tensor of a batch.
struct Tensor {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Tensor {
    fn ids(batch: u64, name: &str, shape: Vec<usize>, ids: impl Iterator<Item = u32>) -> Self {
        // Signed, because PyTorch has few operations on unsigned numbers.
        let bytes = ids.flat_map(|id| i64::from(id).to_le_bytes()).collect();
        Tensor { name: format!("{batch}.{name}"), dtype: Dtype::I64, shape, bytes }
    }
}

/// The batches of the first steps. They depend on the seed alone, so these are the learner's.
fn batches(graph: &Arc<KnowledgeGraph>, config: &Config, plan: &RunPlan) -> Result<Vec<Tensor>> {
    let mut tensors = Vec::new();
    match plan.work() {
        Work::Queries { mix, compiled } => {
            let compiled = Arc::new(compiled.clone());
            let options = PipelineOptions { workers: 1, ahead: 1, first: 0 };
            let mut pipeline =
                Pipeline::start(graph.clone(), mix, compiled, config.sampler_options(), options)?;
            for number in 0..plan.steps {
                let batch = pipeline.next()?;
                add_queries(number, &batch, config, &mut tensors);
                pipeline.recycle(batch);
            }
        }
        Work::OneVsAll(options) => {
            let mut pipeline = OneVsAllPipeline::start(graph.clone(), *options, config.sampling.queue, 0)?;
            for number in 0..plan.steps {
                let batch = pipeline.next()?;
                let lists = [
                    ("heads", &batch.heads),
                    ("relations", &batch.relations),
                    ("label_offsets", &batch.label_offsets),
                    ("labels", &batch.labels),
                ];
                let lists = lists
                    .map(|(name, list)| Tensor::ids(number, name, vec![list.len()], list.iter().copied()));
                tensors.extend(lists);
                pipeline.recycle(batch);
            }
        }
    }
    Ok(tensors)
}

fn add_queries(number: u64, batch: &Batch, config: &Config, tensors: &mut Vec<Tensor>) {
    let (queries, pool) = (batch.positives.len(), batch.pool_size);
    let own = batch.negatives.len() != pool;
    let negatives = if own { vec![queries, pool] } else { vec![pool] };
    let weights = query_weights(batch, config.training.query_weighting());
    tensors.extend([
        Tensor::ids(number, "anchors", vec![batch.anchors.len()], batch.anchors.iter().map(|e| e.0)),
        Tensor::ids(number, "relations", vec![batch.relations.len()], batch.relations.iter().map(|r| r.0)),
        Tensor::ids(number, "positives", vec![queries], batch.positives.iter().map(|e| e.0)),
        Tensor::ids(number, "negatives", negatives, batch.negatives.iter().map(|e| e.0)),
        Tensor {
            name: format!("{number}.mask"),
            dtype: Dtype::U8,
            shape: vec![queries, pool],
            bytes: (0..queries * pool).map(|i| u8::from(batch.is_masked(i / pool, i % pool))).collect(),
        },
        Tensor {
            name: format!("{number}.weights"),
            dtype: Dtype::F32,
            shape: vec![queries],
            bytes: weights.flat_map(|weight| (weight as f32).to_le_bytes()).collect(),
        },
    ]);
}

fn write(path: &Path, tensors: &[Tensor]) -> Result<()> {
    let views = tensors.iter().map(|t| {
        let view = TensorView::new(t.dtype, t.shape.clone(), &t.bytes);
        (t.name.clone(), view.expect("as many bytes as its shape says"))
    });
    let bytes = safetensors::serialize(views, None).expect("names are distinct");
    atomic::write_bytes(path, &bytes)
}
