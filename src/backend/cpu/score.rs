//! Score kernels: queries against entities, forward and backward, for every [`Geometry`].
//!
//! Forward, a register tile of 4 x 4 (query, entity) pairs shares its loads; a pair's columns are
//! always added in the same order, so that its score does not depend on the tile it falls in.
//!
//! Backward needs the weights of all pairs first (self-adversarial weights need all scores), and then
//! treats each block of columns apart: within it, the gradients of queries and entities are sums over
//! pairs in a fixed order that no other block touches. So there is nothing to reduce between threads,
//! and no (queries x candidates x d) tensor.

use super::geometry::{Box, Dot, Geometry, L1, L2};
use super::linear::{Operand, par_matmul};
use super::memory::{CHUNK, Shared, par_rows};
use super::{View, ViewMut};
use crate::backend::Scoring;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Entities whose rows stay in the first-level cache while queries pass by.
const ENTITIES: usize = 16;
/// Columns that a backward task owns.
const COLUMNS: usize = 32;
/// Entities whose columns stay in the first-level cache in the backward pass.
const BACKWARD_ENTITIES: usize = 64;
/// Queries that share an entity's columns in the backward pass.
const BACKWARD_QUERIES: usize = 4;

/// Runs `$body` with `$g` bound to the functor of a score.
macro_rules! with_geometry {
    ($kind:expr, $g:ident => $body:expr) => {
        match $kind {
            Scoring::L1 { gamma } => {
                let $g = L1 { gamma };
                $body
            }
            Scoring::L2 { gamma } => {
                let $g = L2 { gamma };
                $body
            }
            Scoring::Box { gamma, inside } => {
                let $g = Box { gamma, inside };
                $body
            }
            Scoring::Dot => {
                let $g = Dot;
                $body
            }
        }
    };
}

/// Scores of consecutive queries against consecutive entities, written row by row.
pub(super) struct Block<'a, G> {
    pub geometry: G,
    pub queries: View<'a>,
    pub entities: View<'a>,
    /// First score of the first query.
    pub out: &'a mut [f32],
    /// Distance between the scores of consecutive queries.
    pub stride: usize,
}

impl<G: Geometry> WithSimd for Block<'_, G> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Block { geometry, queries, entities, out, stride } = self;
        let constants: Vec<f32> = if G::OFFSETS {
            (0..queries.rows).map(|q| geometry.constant(queries.row(q))).collect()
        } else {
            vec![]
        };
        let constant = |q: usize| constants.get(q).copied().unwrap_or(0.0);
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
                    let out = &mut out[q * stride..];
                    if height == 4 {
                        let queries = std::array::from_fn::<_, 4, _>(|i| queries.row(q + i));
                        let constants = std::array::from_fn::<_, 4, _>(|i| constant(q + i));
                        if S::F32_LANES >= 16 {
                            tile(s, geometry, queries, constants, rows(e), width, &mut out[e..], stride);
                        } else {
                            let ([a, b, c, d], [c0, c1, c2, c3]) = (queries, constants);
                            tile(s, geometry, [a, b], [c0, c1], rows(e), width, &mut out[e..], stride);
                            tile(
                                s,
                                geometry,
                                [c, d],
                                [c2, c3],
                                rows(e),
                                width,
                                &mut out[2 * stride + e..],
                                stride,
                            );
                        }
                    } else {
                        tile(
                            s,
                            geometry,
                            [queries.row(q)],
                            [constant(q)],
                            rows(e),
                            width,
                            &mut out[e..],
                            stride,
                        );
                    }
                }
                q += height;
            }
        }
    }
}

