//! BetaE (Ren and Leskovec 2020): Beta distributions, which have a negation.
//!
//! A query is [alpha d, beta d], the parameters of d Beta distributions; an entity row of 2d and what a network puts
//! out become parameters by `clamp(x + 1, 0.05, 1e9)`. Relation rows are d. Projection is a network on
//! [alpha, beta, r]; intersection an attention over [alpha, beta] whose weight of a dimension is that of its alpha and
//! of its beta; negation is 1 / alpha, 1 / beta; the score `gamma - sum KL(entity || query)`.

use super::network::{mlp, xavier};
use super::{DenseShape, Model, Widths, Workspace};
use crate::backend::{Activation, Backend, Elementwise, Mat, MatMut, ProjectStep, Scoring};
use crate::config::{ModelConfig, UnionForm};
use std::ops::Range;

/// The model; see the module's page.
#[derive(Clone, Debug)]
pub struct BetaE {
    dim: usize,
    gamma: f32,
    range: f32,
    hidden: usize,
    hidden_layers: usize,
    unions: UnionForm,
}

/// Dense parameters of the attention, which stand before those of the projection.
const ATTENTION: usize = 4;

impl BetaE {
    /// From `dim`, `gamma`, `hidden`, `hidden_layers` and `union`.
    pub fn new(config: &ModelConfig) -> Self {
        let ModelConfig { dim, hidden, hidden_layers, union: unions, .. } = *config;
        BetaE { dim, gamma: config.gamma(), range: config.range(), hidden, hidden_layers, unions }
    }

    /// Widths of the projection's layers, input first.
    fn layers(&self) -> Vec<usize> {
        let hidden = std::iter::repeat_n(self.hidden, self.hidden_layers);
        std::iter::once(3 * self.dim).chain(hidden).chain([2 * self.dim]).collect()
    }
}

/// Splits the buffers of an intersection.
macro_rules! split {
    ($work:expr, [$($name:ident),*]) => {
        let [$($name),*] = $work else { unreachable!("the workspace was made by the same model") };
    };
}

