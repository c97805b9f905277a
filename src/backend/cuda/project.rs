//! Projections of a whole level. Kernels: `kernels/project.cu`.

use super::memory::{RawMat, mat, mat_mut};
use super::{Cuda, View, ViewMut, activation_code};
use crate::backend::{Activation, ProjectStep, Projection};

/// How a kind is launched.
struct Kernels {
    forward: [&'static str; 2],
    backward: [&'static str; 2],
    /// Parts of a row that a thread works on side by side.
    parts: u32,
    activation: Activation,
}

impl Kernels {
    fn of(kind: Projection) -> Self {
        match kind {
            Projection::Translate => Kernels {
                forward: ["project_translate", "project_translate4"],
                backward: ["project_translate_backward", "project_translate4_backward"],
                parts: 1,
                activation: Activation::None,
            },
            Projection::Box { offset } => Kernels {
                forward: ["project_box", "project_box4"],
                backward: ["project_box_backward", "project_box4_backward"],
                parts: 2,
                activation: offset,
            },
            Projection::ComplexProduct => Kernels {
                forward: ["project_complex", "project_complex4"],
                backward: ["project_complex_backward", "project_complex4_backward"],
                parts: 2,
                activation: Activation::None,
            },
        }
    }

    /// The first part of each row.
    fn part(&self, m: RawMat) -> RawMat {
        RawMat { cols: m.cols / self.parts, ..m }
    }

    /// Whether every part of every row can be read in groups of four floats.
    fn is_wide(&self, all: &[RawMat]) -> bool {
        all.iter().all(|&m| self.part(m).is_wide())
    }
}

/// See [`Backend::project`](crate::backend::Backend::project).
pub fn project(cuda: &Cuda, kind: Projection, step: ProjectStep<Cuda>, relations: View, mut slots: ViewMut) {
    assert_eq!((step.inputs.len(), relations.rows, relations.cols), (step.count, step.count, slots.cols));
    let kernels = Kernels::of(kind);
    let outs = mat_mut(&mut slots.again().rows(step.output, step.count));
    let (relations, slots) = (mat(relations), mat_mut(&mut slots));
    let (f, inputs) = (activation_code(kernels.activation), step.inputs.address());
    let wide = kernels.is_wide(&[relations, slots, outs]);
    cuda.cells(kernels.forward, wide, kernels.part(outs), &[&f, &inputs, &relations, &slots, &outs]);
}

/// See [`Backend::project_backward`](crate::backend::Backend::project_backward).
pub fn project_backward(
    cuda: &Cuda,
    kind: Projection,
    step: ProjectStep<Cuda>,
    slots: View,
    relations: View,
    mut grads: ViewMut,
    mut relation_grads: ViewMut,
) {
    assert_eq!(
        (step.inputs.len(), relations.rows, relation_grads.rows),
        (step.count, step.count, step.count)
    );
    assert_eq!((slots.rows, slots.cols), (grads.rows, grads.cols));
    assert_eq!((relations.cols, relation_grads.cols), (grads.cols, grads.cols));
    let kernels = Kernels::of(kind);
    let douts = mat_mut(&mut grads.again().rows(step.output, step.count));
    let (relations, slots) = (mat(relations), mat(slots));
    let (grads, relation_grads) = (mat_mut(&mut grads), mat_mut(&mut relation_grads));
    let (f, inputs) = (activation_code(kernels.activation), step.inputs.address());
    let wide = kernels.is_wide(&[relations, slots, douts, grads, relation_grads]);
    cuda.cells(
        kernels.backward,
        wide,
        kernels.part(douts),
        &[&f, &inputs, &relations, &slots, &douts, &grads, &relation_grads],
    );
}
