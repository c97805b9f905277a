//! Scores by the divergence of Beta distributions: work per row in float64, then one product.
//!
//! With F(e) = [psi(a) - psi(a + b), psi(b) - psi(a + b)] and ln B the logarithm of the Beta function,
//! `sum KL(e || q) = sum ln B(q) + (<e, F(e)> - sum ln B(e)) - <q, F(e)>`: a term per query, a term per entity and a
//! product. The three are of one size and cancel where e is near q, by as much as alpha is large: in float64 what
//! is left is exact to float32 far beyond alpha = 1e4. Gradients do not cancel like that, so their products are those of
//! [`Scoring::Dot`] in float32, on F in the place of the entities; what then depends on rows alone is added row by row.

use super::memory::{Buffer, CHUNK, Shared, par_rows};
use super::rank::{best, count};
use super::special::{digamma, digamma_and_ln_gamma, trigamma};
use super::{View, ViewMut, per_query_score, score};
use crate::backend::{BETA_MAX, BETA_MIN, Cpu, Mat, MatMut, On, RankCount, RankTask, Scoring};
use crate::math::sum;
use crate::program::ops::score::{PerQueryScoresBackward, ScoresBackward};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use std::ops::Range;

/// Entities of a task: their F stay in the second-level cache while queries pass by.
const TILE: usize = 64;
/// Queries that pass over a tile of entities at once when ranks are counted.
const QUERIES: usize = 64;
/// Targets whose scores are worked out by one task.
const TARGETS: usize = 256;
/// Rows are filled up with zeros to a multiple of this, the widest vector.
const LANES: usize = 8;

/// Rows in float64, with what each adds to its divergences.
#[derive(Default)]
struct Prepared {
    width: usize,
    values: Vec<f64>,
    terms: Vec<f64>,
}

impl Prepared {
    fn row(&self, i: usize) -> &[f64] {
        &self.values[i * self.width..][..self.width]
    }

    /// Replaces all rows, on this thread: `fill` gets a row of the matrix and writes it, and returns its term.
    fn set(&mut self, rows: View, fill: impl Fn(&[f32], &mut [f64], &mut [f64]) -> f64) {
        self.width = rows.cols.next_multiple_of(LANES);
        self.values.clear();
        self.values.resize(rows.rows * self.width, 0.0);
        self.terms.clear();
        let mut columns = vec![0.0; rows.cols / 2];
        for (i, to) in self.values.chunks_mut(self.width.max(1)).enumerate() {
            let term = pulp::Arch::new().dispatch(
                #[inline(always)]
                || fill(rows.row(i), &mut to[..rows.cols], &mut columns),
            );
            self.terms.push(term);
        }
    }

    /// Query rows: their parameters, and sum ln B.
    fn set_queries(&mut self, rows: View) {
        self.set(
            rows,
            #[inline(always)]
            |row, to, columns| {
                let d = columns.len();
                for k in 0..d {
                    let [a, b] = [row[k], row[d + k]].map(f64::from);
                    let ln_gamma = |x| digamma_and_ln_gamma(x).1;
                    columns[k] = ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b);
                    (to[k], to[d + k]) = (a, b);
                }
                columns.iter().sum()
            },
        );
    }

    /// Entity rows: F, and <e, F(e)> - sum ln B(e).
    fn set_entities(&mut self, rows: View) {
        self.set(
            rows,
            #[inline(always)]
            |row, to, columns| {
                let d = columns.len();
                for k in 0..d {
                    let [a, b] = [row[k], row[d + k]].map(parameter);
                    let [(a_psi, a_ln), (b_psi, b_ln), (sum_psi, sum_ln)] =
                        [a, b, a + b].map(digamma_and_ln_gamma);
                    let (fa, fb) = (a_psi - sum_psi, b_psi - sum_psi);
                    columns[k] = a * fa + b * fb - (a_ln + b_ln - sum_ln);
                    (to[k], to[d + k]) = (fa, fb);
                }
                columns.iter().sum()
            },
        );
    }

    /// All query rows, in parallel.
    fn queries(rows: View) -> Vec<Prepared> {
        let chunk = |i: usize| {
            let mut prepared = Prepared::default();
            let first = i * CHUNK;
            prepared.set_queries(rows.rows(first, CHUNK.min(rows.rows - first)));
            prepared
        };
        (0..rows.rows.div_ceil(CHUNK)).into_par_iter().map(chunk).collect()
    }
}

/// The parameter that a number of an entity row stands for.
#[inline(always)]
fn parameter(x: f32) -> f64 {
    (f64::from(x) + 1.0).clamp(f64::from(BETA_MIN), f64::from(BETA_MAX))
}

/// Row `i` of queries in chunks, with its term.
fn query(queries: &[Prepared], i: usize) -> (&[f64], f64) {
    let chunk = &queries[i / CHUNK];
    (chunk.row(i % CHUNK), chunk.terms[i % CHUNK])
}

