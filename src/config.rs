//! The configuration of a run: one TOML document, every key with a default, unknown keys refused.
//!
//! Precedence: defaults, then `--config FILE`, then flags, then `--set key.path=value` in the order given.
//! The resolved document is stored in the run folder and is itself a valid `--config`.

use crate::backend::{Activation, LossOptions, Optimizer, PoolLoss, Scoring};
use crate::error::{Error, Result};
use crate::query::parse::parse_structures;
use crate::query::structure::Structure;
use crate::sampler::{Direction, Pooling, Verification};
use serde::{Deserialize, Serialize};
use std::path::Path;
use toml::{Table, Value};

/// Everything that decides a run, besides the number of threads.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What to train on.
    pub data: DataConfig,
    /// The embedding model.
    pub model: ModelConfig,
    /// How training queries and negatives are drawn.
    pub sampling: SamplingConfig,
    /// Loss, optimizer, length.
    pub training: TrainingConfig,
    /// What is evaluated on the way and at the end.
    pub evaluation: EvaluationConfig,
}

/// What to train on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// A dataset's name, a folder, or a graph file.
    pub dataset: String,
}

impl Default for DataConfig {
    fn default() -> Self {
        DataConfig { dataset: "umls".into() }
    }
}

/// A norm of differences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Norm {
    /// Sum of absolute values.
    #[default]
    L1,
    /// Root of the sum of squares.
    L2,
}

impl Norm {
    /// The score by this distance.
    pub fn scoring(self, gamma: f32) -> Scoring {
        match self {
            Norm::L1 => Scoring::L1 { gamma },
            Norm::L2 => Scoring::L2 { gamma },
        }
    }
}

/// What becomes of the unions of a query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnionForm {
    /// They move to the root (disjunctive normal form).
    #[default]
    Dnf,
    /// De Morgan: a or b is not (not a and not b).
    DeMorgan,
}

/// What is added to the loss so that rows stay small. Sums are those of the formula: not halved, not divided by the power.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Regulariser {
    /// Nothing.
    None,
    /// Cubed moduli of complex numbers or, in a model of real rows, of those (Lacroix, Usunier and Obozinski 2018); for models
    /// that are tensor decompositions.
    N3,
    /// Squares.
    L2,
    /// Cubed absolute values of the real numbers of a row, whatever they stand for.
    L3,
}

/// How often a row is regularised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RegulariseBy {
    /// A mean over the batch: each query brings its anchors, relations and positive, each edge of single-hop training its
    /// head, relation and tail.
    #[default]
    Frequency,
    /// Every row of the table once in each step, whatever the batch; a sum.
    Table,
}

/// How rows of entities and relations start. The networks of a model have a start of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// As the model says, within [`ModelConfig::range`].
    #[default]
    Uniform,
    /// Normal with variance 2 / (rows + columns) of the table (Glorot and Bengio 2010).
    XavierNormal,
    /// Uniform with the same variance.
    XavierUniform,
}

/// The embedding model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// One of [`crate::model::NAMES`].
    pub name: String,
    /// Embedding dimension d; complex numbers for `complex` and `rotate`.
    pub dim: usize,
    /// TuckER: width of a relation's row; like `dim` where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relation_dim: Option<usize>,
    /// ConvE: rows of the image that a row of `dim` is reshaped to. Default: see [`Self::image_height`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_height: Option<usize>,
    /// ConvE: number of filters.
    pub filters: usize,
    /// The margin; rows start in plus or minus (gamma + 2) / dim, those of `betae` in plus or minus 1. Default by model: see [`Self::gamma`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gamma: Option<f32>,
    /// The distance of GQE and TransE.
    pub norm: Norm,
    /// Query2Box: weight of the distance inside the box.
    pub inside: f32,
    /// Query2Box: what is done to a relation's offset before it is added.
    pub offset_activation: Activation,
    /// BetaE: units of each hidden layer of the projection.
    pub hidden: usize,
    /// BetaE: hidden layers of the projection.
    pub hidden_layers: usize,
    /// What becomes of unions: several disjuncts, of which an entity's best counts, or, in a model with negation,
    /// not (not a and not b).
    pub union: UnionForm,
    /// What is added to the loss so that rows stay small: none, n3, l2 or l3. Default by model: see [`Config::regulariser`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regulariser: Option<Regulariser>,
    /// The regulariser's weight for rows of entities.
    pub regularise_entities: f32,
    /// The same for rows of relations.
    pub regularise_relations: f32,
    /// Which rows it counts in a step: by frequency in the batch, or the whole table.
    pub regularise_by: RegulariseBy,
    /// How rows start: uniform, xavier-normal or xavier-uniform.
    pub start: Start,
    /// Single-hop training: probability with which a number of an entity's row is dropped, of heads and of all tails.
    pub dropout_entity: f32,
    /// Single-hop training: the same of relations' rows.
    pub dropout_relation: f32,
    /// Single-hop training of ConvE: the same of the features.
    pub dropout_features: f32,
    /// Single-hop training of ConvE: the same of the queries.
    pub dropout_hidden: f32,
}

