//! The configuration of a run: one TOML document, every key with a default, unknown keys refused.
//!
//! Precedence: defaults, then `--config FILE`, then flags, then `--set key.path=value` in the order given.
//! The resolved document is stored in the run folder and is itself a valid `--config`.
//!
//! Reading order: this file (the document), its sections [`model`], [`sampling`], [`training`] and `inference`, [`keys`] (what each key takes
//! and means), `check` (what depends on several keys), `layers` (how documents, assignments and defaults of a model come together).

mod check;
mod inference;
pub mod keys;
mod layers;
pub mod model;
pub mod sampling;
#[cfg(test)]
mod tests;
pub mod training;

pub use inference::{DEFAULT_SCALE, InferenceConfig};
pub use model::{ModelConfig, Norm, RegulariseBy, Regulariser, Start, UnionForm};
pub use sampling::SamplingConfig;
pub use training::{DEFAULT_EPOCHS, Loss, Objective, QueryWeighting, Schedule, TableKind, TrainingConfig};

use crate::error::Result;
use crate::query::parse::parse_structures;
use crate::query::structure::Structure;
use serde::{Deserialize, Serialize};

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
    /// How a saved run answers queries.
    pub inference: InferenceConfig,
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

/// What is evaluated on the way and at the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluationConfig {
    /// Structures, or "all" that the model can express and was trained for.
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
    /// The regulariser: that which is given, or N3 where `complex` and `distmult` learn against sampled negatives, as SMORE has it.
    pub fn regulariser(&self) -> Regulariser {
        let with_n3 = crate::model::entry(&self.model.name).is_some_and(|entry| entry.learns_with_n3);
        self.model.regulariser.unwrap_or(match self.training.objective {
            Objective::Queries | Objective::Negatives if with_n3 => Regulariser::N3,
            _ => Regulariser::None,
        })
    }

    /// Training structures with their weights.
    pub fn training_mix(&self) -> Result<Vec<(Structure, f64)>> {
        parse_structures(match self.training.objective {
            Objective::Negatives => "1p",
            Objective::Queries | Objective::OneVsAll | Objective::KvsAll => &self.sampling.structures,
        })
    }

    /// The same configuration with what depends on the model or is left to a default written out, so that
    /// a stored run means the same to later versions.
    pub fn explicit(&self) -> Self {
        let mut config = self.clone();
        config.model.gamma = Some(self.model.gamma());
        config.model.regulariser = Some(self.regulariser());
        config.training.loss = Some(self.training.loss());
        config.training.query_weighting = Some(self.training.query_weighting());
        config.model.make_own_explicit();
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
