//! Filtered ranks: scores tile by tile, counted at once, never sorted or stored.

use super::View;
use super::beta;
use super::formulas::with_geometry;
use super::score::{Block, pair};
use crate::backend::{Cpu, RankCount, RankTask, Scoring};
use rayon::prelude::*;

/// Queries that pass over a tile of entities while it is in the cache.
const QUERIES: usize = 64;
/// Entities of a tile.
const ENTITIES: usize = 128;
/// Entities of a task: enough tasks for all cores even with a single query.
const SPAN: usize = 16 * ENTITIES;

/// Score of a query with one entity: the best of its roots.
fn score_of(kind: Scoring, task: &RankTask<Cpu>, entities: View, query: usize, entity: u32) -> f32 {
    (task.root_offsets[query]..task.root_offsets[query + 1])
        .map(|root| pair(kind, task.queries, root as usize, entities, entity as usize))
        .fold(f32::NAN, best)
}

/// The greater of two; a NaN only where both are.
#[inline(always)]
pub(super) fn best(a: f32, b: f32) -> f32 {
    if b > a || a.is_nan() { b } else { a }
}

/// Entities of `scores` that beat `threshold` or equal it.
#[inline(always)]
pub(super) fn count(scores: &[f32], threshold: f32) -> RankCount {
    if threshold.is_nan() {
        return RankCount { better: scores.len() as u32, equal: 0 };
    }
    let (mut better, mut equal) = (0u32, 0u32);
    for &score in scores {
        better += u32::from(score > threshold);
        equal += u32::from(score == threshold);
    }
    RankCount { better, equal }
}

/// See [`Backend::rank`](crate::backend::Backend::rank).
pub fn rank(kind: Scoring, task: RankTask<Cpu>, entities: View) -> Vec<RankCount> {
    if let Scoring::Beta { gamma } = kind {
        return beta::rank(gamma, &task, entities);
    }
    let num_queries = task.root_offsets.len() - 1;
    let range = |offsets: &[u32], q: usize| offsets[q] as usize..offsets[q + 1] as usize;
    let thresholds: Vec<f32> = (0..num_queries)
        .into_par_iter()
        .flat_map_iter(|q| {
            let task = &task;
            task.targets[range(task.target_offsets, q)]
                .iter()
                .map(move |&e| score_of(kind, task, entities, q, e))
        })
        .collect();
    // All queries pass over a span before the next one is touched: a table in a file is read once, not once for
    // every block of queries. Counts are whole numbers, so the order in which tasks add theirs does not matter, and
    // what is kept does not grow with the table.
    let blocks = num_queries.div_ceil(QUERIES);
    let none = || vec![RankCount::default(); task.targets.len()];
    let sum = |mut counts: Vec<RankCount>, (first, counted): (usize, Vec<RankCount>)| {
        for (to, from) in counts[first..].iter_mut().zip(counted) {
            to.better += from.better;
            to.equal += from.equal;
        }
        counts
    };
    let mut counts = (0..blocks * entities.rows.div_ceil(SPAN))
        .into_par_iter()
        .fold(none, |counts, i| {
            let (first, begin) = (i % blocks * QUERIES, i / blocks * SPAN);
            let last = num_queries.min(first + QUERIES);
            let end = entities.rows.min(begin + SPAN);
            let counted = count_span(kind, &task, entities, first..last, begin..end, &thresholds);
            sum(counts, (task.target_offsets[first] as usize, counted))
        })
        .reduce(none, |a, b| sum(a, (0, b)));
    // What is filtered out was counted with all others, and the target with itself.
    let filtered: Vec<Vec<RankCount>> = (0..num_queries)
        .into_par_iter()
        .map(|q| {
            let filter = &task.filter[range(task.filter_offsets, q)];
            let scores: Vec<f32> = filter.iter().map(|&e| score_of(kind, &task, entities, q, e)).collect();
            range(task.target_offsets, q)
                .map(|t| {
                    let mut count = count(&scores, thresholds[t]);
                    if !filter.contains(&task.targets[t]) {
                        // The target itself, counted as equal (or, not a number, as better).
                        if thresholds[t].is_nan() { count.better += 1 } else { count.equal += 1 }
                    }
                    count
                })
                .collect()
        })
        .collect();
    for (count, filtered) in counts.iter_mut().zip(filtered.into_iter().flatten()) {
        count.better -= filtered.better;
        count.equal -= filtered.equal;
    }
    counts
}

/// Counts for the targets of a range of queries among a range of entities.
fn count_span(
    kind: Scoring,
    task: &RankTask<Cpu>,
    entities: View,
    queries: std::ops::Range<usize>,
    span: std::ops::Range<usize>,
    thresholds: &[f32],
) -> Vec<RankCount> {
    let (first_root, last_root) = (task.root_offsets[queries.start], task.root_offsets[queries.end]);
    let num_roots = (last_root - first_root) as usize;
    let rows = task.queries.rows(first_root as usize, num_roots);
    let first_target = task.target_offsets[queries.start] as usize;
    let num_targets = task.target_offsets[queries.end] as usize - first_target;
    let mut counts = vec![RankCount::default(); num_targets];
    let mut scores = vec![0f32; num_roots * ENTITIES];
    for begin in span.clone().step_by(ENTITIES) {
        let tile = entities.rows(begin, span.end.min(begin + ENTITIES) - begin);
        let (out, stride) = (&mut scores[..], ENTITIES);
        with_geometry!(kind, geometry => {
            pulp::Arch::new().dispatch(Block { geometry, queries: rows, entities: tile, out, stride });
        });
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                for q in queries.clone() {
                    let root = (task.root_offsets[q] - first_root) as usize;
                    let others = (task.root_offsets[q + 1] - first_root) as usize - root - 1;
                    let (scores, rest) = scores[root * ENTITIES..].split_at_mut(ENTITIES);
                    for other in rest.chunks(ENTITIES).take(others) {
                        scores.iter_mut().zip(other).for_each(|(a, &b)| *a = best(*a, b));
                    }
                    for t in task.target_offsets[q] as usize..task.target_offsets[q + 1] as usize {
                        let here = count(&scores[..tile.rows], thresholds[t]);
                        let count = &mut counts[t - first_target];
                        count.better += here.better;
                        count.equal += here.equal;
                    }
                }
            },
        );
    }
    counts
}