impl Default for ModelConfig {
    fn default() -> Self {
        ModelConfig {
            name: "query2box".into(),
            dim: 200,
            relation_dim: None,
            image_height: None,
            filters: 32,
            gamma: None,
            norm: Norm::L1,
            inside: 0.02,
            offset_activation: Activation::None,
            hidden: 1600,
            hidden_layers: 2,
            union: UnionForm::Dnf,
            regulariser: None,
            regularise_entities: 1e-5,
            regularise_relations: 1e-5,
            regularise_by: RegulariseBy::Frequency,
            start: Start::Uniform,
            dropout_entity: 0.0,
            dropout_relation: 0.0,
            dropout_features: 0.0,
            dropout_hidden: 0.0,
        }
    }
}

impl ModelConfig {
    /// The margin: 9 for distances, 6 for `rotate`, 60 for the divergences of `betae`, as its paper has it. For `complex` it only
    /// sets the start, and is dim / 6: rows then start within about a sixth of 0, so that their products are large enough to
    /// learn from. So for `distmult`, `rescal`, `tucker` and `conve`, with dim / 20.
    ///
    /// SMORE's published runs use 24, with hundreds of thousands of steps; a smaller margin gets to the same
    /// place in far fewer (on CoDEx-S, GQE after 3,000 steps: 1p MRR .26 with 24, .29 with 12, .33 with 9).
    /// RotatE, d = 100, 1,200 steps of 256 queries on CoDEx-S: 1p MRR .32 with 4, .34 with 6, .23 with 9;
    /// DistMult: .13 with 5, .10 with 10, .03 with 33.
    pub fn gamma(&self) -> f32 {
        self.gamma.unwrap_or(match self.name.as_str() {
            "complex" => self.dim as f32 / 6.0,
            "betae" => 60.0,
            "distmult" | "rescal" | "tucker" | "conve" => self.dim as f32 / 20.0,
            "rotate" => 6.0,
            _ => 9.0,
        })
    }

    /// ConvE's images: as near to a square as a divisor of `dim` that is not above its root makes them.
    pub fn image_height(&self) -> usize {
        let divisor = || (1..=self.dim.isqrt()).rev().find(|height| self.dim.is_multiple_of(*height));
        self.image_height.or_else(divisor).unwrap_or(1)
    }

    /// Rows start uniform between minus this and this.
    ///
    /// For `betae` it is 1: its rows stand for x + 1, and where all distributions start alike it first learns that
    /// all entities are (on UMLS, d = 64, after 500 steps: mean valid MRR .10 from a range of .22, .19 from .97).
    pub fn range(&self) -> f32 {
        if self.name == "betae" {
            return 1.0;
        }
        (self.gamma() + 2.0) / self.dim as f32
    }
}

/// How training queries and negatives are drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SamplingConfig {
    /// Structures with weights, `1p:2,2p:2` or `1p.2p`. `betae` has those with negation as well, `transe` and `conve` chains only.
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
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
    /// ([`LossWatch`](crate::train::watch::LossWatch)); 0 is never. On UMLS, GQE with a rate of
    /// 0.3 loses 13-fold for a while and comes back; with 0.5 it loses 30-fold and does not.
    pub divergence_factor: f64,
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

