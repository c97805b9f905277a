//! The loss of queries with one positive and a masked pool of negatives.

use super::memory::{CHUNK, Shared};
use crate::backend::{Cpu, LossOptions, On, PoolLoss};
use crate::math::{LANES, exp, softplus_and_sigmoid, sum};
use crate::program::ops::loss::{LossOfPool, Losses};
use rayon::prelude::*;

/// Does an operation of the family.
pub fn run(op: Losses<On<Cpu>>) {
    match op {
        Losses::LossOfPool(op) => loss(op),
    }
}

/// Whether a root's score replaces the best so far: NaN always does, and nothing replaces it, so that
/// it reaches the loss.
#[inline(always)]
fn replaces(score: f32, best: f32) -> bool {
    score > best || score.is_nan()
}

/// Index of the best score, the first of equals.
fn best(scores: impl Iterator<Item = f32>) -> usize {
    let mut best = (0, f32::NEG_INFINITY);
    for (i, score) in scores.enumerate() {
        if replaces(score, best.1) {
            best = (i, score);
        }
    }
    best.0
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
        losses,
        positive_weights,
        weights,
    }: LossOfPool<On<Cpu>>,
) {
    let (root_offsets, positives, query_weights) = (roots, positives.into_row(), query_weights.into_row());
    let (losses, positive_weights) = (losses.into_row(), positive_weights.into_row());
    let (num_queries, pool) = (root_offsets.len() - 1, scores.cols);
    assert_eq!(scores.rows, root_offsets[num_queries] as usize);
    assert!(root_offsets.is_sorted(), "roots of queries follow each other");
    assert!(mask.len() >= num_queries * mask_words);
    assert_eq!(losses.cols, num_queries);
    let (losses, positive_weights, weights) =
        (Shared::new(losses), Shared::new(positive_weights), Shared::new(weights));
    (0..num_queries).into_par_iter().with_min_len(CHUNK / 8).for_each_init(
        || (vec![0f32; pool], vec![0f32; pool]),
        |(best_scores, keep), q| {
            let (first, last) = (root_offsets[q] as usize, root_offsets[q + 1] as usize);
            let query_weight = query_weights.row(0)[q];
            let words = &mask[q * mask_words..][..mask_words];
            for (keep, word) in keep.chunks_mut(32).zip(words) {
                for (bit, keep) in keep.iter_mut().enumerate() {
                    *keep = f32::from((word >> bit & 1) as u8 ^ 1);
                }
            }
            let one_root = last - first == 1;
            if !one_root {
                best_scores.copy_from_slice(scores.row(first));
                for root in first + 1..last {
                    for (a, &b) in best_scores.iter_mut().zip(scores.row(root)) {
                        *a = if replaces(b, *a) { b } else { *a };
                    }
                }
            }
            let pool_scores: &[f32] = if one_root { scores.row(first) } else { best_scores };
            let roots = &positives.row(0)[first..last];
            let winner = best(roots.iter().copied());
            // SAFETY: the roots of a query belong to one task.
            let row = unsafe { weights.slice(first, 0, pool) };
            let (query_loss, positive_weight) = pulp::Arch::new().dispatch(
                #[inline(always)]
                || query_loss(options, roots[winner], pool_scores, keep, query_weight, row),
            );
            // SAFETY: as above; `q` has its own loss.
            let (d, loss) =
                unsafe { (positive_weights.slice(0, first, last - first), losses.slice(0, q, 1)) };
            d.fill(0.0);
            d[winner] = positive_weight;
            loss[0] = query_loss;
            if !one_root {
                // The weight of a score goes to the root that gave it.
                for (n, of_first) in row.iter_mut().enumerate() {
                    let winner = best((first..last).map(|r| scores.row(r)[n]));
                    let weight = std::mem::take(of_first);
                    for root in first + 1..last {
                        // SAFETY: as above, and `row` is another root's.
                        unsafe {
                            weights.slice(root, n, 1)[0] = if winner == root - first { weight } else { 0.0 }
                        };
                    }
                    if winner == 0 {
                        *of_first = weight;
                    }
                }
            }
        },
    );
}

