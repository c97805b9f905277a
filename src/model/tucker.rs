//! TuckER (Balazevic, Allen and Hospedales 2019), extended to multi-hop queries: the matrices of relations are mixtures of
//! a few that all relations share.
//!
//! Entities and queries are vectors of d, relation rows of k = `relation_dim`. The core W, k matrices of d x d, is a dense
//! parameter, stored as d^2 rows of k. A relation's matrix is `R = sum_k r_k W_k`, and then all is as in
//! [`rescal`](super::rescal): projection `q R`, intersection [`network::deep_set`], the score `<q, e>`.
//!
//! A batch makes the matrix of each of its relations once: that product, of d^2 x k with each relation, is most of the work.
//! Without the paper's batch normalisation, as in LibKGE.

use super::{DenseShape, Model, Widths, Workspace, network, uniform};
use crate::backend::{Activation, Backend, Mat, MatMut, ProjectStep, Projection, Scoring};
use crate::config::ModelConfig;
use crate::rng::Rng;
use std::ops::Range;

/// The model; see the module's page.
#[derive(Clone, Debug)]
pub struct TuckEr {
    dim: usize,
    relation_dim: usize,
    range: f32,
}

/// Where the core is among the dense parameters: behind those of the sets.
const CORE: usize = network::deep_set::PARAMETERS;

impl TuckEr {
    /// From `dim`, `relation_dim` and `gamma` (which only sets the range of the start).
    pub fn new(config: &ModelConfig) -> Self {
        let relation_dim = config.relation_dim.unwrap_or(config.dim);
        TuckEr { dim: config.dim, relation_dim, range: config.range() }
    }
}

/// Splits the buffers of a projection.
macro_rules! split {
    ($work:expr, [$($name:ident),*]) => {
        let [$($name),*] = &mut $work[..] else { unreachable!("the workspace was made for training") };
    };
}

impl<B: Backend> Model<B> for TuckEr {
    fn name(&self) -> &'static str {
        "tucker"
    }

    fn widths(&self) -> Widths {
        Widths { entity: self.dim, relation: self.relation_dim, query: self.dim }
    }

    fn scoring(&self) -> Scoring {
        Scoring::Dot
    }

    fn range(&self) -> f32 {
        self.range
    }

    /// With a variance of 1, beside which the core's makes that of a matrix about 2 / d.
    fn start_relation(&self, row: &mut [f32], rng: &mut Rng) {
        let range = 3.0f32.sqrt();
        uniform(row, -range, range, rng);
    }

    fn shares_relations(&self) -> bool {
        true
    }

    fn is_multilinear(&self) -> bool {
        true
    }

    fn dense(&self) -> Vec<DenseShape> {
        let mut shapes = network::layers("set", self.dim, 4);
        let (rows, cols) = (self.dim * self.dim, self.relation_dim);
        let range = (6.0 / (rows + cols) as f32).sqrt();
        shapes.push(DenseShape { name: "core".into(), rows, cols, range, averaged: false });
        shapes
    }

    fn projection_dense(&self) -> Range<usize> {
        CORE..CORE + 1
    }

    /// The matrices, a bias of zeros, and their gradients where it is trained.
    fn project_workspace(&self, _count: usize, relations: usize, trained: bool) -> Vec<usize> {
        let square = self.dim * self.dim;
        let values = [relations * square, square];
        values.into_iter().chain(values.into_iter().filter(|_| trained)).collect()
    }

    fn project(
        &self,
        backend: &B,
        dense: &[Mat<B::Buffer>],
        step: ProjectStep<B>,
        relations: Mat<B::Buffer>,
        work: &mut Workspace<B>,
        slots: MatMut<B::Buffer>,
    ) {
        let square = self.dim * self.dim;
        let (matrices, rest) = work.split_at_mut(1);
        let matrices_out = MatMut::new(&mut matrices[0], relations.rows, square);
        let none = Activation::None;
        backend.linear(relations, dense[CORE], Mat::new(&rest[0], 1, square), none, matrices_out);
        backend.project(Projection::Matrix, step, Mat::new(&matrices[0], relations.rows, square), slots);
    }

    fn project_backward(
        &self,
        backend: &B,
        dense: &[Mat<B::Buffer>],
        step: ProjectStep<B>,
        slots: Mat<B::Buffer>,
        relations: Mat<B::Buffer>,
        work: &mut Workspace<B>,
        grads: MatMut<B::Buffer>,
        relation_grads: MatMut<B::Buffer>,
        ddense: &mut [B::Buffer],
    ) {
        let (n, square) = (relations.rows, self.dim * self.dim);
        split!(work, [matrices, _zeros, dmatrices, dzeros]);
        let matrices = Mat::new(&*matrices, n, square);
        let to = MatMut::new(dmatrices, n, square);
        backend.project_backward(Projection::Matrix, step, slots, matrices, grads, to);
        backend.linear_backward(
            relations,
            dense[CORE],
            matrices,
            Activation::None,
            MatMut::new(dmatrices, n, square),
            relation_grads,
            MatMut::new(&mut ddense[CORE], square, self.relation_dim),
            MatMut::new(dzeros, 1, square),
        );
    }

    network::deep_set::set_methods!();
}