/// `Q x width` scores (`width <= 4`), all sums in registers.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn tile<S: Simd, G: Geometry, const Q: usize>(
    s: S,
    geometry: G,
    queries: [&[f32]; Q],
    constants: [f32; Q],
    entities: [&[f32]; 4],
    width: usize,
    out: &mut [f32],
    stride: usize,
) {
    let d = entities[0].len();
    let offset = if G::OFFSETS { d } else { 0 };
    let q_rows = queries.map(|row| S::as_simd_f32s(&row[..d]));
    let o_rows = queries.map(|row| S::as_simd_f32s(&row[offset..][..d]));
    let e_rows = entities.map(|row| S::as_simd_f32s(&row[..d]));
    let vectors = d / S::F32_LANES;
    let (q_full, o_full) = (q_rows.map(|r| &r.0[..vectors]), o_rows.map(|r| &r.0[..vectors]));
    let e_full = e_rows.map(|r| &r.0[..vectors]);

    let mut sums = [[s.splat_f32s(0.0); 4]; Q];
    for k in 0..vectors {
        let e = e_full.map(|row| row[k]);
        for i in 0..Q {
            let (q, o) = (q_full[i][k], o_full[i][k]);
            for j in 0..4 {
                sums[i][j] = geometry.accumulate(s, sums[i][j], q, o, e[j]);
            }
        }
    }
    if vectors * S::F32_LANES < d {
        // Missing columns are zeros on both sides and add nothing.
        let e = e_rows.map(|row| s.partial_load_f32s(row.1));
        for i in 0..Q {
            let (q, o) = (s.partial_load_f32s(q_rows[i].1), s.partial_load_f32s(o_rows[i].1));
            for j in 0..4 {
                sums[i][j] = geometry.accumulate(s, sums[i][j], q, o, e[j]);
            }
        }
    }
    for i in 0..Q {
        for j in 0..width {
            out[i * stride + j] = geometry.score(s.reduce_sum_f32s(sums[i][j]) + constants[i]);
        }
    }
}

fn check(kind: Scoring, queries: View, entities: View) {
    assert_eq!(queries.cols, kind.query_width(entities.cols));
}

/// See [`Backend::scores`](crate::backend::Backend::scores).
pub fn scores(kind: Scoring, queries: View, entities: View, out: ViewMut) {
    check(kind, queries, entities);
    assert_eq!((out.rows, out.cols), (queries.rows, entities.rows));
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

/// See [`Backend::pair_scores`](crate::backend::Backend::pair_scores).
pub fn pair_scores(kind: Scoring, queries: View, entities: View, roots: &[u32], out: ViewMut) {
    check(kind, queries, entities);
    assert_eq!((roots.len() - 1, out.cols), (entities.rows, queries.rows));
    let out = Shared::new(out);
    (0..entities.rows).into_par_iter().with_min_len(CHUNK).for_each(|q| {
        for root in roots[q]..roots[q + 1] {
            let score = pair(kind, queries, root as usize, entities, q);
            // SAFETY: a root belongs to one query, and a query to one task.
            unsafe { out.slice(0, root as usize, 1)[0] = score };
        }
    });
}

/// See [`Backend::scores_backward`](crate::backend::Backend::scores_backward).
#[allow(clippy::too_many_arguments)]
pub fn scores_backward(
    kind: Scoring,
    queries: View,
    entities: View,
    scores: View,
    weights: View,
    dqueries: ViewMut,
    dentities: ViewMut,
) {
    check(kind, queries, entities);
    let shape = (queries.rows, entities.rows);
    assert_eq!((weights.rows, weights.cols), shape);
    assert_eq!((scores.rows, scores.cols), shape);
    assert_eq!((dqueries.rows, dqueries.cols), (queries.rows, queries.cols));
    assert_eq!((dentities.rows, dentities.cols), (entities.rows, entities.cols));
    if kind == Scoring::Dot {
        par_matmul(Operand::new(weights), Operand::new(entities), false, dqueries);
        par_matmul(Operand::new(weights).transposed(), Operand::new(queries), false, dentities);
        return;
    }
    with_geometry!(kind, g => backward(g, queries, entities, scores, weights, dqueries, dentities));
}

#[allow(clippy::too_many_arguments)]
fn backward<G: Geometry>(
    geometry: G,
    queries: View,
    entities: View,
    scores: View,
    weights: View,
    dqueries: ViewMut,
    dentities: ViewMut,
) {
    // Weights with the geometry's factor, entity-major within groups of queries, so that a task reads
    // them in order; and their sums per query and entity.
    let groups = queries.rows.div_ceil(BACKWARD_QUERIES);
    let mut packed = vec![[0f32; BACKWARD_QUERIES]; groups * entities.rows];
    let mut query_sums = vec![0f32; queries.rows];
    packed
        .par_chunks_mut(entities.rows.max(1))
        .zip(query_sums.par_chunks_mut(BACKWARD_QUERIES))
        .enumerate()
        .for_each(|(group, (packed, sums))| {
            for (lane, sum) in sums.iter_mut().enumerate() {
                let q = group * BACKWARD_QUERIES + lane;
                let (weights, scores) = (weights.row(q), scores.row(q));
                for ((to, &w), &score) in packed.iter_mut().zip(weights).zip(scores) {
                    to[lane] = geometry.weight(w, score);
                }
                *sum = packed.iter().map(|w| w[lane]).sum();
            }
        });
    let mut entity_sums = vec![0f32; entities.rows];
    entity_sums.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, sums)| {
        for group in 0..groups {
            let packed = &packed[group * entities.rows + chunk * CHUNK..];
            for (sum, w) in sums.iter_mut().zip(packed) {
                *sum += w.iter().sum::<f32>();
            }
        }
    });
    let (dqueries, dentities) = (Shared::new(dqueries), Shared::new(dentities));
    (0..entities.cols.div_ceil(COLUMNS)).into_par_iter().for_each(|block| {
        pulp::Arch::new().dispatch(BackwardColumns {
            geometry,
            queries,
            entities,
            packed: &packed,
            query_sums: &query_sums,
            entity_sums: &entity_sums,
            first: block * COLUMNS,
            dqueries: &dqueries,
            dentities: &dentities,
        });
    });
}

