//! Score kernels: queries against entities, forward and backward, for every [`Geometry`].
//!
//! Forward, a register tile of 4 x 4 (query, entity) pairs shares its loads; a pair's columns are
//! always added in the same order, so that its score does not depend on the tile it falls in.
//!
//! Backward needs the weights of all pairs first (self-adversarial weights need all scores), and then
//! treats each block of columns apart: within it, the gradients of queries and entities are sums over
//! pairs in a fixed order that no other block touches. So there is nothing to reduce between threads,
//! and no (queries x candidates x d) tensor.

use super::formulas::with_geometry;
use super::linear::{Operand, par_matmul};
use super::memory::{CHUNK, Shared, par_rows};
use super::{View, beta, per_query_score};
use crate::backend::{Cpu, On, Scoring};
use crate::math::sum;
use crate::program::ops::score::{Score, Scores, ScoresBackward};
use crate::program::{OnPaper, Op};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use std::ops::Range;

/// Does an operation of the family.
pub fn run(op: Score<On<Cpu>>) {
    match op {
        Score::Scores(op) => scores(op),
        Score::ScoresBackward(op) => scores_backward(op),
        Score::PerQueryScores(op) => per_query_score::per_query_scores(op),
        Score::PerQueryScoresBackward(op) => per_query_score::per_query_scores_backward(op),
    }
}

/// Entities whose rows stay in the first-level cache while queries pass by.
pub(super) const ENTITIES: usize = 16;
/// Columns that a backward task owns: a vector of AVX-512, two of AVX2.
const COLUMNS: usize = 16;
/// Entities of whose columns a vector stays in the first-level cache in the backward pass.
const BLOCK: usize = 128;
/// Queries that share an entity's columns in the backward pass.
const QUERIES: usize = 4;

/// A vector of columns of a query and an entity, of each part of their rows.
#[derive(Clone, Copy)]
pub struct Columns<V, const Q: usize, const E: usize> {
    /// Of the query.
    pub q: [V; Q],
    /// Of the entity.
    pub e: [V; E],
}

/// Sums of the gradients by [`Columns`].
pub struct Sums<'a, V, const Q: usize, const E: usize> {
    /// By the query's.
    pub q: &'a mut [V; Q],
    /// By the entity's.
    pub e: &'a mut [V; E],
}

/// A score as a sum over columns, of query rows of `Q` parts and entity rows of `E`.
pub trait Geometry<const Q: usize, const E: usize>: Copy + Send + Sync {
    /// Adds a vector of columns to the sum.
    fn accumulate<S: Simd>(self, s: S, sum: S::f32s, at: Columns<S::f32s, Q, E>) -> S::f32s;

    /// What a query adds to all its sums.
    fn constant(self, _query: &[f32]) -> f32 {
        0.0
    }

    /// The score of a finished sum.
    fn score(self, sum: f32) -> f32;

    /// The factor on a weight before [`Geometry::backward`], from the score.
    fn weight(self, weight: f32, _score: f32) -> f32 {
        weight
    }

    /// Adds the gradients of `w * score`.
    fn backward<S: Simd>(self, s: S, w: S::f32s, at: Columns<S::f32s, Q, E>, to: Sums<S::f32s, Q, E>);

    /// The gradient of a part of a query, from what was added up, its value, and the sum of the row's weights.
    fn finish_query(self, _part: usize, sum: f32, _value: f32, _weights: f32) -> f32 {
        sum
    }

    /// The gradient of any part of an entity, from what was added up and the sum of the column's weights.
    fn finish_entity(self, sum: f32, _weights: f32) -> f32 {
        sum
    }
}

/// Scores of consecutive queries against consecutive entities, written row by row.
pub(super) struct Block<'a, G, const Q: usize, const E: usize> {
    pub geometry: G,
    pub queries: View<'a>,
    pub entities: View<'a>,
    /// First score of the first query.
    pub out: &'a mut [f32],
    /// Distance between the scores of consecutive queries.
    pub stride: usize,
}

