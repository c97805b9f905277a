//! Scores of all pairs and of queries with candidates of their own, forward and backward.

use crate::array::*;
use crate::common::cases::{SCORES, kinds};
use smore::engine::backend::{Backend, Reference, Scoring};
use smore::engine::program::ops::score::{PerQueryScores, PerQueryScoresBackward, Scores, ScoresBackward};
use smore::engine::rng::{Rng, below, stream};

/// Columns of an entity row of `d` dimensions.
pub fn entity_width(kind: Scoring, d: usize) -> usize {
    let [_, parts] = kind.parts();
    parts * d
}

/// Queries for entities of `d` columns. Box offsets are negative, zero and positive.
pub fn queries(rng: &mut Rng, kind: Scoring, rows: usize, d: usize) -> Array {
    Array::new(rows, kind.query_width(d), |_, k| if k >= d && below(rng, 4) == 0 { 0.0 } else { random(rng) })
}

/// Entities, some of them equal to a query in some columns, and the first one in all.
pub fn entities(rng: &mut Rng, queries: &Array, rows: usize, d: usize) -> Array {
    Array::new(rows, d, |e, k| {
        let tie = queries.rows > 0 && (e == 0 || below(rng, 8) == 0);
        if tie { queries.at(0, k) } else { random(rng) }
    })
}

/// Queries, entities, columns.
fn each_shape(mut body: impl FnMut(&mut Rng, Scoring, usize, usize, usize)) {
    let mut rng = stream(5, "scores", 0);
    for kind in kinds(&SCORES) {
        let mut body =
            |rng: &mut Rng, kind, q, e, dimensions| body(rng, kind, q, e, entity_width(kind, dimensions));
        COUNTS.into_iter().for_each(|q| COUNTS.into_iter().for_each(|e| body(&mut rng, kind, q, e, 3)));
        COUNTS.into_iter().for_each(|q| body(&mut rng, kind, q, 65, 17));
        COUNTS.into_iter().for_each(|e| body(&mut rng, kind, 65, e, 33));
        DIMENSIONS.into_iter().for_each(|d| body(&mut rng, kind, 5, 70, d));
        DIMENSIONS.into_iter().for_each(|d| body(&mut rng, kind, 67, 6, d));
        // All matrices aligned, whole tiles and parts of tiles.
        body(&mut rng, kind, 64, 128, 64);
        body(&mut rng, kind, 72, 136, 88);
    }
}

/// The sum of the absolute values of what a score adds up.
pub fn magnitude(kind: Scoring, q: &[f64], e: &[f64]) -> f64 {
    let distances = q.iter().zip(e).map(|(q, e)| (q - e).abs());
    match kind {
        Scoring::L1 { gamma } | Scoring::L2 { gamma } | Scoring::Rotation { gamma } => {
            f64::from(gamma) + distances.sum::<f64>()
        }
        Scoring::Box { gamma, .. } => {
            let offsets = q[e.len()..].iter().map(|o| 2.0 * o.abs());
            f64::from(gamma) + distances.chain(offsets).sum::<f64>()
        }
        Scoring::Dot => q.iter().zip(e).map(|(q, e)| (q * e).abs()).sum(),
        Scoring::Cone { gamma, .. } => {
            let d = e.len() / 2;
            let of = |row: &[f64], k: usize, part: usize| row[part * d + k].abs();
            let sides = |k| (of(q, k, 0) + of(q, k, 1)) * (of(e, k, 0) + of(e, k, 1));
            let columns = (0..d).map(|k| sides(k) * (1.0 + of(q, k, 2) + of(q, k, 3)) + of(q, k, 4));
            f64::from(gamma) + columns.sum::<f64>()
        }
        Scoring::Beta { .. } => unreachable!("see `beta`"),
    }
}

/// How far the gradient of a weighted score may be off, per unit of its weight: a column's derivative
/// is below 2 for all scores but that of cones, which has products of three numbers. L2's divides by the distance, which is known to the precision of the
/// score.
pub fn sensitivity(kind: Scoring, q: &[f64], e: &[f64]) -> f64 {
    if let Scoring::Cone { .. } = kind {
        return 8.0;
    }
    let Scoring::L2 { gamma } = kind else { return 2.0 };
    let distance = q.iter().zip(e).map(|(q, e)| (q - e) * (q - e)).sum::<f64>().sqrt();
    if distance > 0.0 { 1.0 + f64::from(gamma) / distance } else { 1.0 }
}

pub fn scores<B: Backend>(backend: &B, kind: Scoring, q: &Array, e: &Array) -> Array {
    let mut out = Array::junk(q.rows, e.rows).on(backend);
    backend.run(Scores {
        kind,
        exact: true,
        queries: q.on(backend).mat(),
        entities: e.on(backend).mat(),
        out: out.mat_mut(),
    });
    out.read()
}

