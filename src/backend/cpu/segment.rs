//! Set operations: attention, means and gated minima over segments of rows.

use super::memory::{Shared, par_rows};
use crate::backend::{Cpu, On};
use crate::math::{exp, sigmoid};
use crate::program::ops::segment::{
    Attend, AttendBackward, GatedMin, GatedMinBackward, Segment, SegmentMean, SegmentMeanBackward,
};
use rayon::prelude::*;

/// Does an operation of the family.
pub fn run(op: Segment<On<Cpu>>) {
    match op {
        Segment::Attend(op) => attend(op),
        Segment::AttendBackward(op) => attend_backward(op),
        Segment::SegmentMean(op) => mean(op),
        Segment::SegmentMeanBackward(op) => mean_backward(op),
        Segment::GatedMin(op) => gated_min(op),
        Segment::GatedMinBackward(op) => gated_min_backward(op),
    }
}

/// Segments per task.
const SEGMENTS: usize = 16;

/// Columns whose means are held at once.
const BLOCK: usize = 64;

fn check(offsets: &[u32], rows: usize) {
    assert!(!offsets.is_empty() && offsets[offsets.len() - 1] as usize == rows && offsets.is_sorted());
}

/// Runs `body(segment, first row, last row)` on all segments, in parallel, with wide vectors.
fn par_segments(offsets: &[u32], body: impl Fn(usize, usize, usize) + Sync) {
    (0..offsets.len() - 1).into_par_iter().with_min_len(SEGMENTS).for_each(|s| {
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || body(s, offsets[s] as usize, offsets[s + 1] as usize),
        );
    });
}

/// See [`Attend`].
fn attend(Attend { x, offsets, weights, out }: Attend<On<Cpu>>) {
    check(offsets, x.rows);
    let cols = x.cols;
    assert_eq!(out.rows, offsets.len() - 1);
    let (weights, out) = (Shared::new(weights), Shared::new(out));
    par_segments(offsets, |s, begin, end| {
        // SAFETY: segments share no row of `weights`, and each has its own row of `out`.
        let (out, row) = unsafe { (out.slice(s, 0, cols), |i: usize| weights.slice(i, 0, cols)) };
        // The greatest logit of each column goes to `out` first, to keep exp in range.
        out.copy_from_slice(row(begin));
        for i in begin + 1..end {
            for (max, l) in out.iter_mut().zip(row(i).iter()) {
                *max = if *l > *max { *l } else { *max };
            }
        }
        for i in begin..end {
            for (l, max) in row(i).iter_mut().zip(out.iter()) {
                *l = exp(*l - max);
            }
        }
        out.fill(0.0);
        for i in begin..end {
            for (sum, l) in out.iter_mut().zip(row(i).iter()) {
                *sum += l;
            }
        }
        for i in begin..end {
            for (l, sum) in row(i).iter_mut().zip(out.iter()) {
                *l /= sum;
            }
        }
        out.fill(0.0);
        for i in begin..end {
            for ((y, l), x) in out.iter_mut().zip(row(i).iter()).zip(x.row(i)) {
                *y += l * x;
            }
        }
    });
}

/// See [`AttendBackward`].
fn attend_backward(AttendBackward { x, offsets, dout, weights, dx }: AttendBackward<On<Cpu>>) {
    check(offsets, x.rows);
    let cols = x.cols;
    assert_eq!(dout.rows, offsets.len() - 1);
    let (weights, dx) = (Shared::new(weights), Shared::new(dx));
    par_segments(offsets, |s, begin, end| {
        // SAFETY: segments share no row of `weights` or `dx`.
        let (row, dx) = unsafe { (|i: usize| weights.slice(i, 0, cols), |i: usize| dx.slice(i, 0, cols)) };
        let dout = dout.row(s);
        // d logit_i = w_i * dout * (x_i - mean), mean = sum_j w_j x_j, in blocks of columns.
        let mut mean = [0f32; BLOCK];
        for first in (0..cols).step_by(BLOCK) {
            let columns = first..cols.min(first + BLOCK);
            let mean = &mut mean[..columns.len()];
            mean.fill(0.0);
            for i in begin..end {
                for ((m, w), x) in
                    mean.iter_mut().zip(&row(i)[columns.clone()]).zip(&x.row(i)[columns.clone()])
                {
                    *m += w * x;
                }
            }
            for i in begin..end {
                let (weights, dx) = (&mut row(i)[columns.clone()], &mut dx(i)[columns.clone()]);
                let (x, dout) = (&x.row(i)[columns.clone()], &dout[columns.clone()]);
                for k in 0..mean.len() {
                    dx[k] = weights[k] * dout[k];
                    weights[k] = dx[k] * (x[k] - mean[k]);
                }
            }
        }
    });
}

