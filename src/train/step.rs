//! One training step, whatever the objective: its program on a device, with the tables that it trains.

use super::losses::Losses;
use super::objective::Work;
use super::objective::{At, Objective, TrainingBatch, Written, one_vs_all, queries};
use super::update::UpdateSection;
use crate::backend::{Backend, Optimizer, Tables, Workspace};
use crate::config::Config;
use crate::error::Result;
use crate::model::{Model, Weights};
use crate::program::Var;

/// By how much of the difference a running average moves in a step, at least.
const AVERAGING: f32 = 0.1;

/// A model in training, with all memory that a step needs.
pub struct Step<B: Backend> {
    backend: B,
    model: Box<dyn Model>,
    /// The tables that are trained.
    pub weights: Weights<B>,
    space: Workspace<B>,
    objective: Box<dyn Objective<B>>,
    update: UpdateSection,
    losses: Losses<B>,
    gradients: ([Var; 2], Vec<(usize, Var)>),
    optimizer: Optimizer,
    /// Of the rate of rows, that of networks.
    network_rate: f64,
    seed: u64,
}

/// Gradients on the host: of entities, of relations, of each dense parameter that has one, with its number.
pub type HostGradients<T> = (Vec<T>, Vec<T>, Vec<(usize, Vec<T>)>);

/// Writes down the step of a run on a graph of so many entities and directed relations.
pub fn write<B: Backend>(
    model: &dyn Model,
    tables: [usize; 2],
    work: &Work,
    config: &Config,
) -> Result<Written<B>> {
    match work {
        Work::Queries { compiled, .. } => queries::write(model, tables, compiled, config),
        Work::OneVsAll(_) => one_vs_all::write(model, tables, config),
    }
}

impl<B: Backend> Step<B> {
    /// Allocates everything. `weights` must have room for the optimizer's state.
    pub fn new(
        backend: B,
        model: Box<dyn Model>,
        weights: Weights<B>,
        written: Written<B>,
        config: &Config,
    ) -> Result<Self> {
        let Written { program, losses, update, gradients, mut objective } = written;
        let mut space = Workspace::new(&backend, program)?;
        objective.start(&backend, &mut space)?;
        Ok(Step {
            backend,
            model,
            weights,
            space,
            objective,
            update,
            losses: Losses::new(losses),
            gradients,
            optimizer: config.training.optimizer,
            network_rate: config.training.network_rate,
            seed: config.training.seed,
        })
    }

    /// The device.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// Gives the device back and frees everything else.
    pub fn into_backend(self) -> B {
        self.backend
    }

    /// The model.
    pub fn model(&self) -> &dyn Model {
        &*self.model
    }

    /// One step of the optimizer on a batch: `step` counts from 1. Its loss waits for [`Step::losses`], which must be
    /// called at the latest when [`Step::is_full`].
    pub fn step<'b>(
        &mut self,
        batch: impl Into<TrainingBatch<'b>>,
        learning_rate: f64,
        step: u64,
    ) -> Result<()> {
        self.gradients(batch, step)?;
        let steps = self.optimizer.steps(learning_rate, self.network_rate, step);
        self.space.set_steps(steps, (1.0 / step as f32).max(AVERAGING));
        self.space.run(&self.backend, Tables::Change(&mut self.weights), self.update.section);
        Ok(())
    }

    /// Leaves the gradients of a batch in memory, and its loss for [`Step::losses`]. The number of the step names the
    /// numbers that are dropped.
    pub fn gradients<'b>(&mut self, batch: impl Into<TrainingBatch<'b>>, step: u64) -> Result<()> {
        let Step { backend, weights, space, update, seed, .. } = self;
        let losses_begin = self.losses.begin(space);
        let mut at = At { backend, space, weights, update: *update, losses_begin, seed: *seed, step };
        self.objective.gradients(&mut at, batch.into())
    }

    /// Numbers of the memory of a step, beside the tables: for tests.
    pub fn allocated(&mut self) -> usize {
        self.space.allocated()
    }

    /// Whether no more losses fit.
    pub fn is_full(&self) -> bool {
        self.losses.is_full()
    }

    /// The losses of all batches that were not given yet, in order; waits for the device.
    ///
    /// The loss of queries is their weighted mean (see [`Loss`](crate::program::ops::loss::Loss)); that of pairs the mean
    /// of those of the batch's edges (1vsAll) or rows (KvsAll), plus the weighted mean of the cross-entropies of its
    /// edges' relations, where they are predicted. Both plus what the regulariser adds.
    pub fn losses(&mut self) -> Result<Vec<f64>> {
        self.losses.read(&self.backend, &mut self.space)
    }

    /// As [`Step::losses`], a window late: without those since the last call, so that nobody waits.
    pub fn earlier_losses(&mut self) -> Result<Vec<f64>> {
        self.losses.read_late(&self.backend, &mut self.space)
    }

    /// Steps whose losses were not given.
    pub fn unread(&self) -> usize {
        self.losses.unread()
    }

    /// The losses of a step's queries or rows: of step `index` of those that were given last.
    pub fn query_losses(&self, index: usize) -> Vec<f64> {
        self.losses.first_part(index).collect()
    }

    /// Gradients that [`Step::gradients`] left: of entities and relations (of every use, where a batch of queries was
    /// trained on), and of the networks. For tests.
    pub fn last_gradients(&mut self) -> Result<HostGradients<B::Scalar>> {
        let ([entities, relations], networks) = self.gradients.clone();
        let mut read = |var: Var| self.space.download(&self.backend, var);
        let (entities, relations) = (read(entities)?, read(relations)?);
        let networks =
            networks.into_iter().map(|(table, var)| Ok((table - 2, read(var)?))).collect::<Result<_>>()?;
        Ok((entities, relations, networks))
    }
}
