//! Projections of a whole level. Kernels: `kernels/project.cu`.

use super::memory::{RawMat, mat, mat_mut};
use super::{Cuda, activation_code};
use crate::backend::{Activation, On, Projection};
use crate::program::ops::project::{Project, ProjectBackward, Projections};

/// Does an operation of the family.
pub fn run(cuda: &Cuda, op: Projections<On<Cuda>>) {
    match op {
        Projections::Project(op) => project(cuda, op),
        Projections::ProjectBackward(op) => project_backward(cuda, op),
    }
}

/// How a kind is launched.
struct Kernels {
    forward: [&'static str; 2],
    backward: [&'static str; 2],
    /// Parts of a row that a thread works on side by side.
    parts: u32,
    /// Of a relation's row.
    relation_parts: u32,
    /// What all threads are given: the code of an activation, or the bits of a scale.
    parameter: u32,
}

impl Kernels {
    fn of(kind: Projection) -> Self {
        let of = |forward, backward, parts| Kernels {
            forward,
            backward,
            parts,
            relation_parts: parts,
            parameter: activation_code(Activation::None),
        };
        match kind {
            Projection::Translate => of(
                ["project_translate", "project_translate4"],
                ["project_translate_backward", "project_translate4_backward"],
                1,
            ),
            Projection::Box { offset } => Kernels {
                parameter: activation_code(offset),
                ..of(["project_box", "project_box4"], ["project_box_backward", "project_box4_backward"], 2)
            },
            Projection::Product => of(
                ["project_product", "project_product4"],
                ["project_product_backward", "project_product4_backward"],
                1,
            ),
            Projection::ComplexProduct => of(
                ["project_complex", "project_complex4"],
                ["project_complex_backward", "project_complex4_backward"],
                2,
            ),
            Projection::Rotate { scale } => Kernels {
                relation_parts: 1,
                parameter: scale.to_bits(),
                ..of(
                    ["project_rotate", "project_rotate4"],
                    ["project_rotate_backward", "project_rotate4_backward"],
                    2,
                )
            },
            Projection::Matrix => unreachable!("it has a file of its own"),
        }
    }

    /// The first part of each row.
    fn part(&self, m: RawMat) -> RawMat {
        RawMat { cols: m.cols / self.parts, ..m }
    }

    /// Whether every part of every row can be read in groups of four floats.
    fn is_wide(&self, queries: &[RawMat], relations: &[RawMat]) -> bool {
        let relation_part = |&m: &RawMat| RawMat { cols: m.cols / self.relation_parts, ..m };
        queries.iter().map(|&m| self.part(m)).chain(relations.iter().map(relation_part)).all(|m| m.is_wide())
    }
}

/// See [`Project`].
fn project(cuda: &Cuda, op: Project<On<Cuda>>) {
    if op.kind == Projection::Matrix {
        return super::matrix::project(cuda, op);
    }
    let Project { kind, inputs, output, count, relations, mut slots, .. } = op;
    let kernels = Kernels::of(kind);
    let outs = mat_mut(&mut slots.again().rows(output, count));
    let (relations, slots) = (mat(relations), mat_mut(&mut slots));
    let (f, inputs) = (kernels.parameter, inputs.address());
    let wide = kernels.is_wide(&[slots, outs], &[relations]);
    cuda.cells(kernels.forward, wide, kernels.part(outs), &[&f, &inputs, &relations, &slots, &outs]);
}

/// See [`ProjectBackward`].
fn project_backward(cuda: &Cuda, op: ProjectBackward<On<Cuda>>) {
    if op.kind == Projection::Matrix {
        return super::matrix::project_backward(cuda, op);
    }
    let ProjectBackward {
        kind, inputs, output, count, slots, relations, mut grads, mut relation_grads, ..
    } = op;
    assert_eq!(slots.rows, grads.rows);
    let kernels = Kernels::of(kind);
    let douts = mat_mut(&mut grads.again().rows(output, count));
    let (relations, slots) = (mat(relations), mat(slots));
    let (grads, relation_grads) = (mat_mut(&mut grads), mat_mut(&mut relation_grads));
    let (f, inputs) = (kernels.parameter, inputs.address());
    let wide = kernels.is_wide(&[slots, douts, grads], &[relations, relation_grads]);
    cuda.cells(
        kernels.backward,
        wide,
        kernels.part(douts),
        &[&f, &inputs, &relations, &slots, &douts, &grads, &relation_grads],
    );
}
