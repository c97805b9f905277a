//! Scores of queries with candidates of their own, forward and backward.

use super::View;
use super::beta;
use super::formulas::with_geometry;
use super::memory::{CHUNK, Rows, Shared, par_rows};
use super::score::{Block, Columns, ENTITIES, Geometry, Sums};
use crate::backend::{Cpu, On, Scoring};
use crate::program::ops::score::{PerQueryScores, PerQueryScoresBackward};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Checks the offsets of queries with so many candidates of their own.
fn check_own(queries: View, entities: View, roots: &[u32], candidates: usize) {
    let num_queries = roots.len() - 1;
    assert_eq!((entities.rows, queries.rows), (num_queries * candidates, roots[num_queries] as usize));
    assert!(roots.is_sorted_by(|a, b| a < b), "roots of queries follow each other");
}

/// See [`PerQueryScores`].
pub fn per_query_scores(PerQueryScores { kind, queries, entities, roots, out }: PerQueryScores<On<Cpu>>) {
    let candidates = out.cols;
    check_own(queries, entities, roots, candidates);
    if let Scoring::Beta { gamma } = kind {
        return beta::per_query_scores(gamma, queries, entities, roots, out);
    }
    let out = Shared::new(out);
    (0..roots.len() - 1).into_par_iter().with_min_len(CHUNK.div_ceil(candidates)).for_each(|q| {
        let entities = entities.rows(q * candidates, candidates);
        for root in roots[q] as usize..roots[q + 1] as usize {
            // SAFETY: a root belongs to one query, and a query to one task.
            let out = unsafe { out.slice(root, 0, candidates) };
            let queries = queries.rows(root, 1);
            with_geometry!(kind, geometry => {
                pulp::Arch::new().dispatch(Block { geometry, queries, entities, out, stride: candidates });
            });
        }
    });
}

/// See [`PerQueryScoresBackward`].
pub fn per_query_scores_backward(op: PerQueryScoresBackward<On<Cpu>>) {
    check_own(op.queries, op.entities, op.roots, op.weights.cols);
    if let Scoring::Beta { .. } = op.kind {
        return beta::per_query_scores_backward(op);
    }
    let PerQueryScoresBackward { kind, queries, entities, roots, scores, weights, dqueries, dentities } = op;
    let candidates = weights.cols;
    let dqueries = Shared::new(dqueries);
    // A task has whole queries.
    par_rows(dentities, CHUNK.div_ceil(candidates) * candidates, |mut dentities| {
        for first in (0..dentities.count).step_by(candidates) {
            let entities = entities.rows(dentities.first + first, candidates);
            let q = (dentities.first + first) / candidates;
            for root in roots[q] as usize..roots[q + 1] as usize {
                let (query, weights, scores) = (queries.row(root), weights.row(root), scores.row(root));
                // SAFETY: a root belongs to one query, and a query to one task.
                let dq = unsafe { dqueries.slice(root, 0, query.len()) };
                let replace = root == roots[q] as usize;
                with_geometry!(kind, geometry => {
                    pulp::Arch::new().dispatch(OwnBackward {
                        geometry, weights, scores, query, entities, dq, dentities: &mut dentities, first, replace,
                    });
                });
            }
        }
    });
}

/// Gradients of a root and its own candidates.
struct OwnBackward<'a, 'b, G, const Q: usize, const E: usize> {
    geometry: G,
    weights: &'a [f32],
    scores: &'a [f32],
    query: &'a [f32],
    entities: View<'a>,
    /// Added to.
    dq: &'a mut [f32],
    dentities: &'a mut Rows<'b>,
    /// The candidates' first row there.
    first: usize,
    /// Whether the candidates' gradients are written, or else added to those of the roots before.
    replace: bool,
}

impl<G: Geometry<Q, E>, const Q: usize, const E: usize> WithSimd for OwnBackward<'_, '_, G, Q, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let OwnBackward { geometry, query, entities, dq, dentities, replace, .. } = self;
        let d = entities.cols / E;
        let zero = s.splat_f32s(0.0);
        for block in (0..entities.rows).step_by(ENTITIES) {
            let rows = block..entities.rows.min(block + ENTITIES);
            let (mut w, mut total) = ([0f32; ENTITIES], 0.0);
            for (w, n) in w.iter_mut().zip(rows.clone()) {
                *w = geometry.weight(self.weights[n], self.scores[n]);
                total += *w;
            }
            for first in (0..d).step_by(S::F32_LANES) {
                let columns = first..d.min(first + S::F32_LANES);
                let load = |row: &[f32], part: usize| s.partial_load_f32s(&row[part * d..][columns.clone()]);
                let (mut q, mut q_sums) = ([zero; Q], [zero; Q]);
                (0..Q).for_each(|part| q[part] = load(query, part));
                for (&w, n) in w.iter().zip(rows.clone()) {
                    let (mut e, mut e_sums) = ([zero; E], [zero; E]);
                    (0..E).for_each(|part| e[part] = load(entities.row(n), part));
                    let to = Sums { q: &mut q_sums, e: &mut e_sums };
                    geometry.backward(s, s.splat_f32s(w), Columns { q, e }, to);
                    let to = dentities.row(self.first + n);
                    // A copy, so that those that are added to stay in registers.
                    for (part, sums) in { e_sums }.iter().enumerate() {
                        for (to, &sum) in to[part * d..][columns.clone()].iter_mut().zip(lanes::<S>(sums)) {
                            let gradient = geometry.finish_entity(sum, w);
                            *to = if replace { gradient } else { *to + gradient };
                        }
                    }
                }
                for (part, sums) in { q_sums }.iter().enumerate() {
                    let values = &query[part * d..][columns.clone()];
                    let to = dq[part * d..][columns.clone()].iter_mut();
                    for ((to, &sum), &value) in to.zip(lanes::<S>(sums)).zip(values) {
                        *to += geometry.finish_query(part, sum, value, total);
                    }
                }
            }
        }
    }
}

/// The numbers of a vector.
#[inline(always)]
fn lanes<S: Simd>(vector: &S::f32s) -> &[f32] {
    bytemuck::cast_slice(std::slice::from_ref(vector))
}
