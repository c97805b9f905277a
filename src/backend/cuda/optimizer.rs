//! Adam. Kernels: `kernels/optimizer.cu`.

use super::memory::{RawMat, mat, mat_mut};
use super::{Cuda, View};
use crate::backend::{AdamStep, DeviceGroups, MatMut, Parameters};

/// A step as kernels take it.
fn raw(step: AdamStep) -> [f32; 5] {
    [step.rate, step.beta1, step.beta2, step.second_correction, step.epsilon]
}

/// Values and moments.
fn tables(table: &mut Parameters<Cuda>) -> [RawMat; 3] {
    assert!(!table.interleaved, "only a mapped table is interleaved");
    let (rows, cols) = (table.rows, table.cols);
    [&mut table.values, &mut table.first, &mut table.second].map(|b| mat_mut(&mut MatMut::new(b, rows, cols)))
}

/// See [`Backend::adam_rows`](crate::backend::Backend::adam_rows).
pub fn adam_rows(
    cuda: &Cuda,
    step: AdamStep,
    groups: &DeviceGroups<Cuda>,
    grads: View,
    table: &mut Parameters<Cuda>,
) {
    let DeviceGroups { ids, offsets, members } = groups;
    assert_eq!((grads.cols, offsets.len()), (table.cols, ids.len() + 1));
    assert!(ids.len() <= table.rows);
    let (grads, [values, first, second]) = (mat(grads), tables(table));
    let touched = RawMat { rows: ids.len() as u32, ..values };
    cuda.cells(
        ["adam_rows1", "adam_rows4"],
        grads.is_wide() && values.is_wide() && first.is_wide() && second.is_wide(),
        touched,
        &[
            &raw(step),
            &touched.rows,
            &ids.address(),
            &offsets.address(),
            &members.address(),
            &grads,
            &values,
            &first,
            &second,
        ],
    );
}

/// See [`Backend::adam`](crate::backend::Backend::adam).
pub fn adam(cuda: &Cuda, step: AdamStep, grads: View, table: &mut Parameters<Cuda>) {
    assert_eq!((grads.rows, grads.cols), (table.rows, table.cols));
    let (grads, [values, first, second]) = (mat(grads), tables(table));
    cuda.cells(
        ["adam1", "adam4"],
        grads.is_wide() && values.is_wide() && first.is_wide() && second.is_wide(),
        values,
        &[&raw(step), &grads, &values, &first, &second],
    );
}