pub fn check_scores<B: Backend>(backend: &B) {
    each_shape(|rng, kind, num_queries, num_entities, d| {
        let q = queries(rng, kind, num_queries, d);
        let e = entities(rng, &q, num_entities, d);
        let what = format!("{kind:?}, {num_queries} x {num_entities} x {d}");
        let tolerance = |i: usize, j: usize| rounding(d, magnitude(kind, q.row(i), e.row(j)));
        assert_close(&what, &scores(backend, kind, &q, &e), &scores(&Reference, kind, &q, &e), tolerance);
    });
}

/// Gradients of queries and entities.
pub fn backward<B: Backend>(
    backend: &B,
    kind: Scoring,
    [q, e, scores, weights]: [&Array; 4],
) -> (Array, Array) {
    let mut dq = Array::junk(q.rows, q.cols).on(backend);
    let mut de = Array::junk(e.rows, e.cols).on(backend);
    let [q, e, scores, weights] = [q, e, scores, weights].map(|a| a.on(backend));
    backend.run(ScoresBackward {
        kind,
        queries: q.mat(),
        entities: e.mat(),
        scores: scores.mat(),
        weights: weights.mat(),
        dqueries: dq.mat_mut(),
        dentities: de.mat_mut(),
    });
    (dq.read(), de.read())
}

pub fn check_scores_backward<B: Backend>(backend: &B) {
    each_shape(|rng, kind, num_queries, num_entities, d| {
        let q = queries(rng, kind, num_queries, d);
        let e = entities(rng, &q, num_entities, d);
        let s = scores(&Reference, kind, &q, &e).rounded();
        // Most weights of a batch are positive; masked pairs have none.
        let w =
            Array::new(
                num_queries,
                num_entities,
                |_, _| {
                    if below(rng, 4) == 0 { 0.0 } else { random(rng) + 0.5 }
                },
            );
        let (dq, de) = backward(backend, kind, [&q, &e, &s, &w]);
        let (want_dq, want_de) = backward(&Reference, kind, [&q, &e, &s, &w]);
        let by_pair = |i: usize, j: usize| w.at(i, j).abs() * sensitivity(kind, q.row(i), e.row(j));
        let of_query: Vec<f64> =
            (0..num_queries).map(|i| (0..num_entities).map(|j| by_pair(i, j)).sum()).collect();
        let of_entity: Vec<f64> =
            (0..num_entities).map(|j| (0..num_queries).map(|i| by_pair(i, j)).sum()).collect();
        let what = format!("{kind:?}, {num_queries} x {num_entities} x {d}");
        assert_close(&format!("{what}, queries"), &dq, &want_dq, |i, _| rounding(num_entities, of_query[i]));
        assert_close(&format!("{what}, entities"), &de, &want_de, |j, _| rounding(num_queries, of_entity[j]));
    });
}

/// Queries of 1 to 3 roots, each with candidates of its own.
struct Own {
    what: String,
    kind: Scoring,
    roots: Vec<u32>,
    candidates: usize,
    queries: Array,
    entities: Array,
}

fn each_own(mut body: impl FnMut(&mut Rng, Own)) {
    let mut rng = stream(5, "own", 0);
    for kind in kinds(&SCORES) {
        // Queries, candidates, columns. One candidate is a query's positive.
        let shapes = COUNTS.map(|n| (n, 1, 17)).into_iter().chain(DIMENSIONS.map(|d| (5, 1, d)));
        let several = [2, 3, 5, 15, 16, 17, 64, 130].map(|k| (4, k, 18)).into_iter();
        let several = several.chain(DIMENSIONS.map(|d| (3, 18, d))).chain([(67, 5, 33)]);
        for (count, candidates, dimensions) in shapes.chain(several) {
            let d = entity_width(kind, dimensions);
            let roots = segments(&mut rng, count, 3);
            let queries = queries(&mut rng, kind, roots[count] as usize, d);
            let entities = entities(&mut rng, &queries, count * candidates, d);
            let what = format!("{kind:?}, {count} queries x {candidates} x {d}");
            body(&mut rng, Own { what, kind, roots, candidates, queries, entities });
        }
    }
}

impl Own {
    fn scores<B: Backend>(&self, backend: &B) -> Array {
        let mut out = Array::junk(self.queries.rows, self.candidates).on(backend);
        let (q, e) = (self.queries.on(backend), self.entities.on(backend));
        let roots = backend.index(&self.roots).unwrap();
        backend.run(PerQueryScores {
            kind: self.kind,
            queries: q.mat(),
            entities: e.mat(),
            roots: &roots,
            out: out.mat_mut(),
        });
        out.read()
    }

    fn gradients<B: Backend>(&self, backend: &B, [s, w, start]: [&Array; 3]) -> (Array, Array) {
        let mut dq = start.on(backend);
        let mut de = Array::junk(self.entities.rows, self.entities.cols).on(backend);
        let [q, e, s, w] = [&self.queries, &self.entities, s, w].map(|a| a.on(backend));
        backend.run(PerQueryScoresBackward {
            kind: self.kind,
            queries: q.mat(),
            entities: e.mat(),
            roots: &backend.index(&self.roots).unwrap(),
            scores: s.mat(),
            weights: w.mat(),
            dqueries: dq.mat_mut(),
            dentities: de.mat_mut(),
        });
        (dq.read(), de.read())
    }