impl<G: Geometry<Q, E>, const Q: usize, const E: usize> WithSimd for Block<'_, G, Q, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Block { geometry, queries, entities, out, stride } = self;
        let constants: Vec<f32> = (0..queries.rows).map(|q| geometry.constant(queries.row(q))).collect();
        let constant = |q: usize| constants[q];
        for first in (0..entities.rows).step_by(ENTITIES) {
            let last = entities.rows.min(first + ENTITIES);
            let mut q = 0;
            while q < queries.rows {
                // A tile of 4 queries needs 16 sums in registers; AVX2 has 16 in all, so it takes 2.
                let height = if queries.rows - q >= 4 { 4 } else { 1 };
                for e in (first..last).step_by(4) {
                    let width = (last - e).min(4);
                    let rows =
                        |e: usize| std::array::from_fn::<_, 4, _>(|i| entities.row(e + i.min(width - 1)));
                    let (out, entities) = (&mut out[q * stride..], rows(e));
                    if height == 1 {
                        let (queries, constants) = ([queries.row(q)], [constant(q)]);
                        let one = Tile { queries, constants, entities, width, stride };
                        tile(s, geometry, one, &mut out[e..]);
                        continue;
                    }
                    let queries = std::array::from_fn::<_, 4, _>(|i| queries.row(q + i));
                    let constants = std::array::from_fn::<_, 4, _>(|i| constant(q + i));
                    if S::F32_LANES >= 16 {
                        let all = Tile { queries, constants, entities, width, stride };
                        tile(s, geometry, all, &mut out[e..]);
                        continue;
                    }
                    let ([a, b, c, d], [c0, c1, c2, c3]) = (queries, constants);
                    let first = Tile { queries: [a, b], constants: [c0, c1], entities, width, stride };
                    tile(s, geometry, first, &mut out[e..]);
                    let second = Tile { queries: [c, d], constants: [c2, c3], entities, width, stride };
                    tile(s, geometry, second, &mut out[2 * stride + e..]);
                }
                q += height;
            }
        }
    }
}

