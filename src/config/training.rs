//! The section `training`.

use crate::backend::{LossOptions, Math, Optimizer, PoolLoss};
use serde::{Deserialize, Serialize};

/// How the queries of a batch are weighted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QueryWeighting {
    /// 1 / sqrt(answers + 1), normalised over the batch.
    Answers,
    /// All alike.
    Uniform,
}

/// What is learnt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Objective {
    /// Answers of queries of any structure against sampled negatives.
    #[default]
    #[serde(rename = "queries")]
    Queries,
    /// The tail of each training triple, in the directions of `sampling.direction`, against sampled negatives; every
    /// triple once an epoch (Bordes et al. 2013).
    #[serde(rename = "negatives")]
    Negatives,
    /// The tail of each training triple against all entities (Lacroix, Usunier and Obozinski 2018).
    #[serde(rename = "1vsall")]
    OneVsAll,
    /// All tails of each pair (head, relation) against all entities (Dettmers et al. 2018).
    #[serde(rename = "kvsall")]
    KvsAll,
}

impl Objective {
    /// Its name in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Objective::Queries => "queries",
            Objective::Negatives => "negatives",
            Objective::OneVsAll => "1vsall",
            Objective::KvsAll => "kvsall",
        }
    }

    /// Whether answers are trained against sampled negatives instead of all entities.
    pub fn samples(self) -> bool {
        matches!(self, Objective::Queries | Objective::Negatives)
    }
}

/// How scores are turned into a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// Softmax over all entities, or over the positive and its negatives.
    CrossEntropy,
    /// A sigmoid for each entity.
    Logistic,
    /// What the margin lacks between the positive and each negative.
    Margin,
}

/// How the learning rate changes in a run, after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Falls linearly to `final_rate` of itself at the last step.
    #[default]
    Linear,
    /// Falls to the same as half a cosine.
    Cosine,
    /// Falls to the same in ten equal parts of the run, by the same factor after each.
    Step,
    /// Falls by `plateau_factor` whenever valid has not become better in `plateau_patience` evaluations.
    Plateau,
    /// Stays.
    Constant,
}

/// Where the rows of entities and their optimizer state live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum TableKind {
    /// In memory; files hold copies.
    #[default]
    Memory,
    /// In a mapped file of the run folder, which may be larger than memory; changed in place.
    File,
}

/// Loss, optimizer, length.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingConfig {
    /// Decides the start, the batches and the query sets.
    pub seed: u64,
    /// What is learnt: queries, negatives, 1vsall or kvsall.
    pub objective: Objective,
    /// cross-entropy (default of 1vsall), logistic (default of the others) or margin (with sampled negatives only).
    /// With sampled negatives, see [`PoolLoss`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<Loss>,
    /// Loss margin: by how much a positive should beat each negative.
    pub margin: f32,
    /// 1vsall, kvsall: share of the labels' weight that all entities get alike.
    pub label_smoothing: f32,
    /// 1vsall, kvsall: weight of the relations' cross-entropy as a second objective, in which each edge's relation is
    /// predicted from its head and tail (Chen, Minervini, Riedel and Stenetorp 2021); 0 is without.
    pub relation_prediction: f32,
    /// Queries per step; directed edges with negatives; triples with 1vsall, each in both directions; pairs (head,
    /// relation) with kvsall.
    pub batch_size: usize,
    /// Steps; excludes `epochs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Epochs; one is as many queries as the training graph has directed edges, with the other objectives all of it once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<f64>,
    /// adam, adagrad, rowwise-adagrad or sgd.
    pub optimizer: Optimizer,
    /// The optimizer's learning rate.
    pub learning_rate: f64,
    /// The learning rate of networks as a multiple of that of rows: a network is changed by every step, a row only by those
    /// that meet it.
    pub network_rate: f64,
    /// How the rate changes: linear, cosine, step, plateau or constant.
    pub schedule: Schedule,
    /// Schedules linear, cosine and step: the rate falls to this share of itself at the last step.
    pub final_rate: f64,
    /// Schedule plateau: evaluations on valid without a better mean MRR after which the rate falls.
    pub plateau_patience: u64,
    /// Schedule plateau: by what the rate is then multiplied.
    pub plateau_factor: f64,
    /// Steps in which the rate rises linearly from 0 to what the schedule says.
    pub warm_up: u64,
    /// The gradients of a step, of rows and networks together, are scaled to a Euclidean norm of at most this; 0 leaves
    /// them.
    pub clip_norm: f32,
    /// Losses logistic and margin: self-adversarial softmax(temperature * score) over negatives; 0 weights them
    /// uniformly.
    pub adversarial_temperature: f32,
    /// Weights of queries: answers (default of queries) or uniform (default of negatives).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_weighting: Option<QueryWeighting>,
    /// Steps between evaluations on valid; 0 evaluates ten times in a run.
    pub valid_every: u64,
    /// Evaluations on valid without a better mean MRR after which training ends early; 0 is never.
    pub patience: u64,
    /// Training stops where the smoothed loss is above so many times its best and above its start
    /// ([`LossWatch`](crate::train::monitor::LossWatch)); 0 is never. On UMLS, GQE with a rate of
    /// 0.3 loses 13-fold for a while and comes back; with 0.5 it loses 30-fold and does not.
    pub divergence_factor: f64,
    /// Precision of matrix products on a GPU: fp32, or tf32 (10-bit mantissas; faster, less exact). Elsewhere always fp32.
    pub math: Math,
    /// Where entity rows and their optimizer state live: memory or file. Both train to the same bits.
    pub table: TableKind,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        TrainingConfig {
            seed: 0,
            objective: Objective::Queries,
            loss: None,
            margin: 1.0,
            label_smoothing: 0.0,
            relation_prediction: 0.0,
            batch_size: 512,
            steps: None,
            epochs: None,
            optimizer: Optimizer::Adam,
            learning_rate: 3e-3,
            network_rate: 1.0,
            schedule: Schedule::Linear,
            final_rate: 0.1,
            plateau_patience: 2,
            plateau_factor: 0.5,
            warm_up: 0,
            clip_norm: 0.0,
            adversarial_temperature: 1.0,
            query_weighting: None,
            valid_every: 0,
            patience: 0,
            divergence_factor: 20.0,
            math: Math::Fp32,
            table: TableKind::Memory,
        }
    }
}

