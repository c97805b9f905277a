//! What a run is going to do and how much memory it takes, worked out before anything is allocated.

use super::objective::{Work, one_vs_all};
use super::{step, tables};
use crate::backend::{Backend, cpu, on_host};
use crate::config::{Config, Objective, TableKind};
use crate::error::{Error, Result};
use crate::eval::link_prediction;
use crate::graph::{KnowledgeGraph, Split};
use crate::model::{Model, check_expressible, compared_width, plan, uses_set_networks};
use crate::process;
use crate::program::Program;
use crate::query::{Mix, Plan, Structure, structure};
use crate::sampler::epoch::EdgeIndex;
use crate::sampler::{Direction, Pooling, Unit};
use crate::table::bytes;
use serde::Serialize;

/// The plan of a run.
#[derive(Clone, Debug, Serialize)]
pub struct RunPlan {
    /// Name of the dataset.
    pub dataset: String,
    /// Entities of the graph.
    pub num_entities: usize,
    /// Relations, not counting inverses.
    pub num_relations: usize,
    /// Directed training edges, inverses counted.
    pub num_edges: usize,
    /// Name of the model.
    pub model: String,
    /// Embedding dimension.
    pub dim: usize,
    /// Trained numbers.
    pub num_parameters: usize,
    /// What is learnt.
    pub objective: Objective,
    /// Structures of a batch with their numbers of queries, or its triples or pairs.
    pub batch: Vec<(String, usize)>,
    /// Negatives of a query; all entities with 1vsAll and KvsAll.
    pub negatives: usize,
    /// Whether the queries of a batch share them.
    pub pool: Pooling,
    /// Steps of the run.
    pub steps: u64,
    /// Device and instruction set.
    pub device: String,
    /// Bytes of the tables of rows and networks, rows in a file apart.
    pub parameter_bytes: usize,
    /// Bytes of the optimizer's state, rows in a file apart.
    pub optimizer_bytes: usize,
    /// Bytes of the file of entity rows with their moments; 0 where they are in memory.
    pub table_bytes: u64,
    /// Bytes of all entities as evaluations compare them, where a model makes something of their rows first.
    pub compared_bytes: usize,
    /// Bytes of the buffers of a step.
    pub buffer_bytes: usize,
    /// Bytes in the host's memory by which answers and negatives are drawn by their degree.
    pub popularity_bytes: usize,
    /// Bytes in the host's memory of the batches that wait or are made, and of what they are drawn from.
    pub batch_bytes: usize,
    /// Whether the device works in the host's memory.
    pub on_host: bool,
    /// Bytes of the graph file, mapped: the system takes them back when it needs memory.
    pub mapped_bytes: u64,
    /// Structures that are evaluated.
    pub evaluated: Vec<String>,
    /// What the evaluations take.
    pub evaluation: EvaluationCost,
    #[serde(skip)]
    work: Work,
    #[serde(skip)]
    pub(super) evaluated_structures: Vec<Structure>,
}

/// How many scores evaluations take at most: a query is scored against every entity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct EvaluationCost {
    /// Evaluations on valid in the whole run.
    pub valid_evaluations: u64,
    /// Scores of one evaluation on valid.
    pub valid_scores: f64,
    /// Scores of the multi-hop test.
    pub test_scores: f64,
    /// Scores of link prediction on test; 0 where it is not evaluated.
    pub link_prediction_scores: f64,
}

impl EvaluationCost {
    fn new(structures: &[Structure], graph: &KnowledgeGraph, config: &Config, steps: u64) -> Self {
        let (entities, evaluation) = (graph.num_entities() as f64, &config.evaluation);
        let scores = |split: Split, queries: usize| match graph.split(split).num_edges() {
            0 => 0.0,
            _ => structures.len() as f64 * queries as f64 * entities,
        };
        let test_edges = graph.split(Split::Test).num_edges() as f64;
        let valid_scores = match config.training.objective {
            Objective::Queries => scores(Split::Valid, evaluation.valid_queries),
            Objective::Negatives | Objective::OneVsAll | Objective::KvsAll => {
                graph.split(Split::Valid).num_edges() as f64 * entities
            }
        };
        EvaluationCost {
            valid_evaluations: steps.div_ceil(config.training.valid_interval(steps)),
            valid_scores,
            test_scores: scores(Split::Test, evaluation.queries),
            link_prediction_scores: if evaluation.link_prediction { test_edges * entities } else { 0.0 },
        }
    }
}

