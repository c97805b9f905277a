//! What large numbers of rows cost. Kernels: `kernels/penalty.cu`.

use super::Cuda;
use super::memory::{mat, mat_mut};
use crate::backend::{On, Penalty};
use crate::program::ops::penalty::{Penalise, Penalties};

/// Does an operation of the family.
pub fn run(cuda: &Cuda, op: Penalties<On<Cuda>>) {
    match op {
        Penalties::Penalise(op) => penalise(cuda, op),
    }
}

/// See [`Penalise`].
fn penalise(cuda: &Cuda, Penalise { penalty, row_weights, x, mut grads, penalties }: Penalise<On<Cuda>>) {
    let (row_weights, mut penalties) = (row_weights.into_row(), penalties.into_row());
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
