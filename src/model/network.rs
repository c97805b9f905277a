//! The networks that combine sets of rows, with their gradients: attention, deep sets, gated minima; and the one
//! that moves them.
//!
//! Each takes its dense parameters as a slice `[w1, b1, w2, b2, ..]` and its buffers as a slice of a
//! workspace. `n` is the number of input rows, `s` the number of segments, `d` the width.

use super::DenseShape;
use crate::backend::{Activation, Backend, Mat, MatMut};

/// Shapes of `layers` linear layers d -> d, named `prefix.w1`, `prefix.b1`, ...; Xavier uniform.
pub fn layers(prefix: &str, d: usize, layers: usize) -> Vec<DenseShape> {
    let range = (6.0 / (2 * d) as f32).sqrt();
    (1..=layers)
        .flat_map(|i| {
            [
                DenseShape { name: format!("{prefix}.w{i}"), rows: d, cols: d, range, averaged: false },
                DenseShape { name: format!("{prefix}.b{i}"), rows: 1, cols: d, range: 0.0, averaged: false },
            ]
        })
        .collect()
}

/// Shapes of linear layers between these widths, input first, named as in [`layers`]; Xavier uniform.
pub fn xavier(prefix: &str, widths: &[usize]) -> Vec<DenseShape> {
    let layer = |(i, pair): (usize, &[usize])| {
        let (cols, rows) = (pair[0], pair[1]);
        let range = (6.0 / (rows + cols) as f32).sqrt();
        [
            DenseShape { name: format!("{prefix}.w{}", i + 1), rows, cols, range, averaged: false },
            DenseShape {
                name: format!("{prefix}.b{}", i + 1),
                rows: 1,
                cols: rows,
                range: 0.0,
                averaged: false,
            },
        ]
    };
    widths.windows(2).enumerate().flat_map(layer).collect()
}

/// Splits a workspace into its buffers.
macro_rules! split {
    ($work:expr, [$($name:ident),*]) => {
        let [$($name),*] = $work else { unreachable!("the workspace was made by the same network") };
    };
}

/// Per dimension, softmax over the segment of `w2 relu(w1 x + b1) + b2`, then the weighted sum
/// (Ren et al. 2020, "Query2Box", section 4.2).
pub mod attention {
    use super::*;

    /// Number of dense parameters.
    pub const PARAMETERS: usize = 4;
    /// Number of workspace buffers.
    pub const BUFFERS: usize = 3;

    /// hidden, weights, gradient of hidden: each n x d.
    pub fn workspace(d: usize, n: usize) -> Vec<usize> {
        vec![n * d; 3]
    }

    /// Combines segments of `x` into `out`.
    pub fn forward<B: Backend>(
        backend: &B,
        dense: &[Mat<B::Buffer>],
        x: Mat<B::Buffer>,
        offsets: &B::Index,
        work: &mut [B::Buffer],
        out: MatMut<B::Buffer>,
    ) {
        let (n, d) = (x.rows, x.cols);
        split!(work, [hidden, weights, _dhidden]);
        backend.linear(x, dense[0], dense[1], Activation::Relu, MatMut::new(hidden, n, d));
        let logits = MatMut::new(weights, n, d);
        backend.linear(Mat::new(hidden, n, d), dense[2], dense[3], Activation::None, logits);
        backend.attend(x, offsets, MatMut::new(weights, n, d), out);
    }

