//! RESCAL (Nickel, Tresp and Kriegel 2011), extended to multi-hop queries: a relation is a matrix.
//!
//! Entities and queries are vectors of d, relation rows the matrix R of d x d, row by row. Projection is `q R`, intersection
//! [`network::deep_set`], the score `<q, e>`: of a single hop `h R t`, the paper's bilinear form.

use super::{Model, Widths, network, uniform};
use crate::backend::{Backend, Projection, Scoring};
use crate::config::ModelConfig;
use crate::rng::Rng;

/// The model; see the module's page.
#[derive(Clone, Debug)]
pub struct Rescal {
    dim: usize,
    range: f32,
}

impl Rescal {
    /// From `dim` and `gamma` (which only sets the range of the start).
    pub fn new(config: &ModelConfig) -> Self {
        Rescal { dim: config.dim, range: config.range() }
    }
}

impl<B: Backend> Model<B> for Rescal {
    fn name(&self) -> &'static str {
        "rescal"
    }

    fn widths(&self) -> Widths {
        Widths { entity: self.dim, relation: self.dim * self.dim, query: self.dim }
    }

    fn projection(&self) -> Option<Projection> {
        Some(Projection::Matrix)
    }

    fn scoring(&self) -> Scoring {
        Scoring::Dot
    }

    fn range(&self) -> f32 {
        self.range
    }

    /// With a variance of 1 / d a query is as long as its head, however many hops there are.
    fn start_relation(&self, row: &mut [f32], rng: &mut Rng) {
        let range = (3.0 / self.dim as f32).sqrt();
        uniform(row, -range, range, rng);
    }

    network::deep_set::methods!();
}
