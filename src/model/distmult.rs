//! DistMult (Yang et al. 2015), extended to multi-hop queries: real vectors, products, deep sets.
//!
//! Entities, relations and queries are vectors of d. Projection is `q * r`, intersection
//! [`network::deep_set`], the score `<q, e>`. It cannot tell a relation from its inverse by form, only by
//! the row of its own that each direction has. Trained with N3 (Lacroix, Usunier and Obozinski 2018).

use super::network::deep_set;
use super::{DenseShape, Halves, Model, Widths, Workspace, network};
use crate::backend::{Backend, Mat, MatMut, Projection, Scoring};
use crate::config::ModelConfig;
use crate::error::Result;

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

    fn dense(&self) -> Vec<DenseShape> {
        network::layers("set", self.dim, 4)
    }

    fn workspace(&self, backend: &B, inputs: usize, outputs: usize) -> Result<Workspace<B>> {
        deep_set::workspace(backend, self.dim, inputs, outputs)
    }

    fn intersect(
        &self,
        backend: &B,
        dense: &[Mat<B::Buffer>],
        x: Mat<B::Buffer>,
        offsets: &B::Index,
        work: &mut Workspace<B>,
        out: MatMut<B::Buffer>,
    ) {
        deep_set::forward(backend, dense, x, offsets, work, out);
    }

    fn intersect_backward(
        &self,
        backend: &B,
        dense: &[Mat<B::Buffer>],
        x: Mat<B::Buffer>,
        offsets: &B::Index,
        dout: Mat<B::Buffer>,
        work: &mut Workspace<B>,
        dx: MatMut<B::Buffer>,
        ddense: &mut [B::Buffer],
    ) {
        deep_set::backward(backend, dense, x, offsets, dout, work, dx, ddense);
    }
}
