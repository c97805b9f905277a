//! The section `sampling`.

use super::{Config, Objective};
use crate::sampler::{Direction, Pooling, SamplerOptions, Source, Verification};
use serde::{Deserialize, Serialize};

/// How training queries and negatives are drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SamplingConfig {
    /// Structures with weights, `1p:2,2p:2` or `1p.2p`. Default: what the model can express, chains, intersections, negations.
    pub structures: String,
    /// Size of a pool of negatives.
    pub negatives: usize,
    /// Whose a pool is: `shared` by the queries of a batch, or each query's `own`.
    pub pool: Pooling,
    /// Relations that queries are drawn over: `both` directions, `forward` (the dataset's own) or `inverse`.
    pub direction: Direction,
    /// At most so many tails of a fragment are walked; a fragment with more makes the query be drawn again.
    pub relation_bandwidth: usize,
    /// Cap on partial answers; a query above it is drawn again.
    pub answer_cap: usize,
    /// How it is found out which negatives are answers: `bidirectional`, `exhaustive` (no caps apply) or `none`.
    pub verification: Verification,
    /// Answers are drawn by their degree to this power; 0 is uniform.
    pub answer_exponent: f32,
    /// Negatives are drawn by their degree to this power; 0 is uniform.
    pub negative_exponent: f32,
    /// Batches that wait, ready, for the trainer.
    pub queue: usize,
    /// Threads that draw queries; 0 is 1 beside a model on the CPU, and up to 16 beside one on a GPU.
    pub workers: usize,
}

impl SamplingConfig {
    /// Negatives of a batch of `queries`.
    pub fn num_negatives(&self, queries: usize) -> usize {
        match self.pool {
            Pooling::Shared => self.negatives,
            Pooling::Own => queries * self.negatives,
        }
    }

    /// Threads that draw queries for a model that itself runs on the host's cores or not.
    pub fn num_workers(&self, model_on_host: bool) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        match self.workers {
            0 if model_on_host => 1,
            0 => (cores() - 1).clamp(1, 16),
            workers => workers,
        }
    }
}

impl Default for SamplingConfig {
    fn default() -> Self {
        SamplingConfig {
            structures: "1p:4,2p:2,3p:1,2i:1,3i:1".into(),
            negatives: 1024,
            pool: Pooling::default(),
            direction: Direction::default(),
            relation_bandwidth: 2000,
            answer_cap: 512,
            verification: Verification::default(),
            answer_exponent: 0.0,
            negative_exponent: 0.0,
            queue: 8,
            workers: 0,
        }
    }
}

impl Config {
    /// Queries, negatives and caps as the sampler wants them.
    pub fn sampler_options(&self) -> SamplerOptions {
        SamplerOptions {
            seed: self.training.seed,
            source: match self.training.objective {
                Objective::Negatives => Source::Edges,
                Objective::Queries | Objective::OneVsAll | Objective::KvsAll => Source::Answers,
            },
            negatives: self.sampling.negatives,
            pool: self.sampling.pool,
            direction: self.sampling.direction,
            relation_bandwidth: self.sampling.relation_bandwidth,
            answer_cap: self.sampling.answer_cap,
            verification: self.sampling.verification,
            answer_exponent: self.sampling.answer_exponent,
            negative_exponent: self.sampling.negative_exponent,
            ..SamplerOptions::default()
        }
    }
}
