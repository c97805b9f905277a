//! GQE (Hamilton et al. 2018) in the form of Ren et al. 2020: points, translations, attention.
//!
//! Entities, relations and queries are vectors of d. Projection is `q + r`, intersection the attention
//! of [`network::attention`], the score `gamma - |e - q|` in L1 or L2.

use super::network::attention;
use super::{DenseShape, Model, Widths, Workspace, network};
use crate::backend::{Backend, Mat, MatMut, Projection, Scoring};
use crate::config::{ModelConfig, Norm};

/// The model; see the module's page.
#[derive(Clone, Debug)]
pub struct Gqe {
    dim: usize,
    gamma: f32,
    range: f32,
    norm: Norm,
}

impl Gqe {
    /// From `dim`, `gamma` and `norm`.
    pub fn new(config: &ModelConfig) -> Self {
        Gqe { dim: config.dim, gamma: config.gamma(), range: config.range(), norm: config.norm }
    }
}

impl<B: Backend> Model<B> for Gqe {
    fn name(&self) -> &'static str {
        "gqe"
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

    fn range(&self) -> f32 {
        self.range
    }

    fn dense(&self) -> Vec<DenseShape> {
        network::layers("attention", self.dim, 2)
    }

    fn workspace(&self, inputs: usize, _outputs: usize) -> Vec<usize> {
        let mut work = attention::workspace(self.dim, inputs);
        work.push(inputs * self.dim);
        work
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
        attention::forward(backend, dense, x, offsets, &mut work[..attention::BUFFERS], out);
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
        let (work, scratch) = work.split_at_mut(attention::BUFFERS);
        attention::backward(backend, dense, x, offsets, dout, work, &mut scratch[0], dx, ddense);
    }
}
