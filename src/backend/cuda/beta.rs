//! Scores by the divergence of Beta distributions. Kernels: `kernels/beta.cu`, and for gradients those of the dot product.
//!
//! Entities are made float64 rows in slabs of at most 32 MiB.

use super::memory::{Allocation, Buffer, Index, RawMat, mat, mat_mut};
use super::{Cuda, Mat, MatMut, score};
use crate::backend::{BETA_MAX, BETA_MIN, On, Scoring};
use crate::program::ops::score::{PerQueryScoresBackward, ScoresBackward};

/// Bytes of float64 rows of entities at a time: they fit a large second-level cache.
const SCRATCH: usize = 32 << 20;

/// The twin of `Bounds` in `kernels/beta.cu`.
const BOUNDS: [f32; 2] = [BETA_MIN, BETA_MAX];

/// Memory for an operation, or nothing where it failed. What was launched may still use it when it is dropped.
fn scratch(cuda: &Cuda, bytes: usize) -> Option<Allocation> {
    let mut memory = None;
    cuda.attempt(|| {
        memory = Some(Allocation::new(&cuda.driver, bytes)?);
        Ok(())
    });
    memory
}

/// Float64 rows with a term behind each: the twin of `Rows` in `kernels/beta.cu`.
fn rows64(memory: &Allocation, rows: u32, cols: u32) -> RawMat {
    RawMat { data: memory.address(), stride: i64::from(cols) + 1, rows, cols }
}

fn bytes64(rows: u32, cols: u32) -> usize {
    8 * rows as usize * (cols as usize + 1)
}

/// Float64 rows of queries and the memory that they are in.
fn queries64(cuda: &Cuda, queries: RawMat) -> Option<(Allocation, RawMat)> {
    let memory = scratch(cuda, bytes64(queries.rows, queries.cols))?;
    let rows = rows64(&memory, queries.rows, queries.cols);
    cuda.launch("beta_queries", [queries.rows as usize, 1, 1], 128, &[&queries, &rows]);
    Some((memory, rows))
}

/// Calls `body` with the first number and the float64 rows of each slab of `count` entities: the first ones, or those
/// that a list of row numbers on the device names.
fn each_slab(cuda: &Cuda, entities: RawMat, list: u64, count: u32, mut body: impl FnMut(u32, RawMat)) {
    let slab = u32::try_from(SCRATCH / bytes64(1, entities.cols)).map_or(count, |n| n.clamp(1, count.max(1)));
    let Some(memory) = scratch(cuda, bytes64(slab.min(count), entities.cols)) else { return };
    for first in (0..count).step_by(slab as usize) {
        let number = slab.min(count - first);
        let rows = rows64(&memory, number, entities.cols);
        // Without a list the rows themselves start later.
        let (list, from) = match list {
            0 => (0, 4 * u64::from(first) * entities.stride as u64),
            list => (list + 4 * u64::from(first), 0),
        };
        let entities = RawMat {
            data: entities.data + from,
            rows: if list == 0 { number } else { entities.rows },
            ..entities
        };
        cuda.launch("beta_entities", [number as usize, 1, 1], 128, &[&BOUNDS, &entities, &list, &rows]);
        body(first, rows);
    }
}

/// See [`Scores`](crate::program::ops::score::Scores).
pub fn scores(cuda: &Cuda, gamma: f32, queries: RawMat, entities: RawMat, out: RawMat) {
    let Some((_memory, queries)) = queries64(cuda, queries) else { return };
    each_slab(cuda, entities, 0, entities.rows, |first, entities| {
        let out = RawMat { data: out.data + 4 * u64::from(first), cols: entities.rows, ..out };
        let blocks = queries.rows.div_ceil(64) as usize * entities.rows.div_ceil(64) as usize;
        cuda.launch("beta_scores", [blocks, 1, 1], 256, &[&gamma, &queries, &entities, &out]);
    });
}

/// See [`PerQueryScores`](crate::program::ops::score::PerQueryScores).
pub fn per_query_scores(
    cuda: &Cuda,
    gamma: f32,
    queries: RawMat,
    entities: RawMat,
    roots: &Index,
    out: RawMat,
) {
    let Some((_memory, queries)) = queries64(cuda, queries) else { return };
    let num_queries = roots.len() as u32 - 1;
    each_slab(cuda, entities, 0, entities.rows, |first, entities| {
        cuda.cells(
            ["beta_per_query_scores"; 2],
            false,
            out,
            &[&gamma, &queries, &entities, &i64::from(first), &roots.address(), &num_queries, &out],
        );
    });
}

