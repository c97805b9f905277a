//! The section `model`.

use crate::backend::{Activation, Scoring};
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
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// The embedding model.
    pub name: String,
    /// Embedding dimension d; complex numbers for `complex` and `rotate`.
    pub dim: usize,
    /// TuckER: width of a relation's row; like `dim` where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relation_dim: Option<usize>,
    /// ConvE: rows of the image that a row of `dim` is reshaped to. Default: the divisor of `dim` nearest to its root from below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_height: Option<usize>,
    /// ConvE, single-hop training: whether features and queries are normalised by the batch. (UMLS, d = 64, 1vsAll, ten epochs
    /// of batches of 128: MRR of link prediction .89 with it, .83 without.)
    pub batch_norm: bool,
    /// ConvE: number of filters.
    pub filters: usize,
    /// The margin; rows start in plus or minus (gamma + 2) / dim, those of `betae` in plus or minus 1. Default: 9 for distances, 6 for `rotate`, 60 for `betae`, dim / 6 for
    /// `complex`, dim / 20 for `distmult`, `rescal`, `tucker` and `conve`.
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
            batch_norm: false,
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
