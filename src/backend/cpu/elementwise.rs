//! Elementwise functions and their gradients.

use super::memory::{CHUNK, par_rows};
use crate::backend::{BETA_MAX, BETA_MIN, Cpu, Function, On};
use crate::program::ops::elementwise::{Apply, ApplyBackward, Elementwise};

/// Does an operation of the family.
pub fn run(op: Elementwise<On<Cpu>>) {
    match op {
        Elementwise::Apply(op) => elementwise(op),
        Elementwise::ApplyBackward(op) => elementwise_backward(op),
    }
}

/// See [`Apply`].
fn elementwise(Apply { f, x, out }: Apply<On<Cpu>>) {
    par_rows(out, CHUNK, |mut out| {
        for i in 0..out.count {
            let pairs = x.row(out.first + i).iter();
            let pairs = out.row(i).iter_mut().zip(pairs);
            match f {
                Function::BetaParameter => pairs.for_each(|(y, x)| *y = (x + 1.0).clamp(BETA_MIN, BETA_MAX)),
                Function::Reciprocal => pairs.for_each(|(y, x)| *y = 1.0 / x),
            }
        }
    });
}

/// See [`ApplyBackward`].
fn elementwise_backward(ApplyBackward { f, out, dout, dx }: ApplyBackward<On<Cpu>>) {
    par_rows(dx, CHUNK, |mut dx| {
        for i in 0..dx.count {
            let (out, dout) = (out.row(dx.first + i), dout.row(dx.first + i));
            let all = dx.row(i).iter_mut().zip(out.iter().zip(dout));
            match f {
                Function::BetaParameter => all.for_each(|(dx, (&y, &d))| {
                    let inside = y > BETA_MIN && y < BETA_MAX;
                    *dx = if inside { d } else { 0.0 };
                }),
                Function::Reciprocal => all.for_each(|(dx, (y, d))| *dx = -y * y * d),
            }
        }
    });
}
