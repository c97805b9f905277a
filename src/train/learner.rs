//! The objective of a run as the loop sees it: batches and the steps on them.

use super::plan::{RunPlan, Work};
use super::row_file::RowFile;
use super::single::SingleTrainer;
use super::step::Trainer;
use super::tables::Ahead;
use crate::backend::Backend;
use crate::config::Config;
use crate::error::Result;
use crate::graph::KnowledgeGraph;
use crate::model::{Model, Weights};
use crate::pipeline::{Pipeline, PipelineOptions, SinglePipeline};
use std::sync::Arc;

/// A model in training with its source of batches.
pub enum Learner<B: Backend> {
    /// Queries, of one hop or more, against sampled negatives.
    Queries {
        /// The steps.
        trainer: Box<Trainer<B>>,
        /// The batches.
        pipeline: Box<Pipeline>,
        /// One batch ahead, where rows are in a file.
        ahead: Box<Ahead>,
    },
    /// Pairs (head, relation) against all entities.
    Single {
        /// The steps.
        trainer: Box<SingleTrainer<B>>,
        /// The batches.
        pipeline: SinglePipeline,
    },
}

impl<B: Backend> Learner<B> {
    /// Starts the threads that make batches, after `done` steps, and allocates the buffers of a step.
    pub fn start(
        backend: B,
        model: Box<dyn Model<B>>,
        weights: Weights<B>,
        graph: &Arc<KnowledgeGraph>,
        config: &Config,
        plan: &RunPlan,
        done: u64,
    ) -> Result<Self> {
        match plan.work() {
            Work::Queries { mix, compiled } => {
                let workers = config.sampling.num_workers(backend.on_host());
                let pipeline = Pipeline::start(
                    graph.clone(),
                    mix,
                    Arc::new(compiled.clone()),
                    config.sampler_options(),
                    PipelineOptions { workers, ahead: config.sampling.queue.div_ceil(workers), first: done },
                )?;
                let trainer = Box::new(Trainer::new(backend, model, weights, compiled, config)?);
                Ok(Learner::Queries { trainer, pipeline: Box::new(pipeline), ahead: Box::default() })
            }
            Work::Single(options) => {
                let pipeline = SinglePipeline::start(graph.clone(), *options, config.sampling.queue, done)?;
                let trainer = Box::new(SingleTrainer::new(backend, model, weights, config)?);
                Ok(Learner::Single { trainer, pipeline })
            }
        }
    }

    /// The next batch and the step `step` (from 1) on it; how many queries, triples or pairs it has. With rows in a file,
    /// those of the batch after it are asked for where there will be `more`.
    pub fn step(&mut self, rows: &mut Option<RowFile>, rate: f64, step: u64, more: bool) -> Result<usize> {
        match self {
            Learner::Queries { trainer, pipeline, ahead } => {
                let batch = ahead.next(pipeline, rows.as_ref(), more)?;
                if let Some(rows) = rows {
                    rows.before(step, &batch.entity_groups.ids)?;
                }
                trainer.step(&batch, rate, step)?;
                let queries = batch.positives.len();
                pipeline.recycle(batch);
                Ok(queries)
            }
            Learner::Single { trainer, pipeline } => {
                let batch = pipeline.next()?;
                trainer.step(&batch, rate, step)?;
                let units = batch.units;
                pipeline.recycle(batch);
                Ok(units)
            }
        }
    }

    /// Whether losses must be asked for before the next step.
    pub fn is_full(&self) -> bool {
        match self {
            Learner::Queries { trainer, .. } => trainer.is_full(),
            Learner::Single { trainer, .. } => trainer.is_full(),
        }
    }

    /// Steps whose losses were not given.
    pub fn unread(&self) -> usize {
        match self {
            Learner::Queries { trainer, .. } => trainer.unread(),
            Learner::Single { trainer, .. } => trainer.unread(),
        }
    }

    /// As [`Learner::losses`], without those since the last call, so that nobody waits for the device.
    pub fn earlier_losses(&mut self) -> Result<Vec<f64>> {
        match self {
            Learner::Queries { trainer, .. } => trainer.earlier_losses(),
            Learner::Single { trainer, .. } => trainer.earlier_losses(),
        }
    }

    /// The losses of all steps that were not given yet, in order; waits for the device.
    pub fn losses(&mut self) -> Result<Vec<f64>> {
        match self {
            Learner::Queries { trainer, .. } => trainer.losses(),
            Learner::Single { trainer, .. } => trainer.losses(),
        }
    }

    /// Seconds in which steps have waited for a batch.
    pub fn waited_for_batches(&self) -> f64 {
        match self {
            Learner::Queries { pipeline, .. } => pipeline.waited_seconds(),
            Learner::Single { pipeline, .. } => pipeline.waited_seconds(),
        }
    }

    /// CPU time of the threads that make batches, in seconds.
    pub fn sampling_cpu_seconds(&self) -> f64 {
        match self {
            Learner::Queries { pipeline, .. } => pipeline.cpu_seconds(),
            Learner::Single { pipeline, .. } => pipeline.cpu_seconds(),
        }
    }

    /// The device.
    pub fn backend(&self) -> &B {
        match self {
            Learner::Queries { trainer, .. } => trainer.backend(),
            Learner::Single { trainer, .. } => trainer.backend(),
        }
    }

    /// The model.
    pub fn model(&self) -> &dyn Model<B> {
        match self {
            Learner::Queries { trainer, .. } => trainer.model(),
            Learner::Single { trainer, .. } => trainer.model(),
        }
    }

    /// The tables.
    pub fn weights(&self) -> &Weights<B> {
        match self {
            Learner::Queries { trainer, .. } => &trainer.weights,
            Learner::Single { trainer, .. } => &trainer.weights,
        }
    }

    /// Stops the threads, frees everything and gives the device back.
    pub fn into_backend(self) -> B {
        match self {
            Learner::Queries { trainer, .. } => trainer.into_backend(),
            Learner::Single { trainer, .. } => trainer.into_backend(),
        }
    }
}