/// The loss of a query whose positive has the score `p`, and its derivative by `p`; writes those by the pool's scores.
/// `keep` is 1 for a negative, 0 for a masked entry, and is overwritten.
#[inline(always)]
fn query_loss(
    options: LossOptions,
    p: f32,
    scores: &[f32],
    keep: &mut [f32],
    query_weight: f32,
    weights: &mut [f32],
) -> (f32, f32) {
    // A masked entry adds nothing and gets no gradient, even if its score is NaN.
    let (loss, derivative) = match options.loss {
        PoolLoss::Logistic => {
            let scale = shares(options, scores, keep, weights);
            for ((w, &score), loss) in weights.iter_mut().zip(scores).zip(keep.iter_mut()) {
                let share = *w * scale;
                let (softplus, sigmoid) = softplus_and_sigmoid(score);
                let weight = 0.5 * query_weight * share * sigmoid;
                (*loss, *w) = if *loss > 0.0 { (share * softplus, weight) } else { (0.0, 0.0) };
            }
            let (softplus, sigmoid) = softplus_and_sigmoid(-p);
            (0.5 * (softplus + sum(keep)), -0.5 * sigmoid)
        }
        PoolLoss::CrossEntropy => {
            // The softmax of two: the positive, and all negatives as one whose score is log sum e^s. So neither a
            // large positive nor a large negative swallows the other.
            let max = greatest(scores, keep);
            for ((w, &score), &keep) in weights.iter_mut().zip(scores).zip(keep.iter()) {
                *w = if keep > 0.0 { exp(score - max) } else { 0.0 };
            }
            let total = sum(weights);
            let (loss, sigmoid) = match total == 0.0 {
                true => (0.0, 0.0),
                false => softplus_and_sigmoid(max + total.ln() - p),
            };
            let scale = if total == 0.0 { 0.0 } else { query_weight * sigmoid / total };
            for (w, &keep) in weights.iter_mut().zip(keep.iter()) {
                *w = if keep > 0.0 { *w * scale } else { 0.0 };
            }
            (loss, -sigmoid)
        }
        PoolLoss::Margin { margin } => {
            let scale = shares(options, scores, keep, weights);
            for ((w, &score), loss) in weights.iter_mut().zip(scores).zip(keep.iter_mut()) {
                let (gap, share) = (margin + score - p, *w * scale);
                // A gap that is NaN is not left out.
                let counts = (*loss > 0.0) & ((gap > 0.0) | gap.is_nan());
                (*loss, *w) = if counts { (share * gap, share) } else { (0.0, 0.0) };
            }
            let derivative = -sum(weights);
            weights.iter_mut().for_each(|w| *w *= query_weight);
            (sum(keep), derivative)
        }
    };
    // Also where there is no negative that would tell.
    let loss = if p.is_nan() { p } else { loss };
    (query_weight * loss, query_weight * derivative)
}

/// Writes the weights of the negatives, which a factor, returned, makes sum to 1: 0 where every entry is masked.
#[inline(always)]
fn shares(options: LossOptions, scores: &[f32], keep: &[f32], weights: &mut [f32]) -> f32 {
    match options.adversarial_temperature {
        None => weights.copy_from_slice(keep),
        Some(temperature) => {
            let max = greatest(scores, keep);
            for ((w, &score), &keep) in weights.iter_mut().zip(scores).zip(keep) {
                *w = keep * exp(temperature * (score - max).min(0.0));
            }
        }
    }
    let total = sum(weights);
    if total > 0.0 { 1.0 / total } else { 0.0 }
}

/// The greatest score of a negative; `f32::MIN` where there is none.
#[inline(always)]
fn greatest(scores: &[f32], keep: &[f32]) -> f32 {
    let mut max = [f32::MIN; LANES];
    for (scores, keep) in scores.chunks(LANES).zip(keep.chunks(LANES)) {
        for ((max, &score), &keep) in max.iter_mut().zip(scores).zip(keep) {
            let score = if keep > 0.0 { score } else { f32::MIN };
            *max = if score > *max { score } else { *max };
        }
    }
    max.into_iter().fold(f32::MIN, f32::max)
}
