//! What a run is going to do and how much memory it takes, worked out before anything is allocated.

use crate::backend::Backend;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::graph::{KnowledgeGraph, Split};
use crate::model::{Model, check_expressible};
use crate::process;
use crate::query::{Mix, Plan, Structure, structure};
use crate::sampler::Pooling;
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
    /// Structures of a batch with their numbers of queries.
    pub batch: Vec<(String, usize)>,
    /// Negatives of a query.
    pub negatives: usize,
    /// Whether the queries of a batch share them.
    pub pool: Pooling,
    /// Steps of the run.
    pub steps: u64,
    /// Device and instruction set.
    pub device: String,
    /// Bytes of the tables of rows and networks.
    pub parameter_bytes: usize,
    /// Bytes of the optimizer's moments.
    pub optimizer_bytes: usize,
    /// Bytes of the buffers of a step and of the batches that wait.
    pub buffer_bytes: usize,
    /// Bytes of the graph file, mapped: the system takes them back when it needs memory.
    pub mapped_bytes: u64,
    /// Structures that are evaluated.
    pub evaluated: Vec<String>,
    #[serde(skip)]
    mix: Mix,
    #[serde(skip)]
    compiled: Plan,
    #[serde(skip)]
    pub(super) evaluated_structures: Vec<Structure>,
}

impl RunPlan {
    /// Works everything out; errors name what the model cannot express or the options that clash.
    pub fn new<B: Backend>(
        backend: &B,
        model: &dyn Model<B>,
        graph: &KnowledgeGraph,
        config: &Config,
    ) -> Result<Self> {
        let weighted = config.training_mix()?;
        for (structure, _) in &weighted {
            check_expressible(model, &structure.to_string(), structure)?;
        }
        let mix = Mix::new(&weighted, config.training.batch_size)?;
        let compiled = Plan::new(&mix)?;
        let evaluated_structures = evaluated(model, &config.evaluation.structures)?;
        let num_edges = graph.split(Split::Train).num_edges();
        if num_edges == 0 {
            return Err(Error::invalid("the training graph has no edges"));
        }

        let widths = model.widths();
        let dense: Vec<usize> = model.dense().iter().map(|s| s.rows * s.cols).collect();
        let num_parameters = graph.num_entities() * widths.entity
            + graph.num_relations() * widths.relation
            + dense.iter().sum::<usize>();
        let (pool, roots) = (config.sampling.negatives, compiled.roots.len());
        let negatives = config.sampling.num_negatives(compiled.num_queries);
        let rows = compiled.leaf_anchors.len() + compiled.num_queries + negatives;
        let step = 2 * rows * widths.entity
            + 2 * compiled.relation_uses.len() * widths.relation
            + 2 * (roots + compiled.num_slots) * widths.query
            + 2 * roots * pool
            + dense.iter().sum::<usize>();
        // Of each row: its number, its place in a group, and at worst a group of its own.
        let batch =
            4 * (4 * rows + negatives + 4 * compiled.relation_uses.len()) + compiled.num_queries * pool / 8;
        // Batches that wait, are made or worked on, and two copies on the device.
        let waiting = config.sampling.queue + 2 * config.sampling.num_workers(backend.on_host()) + 3;
        let plan = RunPlan {
            dataset: graph.dataset().to_string(),
            num_entities: graph.num_entities(),
            num_relations: graph.num_relations() / 2,
            num_edges,
            model: model.name().to_string(),
            dim: config.model.dim,
            num_parameters,
            batch: mix.parts.iter().map(|(s, count)| (s.to_string(), *count)).collect(),
            negatives: pool,
            pool: config.sampling.pool,
            steps: config.training.num_steps(num_edges),
            device: backend.describe(),
            parameter_bytes: 4 * num_parameters,
            optimizer_bytes: 8 * num_parameters,
            buffer_bytes: 4 * step + waiting * batch,
            mapped_bytes: graph.size_in_bytes(),
            evaluated: evaluated_structures.iter().map(ToString::to_string).collect(),
            mix,
            compiled,
            evaluated_structures,
        };
        let (needed, present) = (plan.total_bytes() as u64, process::total_memory());
        if let Some(present) = present.filter(|&present| needed > present) {
            return Err(Error::invalid(format!(
                "this run needs {} of memory and the machine has {}: lower model.dim, training.batch_size or \
                 sampling.negatives",
                bytes(needed),
                bytes(present)
            )));
        }
        Ok(plan)
    }

    /// Queries of each structure in a batch.
    pub fn mix(&self) -> &Mix {
        &self.mix
    }

    /// The operators of a batch.
    pub fn compiled(&self) -> &Plan {
        &self.compiled
    }

    /// Bytes that are allocated, without the mapped graph.
    pub fn total_bytes(&self) -> usize {
        self.parameter_bytes + self.optimizer_bytes + self.buffer_bytes
    }
}

/// The structures of `text`; "all" is every named one that the model can express.
pub fn evaluated<B: Backend>(model: &dyn Model<B>, text: &str) -> Result<Vec<Structure>> {
    if text == "all" {
        let expressible = |s: &Structure| model.has_negation() || !s.has_negation();
        return Ok(structure::named().iter().map(|(_, s)| s.clone()).filter(expressible).collect());
    }
    let structures: Vec<Structure> =
        crate::query::parse_structures(text)?.into_iter().map(|(structure, _)| structure).collect();
    for structure in &structures {
        check_expressible(model, &structure.to_string(), structure)?;
    }
    Ok(structures)
}
