//! Clipping of gradients by their norm. Kernels: `kernels/clip.cu`.

use super::memory::{mat, mat_mut};
use super::{Cuda, View, ViewMut};
use crate::backend::DeviceGroups;

/// See [`Backend::group_squares`](crate::backend::Backend::group_squares).
pub fn group_squares(cuda: &Cuda, groups: &DeviceGroups<Cuda>, from: View, mut squares: ViewMut) {
    let DeviceGroups { ids, offsets, members } = groups;
    assert_eq!((offsets.len(), squares.cols), (ids.len() + 1, ids.len()));
    let (count, blocks) = (ids.len() as u32, ids.len().div_ceil(8));
    let (from, squares) = (mat(from), mat_mut(&mut squares));
    let arguments: [&dyn super::driver::Argument; 5] =
        [&count, &offsets.address(), &members.address(), &from, &squares];
    cuda.launch("group_squares", [blocks, 1, 1], 256, &arguments);
}

/// See [`Backend::row_squares`](crate::backend::Backend::row_squares).
pub fn row_squares(cuda: &Cuda, from: View, mut squares: ViewMut) {
    assert_eq!(squares.cols, from.rows);
    let blocks = from.rows.div_ceil(8);
    cuda.launch("row_squares", [blocks, 1, 1], 256, &[&mat(from), &mat_mut(&mut squares)]);
}

/// See [`Backend::clip_factor`](crate::backend::Backend::clip_factor).
pub fn clip_factor(cuda: &Cuda, bound: f32, squares: View, mut factor: ViewMut) {
    cuda.launch("clip_factor", [1, 1, 1], 256, &[&bound, &mat(squares), &mat_mut(&mut factor)]);
}

/// See [`Backend::scale`](crate::backend::Backend::scale).
pub fn scale(cuda: &Cuda, factor: View, mut x: ViewMut) {
    let (factor, x) = (mat(factor), mat_mut(&mut x));
    cuda.cells(["scale1", "scale4"], x.is_wide(), x, &[&factor, &x]);
}
