//! The loss of queries with a positive and a masked pool.

use crate::array::*;
use crate::common::cases::{POOL_LOSSES, kinds};
use smore::engine::backend::{Backend, LossOptions, PoolLoss, Reference};
use smore::engine::program::ops::loss::LossOfPool;

use smore::engine::rng::{Rng, below, stream};

pub struct Case {
    pub loss: PoolLoss,
    pub temperature: Option<f32>,
    pub roots: Vec<u32>,
    pub positives: Array,
    pub scores: Array,
    pub mask: Vec<u32>,
    pub mask_words: usize,
    pub query_weights: Array,
}

pub struct Losses {
    pub losses: Array,
    pub positive_weights: Array,
    pub weights: Array,
}

impl Case {
    /// Scores of magnitude `scale`; `masked` is the share of masked entries.
    pub fn random(rng: &mut Rng, queries: usize, pool: usize, arity: usize, masked: f64, scale: f64) -> Case {
        let roots = segments(rng, queries, arity);
        let num_roots = roots[queries] as usize;
        // One word more than needed, full of ones: bits behind the pool mean nothing.
        let mask_words = pool.div_ceil(32) + 1;
        let mut mask = vec![u32::MAX; queries * mask_words];
        for q in 0..queries {
            for n in 0..pool {
                if !chance(rng, masked) {
                    mask[q * mask_words + n / 32] &= !(1 << (n % 32));
                }
            }
        }
        Case {
            loss: PoolLoss::Logistic,
            temperature: None,
            positives: Array::random(rng, 1, num_roots, scale),
            scores: Array::random(rng, num_roots, pool, scale),
            query_weights: Array::new(1, queries, |_, q| if q == 3 { 0.0 } else { random(rng) + 1.5 }),
            roots,
            mask,
            mask_words,
        }
    }

    pub fn run<B: Backend>(&self, backend: &B) -> Losses {
        let (queries, pool) = (self.roots.len() - 1, self.scores.cols);
        let mut losses = Array::junk(1, queries).on(backend);
        let mut positive_weights = Array::junk(1, self.scores.rows).on(backend);
        let mut weights = Array::junk(self.scores.rows, pool).on(backend);
        let (positives, scores) = (self.positives.on(backend), self.scores.on(backend));
        let query_weights = self.query_weights.on(backend);
        backend.run(LossOfPool {
            options: LossOptions { loss: self.loss, adversarial_temperature: self.temperature },
            roots: &backend.index(&self.roots).unwrap(),
            positives: positives.column(),
            scores: scores.mat(),
            mask: &backend.index(&self.mask).unwrap(),
            mask_words: self.mask_words,
            query_weights: query_weights.column(),
            losses: losses.column_mut(),
            positive_weights: positive_weights.column_mut(),
            weights: weights.mat_mut(),
        });
        Losses { losses: losses.read(), positive_weights: positive_weights.read(), weights: weights.read() }
    }

    /// The query of a root.
    fn query_of(&self, root: usize) -> usize {
        self.roots.partition_point(|&r| r as usize <= root) - 1
    }

    pub fn is_masked(&self, query: usize, n: usize) -> bool {
        self.mask[query * self.mask_words + n / 32] >> (n % 32) & 1 == 1
    }
}