/// The gradients of the columns from `first` on, at most [`COLUMNS`].
struct BackwardColumns<'a, G> {
    geometry: G,
    queries: View<'a>,
    entities: View<'a>,
    packed: &'a [[f32; BACKWARD_QUERIES]],
    query_sums: &'a [f32],
    entity_sums: &'a [f32],
    first: usize,
    dqueries: &'a Shared<'a>,
    dentities: &'a Shared<'a>,
}

/// Copies `cols` columns of all rows into vectors, padded with zeros.
#[inline(always)]
fn pack<S: Simd>(s: S, from: View, first: usize, cols: usize, vectors: usize, rows: usize) -> Vec<S::f32s> {
    let mut out = vec![s.splat_f32s(0.0); rows * vectors];
    for (row, out) in out.chunks_mut(vectors).enumerate().take(from.rows) {
        let columns = &from.row(row)[first..first + cols];
        for (to, from) in out.iter_mut().zip(columns.chunks(S::F32_LANES)) {
            *to = s.partial_load_f32s(from);
        }
    }
    out
}

impl<G: Geometry> WithSimd for BackwardColumns<'_, G> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        const Q: usize = BACKWARD_QUERIES;
        let (geometry, first) = (self.geometry, self.first);
        let (num_queries, num_entities, d) = (self.queries.rows, self.entities.rows, self.entities.cols);
        let cols = (d - first).min(COLUMNS);
        let v = cols.div_ceil(S::F32_LANES);
        let groups = num_queries.div_ceil(Q);
        let zero = s.splat_f32s(0.0);

        let q_all = pack(s, self.queries, first, cols, v, groups * Q);
        let o_all =
            if G::OFFSETS { pack(s, self.queries, d + first, cols, v, groups * Q) } else { Vec::new() };
        let e_all = pack(s, self.entities, first, cols, v, num_entities);
        let mut dq_all = vec![zero; groups * Q * v];
        let mut do_all = vec![zero; if G::OFFSETS { groups * Q * v } else { 0 }];
        let mut de_all = vec![zero; num_entities * v];

        for begin in (0..num_entities).step_by(BACKWARD_ENTITIES) {
            let end = num_entities.min(begin + BACKWARD_ENTITIES);
            for group in 0..groups {
                let weights = &self.packed[group * num_entities..][begin..end];
                for x in 0..v {
                    let at = |i: usize| (group * Q + i) * v + x;
                    let q: [_; Q] = std::array::from_fn(|i| q_all[at(i)]);
                    let o: [_; Q] = std::array::from_fn(|i| if G::OFFSETS { o_all[at(i)] } else { zero });
                    let mut dq: [_; Q] = std::array::from_fn(|i| dq_all[at(i)]);
                    let mut d_o: [_; Q] =
                        std::array::from_fn(|i| if G::OFFSETS { do_all[at(i)] } else { zero });
                    let e_rows = e_all[begin * v..end * v].chunks_exact(v);
                    let de_rows = de_all[begin * v..end * v].chunks_exact_mut(v);
                    for ((w, e), de) in weights.iter().zip(e_rows).zip(de_rows) {
                        let (e, mut sum) = (e[x], de[x]);
                        for i in 0..Q {
                            let w = s.splat_f32s(w[i]);
                            geometry.backward(s, w, q[i], o[i], e, &mut dq[i], &mut d_o[i], &mut sum);
                        }
                        de[x] = sum;
                    }
                    for i in 0..Q {
                        dq_all[at(i)] = dq[i];
                        if G::OFFSETS {
                            do_all[at(i)] = d_o[i];
                        }
                    }
                }
            }
        }

        let lanes = |all: &[S::f32s], row: usize| -> [f32; COLUMNS] {
            let mut out = [0f32; COLUMNS];
            let from: &[f32] = bytemuck::cast_slice(&all[row * v..][..v]);
            out[..from.len().min(COLUMNS)].copy_from_slice(&from[..from.len().min(COLUMNS)]);
            out
        };
        for row in 0..num_queries {
            // SAFETY: this task alone writes columns `first..first + cols`, and their second halves.
            let out = unsafe { self.dqueries.slice(row, first, cols) };
            for (out, sum) in out.iter_mut().zip(lanes(&dq_all, row)) {
                *out = geometry.finish_query(sum, self.query_sums[row]);
            }
            if G::OFFSETS {
                let values = &self.queries.row(row)[d + first..][..cols];
                // SAFETY: as above.
                let out = unsafe { self.dqueries.slice(row, d + first, cols) };
                for ((out, sum), &value) in out.iter_mut().zip(lanes(&do_all, row)).zip(values) {
                    *out = geometry.finish_offset(sum, value, self.query_sums[row]);
                }
            }
        }
        for row in 0..num_entities {
            // SAFETY: as above.
            let out = unsafe { self.dentities.slice(row, first, cols) };
            for (out, sum) in out.iter_mut().zip(lanes(&de_all, row)) {
                *out = geometry.finish_entity(sum, self.entity_sums[row]);
            }
        }
    }
}

