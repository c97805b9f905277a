//! Functions of single numbers.

use crate::backend::{BETA_MAX, BETA_MIN, Function};
use crate::backend::{On, Reference};
use crate::program::ops::elementwise::{Apply, ApplyBackward, Elementwise};

/// Does an operation of the family.
pub fn run(op: Elementwise<On<Reference>>) {
    match op {
        Elementwise::Apply(op) => apply(op),
        Elementwise::ApplyBackward(op) => elementwise_backward(op),
    }
}

/// f of a number.
pub fn elementwise(f: Function, x: f64) -> f64 {
    match f {
        Function::BetaParameter => (x + 1.0).clamp(f64::from(BETA_MIN), f64::from(BETA_MAX)),
        Function::Reciprocal => 1.0 / x,
    }
}

/// f' from f's value.
pub fn elementwise_slope(f: Function, y: f64) -> f64 {
    match f {
        Function::BetaParameter => f64::from(y > f64::from(BETA_MIN) && y < f64::from(BETA_MAX)),
        Function::Reciprocal => -y * y,
    }
}

/// See [`Apply`].
fn apply(Apply { f, x, mut out }: Apply<On<Reference>>) {
    for i in 0..x.rows {
        out.row(i).iter_mut().zip(x.row(i)).for_each(|(y, &x)| *y = elementwise(f, x));
    }
}

/// See [`ApplyBackward`].
fn elementwise_backward(ApplyBackward { f, out, dout, mut dx }: ApplyBackward<On<Reference>>) {
    for i in 0..out.rows {
        for k in 0..out.cols {
            dx.row(i)[k] = dout.row(i)[k] * elementwise_slope(f, out.row(i)[k]);
        }
    }
}
