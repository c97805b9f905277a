//! Scores.

use super::formulas::{score, score_gradient};
use super::range_of;
use crate::backend::{On, Reference};
use crate::program::ops::score::{PerQueryScores, PerQueryScoresBackward, Score, Scores, ScoresBackward};

/// Does an operation of the family.
pub fn run(op: Score<On<Reference>>) {
    match op {
        Score::Scores(op) => scores(op),
        Score::ScoresBackward(op) => scores_backward(op),
        Score::PerQueryScores(op) => per_query_scores(op),
        Score::PerQueryScoresBackward(op) => per_query_scores_backward(op),
    }
}

/// See [`Scores`].
fn scores(Scores { kind, exact: _, queries, entities, mut out }: Scores<On<Reference>>) {
    for q in 0..queries.rows {
        for e in 0..entities.rows {
            out.row(q)[e] = score(kind, queries.row(q), entities.row(e));
        }
    }
}

/// See [`ScoresBackward`].
fn scores_backward(
    ScoresBackward { kind, queries, entities, scores: _, weights, mut dqueries, mut dentities }: ScoresBackward<On<Reference>>,
) {
    (0..queries.rows).for_each(|q| dqueries.row(q).fill(0.0));
    (0..entities.rows).for_each(|e| dentities.row(e).fill(0.0));
    for q in 0..queries.rows {
        for e in 0..entities.rows {
            let w = weights.row(q)[e];
            score_gradient(kind, w, queries.row(q), entities.row(e), dqueries.row(q), dentities.row(e));
        }
    }
}

/// See [`PerQueryScores`].
fn per_query_scores(
    PerQueryScores { kind, queries, entities, roots, mut out }: PerQueryScores<On<Reference>>,
) {
    let k = out.cols;
    for q in 0..roots.len() - 1 {
        for root in range_of(roots, q) {
            for n in 0..k {
                out.row(root)[n] = score(kind, queries.row(root), entities.row(q * k + n));
            }
        }
    }
}

/// See [`PerQueryScoresBackward`].
fn per_query_scores_backward(
    PerQueryScoresBackward {
        kind,
        queries,
        entities,
        roots,
        scores: _,
        weights,
        mut dqueries,
        mut dentities,
    }: PerQueryScoresBackward<On<Reference>>,
) {
    let k = weights.cols;
    for q in 0..roots.len() - 1 {
        for e in q * k..(q + 1) * k {
            dentities.row(e).fill(0.0);
            for root in range_of(roots, q) {
                let w = weights.row(root)[e - q * k];
                let (query, entity) = (queries.row(root), entities.row(e));
                score_gradient(kind, w, query, entity, dqueries.row(root), dentities.row(e));
            }
        }
    }
}
