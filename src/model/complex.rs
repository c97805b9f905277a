//! ComplEx (Trouillon et al. 2016), extended to multi-hop queries: complex vectors, products, deep sets.
//!
//! All rows are [real d, imaginary d]. Projection is the complex product with the relation,
//! intersection [`network::deep_set`] on the 2d reals, the score Re<q, conj(e)>. Trained with N3
//! (Lacroix, Usunier and Obozinski 2018).

use super::network::deep_set;
use super::{DenseShape, Halves, Model, Widths, Workspace, network};
use crate::backend::{Backend, Mat, MatMut, Projection, Scoring};
use crate::config::ModelConfig;
use crate::error::Result;

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

    fn dense(&self) -> Vec<DenseShape> {
        network::layers("set", 2 * self.dim, 4)
    }

    fn workspace(&self, backend: &B, inputs: usize, outputs: usize) -> Result<Workspace<B>> {
        deep_set::workspace(backend, 2 * self.dim, inputs, outputs)
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