/// Mean of each segment's rows.
fn mean(SegmentMean { x, offsets, out }: SegmentMean<On<Cpu>>) {
    check(offsets, x.rows);
    assert_eq!(out.rows, offsets.len() - 1);
    par_rows(out, SEGMENTS, |mut out| {
        for s in 0..out.count {
            let (begin, end) = (offsets[out.first + s] as usize, offsets[out.first + s + 1] as usize);
            let out = out.row(s);
            out.fill(0.0);
            for i in begin..end {
                for (y, x) in out.iter_mut().zip(x.row(i)) {
                    *y += x;
                }
            }
            let scale = 1.0 / (end - begin) as f32;
            out.iter_mut().for_each(|y| *y *= scale);
        }
    });
}

/// Gradient of [`mean`].
fn mean_backward(SegmentMeanBackward { dout, offsets, dx }: SegmentMeanBackward<On<Cpu>>) {
    check(offsets, dx.rows);
    let cols = dx.cols;
    let dx = Shared::new(dx);
    par_segments(offsets, |s, begin, end| {
        let scale = 1.0 / (end - begin) as f32;
        for i in begin..end {
            // SAFETY: segments share no row.
            let dx = unsafe { dx.slice(i, 0, cols) };
            for (dx, d) in dx.iter_mut().zip(dout.row(s)) {
                *dx = d * scale;
            }
        }
    });
}

/// Whether a row's entry replaces the minimum so far: NaN always does, and nothing replaces it.
#[inline(always)]
fn replaces(x: f32, min: f32) -> bool {
    x < min || x.is_nan()
}

/// See [`GatedMin`].
fn gated_min(GatedMin { x, offsets, gate, out }: GatedMin<On<Cpu>>) {
    check(offsets, x.rows);
    assert_eq!(out.rows, offsets.len() - 1);
    let cols = x.cols;
    let out = Shared::new(out);
    par_segments(offsets, |s, begin, end| {
        // SAFETY: each segment has its own row of `out`.
        let out = unsafe { out.slice(s, 0, cols) };
        out.copy_from_slice(x.row(begin));
        for i in begin + 1..end {
            for (min, x) in out.iter_mut().zip(x.row(i)) {
                *min = if replaces(*x, *min) { *x } else { *min };
            }
        }
        for (y, g) in out.iter_mut().zip(gate.row(s)) {
            *y *= sigmoid(*g);
        }
    });
}

/// See [`GatedMinBackward`].
fn gated_min_backward(GatedMinBackward { x, offsets, dout, gate, dx }: GatedMinBackward<On<Cpu>>) {
    check(offsets, x.rows);
    let cols = x.cols;
    assert_eq!(dout.rows, offsets.len() - 1);
    let (gate, dx) = (Shared::new(gate), Shared::new(dx));
    par_segments(offsets, |s, begin, end| {
        // SAFETY: each segment has its own row of `gate` and its own rows of `dx`.
        let (gate, dx) = unsafe { (gate.slice(s, 0, cols), |i: usize| dx.slice(i, 0, cols)) };
        let dout = dout.row(s);
        for k in 0..cols {
            let mut first = begin;
            for i in begin + 1..end {
                if replaces(x.row(i)[k], x.row(first)[k]) {
                    first = i;
                }
            }
            let opening = sigmoid(gate[k]);
            for i in begin..end {
                dx(i)[k] = if i == first { dout[k] * opening } else { 0.0 };
            }
            gate[k] = dout[k] * x.row(first)[k] * opening * (1.0 - opening);
        }
    });
}
