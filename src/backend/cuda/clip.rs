//! Clipping of gradients by their norm. Kernels: `kernels/clip.cu`.

use super::Cuda;
use super::memory::{mat, mat_mut};
use crate::backend::{DeviceGroups, On};
use crate::program::ops::clip::{Clip, ClipFactor, GroupSquares, RowSquares, Scale};

/// Does an operation of the family.
pub fn run(cuda: &Cuda, op: Clip<On<Cuda>>) {
    match op {
        Clip::GroupSquares(op) => group_squares(cuda, op),
        Clip::RowSquares(op) => row_squares(cuda, op),
        Clip::ClipFactor(op) => clip_factor(cuda, op),
        Clip::Scale(op) => scale(cuda, op),
    }
}

/// See [`GroupSquares`].
fn group_squares(cuda: &Cuda, GroupSquares { groups, from, squares }: GroupSquares<On<Cuda>>) {
    let mut squares = squares.into_row();
    let DeviceGroups { ids, offsets, members } = groups;
    assert_eq!((offsets.len(), squares.cols), (ids.len() + 1, ids.len()));
    let (count, blocks) = (ids.len() as u32, ids.len().div_ceil(8));
    let (from, squares) = (mat(from), mat_mut(&mut squares));
    let arguments: [&dyn super::driver::Argument; 5] =
        [&count, &offsets.address(), &members.address(), &from, &squares];
    cuda.launch("group_squares", [blocks, 1, 1], 256, &arguments);
}

/// See [`RowSquares`].
fn row_squares(cuda: &Cuda, RowSquares { from, squares }: RowSquares<On<Cuda>>) {
    let mut squares = squares.into_row();
    let blocks = from.rows.div_ceil(8);
    cuda.launch("row_squares", [blocks, 1, 1], 256, &[&mat(from), &mat_mut(&mut squares)]);
}

/// See [`ClipFactor`].
fn clip_factor(cuda: &Cuda, ClipFactor { bound, squares, mut factor }: ClipFactor<On<Cuda>>) {
    let squares = squares.into_row();
    cuda.launch("clip_factor", [1, 1, 1], 256, &[&bound, &mat(squares), &mat_mut(&mut factor)]);
}

/// See [`Scale`].
fn scale(cuda: &Cuda, Scale { factor, mut x }: Scale<On<Cuda>>) {
    let (factor, x) = (mat(factor), mat_mut(&mut x));
    cuda.cells(["scale1", "scale4"], x.is_wide(), x, &[&factor, &x]);
}