    /// Writes `dx`, adds to `ddense`; `scratch` is n x d.
    #[allow(clippy::too_many_arguments)]
    pub fn backward<B: Backend>(
        backend: &B,
        dense: &[Mat<B::Buffer>],
        x: Mat<B::Buffer>,
        offsets: &B::Index,
        dout: Mat<B::Buffer>,
        work: &mut [B::Buffer],
        scratch: &mut B::Buffer,
        mut dx: MatMut<B::Buffer>,
        ddense: &mut [B::Buffer],
    ) {
        let (n, d) = (x.rows, x.cols);
        split!(work, [hidden, weights, dhidden]);
        split!(ddense, [dw1, db1, dw2, db2]);
        backend.attend_backward(x, offsets, dout, MatMut::new(weights, n, d), dx.again());
        let hidden = Mat::new(&*hidden, n, d);
        backend.linear_backward(
            hidden,
            dense[2],
            hidden,
            Activation::None,
            MatMut::new(weights, n, d),
            MatMut::new(dhidden, n, d),
            MatMut::new(dw2, d, d),
            MatMut::new(db2, 1, d),
        );
        backend.linear_backward(
            x,
            dense[0],
            hidden,
            Activation::Relu,
            MatMut::new(dhidden, n, d),
            MatMut::new(scratch, n, d),
            MatMut::new(dw1, d, d),
            MatMut::new(db1, 1, d),
        );
        backend.add(Mat::new(scratch, n, d), dx);
    }
}

/// `w4 relu(w3 mean(relu(w2 relu(w1 x + b1) + b2)) + b3) + b4` (Zaheer et al. 2017, "Deep Sets").
pub mod deep_set {
    use super::*;

    /// The methods of a [`Model`](crate::model::Model) whose only network combines sets of query rows.
    macro_rules! methods {
        () => {
            fn dense(&self) -> Vec<crate::model::DenseShape> {
                crate::model::network::layers("set", Model::<B>::widths(self).query, 4)
            }

            crate::model::network::deep_set::set_methods!();
        };
    }
    pub(crate) use methods;

    /// Those of a model with more dense parameters, of which this network's come first.
    macro_rules! set_methods {
        () => {
            fn workspace(&self, inputs: usize, outputs: usize) -> Vec<usize> {
                let width = Model::<B>::widths(self).query;
                crate::model::network::deep_set::workspace(width, inputs, outputs)
            }

            fn intersect(
                &self,
                backend: &B,
                dense: &[crate::backend::Mat<B::Buffer>],
                x: crate::backend::Mat<B::Buffer>,
                offsets: &B::Index,
                work: &mut crate::model::Workspace<B>,
                out: crate::backend::MatMut<B::Buffer>,
            ) {
                use crate::model::network::deep_set;
                deep_set::forward(backend, dense, x, offsets, work, out);
            }

            fn intersect_backward(
                &self,
                backend: &B,
                dense: &[crate::backend::Mat<B::Buffer>],
                x: crate::backend::Mat<B::Buffer>,
                offsets: &B::Index,
                dout: crate::backend::Mat<B::Buffer>,
                work: &mut crate::model::Workspace<B>,
                dx: crate::backend::MatMut<B::Buffer>,
                ddense: &mut [B::Buffer],
            ) {
                use crate::model::network::deep_set::{self, PARAMETERS};
                let ddense = &mut ddense[..PARAMETERS];
                deep_set::backward(backend, dense, x, offsets, dout, work, dx, ddense);
            }
        };
    }
    pub(crate) use set_methods;

    /// Number of dense parameters.
    pub const PARAMETERS: usize = 8;

    /// hidden 1, hidden 2, mean, hidden 3, and the gradients of hidden 1, hidden 2, mean, hidden 3, out.
    pub fn workspace(d: usize, n: usize, s: usize) -> Vec<usize> {
        [n, n, s, s, n, n, s, s, s].map(|rows| rows * d).to_vec()
    }

    /// Combines segments of `x` into `out`.
    pub fn forward<B: Backend>(
        backend: &B,
        dense: &[Mat<B::Buffer>],
        x: Mat<B::Buffer>,
        offsets: &B::Index,
        work: &mut [B::Buffer],
        out: MatMut<B::Buffer>,
    ) {
        let (n, d, s) = (x.rows, x.cols, out.rows);
        split!(work, [hidden1, hidden2, mean, hidden3, _d1, _d2, _dm, _d3, _do]);
        backend.linear(x, dense[0], dense[1], Activation::Relu, MatMut::new(hidden1, n, d));
        let h1 = Mat::new(&*hidden1, n, d);
        backend.linear(h1, dense[2], dense[3], Activation::Relu, MatMut::new(hidden2, n, d));
        backend.segment_mean(Mat::new(hidden2, n, d), offsets, MatMut::new(mean, s, d));
        let m = Mat::new(&*mean, s, d);
        backend.linear(m, dense[4], dense[5], Activation::Relu, MatMut::new(hidden3, s, d));
        backend.linear(Mat::new(hidden3, s, d), dense[6], dense[7], Activation::None, out);
    }

