//! TransE (Bordes et al. 2013) on queries without intersections: points, moved by translation.
//!
//! Entities, relations and queries are vectors of d. Projection is `q + r`, the score `gamma - |e - q|` in
//! L1 or L2. There is no network and so no intersection: chains and unions are what it can express.
//! With one it is [`Gqe`](super::gqe::Gqe).

use super::{DenseShape, Model, Widths, Workspace};
use crate::backend::{Backend, Mat, MatMut, Projection, Scoring};
use crate::config::{ModelConfig, Norm};
use crate::error::Result;

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

/// What an intersection would be a bug of: [`Embedder::new`](super::Embedder::new) refuses its plan.
const NO_INTERSECTION: &str = "a plan with an intersection is refused before it runs";

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

    fn dense(&self) -> Vec<DenseShape> {
        vec![]
    }

    fn workspace(&self, _backend: &B, _inputs: usize, _outputs: usize) -> Result<Workspace<B>> {
        unreachable!("{NO_INTERSECTION}")
    }

    fn intersect(
        &self,
        _backend: &B,
        _dense: &[Mat<B::Buffer>],
        _x: Mat<B::Buffer>,
        _offsets: &B::Index,
        _work: &mut Workspace<B>,
        _out: MatMut<B::Buffer>,
    ) {
        unreachable!("{NO_INTERSECTION}")
    }

    fn intersect_backward(
        &self,
        _backend: &B,
        _dense: &[Mat<B::Buffer>],
        _x: Mat<B::Buffer>,
        _offsets: &B::Index,
        _dout: Mat<B::Buffer>,
        _work: &mut Workspace<B>,
        _dx: MatMut<B::Buffer>,
        _ddense: &mut [B::Buffer],
    ) {
        unreachable!("{NO_INTERSECTION}")
    }
}
