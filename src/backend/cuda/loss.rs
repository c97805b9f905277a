//! The loss of queries with one positive and a masked pool of negatives. Kernels: `kernels/loss.cu`.

use super::Cuda;
use super::memory::{mat, mat_mut};
use crate::backend::{On, PoolLoss};
use crate::program::ops::loss::{LossOfPool, Losses};

/// Does an operation of the family.
pub fn run(cuda: &Cuda, op: Losses<On<Cuda>>) {
    match op {
        Losses::LossOfPool(op) => loss(cuda, op),
    }
}

/// See [`LossOfPool`].
fn loss(
    cuda: &Cuda,
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
        mut weights,
    }: LossOfPool<On<Cuda>>,
) {
    let (root_offsets, positives, query_weights) = (roots, positives.into_row(), query_weights.into_row());
    let (mut losses, mut positive_weights) = (losses.into_row(), positive_weights.into_row());
    let num_queries = root_offsets.len() - 1;
    assert!(mask.len() >= num_queries * mask_words);
    assert_eq!(losses.cols, num_queries);
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
