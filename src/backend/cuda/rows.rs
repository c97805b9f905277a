//! Moving and adding rows; dropout. Kernels: `kernels/rows.cu`.

use super::memory::{Index, RawMat, mat, mat_mut};
use super::{Cuda, View, ViewMut};
use crate::backend::{DeviceGroups, Dropout};

/// See [`Backend::gather`](crate::backend::Backend::gather).
pub fn gather(cuda: &Cuda, table: View, rows: &Index, mut out: ViewMut) {
    assert_eq!((rows.len(), table.cols), (out.rows, out.cols));
    let (table, out) = (mat(table), mat_mut(&mut out));
    let wide = table.is_wide() && out.is_wide();
    cuda.cells(["gather", "gather4"], wide, out, &[&table, &rows.address(), &out]);
}

/// See [`Backend::scatter`](crate::backend::Backend::scatter).
pub fn scatter(cuda: &Cuda, from: View, rows: &Index, mut out: ViewMut) {
    assert_eq!((rows.len(), from.cols), (from.rows, out.cols));
    let (from, out) = (mat(from), mat_mut(&mut out));
    let wide = from.is_wide() && out.is_wide();
    cuda.cells(["scatter", "scatter4"], wide, from, &[&from, &rows.address(), &out]);
}

/// See [`Backend::copy`](crate::backend::Backend::copy).
pub fn copy(cuda: &Cuda, from: View, mut out: ViewMut) {
    assert_eq!((from.rows, from.cols), (out.rows, out.cols));
    let (from, out) = (mat(from), mat_mut(&mut out));
    cuda.cells(["copy", "copy4"], from.is_wide() && out.is_wide(), out, &[&from, &out]);
}

/// See [`Backend::fill`](crate::backend::Backend::fill).
pub fn fill(cuda: &Cuda, value: f32, mut out: ViewMut) {
    let out = mat_mut(&mut out);
    cuda.cells(["fill", "fill4"], out.is_wide(), out, &[&value, &out]);
}

/// See [`Backend::add`](crate::backend::Backend::add).
pub fn add(cuda: &Cuda, from: View, mut to: ViewMut) {
    assert_eq!((from.rows, from.cols), (to.rows, to.cols));
    let (from, to) = (mat(from), mat_mut(&mut to));
    cuda.cells(["add", "add4"], from.is_wide() && to.is_wide(), to, &[&from, &to]);
}

/// See [`Backend::add_groups`](crate::backend::Backend::add_groups).
pub fn add_groups(cuda: &Cuda, groups: &DeviceGroups<Cuda>, from: View, mut to: ViewMut) {
    let DeviceGroups { ids, offsets, members } = groups;
    assert_eq!((from.cols, offsets.len()), (to.cols, ids.len() + 1));
    assert!(ids.len() <= to.rows);
    let (from, to) = (mat(from), mat_mut(&mut to));
    let touched = RawMat { rows: ids.len() as u32, ..to };
    cuda.cells(
        ["add_groups1", "add_groups4"],
        from.is_wide() && to.is_wide(),
        touched,
        &[&touched.rows, &ids.address(), &offsets.address(), &members.address(), &from, &to],
    );
}

/// See [`Backend::dropout`](crate::backend::Backend::dropout).
pub fn dropout(cuda: &Cuda, dropout: Dropout, mut x: ViewMut) {
    let x = mat_mut(&mut x);
    cuda.cells(["dropout", "dropout"], false, x, &[&dropout.raw(), &x]);
}