/// Scores of a range of queries with prepared entities; those of query `i` of the range go to `out(i)`.
struct Block<'a, O> {
    gamma: f64,
    queries: &'a [Prepared],
    range: Range<usize>,
    entities: &'a Prepared,
    out: O,
}

impl<'o, O: Fn(usize) -> &'o mut [f32]> WithSimd for Block<'_, O> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Block { gamma, queries, range, entities, out } = self;
        let count = entities.terms.len();
        for first in (0..count).step_by(4) {
            let width = (count - first).min(4);
            let rows: [_; 4] = std::array::from_fn(|j| entities.row(first + j.min(width - 1)));
            let mut q = range.start;
            while q < range.end {
                // AVX2 has registers for 2 queries only.
                let height = if S::F64_LANES >= 8 && range.end - q >= 4 { 4 } else { 2.min(range.end - q) };
                let mut products = [[0.0; 4]; 4];
                let row = |i: usize| query(queries, q + i.min(height - 1)).0;
                match height {
                    4 => products = tile(s, [row(0), row(1), row(2), row(3)], rows),
                    2 => products[..2].copy_from_slice(&tile(s, [row(0), row(1)], rows)),
                    _ => products[..1].copy_from_slice(&tile(s, [row(0)], rows)),
                }
                for (i, products) in products.iter().enumerate().take(height) {
                    let to = &mut out(q + i - range.start)[first..first + width];
                    let term = query(queries, q + i).1;
                    for (j, to) in to.iter_mut().enumerate() {
                        *to = (gamma - (term + entities.terms[first + j] - products[j])) as f32;
                    }
                }
                q += height;
            }
        }
    }
}

/// Products of rows; a pair's columns are always added in the same order.
#[inline(always)]
fn tile<S: Simd, const Q: usize>(s: S, queries: [&[f64]; Q], entities: [&[f64]; 4]) -> [[f64; 4]; Q] {
    let queries = queries.map(|row| S::as_simd_f64s(row).0);
    let entities = entities.map(|row| S::as_simd_f64s(row).0);
    let vectors = entities[0].len();
    let (queries, entities) = (queries.map(|r| &r[..vectors]), entities.map(|r| &r[..vectors]));
    let mut sums = [[s.splat_f64s(0.0); 4]; Q];
    for k in 0..vectors {
        let e = entities.map(|row| row[k]);
        for i in 0..Q {
            let q = queries[i][k];
            for j in 0..4 {
                sums[i][j] = s.mul_add_e_f64s(q, e[j], sums[i][j]);
            }
        }
    }
    sums.map(|row| row.map(|sum| s.reduce_sum_f64s(sum)))
}

/// See [`Scores`](crate::program::ops::score::Scores).
pub fn scores(gamma: f32, queries: View, entities: View, out: ViewMut) {
    let (num_queries, gamma) = (queries.rows, f64::from(gamma));
    let queries = &Prepared::queries(queries)[..];
    let out = Shared::new(out);
    (0..entities.rows.div_ceil(TILE)).into_par_iter().for_each_init(Prepared::default, |tile, i| {
        let first = i * TILE;
        let count = TILE.min(entities.rows - first);
        tile.set_entities(entities.rows(first, count));
        // SAFETY: no other task has these columns, and a row's slice is gone before the next is asked for.
        let out = |q| unsafe { out.slice(q, first, count) };
        pulp::Arch::new().dispatch(Block { gamma, queries, range: 0..num_queries, entities: tile, out });
    });
}

/// See [`PerQueryScores`](crate::program::ops::score::PerQueryScores).
pub fn per_query_scores(gamma: f32, queries: View, entities: View, roots: &[u32], out: ViewMut) {
    let (candidates, gamma) = (out.cols, f64::from(gamma));
    let queries = &Prepared::queries(queries)[..];
    let out = Shared::new(out);
    let tasks = (0..roots.len() - 1).into_par_iter().with_min_len(CHUNK.div_ceil(candidates));
    tasks.for_each_init(Prepared::default, |tile, q| {
        let range = roots[q] as usize..roots[q + 1] as usize;
        for first in (0..candidates).step_by(TILE) {
            let count = TILE.min(candidates - first);
            tile.set_entities(entities.rows(q * candidates + first, count));
            // SAFETY: a root belongs to one query, and a query to one task.
            let out = |root| unsafe { out.slice(range.start + root, first, count) };
            pulp::Arch::new().dispatch(Block { gamma, queries, range: range.clone(), entities: tile, out });
        }
    });
}

