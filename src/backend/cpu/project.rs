//! Projections: a relation moves a query embedding.

use super::memory::{CHUNK, Shared, assert_distinct};
use crate::backend::{Activation, Cpu, HostBuffer, On, Projection};
use crate::math::sin_cos;
use crate::program::ops::project::{Project, ProjectBackward, Projections};
use rayon::prelude::*;

/// Does an operation of the family.
pub fn run(op: Projections<On<Cpu>>) {
    match op {
        Projections::Project(op) => project(op),
        Projections::ProjectBackward(op) => project_backward(op),
    }
}

/// f(x); NaN stays NaN.
#[inline(always)]
pub(crate) fn activate(f: Activation, x: f32) -> f32 {
    match f {
        Activation::None => x,
        Activation::Relu => {
            if x < 0.0 {
                0.0
            } else {
                x
            }
        }
        Activation::Softplus => crate::math::softplus(x),
    }
}

/// f'(x).
#[inline(always)]
fn activate_derivative(f: Activation, x: f32) -> f32 {
    match f {
        Activation::None => 1.0,
        Activation::Relu => f32::from(x > 0.0),
        Activation::Softplus => crate::math::sigmoid(x),
    }
}

/// See [`Project`].
fn project(op: Project<On<Cpu>>) {
    if op.kind == Projection::Matrix {
        return super::matrix::project(op);
    }
    let Project { kind, inputs, output, count, relations, slots, .. } = op;
    assert!(output + count <= slots.rows);
    if count == 0 {
        return;
    }
    let (cols, stride, offset) = (slots.cols, slots.stride, slots.offset);
    let (before, after) = slots.buffer.as_mut_slice().split_at_mut(offset + output * stride);
    // The last row ends where its columns end.
    let after = &mut after[..(count - 1) * stride + cols];
    after.par_chunks_mut(CHUNK * stride).enumerate().for_each(|(chunk, out)| {
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                for (i, out) in out.chunks_mut(stride).enumerate() {
                    let i = chunk * CHUNK + i;
                    let q = &before[offset + inputs[i] as usize * stride..][..cols];
                    project_row(kind, q, relations.row(i), &mut out[..cols]);
                }
            },
        );
    });
}

#[inline(always)]
fn project_row(kind: Projection, q: &[f32], r: &[f32], out: &mut [f32]) {
    match kind {
        Projection::Translate => {
            for ((out, q), r) in out.iter_mut().zip(q).zip(r) {
                *out = q + r;
            }
        }
        Projection::Box { offset } => {
            let d = out.len() / 2;
            for k in 0..d {
                out[k] = q[k] + r[k];
            }
            for k in d..2 * d {
                out[k] = q[k] + activate(offset, r[k]);
            }
        }
        Projection::Product => {
            for ((out, q), r) in out.iter_mut().zip(q).zip(r) {
                *out = q * r;
            }
        }
        Projection::ComplexProduct => {
            let d = out.len() / 2;
            let ((a, b), (c, e)) = (q.split_at(d), r.split_at(d));
            let (re, im) = out.split_at_mut(d);
            for k in 0..d {
                re[k] = a[k] * c[k] - b[k] * e[k];
                im[k] = a[k] * e[k] + b[k] * c[k];
            }
        }
        Projection::Rotate { scale } => {
            let d = r.len();
            let (a, b) = q.split_at(d);
            let (re, im) = out.split_at_mut(d);
            for k in 0..d {
                let (sin, cos) = sin_cos(scale * r[k]);
                re[k] = a[k] * cos - b[k] * sin;
                im[k] = a[k] * sin + b[k] * cos;
            }
        }
        Projection::Matrix => unreachable!("it has a file of its own"),
    }
}

/// See [`ProjectBackward`].
fn project_backward(op: ProjectBackward<On<Cpu>>) {
    if op.kind == Projection::Matrix {
        return super::matrix::project_backward(op);
    }
    let ProjectBackward { kind, inputs, output, slots, relations, grads, relation_grads, .. } = op;
    assert_distinct(inputs, output);
    let (cols, relation_cols) = (grads.cols, relations.cols);
    let (grads, relation_grads) = (Shared::new(grads), Shared::new(relation_grads));
    inputs.par_chunks(CHUNK).enumerate().for_each(|(chunk, inputs)| {
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                for (i, &input) in inputs.iter().enumerate() {
                    let i = chunk * CHUNK + i;
                    // SAFETY: the inputs are distinct slots below `output` (asserted above), the outputs slots from
                    // `output` on, so that no slot is seen twice; use `i` belongs to this task.
                    let (dout, dq, dr) = unsafe {
                        (
                            grads.slice(output + i, 0, cols),
                            grads.slice(input as usize, 0, cols),
                            relation_grads.slice(i, 0, relation_cols),
                        )
                    };
                    let (q, r) = (slots.row(input as usize), relations.row(i));
                    project_row_backward(kind, q, r, dout, dq, dr);
                }
            },
        );
    });
}

#[inline(always)]
fn project_row_backward(
    kind: Projection,
    q: &[f32],
    r: &[f32],
    dout: &[f32],
    dq: &mut [f32],
    dr: &mut [f32],
) {
    match kind {
        Projection::Translate => {
            dq.copy_from_slice(dout);
            dr.copy_from_slice(dout);
        }
        Projection::Box { offset } => {
            let d = dout.len() / 2;
            dq.copy_from_slice(dout);
            dr[..d].copy_from_slice(&dout[..d]);
            for k in d..2 * d {
                dr[k] = dout[k] * activate_derivative(offset, r[k]);
            }
        }
        Projection::Product => {
            for k in 0..dout.len() {
                dq[k] = dout[k] * r[k];
                dr[k] = dout[k] * q[k];
            }
        }
        Projection::Rotate { scale } => {
            let d = r.len();
            let ((a, b), (x, y)) = (q.split_at(d), dout.split_at(d));
            let (da, db) = dq.split_at_mut(d);
            for k in 0..d {
                let (sin, cos) = sin_cos(scale * r[k]);
                da[k] = x[k] * cos + y[k] * sin;
                db[k] = y[k] * cos - x[k] * sin;
                // The product turned back: its imaginary part is what a turn changes.
                dr[k] = scale * (a[k] * db[k] - b[k] * da[k]);
            }
        }
        Projection::Matrix => unreachable!("it has a file of its own"),
        Projection::ComplexProduct => {
            let d = dout.len() / 2;
            let ((a, b), (c, e)) = (q.split_at(d), r.split_at(d));
            let (x, y) = dout.split_at(d);
            let ((da, db), (dc, de)) = (dq.split_at_mut(d), dr.split_at_mut(d));
            for k in 0..d {
                da[k] = x[k] * c[k] + y[k] * e[k];
                db[k] = y[k] * c[k] - x[k] * e[k];
                dc[k] = x[k] * a[k] + y[k] * b[k];
                de[k] = y[k] * a[k] - x[k] * b[k];
            }
        }
    }
}
