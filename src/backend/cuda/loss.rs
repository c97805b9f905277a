//! The loss of queries with one positive and a masked pool of negatives. Kernels: `kernels/loss.cu`.

use super::memory::Index;
use super::{Cuda, View, ViewMut};
use crate::backend::LossOptions;

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
    losses: ViewMut,
    positive_weights: ViewMut,
    weights: ViewMut,
) {
    let _ = (cuda, options, input.scores, losses, positive_weights, weights);
    todo!()
}
