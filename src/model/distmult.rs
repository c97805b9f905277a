//! DistMult (Yang et al. 2015), extended to multi-hop queries: real vectors, products, deep sets.
//!
//! Entities, relations and queries are vectors of d. Projection is `q * r`, intersection
//! [`network::deep_set`], the score `<q, e>`. It cannot tell a relation from its inverse by form, only by
//! the row of its own that each direction has. Trained with N3 (Lacroix, Usunier and Obozinski 2018).

use super::{Halves, Model, Widths, network};
use crate::backend::{Backend, Projection, Scoring};
use crate::config::ModelConfig;

/// The model; see the module's page.
#[derive(Clone, Debug)]
pub struct DistMult {
    dim: usize,
    range: f32,
}

impl DistMult {
    /// From `dim` and `gamma` (which only sets the range of the start).
    pub fn new(config: &ModelConfig) -> Self {
        DistMult { dim: config.dim, range: config.range() }
    }
}

impl<B: Backend> Model<B> for DistMult {
    fn name(&self) -> &'static str {
        "distmult"
    }

    fn widths(&self) -> Widths {
        Widths { entity: self.dim, relation: self.dim, query: self.dim }
    }

    fn projection(&self) -> Option<Projection> {
        Some(Projection::Product)
    }

    fn scoring(&self) -> Scoring {
        Scoring::Dot
    }

    fn regularised(&self) -> Option<Halves> {
        Some(Halves::Real)
    }

    fn range(&self) -> f32 {
        self.range
    }

    network::deep_set::methods!();
}