/// Rows whose `N x width` scores (`width <= 4`) are worked out with all sums in registers.
struct Tile<'a, const N: usize> {
    queries: [&'a [f32]; N],
    constants: [f32; N],
    entities: [&'a [f32]; 4],
    width: usize,
    /// Distance between the scores of consecutive queries.
    stride: usize,
}

/// The scores of a tile.
#[inline(always)]
fn tile<S: Simd, G: Geometry<Q, E>, const Q: usize, const E: usize, const N: usize>(
    s: S,
    geometry: G,
    tile: Tile<N>,
    out: &mut [f32],
) {
    let Tile { queries, constants, entities, width, stride } = tile;
    let d = entities[0].len() / E;
    // Of each part of each row, whole vectors and the rest.
    let q_rows = queries.map(|row| parts::<Q>(row, d).map(S::as_simd_f32s));
    let e_rows = entities.map(|row| parts::<E>(row, d).map(S::as_simd_f32s));
    let vectors = d / S::F32_LANES;
    let q_full = q_rows.map(|parts| parts.map(|part| &part.0[..vectors]));
    let e_full = e_rows.map(|parts| parts.map(|part| &part.0[..vectors]));

    let mut sums = [[s.splat_f32s(0.0); 4]; N];
    for k in 0..vectors {
        let e = e_full.map(|parts| parts.map(|part| part[k]));
        for i in 0..N {
            let q = q_full[i].map(|part| part[k]);
            for j in 0..4 {
                sums[i][j] = geometry.accumulate(s, sums[i][j], Columns { q, e: e[j] });
            }
        }
    }
    if vectors * S::F32_LANES < d {
        // Missing columns are zeros on both sides and add nothing.
        let e = e_rows.map(|parts| parts.map(|part| s.partial_load_f32s(part.1)));
        for i in 0..N {
            let q = q_rows[i].map(|part| s.partial_load_f32s(part.1));
            for j in 0..4 {
                sums[i][j] = geometry.accumulate(s, sums[i][j], Columns { q, e: e[j] });
            }
        }
    }
    for i in 0..N {
        for j in 0..width {
            out[i * stride + j] = geometry.score(s.reduce_sum_f32s(sums[i][j]) + constants[i]);
        }
    }
}

/// The parts of a row, `d` columns each.
#[inline(always)]
fn parts<const N: usize>(row: &[f32], d: usize) -> [&[f32]; N] {
    std::array::from_fn(|part| &row[part * d..][..d])
}

/// See [`Scores`].
fn scores(Scores { kind, exact, queries, entities, out }: Scores<On<Cpu>>) {
    if kind == Scoring::Dot && !exact {
        return par_matmul(Operand::new(queries), Operand::new(entities).transposed(), false, out);
    }
    if let Scoring::Beta { gamma } = kind {
        return beta::scores(gamma, queries, entities, out);
    }
    let (cols, stride) = (out.cols, out.stride);
    par_rows(out, CHUNK, |mut rows| {
        let (first, count) = (rows.first, rows.count);
        let out = rows.all();
        debug_assert!(out.len() >= (count - 1) * stride + cols);
        let queries = queries.rows(first, count);
        with_geometry!(kind, geometry => {
            pulp::Arch::new().dispatch(Block { geometry, queries, entities, out, stride });
        });
    });
}

/// Score of one pair; the same bits as in any tile.
pub(super) fn pair(kind: Scoring, queries: View, query: usize, entities: View, entity: usize) -> f32 {
    let mut out = [0f32];
    let (queries, entities) = (queries.rows(query, 1), entities.rows(entity, 1));
    with_geometry!(kind, geometry => {
        pulp::Arch::new().dispatch(Block { geometry, queries, entities, out: &mut out, stride: 1 });
    });
    out[0]
}

/// See [`ScoresBackward`].
pub fn scores_backward(op: ScoresBackward<On<Cpu>>) {
    match op.kind {
        Scoring::Beta { .. } => beta::scores_backward(op),
        Scoring::Dot => {
            let ScoresBackward { queries, entities, weights, dqueries, dentities, .. } = op;
            par_matmul(Operand::new(weights), Operand::new(entities), false, dqueries);
            par_matmul(Operand::new(weights).transposed(), Operand::new(queries), false, dentities);
        }
        kind => with_geometry!(kind, geometry => backward(geometry, op)),
    }
}

/// Numbers that the backward pass of scores of `queries` with shared `entities` allocates while it works: the weight of
/// each pair, and on every thread a vector of columns of each part of each row, with its gradient.
fn backward_numbers(kind: Scoring, queries: usize, entities: usize) -> usize {
    let queries = queries.next_multiple_of(QUERIES);
    let [q, e] = kind.parts();
    queries * entities + rayon::current_num_threads() * 2 * 16 * (q * queries + e * entities)
}

/// The most numbers that an operation of a program allocates while it works.
pub fn scratch_numbers(ops: &[Op<OnPaper>]) -> usize {
    let of = |op: &Op<OnPaper>| match op {
        Op::Score(Score::ScoresBackward(op)) if !matches!(op.kind, Scoring::Dot | Scoring::Beta { .. }) => {
            backward_numbers(op.kind, op.queries.rows().max(), op.entities.rows().max())
        }
        _ => 0,
    };
    ops.iter().map(of).max().unwrap_or(0)
}

fn backward<G: Geometry<Q, E>, const Q: usize, const E: usize>(geometry: G, op: ScoresBackward<On<Cpu>>) {
    let ScoresBackward { queries, entities, scores, weights, dqueries, dentities, .. } = op;
    let (num_queries, num_entities) = (queries.rows, entities.rows);
    let groups = num_queries.div_ceil(QUERIES);
    let mut packed = vec![[0f32; QUERIES]; groups * num_entities];
    packed.par_chunks_mut((groups * BLOCK).max(1)).enumerate().for_each(|(block, packed)| {
        let count = packed.len() / groups;
        for (group, packed) in packed.chunks_mut(count).enumerate() {
            for q in group * QUERIES..num_queries.min((group + 1) * QUERIES) {
                let lane = q % QUERIES;
                let weights = &weights.row(q)[block * BLOCK..][..count];
                let scores = &scores.row(q)[block * BLOCK..][..count];
                for ((to, &weight), &score) in packed.iter_mut().zip(weights).zip(scores) {
                    to[lane] = geometry.weight(weight, score);
                }
            }
        }
    });
    let mut query_sums = vec![0f32; num_queries];
    query_sums.par_iter_mut().with_min_len(CHUNK).enumerate().for_each(|(q, to)| {
        *to = sum(weights.row(q));
    });
    let mut entity_sums = vec![0f32; num_entities];
    entity_sums.par_chunks_mut(BLOCK).enumerate().for_each(|(block, sums)| {
        for q in 0..num_queries {
            for (sum, weight) in sums.iter_mut().zip(&weights.row(q)[block * BLOCK..]) {
                *sum += weight;
            }
        }
    });
    let (dqueries, dentities) = (Shared::new(dqueries), Shared::new(dentities));
    let d = entities.cols / E;
    (0..d.div_ceil(COLUMNS)).into_par_iter().for_each(|task| {
        let first = task * COLUMNS;
        pulp::Arch::new().dispatch(BackwardColumns {
            geometry,
            queries,
            entities,
            packed: &packed,
            query_sums: &query_sums,
            entity_sums: &entity_sums,
            columns: first..d.min(first + COLUMNS),
            dqueries: &dqueries,
            dentities: &dentities,
        });
    });
}

/// The gradients of some columns.
struct BackwardColumns<'a, G, const Q: usize, const E: usize> {
    geometry: G,
    queries: View<'a>,
    entities: View<'a>,
    /// Weights in the order in which they are used: by block of entities, group of queries, entity.
    packed: &'a [[f32; QUERIES]],
    query_sums: &'a [f32],
    entity_sums: &'a [f32],
    columns: Range<usize>,
    dqueries: &'a Shared<'a>,
    dentities: &'a Shared<'a>,
}

