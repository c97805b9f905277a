//! Projections by matrices: the vectors of all uses of a relation are multiplied with its matrix at once.

use super::linear::{Operand, matmul_into};
use super::memory::{CHUNK, Shared, assert_distinct};
use super::{View, ViewMut};
use crate::backend::{Cpu, DeviceGroups, HostBuffer, ProjectStep};
use rayon::prelude::*;

/// Rows of a matrix's gradient that a task has.
const ROWS: usize = 128;

/// Uses of one matrix that a task multiplies at once.
struct Uses {
    matrix: usize,
    uses: Vec<u32>,
}

/// The uses of each matrix, in parts of at most `most`. Every use has one part: what parallel writes rest on.
fn uses(step: &ProjectStep<Cpu>, matrices: usize, most: usize) -> Vec<Uses> {
    let Some(DeviceGroups { ids, offsets, members }) = step.groups else {
        assert_eq!(matrices, step.count, "each use has a matrix of its own");
        return (0..step.count).map(|i| Uses { matrix: i, uses: vec![i as u32] }).collect();
    };
    assert_eq!((offsets.len(), members.len()), (ids.len() + 1, step.count));
    assert!(ids.is_sorted_by(|a, b| a < b) && ids.last().is_none_or(|&id| (id as usize) < matrices));
    assert_distinct(members, step.count);
    let groups = ids.iter().zip(offsets.windows(2));
    let parts = groups.flat_map(|(&id, bounds)| {
        let uses = &members[bounds[0] as usize..bounds[1] as usize];
        uses.chunks(most).map(move |uses| Uses { matrix: id as usize, uses: uses.to_vec() })
    });
    parts.collect()
}

/// Rows side by side, in the order of the uses.
fn packed<'a>(uses: &[u32], cols: usize, row: impl Fn(usize) -> &'a [f32]) -> Vec<f32> {
    let mut rows = Vec::with_capacity(uses.len() * cols);
    uses.iter().for_each(|&i| rows.extend_from_slice(row(i as usize)));
    rows
}

/// See [`Projection::Matrix`](crate::backend::Projection::Matrix).
pub fn project(step: ProjectStep<Cpu>, matrices: View, slots: ViewMut) {
    let d = slots.cols;
    assert_eq!((step.inputs.len(), matrices.cols), (step.count, d * d));
    assert!(step.output + step.count <= slots.rows);
    let (stride, offset) = (slots.stride, slots.offset);
    let (before, after) = slots.buffer.as_mut_slice().split_at_mut(offset + step.output * stride);
    let after = &mut after[..(step.count * stride).saturating_sub(stride - d)];
    let outs = Shared::new_rows(after, stride);
    uses(&step, matrices.rows, CHUNK).into_par_iter().for_each(|Uses { matrix, uses }| {
        let matrix = Operand::slice(matrices.row(matrix), d);
        let q = |i: usize| &before[offset + step.inputs[i] as usize * stride..][..d];
        // SAFETY: every use is in one part (see `uses`), and its output is its own.
        let out = |i: u32| unsafe { outs.slice(i as usize, 0, d) };
        if let [i] = uses[..] {
            return matmul_into(Operand::slice(q(i as usize), d), matrix, out(i));
        }
        let mut product = vec![0.0; uses.len() * d];
        matmul_into(Operand::slice(&packed(&uses, d, q), d), matrix, &mut product);
        uses.iter().zip(product.chunks(d)).for_each(|(&i, row)| out(i).copy_from_slice(row));
    });
}

/// Gradients of [`project`].
pub fn project_backward(
    step: ProjectStep<Cpu>,
    slots: View,
    matrices: View,
    grads: ViewMut,
    matrix_grads: ViewMut,
) {
    let d = slots.cols;
    assert_eq!((step.inputs.len(), matrices.cols, matrix_grads.cols), (step.count, d * d, d * d));
    assert_eq!((slots.cols, matrices.rows), (grads.cols, matrix_grads.rows));
    assert_distinct(step.inputs, step.output);
    assert!(step.output + step.count <= grads.rows);
    let (grads, matrix_grads) = (Shared::new(grads), Shared::new(matrix_grads));
    // SAFETY: outputs are only read, and lie behind all inputs.
    let dout = |i: usize| &*unsafe { grads.slice(step.output + i, 0, d) };
    uses(&step, matrices.rows, CHUNK).into_par_iter().for_each(|Uses { matrix, uses }| {
        let matrix = Operand::slice(matrices.row(matrix), d).transposed();
        // SAFETY: every use is in one part (see `uses`); its input is its own (asserted above) and no output.
        let dq = |i: u32| unsafe { grads.slice(step.inputs[i as usize] as usize, 0, d) };
        if let [i] = uses[..] {
            return matmul_into(Operand::slice(dout(i as usize), d), matrix, dq(i));
        }
        let mut product = vec![0.0; uses.len() * d];
        matmul_into(Operand::slice(&packed(&uses, d, dout), d), matrix, &mut product);
        uses.iter().zip(product.chunks(d)).for_each(|(&i, row)| dq(i).copy_from_slice(row));
    });
    // The gradient of a matrix is one sum over all its uses.
    uses(&step, matrices.rows, usize::MAX).into_par_iter().for_each(|Uses { matrix, uses }| {
        let q = packed(&uses, d, |i| slots.row(step.inputs[i] as usize));
        let douts = packed(&uses, d, dout);
        (0..d.div_ceil(ROWS)).into_par_iter().for_each(|block| {
            let (first, rows) = (block * ROWS, ROWS.min(d - block * ROWS));
            // SAFETY: a matrix has one entry without a limit of uses, a block of its rows one task.
            let to = unsafe { matrix_grads.slice(matrix, first * d, rows * d) };
            let q = Operand::slice(&q, d).transposed().rows(first, rows);
            matmul_into(q, Operand::slice(&douts, d), to);
        });
    });
}
