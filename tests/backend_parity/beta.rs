//! Scores by the divergence of Beta distributions.

use crate::array::*;
use crate::common::cases::BETA;
use crate::score::backward;
use smore::engine::backend::{Backend, RankCount, RankTask, Reference};
use smore::engine::program::ops::score::{PerQueryScores, PerQueryScoresBackward};
use smore::engine::rng::{Rng, below, stream};

/// A parameter, spread evenly over the logarithms of `low..high`.
fn parameter(rng: &mut Rng, [low, high]: [f64; 2]) -> f64 {
    low * (high / low).powf((random(rng) + 1.0) / 2.0)
}

/// Parameters of queries that are met, and the widest that are promised.
pub const USUAL: [f64; 2] = [0.05, 20.0];
const WIDE: [f64; 2] = [0.05, 1e4];

/// Query rows.
pub fn queries(rng: &mut Rng, rows: usize, d: usize, range: [f64; 2]) -> Array {
    Array::new(rows, 2 * d, |_, _| parameter(rng, range))
}

/// Entity rows, some of them near a query or equal to one, some below the least parameter.
pub fn entities(rng: &mut Rng, queries: &Array, rows: usize, d: usize, range: [f64; 2]) -> Array {
    Array::new(rows, 2 * d, |e, k| match e % 4 {
        _ if below(rng, 16) == 0 => -1.5,
        0 if queries.rows > 0 => queries.at(e % queries.rows, k) - 1.0,
        1 if queries.rows > 0 => queries.at(e % queries.rows, k) * (1.0 + random(rng) * 0.01) - 1.0,
        _ => parameter(rng, range) - 1.0,
    })
}

fn scores<B: Backend>(backend: &B, q: &Array, e: &Array) -> Array {
    crate::score::scores(backend, BETA, q, e)
}

/// Queries, entities, dimensions.
const SHAPES: [(usize, usize, usize); 14] = [
    (0, 5, 3),
    (1, 1, 1),
    (2, 3, 4),
    (3, 63, 5),
    (5, 64, 8),
    (5, 65, 17),
    (64, 6, 33),
    (65, 7, 3),
    (66, 130, 16),
    (67, 5, 7),
    (4, 70, 64),
    (7, 9, 100),
    (3, 6, 400),
    (9, 0, 2),
];

/// The divergence is accurate to float32 itself, also where it is small and the parameters are large: no tolerance
/// grows with the terms that cancel.
pub fn check_scores<B: Backend>(backend: &B) {
    let mut rng = stream(6, "beta scores", 0);
    for range in [USUAL, WIDE] {
        for (num_queries, num_entities, d) in SHAPES {
            let q = queries(&mut rng, num_queries, d, range);
            let e = entities(&mut rng, &q, num_entities, d, range);
            let what = format!("{range:?}, {num_queries} x {num_entities} x {d}");
            let want = scores(&Reference, &q, &e);
            let tolerance = |i: usize, j: usize| 2.0 * f64::from(f32::EPSILON) * want.at(i, j).abs() + 1e-7;
            assert_close(&what, &scores(backend, &q, &e), &want, tolerance);
        }
    }
    // An entity that is the query scores the margin, to the last bit, whatever its size.
    for size in [0.05, 1.0, 30.0, 1e4] {
        let q = Array::new(3, 800, |_, _| f64::from(parameter(&mut rng, [size, 2.0 * size]) as f32));
        let e = Array::new(3, 800, |i, k| q.at(i, k) - 1.0);
        // Only rows whose x + 1 is the parameter itself are equal: keep those of the grid of x.
        let q = Array::new(3, 800, |i, k| e.at(i, k) + 1.0);
        let s = scores(backend, &q, &e);
        for i in 0..3 {
            assert!((s.at(i, i) - 60.0).abs() < 1e-3, "{size}: {}", s.at(i, i));
        }
    }
}

/// Weights as those of a batch: most positive, some of masked pairs.
fn weights(rng: &mut Rng, rows: usize, cols: usize) -> Array {
    Array::new(rows, cols, |_, _| if below(rng, 4) == 0 { 0.0 } else { random(rng) + 0.5 })
}