/// What is evaluated on the way and at the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluationConfig {
    /// Structures, or "all" that the model can express.
    pub structures: String,
    /// At most so many test queries of a structure.
    pub queries: usize,
    /// At most so many valid queries of a structure.
    pub valid_queries: usize,
    /// Queries with more answers are not evaluated.
    pub max_answers: usize,
    /// Whether link prediction is evaluated too.
    pub link_prediction: bool,
    /// Seed of the query sets, apart from training's so that runs compare on the same queries.
    pub seed: u64,
}

impl Default for EvaluationConfig {
    fn default() -> Self {
        EvaluationConfig {
            structures: "all".into(),
            queries: 1000,
            valid_queries: 200,
            max_answers: 100,
            link_prediction: true,
            seed: 0,
        }
    }
}

impl Config {
    /// Resolves a document and assignments `key.path=value` on top of the defaults.
    pub fn resolve(file: Option<&Path>, assignments: &[String]) -> Result<Self> {
        let mut table = Table::new();
        if let Some(path) = file {
            let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
            table = text.parse().map_err(|e: toml::de::Error| Error::file(path, e.to_string().trim_end()))?;
            // Checked apart from the assignments, so that the message names the file.
            parse(table.clone()).map_err(|message| Error::file(path, message))?;
        }
        apply(table, assignments)
    }

    /// This configuration with assignments `key.path=value` on top.
    pub fn with(&self, assignments: &[String]) -> Result<Self> {
        apply(self.to_toml().parse().expect("written a moment ago"), assignments)
    }

    /// The regulariser: that which is given, or N3 where `complex` and `distmult` learn against sampled negatives, as SMORE has it.
    pub fn regulariser(&self) -> Regulariser {
        let decomposition = ["complex", "distmult"].contains(&self.model.name.as_str());
        self.model.regulariser.unwrap_or(match self.training.objective {
            Objective::Queries | Objective::Negatives if decomposition => Regulariser::N3,
            _ => Regulariser::None,
        })
    }

    /// A document with every key, to know them by.
    fn with_every_key() -> Table {
        let mut config = Config::default();
        config.model.gamma = Some(config.model.gamma());
        config.model.regulariser = Some(config.regulariser());
        config.model.relation_dim = Some(config.model.dim);
        config.model.image_height = Some(config.model.image_height());
        config.training.loss = Some(config.training.loss());
        config.training.query_weighting = Some(config.training.query_weighting());
        config.training.steps = Some(1);
        config.training.epochs = Some(DEFAULT_EPOCHS);
        config.to_toml().parse().expect("written a moment ago")
    }

