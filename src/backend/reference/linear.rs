//! Linear layers.

use super::loss::softplus;
use crate::backend::Activation;
use crate::backend::{On, Reference};
use crate::program::ops::linear::{Layers, Linear, LinearBackward};

/// Does an operation of the family.
pub fn run(op: Layers<On<Reference>>) {
    match op {
        Layers::Linear(op) => linear(op),
        Layers::LinearBackward(op) => linear_backward(op),
    }
}

pub fn activate(f: Activation, x: f64) -> f64 {
    match f {
        Activation::None => x,
        Activation::Relu => relu(x),
        Activation::Softplus => softplus(x),
    }
}

/// max(x, 0), and NaN for NaN, which `f64::max` would hide.
pub fn relu(x: f64) -> f64 {
    if x < 0.0 { 0.0 } else { x }
}

/// See [`Linear`].
fn linear(Linear { x, w, bias, f, mut out }: Linear<On<Reference>>) {
    for i in 0..x.rows {
        for j in 0..w.rows {
            let sum: f64 = x.row(i).iter().zip(w.row(j)).map(|(x, w)| x * w).sum();
            out.row(i)[j] = activate(f, sum + bias.map_or(0.0, |b| b.row(0)[j]));
        }
    }
}

/// See [`LinearBackward`].
fn linear_backward(
    LinearBackward { x, w, out, f, mut dout, mut dx, mut dw, mut dbias }: LinearBackward<On<Reference>>,
) {
    for i in 0..x.rows {
        dx.row(i).fill(0.0);
        for j in 0..w.rows {
            let is_shut = out.is_some_and(|out| f == Activation::Relu && out.row(i)[j] <= 0.0);
            let d = if is_shut { 0.0 } else { dout.row(i)[j] };
            dout.row(i)[j] = d;
            if let Some(db) = &mut dbias {
                db.row(0)[j] += d;
            }
            for k in 0..x.cols {
                dw.row(j)[k] += d * x.row(i)[k];
                dx.row(i)[k] += d * w.row(j)[k];
            }
        }
    }
}