/// How far gradients may be off per unit of weight, relative to the terms that they are sums of: by query
/// parameter k and by entity parameter k of a pair.
pub fn sensitivity(q: &[f64], e: &[f64], k: usize) -> [f64; 2] {
    let d = q.len() / 2;
    let at = |row: &[f64], k: usize| [row[k], row[(k + d) % (2 * d)]];
    let [x, y] = at(e, k).map(|x| (x + 1.0).max(0.05));
    let [alpha, beta] = at(q, k);
    // Bounds of psi(x) - psi(x + y) and of psi'(x).
    let f = |x: f64, y: f64| 1.0 / x + (1.0 + y / x).ln() + 1e-3;
    let slope = |x: f64| 1.0 / x + 1.0 / (x * x);
    [f(x, y) + f(alpha, beta), (alpha + x) * slope(x) + (alpha + x + beta + y) * slope(x + y)]
}

pub fn check_scores_backward<B: Backend>(backend: &B) {
    let mut rng = stream(6, "beta gradients", 0);
    for range in [USUAL, WIDE] {
        for (num_queries, num_entities, d) in SHAPES {
            let q = queries(&mut rng, num_queries, d, range);
            let e = entities(&mut rng, &q, num_entities, d, range);
            let s = scores(&Reference, &q, &e).rounded();
            let w = weights(&mut rng, num_queries, num_entities);
            let (dq, de) = backward(backend, BETA, [&q, &e, &s, &w]);
            let (want_dq, want_de) = backward(&Reference, BETA, [&q, &e, &s, &w]);
            let by = |i: usize, j: usize, k: usize, side: usize| {
                w.at(i, j).abs() * sensitivity(q.row(i), e.row(j), k)[side]
            };
            let what = format!("{range:?}, {num_queries} x {num_entities} x {d}");
            assert_close(&format!("{what}, queries"), &dq, &want_dq, |i, k| {
                rounding(num_entities, (0..num_entities).map(|j| by(i, j, k, 0)).sum())
            });
            assert_close(&format!("{what}, entities"), &de, &want_de, |j, k| {
                rounding(num_queries, (0..num_queries).map(|i| by(i, j, k, 1)).sum())
            });
        }
    }
}

/// Queries of 1 to 3 roots with candidates of their own: scores have the bits of a ranking, gradients are
/// those of the reference and are added to what a query already has.
pub fn check_own<B: Backend>(backend: &B) {
    let mut rng = stream(6, "beta own", 0);
    for (count, candidates, d) in
        [(1, 1, 3), (5, 1, 17), (67, 1, 8), (4, 3, 5), (3, 70, 4), (6, 16, 33), (0, 2, 2)]
    {
        let roots = segments(&mut rng, count, 3);
        let num_roots = roots[count] as usize;
        let q = queries(&mut rng, num_roots, d, USUAL);
        let e = entities(&mut rng, &q, count * candidates, d, USUAL);
        let what = format!("{count} queries x {candidates} x {d}");
        let all = scores(backend, &q, &e);
        let mut own = Array::junk(num_roots, candidates).on(backend);
        let index = backend.index(&roots).unwrap();
        backend.run(PerQueryScores {
            kind: BETA,
            queries: q.on(backend).mat(),
            entities: e.on(backend).mat(),
            roots: &index,
            out: own.mat_mut(),
        });
        let query = |root: usize| roots.partition_point(|&r| r as usize <= root) - 1;
        let own = own.read().rounded();
        let want = Array::new(num_roots, candidates, |r, n| all.at(r, query(r) * candidates + n));
        assert_same(&what, &own, &want);

        let w = weights(&mut rng, num_roots, candidates);
        let start = Array::random(&mut rng, num_roots, 2 * d, 1.0);
        let s = own.clone();
        fn run<B: Backend>(backend: &B, roots: &[u32], [q, e, s, w, start]: [&Array; 5]) -> (Array, Array) {
            let mut dq = start.on(backend);
            let mut de = Array::junk(e.rows, e.cols).on(backend);
            let [q, e, s, w] = [q, e, s, w].map(|a| a.on(backend));
            let index = backend.index(roots).unwrap();
            let (dq_out, de_out) = (dq.mat_mut(), de.mat_mut());
            backend.run(PerQueryScoresBackward {
                kind: BETA,
                queries: q.mat(),
                entities: e.mat(),
                roots: &index,
                scores: s.mat(),
                weights: w.mat(),
                dqueries: dq_out,
                dentities: de_out,
            });
            (dq.read(), de.read())
        }
        let (dq, de) = run(backend, &roots, [&q, &e, &s, &w, &start]);
        let (want_dq, want_de) = run(&Reference, &roots, [&q, &e, &s, &w, &start]);
        let by = |r: usize, n: usize, k: usize, side: usize| {
            w.at(r, n).abs() * sensitivity(q.row(r), e.row(query(r) * candidates + n), k)[side]
        };
        assert_close(&what, &dq, &want_dq, |r, k| {
            rounding(
                1 + candidates,
                start.at(r, k).abs() + (0..candidates).map(|n| by(r, n, k, 0)).sum::<f64>(),
            )
        });
        assert_close(&what, &de, &want_de, |e, k| {
            let roots = roots[e / candidates] as usize..roots[e / candidates + 1] as usize;
            rounding(3, roots.map(|r| by(r, e % candidates, k, 1)).sum())
        });
    }
}

