//! Elementwise functions. Kernels: `kernels/elementwise.cu`.

use super::memory::{mat, mat_mut};
use super::{Cuda, View, ViewMut};
use crate::backend::{BETA_MAX, BETA_MIN, Elementwise};

/// The constants of a function, and its kernels forward and backward.
fn kernels(f: Elementwise) -> ([f32; 2], [[&'static str; 2]; 2]) {
    match f {
        Elementwise::BetaParameter => (
            [BETA_MIN, BETA_MAX],
            [["beta_parameter", "beta_parameter4"], ["beta_parameter_backward", "beta_parameter4_backward"]],
        ),
        Elementwise::Reciprocal => {
            ([0.0; 2], [["reciprocal", "reciprocal4"], ["reciprocal_backward", "reciprocal4_backward"]])
        }
    }
}

/// See [`Backend::elementwise`](crate::backend::Backend::elementwise).
pub fn elementwise(cuda: &Cuda, f: Elementwise, x: View, mut out: ViewMut) {
    assert_eq!((x.rows, x.cols), (out.rows, out.cols));
    let (constants, [forward, _]) = kernels(f);
    let (x, out) = (mat(x), mat_mut(&mut out));
    cuda.cells(forward, x.is_wide() && out.is_wide(), out, &[&constants, &x, &out]);
}

/// See [`Backend::elementwise_backward`](crate::backend::Backend::elementwise_backward).
pub fn elementwise_backward(cuda: &Cuda, f: Elementwise, out: View, dout: View, mut dx: ViewMut) {
    assert_eq!((out.rows, out.cols), (dx.rows, dx.cols));
    assert_eq!((dout.rows, dout.cols), (dx.rows, dx.cols));
    let (constants, [_, backward]) = kernels(f);
    let (out, dout, dx) = (mat(out), mat(dout), mat_mut(&mut dx));
    let wide = out.is_wide() && dout.is_wide() && dx.is_wide();
    cuda.cells(backward, wide, dx, &[&constants, &out, &dout, &dx]);
}
