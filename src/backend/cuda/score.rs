//! Scores of queries with entities. Kernels: `kernels/score.cu`, geometries: `kernels/formulas.cuh`.

use super::driver::{Argument, Operand};
use super::formulas::of_score;
use super::memory::{Index, RawMat, mat, mat_mut};
use super::{Cuda, View, ViewMut, beta, linear};
use crate::backend::{On, Scoring};
use crate::program::ops::score::{PerQueryScores, PerQueryScoresBackward, Score, Scores, ScoresBackward};

/// Does an operation of the family.
pub fn run(cuda: &Cuda, op: Score<On<Cuda>>) {
    match op {
        Score::Scores(op) => scores(cuda, op),
        Score::ScoresBackward(op) => scores_backward(cuda, op),
        Score::PerQueryScores(op) => per_query_scores(cuda, op),
        Score::PerQueryScoresBackward(op) => per_query_scores_backward(cuda, op),
    }
}

/// Columns that threads of the backward kernels share: those of a part of an entity row.
fn part(kind: Scoring, entities: RawMat) -> u32 {
    let [_, parts] = kind.parts();
    entities.cols / parts as u32
}

/// Queries and entities of a large tile of scores: rows of many parts fill shared memory with fewer. The twin of
/// `Large` in `kernels/score.cu`.
fn large_tile(kind: Scoring) -> [u32; 2] {
    let [query, entity] = kind.parts();
    [if query > 2 { 32 } else { 64 }, 128 / entity as u32]
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

/// See [`Scores`].
pub fn scores(cuda: &Cuda, Scores { kind, exact, queries, entities, mut out }: Scores<On<Cuda>>) {
    let (queries, entities, out) = (mat(queries), mat(entities), mat_mut(&mut out));
    if kind == Scoring::Dot && !exact {
        let entities = Operand::new(entities).transposed();
        return linear::matmul(cuda, Operand::new(queries), entities, queries.cols, false, out);
    }
    let pairs = [queries.rows, entities.rows];
    if let Scoring::Beta { gamma } = kind {
        return beta::scores(cuda, gamma, queries, entities, out);
    }
    let (kernels, constants) = of_score(kind);
    let large = tiles(pairs, large_tile(kind));
    let [few, many] = kernels.scores;
    let (kernel, blocks) = if large >= MANY { (many, large) } else { (few, tiles(pairs, [32, 64])) };
    cuda.launch(kernel, [blocks, 1, 1], 128, &[&constants, &queries, &entities, &out]);
}

/// See [`ScoresBackward`].
pub fn scores_backward(cuda: &Cuda, op: ScoresBackward<On<Cuda>>) {
    if let Scoring::Beta { .. } = op.kind {
        return beta::scores_backward(cuda, op);
    }
    let ScoresBackward { kind, queries, entities, scores, weights, mut dqueries, mut dentities } = op;
    let [queries, entities, scores, weights] = [queries, entities, scores, weights].map(mat);
    let (dqueries, dentities) = (mat_mut(&mut dqueries), mat_mut(&mut dentities));
    // Threads, and the tile of a block.
    let (threads, tile) = if kind == Scoring::Dot { (128, [64, 64]) } else { (64, [32, 32]) };
    let d = part(kind, entities);
    let blocks = tiles([queries.rows, d], tile) + tiles([entities.rows, d], tile);
    let (kernels, constants) = of_score(kind);
    cuda.launch(
        kernels.backward,
        [blocks, 1, 1],
        threads,
        &[&constants, &queries, &entities, &scores, &weights, &dqueries, &dentities],
    );
}

/// Pairs of a block of the kernels for given pairs.
const PAIRS: usize = 16;

/// Checks the number of queries with candidates of their own: as many as `scores` has columns.
fn check_own(entities: RawMat, roots: &Index, scores: RawMat) {
    assert_eq!((roots.len() - 1) * scores.cols as usize, entities.rows as usize);
    // The kernels number pairs by 32 bits.
    assert!(u32::try_from(scores.rows as usize * scores.cols as usize).is_ok());
}

/// See [`PerQueryScores`].
fn per_query_scores(
    cuda: &Cuda,
    PerQueryScores { kind, queries, entities, roots, mut out }: PerQueryScores<On<Cuda>>,
) {
    let (queries, entities, out) = (mat(queries), mat(entities), mat_mut(&mut out));
    check_own(entities, roots, out);
    if let Scoring::Beta { gamma } = kind {
        return beta::per_query_scores(cuda, gamma, queries, entities, roots, out);
    }
    let blocks = (out.rows as usize * out.cols as usize).div_ceil(PAIRS);
    let (kernels, constants) = of_score(kind);
    let arguments: [&dyn Argument; 5] = [&constants, &queries, &entities, &roots.address(), &out];
    cuda.launch(kernels.own, [blocks, 1, 1], 128, &arguments);
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
    let (kernels, constants) = of_score(kind);
    cuda.launch(
        kernels.listed,
        [query_rows.len().div_ceil(PAIRS), 1, 1],
        128,
        &[&constants, &queries, &entities, &query_rows.address(), &entity_rows.address(), &out],
    );
}

/// See [`PerQueryScoresBackward`].
pub fn per_query_scores_backward(cuda: &Cuda, op: PerQueryScoresBackward<On<Cuda>>) {
    check_own(mat(op.entities), op.roots, mat(op.weights));
    if let Scoring::Beta { .. } = op.kind {
        return beta::per_query_scores_backward(cuda, op);
    }
    let PerQueryScoresBackward {
        kind,
        queries,
        entities,
        roots,
        scores,
        weights,
        mut dqueries,
        mut dentities,
    } = op;
    let [queries, entities, scores, weights] = [queries, entities, scores, weights].map(mat);
    let (dqueries, dentities) = (mat_mut(&mut dqueries), mat_mut(&mut dentities));
    let (kernels, constants) = of_score(kind);
    cuda.cells(
        [kernels.own_backward; 2],
        false,
        RawMat { rows: entities.rows / weights.cols, cols: part(kind, entities), ..entities },
        &[&constants, &queries, &entities, &roots.address(), &scores, &weights, &dqueries, &dentities],
    );
}
