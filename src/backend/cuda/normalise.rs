//! Batch normalisation. Kernels: `kernels/normalise.cu`.

use super::memory::{RawMat, mat, mat_mut};
use super::{Cuda, activation_code};
use crate::backend::{NORM_EPSILON, On};
use crate::program::ops::normalise::{Blend, MeanVariance, Normalisation, Normalise, NormaliseBackward};

/// Does an operation of the family.
pub fn run(cuda: &Cuda, op: Normalisation<On<Cuda>>) {
    match op {
        Normalisation::MeanVariance(op) => mean_variance(cuda, op),
        Normalisation::Normalise(op) => normalise(cuda, op),
        Normalisation::NormaliseBackward(op) => normalise_backward(cuda, op),
        Normalisation::Blend(op) => blend(cuda, op),
    }
}

/// Blocks of the kernels that add up columns.
fn columns(m: RawMat) -> [usize; 3] {
    [(m.cols as usize).div_ceil(8), 1, 1]
}

/// See [`MeanVariance`].
fn mean_variance(cuda: &Cuda, MeanVariance { x, mut out }: MeanVariance<On<Cuda>>) {
    let (x, out) = (mat(x), mat_mut(&mut out));
    cuda.launch("mean_variance", columns(x), 512, &[&x, &out]);
}

/// See [`Normalise`].
fn normalise(cuda: &Cuda, Normalise { x, mean_variance, affine, f, mut out }: Normalise<On<Cuda>>) {
    let (x, mean_variance, affine, out) = (mat(x), mat(mean_variance), mat(affine), mat_mut(&mut out));
    let f = activation_code(f);
    cuda.cells(["normalise_rows"; 2], false, out, &[&f, &NORM_EPSILON, &x, &mean_variance, &affine, &out]);
}

/// See [`NormaliseBackward`].
fn normalise_backward(
    cuda: &Cuda,
    NormaliseBackward { x, mean_variance, affine, out, f, mut dx, mut daffine }: NormaliseBackward<On<Cuda>>,
) {
    let (x, mean_variance, affine, out) = (mat(x), mat(mean_variance), mat(affine), mat(out));
    let (dx, sums, f) = (mat_mut(&mut dx), mat_mut(&mut daffine), activation_code(f));
    cuda.launch(
        "normalise_sums",
        columns(x),
        512,
        &[&f, &NORM_EPSILON, &x, &mean_variance, &out, &dx, &sums],
    );
    let arguments: [&dyn super::driver::Argument; 8] =
        [&f, &NORM_EPSILON, &x, &mean_variance, &affine, &out, &sums, &dx];
    cuda.cells(["normalise_backward"; 2], false, dx, &arguments);
}

/// See [`Blend`].
fn blend(cuda: &Cuda, Blend { rate, from, mut to }: Blend<On<Cuda>>) {
    let (from, to) = (mat(from), mat_mut(&mut to));
    cuda.cells(["blend"; 2], false, to, &[&rate, &from, &to]);
}
