//! Sets of rows.

use super::loss::sigmoid;
use super::range_of;
use crate::backend::{On, Reference};
use crate::program::ops::segment::{
    Attend, AttendBackward, GatedMin, GatedMinBackward, Segment, SegmentMean, SegmentMeanBackward,
};

/// Does an operation of the family.
pub fn run(op: Segment<On<Reference>>) {
    match op {
        Segment::Attend(op) => attend(op),
        Segment::AttendBackward(op) => attend_backward(op),
        Segment::SegmentMean(op) => segment_mean(op),
        Segment::SegmentMeanBackward(op) => segment_mean_backward(op),
        Segment::GatedMin(op) => gated_min(op),
        Segment::GatedMinBackward(op) => gated_min_backward(op),
    }
}

/// The least value, or NaN if there is one.
fn minimum(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::INFINITY, |min, x| if x < min || x.is_nan() { x } else { min })
}

/// See [`Attend`].
fn attend(Attend { x, offsets, mut weights, mut out }: Attend<On<Reference>>) {
    for s in 0..offsets.len() - 1 {
        for k in 0..x.cols {
            let logits: Vec<f64> = range_of(offsets, s).map(|i| weights.row(i)[k]).collect();
            let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = logits.iter().map(|l| (l - max).exp()).sum();
            out.row(s)[k] = 0.0;
            for (i, l) in range_of(offsets, s).zip(logits) {
                weights.row(i)[k] = (l - max).exp() / sum;
                out.row(s)[k] += weights.row(i)[k] * x.row(i)[k];
            }
        }
    }
}

/// See [`AttendBackward`].
fn attend_backward(AttendBackward { x, offsets, dout, mut weights, mut dx }: AttendBackward<On<Reference>>) {
    for s in 0..offsets.len() - 1 {
        for k in 0..x.cols {
            let mean: f64 = range_of(offsets, s).map(|i| weights.row(i)[k] * x.row(i)[k]).sum();
            for i in range_of(offsets, s) {
                let (w, d) = (weights.row(i)[k], dout.row(s)[k]);
                dx.row(i)[k] = w * d;
                weights.row(i)[k] = w * d * (x.row(i)[k] - mean);
            }
        }
    }
}

/// See [`SegmentMean`].
fn segment_mean(SegmentMean { x, offsets, mut out }: SegmentMean<On<Reference>>) {
    for s in 0..offsets.len() - 1 {
        for k in 0..x.cols {
            let sum: f64 = range_of(offsets, s).map(|i| x.row(i)[k]).sum();
            out.row(s)[k] = sum / range_of(offsets, s).len() as f64;
        }
    }
}

/// See [`SegmentMeanBackward`].
fn segment_mean_backward(SegmentMeanBackward { dout, offsets, mut dx }: SegmentMeanBackward<On<Reference>>) {
    for s in 0..offsets.len() - 1 {
        for i in range_of(offsets, s) {
            for k in 0..dx.cols {
                dx.row(i)[k] = dout.row(s)[k] / range_of(offsets, s).len() as f64;
            }
        }
    }
}

/// See [`GatedMin`].
fn gated_min(GatedMin { x, offsets, gate, mut out }: GatedMin<On<Reference>>) {
    for s in 0..offsets.len() - 1 {
        for k in 0..x.cols {
            let min = minimum(range_of(offsets, s).map(|i| x.row(i)[k]));
            out.row(s)[k] = min * sigmoid(gate.row(s)[k]);
        }
    }
}

/// See [`GatedMinBackward`].
fn gated_min_backward(
    GatedMinBackward { x, offsets, dout, mut gate, mut dx }: GatedMinBackward<On<Reference>>,
) {
    for s in 0..offsets.len() - 1 {
        for k in 0..x.cols {
            let min = minimum(range_of(offsets, s).map(|i| x.row(i)[k]));
            let (g, d) = (sigmoid(gate.row(s)[k]), dout.row(s)[k]);
            let first = range_of(offsets, s).find(|&i| x.row(i)[k] == min);
            for i in range_of(offsets, s) {
                dx.row(i)[k] = if Some(i) == first { d * g } else { 0.0 };
            }
            gate.row(s)[k] = d * min * g * (1.0 - g);
        }
    }
}