    /// Writes `dx`, adds to `ddense`.
    #[allow(clippy::too_many_arguments)]
    pub fn backward<B: Backend>(
        backend: &B,
        dense: &[Mat<B::Buffer>],
        x: Mat<B::Buffer>,
        offsets: &B::Index,
        dout: Mat<B::Buffer>,
        work: &mut [B::Buffer],
        dx: MatMut<B::Buffer>,
        ddense: &mut [B::Buffer],
    ) {
        let (n, d, s) = (x.rows, x.cols, dout.rows);
        split!(work, [hidden1, hidden2, mean, hidden3, d1, d2, dm, d3, d4]);
        split!(ddense, [dw1, db1, dw2, db2, dw3, db3, dw4, db4]);
        let (h1, h2) = (Mat::new(&*hidden1, n, d), Mat::new(&*hidden2, n, d));
        let (m, h3) = (Mat::new(&*mean, s, d), Mat::new(&*hidden3, s, d));
        backend.copy(dout, MatMut::new(d4, s, d));
        let none = Activation::None;
        let relu = Activation::Relu;
        let (dw, db) = (MatMut::new(dw4, d, d), MatMut::new(db4, 1, d));
        backend.linear_backward(h3, dense[6], h3, none, MatMut::new(d4, s, d), MatMut::new(d3, s, d), dw, db);
        let (dw, db) = (MatMut::new(dw3, d, d), MatMut::new(db3, 1, d));
        backend.linear_backward(m, dense[4], h3, relu, MatMut::new(d3, s, d), MatMut::new(dm, s, d), dw, db);
        backend.segment_mean_backward(Mat::new(dm, s, d), offsets, MatMut::new(d2, n, d));
        let (dw, db) = (MatMut::new(dw2, d, d), MatMut::new(db2, 1, d));
        backend.linear_backward(h1, dense[2], h2, relu, MatMut::new(d2, n, d), MatMut::new(d1, n, d), dw, db);
        let (dw, db) = (MatMut::new(dw1, d, d), MatMut::new(db1, 1, d));
        backend.linear_backward(x, dense[0], h1, relu, MatMut::new(d1, n, d), dx, dw, db);
    }
}

/// `min(o) * sigmoid(w2 mean(relu(w1 o + b1)) + b2)`: the offset of an intersection of boxes.
pub mod gated_min {
    use super::*;

    /// hidden (n), mean (s), gate (s), and the gradients of hidden (n) and mean (s).
    pub fn workspace(d: usize, n: usize, s: usize) -> Vec<usize> {
        [n, s, s, n, s].map(|rows| rows * d).to_vec()
    }

    /// Combines segments of `x` into `out`.
    pub fn forward<B: Backend>(
        backend: &B,
        dense: &[Mat<B::Buffer>],
        x: Mat<B::Buffer>,
        offsets: &B::Index,
        work: &mut [B::Buffer],
        out: MatMut<B::Buffer>,
    ) {
        let (n, d, s) = (x.rows, x.cols, out.rows);
        split!(work, [hidden, mean, gate, _dhidden, _dmean]);
        backend.linear(x, dense[0], dense[1], Activation::Relu, MatMut::new(hidden, n, d));
        backend.segment_mean(Mat::new(hidden, n, d), offsets, MatMut::new(mean, s, d));
        let m = Mat::new(&*mean, s, d);
        backend.linear(m, dense[2], dense[3], Activation::None, MatMut::new(gate, s, d));
        backend.gated_min(x, offsets, Mat::new(gate, s, d), out);
    }

