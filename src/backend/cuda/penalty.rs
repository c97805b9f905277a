//! What large numbers of rows cost. Kernels: `kernels/penalty.cu`.

use super::memory::{mat, mat_mut};
use super::{Cuda, View, ViewMut};
use crate::backend::Penalty;

/// See [`Backend::penalise`](crate::backend::Backend::penalise).
pub fn penalise(
    cuda: &Cuda,
    penalty: Penalty,
    row_weights: View,
    x: View,
    mut grads: ViewMut,
    mut penalties: ViewMut,
) {
    assert_eq!((x.rows, x.cols), (grads.rows, grads.cols));
    assert_eq!((row_weights.cols, penalties.cols), (x.rows, x.rows));
    let kernel = match penalty {
        Penalty::Squares => "penalise_squares",
        Penalty::Cubes => "penalise_cubes",
        Penalty::ComplexCubes => "penalise_complex_cubes",
    };
    let (weights, x) = (mat(row_weights), mat(x));
    let (grads, penalties) = (mat_mut(&mut grads), mat_mut(&mut penalties));
    let blocks = (x.rows as usize).div_ceil(8);
    cuda.launch(kernel, [blocks, 1, 1], 256, &[&weights, &x, &grads, &penalties]);
}