pub fn check_loss<B: Backend>(backend: &B) {
    let mut rng = stream(6, "loss", 0);
    let sizes = COUNTS.into_iter().flat_map(|q| [0, 1, 5, 31, 32, 33, 65, 130, 1000].map(|pool| (q, pool)));
    for (i, (queries, pool)) in sizes.enumerate() {
        for (loss, temperature) in kinds(&POOL_LOSSES) {
            let masked = [0.0, 0.3, 0.95, 1.0][i % 4];
            let scale = [1.0, 8.0, 16.0, 64.0][(i / 4) % 4];
            let arity = 1 + i % 3;
            let mut case = Case::random(&mut rng, queries, pool, arity, masked, scale);
            (case.loss, case.temperature) = (loss, temperature);
            // Scores in halves of the scale now and then, so that roots are equally good.
            if i % 5 == 0 {
                case.scores = case.scores.map(|s| (s / scale * 2.0).round() * scale / 2.0);
                case.positives = case.positives.map(|s| (s / scale * 2.0).round() * scale / 2.0);
            }
            let what = format!(
                "{loss:?}, {queries} queries, pool {pool}, {temperature:?}, masked {masked}, scale {scale}, roots {arity}"
            );
            let (got, want) = (case.run(backend), case.run(&Reference));
            // The exponents of the softmax are as large as `range`, and so are what they lose.
            let exponent = if loss == PoolLoss::CrossEntropy { 1.0 } else { temperature.unwrap_or(0.0) };
            let range = 1.0 + f64::from(exponent) * 2.0 * scale;
            let weight = |q: usize| case.query_weights.at(0, q).abs();
            assert_close(&format!("{what}, losses"), &got.losses, &want.losses, |_, q| {
                rounding(pool, weight(q) * (1.0 + scale) * range)
            });
            let [(d, want_d), (w, want_w)] =
                [(&got.positive_weights, &want.positive_weights), (&got.weights, &want.weights)];
            // Only the logistic loss has a positive apart from its negatives.
            let (terms, range_of_d) = if loss == PoolLoss::Logistic { (1, 1.0) } else { (pool, range) };
            assert_close(&format!("{what}, positives"), d, want_d, |_, r| {
                rounding(terms, range_of_d * want_d.at(0, r).abs()) + 1e-37
            });
            assert_close(&format!("{what}, weights"), w, want_w, |r, n| {
                rounding(pool, range * want_w.at(r, n).abs()) + 1e-37
            });
            for r in 0..case.scores.rows {
                for n in (0..pool).filter(|&n| case.is_masked(case.query_of(r), n)) {
                    assert_eq!(w.at(r, n), 0.0, "{what}: weight of a masked entry");
                }
            }
        }
    }
}

pub fn check_nan<B: Backend>(backend: &B) {
    let mut rng = stream(6, "loss nan", 0);
    for (loss, temperature) in kinds(&POOL_LOSSES) {
        for trial in 0..300 {
            let mut case = Case::random(&mut rng, 5, 70, 3, 0.5, 8.0);
            (case.loss, case.temperature) = (loss, temperature);
            case.query_weights = case.query_weights.map(|_| 1.0);
            let clean = case.run(backend);
            let root = below(&mut rng, case.scores.rows as u64) as usize;
            let n = below(&mut rng, 70) as usize;
            let query = case.query_of(root);
            let masked = trial % 3 > 0 && case.is_masked(query, n);
            if trial % 3 > 0 {
                case.scores.set(root, n, f64::NAN);
            } else {
                case.positives.set(0, root, f64::NAN);
            }
            let what = format!("{loss:?}, NaN at root {root}, entry {n}, {temperature:?}, masked {masked}");
            let got = case.run(backend);
            for q in 0..5 {
                let nan = q == query && !masked;
                let (loss, clean) = (got.losses.at(0, q), clean.losses.at(0, q));
                assert!(if nan { loss.is_nan() } else { loss == clean }, "{what}: loss {q} is {loss}");
            }
            if masked {
                assert_same(&what, &got.weights, &clean.weights);
                assert_same(&what, &got.positive_weights, &clean.positive_weights);
            }
        }
        // Nor is it hidden where no negative is left that would tell of it.
        let mut case = Case::random(&mut rng, 3, 40, 1, 1.0, 8.0);
        (case.loss, case.temperature) = (loss, temperature);
        case.query_weights = case.query_weights.map(|_| 1.0);
        case.positives.set(0, 1, f64::NAN);
        let losses = case.run(backend).losses;
        assert_eq!([0, 1, 2].map(|q| losses.at(0, q).is_nan()), [false, true, false], "{loss:?}");
    }
}
