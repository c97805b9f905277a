//! Scores of all pairs and of given pairs, forward and backward.

use crate::array::*;
use smore::backend::{Backend, Reference, Scoring};
use smore::rng::{Rng, below, stream};

pub const KINDS: [Scoring; 5] = [
    Scoring::L1 { gamma: 24.0 },
    Scoring::L2 { gamma: 24.0 },
    Scoring::Box { gamma: 24.0, inside: 0.02 },
    Scoring::Box { gamma: 12.0, inside: 1.0 },
    Scoring::Dot,
];

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
    for kind in KINDS {
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
fn magnitude(kind: Scoring, q: &[f64], e: &[f64]) -> f64 {
    let distances = q.iter().zip(e).map(|(q, e)| (q - e).abs());
    match kind {
        Scoring::L1 { gamma } | Scoring::L2 { gamma } => f64::from(gamma) + distances.sum::<f64>(),
        Scoring::Box { gamma, .. } => {
            let offsets = q[e.len()..].iter().map(|o| 2.0 * o.abs());
            f64::from(gamma) + distances.chain(offsets).sum::<f64>()
        }
        Scoring::Dot => q.iter().zip(e).map(|(q, e)| (q * e).abs()).sum(),
    }
}

/// How far the gradient of a weighted score may be off, per unit of its weight: a column's derivative
/// is below 2 for all scores. L2's divides by the distance, which is known to the precision of the
/// score.
fn sensitivity(kind: Scoring, q: &[f64], e: &[f64]) -> f64 {
    let Scoring::L2 { gamma } = kind else { return 2.0 };
    let distance = q.iter().zip(e).map(|(q, e)| (q - e) * (q - e)).sum::<f64>().sqrt();
    if distance > 0.0 { 1.0 + f64::from(gamma) / distance } else { 1.0 }
}

fn scores<B: Backend>(backend: &B, kind: Scoring, q: &Array, e: &Array) -> Array {
    let mut out = Array::junk(q.rows, e.rows).on(backend);
    backend.scores(kind, q.on(backend).mat(), e.on(backend).mat(), out.mat_mut());
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

pub fn check_scores_backward<B: Backend>(backend: &B) {
    fn run<B: Backend>(backend: &B, kind: Scoring, [q, e, scores, weights]: [&Array; 4]) -> (Array, Array) {
        let mut dq = Array::junk(q.rows, q.cols).on(backend);
        let mut de = Array::junk(e.rows, e.cols).on(backend);
        let [q, e, scores, weights] = [q, e, scores, weights].map(|a| a.on(backend));
        backend.scores_backward(
            kind,
            q.mat(),
            e.mat(),
            scores.mat(),
            weights.mat(),
            dq.mat_mut(),
            de.mat_mut(),
        );
        (dq.read(), de.read())
    }
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
        let (dq, de) = run(backend, kind, [&q, &e, &s, &w]);
        let (want_dq, want_de) = run(&Reference, kind, [&q, &e, &s, &w]);
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

/// A batch of pairs: 1 to 3 roots per query.
struct Pairs {
    what: String,
    kind: Scoring,
    roots: Vec<u32>,
    queries: Array,
    entities: Array,
}

fn each_pairs(mut body: impl FnMut(&mut Rng, Pairs)) {
    let mut rng = stream(5, "pairs", 0);
    for kind in KINDS {
        let shapes = COUNTS.map(|n| (n, 17)).into_iter().chain(DIMENSIONS.map(|d| (5, d)));
        for (count, d) in shapes {
            let roots = segments(&mut rng, count, 3);
            let queries = queries(&mut rng, kind, roots[count] as usize, d);
            let entities = entities(&mut rng, &queries, count, d);
            let what = format!("{kind:?}, {count} pairs x {d}");
            body(&mut rng, Pairs { what, kind, roots, queries, entities });
        }
    }
}

impl Pairs {
    fn scores<B: Backend>(&self, backend: &B) -> Array {
        let mut out = Array::junk(1, self.queries.rows).on(backend);
        let (q, e) = (self.queries.on(backend), self.entities.on(backend));
        let roots = backend.index(&self.roots).unwrap();
        backend.pair_scores(self.kind, q.mat(), e.mat(), &roots, out.mat_mut());
        out.read()
    }

    fn gradients<B: Backend>(&self, backend: &B, [s, w, start]: [&Array; 3]) -> (Array, Array) {
        let mut dq = start.on(backend);
        let mut de = Array::junk(self.entities.rows, self.entities.cols).on(backend);
        let [q, e, s, w] = [&self.queries, &self.entities, s, w].map(|a| a.on(backend));
        backend.pair_scores_backward(
            self.kind,
            q.mat(),
            e.mat(),
            &backend.index(&self.roots).unwrap(),
            s.mat(),
            w.mat(),
            dq.mat_mut(),
            de.mat_mut(),
        );
        (dq.read(), de.read())
    }

    /// The query of a root.
    fn query_of(&self, root: usize) -> usize {
        self.roots.partition_point(|&r| r as usize <= root) - 1
    }
}

pub fn check_pair_scores<B: Backend>(backend: &B) {
    each_pairs(|_, pairs| {
        let tolerance = |_, root| {
            let (q, e) = (pairs.queries.row(root), pairs.entities.row(pairs.query_of(root)));
            rounding(e.len(), magnitude(pairs.kind, q, e))
        };
        assert_close(&pairs.what, &pairs.scores(backend), &pairs.scores(&Reference), tolerance);
    });
}

pub fn check_pair_scores_backward<B: Backend>(backend: &B) {
    each_pairs(|rng, pairs| {
        let num_roots = pairs.queries.rows;
        let s = pairs.scores(&Reference).rounded();
        let w = Array::new(1, num_roots, |_, _| if below(rng, 4) == 0 { 0.0 } else { random(rng) - 0.5 });
        let start = Array::random(rng, num_roots, pairs.queries.cols, 1.0);
        let (dq, de) = pairs.gradients(backend, [&s, &w, &start]);
        let (want_dq, want_de) = pairs.gradients(&Reference, [&s, &w, &start]);
        let by_pair = |root: usize| {
            let entity = pairs.entities.row(pairs.query_of(root));
            w.at(0, root).abs() * sensitivity(pairs.kind, pairs.queries.row(root), entity)
        };
        assert_close(&pairs.what, &dq, &want_dq, |r, k| rounding(2, start.at(r, k).abs() + by_pair(r)));
        assert_close(&pairs.what, &de, &want_de, |e, _| {
            rounding(3, (pairs.roots[e] as usize..pairs.roots[e + 1] as usize).map(by_pair).sum())
        });
    });
}

pub fn check_nan<B: Backend>(backend: &B) {
    let mut rng = stream(5, "score nan", 0);
    for kind in KINDS {
        for d in [1, 16, 33] {
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
    for (kind, &(num_queries, num_entities, d)) in
        KINDS.iter().flat_map(|&k| shapes.iter().map(move |s| (k, s)))
    {
        let q = Array::new(num_queries, kind.query_width(d), |_, _| full(&mut rng));
        let e = Array::new(num_entities, d, |_, _| full(&mut rng));
        let together = scores(backend, kind, &q, &e);
        let pairs: Vec<(usize, usize)> = (0..500)
            .map(|_| {
                (below(&mut rng, num_queries as u64) as usize, below(&mut rng, num_entities as u64) as usize)
            })
            .chain([(num_queries - 1, num_entities - 1)])
            .collect();
        let alone = Pairs {
            what: String::new(),
            kind,
            roots: (0..=pairs.len() as u32).collect(),
            queries: Array::new(pairs.len(), q.cols, |p, k| q.at(pairs[p].0, k)),
            entities: Array::new(pairs.len(), d, |p, k| e.at(pairs[p].1, k)),
        };
        let alone = alone.scores(backend);
        for (p, &(i, j)) in pairs.iter().enumerate() {
            let bits = [alone.at(0, p), together.at(i, j)].map(f64::to_bits);
            assert_eq!(bits[0], bits[1], "{kind:?}, {num_queries} x {num_entities} x {d}, [{i}, {j}]");
        }
    }
}
