//! Batch normalisation. Kernels: `kernels/normalise.cu`.

use super::memory::{RawMat, mat, mat_mut};
use super::{Cuda, activation_code};
use crate::backend::{Activation, NORM_EPSILON, On};
use crate::program::ops::normalise::{Blend, ColumnMoments, Normalisation, Normalise, NormaliseBackward};

/// Does an operation of the family.
pub fn run(cuda: &Cuda, op: Normalisation<On<Cuda>>) {
    match op {
        Normalisation::ColumnMoments(op) => moments(cuda, op),
        Normalisation::Normalise(op) => normalise(cuda, op),
        Normalisation::NormaliseBackward(op) => normalise_backward(cuda, op),
        Normalisation::Blend(op) => blend(cuda, op),
    }
}

/// Blocks of the kernels that add up columns.
fn columns(m: RawMat) -> [usize; 3] {
    [(m.cols as usize).div_ceil(8), 1, 1]
}

/// See [`ColumnMoments`].
fn moments(cuda: &Cuda, ColumnMoments { x, mut out }: ColumnMoments<On<Cuda>>) {
    assert_eq!((out.rows, out.cols), (2, x.cols));
    let (x, out) = (mat(x), mat_mut(&mut out));
    cuda.launch("moments", columns(x), 512, &[&x, &out]);
}

/// See [`Normalise`].
fn normalise(cuda: &Cuda, Normalise { x, moments, affine, f, mut out }: Normalise<On<Cuda>>) {
    let cols = x.cols;
    assert_eq!((x.rows, cols), (out.rows, out.cols));
    assert_eq!([moments.rows, affine.rows, moments.cols, affine.cols], [2, 2, cols, cols]);
    let (x, moments, affine, out) = (mat(x), mat(moments), mat(affine), mat_mut(&mut out));
    let f = activation_code(f);
    cuda.cells(["normalise_rows"; 2], false, out, &[&f, &NORM_EPSILON, &x, &moments, &affine, &out]);
}

/// See [`NormaliseBackward`].
fn normalise_backward(
    cuda: &Cuda,
    NormaliseBackward { x, moments, affine, out, f, mut dx, mut daffine }: NormaliseBackward<On<Cuda>>,
) {
    let (rows, cols) = (x.rows, x.cols);
    assert!(f != Activation::Softplus, "normalised rows have no softplus");
    assert_eq!([out.rows, out.cols, dx.rows, dx.cols], [rows, cols, rows, cols]);
    assert_eq!([moments.rows, affine.rows, daffine.rows], [2; 3]);
    assert_eq!([moments.cols, affine.cols, daffine.cols], [cols; 3]);
    let (x, moments, affine, out) = (mat(x), mat(moments), mat(affine), mat(out));
    let (dx, sums, f) = (mat_mut(&mut dx), mat_mut(&mut daffine), activation_code(f));
    cuda.launch("normalise_sums", columns(x), 512, &[&f, &NORM_EPSILON, &x, &moments, &out, &dx, &sums]);
    let arguments: [&dyn super::driver::Argument; 8] =
        [&f, &NORM_EPSILON, &x, &moments, &affine, &out, &sums, &dx];
    cuda.cells(["normalise_backward"; 2], false, dx, &arguments);
}

/// See [`Blend`].
fn blend(cuda: &Cuda, Blend { rate, from, mut to }: Blend<On<Cuda>>) {
    assert_eq!((from.rows, from.cols), (to.rows, to.cols));
    let (from, to) = (mat(from), mat_mut(&mut to));
    cuda.cells(["blend"; 2], false, to, &[&rate, &from, &to]);
}