/// `out[0, i] = score(queries[query_rows[i]], entities[entity_rows[i]])`.
pub fn listed_scores(
    cuda: &Cuda,
    gamma: f32,
    (queries, query_rows): (RawMat, &Index),
    (entities, entity_rows): (RawMat, &Index),
    out: RawMat,
) {
    let Some((_memory, queries)) = queries64(cuda, queries) else { return };
    each_slab(cuda, entities, entity_rows.address(), out.cols, |first, entities| {
        let list = query_rows.address() + 4 * u64::from(first);
        let out = RawMat { data: out.data + 4 * u64::from(first), cols: entities.rows, ..out };
        let blocks = entities.rows.div_ceil(256) as usize;
        cuda.launch("beta_listed_scores", [blocks, 1, 1], 256, &[&gamma, &queries, &list, &entities, &out]);
    });
}

/// F of the entities in float32.
fn features(cuda: &Cuda, entities: RawMat) -> Option<Buffer> {
    let (rows, cols) = (entities.rows as usize, entities.cols as usize);
    let mut features = None;
    cuda.attempt(|| {
        features = Some(Buffer::new(&cuda.driver, rows * cols)?);
        Ok(())
    });
    let mut features = features?;
    let out = mat_mut(&mut MatMut::new(&mut features, rows, cols));
    let half = RawMat { cols: entities.cols / 2, ..entities };
    cuda.cells(["beta_features"; 2], false, half, &[&BOUNDS, &entities, &out]);
    Some(features)
}

/// Turns `sum w F(e)` of queries and `sum w q` of entities into their gradients; `sums` launches what writes `sum w` of
/// every entity.
fn finish(
    cuda: &Cuda,
    [queries, entities, weights, dqueries, dentities]: [RawMat; 5],
    sums: impl FnOnce(u64),
) {
    let arguments: [&dyn super::Argument; 3] = [&queries, &weights, &dqueries];
    cuda.launch("beta_finish_queries", [queries.rows as usize, 1, 1], 128, &arguments);
    let Some(memory) = scratch(cuda, 4 * entities.rows as usize) else { return };
    sums(memory.address());
    let row = RawMat { data: memory.address(), stride: 0, rows: 1, cols: entities.rows };
    let half = RawMat { cols: entities.cols / 2, ..entities };
    cuda.cells(["beta_finish_entities"; 2], false, half, &[&BOUNDS, &entities, &row, &dentities]);
}

/// See [`ScoresBackward`].
pub fn scores_backward(cuda: &Cuda, op: ScoresBackward<On<Cuda>>) {
    let ScoresBackward { queries, entities, weights, mut dqueries, mut dentities, .. } = op;
    let Some(features) = features(cuda, mat(entities)) else { return };
    let features = Mat::new(&features, entities.rows, entities.cols);
    let of_features = ScoresBackward {
        kind: Scoring::Dot,
        queries,
        entities: features,
        scores: weights,
        weights,
        dqueries: dqueries.again(),
        dentities: dentities.again(),
    };
    score::scores_backward(cuda, of_features);
    let weights = mat(weights);
    let all = [mat(queries), mat(entities), weights, mat_mut(&mut dqueries), mat_mut(&mut dentities)];
    finish(cuda, all, |sums| {
        let out = RawMat { data: sums, stride: 0, rows: 1, cols: weights.cols };
        let blocks = weights.cols.div_ceil(256) as usize;
        cuda.launch("beta_column_sums", [blocks, 1, 1], 256, &[&weights, &out]);
    });
}

/// See [`PerQueryScoresBackward`].
pub fn per_query_scores_backward(cuda: &Cuda, op: PerQueryScoresBackward<On<Cuda>>) {
    let PerQueryScoresBackward { queries, entities, roots, weights, mut dqueries, mut dentities, .. } = op;
    let Some(features) = features(cuda, mat(entities)) else { return };
    let features = Mat::new(&features, entities.rows, entities.cols);
    let of_features = PerQueryScoresBackward {
        kind: Scoring::Dot,
        queries,
        entities: features,
        roots,
        scores: weights,
        weights,
        dqueries: dqueries.again(),
        dentities: dentities.again(),
    };
    score::per_query_scores_backward(cuda, of_features);
    let weights = mat(weights);
    let all = [mat(queries), mat(entities), weights, mat_mut(&mut dqueries), mat_mut(&mut dentities)];
    finish(cuda, all, |sums| {
        let candidates = weights.cols;
        let out = RawMat {
            data: sums,
            stride: i64::from(candidates),
            rows: entities.rows as u32 / candidates.max(1),
            cols: candidates,
        };
        cuda.cells(["beta_own_sums"; 2], false, out, &[&weights, &roots.address(), &out]);
    });
}
