//! The loss of queries with one positive and a masked pool of negatives. Kernels: `kernels/loss.cu`.

use super::memory::{Index, mat, mat_mut};
use super::{Cuda, View, ViewMut};
use crate::backend::{LossOptions, PoolLoss};

/// What the loss reads.
pub struct Input<'a> {
    /// Roots of each query.
    pub root_offsets: &'a Index,
    /// Score of each root with its query's positive, one row.
    pub positives: View<'a>,
    /// Scores of each root with the pool.
    pub scores: View<'a>,
    /// Mask words of each query.
    pub mask: &'a Index,
    /// Number of mask words a query.
    pub mask_words: usize,
    /// Weight of each query, one row.
    pub query_weights: View<'a>,
}

/// See [`Backend::loss`](crate::backend::Backend::loss).
pub fn loss(
    cuda: &Cuda,
    options: LossOptions,
    input: Input,
    mut losses: ViewMut,
    mut positive_weights: ViewMut,
    mut weights: ViewMut,
) {
    let Input { root_offsets, positives, scores, mask, mask_words, query_weights } = input;
    let (num_queries, pool) = (root_offsets.len() - 1, scores.cols);
    assert_eq!(positives.cols, scores.rows);
    assert!(mask_words * 32 >= pool && mask.len() >= num_queries * mask_words);
    assert_eq!((losses.cols, query_weights.cols), (num_queries, num_queries));
    assert_eq!((positive_weights.cols, weights.rows, weights.cols), (scores.rows, scores.rows, pool));
    let adversarial = options.adversarial_temperature.is_some();
    let temperature = options.adversarial_temperature.unwrap_or(0.0);
    let (kernel, margin) = match options.loss {
        PoolLoss::Logistic if adversarial => ("loss_logistic_adversarial", 0.0),
        PoolLoss::Logistic => ("loss_logistic_uniform", 0.0),
        PoolLoss::CrossEntropy => ("loss_cross_entropy", 0.0),
        PoolLoss::Margin { margin } if adversarial => ("loss_margin_adversarial", margin),
        PoolLoss::Margin { margin } => ("loss_margin_uniform", margin),
    };
    let mask_words = u32::try_from(mask_words).expect("a query has fewer than 2^32 mask words");
    cuda.launch(
        kernel,
        [num_queries, 1, 1],
        256,
        &[
            &temperature,
            &margin,
            &root_offsets.address(),
            &mat(positives),
            &mat(scores),
            &mask.address(),
            &mask_words,
            &mat(query_weights),
            &mat_mut(&mut losses),
            &mat_mut(&mut positive_weights),
            &mat_mut(&mut weights),
        ],
    );
}
