//! Moving and adding rows; dropout. Kernels: `kernels/rows.cu`.

use super::Cuda;
use super::memory::{RawMat, mat, mat_mut};
use crate::backend::{DeviceGroups, On};
use crate::program::ops::rows::{Add, AddGroups, CopyRows, DropOut, Fill, Gather, Rows, Scatter};

/// Does an operation of the family.
pub fn run(cuda: &Cuda, op: Rows<On<Cuda>>) {
    match op {
        Rows::Gather(op) => gather(cuda, op),
        Rows::Scatter(op) => scatter(cuda, op),
        Rows::CopyRows(op) => copy(cuda, op),
        Rows::Fill(op) => fill(cuda, op),
        Rows::Add(op) => add(cuda, op),
        Rows::AddGroups(op) => add_groups(cuda, op),
        Rows::DropOut(op) => dropout(cuda, op),
    }
}

/// See [`Gather`].
fn gather(cuda: &Cuda, Gather { table, rows, mut out }: Gather<On<Cuda>>) {
    let (table, out) = (mat(table), mat_mut(&mut out));
    let wide = table.is_wide() && out.is_wide();
    cuda.cells(["gather", "gather4"], wide, out, &[&table, &rows.address(), &out]);
}

/// See [`Scatter`].
fn scatter(cuda: &Cuda, Scatter { from, rows, mut out }: Scatter<On<Cuda>>) {
    let (from, out) = (mat(from), mat_mut(&mut out));
    let wide = from.is_wide() && out.is_wide();
    cuda.cells(["scatter", "scatter4"], wide, from, &[&from, &rows.address(), &out]);
}

/// See [`CopyRows`].
fn copy(cuda: &Cuda, CopyRows { from, mut out }: CopyRows<On<Cuda>>) {
    let (from, out) = (mat(from), mat_mut(&mut out));
    cuda.cells(["copy", "copy4"], from.is_wide() && out.is_wide(), out, &[&from, &out]);
}

/// See [`Fill`].
fn fill(cuda: &Cuda, Fill { value, mut out }: Fill<On<Cuda>>) {
    let out = mat_mut(&mut out);
    cuda.cells(["fill", "fill4"], out.is_wide(), out, &[&value, &out]);
}

/// See [`Add`].
fn add(cuda: &Cuda, Add { from, mut to }: Add<On<Cuda>>) {
    let (from, to) = (mat(from), mat_mut(&mut to));
    cuda.cells(["add", "add4"], from.is_wide() && to.is_wide(), to, &[&from, &to]);
}

/// See [`AddGroups`].
fn add_groups(cuda: &Cuda, AddGroups { groups, from, mut to }: AddGroups<On<Cuda>>) {
    let DeviceGroups { ids, offsets, members } = groups;
    assert_eq!(offsets.len(), ids.len() + 1);
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

/// See [`DropOut`].
fn dropout(cuda: &Cuda, DropOut { dropout, mut x }: DropOut<On<Cuda>>) {
    let x = mat_mut(&mut x);
    cuda.cells(["dropout", "dropout"], false, x, &[&dropout.raw(), &x]);
}