    /// Ranges that types cannot express.
    fn check(&self) -> Result<()> {
        let (t, m) = (&self.training, &self.model);
        let all_entities = !t.objective.samples();
        let rules = [
            (
                matches!(
                    (t.objective, t.loss()),
                    (Objective::Queries | Objective::Negatives, _)
                        | (Objective::OneVsAll | Objective::KvsAll, Loss::CrossEntropy | Loss::Logistic)
                ),
                "training.loss must be cross-entropy or logistic with training.objective = 1vsall and kvsall; margin needs \
                 sampled negatives: training.objective = queries or negatives",
            ),
            (
                t.relation_prediction.is_finite()
                    && t.relation_prediction >= 0.0
                    && (all_entities || t.relation_prediction == 0.0),
                "training.relation_prediction must be 0 or more, and 0 with training.objective = queries and negatives",
            ),
            (t.margin.is_finite(), "training.margin must be a finite number"),
            (
                (0.0..=1.0).contains(&t.label_smoothing) && (all_entities || t.label_smoothing == 0.0),
                "training.label_smoothing must be between 0 and 1, and 0 with training.objective = queries and negatives",
            ),
            (
                [m.dropout_entity, m.dropout_relation, m.dropout_features, m.dropout_hidden]
                    .iter()
                    .all(|p| (0.0..1.0).contains(p) && (all_entities || *p == 0.0)),
                "model.dropout_entity, dropout_relation, dropout_features and dropout_hidden must be at least 0 and below \
                 1, and 0 with training.objective = queries and negatives",
            ),
            (
                m.name == "conve" || (m.dropout_features == 0.0 && m.dropout_hidden == 0.0),
                "model.dropout_features and model.dropout_hidden are for conve: leave them out",
            ),
            (
                [m.regularise_entities, m.regularise_relations].iter().all(|w| w.is_finite() && *w >= 0.0),
                "model.regularise_entities and model.regularise_relations must be 0 or more",
            ),
            (
                all_entities
                    || m.regularise_by == RegulariseBy::Frequency
                    || self.regulariser() == Regulariser::None,
                "training.objective = queries and negatives change the rows of their batch alone: use model.regularise_by = frequency",
            ),
            (
                t.optimizer == Optimizer::Adam || t.table == TableKind::Memory,
                "rows in a file hold Adam's state: use training.optimizer = adam, or training.table = memory",
            ),
            (
                !all_entities || t.table == TableKind::Memory,
                "training.objective = 1vsall and kvsall change every entity's row in every step: use training.table = memory",
            ),
            (
                t.steps.is_none() || t.epochs.is_none(),
                "give either training.steps or training.epochs, not both",
            ),
            (t.steps != Some(0), "training.steps must be at least 1"),
            (t.epochs.is_none_or(|e| e.is_finite() && e > 0.0), "training.epochs must be above 0"),
            (t.learning_rate.is_finite() && t.learning_rate > 0.0, "training.learning_rate must be above 0"),
            ((0.0..=1.0).contains(&t.final_rate), "training.final_rate must be between 0 and 1"),
            (
                t.schedule != Schedule::Step || t.final_rate > 0.0,
                "training.schedule = step needs a training.final_rate above 0",
            ),
            (
                t.schedule != Schedule::Plateau
                    || (t.plateau_patience > 0 && t.plateau_factor > 0.0 && t.plateau_factor < 1.0),
                "training.schedule = plateau needs a training.plateau_patience of at least 1 and a \
                 training.plateau_factor between 0 and 1",
            ),
            (
                t.clip_norm.is_finite() && t.clip_norm >= 0.0,
                "training.clip_norm must be above 0, or 0 for no clipping",
            ),
            (
                t.adversarial_temperature.is_finite() && t.adversarial_temperature >= 0.0,
                "training.adversarial_temperature must be 0 or more",
            ),
            (
                t.divergence_factor == 0.0 || (t.divergence_factor.is_finite() && t.divergence_factor > 1.0),
                "training.divergence_factor must be above 1, or 0 for never",
            ),
            (self.model.gamma().is_finite() && self.model.gamma() > -2.0, "model.gamma must be above -2"),
            // Far beyond any use, and small enough that products of them do not overflow.
            (self.model.dim <= 1 << 20, "model.dim must be at most 1,048,576"),
            (
                (1..=1 << 20).contains(&self.model.hidden) && self.model.hidden_layers <= 64,
                "model.hidden must be between 1 and 1,048,576 and model.hidden_layers at most 64",
            ),
            (t.batch_size <= 1 << 24, "training.batch_size must be at most 16,777,216"),
            (
                (1..=1 << 24).contains(&self.sampling.negatives),
                "sampling.negatives must be between 1 and 16,777,216",
            ),
            (
                // Rows of a batch are numbered by 32 bits.
                self.sampling.num_negatives(t.batch_size) <= 1 << 31,
                "with sampling.pool = own, training.batch_size times sampling.negatives must be at most 2,147,483,648",
            ),
            (
                self.sampling.answer_exponent.abs() <= 8.0 && self.sampling.negative_exponent.abs() <= 8.0,
                "sampling.answer_exponent and sampling.negative_exponent must be between -8 and 8",
            ),
            (
                self.sampling.workers <= 1024,
                "sampling.workers must be between 1 and 1,024, or 0 for as many as fit",
            ),
            ((1..=65_536).contains(&self.sampling.queue), "sampling.queue must be between 1 and 65,536"),
            (self.evaluation.queries > 0, "evaluation.queries must be at least 1"),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, message)) => Err(Error::invalid(*message)),
            None => Ok(()),
        }
    }

    /// Training structures with their weights.
    pub fn training_mix(&self) -> Result<Vec<(Structure, f64)>> {
        parse_structures(match self.training.objective {
            Objective::Negatives => "1p",
            _ => &self.sampling.structures,
        })
    }

    /// The same configuration with what depends on the model or is left to a default written out, so that
    /// a stored run means the same to later versions.
    pub fn explicit(&self) -> Self {
        let mut config = self.clone();
        config.model.gamma = Some(self.model.gamma());
        config.model.regulariser = Some(self.regulariser());
        config.training.loss = Some(self.training.loss());
        if config.model.name == "tucker" {
            config.model.relation_dim.get_or_insert(config.model.dim);
        }
        config.training.query_weighting = Some(self.training.query_weighting());
        if config.model.name == "conve" {
            config.model.image_height = Some(self.model.image_height());
        }
        if config.training.steps.is_none() {
            config.training.epochs.get_or_insert(DEFAULT_EPOCHS);
        }
        config
    }

    /// The document, as stored in a run folder.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("a configuration has only tables, numbers and strings")
    }
}