    /// Candidate `n` of a root's query.
    fn candidate(&self, root: usize, n: usize) -> &[f64] {
        let query = self.roots.partition_point(|&r| r as usize <= root) - 1;
        self.entities.row(query * self.candidates + n)
    }
}

pub fn check_per_query_scores<B: Backend>(backend: &B) {
    each_own(|_, own| {
        let tolerance = |root, n| {
            let (q, e) = (own.queries.row(root), own.candidate(root, n));
            rounding(e.len(), magnitude(own.kind, q, e))
        };
        assert_close(&own.what, &own.scores(backend), &own.scores(&Reference), tolerance);
    });
}

pub fn check_per_query_scores_backward<B: Backend>(backend: &B) {
    each_own(|rng, own| {
        let (num_roots, k) = (own.queries.rows, own.candidates);
        let s = own.scores(&Reference).rounded();
        let w = Array::new(num_roots, k, |_, _| if below(rng, 4) == 0 { 0.0 } else { random(rng) - 0.5 });
        let start = Array::random(rng, num_roots, own.queries.cols, 1.0);
        let (dq, de) = own.gradients(backend, [&s, &w, &start]);
        let (want_dq, want_de) = own.gradients(&Reference, [&s, &w, &start]);
        let by_pair = |root: usize, n: usize| {
            w.at(root, n).abs() * sensitivity(own.kind, own.queries.row(root), own.candidate(root, n))
        };
        let of_root: Vec<f64> = (0..num_roots).map(|r| (0..k).map(|n| by_pair(r, n)).sum()).collect();
        assert_close(&own.what, &dq, &want_dq, |r, c| rounding(1 + k, start.at(r, c).abs() + of_root[r]));
        assert_close(&own.what, &de, &want_de, |e, _| {
            let roots = own.roots[e / k] as usize..own.roots[e / k + 1] as usize;
            rounding(3, roots.map(|root| by_pair(root, e % k)).sum())
        });
    });
}

pub fn check_nan<B: Backend>(backend: &B) {
    let mut rng = stream(5, "score nan", 0);
    for kind in kinds(&SCORES) {
        for d in [1, 16, 33].map(|dimensions| entity_width(kind, dimensions)) {
            let mut q = queries(&mut rng, kind, 6, d);
            let mut e = entities(&mut rng, &q, 9, d);
            q.set(2, below(&mut rng, q.cols as u64) as usize, f64::NAN);
            e.set(7, below(&mut rng, d as u64) as usize, f64::NAN);
            let scores = scores(backend, kind, &q, &e);
            for i in 0..6 {
                for j in 0..9 {
                    let expected = i == 2 || j == 7;
                    assert_eq!(scores.at(i, j).is_nan(), expected, "{kind:?}, d {d}, [{i}, {j}]");
                }
            }
        }
    }
}

/// A pair's score is the same bits wherever it stands in a matrix of scores, and alone.
pub fn check_bits<B: Backend>(backend: &B) {
    let mut rng = stream(5, "score bits", 0);
    let small = DIMENSIONS.map(|d| (7, 19, d));
    // The last two are large enough for any tile.
    let shapes: Vec<_> =
        small.into_iter().chain([(70, 130, 33), (65, 33_000, 18), (65, 33_000, 24)]).collect();
    for (kind, &(num_queries, num_entities, dimensions)) in
        kinds(&SCORES).flat_map(|k| shapes.iter().map(move |s| (k, s)))
    {
        let d = entity_width(kind, dimensions);
        let q = Array::new(num_queries, kind.query_width(d), |_, _| full(&mut rng));
        let e = Array::new(num_entities, d, |_, _| full(&mut rng));
        let together = scores(backend, kind, &q, &e);
        let pairs: Vec<(usize, usize)> = (0..500)
            .map(|_| {
                (below(&mut rng, num_queries as u64) as usize, below(&mut rng, num_entities as u64) as usize)
            })
            .chain([(num_queries - 1, num_entities - 1)])
            .collect();
        let alone = Own {
            what: String::new(),
            kind,
            roots: (0..=pairs.len() as u32).collect(),
            candidates: 1,
            queries: Array::new(pairs.len(), q.cols, |p, k| q.at(pairs[p].0, k)),
            entities: Array::new(pairs.len(), d, |p, k| e.at(pairs[p].1, k)),
        };
        let alone = alone.scores(backend);
        for (p, &(i, j)) in pairs.iter().enumerate() {
            let bits = [alone.at(p, 0), together.at(i, j)].map(f64::to_bits);
            assert_eq!(bits[0], bits[1], "{kind:?}, {num_queries} x {num_entities} x {d}, [{i}, {j}]");
        }
    }
}
