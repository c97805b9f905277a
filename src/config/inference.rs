//! The section `inference`.

use super::Config;
use crate::inference::{Engine, Evidence, Options, TNorm};
use serde::{Deserialize, Serialize};

/// How a saved run answers queries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InferenceConfig {
    /// What answers queries: the model's `embedding` of the query, or reasoning over single links along a `beam` of the best
    /// bindings (CQD) or over all of them, `exact` (QTO); `auto` is exact where that fits, else a beam.
    pub engine: Engine,
    /// Links that count as observed: `train` or `train+valid`.
    pub evidence: Evidence,
    /// What joins truth values: `product`, `minimum` or `lukasiewicz`.
    pub norm: TNorm,
    /// The truth x of a branch is negated as 1 - min(1, negation_scale x). Default: what smore calibrate chose, else 1.
    pub negation_scale: Option<f32>,
    /// Links that are less true are cut to 0.
    pub row_threshold: f32,
    /// Scores are divided by it before the softmax that makes them truth values.
    pub temperature: f32,
    /// Bindings of each variable that a beam follows.
    pub beam: usize,
    /// Entities up to which exact inference is offered.
    pub exact_entities: usize,
}

/// The negation scale where none is given or chosen.
pub const DEFAULT_SCALE: f32 = 1.0;

impl Default for InferenceConfig {
    fn default() -> Self {
        InferenceConfig {
            engine: Engine::default(),
            evidence: Evidence::default(),
            norm: TNorm::default(),
            negation_scale: None,
            row_threshold: 2e-4,
            temperature: 1.0,
            beam: 64,
            exact_entities: 100_000,
        }
    }
}

impl Config {
    /// The options of inference.
    pub fn inference_options(&self) -> Options {
        let InferenceConfig { engine, evidence, norm, beam, exact_entities, .. } = self.inference;
        let InferenceConfig { row_threshold, temperature, .. } = self.inference;
        let negation_scale = self.inference.negation_scale.unwrap_or(DEFAULT_SCALE);
        Options { engine, evidence, norm, negation_scale, row_threshold, temperature, beam, exact_entities }
    }
}