impl RunPlan {
    /// Works everything out; errors name what the model cannot express or the options that clash.
    pub fn new<B: Backend>(
        backend: &B,
        model: &dyn Model,
        graph: &KnowledgeGraph,
        config: &Config,
    ) -> Result<Self> {
        let work = match config.training.objective {
            Objective::Queries | Objective::Negatives => Self::queries(model, config)?,
            Objective::OneVsAll | Objective::KvsAll => Work::OneVsAll(one_vs_all::options(config)),
        };
        crate::model::penalty(model, config.regulariser())?;
        if config.training.relation_prediction > 0.0 && !model.spec().is_multilinear {
            return Err(Error::invalid(format!(
                "relations are predicted by models whose score is linear in head, relation and tail, and that of {} is \
                 not: use complex, distmult, rescal or tucker, or training.relation_prediction = 0",
                model.spec().name
            )));
        }
        let evaluated_structures = evaluated(model, config)?;
        let num_edges = graph.split(Split::Train).num_edges();
        if num_edges == 0 {
            return Err(Error::invalid("the training graph has no edges"));
        }

        let widths = model.spec().widths;
        let in_file = config.training.table == TableKind::File;
        if in_file && !on_host(backend) {
            return Err(Error::invalid(format!(
                "rows in a file are for the CPU, and this is {}: add --device cpu, or use --table memory",
                backend.describe()
            )));
        }
        let parameters = &model.spec().parameters;
        let num_parameters = graph.num_entities() * widths.entity
            + graph.num_relations() * widths.relation
            + parameters.iter().map(|p| p.rows * p.cols).sum::<usize>();
        let in_memory = num_parameters - if in_file { graph.num_entities() * widths.entity } else { 0 };
        let state =
            |rows: usize, cols: usize| rows * config.training.optimizer.state(cols).iter().sum::<usize>();
        let steps = match &work {
            // An epoch has every edge of its direction.
            Work::Queries { .. } if config.training.objective == Objective::Negatives => {
                let both = config.sampling.direction == Direction::Both;
                config.training.num_steps(if both { num_edges } else { num_edges / 2 })
            }
            Work::Queries { .. } => config.training.num_steps(num_edges),
            Work::OneVsAll(options) => {
                let units = options.units(graph.split(Split::Train));
                config.training.num_steps_of(options.batches(units))
            }
        };
        let drawn_by_degree = [config.sampling.answer_exponent, config.sampling.negative_exponent]
            .map(|e| usize::from(e != 0.0));
        let (buffer_bytes, batch_bytes) = Self::bytes_of_work(backend, model, graph, config, &work)?;
        let batch = match &work {
            Work::Queries { mix, .. } => mix.parts.iter().map(|(s, count)| (s.to_string(), *count)).collect(),
            Work::OneVsAll(options) => {
                let unit = if options.unit == Unit::Triple { "triples" } else { "pairs" };
                vec![(unit.to_string(), options.batch_size)]
            }
        };
        let negatives =
            if matches!(work, Work::OneVsAll(_)) { graph.num_entities() } else { config.sampling.negatives };
        let plan = RunPlan {
            dataset: graph.dataset().to_string(),
            num_entities: graph.num_entities(),
            num_relations: graph.num_relations() / 2,
            num_edges,
            model: model.spec().name.to_string(),
            dim: config.model.dim,
            num_parameters,
            batch,
            objective: config.training.objective,
            negatives,
            pool: config.sampling.pool,
            steps,
            device: backend.describe(),
            parameter_bytes: 4 * in_memory,
            optimizer_bytes: 4 * state(graph.num_relations(), widths.relation)
                + if in_file { 0 } else { 4 * state(graph.num_entities(), widths.entity) }
                + 4 * parameters.iter().map(|p| state(p.rows, p.cols)).sum::<usize>(),
            table_bytes: if in_file { tables::layout(model, graph, config).file_bytes() } else { 0 },
            // An alias table; its weights are freed when it is made.
            popularity_bytes: 8 * graph.num_entities() * drawn_by_degree.iter().sum::<usize>(),
            compared_bytes: 4 * graph.num_entities() * compared_width(model).unwrap_or(0),
            buffer_bytes,
            batch_bytes,
            on_host: on_host(backend),
            mapped_bytes: graph.size_in_bytes(),
            evaluated: evaluated_structures.iter().map(ToString::to_string).collect(),
            evaluation: EvaluationCost::new(&evaluated_structures, graph, config, steps),
            work,
            evaluated_structures,
        };
        plan.check_memory(backend, in_file)?;
        Ok(plan)
    }

    /// Bytes of a step's arrays and indices, and of the batches that wait or are made, with what they are drawn from.
    fn bytes_of_work<B: Backend>(
        backend: &B,
        model: &dyn Model,
        graph: &KnowledgeGraph,
        config: &Config,
        work: &Work,
    ) -> Result<(usize, usize)> {
        let tables = [graph.num_entities(), graph.num_relations()];
        let program = step::write::<B>(model, tables, work, config)?.program;
        let buffer_bytes = step_bytes(&program, on_host(backend));
        let batch_bytes = match work {
            Work::Queries { compiled, .. } => {
                let edges = match config.training.objective {
                    Objective::Negatives => EdgeIndex::bytes(graph.num_entities()),
                    _ => 0,
                };
                waiting_bytes(compiled, config, on_host(backend)) + edges
            }
            Work::OneVsAll(options) => {
                // Of each unit: what it is, its place in the permutation; of each row of a batch its ids, its places in
                // groups, and its labels.
                let (units, batch) = (options.units(graph.split(Split::Train)), 40 * options.max_rows());
                16 * units + (config.sampling.queue + 1) * batch
            }
        };
        Ok((buffer_bytes, batch_bytes))
    }

