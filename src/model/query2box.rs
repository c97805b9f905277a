//! Query2Box (Ren, Hu and Leskovec 2020): queries are boxes, entities points.
//!
//! Entity rows are points of d; relation and query rows are [center d, offset d]. Projection adds
//! centers and offsets (through f); an intersection's center is the attention of
//! [`network::attention`] over centers, its offset the gated minimum of [`network::gated_min`]; the
//! score is `gamma - outside distance - inside * inside distance`.

use super::network::{attention, gated_min};
use super::{DenseShape, Model, Widths, Workspace, network, uniform};
use crate::backend::{Activation, Backend, Mat, MatMut, Projection, Scoring};
use crate::config::ModelConfig;
use crate::rng::Rng;

/// The model; see the module's page.
#[derive(Clone, Debug)]
pub struct Query2Box {
    dim: usize,
    gamma: f32,
    range: f32,
    inside: f32,
    offset: Activation,
}

impl Query2Box {
    /// From `dim`, `gamma`, `inside` and `offset_activation`.
    pub fn new(config: &ModelConfig) -> Self {
        Query2Box {
            dim: config.dim,
            gamma: config.gamma(),
            range: config.range(),
            inside: config.inside,
            offset: config.offset_activation,
        }
    }
}

impl<B: Backend> Model<B> for Query2Box {
    fn name(&self) -> &'static str {
        "query2box"
    }

    fn widths(&self) -> Widths {
        Widths { entity: self.dim, relation: 2 * self.dim, query: 2 * self.dim }
    }

    fn projection(&self) -> Option<Projection> {
        Some(Projection::Box { offset: self.offset })
    }

    fn scoring(&self) -> Scoring {
        Scoring::Box { gamma: self.gamma, inside: self.inside }
    }

    fn range(&self) -> f32 {
        self.range
    }

    fn start_relation(&self, row: &mut [f32], rng: &mut Rng) {
        let (center, offset) = row.split_at_mut(self.dim);
        uniform(center, -self.range, self.range, rng);
        uniform(offset, 0.0, self.range, rng);
    }

    fn dense(&self) -> Vec<DenseShape> {
        let mut dense = network::layers("center", self.dim, 2);
        dense.extend(network::layers("offset", self.dim, 2));
        dense
    }

    fn workspace(&self, inputs: usize, outputs: usize) -> Vec<usize> {
        let mut work = attention::workspace(self.dim, inputs);
        work.extend(gated_min::workspace(self.dim, inputs, outputs));
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
        mut out: MatMut<B::Buffer>,
    ) {
        let d = self.dim;
        let (center, offset) = dense.split_at(attention::PARAMETERS);
        let (center_work, rest) = work.split_at_mut(attention::BUFFERS);
        let last = rest.len() - 1;
        let centers = out.again().columns(0, d);
        attention::forward(backend, center, x.columns(0, d), offsets, center_work, centers);
        gated_min::forward(backend, offset, x.columns(d, d), offsets, &mut rest[..last], out.columns(d, d));
    }

    fn intersect_backward(
        &self,
        backend: &B,
        dense: &[Mat<B::Buffer>],
        x: Mat<B::Buffer>,
        offsets: &B::Index,
        dout: Mat<B::Buffer>,
        work: &mut Workspace<B>,
        mut dx: MatMut<B::Buffer>,
        ddense: &mut [B::Buffer],
    ) {
        let d = self.dim;
        let (center, offset) = dense.split_at(attention::PARAMETERS);
        let (dcenter, doffset) = ddense.split_at_mut(attention::PARAMETERS);
        let (center_work, rest) = work.split_at_mut(attention::BUFFERS);
        let (offset_work, scratch) = rest.split_at_mut(rest.len() - 1);
        attention::backward(
            backend,
            center,
            x.columns(0, d),
            offsets,
            dout.columns(0, d),
            center_work,
            &mut scratch[0],
            dx.again().columns(0, d),
            dcenter,
        );
        gated_min::backward(
            backend,
            offset,
            x.columns(d, d),
            offsets,
            dout.columns(d, d),
            offset_work,
            &mut scratch[0],
            dx.columns(d, d),
            doffset,
        );
    }
}
