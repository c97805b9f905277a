//! Projections by matrices. Kernels: `kernels/matrix.cu`.

use super::memory::{mat, mat_mut};
use super::{Cuda, View, ViewMut};
use crate::backend::ProjectStep;

/// The uses of each matrix, as the kernels take them; zeros where each use has its own.
#[repr(C)]
#[derive(Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
struct Groups {
    ids: u64,
    offsets: u64,
    members: u64,
}

/// The groups of a step, and their number.
fn groups(step: &ProjectStep<Cuda>, matrices: usize) -> (Groups, usize) {
    let Some(groups) = step.groups else {
        assert_eq!(matrices, step.count, "each use has a matrix of its own");
        return (Groups::default(), step.count);
    };
    let count = groups.ids.len();
    assert_eq!((groups.offsets.len(), groups.members.len()), (count + 1, step.count));
    let [ids, offsets, members] = [&groups.ids, &groups.offsets, &groups.members].map(|i| i.address());
    (Groups { ids, offsets, members }, count)
}

/// See [`Projection::Matrix`](crate::backend::Projection::Matrix).
pub fn project(cuda: &Cuda, step: ProjectStep<Cuda>, matrices: View, mut slots: ViewMut) {
    let d = slots.cols;
    assert_eq!((step.inputs.len(), matrices.cols), (step.count, d * d));
    let (groups, count) = groups(&step, matrices.rows);
    let outs = mat_mut(&mut slots.again().rows(step.output, step.count));
    let (matrices, slots, inputs) = (mat(matrices), mat_mut(&mut slots), step.inputs.address());
    let grid = [count, d.div_ceil(64), 1];
    cuda.launch("project_matrix", grid, 256, &[&groups, &inputs, &matrices, &slots, &outs]);
}

/// Gradients of [`project`].
pub fn project_backward(
    cuda: &Cuda,
    step: ProjectStep<Cuda>,
    slots: View,
    matrices: View,
    mut grads: ViewMut,
    mut matrix_grads: ViewMut,
) {
    let d = slots.cols;
    assert_eq!((step.inputs.len(), matrices.cols, matrix_grads.cols), (step.count, d * d, d * d));
    assert_eq!((slots.rows, slots.cols), (grads.rows, grads.cols));
    assert_eq!(matrices.rows, matrix_grads.rows);
    let (groups, count) = groups(&step, matrices.rows);
    let douts = mat_mut(&mut grads.again().rows(step.output, step.count));
    let (matrices, slots, inputs) = (mat(matrices), mat(slots), step.inputs.address());
    let (grads, matrix_grads) = (mat_mut(&mut grads), mat_mut(&mut matrix_grads));
    let tiles = d.div_ceil(64);
    let arguments: [&dyn super::driver::Argument; 5] = [&groups, &inputs, &matrices, &douts, &grads];
    cuda.launch("project_matrix_backward", [count, tiles, 1], 256, &arguments);
    let arguments: [&dyn super::driver::Argument; 5] = [&groups, &inputs, &slots, &douts, &matrix_grads];
    cuda.launch("project_matrix_gradient", [count, tiles, tiles], 256, &arguments);
}
