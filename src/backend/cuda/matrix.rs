//! Projections by matrices. Kernels: `kernels/matrix.cu`.

use super::Cuda;
use super::memory::{mat, mat_mut};
use crate::backend::{DeviceGroups, On};
use crate::program::ops::project::{Project, ProjectBackward};

/// The uses of each matrix, as the kernels take them; zeros where each use has its own.
#[repr(C)]
#[derive(Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
struct Groups {
    ids: u64,
    offsets: u64,
    members: u64,
}

/// The groups of a step, and their number.
fn list(groups: Option<&DeviceGroups<Cuda>>, uses: usize, matrices: usize) -> (Groups, usize) {
    let Some(groups) = groups else {
        assert_eq!(matrices, uses, "each use has a matrix of its own");
        return (Groups::default(), uses);
    };
    let count = groups.ids.len();
    assert_eq!((groups.offsets.len(), groups.members.len()), (count + 1, uses));
    let [ids, offsets, members] = [&groups.ids, &groups.offsets, &groups.members].map(|i| i.address());
    (Groups { ids, offsets, members }, count)
}

/// See [`Projection::Matrix`](crate::backend::Projection::Matrix).
pub fn project(cuda: &Cuda, op: Project<On<Cuda>>) {
    let Project { inputs, output, count: uses, groups, relations: matrices, mut slots, .. } = op;
    let d = slots.cols;
    let (groups, count) = list(groups, uses, matrices.rows);
    let outs = mat_mut(&mut slots.again().rows(output, uses));
    let (matrices, slots, inputs) = (mat(matrices), mat_mut(&mut slots), inputs.address());
    let grid = [count, d.div_ceil(64), 1];
    cuda.launch("project_matrix", grid, 256, &[&groups, &inputs, &matrices, &slots, &outs]);
}

/// Gradients of [`project`].
pub fn project_backward(cuda: &Cuda, op: ProjectBackward<On<Cuda>>) {
    let ProjectBackward {
        inputs, output, count: uses, groups, slots, relations: matrices, mut grads, ..
    } = op;
    let (d, mut matrix_grads) = (slots.cols, op.relation_grads);
    assert_eq!(slots.rows, grads.rows);
    let (groups, count) = list(groups, uses, matrices.rows);
    let douts = mat_mut(&mut grads.again().rows(output, uses));
    let (matrices, slots, inputs) = (mat(matrices), mat(slots), inputs.address());
    let (grads, matrix_grads) = (mat_mut(&mut grads), mat_mut(&mut matrix_grads));
    let tiles = d.div_ceil(64);
    let arguments: [&dyn super::driver::Argument; 5] = [&groups, &inputs, &matrices, &douts, &grads];
    cuda.launch("project_matrix_backward", [count, tiles, 1], 256, &arguments);
    let arguments: [&dyn super::driver::Argument; 5] = [&groups, &inputs, &slots, &douts, &matrix_grads];
    cuda.launch("project_matrix_gradient", [count, tiles, tiles], 256, &arguments);
}