    /// Refuses what does not fit into the memory that there is.
    fn check_memory<B: Backend>(&self, backend: &B, in_file: bool) -> Result<()> {
        let plan = self;
        let lower = "lower model.dim, training.batch_size or sampling.negatives";
        let (device, mut host) = (plan.device_bytes(), plan.host_bytes());
        match backend.memory() {
            Some(present) if device as u64 > present => {
                let message = format!(
                    "this run needs {} of the GPU's memory and it has {}: {lower}, or use --device cpu ({})",
                    bytes(device as u64),
                    bytes(present),
                    backend.describe()
                );
                return Err(Error::OutOfMemory { needed: device as u64, message });
            }
            Some(_) => {}
            None => host += device,
        }
        if let Some(limit) = process::memory_limit().filter(|limit| host as u64 > limit.bytes) {
            let in_memory = plan.on_host && !in_file;
            let message = format!(
                "this run needs {} of memory, and {limit}: {lower}{}, or {}",
                bytes(host as u64),
                if in_memory { ", keep the entity rows in a file with --table file" } else { "" },
                limit.remedy()
            );
            return Err(Error::OutOfMemory { needed: host as u64, message });
        }
        Ok(())
    }

    /// What batches are made of.
    pub fn work(&self) -> &Work {
        &self.work
    }

    fn queries(model: &dyn Model, config: &Config) -> Result<Work> {
        let weighted = config.training_mix()?;
        for (structure, _) in &weighted {
            check_expressible(model, &structure.to_string(), structure)?;
        }
        let mix = Mix::new(&weighted, config.training.batch_size)?;
        let compiled = plan(model, &mix)?;
        Ok(Work::Queries { mix, compiled })
    }

    /// Bytes that are allocated where the device works, without what is mapped.
    pub fn device_bytes(&self) -> usize {
        self.parameter_bytes + self.optimizer_bytes + self.compared_bytes + self.buffer_bytes
    }

    /// Bytes that are allocated in the host's memory besides.
    pub fn host_bytes(&self) -> usize {
        self.batch_bytes + self.popularity_bytes
    }
}

/// Copies of a batch's ids on the device: while one is worked on, the next one comes.
const COPIES: usize = 2;

/// Bytes of a step's arrays and indices: what [`Workspace`](crate::backend::Workspace) allocates, and on the host what
/// the backward pass of scores takes besides.
fn step_bytes(program: &Program, on_host: bool) -> usize {
    let memory = program.memory();
    let scratch = if on_host { cpu::score::scratch_numbers(program.ops()) } else { 0 };
    4 * (memory.numbers() + scratch + COPIES * memory.index_numbers)
}

/// Bytes of the batches of queries that wait or are made, in the host's memory.
fn waiting_bytes(compiled: &Plan, config: &Config, on_host: bool) -> usize {
    let queries = compiled.num_queries;
    let negatives = config.sampling.num_negatives(queries);
    let (anchors, uses) = (compiled.anchors.len(), compiled.relation_uses.len());
    let rows = anchors + queries + negatives;
    // Of each row: its number, its place in a group, and at worst a group of its own.
    let batch = 4 * (4 * rows + negatives + 4 * uses) + queries * config.sampling.negatives / 8;
    // Those that are made have their numbers twice.
    (config.sampling.queue + 2 * config.sampling.num_workers(on_host) + 1) * batch
}

/// Whether a run's training never passed through the networks that `structure` needs, so that they are what they were at
/// the start: after single-hop training, and where no training structure combines sets.
pub fn is_untrained(model: &dyn Model, config: &Config, structure: &Structure) -> bool {
    let trains = |mix: Vec<(Structure, f64)>| mix.iter().any(|(s, _)| uses_set_networks(model, s));
    uses_set_networks(model, structure)
        && (config.training.objective != Objective::Queries || !config.training_mix().is_ok_and(trains))
}

/// Why networks were not trained, in words.
pub fn why_untrained(config: &Config) -> String {
    match config.training.objective {
        Objective::Queries => format!("sampling.structures = {}", config.sampling.structures),
        other => format!("training.objective = {}", other.name()),
    }
}

/// The structures that are evaluated; "all" is every named one that the model can express and whose networks were trained,
/// after single-hop training one hop alone.
pub fn evaluated(model: &dyn Model, config: &Config) -> Result<Vec<Structure>> {
    let text = config.evaluation.structures.as_str();
    if text == "all" && config.training.objective != Objective::Queries {
        return Ok(vec![link_prediction::one_hop()]);
    }
    if text == "all" {
        let named = structure::named().iter();
        let expressible = named
            .filter(|(name, s)| check_expressible(model, name, s).is_ok() && !is_untrained(model, config, s));
        return Ok(expressible.map(|(_, s)| s.clone()).collect());
    }
    let structures: Vec<Structure> =
        crate::query::parse_structures(text)?.into_iter().map(|(structure, _)| structure).collect();
    for structure in &structures {
        check_expressible(model, &structure.to_string(), structure)?;
    }
    Ok(structures)
}