/// What a model has in the place of a general default: its name, the only objective for which it counts (`*` for all of
/// them), the key, the value.
///
/// Divergences are large: at a temperature of 1 a few negatives have all the weight, and every score goes to 0 (on
/// UMLS, d = 64, after 500 steps: mean valid MRR .19 with 1, .21 with .1, .18 with uniform weights).
///
/// Scores that are products start near 0 and have no scale of their own. Cross-entropy with a higher rate learns them faster
/// than the logistic loss with any (CoDEx-S, d = 100, 1,200 steps of 256 queries, mean valid MRR with rates of .003, .01
/// and .02: DistMult .05, .17, .14 by cross-entropy, .06, .11, .09 by the logistic loss; ComplEx .08, .16, .10 and .09, .13,
/// .07).
const DEFAULTS_BY_MODEL: [(&str, &str, &str, &str); 8] = [
    ("betae", "*", "sampling.structures", "\"1p:4,2p:2,3p:1,2i:1,3i:1,2in:1,3in:1,inp:1,pin:1,pni:1\""),
    ("betae", "*", "training.adversarial_temperature", "0.1"),
    ("complex", "queries", "training.loss", "cross-entropy"),
    ("complex", "queries", "training.learning_rate", "0.01"),
    ("distmult", "queries", "training.loss", "cross-entropy"),
    ("distmult", "queries", "training.learning_rate", "0.01"),
    ("conve", "*", "sampling.structures", "\"1p:4,2p:2,3p:1\""),
    ("transe", "*", "sampling.structures", "\"1p:4,2p:2,3p:1\""),
];

/// A document with assignments on top, checked.
fn apply(mut table: Table, assignments: &[String]) -> Result<Config> {
    const LENGTH: [&str; 2] = ["steps", "epochs"];
    let sets_length = |assignment: &String| {
        let key = assignment.split('=').next().and_then(|path| path.trim().strip_prefix("training."));
        key.is_some_and(|key| LENGTH.contains(&key))
    };
    // A length that is given replaces that of the document, whatever it is counted in.
    if let Some(Value::Table(training)) = table.get_mut("training")
        && assignments.iter().any(sets_length)
    {
        LENGTH.iter().for_each(|key| drop(training.remove(*key)));
    }
    for assignment in assignments {
        assign(&mut table, assignment)?;
    }
    for (model, objective, key, value) in DEFAULTS_BY_MODEL {
        let (section, field) = key.split_once('.').expect("a path of two keys");
        let get = |section, field| table.get(section).and_then(|fields| fields.get(field));
        let text = |section, field| get(section, field).and_then(Value::as_str);
        let counts = ["*", text("training", "objective").unwrap_or("queries")].contains(&objective);
        if counts && text("model", "name") == Some(model) && get(section, field).is_none() {
            assign(&mut table, &format!("{key}={value}"))?;
        }
    }
    let config = parse(table).map_err(|message| Error::invalid(format!("configuration: {message}")))?;
    config.check()?;
    Ok(config)
}