/// One vector of columns of each part of all rows, from column `first` of `d` on; zeros where columns or rows are missing.
#[inline(always)]
fn pack<S: Simd, const N: usize>(
    s: S,
    from: View,
    first: usize,
    cols: usize,
    rows: usize,
) -> Vec<[S::f32s; N]> {
    let d = from.cols / N;
    let mut out = Vec::with_capacity(rows);
    for row in 0..from.rows {
        let mut parts = [s.splat_f32s(0.0); N];
        for (part, to) in parts.iter_mut().enumerate() {
            let (full, rest) = S::as_simd_f32s(&from.row(row)[part * d + first..][..cols]);
            *to = if let [full] = full { *full } else { s.partial_load_f32s(rest) };
        }
        out.push(parts);
    }
    for _ in from.rows..rows {
        out.push([s.splat_f32s(0.0); N]);
    }
    out
}

/// Writes one vector of columns of the rows, from column `first` of `d` on: `finish(row, part, column, sum)`.
#[inline(always)]
fn unpack<S: Simd, const N: usize>(
    from: &[[S::f32s; N]],
    (d, first, cols): (usize, usize, usize),
    to: &Shared,
    finish: impl Fn(usize, usize, usize, f32) -> f32,
) {
    for (row, parts) in from.iter().enumerate() {
        for (part, sums) in parts.iter().enumerate() {
            let first = part * d + first;
            // SAFETY: the caller's task alone writes these columns.
            let to = unsafe { to.slice(row, first, cols) };
            for (k, (to, &sum)) in to.iter_mut().zip(bytemuck::cast_slice(&[*sums])).enumerate() {
                *to = finish(row, part, first + k, sum);
            }
        }
    }
}