impl<B: Backend> Model<B> for BetaE {
    fn name(&self) -> &'static str {
        "betae"
    }

    fn widths(&self) -> Widths {
        Widths { entity: 2 * self.dim, relation: self.dim, query: 2 * self.dim }
    }

    fn scoring(&self) -> Scoring {
        Scoring::Beta { gamma: self.gamma }
    }

    fn has_negation(&self) -> bool {
        true
    }

    fn unions(&self) -> UnionForm {
        self.unions
    }

    fn range(&self) -> f32 {
        self.range
    }

    fn dense(&self) -> Vec<DenseShape> {
        let d = self.dim;
        let mut shapes = xavier("attention", &[2 * d, 2 * d, d]);
        shapes.extend(xavier("projection", &self.layers()));
        shapes
    }

    fn leaves(&self, backend: &B, rows: Mat<B::Buffer>, slots: MatMut<B::Buffer>) {
        backend.elementwise(Elementwise::BetaParameter, rows, slots);
    }

    fn leaves_backward(
        &self,
        backend: &B,
        slots: Mat<B::Buffer>,
        dslots: Mat<B::Buffer>,
        drows: MatMut<B::Buffer>,
    ) {
        backend.elementwise_backward(Elementwise::BetaParameter, slots, dslots, drows);
    }

    fn projection_dense(&self) -> Range<usize> {
        ATTENTION..ATTENTION + 2 * (self.hidden_layers + 1)
    }

    /// Of the input, each hidden layer and the output: the values, and their gradients where it is trained.
    fn project_workspace(&self, count: usize, _relations: usize, trained: bool) -> Vec<usize> {
        mlp::workspace(&self.layers(), count, trained)
    }

    fn project(
        &self,
        backend: &B,
        dense: &[Mat<B::Buffer>],
        step: ProjectStep<B>,
        relations: Mat<B::Buffer>,
        work: &mut Workspace<B>,
        mut slots: MatMut<B::Buffer>,
    ) {
        let (n, d) = (step.count, self.dim);
        backend.gather(slots.as_mat(), step.inputs, MatMut::new(&mut work[0], n, 3 * d).columns(0, 2 * d));
        backend.copy(relations, MatMut::new(&mut work[0], n, 3 * d).columns(2 * d, d));
        let y = mlp::forward(backend, &dense[ATTENTION..], &self.layers(), n, work);
        backend.elementwise(Elementwise::BetaParameter, y, slots.again().rows(step.output, n));
    }

    fn project_backward(
        &self,
        backend: &B,
        dense: &[Mat<B::Buffer>],
        step: ProjectStep<B>,
        slots: Mat<B::Buffer>,
        _relations: Mat<B::Buffer>,
        work: &mut Workspace<B>,
        grads: MatMut<B::Buffer>,
        relation_grads: MatMut<B::Buffer>,
        ddense: &mut [B::Buffer],
    ) {
        let (n, d, layers) = (step.count, self.dim, self.layers());
        let dy = MatMut::new(mlp::output_gradient(&layers, work), n, 2 * d);
        let out = slots.rows(step.output, n);
        backend.elementwise_backward(
            Elementwise::BetaParameter,
            out,
            grads.as_mat().rows(step.output, n),
            dy,
        );
        let dx = mlp::backward(backend, &dense[ATTENTION..], &layers, n, work, &mut ddense[ATTENTION..]);
        backend.scatter(dx.columns(0, 2 * d), step.inputs, grads);
        backend.copy(dx.columns(2 * d, d), relation_grads);
    }

    fn negate(&self, backend: &B, x: Mat<B::Buffer>, out: MatMut<B::Buffer>) {
        backend.elementwise(Elementwise::Reciprocal, x, out);
    }

    fn negate_backward(&self, backend: &B, out: Mat<B::Buffer>, dout: Mat<B::Buffer>, dx: MatMut<B::Buffer>) {
        backend.elementwise_backward(Elementwise::Reciprocal, out, dout, dx);
    }

    /// Hidden layer, logits, weights of alpha and beta, and the gradients of hidden layer and input.
    fn workspace(&self, inputs: usize, _outputs: usize) -> Vec<usize> {
        [2, 1, 2, 2, 2].map(|parts| inputs * parts * self.dim).to_vec()
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
        let (n, d) = (x.rows, self.dim);
        split!(&mut work[..], [hidden, logits, weights, _dhidden, _dx]);
        backend.linear(x, dense[0], dense[1], Activation::Relu, MatMut::new(hidden, n, 2 * d));
        let hidden = Mat::new(&*hidden, n, 2 * d);
        backend.linear(hidden, dense[2], dense[3], Activation::None, MatMut::new(logits, n, d));
        for half in [0, d] {
            let to = MatMut::new(weights, n, 2 * d).columns(half, d);
            backend.copy(Mat::new(&*logits, n, d), to);
        }
        backend.attend(x, offsets, MatMut::new(weights, n, 2 * d), out);
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
        let (n, d) = (x.rows, self.dim);
        split!(&mut work[..], [hidden, logits, weights, dhidden, through_weights]);
        split!(&mut ddense[..ATTENTION], [dw1, db1, dw2, db2]);
        backend.attend_backward(x, offsets, dout, MatMut::new(weights, n, 2 * d), dx.again());
        // A logit stood for alpha and for beta.
        let dweights = Mat::new(&*weights, n, 2 * d);
        let mut dlogits = MatMut::new(logits, n, d);
        backend.copy(dweights.columns(0, d), dlogits.again());
        backend.add(dweights.columns(d, d), dlogits.again());
        let hidden = Mat::new(&*hidden, n, 2 * d);
        backend.linear_backward(
            hidden,
            dense[2],
            dweights.columns(0, d),
            Activation::None,
            dlogits,
            MatMut::new(dhidden, n, 2 * d),
            MatMut::new(dw2, d, 2 * d),
            MatMut::new(db2, 1, d),
        );
        backend.linear_backward(
            x,
            dense[0],
            hidden,
            Activation::Relu,
            MatMut::new(dhidden, n, 2 * d),
            MatMut::new(through_weights, n, 2 * d),
            MatMut::new(dw1, 2 * d, 2 * d),
            MatMut::new(db1, 1, 2 * d),
        );
        backend.add(Mat::new(through_weights, n, 2 * d), dx);
    }
}
