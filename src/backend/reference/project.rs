//! Projections.

use super::linear::activate;
use super::loss::sigmoid;
use super::range_of;
use crate::backend::{Activation, DeviceGroups, Projection};
use crate::backend::{On, Reference};
use crate::program::ops::project::{Project, ProjectBackward, Projections};

/// Does an operation of the family.
pub fn run(op: Projections<On<Reference>>) {
    match op {
        Projections::Project(op) => project(op),
        Projections::ProjectBackward(op) => project_backward(op),
    }
}

/// The row of the relations that each use has.
fn relation_of_uses(count: usize, groups: Option<&DeviceGroups<Reference>>) -> Vec<usize> {
    let mut relations: Vec<usize> = (0..count).collect();
    for g in 0..groups.map_or(0, |groups| groups.ids.len()) {
        let DeviceGroups { ids, offsets, members } = groups.expect("it has members");
        for &use_ in &members[range_of(offsets, g)] {
            relations[use_ as usize] = ids[g] as usize;
        }
    }
    relations
}

fn derivative(f: Activation, x: f64) -> f64 {
    match f {
        Activation::None => 1.0,
        Activation::Relu => f64::from(x > 0.0),
        Activation::Softplus => sigmoid(x),
    }
}

/// See [`Project`].
fn project(Project { kind, inputs, output, count, groups, relations, mut slots }: Project<On<Reference>>) {
    for (i, relation) in relation_of_uses(count, groups).into_iter().enumerate() {
        let q = slots.row(inputs[i] as usize).to_vec();
        let (r, out) = (relations.row(relation), slots.row(output + i));
        let d = q.len() / 2;
        for k in 0..q.len() {
            out[k] = match kind {
                Projection::Matrix => (0..q.len()).map(|j| q[j] * r[j * q.len() + k]).sum(),
                Projection::Translate => q[k] + r[k],
                Projection::Box { .. } if k < d => q[k] + r[k],
                Projection::Box { offset } => q[k] + activate(offset, r[k]),
                Projection::Product => q[k] * r[k],
                Projection::ComplexProduct if k < d => q[k] * r[k] - q[d + k] * r[d + k],
                Projection::ComplexProduct => q[k - d] * r[k] + q[k] * r[k - d],
                Projection::Rotate { scale } => {
                    let (sin, cos) = (f64::from(scale) * r[k % d]).sin_cos();
                    if k < d { q[k] * cos - q[d + k] * sin } else { q[k - d] * sin + q[k] * cos }
                }
            };
        }
    }
}

/// See [`ProjectBackward`].
fn project_backward(
    ProjectBackward { kind, inputs, output, count, groups, slots, relations, mut grads, mut relation_grads }: ProjectBackward<On<Reference>>,
) {
    let uses = relation_of_uses(count, groups);
    if kind == Projection::Matrix {
        uses.iter().for_each(|&relation| relation_grads.row(relation).fill(0.0));
    }
    for (i, relation) in uses.into_iter().enumerate() {
        let input = inputs[i] as usize;
        let dout = grads.row(output + i).to_vec();
        let (q, r) = (slots.row(input), relations.row(relation));
        let (dq, dr) = (grads.row(input), relation_grads.row(relation));
        let d = q.len() / 2;
        if kind == Projection::Matrix {
            let d = q.len();
            for j in 0..d {
                dq[j] = (0..d).map(|k| dout[k] * r[j * d + k]).sum();
                (0..d).for_each(|k| dr[j * d + k] += q[j] * dout[k]);
            }
            continue;
        }
        if let Projection::Rotate { scale } = kind {
            for k in 0..d {
                let scale = f64::from(scale);
                let (sin, cos) = (scale * r[k]).sin_cos();
                dq[k] = dout[k] * cos + dout[d + k] * sin;
                dq[d + k] = dout[d + k] * cos - dout[k] * sin;
                let (by_re, by_im) = (-q[k] * sin - q[d + k] * cos, q[k] * cos - q[d + k] * sin);
                dr[k] = scale * (dout[k] * by_re + dout[d + k] * by_im);
            }
            continue;
        }
        for k in 0..q.len() {
            (dq[k], dr[k]) = match kind {
                Projection::Translate => (dout[k], dout[k]),
                Projection::Box { .. } if k < d => (dout[k], dout[k]),
                Projection::Box { offset } => (dout[k], dout[k] * derivative(offset, r[k])),
                Projection::Product => (dout[k] * r[k], dout[k] * q[k]),
                Projection::Rotate { .. } | Projection::Matrix => unreachable!("done above"),
                Projection::ComplexProduct if k < d => {
                    (dout[k] * r[k] + dout[d + k] * r[d + k], dout[k] * q[k] + dout[d + k] * q[d + k])
                }
                Projection::ComplexProduct => {
                    (dout[k] * r[k - d] - dout[k - d] * r[k], dout[k] * q[k - d] - dout[k - d] * q[k])
                }
            };
        }
    }
}