/// A document as a configuration, or what is wrong with it.
fn parse(table: Table) -> Result<Config, String> {
    let known = Config::with_every_key();
    for (section, value) in &table {
        let fields = known.get(section).and_then(Value::as_table);
        match (fields, value) {
            (Some(_), Value::Table(given)) if section == "model" && given.contains_key("n3") => {
                return Err(
                    "model.n3 has become model.regulariser = \"n3\" with the weights model.regularise_entities and \
                     model.regularise_relations"
                        .into(),
                );
            }
            (Some(fields), Value::Table(given)) => {
                if let Some(key) = given.keys().find(|key| !fields.contains_key(*key)) {
                    return Err(unknown(&format!("{section}.{key}"), &known));
                }
            }
            (Some(_), _) => return Err(format!("{section} is a table, not a value: set {section}.KEY")),
            (None, Value::Table(given)) if !given.is_empty() => {
                let key = given.keys().next().expect("it is not empty");
                return Err(unknown(&format!("{section}.{key}"), &known));
            }
            (None, _) => return Err(unknown(section, &known)),
        }
    }
    // The second line of the message is the key.
    Value::Table(table).try_into().map_err(|e| e.to_string().trim_end().replace("\nin ", " in "))
}

/// That there is no such key, and which one may be meant.
fn unknown(key: &str, known: &Table) -> String {
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_string();
    let paths = known.iter().flat_map(|(section, fields)| {
        fields.as_table().into_iter().flat_map(Table::keys).map(move |field| format!("{section}.{field}"))
    });
    // The last part decides; among alike ones, the whole path.
    let scored = paths.map(|path| {
        let near = strsim::jaro_winkler(&last(key), &last(&path));
        (near, near + strsim::jaro_winkler(key, &path), path)
    });
    match scored.filter(|(near, ..)| *near >= 0.8).max_by(|a, b| a.1.total_cmp(&b.1)) {
        Some((.., path)) => format!("unknown key {key} (did you mean {path}?)"),
        None => format!("unknown key {key}: the configuration of a run in its config.toml shows them all"),
    }
}