/// See [`Backend::pair_scores_backward`](crate::backend::Backend::pair_scores_backward).
#[allow(clippy::too_many_arguments)]
pub fn pair_scores_backward(
    kind: Scoring,
    queries: View,
    entities: View,
    roots: &[u32],
    scores: View,
    weights: View,
    dqueries: ViewMut,
    dentities: ViewMut,
) {
    check(kind, queries, entities);
    assert_eq!(roots.len() - 1, entities.rows);
    assert_eq!((dqueries.rows, dentities.rows), (queries.rows, entities.rows));
    let (scores, weights) = (scores.row(0), weights.row(0));
    let dqueries = Shared::new(dqueries);
    let width = queries.cols;
    par_rows(dentities, CHUNK, |mut dentities| {
        for i in 0..dentities.count {
            let q = dentities.first + i;
            let (entity, de) = (entities.row(q), dentities.row(i));
            de.fill(0.0);
            for root in roots[q] as usize..roots[q + 1] as usize {
                let query = queries.row(root);
                // SAFETY: a root belongs to one query, and a query to one task.
                let dq = unsafe { dqueries.slice(root, 0, width) };
                with_geometry!(kind, geometry => {
                    let weight = geometry.weight(weights[root], scores[root]);
                    pulp::Arch::new().dispatch(PairBackward { geometry, weight, query, entity, dq, de: &mut *de });
                });
            }
        }
    });
}

/// Adds the gradients of one pair's weighted score.
struct PairBackward<'a, G> {
    geometry: G,
    weight: f32,
    query: &'a [f32],
    entity: &'a [f32],
    dq: &'a mut [f32],
    de: &'a mut [f32],
}

impl<G: Geometry> WithSimd for PairBackward<'_, G> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let PairBackward { geometry, weight, query, entity, dq, de } = self;
        let d = entity.len();
        let w = s.splat_f32s(weight);
        let second = if G::OFFSETS { d } else { 0 };
        for first in (0..d).step_by(S::F32_LANES) {
            let columns = first..d.min(first + S::F32_LANES);
            let offsets = second + columns.start..second + columns.end;
            let q = s.partial_load_f32s(&query[columns.clone()]);
            let o = s.partial_load_f32s(&query[offsets.clone()]);
            let e = s.partial_load_f32s(&entity[columns.clone()]);
            let zero = s.splat_f32s(0.0);
            let (mut sum_q, mut sum_o, mut sum_e) = (zero, zero, zero);
            geometry.backward(s, w, q, o, e, &mut sum_q, &mut sum_o, &mut sum_e);
            let (sum_q, sum_o, sum_e) = (&[sum_q], &[sum_o], &[sum_e]);
            let (sum_q, sum_o, sum_e): (&[f32], &[f32], &[f32]) =
                (bytemuck::cast_slice(sum_q), bytemuck::cast_slice(sum_o), bytemuck::cast_slice(sum_e));
            for (lane, k) in columns.enumerate() {
                dq[k] += geometry.finish_query(sum_q[lane], weight);
                de[k] += geometry.finish_entity(sum_e[lane], weight);
                if G::OFFSETS {
                    dq[d + k] += geometry.finish_offset(sum_o[lane], query[d + k], weight);
                }
            }
        }
    }
}
