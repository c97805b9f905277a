//! ComplEx (Trouillon et al. 2016), extended to multi-hop queries: complex vectors, products, deep sets.
//!
//! All rows are [real d, imaginary d]. Projection is the complex product with the relation,
//! intersection [`network::deep_set`] on the 2d reals, the score Re<q, conj(e)>. Trained with N3
//! (Lacroix, Usunier and Obozinski 2018).

use super::{Halves, Model, Widths, network};
use crate::backend::{Backend, Projection, Scoring};
use crate::config::ModelConfig;

/// The model; see the module's page.
#[derive(Clone, Debug)]
pub struct ComplEx {
    dim: usize,
    range: f32,
}

impl ComplEx {
    /// From `dim` (complex dimensions) and `gamma` (which only sets the range of the start).
    pub fn new(config: &ModelConfig) -> Self {
        ComplEx { dim: config.dim, range: config.range() }
    }
}

impl<B: Backend> Model<B> for ComplEx {
    fn name(&self) -> &'static str {
        "complex"
    }

    fn widths(&self) -> Widths {
        Widths { entity: 2 * self.dim, relation: 2 * self.dim, query: 2 * self.dim }
    }

    fn projection(&self) -> Option<Projection> {
        Some(Projection::ComplexProduct)
    }

    fn scoring(&self) -> Scoring {
        Scoring::Dot
    }

    fn regularised(&self) -> Option<Halves> {
        Some(Halves::Complex)
    }

    fn range(&self) -> f32 {
        self.range
    }

    network::deep_set::methods!();
}
