//! Functions of numbers.

use super::formulas::{gradient, value};
use crate::backend::{On, Reference};
use crate::program::ops::elementwise::{Apply, ApplyBackward, Elementwise};

/// Does an operation of the family.
pub fn run(op: Elementwise<On<Reference>>) {
    match op {
        Elementwise::Apply(op) => apply(op),
        Elementwise::ApplyBackward(op) => apply_backward(op),
    }
}

/// Column `k` of each of the `parts` of a row.
fn column(row: &[f64], parts: usize, k: usize) -> Vec<f64> {
    (0..parts).map(|part| row[part * (row.len() / parts) + k]).collect()
}

/// See [`Apply`].
fn apply(Apply { f, x, mut out }: Apply<On<Reference>>) {
    let [inputs, values] = f.parts();
    let d = x.cols / inputs;
    for i in 0..x.rows {
        for k in 0..d {
            let y = value(f, &column(x.row(i), inputs, k));
            (0..values).for_each(|part| out.row(i)[part * d + k] = y[part]);
        }
    }
}

/// See [`ApplyBackward`].
fn apply_backward(ApplyBackward { f, at, dout, mut dx }: ApplyBackward<On<Reference>>) {
    let [inputs, values] = f.parts();
    let d = dx.cols / inputs;
    for i in 0..at.rows {
        for k in 0..d {
            let at = column(at.row(i), at.cols / d, k);
            let sums = gradient(f, &at, &column(dout.row(i), values, k));
            (0..inputs).for_each(|part| dx.row(i)[part * d + k] = sums[part]);
        }
    }
}
