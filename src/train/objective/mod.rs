//! What a model learns from: each objective writes down its step as a program, and says what a batch brings to it.
//!
//! - [`queries`]: queries, or single edges, against sampled negatives;
//! - [`one_vs_all`]: pairs (head, relation) against all entities (1vsAll, KvsAll), with [`relations`] (relation
//!   prediction) as a second objective;
//! - [`regularise`]: what is added to either.

pub mod one_vs_all;
pub mod queries;
pub mod regularise;
pub mod relations;

use super::losses::LossParts;
use super::update::UpdateSection;
use crate::backend::{Backend, GroupLists, Tables, Workspace};
use crate::error::Result;
use crate::model::Weights;
use crate::program::{Program, SectionId, Var};
use crate::query::{Mix, Plan};
use crate::rng::stream;
use crate::sampler::{Batch, Groups, OneVsAllBatch, OneVsAllOptions};
use rand::Rng as _;

/// What batches are made of.
#[derive(Clone, Debug)]
pub enum Work {
    /// Queries of a mix of structures.
    Queries {
        /// Queries of each structure in a batch.
        mix: Mix,
        /// The operators of a batch.
        compiled: Plan,
    },
    /// Pairs (head, relation).
    OneVsAll(OneVsAllOptions),
}

/// A batch of either kind.
#[derive(Clone, Copy, Debug)]
pub enum TrainingBatch<'a> {
    /// Queries with negatives.
    Queries(&'a Batch),
    /// Pairs (head, relation) with their tails.
    Pairs(&'a OneVsAllBatch),
}

impl<'a> From<&'a Batch> for TrainingBatch<'a> {
    fn from(batch: &'a Batch) -> Self {
        TrainingBatch::Queries(batch)
    }
}

impl<'a> From<&'a OneVsAllBatch> for TrainingBatch<'a> {
    fn from(batch: &'a OneVsAllBatch) -> Self {
        TrainingBatch::Pairs(batch)
    }
}

/// Groups of a batch, for a device.
fn lists(groups: &Groups) -> GroupLists<'_> {
    let Groups { ids, offsets, members } = groups;
    GroupLists { ids, offsets, members }
}

/// A step that was written down.
pub struct Written<B: Backend> {
    /// All its operations.
    pub program: Program,
    /// Its losses.
    pub losses: LossParts,
    /// Its last section.
    pub update: UpdateSection,
    /// The gradients that it leaves for the update, for tests: of entities and of relations, then those of networks with
    /// the numbers of their tables.
    pub gradients: ([Var; 2], Vec<(usize, Var)>),
    /// Who knows its sections.
    pub objective: Box<dyn Objective<B>>,
}

/// The part of a step that depends on the objective.
pub trait Objective<B: Backend>: Send {
    /// Sets what is the same for every batch.
    fn start(&mut self, backend: &B, space: &mut Workspace<B>) -> Result<()>;

    /// Copies what a batch brings to the device and runs all sections but the update.
    fn gradients(&mut self, at: &mut At<B>, batch: TrainingBatch) -> Result<()>;
}

/// Where and when an objective works.
pub struct At<'a, B: Backend> {
    /// The device.
    pub backend: &'a B,
    /// Arrays and indices of the program.
    pub space: &'a mut Workspace<B>,
    /// The tables.
    pub weights: &'a mut Weights<B>,
    /// The update, which gets the batch's groups.
    pub update: UpdateSection,
    /// Where the losses of this step begin.
    pub losses_begin: usize,
    /// Seed of the run.
    pub seed: u64,
    /// Number of the step, which names the numbers that are dropped.
    pub step: u64,
}

impl<B: Backend> At<'_, B> {
    /// Runs a section.
    pub fn run(&mut self, section: SectionId) {
        self.space.run(self.backend, Tables::Change(&mut *self.weights), section);
    }

    /// Decides what this step drops.
    pub fn set_dropouts(&mut self) {
        let (seed, step) = (self.seed, self.step);
        self.space.set_dropouts(|purpose| stream(seed, purpose, step).next_u64());
    }
}