    /// Writes `dx`, adds to `ddense`; `scratch` is n x d.
    #[allow(clippy::too_many_arguments)]
    pub fn backward<B: Backend>(
        backend: &B,
        dense: &[Mat<B::Buffer>],
        x: Mat<B::Buffer>,
        offsets: &B::Index,
        dout: Mat<B::Buffer>,
        work: &mut [B::Buffer],
        scratch: &mut B::Buffer,
        mut dx: MatMut<B::Buffer>,
        ddense: &mut [B::Buffer],
    ) {
        let (n, d, s) = (x.rows, x.cols, dout.rows);
        split!(work, [hidden, mean, gate, dhidden, dmean]);
        split!(ddense, [dw1, db1, dw2, db2]);
        backend.gated_min_backward(x, offsets, dout, MatMut::new(gate, s, d), dx.again());
        let (hidden, mean) = (Mat::new(&*hidden, n, d), Mat::new(&*mean, s, d));
        backend.linear_backward(
            mean,
            dense[2],
            mean,
            Activation::None,
            MatMut::new(gate, s, d),
            MatMut::new(dmean, s, d),
            MatMut::new(dw2, d, d),
            MatMut::new(db2, 1, d),
        );
        backend.segment_mean_backward(Mat::new(dmean, s, d), offsets, MatMut::new(dhidden, n, d));
        backend.linear_backward(
            x,
            dense[0],
            hidden,
            Activation::Relu,
            MatMut::new(dhidden, n, d),
            MatMut::new(scratch, n, d),
            MatMut::new(dw1, d, d),
            MatMut::new(db1, 1, d),
        );
        backend.add(Mat::new(scratch, n, d), dx);
    }
}

/// `wn relu(.. relu(w1 x + b1) ..) + bn`: linear layers between `widths`, input first, with relu between them.
pub mod mlp {
    use super::*;

    /// The input, the hidden layers and the output, n x width each; then their gradients where it is trained.
    pub fn workspace(widths: &[usize], n: usize, trained: bool) -> Vec<usize> {
        let all = if trained { [widths, widths].concat() } else { widths.to_vec() };
        all.into_iter().map(|width| n * width).collect()
    }

    /// The output for the input that stands in the first buffer.
    pub fn forward<'w, B: Backend>(
        backend: &B,
        dense: &[Mat<B::Buffer>],
        widths: &[usize],
        n: usize,
        work: &'w mut [B::Buffer],
    ) -> Mat<'w, B::Buffer> {
        let last = widths.len() - 1;
        for i in 0..last {
            let (from, to) = work.split_at_mut(i + 1);
            let f = if i + 1 == last { Activation::None } else { Activation::Relu };
            let x = Mat::new(&from[i], n, widths[i]);
            backend.linear(x, dense[2 * i], dense[2 * i + 1], f, MatMut::new(&mut to[0], n, widths[i + 1]));
        }
        Mat::new(&work[last], n, widths[last])
    }

    /// Where the gradient of the output is expected: n x the last width.
    pub fn output_gradient<'w, T>(widths: &[usize], work: &'w mut [T]) -> &'w mut T {
        &mut work[2 * widths.len() - 1]
    }

    /// The gradient of the input from that of the output; adds to `ddense`.
    pub fn backward<'w, B: Backend>(
        backend: &B,
        dense: &[Mat<B::Buffer>],
        widths: &[usize],
        n: usize,
        work: &'w mut [B::Buffer],
        ddense: &mut [B::Buffer],
    ) -> Mat<'w, B::Buffer> {
        let (values, grads) = work.split_at_mut(widths.len());
        for i in (0..widths.len() - 1).rev() {
            let (cols, rows) = (widths[i], widths[i + 1]);
            let f = if i + 2 == widths.len() { Activation::None } else { Activation::Relu };
            let (to, from) = grads.split_at_mut(i + 1);
            let (dw, db) = ddense[2 * i..].split_at_mut(1);
            backend.linear_backward(
                Mat::new(&values[i], n, cols),
                dense[2 * i],
                Mat::new(&values[i + 1], n, rows),
                f,
                MatMut::new(&mut from[0], n, rows),
                MatMut::new(&mut to[i], n, cols),
                MatMut::new(&mut dw[0], rows, cols),
                MatMut::new(&mut db[0], 1, rows),
            );
        }
        Mat::new(&grads[0], n, widths[0])
    }
}
