//! Projections by matrices: the vectors of all uses of a relation are multiplied with its matrix at once.

use super::linear::{Operand, matmul_into};
use super::memory::{CHUNK, Shared, assert_distinct};
use crate::backend::{Cpu, DeviceGroups, HostBuffer, On};
use crate::program::ops::project::{Project, ProjectBackward};
use rayon::prelude::*;

/// Rows of a matrix's gradient that a task has.
const ROWS: usize = 128;

/// Uses of one matrix that a task multiplies at once.
struct Uses {
    matrix: usize,
    uses: Vec<u32>,
}

/// The uses of each matrix, in parts of at most `most`. Every use has one part: what parallel writes rest on.
fn uses(count: usize, groups: Option<&DeviceGroups<Cpu>>, matrices: usize, most: usize) -> Vec<Uses> {
    let Some(DeviceGroups { ids, offsets, members }) = groups else {
        assert_eq!(matrices, count, "each use has a matrix of its own");
        return (0..count).map(|i| Uses { matrix: i, uses: vec![i as u32] }).collect();
    };
    assert_eq!((offsets.len(), members.len()), (ids.len() + 1, count));
    assert!(ids.is_sorted_by(|a, b| a < b) && ids.last().is_none_or(|&id| (id as usize) < matrices));
    assert_distinct(members, count);
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
pub fn project(op: Project<On<Cpu>>) {
    let Project { inputs, output, count, groups, relations: matrices, slots, .. } = op;
    let d = slots.cols;
    assert!(output + count <= slots.rows);
    let (stride, offset) = (slots.stride, slots.offset);
    let (before, after) = slots.buffer.as_mut_slice().split_at_mut(offset + output * stride);
    let after = &mut after[..(count * stride).saturating_sub(stride - d)];
    let outs = Shared::new_rows(after, stride);
    uses(count, groups, matrices.rows, CHUNK).into_par_iter().for_each(|Uses { matrix, uses }| {
        let matrix = Operand::slice(matrices.row(matrix), d);
        let q = |i: usize| &before[offset + inputs[i] as usize * stride..][..d];
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
pub fn project_backward(op: ProjectBackward<On<Cpu>>) {
    let ProjectBackward { inputs, output, count, groups, slots, relations: matrices, grads, .. } = op;
    let matrix_grads = op.relation_grads;
    let d = slots.cols;
    assert_distinct(inputs, output);
    assert!(output + count <= grads.rows);
    let (grads, matrix_grads) = (Shared::new(grads), Shared::new(matrix_grads));
    // SAFETY: outputs are only read, and lie behind all inputs.
    let dout = |i: usize| &*unsafe { grads.slice(output + i, 0, d) };
    uses(count, groups, matrices.rows, CHUNK).into_par_iter().for_each(|Uses { matrix, uses }| {
        let matrix = Operand::slice(matrices.row(matrix), d).transposed();
        // SAFETY: every use is in one part (see `uses`); its input is its own (asserted above) and no output.
        let dq = |i: u32| unsafe { grads.slice(inputs[i as usize] as usize, 0, d) };
        if let [i] = uses[..] {
            return matmul_into(Operand::slice(dout(i as usize), d), matrix, dq(i));
        }
        let mut product = vec![0.0; uses.len() * d];
        matmul_into(Operand::slice(&packed(&uses, d, dout), d), matrix, &mut product);
        uses.iter().zip(product.chunks(d)).for_each(|(&i, row)| dq(i).copy_from_slice(row));
    });
    // The gradient of a matrix is one sum over all its uses.
    uses(count, groups, matrices.rows, usize::MAX).into_par_iter().for_each(|Uses { matrix, uses }| {
        let q = packed(&uses, d, |i| slots.row(inputs[i] as usize));
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
