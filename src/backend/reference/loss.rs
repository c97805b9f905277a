//! The loss of queries.

use super::range_of;
use crate::backend::PoolLoss;
use crate::backend::{On, Reference};
use crate::program::ops::loss::{LossOfPool, Losses};

/// Does an operation of the family.
pub fn run(op: Losses<On<Reference>>) {
    match op {
        Losses::LossOfPool(op) => loss(op),
    }
}

pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

pub fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// See [`LossOfPool`].
fn loss(
    LossOfPool {
        options,
        roots,
        positives,
        scores,
        mask,
        mask_words,
        query_weights,
        mut losses,
        mut positive_weights,
        mut weights,
    }: LossOfPool<On<Reference>>,
) {
    for q in 0..roots.len() - 1 {
        let roots = range_of(roots, q);
        // The first of the best roots; a root whose score is NaN before all others.
        let best = |value: &dyn Fn(usize) -> f64| {
            let better = |r, best| value(r) > value(best) || value(r).is_nan();
            roots.clone().fold(roots.start, |best, r| if better(r, best) { r } else { best })
        };
        let weight = query_weights.row(q)[0];
        for root in roots.clone() {
            weights.row(root).fill(0.0);
            positive_weights.row(root)[0] = 0.0;
        }
        let winner = best(&|r| positives.row(r)[0]);
        let p = positives.row(winner)[0];
        let negatives: Vec<(usize, usize, f64)> = (0..scores.cols)
            .filter(|&n| mask[q * mask_words + n / 32] >> (n % 32) & 1 == 0)
            .map(|n| {
                let root = best(&|r| scores.row(r)[n]);
                (n, root, scores.row(root)[n])
            })
            .collect();
        let max = negatives.iter().map(|x| x.2).fold(f64::NEG_INFINITY, f64::max);
        let share =
            |s: f64| options.adversarial_temperature.map_or(1.0, |t| (f64::from(t) * (s - max)).exp());
        let total: f64 = negatives.iter().map(|x| share(x.2)).sum();
        let (loss, dp) = match options.loss {
            PoolLoss::Logistic => {
                let mut loss = 0.5 * softplus(-p);
                for (n, root, s) in negatives {
                    loss += 0.5 * share(s) / total * softplus(s);
                    weights.row(root)[n] = weight * 0.5 * share(s) / total * sigmoid(s);
                }
                (loss, -0.5 * sigmoid(-p))
            }
            PoolLoss::CrossEntropy => {
                // Relative to the greatest of all scores.
                let top = max.max(p);
                let rest: f64 = negatives.iter().map(|x| (x.2 - top).exp()).sum();
                let all = (p - top).exp() + rest;
                for &(n, root, s) in &negatives {
                    weights.row(root)[n] = weight * (s - top).exp() / all;
                }
                // What the negatives add to a greatest e^p must not be lost.
                let loss = if p == top { rest.ln_1p() } else { all.ln() + top - p };
                (loss, -rest / all)
            }
            PoolLoss::Margin { margin } => {
                let (mut loss, mut dp) = (0.0, 0.0);
                for (n, root, s) in negatives {
                    let (gap, w) = (f64::from(margin) + s - p, share(s) / total);
                    // A gap that is NaN is not left out.
                    if gap > 0.0 || gap.is_nan() {
                        loss += w * gap;
                        dp -= w;
                        weights.row(root)[n] = weight * w;
                    }
                }
                (loss, dp)
            }
        };
        positive_weights.row(winner)[0] = weight * dp;
        losses.row(q)[0] = weight * if p.is_nan() { p } else { loss };
    }
}
