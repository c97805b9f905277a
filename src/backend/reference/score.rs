//! Scores.

use super::elementwise::{elementwise, elementwise_slope};
use super::linear::relu;
use super::{range_of, special};
use crate::backend::{Function, Scoring};
use crate::backend::{On, Reference};
use crate::program::ops::score::{OwnScores, OwnScoresBackward, Score, Scores, ScoresBackward};

/// Does an operation of the family.
pub fn run(op: Score<On<Reference>>) {
    match op {
        Score::Scores(op) => scores(op),
        Score::ScoresBackward(op) => scores_backward(op),
        Score::OwnScores(op) => own_scores(op),
        Score::OwnScoresBackward(op) => own_scores_backward(op),
    }
}

/// Score of a query row with an entity row.
pub fn score(kind: Scoring, q: &[f64], e: &[f64]) -> f64 {
    let d = e.len();
    match kind {
        Scoring::L1 { gamma } => f64::from(gamma) - (0..d).map(|k| (q[k] - e[k]).abs()).sum::<f64>(),
        Scoring::L2 { gamma } => f64::from(gamma) - (0..d).map(|k| (q[k] - e[k]).powi(2)).sum::<f64>().sqrt(),
        Scoring::Box { gamma, inside } => {
            let a = |k: usize| (e[k] - q[k]).abs();
            let outer: f64 = (0..d).map(|k| relu(a(k) - q[d + k])).sum();
            let inner: f64 = (0..d).map(|k| a(k).min(q[d + k]).abs()).sum();
            f64::from(gamma) - outer - f64::from(inside) * inner
        }
        Scoring::Dot => (0..d).map(|k| q[k] * e[k]).sum(),
        Scoring::Beta { gamma } => {
            let d = d / 2;
            let [a, b] = [0, d].map(|first| move |k| elementwise(Function::BetaParameter, e[first + k]));
            f64::from(gamma)
                - (0..d).map(|k| special::kl_of_betas([a(k), b(k)], [q[k], q[d + k]])).sum::<f64>()
        }
        Scoring::Rotation { gamma } => {
            let d = d / 2;
            f64::from(gamma) - (0..d).map(|k| (q[k] - e[k]).hypot(q[d + k] - e[d + k])).sum::<f64>()
        }
    }
}

/// Adds the gradients of `w * score`.
pub fn score_gradient(kind: Scoring, w: f64, q: &[f64], e: &[f64], dq: &mut [f64], de: &mut [f64]) {
    let d = e.len();
    let sign = |x: f64| if x < 0.0 { -1.0 } else { 1.0 };
    let distance = (0..d).map(|k| (q[k] - e[k]).powi(2)).sum::<f64>().sqrt();
    for k in 0..d {
        let t = q[k] - e[k];
        match kind {
            Scoring::L1 { .. } => {
                dq[k] -= w * sign(t);
                de[k] += w * sign(t);
            }
            Scoring::L2 { .. } => {
                if distance > 0.0 {
                    dq[k] -= w * t / distance;
                    de[k] += w * t / distance;
                }
            }
            Scoring::Box { inside, .. } => {
                let (a, o, inside) = (t.abs(), q[d + k], f64::from(inside));
                // Derivatives of relu(a - o) + inside |min(a, o)| by a and by o.
                let (by_a, by_o) = if a > o { (1.0, -1.0 + inside * sign(o)) } else { (inside, 0.0) };
                dq[k] -= w * by_a * sign(t);
                de[k] += w * by_a * sign(t);
                dq[d + k] -= w * by_o;
            }
            Scoring::Dot => {
                dq[k] += w * e[k];
                de[k] += w * q[k];
            }
            Scoring::Beta { .. } => {
                // Of this parameter x and the other one, y, of the same distribution: the KL's derivative by the
                // query's x is F(q) - F(e), F(x) = psi(x) - psi(x + y), and by the entity's the difference of the
                // parameters through F'.
                use special::{digamma, trigamma};
                let other = (k + d / 2) % d;
                let [x, y] = [k, other].map(|k| elementwise(Function::BetaParameter, e[k]));
                let f = |x: f64, y: f64| digamma(x) - digamma(x + y);
                dq[k] += w * (f(x, y) - f(q[k], q[other]));
                let slope = elementwise_slope(Function::BetaParameter, x);
                let (by_x, by_y) = (q[k] - x, q[other] - y);
                de[k] += w * slope * (by_x * trigamma(x) - (by_x + by_y) * trigamma(x + y));
            }
            Scoring::Rotation { .. } => {
                let other = (k + d / 2) % d;
                let modulus = t.hypot(q[other] - e[other]);
                if modulus > 0.0 {
                    dq[k] -= w * t / modulus;
                    de[k] += w * t / modulus;
                }
            }
        }
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

/// See [`OwnScores`].
fn own_scores(OwnScores { kind, queries, entities, roots, mut out }: OwnScores<On<Reference>>) {
    let k = out.cols;
    for q in 0..roots.len() - 1 {
        for root in range_of(roots, q) {
            for n in 0..k {
                out.row(root)[n] = score(kind, queries.row(root), entities.row(q * k + n));
            }
        }
    }
}

/// See [`OwnScoresBackward`].
fn own_scores_backward(
    OwnScoresBackward { kind, queries, entities, roots, scores: _, weights, mut dqueries, mut dentities }: OwnScoresBackward<On<Reference>>,
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