/// F of every row, of queries as they stand and of entities from their parameters.
fn features(rows: View, parameter: impl Fn(f32) -> f64 + Sync) -> Buffer {
    let mut features = Buffer::zeros(rows.rows * rows.cols).expect("no more than the gradients take");
    let d = rows.cols / 2;
    par_rows(MatMut::new(&mut features, rows.rows, rows.cols), CHUNK, |mut to| {
        for i in 0..to.count {
            let row = rows.row(to.first + i);
            let (fa, fb) = to.row(i).split_at_mut(d);
            pulp::Arch::new().dispatch(
                #[inline(always)]
                || {
                    for k in 0..d {
                        let [a, b] = [row[k], row[d + k]].map(&parameter);
                        let [a, b, sum] = [a, b, a + b].map(digamma);
                        (fa[k], fb[k]) = ((a - sum) as f32, (b - sum) as f32);
                    }
                },
            );
        }
    });
    features
}

/// Turns `sum w F(e)` of each query into its gradient, `sum w (F(e) - F(q))`; adds to what else is there.
fn finish_queries(queries: View, weights: View, dqueries: ViewMut) {
    let features = features(queries, f64::from);
    let features = Mat::new(&features, queries.rows, queries.cols);
    par_rows(dqueries, CHUNK, |mut dqueries| {
        for i in 0..dqueries.count {
            let row = dqueries.first + i;
            let weight = sum(weights.row(row));
            dqueries.row(i).iter_mut().zip(features.row(row)).for_each(|(d, f)| *d -= weight * f);
        }
    });
}

/// Turns `sum w q` of each entity into its gradient; `weight(e)` is `sum w`.
fn finish_entities(entities: View, weight: impl Fn(usize) -> f32 + Sync, dentities: ViewMut) {
    let d = entities.cols / 2;
    par_rows(dentities, CHUNK, |mut dentities| {
        for i in 0..dentities.count {
            let (row, weight) = (entities.row(dentities.first + i), f64::from(weight(dentities.first + i)));
            let (da, db) = dentities.row(i).split_at_mut(d);
            pulp::Arch::new().dispatch(
                #[inline(always)]
                || {
                    for k in 0..d {
                        let [a, b] = [row[k], row[d + k]].map(parameter);
                        let [by_a, by_b] =
                            [(da[k], a), (db[k], b)].map(|(sum, x)| f64::from(sum) - weight * x);
                        let [a1, b1, sum1] = [a, b, a + b].map(trigamma);
                        let both = (by_a + by_b) * sum1;
                        let slope = |x: f64| {
                            if x > f64::from(BETA_MIN) && x < f64::from(BETA_MAX) { 1.0 } else { 0.0 }
                        };
                        da[k] = (slope(a) * (by_a * a1 - both)) as f32;
                        db[k] = (slope(b) * (by_b * b1 - both)) as f32;
                    }
                },
            );
        }
    });
}

/// See [`ScoresBackward`].
pub fn scores_backward(op: ScoresBackward<On<Cpu>>) {
    let ScoresBackward { queries, entities, weights, mut dqueries, mut dentities, .. } = op;
    let features = features(entities, parameter);
    let features = Mat::new(&features, entities.rows, entities.cols);
    score::scores_backward(ScoresBackward {
        kind: Scoring::Dot,
        queries,
        entities: features,
        scores: weights,
        weights,
        dqueries: dqueries.again(),
        dentities: dentities.again(),
    });
    finish_queries(queries, weights, dqueries);
    let mut sums = vec![0f32; entities.rows];
    sums.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, sums)| {
        for q in 0..weights.rows {
            for (sum, weight) in sums.iter_mut().zip(&weights.row(q)[chunk * CHUNK..]) {
                *sum += weight;
            }
        }
    });
    finish_entities(entities, |e| sums[e], dentities);
}

/// See [`PerQueryScoresBackward`].
pub fn per_query_scores_backward(op: PerQueryScoresBackward<On<Cpu>>) {
    let PerQueryScoresBackward { queries, entities, roots, weights, mut dqueries, mut dentities, .. } = op;
    let features = features(entities, parameter);
    let features = Mat::new(&features, entities.rows, entities.cols);
    per_query_score::per_query_scores_backward(PerQueryScoresBackward {
        kind: Scoring::Dot,
        queries,
        entities: features,
        roots,
        scores: weights,
        weights,
        dqueries: dqueries.again(),
        dentities: dentities.again(),
    });
    finish_queries(queries, weights, dqueries);
    let candidates = weights.cols;
    let weight = |e: usize| {
        let roots = roots[e / candidates] as usize..roots[e / candidates + 1] as usize;
        roots.map(|root| weights.row(root)[e % candidates]).sum()
    };
    finish_entities(entities, weight, dentities);
}

