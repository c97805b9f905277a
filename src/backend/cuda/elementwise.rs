//! Elementwise functions. Kernels: `kernels/elementwise.cu`.

use super::Cuda;
use super::memory::{mat, mat_mut};
use crate::backend::{BETA_MAX, BETA_MIN, Function, On};
use crate::program::ops::elementwise::{Apply, ApplyBackward, Elementwise};

/// Does an operation of the family.
pub fn run(cuda: &Cuda, op: Elementwise<On<Cuda>>) {
    match op {
        Elementwise::Apply(op) => elementwise(cuda, op),
        Elementwise::ApplyBackward(op) => elementwise_backward(cuda, op),
    }
}

/// The constants of a function, and its kernels forward and backward.
fn kernels(f: Function) -> ([f32; 2], [[&'static str; 2]; 2]) {
    match f {
        Function::BetaParameter => (
            [BETA_MIN, BETA_MAX],
            [["beta_parameter", "beta_parameter4"], ["beta_parameter_backward", "beta_parameter4_backward"]],
        ),
        Function::Reciprocal => {
            ([0.0; 2], [["reciprocal", "reciprocal4"], ["reciprocal_backward", "reciprocal4_backward"]])
        }
    }
}

/// See [`Apply`].
fn elementwise(cuda: &Cuda, Apply { f, x, mut out }: Apply<On<Cuda>>) {
    let (constants, [forward, _]) = kernels(f);
    let (x, out) = (mat(x), mat_mut(&mut out));
    cuda.cells(forward, x.is_wide() && out.is_wide(), out, &[&constants, &x, &out]);
}

/// See [`ApplyBackward`].
fn elementwise_backward(cuda: &Cuda, ApplyBackward { f, out, dout, mut dx }: ApplyBackward<On<Cuda>>) {
    let (constants, [_, backward]) = kernels(f);
    let (out, dout, dx) = (mat(out), mat(dout), mat_mut(&mut dx));
    let wide = out.is_wide() && dout.is_wide() && dx.is_wide();
    cuda.cells(backward, wide, dx, &[&constants, &out, &dout, &dx]);
}