/// Ranks are those that the backend's per-query scores give by plain counting: with ties, filters, roots and NaN.
pub fn check_rank<B: Backend>(backend: &B) {
    let mut rng = stream(6, "beta rank", 0);
    let mut ties = 0;
    for (num_queries, num_entities, d, arity) in
        [(1, 1, 1, 1), (9, 130, 7, 2), (66, 65, 3, 3), (130, 300, 2, 1), (3, 700, 33, 2), (0, 5, 2, 1)]
    {
        let roots = segments(&mut rng, num_queries, arity);
        let num_roots = roots[num_queries] as usize;
        let mut q = queries(&mut rng, num_roots, d, USUAL);
        let mut e = entities(&mut rng, &q, num_entities, d, USUAL);
        for i in 1..num_entities {
            let from = below(&mut rng, i as u64) as usize;
            match below(&mut rng, 8) {
                0 | 1 => (0..2 * d).for_each(|k| e.set(i, k, e.at(from, k))),
                2 => e.set(i, below(&mut rng, 2 * d as u64) as usize, f64::NAN),
                _ => {}
            }
        }
        if num_roots > 3 {
            q.set(1, 0, f64::NAN);
        }
        let (mut target_offsets, mut filter_offsets) = (vec![0u32], vec![0u32]);
        let (mut targets, mut filter) = (Vec::new(), Vec::new());
        for i in 0..num_queries {
            targets.extend(distinct(&mut rng, (i % 5).min(num_entities), num_entities));
            let filtered = below(&mut rng, num_entities as u64 / 2 + 1) as usize;
            // In any order.
            filter.extend(distinct(&mut rng, filtered, num_entities));
            target_offsets.push(targets.len() as u32);
            filter_offsets.push(filter.len() as u32);
        }
        let (on_q, on_e) = (q.on(backend), e.on(backend));
        let task = RankTask {
            root_offsets: &roots,
            queries: on_q.mat(),
            target_offsets: &target_offsets,
            targets: &targets,
            filter_offsets: &filter_offsets,
            filter: &filter,
        };
        let got = backend.rank(BETA, task, on_e.mat()).unwrap();
        let all = scores(backend, &q, &e);
        let mut got = got.into_iter();
        for i in 0..num_queries {
            let best = |entity: usize| {
                (roots[i]..roots[i + 1]).map(|r| all.at(r as usize, entity)).fold(f64::NAN, f64::max)
            };
            let filter = &filter[filter_offsets[i] as usize..filter_offsets[i + 1] as usize];
            for &target in &targets[target_offsets[i] as usize..target_offsets[i + 1] as usize] {
                let threshold = best(target as usize);
                let mut want = RankCount::default();
                for entity in (0..num_entities as u32).filter(|e| *e != target && !filter.contains(e)) {
                    let score = best(entity as usize);
                    want.better += u32::from(score > threshold || threshold.is_nan());
                    want.equal += u32::from(score == threshold);
                }
                ties += want.equal;
                assert_eq!(
                    got.next(),
                    Some(want),
                    "{num_queries} x {num_entities} x {d}, query {i}, {target}"
                );
            }
        }
        assert_eq!(got.next(), None);
    }
    assert!(ties > 20, "too few ties to test them");
}

pub fn check_nan<B: Backend>(backend: &B) {
    let mut rng = stream(6, "beta nan", 0);
    for d in [1, 4, 17] {
        let mut q = queries(&mut rng, 6, d, USUAL);
        let mut e = entities(&mut rng, &q, 9, d, USUAL);
        q.set(2, below(&mut rng, 2 * d as u64) as usize, f64::NAN);
        e.set(7, below(&mut rng, 2 * d as u64) as usize, f64::NAN);
        let scores = scores(backend, &q, &e);
        for i in 0..6 {
            for j in 0..9 {
                assert_eq!(scores.at(i, j).is_nan(), i == 2 || j == 7, "d {d}, [{i}, {j}]");
            }
        }
    }
}