/// One vector of columns of each part of some rows, and the gradients of them.
struct Side<'a, V, const N: usize> {
    values: &'a [[V; N]],
    sums: &'a mut [[V; N]],
}

/// Adds the gradients of `N` queries, whose weights are from `first` on, with a block of entities; the queries' in registers.
#[inline(always)]
fn pass<S: Simd, G: Geometry<Q, E>, const Q: usize, const E: usize, const N: usize>(
    s: S,
    geometry: G,
    (weights, first): (&[[f32; QUERIES]], usize),
    queries: Side<S::f32s, Q>,
    entities: &mut Side<S::f32s, E>,
) {
    let q: &[_; N] = queries.values.try_into().expect("N queries");
    let to: &mut [_; N] = queries.sums.try_into().expect("N queries");
    let (q, mut q_sums) = (*q, *to);
    for ((w, &e), e_sums) in weights.iter().zip(entities.values).zip(entities.sums.iter_mut()) {
        let mut e_sum = *e_sums;
        for i in 0..N {
            let sums = Sums { q: &mut q_sums[i], e: &mut e_sum };
            geometry.backward(s, s.splat_f32s(w[first + i]), Columns { q: q[i], e }, sums);
        }
        *e_sums = e_sum;
    }
    *to = q_sums;
}

impl<G: Geometry<Q, E>, const Q: usize, const E: usize> WithSimd for BackwardColumns<'_, G, Q, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let BackwardColumns { geometry, queries, entities, query_sums, entity_sums, .. } = self;
        let d = entities.cols / E;
        let rows = queries.rows.next_multiple_of(QUERIES);
        let zero = s.splat_f32s(0.0);
        for first in self.columns.clone().step_by(S::F32_LANES) {
            let cols = (self.columns.end - first).min(S::F32_LANES);
            let q_all = pack::<S, Q>(s, queries, first, cols, rows);
            let e_all = pack::<S, E>(s, entities, first, cols, entities.rows);
            let (mut dq_all, mut de_all) = (vec![[zero; Q]; rows], vec![[zero; E]; entities.rows]);

            let mut packed = self.packed;
            for begin in (0..entities.rows).step_by(BLOCK) {
                let block = begin..entities.rows.min(begin + BLOCK);
                let mut some = Side { values: &e_all[block.clone()], sums: &mut de_all[block.clone()] };
                for first in (0..rows).step_by(QUERIES) {
                    let weights;
                    (weights, packed) = packed.split_at(block.len());
                    macro_rules! pass {
                        ($count:literal) => {
                            for part in (0..QUERIES).step_by($count) {
                                let rows = first + part..first + part + $count;
                                let (values, sums) = (&q_all[rows.clone()], &mut dq_all[rows]);
                                let (weights, queries) = ((weights, part), Side { values, sums });
                                pass::<S, G, Q, E, $count>(s, geometry, weights, queries, &mut some);
                            }
                        };
                    }
                    // As many queries as there are registers for: 32 with AVX-512, 16 with AVX2.
                    match S::F32_LANES >= 16 {
                        true if Q <= 2 => pass!(4),
                        false if Q == 1 => pass!(4),
                        false if Q > 2 => pass!(1),
                        _ => pass!(2),
                    }
                }
            }

            let place = (d, first, cols);
            unpack::<S, Q>(&dq_all[..queries.rows], place, self.dqueries, |row, part, col, sum| {
                geometry.finish_query(part, sum, queries.row(row)[col], query_sums[row])
            });
            unpack::<S, E>(&de_all, place, self.dentities, |row, _, _, sum| {
                geometry.finish_entity(sum, entity_sums[row])
            });
        }
    }
}
