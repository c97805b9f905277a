//! Set operations on segments of rows. Kernels: `kernels/segment.cu`.

use super::Cuda;
use super::driver::Argument;
use super::memory::{Index, RawMat, mat, mat_mut};
use crate::backend::On;
use crate::program::ops::segment::{
    Attend, AttendBackward, GatedMin, GatedMinBackward, Segment, SegmentMean, SegmentMeanBackward,
};

/// Does an operation of the family.
pub fn run(cuda: &Cuda, op: Segment<On<Cuda>>) {
    match op {
        Segment::Attend(op) => attend(cuda, op),
        Segment::AttendBackward(op) => attend_backward(cuda, op),
        Segment::SegmentMean(op) => mean(cuda, op),
        Segment::SegmentMeanBackward(op) => mean_backward(cuda, op),
        Segment::GatedMin(op) => gated_min(cuda, op),
        Segment::GatedMinBackward(op) => gated_min_backward(cuda, op),
    }
}

/// Launches a kernel that has a thread per column of each segment; `shape` has a row per segment.
fn launch(cuda: &Cuda, kernel: &'static str, offsets: &Index, shape: RawMat, arguments: &[&dyn Argument]) {
    assert_eq!(offsets.len(), shape.rows as usize + 1);
    cuda.cells([kernel; 2], false, shape, arguments);
}

/// See [`Attend`].
fn attend(cuda: &Cuda, Attend { x, offsets, mut weights, mut out }: Attend<On<Cuda>>) {
    let (x, weights, out) = (mat(x), mat_mut(&mut weights), mat_mut(&mut out));
    launch(cuda, "attend", offsets, out, &[&x, &offsets.address(), &weights, &out]);
}

/// See [`AttendBackward`].
fn attend_backward(
    cuda: &Cuda,
    AttendBackward { x, offsets, dout, mut weights, mut dx }: AttendBackward<On<Cuda>>,
) {
    let (x, dout) = (mat(x), mat(dout));
    let (weights, dx) = (mat_mut(&mut weights), mat_mut(&mut dx));
    launch(cuda, "attend_backward", offsets, dout, &[&x, &offsets.address(), &dout, &weights, &dx]);
}

/// See [`SegmentMean`].
fn mean(cuda: &Cuda, SegmentMean { x, offsets, mut out }: SegmentMean<On<Cuda>>) {
    let (x, out) = (mat(x), mat_mut(&mut out));
    launch(cuda, "segment_mean", offsets, out, &[&x, &offsets.address(), &out]);
}

/// See [`SegmentMeanBackward`].
fn mean_backward(cuda: &Cuda, SegmentMeanBackward { dout, offsets, mut dx }: SegmentMeanBackward<On<Cuda>>) {
    let (dout, dx) = (mat(dout), mat_mut(&mut dx));
    launch(cuda, "segment_mean_backward", offsets, dout, &[&dout, &offsets.address(), &dx]);
}

/// See [`GatedMin`].
fn gated_min(cuda: &Cuda, GatedMin { x, offsets, gate, mut out }: GatedMin<On<Cuda>>) {
    let (x, gate, out) = (mat(x), mat(gate), mat_mut(&mut out));
    launch(cuda, "gated_min", offsets, out, &[&x, &offsets.address(), &gate, &out]);
}

/// See [`GatedMinBackward`].
fn gated_min_backward(
    cuda: &Cuda,
    GatedMinBackward { x, offsets, dout, mut gate, mut dx }: GatedMinBackward<On<Cuda>>,
) {
    let (x, dout) = (mat(x), mat(dout));
    let (gate, dx) = (mat_mut(&mut gate), mat_mut(&mut dx));
    launch(cuda, "gated_min_backward", offsets, dout, &[&x, &offsets.address(), &dout, &gate, &dx]);
}
