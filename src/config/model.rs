//! The section `model`.

use crate::model;
use crate::program::ops::score::Scoring;
use serde::{Deserialize, Serialize};

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
#[serde(default)]
pub struct ModelConfig {
    /// The embedding model.
    pub name: String,
    /// Embedding dimension d; complex numbers for `complex` and `rotate`.
    pub dim: usize,
    /// The margin; rows start in plus or minus (gamma + 2) / dim, or as far from 0 as the model has it. Default: the model's own
    /// (9 for most distances), which a run's config.toml has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gamma: Option<f32>,
    /// The distance of GQE and TransE.
    pub norm: Norm,
    /// Units of each hidden layer, where a network moves queries along relations.
    pub hidden: usize,
    /// Hidden layers of that network.
    pub hidden_layers: usize,
    /// What becomes of unions: several disjuncts, of which an entity's best counts, or, in a model with negation,
    /// not (not a and not b).
    pub union: UnionForm,
    /// What is added to the loss so that rows stay small: none, n3, l2 or l3. Default: n3 for `complex` and `distmult`
    /// with sampled negatives, else none.
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
    // What only some models have: their files say it.
    #[serde(flatten)]
    pub(super) own: toml::Table,
}

impl Default for ModelConfig {
    fn default() -> Self {
        ModelConfig {
            name: "query2box".into(),
            dim: 200,
            gamma: None,
            norm: Norm::L1,
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
            own: toml::Table::new(),
        }
    }
}

impl ModelConfig {
    /// The margin: that which is given, or the model's own.
    ///
    /// SMORE's published runs use 24, with hundreds of thousands of steps; a smaller margin gets to the same
    /// place in far fewer (on CoDEx-S, GQE after 3,000 steps: 1p MRR .26 with 24, .29 with 12, .33 with 9).
    pub fn gamma(&self) -> f32 {
        self.gamma.unwrap_or_else(|| model::gamma(&self.name, self.dim))
    }

    /// Rows start uniform between minus this and this: (gamma + 2) / dim, or as the model says.
    pub fn range(&self) -> f32 {
        let own = model::entry(&self.name).and_then(|entry| entry.range);
        own.unwrap_or_else(|| (self.gamma() + 2.0) / self.dim as f32)
    }

    /// What the model alone has, as it declares it.
    ///
    /// # Panics
    ///
    /// Where the values were not checked by [`keys`](super::keys).
    pub fn own<T: serde::de::DeserializeOwned>(&self) -> T {
        toml::Value::Table(self.own.clone()).try_into().expect("values are checked where they come from")
    }

    /// The values that are given of those that only some models have.
    pub(super) fn given_of_own(&self) -> &toml::Table {
        &self.own
    }

    /// Writes out the model's own keys, each with its default where none is given; those of other models are left out.
    pub(super) fn make_own_explicit(&mut self) {
        let Some(entry) = model::entry(&self.name) else { return };
        let mut own = (entry.own.defaults)(self);
        for (key, value) in &mut own {
            if let Some(given) = self.own.remove(key) {
                *value = given;
            }
        }
        self.own = own;
    }

    /// Every key that only some models have, with a value.
    pub(super) fn with_all_own(&mut self) {
        for entry in &model::REGISTRY {
            let defaults = (entry.own.defaults)(&ModelConfig::default());
            for (key, value) in defaults {
                self.own.entry(key).or_insert(value);
            }
        }
    }
}
