//! Scores of queries with entities. Kernels: `kernels/score.cu`.

use super::memory::Index;
use super::{Cuda, View, ViewMut};
use crate::backend::Scoring;

/// See [`Backend::scores`](crate::backend::Backend::scores).
pub fn scores(cuda: &Cuda, kind: Scoring, queries: View, entities: View, out: ViewMut) {
    let _ = (cuda, kind, queries, entities, out);
    todo!()
}

/// See [`Backend::scores_backward`](crate::backend::Backend::scores_backward).
#[allow(clippy::too_many_arguments)]
pub fn scores_backward(
    cuda: &Cuda,
    kind: Scoring,
    queries: View,
    entities: View,
    scores: View,
    weights: View,
    dqueries: ViewMut,
    dentities: ViewMut,
) {
    let _ = (cuda, kind, queries, entities, scores, weights, dqueries, dentities);
    todo!()
}

/// See [`Backend::pair_scores`](crate::backend::Backend::pair_scores).
pub fn pair_scores(cuda: &Cuda, kind: Scoring, queries: View, entities: View, roots: &Index, out: ViewMut) {
    let _ = (cuda, kind, queries, entities, roots, out);
    todo!()
}

/// See [`Backend::pair_scores_backward`](crate::backend::Backend::pair_scores_backward).
#[allow(clippy::too_many_arguments)]
pub fn pair_scores_backward(
    cuda: &Cuda,
    kind: Scoring,
    queries: View,
    entities: View,
    roots: &Index,
    scores: View,
    weights: View,
    dqueries: ViewMut,
    dentities: ViewMut,
) {
    let _ = (cuda, kind, queries, entities, roots, scores, weights, dqueries, dentities);
    todo!()
}