/// Epochs of a run for which neither steps nor epochs are given.
pub const DEFAULT_EPOCHS: f64 = 100.0;

impl TrainingConfig {
    /// The loss: that which is given, or the objective's own.
    pub fn loss(&self) -> Loss {
        self.loss.unwrap_or(match self.objective {
            Objective::OneVsAll => Loss::CrossEntropy,
            Objective::Queries | Objective::Negatives | Objective::KvsAll => Loss::Logistic,
        })
    }

    /// The weighting of queries: that which is given, or the objective's own.
    pub fn query_weighting(&self) -> QueryWeighting {
        self.query_weighting.unwrap_or(match self.objective {
            Objective::Queries => QueryWeighting::Answers,
            _ => QueryWeighting::Uniform,
        })
    }

    /// The loss of queries with sampled negatives.
    pub fn pool_loss(&self) -> LossOptions {
        let temperature = self.adversarial_temperature;
        LossOptions {
            loss: match self.loss() {
                Loss::CrossEntropy => PoolLoss::CrossEntropy,
                Loss::Logistic => PoolLoss::Logistic,
                Loss::Margin => PoolLoss::Margin { margin: self.margin },
            },
            adversarial_temperature: (temperature > 0.0).then_some(temperature),
        }
    }

    /// Number of steps where an epoch is so many.
    pub fn num_steps_of(&self, epoch: u64) -> u64 {
        let epochs = self.epochs.unwrap_or(DEFAULT_EPOCHS);
        self.steps.unwrap_or((epochs * epoch as f64).ceil().max(1.0) as u64)
    }

    /// The learning rate of a step (from 1), of a run of `steps`, after `plateaus` of valid.
    pub fn rate_at(&self, step: u64, steps: u64, plateaus: u32) -> f64 {
        let done = (step - 1) as f64 / steps.max(2).saturating_sub(1) as f64;
        let share = match self.schedule {
            Schedule::Linear => 1.0 - done * (1.0 - self.final_rate),
            Schedule::Cosine => {
                self.final_rate + (1.0 - self.final_rate) * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
            }
            Schedule::Step => self.final_rate.powf((done * 10.0).floor().min(9.0) / 9.0),
            Schedule::Plateau => self.plateau_factor.powi(plateaus as i32),
            Schedule::Constant => 1.0,
        };
        self.learning_rate * share * (step as f64 / self.warm_up.max(1) as f64).min(1.0)
    }

    /// Steps between evaluations on valid, in a run of so many.
    pub fn valid_interval(&self, steps: u64) -> u64 {
        if self.valid_every == 0 { steps.div_ceil(10) } else { self.valid_every }
    }

    /// Number of steps on a graph with so many directed edges.
    pub fn num_steps(&self, num_edges: usize) -> u64 {
        let epochs = self.epochs.unwrap_or(DEFAULT_EPOCHS);
        self.steps.unwrap_or((epochs * num_edges as f64 / self.batch_size as f64).ceil().max(1.0) as u64)
    }
}
