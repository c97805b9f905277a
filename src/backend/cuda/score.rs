//! Scores of queries with entities. Kernels: `kernels/score.cu`, geometries: `kernels/geometry.cuh`.

use super::memory::{Index, RawMat, mat, mat_mut};
use super::{Cuda, View, ViewMut, beta};
use crate::backend::Scoring;

/// The kernel of a geometry.
macro_rules! kernel {
    ($operation:literal, $kind:expr) => {
        match $kind {
            Scoring::L1 { .. } => concat!($operation, "_l1"),
            Scoring::L2 { .. } => concat!($operation, "_l2"),
            Scoring::Box { .. } => concat!($operation, "_box"),
            Scoring::Dot => concat!($operation, "_dot"),
            Scoring::Beta { .. } => unreachable!("scored by `beta`"),
            Scoring::Rotation { .. } => concat!($operation, "_rotation"),
        }
    };
}

/// The constants of a geometry: the twin of `Geometry` in `kernels/geometry.cuh`.
fn geometry(kind: Scoring) -> [f32; 2] {
    match kind {
        Scoring::L1 { gamma } | Scoring::L2 { gamma } | Scoring::Rotation { gamma } => [gamma, 0.0],
        Scoring::Box { gamma, inside } => [gamma, inside],
        Scoring::Dot => [0.0, 0.0],
        Scoring::Beta { .. } => unreachable!("scored by `beta`"),
    }
}

/// Columns that threads of the backward kernels share: those of the first half of an entity row.
fn half(kind: Scoring, entities: RawMat) -> u32 {
    if matches!(kind, Scoring::Rotation { .. }) { entities.cols / 2 } else { entities.cols }
}

fn check(kind: Scoring, queries: RawMat, entities: RawMat) {
    assert_eq!(queries.cols as usize, kind.query_width(entities.cols as usize));
}

/// Number of tiles of `rows x cols` that cover a matrix of `shape`.
fn tiles(shape: [u32; 2], [rows, cols]: [u32; 2]) -> usize {
    shape[0].div_ceil(rows) as usize * shape[1].div_ceil(cols) as usize
}

/// Large tiles that keep every multiprocessor of a large GPU busy: with fewer, small ones spread better.
const MANY: usize = 512;

/// See [`Backend::scores`](crate::backend::Backend::scores).
pub fn scores(cuda: &Cuda, kind: Scoring, queries: View, entities: View, mut out: ViewMut) {
    let (queries, entities, out) = (mat(queries), mat(entities), mat_mut(&mut out));
    check(kind, queries, entities);
    let pairs = [queries.rows, entities.rows];
    assert_eq!([out.rows, out.cols], pairs);
    if let Scoring::Beta { gamma } = kind {
        return beta::scores(cuda, gamma, queries, entities, out);
    }
    // Entity rows of two halves fill shared memory with half as many.
    let large = tiles(pairs, if matches!(kind, Scoring::Rotation { .. }) { [64, 64] } else { [64, 128] });
    let (kernel, blocks) = if large >= MANY {
        (kernel!("scores_large", kind), large)
    } else {
        (kernel!("scores", kind), tiles(pairs, [32, 64]))
    };
    cuda.launch(kernel, [blocks, 1, 1], 128, &[&geometry(kind), &queries, &entities, &out]);
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
    mut dqueries: ViewMut,
    mut dentities: ViewMut,
) {
    if let Scoring::Beta { .. } = kind {
        check(kind, mat(queries), mat(entities));
        return beta::scores_backward(cuda, queries, entities, weights, dqueries, dentities);
    }
    let [queries, entities, scores, weights] = [queries, entities, scores, weights].map(mat);
    let (dqueries, dentities) = (mat_mut(&mut dqueries), mat_mut(&mut dentities));
    check(kind, queries, entities);
    for pairs in [scores, weights] {
        assert_eq!((pairs.rows, pairs.cols), (queries.rows, entities.rows));
    }
    assert_eq!((dqueries.rows, dqueries.cols), (queries.rows, queries.cols));
    assert_eq!((dentities.rows, dentities.cols), (entities.rows, entities.cols));
    // Threads, and the tile of a block.
    let (threads, tile) = if kind == Scoring::Dot { (128, [64, 64]) } else { (64, [32, 32]) };
    let d = half(kind, entities);
    let blocks = tiles([queries.rows, d], tile) + tiles([entities.rows, d], tile);
    cuda.launch(
        kernel!("scores_backward", kind),
        [blocks, 1, 1],
        threads,
        &[&geometry(kind), &queries, &entities, &scores, &weights, &dqueries, &dentities],
    );
}

