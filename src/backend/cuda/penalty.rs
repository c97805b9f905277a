//! What large numbers of rows cost. Kernels: `kernels/penalty.cu`.

use super::Cuda;
use super::memory::{mat, mat_mut};
use crate::backend::{On, Penalty};
use crate::program::ops::penalty::{Penalties, Regularise};

/// Does an operation of the family.
pub fn run(cuda: &Cuda, op: Penalties<On<Cuda>>) {
    match op {
        Penalties::Regularise(op) => regularise(cuda, op),
    }
}

/// See [`Regularise`].
fn regularise(
    cuda: &Cuda,
    Regularise { penalty, row_weights, x, mut grads, penalties }: Regularise<On<Cuda>>,
) {
    let (row_weights, mut penalties) = (row_weights.into_row(), penalties.into_row());
    let kernel = match penalty {
        Penalty::Squares => "regularise_squares",
        Penalty::Cubes => "regularise_cubes",
        Penalty::ComplexCubes => "regularise_complex_cubes",
    };
    let (weights, x) = (mat(row_weights), mat(x));
    let (grads, penalties) = (mat_mut(&mut grads), mat_mut(&mut penalties));
    let blocks = (x.rows as usize).div_ceil(8);
    cuda.launch(kernel, [blocks, 1, 1], 256, &[&weights, &x, &grads, &penalties]);
}
