//! The losses of rows of scores whose labels are known.

use super::memory::{Shared, par_rows};
use crate::backend::{Cpu, LabelLoss, On};
use crate::math::{LANES, exp, softplus_and_sigmoid, sum};
use crate::program::ops::label_loss::{LabelLosses, LossOfLabels};

/// Does an operation of the family.
pub fn run(op: LabelLosses<On<Cpu>>) {
    match op {
        LabelLosses::LossOfLabels(op) => label_loss(op),
    }
}

/// Rows per task: a row is thousands of scores.
const ROWS: usize = 8;

/// Scores that are worked on while the first-level cache holds them.
const BLOCK: usize = 2048;

/// See [`LossOfLabels`].
fn label_loss(
    LossOfLabels { loss, offsets, labels, first, row_weights, scores, losses }: LossOfLabels<On<Cpu>>,
) {
    let (row_weights, losses) = (row_weights.into_row(), losses.into_row());
    let count = scores.rows;
    assert!(first + count < offsets.len(), "rows {first}+{count} of {}", offsets.len() - 1);
    let losses = Shared::new(losses);
    par_rows(scores, ROWS, |mut scores| {
        for i in 0..scores.count {
            let row = scores.first + i;
            let labels = &labels[offsets[first + row] as usize..offsets[first + row + 1] as usize];
            let weight = row_weights.row(0)[row];
            let x = scores.row(i);
            let value = pulp::Arch::new().dispatch(
                #[inline(always)]
                || match loss {
                    LabelLoss::CrossEntropy { smoothing } => cross_entropy(smoothing, labels, weight, x),
                    LabelLoss::Logistic { smoothing, per_label } => {
                        let mass = if per_label { labels.len() as f32 } else { 1.0 };
                        logistic(smoothing, mass, labels, weight, x)
                    }
                },
            );
            // SAFETY: each row's loss is written by the one task that owns the row.
            unsafe { losses.slice(0, row, 1)[0] = weight * value };
        }
    });
}

/// The greatest score; NaN only hides here.
#[inline(always)]
fn greatest(x: &[f32]) -> f32 {
    let mut max = [f32::NEG_INFINITY; LANES];
    let chunks = x.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (max, &x) in max.iter_mut().zip(chunk) {
            *max = if x > *max { x } else { *max };
        }
    }
    max.iter().chain(rest).fold(f32::NEG_INFINITY, |max, &x| if x > max { x } else { max })
}

#[inline(always)]
fn cross_entropy(smoothing: f32, labels: &[u32], weight: f32, x: &mut [f32]) -> f32 {
    let (n, cols, max) = (labels.len() as f32, x.len() as f32, greatest(x));
    let mut loss: f32 = labels.iter().map(|&label| max - x[label as usize]).sum::<f32>() * (1.0 - smoothing);
    if smoothing > 0.0 {
        loss += x.chunks(BLOCK).map(|x| x.len() as f32 * max - sum(x)).sum::<f32>() * smoothing * n / cols;
    }
    let mut total = 0.0;
    for block in x.chunks_mut(BLOCK) {
        block.iter_mut().for_each(|x| *x = exp(*x - max));
        total += sum(block);
    }
    let (scale, lowered) = (weight * n / total, weight * smoothing * n / cols);
    x.iter_mut().for_each(|x| *x = *x * scale - lowered);
    labels.iter().for_each(|&label| x[label as usize] -= weight * (1.0 - smoothing));
    loss + n * total.ln()
}

#[inline(always)]
fn logistic(smoothing: f32, mass: f32, labels: &[u32], weight: f32, x: &mut [f32]) -> f32 {
    let cols = x.len() as f32;
    let mut loss = -labels.iter().map(|&label| x[label as usize]).sum::<f32>() * (1.0 - smoothing);
    if smoothing > 0.0 {
        loss -= x.chunks(BLOCK).map(sum).sum::<f32>() * smoothing * mass / cols;
    }
    let (mut softplus, scale, lowered) = ([0f32; BLOCK], weight * mass, weight * smoothing * mass / cols);
    let mut total = 0.0;
    for block in x.chunks_mut(BLOCK) {
        let softplus = &mut softplus[..block.len()];
        for (x, to) in block.iter_mut().zip(&mut *softplus) {
            let (value, sigmoid) = softplus_and_sigmoid(*x);
            *to = value;
            *x = scale * sigmoid - lowered;
        }
        total += sum(softplus);
    }
    labels.iter().for_each(|&label| x[label as usize] -= weight * (1.0 - smoothing));
    loss + mass * total
}
