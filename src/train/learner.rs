//! A model in training with its source of batches.

use super::objective::Work;
use super::plan::RunPlan;
use super::row_file::RowFile;
use super::step::{self, Step};
use super::tables::Ahead;
use crate::backend::{Backend, on_host};
use crate::config::Config;
use crate::error::Result;
use crate::graph::KnowledgeGraph;
use crate::model::{Model, Weights};
use crate::pipeline::{OneVsAllPipeline, Pipeline, PipelineOptions};
use std::sync::Arc;

/// Where batches come from.
enum Batches {
    /// Queries; one batch ahead, where rows are in a file.
    Queries(Box<(Pipeline, Ahead)>),
    /// Pairs (head, relation).
    Pairs(OneVsAllPipeline),
}

/// A model in training with its source of batches.
pub struct Learner<B: Backend> {
    /// The steps.
    pub step: Step<B>,
    batches: Batches,
}

impl<B: Backend> Learner<B> {
    /// Starts the threads that make batches, after `done` steps, and allocates what a step needs.
    pub fn start(
        backend: B,
        model: Box<dyn Model>,
        weights: Weights<B>,
        (graph, config, plan): (&Arc<KnowledgeGraph>, &Config, &RunPlan),
        done: u64,
    ) -> Result<Self> {
        let batches = match plan.work() {
            Work::Queries { mix, compiled } => {
                let workers = config.sampling.num_workers(on_host(&backend));
                let options =
                    PipelineOptions { workers, ahead: config.sampling.queue.div_ceil(workers), first: done };
                let compiled = Arc::new(compiled.clone());
                let pipeline =
                    Pipeline::start(graph.clone(), mix, compiled, config.sampler_options(), options)?;
                Batches::Queries(Box::new((pipeline, Ahead::default())))
            }
            Work::OneVsAll(options) => {
                Batches::Pairs(OneVsAllPipeline::start(graph.clone(), *options, config.sampling.queue, done)?)
            }
        };
        let tables = [weights.entities.rows, weights.relations.rows];
        let written = step::write(&*model, tables, plan.work(), config)?;
        Ok(Learner { step: Step::new(backend, model, weights, written, config)?, batches })
    }

    /// The next batch and the step `step` (from 1) on it; how many queries, triples or pairs it has. With rows in a file,
    /// those of the batch after it are asked for where there will be `more`.
    pub fn step(&mut self, rows: &mut Option<RowFile>, rate: f64, step: u64, more: bool) -> Result<usize> {
        match &mut self.batches {
            Batches::Queries(source) => {
                let (pipeline, ahead) = &mut **source;
                let batch = ahead.next(pipeline, rows.as_ref(), more)?;
                if let Some(rows) = rows {
                    rows.before(step, &batch.entity_groups.ids)?;
                }
                self.step.step(&batch, rate, step)?;
                let queries = batch.positives.len();
                pipeline.recycle(batch);
                Ok(queries)
            }
            Batches::Pairs(pipeline) => {
                let batch = pipeline.next()?;
                self.step.step(&batch, rate, step)?;
                let units = batch.units;
                pipeline.recycle(batch);
                Ok(units)
            }
        }
    }

    /// Seconds in which steps have waited for a batch.
    pub fn waited_for_batches(&self) -> f64 {
        match &self.batches {
            Batches::Queries(source) => source.0.waited_seconds(),
            Batches::Pairs(pipeline) => pipeline.waited_seconds(),
        }
    }

    /// CPU time of the threads that make batches, in seconds.
    pub fn sampling_cpu_seconds(&self) -> f64 {
        match &self.batches {
            Batches::Queries(source) => source.0.cpu_seconds(),
            Batches::Pairs(pipeline) => pipeline.cpu_seconds(),
        }
    }

    /// Stops the threads, frees everything and gives the device back.
    pub fn into_backend(self) -> B {
        self.step.into_backend()
    }
}
