//! TransE (Bordes et al. 2013) on queries without intersections: points, moved by translation.
//!
//! Entities, relations and queries are vectors of d. Projection is `q + r`, the score `gamma - |e - q|` in
//! L1 or L2. There is no network and so no intersection: chains and unions are what it can express.
//! With one it is [`Gqe`](super::gqe::Gqe).

use super::{Model, Widths};
use crate::backend::{Backend, Projection, Scoring};
use crate::config::{ModelConfig, Norm};

/// The model; see the module's page.
#[derive(Clone, Debug)]
pub struct TransE {
    dim: usize,
    gamma: f32,
    range: f32,
    norm: Norm,
}

impl TransE {
    /// From `dim`, `gamma` and `norm`.
    pub fn new(config: &ModelConfig) -> Self {
        TransE { dim: config.dim, gamma: config.gamma(), range: config.range(), norm: config.norm }
    }
}

impl<B: Backend> Model<B> for TransE {
    fn name(&self) -> &'static str {
        "transe"
    }

    fn widths(&self) -> Widths {
        Widths { entity: self.dim, relation: self.dim, query: self.dim }
    }

    fn projection(&self) -> Option<Projection> {
        Some(Projection::Translate)
    }

    fn scoring(&self) -> Scoring {
        self.norm.scoring(self.gamma)
    }

    fn has_intersection(&self) -> bool {
        false
    }

    fn range(&self) -> f32 {
        self.range
    }
}
