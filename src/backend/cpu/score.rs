//! Score kernels: queries against entities, forward and backward, for every [`Geometry`].
//!
//! Forward, a register tile of 4 x 4 (query, entity) pairs shares its loads; a pair's columns are
//! always added in the same order, so that its score does not depend on the tile it falls in.
//!
//! Backward needs the weights of all pairs first (self-adversarial weights need all scores), and then
//! treats each block of columns apart: within it, the gradients of queries and entities are sums over
//! pairs in a fixed order that no other block touches. So there is nothing to reduce between threads,
//! and no (queries x candidates x d) tensor.

use super::geometry::{Box, Columns, Dot, Geometry, L1, L2, Rotation, Sums};
use super::linear::{Operand, par_matmul};
use super::math::sum;
use super::memory::{CHUNK, Shared, par_rows};
use super::{View, beta, own_score};
use crate::backend::{Cpu, On, Scoring};
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
        Score::OwnScores(op) => own_score::own_scores(op),
        Score::OwnScoresBackward(op) => own_score::own_scores_backward(op),
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

/// Runs `$body` with `$g` bound to the functor of a score.
macro_rules! with_geometry {
    ($kind:expr, $g:ident => $body:expr) => {
        match $kind {
            Scoring::L1 { gamma } => {
                let $g = L1::new(gamma);
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
            Scoring::Beta { .. } => unreachable!("scored by `beta`"),
            Scoring::Rotation { gamma } => {
                let $g = Rotation { gamma };
                $body
            }
        }
    };
}
pub(super) use with_geometry;

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

/// Rows whose `Q x width` scores (`width <= 4`) are worked out with all sums in registers.
struct Tile<'a, const Q: usize> {
    queries: [&'a [f32]; Q],
    constants: [f32; Q],
    entities: [&'a [f32]; 4],
    width: usize,
    /// Distance between the scores of consecutive queries.
    stride: usize,
}

/// The scores of a tile.
#[inline(always)]
fn tile<S: Simd, G: Geometry, const Q: usize>(s: S, geometry: G, tile: Tile<Q>, out: &mut [f32]) {
    let Tile { queries, constants, entities, width, stride } = tile;
    let d = G::half(entities[0].len());
    let offset = if G::OFFSETS { d } else { 0 };
    let pair = if G::PAIRS { d } else { 0 };
    let q_rows = queries.map(|row| S::as_simd_f32s(&row[..d]));
    let o_rows = queries.map(|row| S::as_simd_f32s(&row[offset..][..d]));
    let e_rows = entities.map(|row| S::as_simd_f32s(&row[..d]));
    let f_rows = entities.map(|row| S::as_simd_f32s(&row[pair..][..d]));
    let vectors = d / S::F32_LANES;
    let (q_full, o_full) = (q_rows.map(|r| &r.0[..vectors]), o_rows.map(|r| &r.0[..vectors]));
    let (e_full, f_full) = (e_rows.map(|r| &r.0[..vectors]), f_rows.map(|r| &r.0[..vectors]));

    let mut sums = [[s.splat_f32s(0.0); 4]; Q];
    for k in 0..vectors {
        let (e, f) = (e_full.map(|row| row[k]), f_full.map(|row| row[k]));
        for i in 0..Q {
            let (q, o) = (q_full[i][k], o_full[i][k]);
            for j in 0..4 {
                sums[i][j] = geometry.accumulate(s, sums[i][j], Columns { q, o, e: e[j], f: f[j] });
            }
        }
    }
    if vectors * S::F32_LANES < d {
        // Missing columns are zeros on both sides and add nothing.
        let e = e_rows.map(|row| s.partial_load_f32s(row.1));
        let f = f_rows.map(|row| s.partial_load_f32s(row.1));
        for i in 0..Q {
            let (q, o) = (s.partial_load_f32s(q_rows[i].1), s.partial_load_f32s(o_rows[i].1));
            for j in 0..4 {
                sums[i][j] = geometry.accumulate(s, sums[i][j], Columns { q, o, e: e[j], f: f[j] });
            }
        }
    }
    for i in 0..Q {
        for j in 0..width {
            out[i * stride + j] = geometry.score(s.reduce_sum_f32s(sums[i][j]) + constants[i]);
        }
    }
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
/// each pair, and on every thread a vector of columns of each entity with its gradient, twice where columns come in pairs.
fn backward_numbers(queries: usize, entities: usize) -> usize {
    queries.next_multiple_of(QUERIES) * entities + rayon::current_num_threads() * 4 * 16 * entities
}

/// The most numbers that an operation of a program allocates while it works.
pub fn scratch_numbers(ops: &[Op<OnPaper>]) -> usize {
    let of = |op: &Op<OnPaper>| match op {
        Op::Score(Score::ScoresBackward(op)) if !matches!(op.kind, Scoring::Dot | Scoring::Beta { .. }) => {
            backward_numbers(op.queries.rows().max(), op.entities.rows().max())
        }
        _ => 0,
    };
    ops.iter().map(of).max().unwrap_or(0)
}

fn backward<G: Geometry>(geometry: G, op: ScoresBackward<On<Cpu>>) {
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
    let d = G::half(entities.cols);
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
struct BackwardColumns<'a, G> {
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

/// One vector of columns of all rows, from column `first` on; zeros where columns or rows are missing.
#[inline(always)]
fn pack<S: Simd>(s: S, from: View, first: usize, cols: usize, rows: usize) -> Vec<S::f32s> {
    let mut out = vec![s.splat_f32s(0.0); rows];
    for (row, to) in out.iter_mut().enumerate().take(from.rows) {
        let (full, rest) = S::as_simd_f32s(&from.row(row)[first..first + cols]);
        *to = if let [full] = full { *full } else { s.partial_load_f32s(rest) };
    }
    out
}

/// Writes one vector of columns of the rows: `finish(row, column in the vector, sum)`.
#[inline(always)]
fn unpack<S: Simd>(
    from: &[S::f32s],
    first: usize,
    cols: usize,
    to: &Shared,
    finish: impl Fn(usize, usize, f32) -> f32,
) {
    for (row, sums) in from.iter().enumerate() {
        // SAFETY: the caller's task alone writes these columns.
        let to = unsafe { to.slice(row, first, cols) };
        for (k, (to, &sum)) in to.iter_mut().zip(bytemuck::cast_slice(&[*sums])).enumerate() {
            *to = finish(row, k, sum);
        }
    }
}

/// One vector of columns of some entities, their second halves, and the gradients of both.
struct EntitySide<'a, V> {
    e: &'a [V],
    f: &'a [V],
    de: &'a mut [V],
    d_f: &'a mut [V],
}

/// One vector of columns of the queries, their second halves, and the gradients of both.
struct QuerySide<S: Simd> {
    q: Vec<S::f32s>,
    o: Vec<S::f32s>,
    dq: Vec<S::f32s>,
    d_o: Vec<S::f32s>,
}

impl<S: Simd> QuerySide<S> {
    /// Adds the gradients of `Q` queries from `row` on with a block of entities, the queries' in registers.
    #[inline(always)]
    fn pass<G: Geometry, const Q: usize>(
        &mut self,
        s: S,
        geometry: G,
        row: usize,
        weights: &[[f32; QUERIES]],
        entities: &mut EntitySide<S::f32s>,
    ) {
        let load = |all: &[S::f32s]| -> [S::f32s; Q] { all.as_chunks().0[row / Q] };
        let (q, mut dq) = (load(&self.q), load(&self.dq));
        let (o, mut d_o) = if G::OFFSETS { (load(&self.o), load(&self.d_o)) } else { (q, q) };
        let EntitySide { e: e_all, f: f_all, de: de_all, d_f: d_f_all } = entities;
        for (n, ((w, &e), de)) in weights.iter().zip(e_all.iter()).zip(de_all.iter_mut()).enumerate() {
            let mut sum = *de;
            let (f, mut sum_f) = if G::PAIRS { (f_all[n], d_f_all[n]) } else { (e, sum) };
            for i in 0..Q {
                let w = s.splat_f32s(w[row % QUERIES + i]);
                let to = Sums { dq: &mut dq[i], d_o: &mut d_o[i], de: &mut sum, d_f: &mut sum_f };
                geometry.backward(s, w, Columns { q: q[i], o: o[i], e, f }, to);
            }
            *de = sum;
            if G::PAIRS {
                d_f_all[n] = sum_f;
            }
        }
        self.dq.as_chunks_mut().0[row / Q] = dq;
        if G::OFFSETS {
            self.d_o.as_chunks_mut().0[row / Q] = d_o;
        }
    }
}

impl<G: Geometry> WithSimd for BackwardColumns<'_, G> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let BackwardColumns { geometry, queries, entities, query_sums, entity_sums, .. } = self;
        let (num_entities, d) = (entities.rows, G::half(entities.cols));
        let rows = queries.rows.next_multiple_of(QUERIES);
        let zero = s.splat_f32s(0.0);
        for first in self.columns.clone().step_by(S::F32_LANES) {
            let cols = (self.columns.end - first).min(S::F32_LANES);
            let q = pack(s, queries, first, cols, rows);
            let o = if G::OFFSETS { pack(s, queries, d + first, cols, rows) } else { vec![] };
            let (dq, d_o) = (vec![zero; q.len()], vec![zero; o.len()]);
            let mut side = QuerySide::<S> { q, o, dq, d_o };
            let e_all = pack(s, entities, first, cols, num_entities);
            let mut de_all = vec![zero; num_entities];
            let f_all = if G::PAIRS { pack(s, entities, d + first, cols, num_entities) } else { vec![] };
            let mut d_f_all = vec![zero; f_all.len()];

            let mut packed = self.packed;
            for begin in (0..num_entities).step_by(BLOCK) {
                let block = begin..num_entities.min(begin + BLOCK);
                let pairs = if G::PAIRS { block.clone() } else { 0..0 };
                let mut some = EntitySide {
                    e: &e_all[block.clone()],
                    f: &f_all[pairs.clone()],
                    de: &mut de_all[block.clone()],
                    d_f: &mut d_f_all[pairs],
                };
                for row in (0..rows).step_by(QUERIES) {
                    let weights;
                    (weights, packed) = packed.split_at(block.len());
                    // AVX2 has registers for 4 queries without offsets, or for 2 with them.
                    if S::F32_LANES >= 16 || !G::OFFSETS {
                        side.pass::<G, QUERIES>(s, geometry, row, weights, &mut some);
                    } else {
                        side.pass::<G, { QUERIES / 2 }>(s, geometry, row, weights, &mut some);
                        side.pass::<G, { QUERIES / 2 }>(s, geometry, row + QUERIES / 2, weights, &mut some);
                    }
                }
            }

            unpack::<S>(&side.dq[..queries.rows], first, cols, self.dqueries, |row, _, sum| {
                geometry.finish_query(sum, query_sums[row])
            });
            if G::OFFSETS {
                unpack::<S>(&side.d_o[..queries.rows], d + first, cols, self.dqueries, |row, k, sum| {
                    geometry.finish_offset(sum, queries.row(row)[d + first + k], query_sums[row])
                });
            }
            for (sums, first) in [(&de_all, first), (&d_f_all, d + first)] {
                unpack::<S>(sums, first, cols, self.dentities, |row, _, sum| {
                    geometry.finish_entity(sum, entity_sums[row])
                });
            }
        }
    }
}
