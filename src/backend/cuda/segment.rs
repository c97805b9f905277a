//! Set operations on segments of rows. Kernels: `kernels/segment.cu`.

use super::driver::Argument;
use super::memory::{Index, RawMat, mat, mat_mut};
use super::{Cuda, View, ViewMut};

/// Launches a kernel that has a thread per column of each segment; `shape` has a row per segment.
fn launch(cuda: &Cuda, kernel: &'static str, offsets: &Index, shape: RawMat, arguments: &[&dyn Argument]) {
    assert_eq!(offsets.len(), shape.rows as usize + 1);
    cuda.cells([kernel; 2], false, shape, arguments);
}

/// See [`Backend::attend`](crate::backend::Backend::attend).
pub fn attend(cuda: &Cuda, x: View, offsets: &Index, mut weights: ViewMut, mut out: ViewMut) {
    assert_eq!((weights.rows, weights.cols, out.cols), (x.rows, x.cols, x.cols));
    let (x, weights, out) = (mat(x), mat_mut(&mut weights), mat_mut(&mut out));
    launch(cuda, "attend", offsets, out, &[&x, &offsets.address(), &weights, &out]);
}

/// See [`Backend::attend_backward`](crate::backend::Backend::attend_backward).
pub fn attend_backward(
    cuda: &Cuda,
    x: View,
    offsets: &Index,
    dout: View,
    mut weights: ViewMut,
    mut dx: ViewMut,
) {
    assert_eq!((weights.rows, weights.cols, dx.rows, dx.cols), (x.rows, x.cols, x.rows, x.cols));
    assert_eq!(dout.cols, x.cols);
    let (x, dout) = (mat(x), mat(dout));
    let (weights, dx) = (mat_mut(&mut weights), mat_mut(&mut dx));
    launch(cuda, "attend_backward", offsets, dout, &[&x, &offsets.address(), &dout, &weights, &dx]);
}

/// See [`Backend::segment_mean`](crate::backend::Backend::segment_mean).
pub fn mean(cuda: &Cuda, x: View, offsets: &Index, mut out: ViewMut) {
    assert_eq!(out.cols, x.cols);
    let (x, out) = (mat(x), mat_mut(&mut out));
    launch(cuda, "segment_mean", offsets, out, &[&x, &offsets.address(), &out]);
}

/// See [`Backend::segment_mean_backward`](crate::backend::Backend::segment_mean_backward).
pub fn mean_backward(cuda: &Cuda, dout: View, offsets: &Index, mut dx: ViewMut) {
    assert_eq!(dout.cols, dx.cols);
    let (dout, dx) = (mat(dout), mat_mut(&mut dx));
    launch(cuda, "segment_mean_backward", offsets, dout, &[&dout, &offsets.address(), &dx]);
}

/// See [`Backend::gated_min`](crate::backend::Backend::gated_min).
pub fn gated_min(cuda: &Cuda, x: View, offsets: &Index, gate: View, mut out: ViewMut) {
    assert_eq!((out.rows, out.cols, gate.cols), (gate.rows, x.cols, x.cols));
    let (x, gate, out) = (mat(x), mat(gate), mat_mut(&mut out));
    launch(cuda, "gated_min", offsets, out, &[&x, &offsets.address(), &gate, &out]);
}

/// See [`Backend::gated_min_backward`](crate::backend::Backend::gated_min_backward).
pub fn gated_min_backward(
    cuda: &Cuda,
    x: View,
    offsets: &Index,
    dout: View,
    mut gate: ViewMut,
    mut dx: ViewMut,
) {
    assert_eq!((dx.rows, dx.cols, gate.rows, gate.cols), (x.rows, x.cols, dout.rows, x.cols));
    assert_eq!(dout.cols, x.cols);
    let (x, dout) = (mat(x), mat(dout));
    let (gate, dx) = (mat_mut(&mut gate), mat_mut(&mut dx));
    launch(cuda, "gated_min_backward", offsets, dout, &[&x, &offsets.address(), &dout, &gate, &dx]);
}
