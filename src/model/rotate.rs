//! RotatE (Sun et al. 2019), extended to multi-hop queries: complex vectors, rotations, deep sets.
//!
//! Entity and query rows are [real d, imaginary d], relation rows d phases. A projection turns dimension k
//! by the angle `pi r_k / range`, so that a row's start in plus or minus `range` covers the circle;
//! intersection is [`network::deep_set`] on the 2d reals, the score `gamma - sum_k |e_k - q_k|` with the
//! modulus of the complex difference.

use super::{Model, Widths, network};
use crate::backend::{Backend, Projection, Scoring};
use crate::config::ModelConfig;

/// The model; see the module's page.
#[derive(Clone, Debug)]
pub struct RotatE {
    dim: usize,
    gamma: f32,
    range: f32,
}

impl RotatE {
    /// From `dim` (complex dimensions) and `gamma`.
    pub fn new(config: &ModelConfig) -> Self {
        RotatE { dim: config.dim, gamma: config.gamma(), range: config.range() }
    }
}

impl<B: Backend> Model<B> for RotatE {
    fn name(&self) -> &'static str {
        "rotate"
    }

    fn widths(&self) -> Widths {
        Widths { entity: 2 * self.dim, relation: self.dim, query: 2 * self.dim }
    }

    fn projection(&self) -> Option<Projection> {
        Some(Projection::Rotate { scale: std::f32::consts::PI / self.range })
    }

    fn scoring(&self) -> Scoring {
        Scoring::Rotation { gamma: self.gamma }
    }

    fn range(&self) -> f32 {
        self.range
    }

    network::deep_set::methods!();
}
