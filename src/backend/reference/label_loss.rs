//! The losses of rows of scores with labels.

use super::loss::{sigmoid, softplus};
use super::range_of;
use crate::backend::LabelLoss;
use crate::backend::{On, Reference};
use crate::program::ops::label_loss::{LabelLosses, LossOfLabels};

/// Does an operation of the family.
pub fn run(op: LabelLosses<On<Reference>>) {
    match op {
        LabelLosses::LossOfLabels(op) => label_loss(op),
    }
}

/// See [`LossOfLabels`].
fn label_loss(
    LossOfLabels { loss, offsets, labels, first, row_weights, mut scores, mut losses }: LossOfLabels<
        On<Reference>,
    >,
) {
    let entities = scores.cols as f64;
    for i in 0..scores.rows {
        let labels = &labels[range_of(offsets, first + i)];
        let (n, weight) = (labels.len() as f64, row_weights.row(i)[0]);
        let is_label = |e: usize| if labels.contains(&(e as u32)) { 1.0 } else { 0.0 };
        let x = scores.row(i).to_vec();
        match loss {
            LabelLoss::CrossEntropy { smoothing } => {
                let s = f64::from(smoothing);
                let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = x.iter().map(|x| (x - max).exp()).sum();
                let target = |e: usize| (1.0 - s) * is_label(e) + s * n / entities;
                let hit: f64 = (0..x.len()).map(|e| target(e) * (x[e] - max)).sum();
                losses.row(i)[0] = weight * (n * sum.ln() - hit);
                for (e, to) in scores.row(i).iter_mut().enumerate() {
                    *to = weight * (n * (x[e] - max).exp() / sum - target(e));
                }
            }
            LabelLoss::Logistic { smoothing, per_label } => {
                let (s, mass) = (f64::from(smoothing), if per_label { n } else { 1.0 });
                let target = |e: usize| (1.0 - s) * is_label(e) + s * mass / entities;
                let each = (0..x.len()).map(|e| mass * softplus(x[e]) - target(e) * x[e]);
                losses.row(i)[0] = weight * each.sum::<f64>();
                for (e, to) in scores.row(i).iter_mut().enumerate() {
                    *to = weight * (mass * sigmoid(x[e]) - target(e));
                }
            }
        }
    }
}