/// Pairs of a block of the kernels for given pairs.
const PAIRS: usize = 16;

/// Checks the shapes of queries with candidates of their own: as many as `scores` has columns.
fn check_own(kind: Scoring, queries: RawMat, entities: RawMat, roots: &Index, scores: RawMat) {
    check(kind, queries, entities);
    assert_eq!(scores.rows, queries.rows);
    assert_eq!((roots.len() - 1) * scores.cols as usize, entities.rows as usize);
    // The kernels number pairs by 32 bits.
    assert!(u32::try_from(scores.rows as usize * scores.cols as usize).is_ok());
}

/// See [`Backend::own_scores`](crate::backend::Backend::own_scores).
pub fn own_scores(
    cuda: &Cuda,
    kind: Scoring,
    queries: View,
    entities: View,
    roots: &Index,
    mut out: ViewMut,
) {
    let (queries, entities, out) = (mat(queries), mat(entities), mat_mut(&mut out));
    check_own(kind, queries, entities, roots, out);
    if let Scoring::Beta { gamma } = kind {
        return beta::own_scores(cuda, gamma, queries, entities, roots, out);
    }
    let blocks = (out.rows as usize * out.cols as usize).div_ceil(PAIRS);
    cuda.launch(
        kernel!("own_scores", kind),
        [blocks, 1, 1],
        128,
        &[&geometry(kind), &queries, &entities, &roots.address(), &out],
    );
}

/// `out[0, i] = score(queries[query_rows[i]], entities[entity_rows[i]])`.
pub(super) fn listed_scores(
    cuda: &Cuda,
    kind: Scoring,
    (queries, query_rows): (View, &Index),
    (entities, entity_rows): (View, &Index),
    mut out: ViewMut,
) {
    let (queries, entities, out) = (mat(queries), mat(entities), mat_mut(&mut out));
    check(kind, queries, entities);
    assert_eq!((query_rows.len(), entity_rows.len()), (out.cols as usize, out.cols as usize));
    if let Scoring::Beta { gamma } = kind {
        return beta::listed_scores(cuda, gamma, (queries, query_rows), (entities, entity_rows), out);
    }
    cuda.launch(
        kernel!("listed_scores", kind),
        [query_rows.len().div_ceil(PAIRS), 1, 1],
        128,
        &[&geometry(kind), &queries, &entities, &query_rows.address(), &entity_rows.address(), &out],
    );
}

/// See [`Backend::own_scores_backward`](crate::backend::Backend::own_scores_backward).
#[allow(clippy::too_many_arguments)]
pub fn own_scores_backward(
    cuda: &Cuda,
    kind: Scoring,
    queries: View,
    entities: View,
    roots: &Index,
    scores: View,
    weights: View,
    mut dqueries: ViewMut,
    mut dentities: ViewMut,
) {
    if let Scoring::Beta { .. } = kind {
        check_own(kind, mat(queries), mat(entities), roots, mat(weights));
        return beta::own_scores_backward(cuda, queries, entities, roots, weights, dqueries, dentities);
    }
    let [queries, entities, scores, weights] = [queries, entities, scores, weights].map(mat);
    let (dqueries, dentities) = (mat_mut(&mut dqueries), mat_mut(&mut dentities));
    check_own(kind, queries, entities, roots, weights);
    assert_eq!((scores.rows, scores.cols), (weights.rows, weights.cols));
    assert_eq!((dqueries.rows, dqueries.cols), (queries.rows, queries.cols));
    assert_eq!((dentities.rows, dentities.cols), (entities.rows, entities.cols));
    cuda.cells(
        [kernel!("own_scores_backward", kind); 2],
        false,
        RawMat { rows: entities.rows / weights.cols, cols: half(kind, entities), ..entities },
        &[&geometry(kind), &queries, &entities, &roots.address(), &scores, &weights, &dqueries, &dentities],
    );
}