/// See [`Backend::rank`](crate::backend::Backend::rank). A tile's entities are prepared once and meet all queries.
pub fn rank(gamma: f32, task: &RankTask<Cpu>, entities: View) -> Vec<RankCount> {
    let gamma = f64::from(gamma);
    let num_queries = task.root_offsets.len() - 1;
    let range = |offsets: &[u32], q: usize| offsets[q] as usize..offsets[q + 1] as usize;
    let queries = &Prepared::queries(task.queries)[..];
    let thresholds = thresholds(gamma, task, queries, entities);
    let mut filter = task.filter.to_vec();
    (0..num_queries).for_each(|q| filter[range(task.filter_offsets, q)].sort_unstable());
    let none = || vec![RankCount::default(); task.targets.len()];
    let sum = |mut counts: Vec<RankCount>, others: Vec<RankCount>| {
        for (to, from) in counts.iter_mut().zip(others) {
            to.better += from.better;
            to.equal += from.equal;
        }
        counts
    };
    let count_tile = |counts: &mut [RankCount], tile: &Prepared, first: usize, block: Range<usize>| {
        let roots = task.root_offsets[block.start] as usize..task.root_offsets[block.end] as usize;
        let first_root = roots.start;
        let mut scores = vec![0f32; roots.len() * TILE];
        let out = Shared::new_rows(&mut scores, TILE);
        // SAFETY: one slice at a time.
        let row = |q| unsafe { out.slice(q, 0, tile.terms.len()) };
        pulp::Arch::new().dispatch(Block { gamma, queries, range: roots, entities: tile, out: row });
        for q in block {
            let (root, end) = (task.root_offsets[q] as usize, task.root_offsets[q + 1] as usize);
            let (scores, rest) = scores[(root - first_root) * TILE..].split_at_mut(TILE);
            for other in rest.chunks(TILE).take(end - root - 1) {
                scores.iter_mut().zip(other).for_each(|(a, &b)| *a = best(*a, b));
            }
            let scores = &scores[..tile.terms.len()];
            let filter = &filter[range(task.filter_offsets, q)];
            let here = |e: u32| (e as usize).checked_sub(first).filter(|&i| i < scores.len());
            let filtered = &filter[filter.partition_point(|&e| (e as usize) < first)..];
            for t in range(task.target_offsets, q) {
                let mut all = count(scores, thresholds[t]);
                let itself =
                    here(task.targets[t]).filter(|_| filter.binary_search(&task.targets[t]).is_err());
                for i in filtered.iter().map_while(|&e| here(e)).chain(itself) {
                    let out = count(&scores[i..=i], thresholds[t]);
                    all.better -= out.better;
                    all.equal -= out.equal;
                }
                counts[t].better += all.better;
                counts[t].equal += all.equal;
            }
        }
    };
    (0..entities.rows.div_ceil(TILE))
        .into_par_iter()
        .fold(none, |mut counts, i| {
            let (first, mut tile) = (i * TILE, Prepared::default());
            tile.set_entities(entities.rows(first, TILE.min(entities.rows - first)));
            for block in (0..num_queries).step_by(QUERIES) {
                count_tile(&mut counts, &tile, first, block..num_queries.min(block + QUERIES));
            }
            counts
        })
        .reduce(none, sum)
}

/// The score of every target: the best of its query's roots. Targets that are the same entity share its preparation.
fn thresholds(gamma: f64, task: &RankTask<Cpu>, queries: &[Prepared], entities: View) -> Vec<f32> {
    let mut targets: Vec<(u32, usize, usize)> = (0..task.root_offsets.len() - 1)
        .flat_map(|q| {
            let of_query = task.target_offsets[q] as usize..task.target_offsets[q + 1] as usize;
            of_query.map(move |t| (task.targets[t], q, t))
        })
        .collect();
    targets.sort_unstable();
    let scored: Vec<Vec<f32>> = targets
        .par_chunks(TARGETS)
        .map(|targets| {
            let (mut entity, mut last) = (Prepared::default(), None);
            let score = |&(e, q, _): &(u32, usize, usize)| {
                if last != Some(e) {
                    entity.set_entities(entities.rows(e as usize, 1));
                    last = Some(e);
                }
                let roots = task.root_offsets[q] as usize..task.root_offsets[q + 1] as usize;
                let mut scores = vec![0f32; roots.len()];
                let out = Shared::new_rows(&mut scores, 1);
                // SAFETY: one slice at a time.
                let row = |i| unsafe { out.slice(i, 0, 1) };
                pulp::Arch::new().dispatch(Block {
                    gamma,
                    queries,
                    range: roots,
                    entities: &entity,
                    out: row,
                });
                scores.into_iter().fold(f32::NAN, best)
            };
            targets.iter().map(score).collect()
        })
        .collect();
    let mut thresholds = vec![0f32; targets.len()];
    for ((_, _, t), score) in targets.iter().zip(scored.into_iter().flatten()) {
        thresholds[*t] = score;
    }
    thresholds
}