/// Sets `key.path=value`; the value is TOML, or a string where it is none.
fn assign(table: &mut Table, assignment: &str) -> Result<()> {
    let (path, text) = assignment
        .split_once('=')
        .ok_or_else(|| Error::invalid(format!("'{assignment}': expected key.path=value")))?;
    let value = format!("value = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut t| t.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_string()));
    let keys: Vec<&str> = path.trim().split('.').collect();
    let (last, parents) = keys.split_last().expect("split gives at least one part");
    let mut at = table;
    for key in parents {
        at = at
            .entry(*key)
            .or_insert_with(|| Value::Table(Table::new()))
            .as_table_mut()
            .ok_or_else(|| Error::invalid(format!("'{assignment}': {key} is not a table")))?;
    }
    at.insert(last.to_string(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(assignments: &[&str]) -> Result<Config> {
        Config::resolve(None, &assignments.iter().map(|s| s.to_string()).collect::<Vec<_>>())
    }

    #[test]
    fn later_assignments_win_and_strings_need_no_quotes() {
        let config = set(&["model.dim=8", "model.dim=16", "model.name=query2box", "model.norm=l2"]).unwrap();
        assert_eq!(
            (config.model.dim, config.model.name.as_str(), config.model.norm),
            (16, "query2box", Norm::L2)
        );
        assert_eq!(config.model.gamma(), 9.0);
    }

    #[test]
    fn a_resolved_configuration_is_a_configuration() {
        let config = set(&["training.steps=7", "model.gamma=6.5"]).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), config.to_toml()).unwrap();
        assert_eq!(Config::resolve(Some(file.path()), &[]).unwrap(), config);
    }

    #[test]
    fn unknown_keys_and_bad_values_are_refused_by_name() {
        for (assignment, expected) in [
            ("model.dimension=8", "unknown key model.dimension (did you mean model.dim?)"),
            ("modle.dim=8", "unknown key modle.dim (did you mean model.dim?)"),
            ("dim=8", "unknown key dim (did you mean model.dim?)"),
            ("training.dim=8", "did you mean model.dim?"),
            ("training.stepps=8", "did you mean training.steps?"),
            ("zzz.qqq=8", "unknown key zzz.qqq: "),
            ("model.n3=0.1", "model.n3 has become model.regulariser"),
            ("model.regularise_entities=-1", "model.regularise_entities"),
            ("model.regulariser=n4", "model.regulariser"),
            ("model=gqe", "model is a table"),
            ("model.dim=many", "expected usize in `model.dim`"),
            ("model.dim=10000000", "at most"),
            ("sampling.workers=1025", "between 1 and 1,024"),
            ("training.learning_rate=-1", "learning_rate"),
            ("training.epochs=0", "epochs"),
            ("model.dim", "key.path=value"),
        ] {
            let message = set(&[assignment]).unwrap_err().to_string();
            assert!(message.contains(expected), "{assignment}: {message}");
        }
        assert!(
            set(&["training.steps=1", "training.epochs=1"]).unwrap_err().to_string().contains("not both")
        );
    }

    #[test]
    fn a_model_has_defaults_of_its_own_which_a_document_and_assignments_replace() {
        let negation = |config: &Config| config.sampling.structures.contains("2in");
        let config = set(&["model.name=betae"]).unwrap();
        assert!(negation(&config) && config.model.gamma() == 60.0);
        assert_eq!(config.training.adversarial_temperature, 0.1);
        assert!(!negation(&set(&["model.name=gqe"]).unwrap()));
        let loss = |more: &[&str]| {
            let config = set(&[&["model.name=complex"], more].concat()).unwrap();
            (config.training.loss(), config.training.learning_rate)
        };
        assert_eq!(loss(&[]), (Loss::CrossEntropy, 0.01));
        assert_eq!(loss(&["training.loss=logistic"]), (Loss::Logistic, 0.01));
        assert_eq!(loss(&["training.objective=kvsall"]), (Loss::Logistic, 3e-3));
        let given = set(&["sampling.structures=1p", "model.name=betae"]).unwrap();
        assert_eq!(given.sampling.structures, "1p");
        let again = config.with(&["training.adversarial_temperature=0.5".into()]).unwrap();
        assert_eq!((again.training.adversarial_temperature, negation(&again)), (0.5, true));
    }

    #[test]
    fn a_given_length_replaces_that_of_the_document() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[training]\nepochs = 3\n").unwrap();
        let config = Config::resolve(Some(file.path()), &["training.steps=7".into()]).unwrap();
        assert_eq!((config.training.steps, config.training.epochs), (Some(7), None));
        let longer = config.with(&["training.epochs=2".into()]).unwrap();
        assert_eq!((longer.training.steps, longer.training.epochs), (None, Some(2.0)));
        assert_eq!(config.with(&[]).unwrap(), config);
    }

    #[test]
    fn a_stored_configuration_leaves_nothing_to_defaults() {
        let explicit = set(&[]).unwrap().explicit();
        assert_eq!((explicit.model.gamma, explicit.training.epochs), (Some(9.0), Some(DEFAULT_EPOCHS)));
        let steps = set(&["training.steps=7"]).unwrap().explicit();
        assert_eq!((steps.training.steps, steps.training.epochs), (Some(7), None));
    }

    #[test]
    fn schedules_go_from_the_full_rate_to_its_final_share() {
        let at = |schedule, step| {
            TrainingConfig { schedule, learning_rate: 2.0, final_rate: 0.5, ..Default::default() }
                .rate_at(step, 101, 0)
        };
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a}, not {b}");
        for schedule in [Schedule::Linear, Schedule::Cosine, Schedule::Step] {
            close(at(schedule, 1), 2.0);
            close(at(schedule, 101), 1.0);
            assert!((1..101).all(|step| at(schedule, step) >= at(schedule, step + 1)), "{schedule:?} falls");
        }
        close(at(Schedule::Linear, 51), 1.5);
        close(at(Schedule::Cosine, 51), 1.5);
        close(at(Schedule::Cosine, 26), 1.0 + 0.5 * (1.0 + 0.5f64.sqrt()));
        let rates: std::collections::BTreeSet<u64> =
            (1..=101).map(|s| at(Schedule::Step, s).to_bits()).collect();
        assert_eq!(rates.len(), 10);
        assert!((1..=101).all(|step| at(Schedule::Constant, step) == 2.0));
        let warm = TrainingConfig {
            warm_up: 4,
            schedule: Schedule::Constant,
            learning_rate: 2.0,
            ..Default::default()
        };
        assert_eq!([1, 2, 3, 4, 5].map(|step| warm.rate_at(step, 101, 0)), [0.5, 1.0, 1.5, 2.0, 2.0]);
        let plateau = TrainingConfig { schedule: Schedule::Plateau, plateau_factor: 0.25, ..warm };
        assert_eq!([0, 1, 2].map(|plateaus| plateau.rate_at(50, 101, plateaus)), [2.0, 0.5, 0.125]);
    }

    #[test]
    fn objectives_refuse_what_they_do_not_have() {
        for (assignments, expected) in [
            (
                &["training.objective=kvsall", "training.loss=margin"][..],
                "training.objective = queries or negatives",
            ),
            (
                &["training.objective=1vsall", "training.loss=margin"],
                "training.objective = queries or negatives",
            ),
            (&["training.loss=margin", "training.margin=inf"], "training.margin"),
            (&["training.relation_prediction=0.1"], "training.relation_prediction"),
            (
                &["training.objective=1vsall", "training.relation_prediction=-1"],
                "training.relation_prediction",
            ),
            (&["training.label_smoothing=0.1"], "training.label_smoothing"),
            (&["training.objective=kvsall", "training.label_smoothing=1.5"], "training.label_smoothing"),
            (&["model.dropout_entity=0.1"], "model.dropout_entity"),
            (&["training.objective=1vsall", "model.dropout_relation=1"], "dropout_relation"),
            (&["training.objective=1vsall", "model.dropout_hidden=0.1"], "are for conve"),
            (&["training.objective=1vsall", "training.table=file"], "training.table = memory"),
            (&["training.optimizer=sgd", "training.table=file"], "training.table = memory"),
            (&["training.schedule=step", "training.final_rate=0"], "training.final_rate"),
            (&["model.regulariser=l2", "model.regularise_by=table"], "model.regularise_by = frequency"),
            (&["training.schedule=plateau", "training.plateau_factor=1"], "training.plateau_factor"),
            (&["training.schedule=plateau", "training.plateau_patience=0"], "training.plateau_patience"),
            (&["training.clip_norm=-1"], "training.clip_norm"),
        ] {
            let message = set(assignments).unwrap_err().to_string();
            assert!(message.contains(expected), "{assignments:?}: {message}");
        }
        let of = |objective: &str| set(&[&format!("training.objective={objective}")]).unwrap().training;
        let losses = ["queries", "negatives", "1vsall", "kvsall"].map(|objective| of(objective).loss());
        assert_eq!(losses, [Loss::Logistic, Loss::Logistic, Loss::CrossEntropy, Loss::Logistic]);
        let weighting = ["queries", "negatives"].map(|objective| of(objective).query_weighting());
        assert_eq!(weighting, [QueryWeighting::Answers, QueryWeighting::Uniform]);
        let regulariser = |assignments: &[&str]| set(assignments).unwrap().explicit().model.regulariser;
        assert_eq!(regulariser(&["model.name=complex"]), Some(Regulariser::N3));
        assert_eq!(regulariser(&["model.name=gqe"]), Some(Regulariser::None));
        assert_eq!(
            regulariser(&["model.name=complex", "training.objective=1vsall"]),
            Some(Regulariser::None)
        );
    }

    #[test]
    fn epochs_count_directed_edges() {
        let mut training = TrainingConfig { batch_size: 10, epochs: Some(2.0), ..TrainingConfig::default() };
        assert_eq!(training.num_steps(101), 21);
        training.steps = Some(5);
        assert_eq!(training.num_steps(101), 5);
    }
}
