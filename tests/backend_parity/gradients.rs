//! Backward operations of the reference against central differences of its forward operations.
//!
//! Each test takes a fixed random linear function of an operation's output, differentiates it
//! numerically by every input, and compares with the backward operation fed with the function's
//! coefficients. Inputs stay away from the kinks of their operation, by more than the step.

use crate::array::*;
use crate::common::cases::{FUNCTIONS, PENALTIES, POOL_LOSSES, PROJECTIONS, SCORES, kinds};
use crate::loss::Case;
use crate::{linear, score};
use smore::engine::backend::*;
use smore::engine::program::ops::project::{Project, ProjectBackward};
use smore::engine::program::ops::score::{PerQueryScores, PerQueryScoresBackward};
use smore::engine::program::ops::segment::{
    Attend, AttendBackward, GatedMin, GatedMinBackward, SegmentMean, SegmentMeanBackward,
};
use smore::engine::rng::{Rng, below, stream};

const STEP: f64 = 1e-5;

/// Holds `analytic` to the differences of `f` by `inputs[which]`.
#[track_caller]
fn check(what: &str, inputs: &[Array], which: usize, analytic: &Array, f: &dyn Fn(&[Array]) -> f64) {
    let mut inputs = inputs.to_vec();
    let mut numeric = analytic.clone();
    for i in 0..analytic.rows {
        for j in 0..analytic.cols {
            let x = inputs[which].at(i, j);
            let mut at = |x: f64| {
                inputs[which].set(i, j, x);
                f(&inputs)
            };
            let (above, below) = (at(x + STEP), at(x - STEP));
            at(x);
            numeric.set(i, j, (above - below) / (2.0 * STEP));
        }
    }
    assert_close(&format!("{what}, input {which}"), analytic, &numeric, |i, j| {
        1e-7 * (1.0 + analytic.at(i, j).abs())
    });
}

/// Odd multiples of 0.05 in -1..1: never 0, and never equal to an even multiple.
fn odd(rng: &mut Rng) -> f64 {
    (2 * below(rng, 20) as i64 - 19) as f64 * 0.05
}

/// Multiples of 0.1 in -1..=1.
fn even(rng: &mut Rng) -> f64 {
    (below(rng, 21) as f64 - 10.0) * 0.1
}

#[test]
fn project_backward_is_the_derivative_of_project() {
    let mut rng = stream(20, "project", 0);
    for kind in kinds(&PROJECTIONS) {
        // Slots 1 and 3 are read, 4 and 5 written.
        let inputs = vec![3, 1];
        let slots = Array::new(6, 6, |_, _| odd(&mut rng));
        let relations = Array::new(2, kind.relation_width(6), |_, _| odd(&mut rng));
        let coefficients = Array::new(6, 6, |i, _| if i >= 4 { random(&mut rng) } else { 0.0 });
        let forward = |x: &[Array]| {
            let mut slots = x[0].on(&Reference);
            Reference.run(Project {
                kind,
                inputs: &inputs,
                output: 4,
                count: 2,
                groups: None,
                relations: x[1].on(&Reference).mat(),
                slots: slots.mat_mut(),
            });
            slots.read().dot(&coefficients)
        };
        let [given, r] = [&slots, &relations].map(|a| a.on(&Reference));
        let mut grads = coefficients.on(&Reference);
        let mut relation_grads = Array::junk(2, relations.cols).on(&Reference);
        let (d, dr) = (grads.mat_mut(), relation_grads.mat_mut());
        Reference.run(ProjectBackward {
            kind,
            inputs: &inputs,
            output: 4,
            count: 2,
            groups: None,
            slots: given.mat(),
            relations: r.mat(),
            grads: d,
            relation_grads: dr,
        });
        let mut grads = grads.read();
        // The slots written have no influence: their old values are lost.
        (4..6).for_each(|i| (0..6).for_each(|k| grads.set(i, k, 0.0)));
        let given = [slots, relations];
        check(&format!("{kind:?}"), &given, 0, &grads, &forward);
        check(&format!("{kind:?}"), &given, 1, &relation_grads.read(), &forward);
    }
}

#[test]
fn the_gradient_of_a_shared_matrix_is_that_of_all_its_uses() {
    let mut rng = stream(20, "matrices", 0);
    // Relations 0 and 2 of three are used, by uses 1, and 0 and 2.
    let groups =
        DeviceGroups::<Reference> { ids: vec![0, 2], offsets: vec![0, 1, 3], members: vec![1, 0, 2] };
    let inputs = vec![3, 1, 0];
    let given = [Array::new(7, 5, |_, _| odd(&mut rng)), Array::new(3, 25, |_, _| odd(&mut rng))];
    let coefficients = Array::new(7, 5, |i, _| if i >= 4 { random(&mut rng) } else { 0.0 });
    let forward = |x: &[Array]| {
        let mut slots = x[0].on(&Reference);
        Reference.run(Project {
            kind: Projection::Matrix,
            inputs: &inputs,
            output: 4,
            count: 3,
            groups: Some(&groups),
            relations: x[1].on(&Reference).mat(),
            slots: slots.mat_mut(),
        });
        slots.read().dot(&coefficients)
    };
    let [slots, matrices] = [0, 1].map(|i| given[i].on(&Reference));
    let (mut grads, mut dmatrices) = (coefficients.on(&Reference), Array::zeros(3, 25).on(&Reference));
    let (d, dm) = (grads.mat_mut(), dmatrices.mat_mut());
    Reference.run(ProjectBackward {
        kind: Projection::Matrix,
        inputs: &inputs,
        output: 4,
        count: 3,
        groups: Some(&groups),
        slots: slots.mat(),
        relations: matrices.mat(),
        grads: d,
        relation_grads: dm,
    });
    let mut grads = grads.read();
    (4..7).for_each(|i| (0..5).for_each(|k| grads.set(i, k, 0.0)));
    check("matrices", &given, 0, &grads, &forward);
    check("matrices", &given, 1, &dmatrices.read(), &forward);
}

#[test]
fn linear_backward_is_the_derivative_of_linear() {
    let mut rng = stream(20, "linear", 0);
    for f in [Activation::None, Activation::Relu] {
        // Outputs are odd multiples of 0.0025 or so: inputs even, weights even, biases odd.
        let x = Array::new(5, 4, |_, _| even(&mut rng));
        let w = Array::new(3, 4, |_, _| even(&mut rng));
        let b = Array::new(1, 3, |_, _| even(&mut rng) + 0.005);
        let coefficients = Array::random(&mut rng, 5, 3, 1.0);
        let output = |x: &[Array]| linear::run(&Reference, &x[0], &x[1], &x[2], f);
        let inputs = [x, w, b];
        let case = linear::Backward {
            x: inputs[0].clone(),
            w: inputs[1].clone(),
            out: output(&inputs),
            dout: coefficients.clone(),
            dw: Array::zeros(3, 4),
            db: Array::zeros(1, 3),
        };
        let [_, dx, dw, db] = linear::run_backward(&Reference, &case, f);
        for (which, analytic) in [dx, dw, db].iter().enumerate() {
            let forward = |x: &[Array]| output(x).dot(&coefficients);
            check(&format!("{f:?}"), &inputs, which, analytic, &forward);
        }
    }
}

#[test]
fn fold_is_the_derivative_of_unfold() {
    use crate::convolution::{fold, unfold};
    let mut rng = stream(20, "windows", 0);
    let window = ConvolutionSize { height: 4, width: 5, side: 3 };
    let images = Array::random(&mut rng, 2, window.pixels(), 1.0);
    let coefficients = Array::random(&mut rng, 2 * window.positions(), 9, 1.0);
    let forward = |x: &[Array]| unfold(&Reference, window, &x[0]).dot(&coefficients);
    check("unfold", &[images], 0, &fold(&Reference, window, &coefficients), &forward);
}

#[test]
fn normalise_backward_is_the_derivative_through_mean_and_variance_too() {
    use crate::normalise::{gradient, mean_variance, normalise};
    let mut rng = stream(20, "normalise", 0);
    for f in [Activation::None, Activation::Relu] {
        let inputs = [Array::random(&mut rng, 6, 3, 2.0), Array::random(&mut rng, 2, 3, 0.5)];
        let coefficients = Array::random(&mut rng, 6, 3, 1.0);
        let output = |x: &[Array]| normalise(&Reference, &x[0], &mean_variance(&Reference, &x[0]), &x[1], f);
        let (of, out) = (mean_variance(&Reference, &inputs[0]), output(&inputs));
        let [dx, daffine] = gradient(&Reference, [&inputs[0], &of, &inputs[1], &out], f, &coefficients);
        for (which, analytic) in [dx, daffine].into_iter().enumerate() {
            check(&format!("{f:?}"), &inputs, which, &analytic, &|x| output(x).dot(&coefficients));
        }
    }
}

/// Segments of arity 1 to 5.
const OFFSETS: [u32; 6] = [0, 1, 3, 6, 10, 15];

#[test]
fn attend_backward_is_the_derivative_of_attend() {
    let mut rng = stream(20, "attend", 0);
    let offsets = OFFSETS.to_vec();
    let x = Array::random(&mut rng, 15, 3, 1.0);
    let logits = Array::random(&mut rng, 15, 3, 2.0);
    let coefficients = Array::random(&mut rng, 5, 3, 1.0);
    let run = |x: &[Array]| {
        let mut weights = x[1].on(&Reference);
        let mut out = Array::junk(5, 3).on(&Reference);
        Reference.run(Attend {
            x: x[0].on(&Reference).mat(),
            offsets: &offsets,
            weights: weights.mat_mut(),
            out: out.mat_mut(),
        });
        (weights, out.read().dot(&coefficients))
    };
    let inputs = [x, logits];
    let mut weights = run(&inputs).0;
    let mut dx = Array::junk(15, 3).on(&Reference);
    let (x, dout) = (inputs[0].on(&Reference), coefficients.on(&Reference));
    Reference.run(AttendBackward {
        x: x.mat(),
        offsets: &offsets,
        dout: dout.mat(),
        weights: weights.mat_mut(),
        dx: dx.mat_mut(),
    });
    check("attend", &inputs, 0, &dx.read(), &|x| run(x).1);
    check("attend", &inputs, 1, &weights.read(), &|x| run(x).1);
}

#[test]
fn segment_mean_backward_is_the_derivative_of_segment_mean() {
    let mut rng = stream(20, "mean", 0);
    let offsets = OFFSETS.to_vec();
    let coefficients = Array::random(&mut rng, 5, 3, 1.0);
    let forward = |x: &[Array]| {
        let mut out = Array::junk(5, 3).on(&Reference);
        Reference.run(SegmentMean { x: x[0].on(&Reference).mat(), offsets: &offsets, out: out.mat_mut() });
        out.read().dot(&coefficients)
    };
    let mut dx = Array::junk(15, 3).on(&Reference);
    Reference.run(SegmentMeanBackward {
        dout: coefficients.on(&Reference).mat(),
        offsets: &offsets,
        dx: dx.mat_mut(),
    });
    check("mean", &[Array::random(&mut rng, 15, 3, 1.0)], 0, &dx.read(), &forward);
}

#[test]
fn gated_min_backward_is_the_derivative_of_gated_min() {
    let mut rng = stream(20, "gated min", 0);
    let offsets = OFFSETS.to_vec();
    // No two entries of a column are closer than 0.01.
    let x = Array::new(15, 3, |i, _| even(&mut rng) + i as f64 * 0.01);
    let gate = Array::random(&mut rng, 5, 3, 2.0);
    let coefficients = Array::random(&mut rng, 5, 3, 1.0);
    let forward = |x: &[Array]| {
        let mut out = Array::junk(5, 3).on(&Reference);
        let [x, gate] = [0, 1].map(|i| x[i].on(&Reference));
        Reference.run(GatedMin { x: x.mat(), offsets: &offsets, gate: gate.mat(), out: out.mat_mut() });
        out.read().dot(&coefficients)
    };
    let (mut dgate, mut dx) = (gate.on(&Reference), Array::junk(15, 3).on(&Reference));
    let (rows, dout) = (x.on(&Reference), coefficients.on(&Reference));
    Reference.run(GatedMinBackward {
        x: rows.mat(),
        offsets: &offsets,
        dout: dout.mat(),
        gate: dgate.mat_mut(),
        dx: dx.mat_mut(),
    });
    let inputs = [x, gate];
    check("gated min", &inputs, 0, &dx.read(), &forward);
    check("gated min", &inputs, 1, &dgate.read(), &forward);
}

/// Queries and entities of which no coordinates are equal, no offset is 0, and no entity is on the
/// border of a box: distances are odd multiples of 0.05, offsets end in 0.02.
fn embeddings(rng: &mut Rng, kind: Scoring, queries: usize, entities: usize) -> [Array; 2] {
    let d = crate::score::entity_width(kind, 5);
    // Products of three numbers: any are away from where a sign changes.
    if let Scoring::Cone { .. } = kind {
        let queries = Array::random(rng, queries, kind.query_width(d), 1.0);
        return [queries, Array::random(rng, entities, d, 1.0)];
    }
    let queries =
        Array::new(queries, kind.query_width(d), |_, k| if k < d { odd(rng) } else { even(rng) + 0.02 });
    [queries, Array::new(entities, d, |_, _| even(rng))]
}

/// Holds the gradients of scores to their differences by queries and entities.
fn check_scores(what: &str, kind: Scoring, inputs: [Array; 2], coefficients: &Array) {
    let scores = |x: &[Array]| score::scores(&Reference, kind, &x[0], &x[1]);
    let (dq, de) =
        score::backward(&Reference, kind, [&inputs[0], &inputs[1], &scores(&inputs), coefficients]);
    for (which, analytic) in [dq, de].iter().enumerate() {
        check(what, &inputs, which, analytic, &|x: &[Array]| scores(x).dot(coefficients));
    }
}

#[test]
fn scores_backward_is_the_derivative_of_scores() {
    let mut rng = stream(20, "scores", 0);
    for kind in kinds(&SCORES) {
        let inputs = embeddings(&mut rng, kind, 4, 3);
        let coefficients = Array::random(&mut rng, 4, 3, 1.0);
        check_scores(&format!("{kind:?}"), kind, inputs, &coefficients);
    }
}

#[test]
fn per_query_scores_backward_is_the_derivative_of_per_query_scores() {
    let mut rng = stream(20, "own", 0);
    let roots = vec![0, 2, 3, 6];
    for (kind, k) in kinds(&SCORES).flat_map(|kind| [(kind, 1), (kind, 4)]) {
        let inputs = embeddings(&mut rng, kind, 6, 3 * k);
        let coefficients = Array::random(&mut rng, 6, k, 1.0);
        let scores = |x: &[Array]| {
            let mut out = Array::junk(6, k).on(&Reference);
            let [q, e] = [0, 1].map(|i| x[i].on(&Reference));
            Reference.run(PerQueryScores {
                kind,
                queries: q.mat(),
                entities: e.mat(),
                roots: &roots,
                out: out.mat_mut(),
            });
            out.read()
        };
        let [q, e] = inputs.each_ref().map(|a| a.on(&Reference));
        let (s, w) = (scores(&inputs).on(&Reference), coefficients.on(&Reference));
        let mut dq = Array::zeros(6, inputs[0].cols).on(&Reference);
        let mut de = Array::junk(3 * k, inputs[1].cols).on(&Reference);
        let (dq_out, de_out) = (dq.mat_mut(), de.mat_mut());
        Reference.run(PerQueryScoresBackward {
            kind,
            queries: q.mat(),
            entities: e.mat(),
            roots: &roots,
            scores: s.mat(),
            weights: w.mat(),
            dqueries: dq_out,
            dentities: de_out,
        });
        let forward = |x: &[Array]| scores(x).dot(&coefficients);
        check(&format!("{kind:?}, {k}"), &inputs, 0, &dq.read(), &forward);
        check(&format!("{kind:?}, {k}"), &inputs, 1, &de.read(), &forward);
    }
}

/// The best score of each of the pool's entries among a query's roots.
fn best_scores(case: &Case, scores: &Array, query: usize) -> Vec<f64> {
    let roots = case.roots[query] as usize..case.roots[query + 1] as usize;
    (0..scores.cols)
        .map(|n| roots.clone().map(|r| scores.at(r, n)).fold(f64::NEG_INFINITY, f64::max))
        .collect()
}

/// The self-adversarial weights of each query's pool.
fn shares(case: &Case) -> Vec<Vec<f64>> {
    let temperature = f64::from(case.temperature.unwrap_or(0.0));
    (0..case.roots.len() - 1)
        .map(|q| {
            let mut shares = best_scores(case, &case.scores, q);
            for (n, share) in shares.iter_mut().enumerate() {
                *share = if case.is_masked(q, n) { 0.0 } else { (temperature * *share).exp() };
            }
            let total: f64 = shares.iter().sum();
            shares.iter().map(|share| if total > 0.0 { share / total } else { 0.0 }).collect()
        })
        .collect()
}

/// The sum of the losses, written from the definition, with given weights of the negatives.
fn total_loss(case: &Case, positives: &Array, scores: &Array, shares: &[Vec<f64>]) -> f64 {
    let log_sigmoid = |x: f64| -(1.0 + (-x).exp()).ln();
    (0..shares.len())
        .map(|q| {
            let best = best_scores(case, scores, q);
            let roots = case.roots[q] as usize..case.roots[q + 1] as usize;
            let positive = roots.map(|r| positives.at(0, r)).fold(f64::NEG_INFINITY, f64::max);
            let sum = |term: &dyn Fn(f64, f64) -> f64| -> f64 {
                shares[q].iter().zip(&best).filter(|(w, _)| **w > 0.0).map(|(&w, &s)| term(w, s)).sum()
            };
            let loss = match case.loss {
                PoolLoss::Logistic => -0.5 * (log_sigmoid(positive) + sum(&|w, s| w * log_sigmoid(-s))),
                PoolLoss::CrossEntropy => (positive.exp() + sum(&|_, s| s.exp())).ln() - positive,
                PoolLoss::Margin { margin } => sum(&|w, s| w * (f64::from(margin) + s - positive).max(0.0)),
            };
            case.query_weights.at(0, q) * loss
        })
        .sum()
}

#[test]
fn loss_weights_are_the_derivatives_of_the_loss_at_fixed_adversarial_weights() {
    let mut rng = stream(20, "loss", 0);
    for (loss, temperature) in kinds(&POOL_LOSSES) {
        for masked in [0.0, 0.4, 1.0] {
            let mut case = Case::random(&mut rng, 5, 11, 3, masked, 4.0);
            (case.loss, case.temperature) = (loss, temperature);
            // The roots' scores are never closer than 0.01, and no margin has them as its multiples plus a positive.
            for (r, n) in (0..case.scores.rows).flat_map(|r| (0..11).map(move |n| (r, n))) {
                case.scores.set(r, n, 2.0 * even(&mut rng) + 0.01 * r as f64);
                case.positives.set(0, r, 2.0 * even(&mut rng) + 0.01 * r as f64 + 0.005);
            }
            let got = case.run(&Reference);
            let shares = shares(&case);
            let total: f64 = got.losses.row(0).iter().sum();
            let expected = total_loss(&case, &case.positives, &case.scores, &shares);
            assert!((total - expected).abs() < 1e-12 * (1.0 + expected), "{total}, not {expected}");
            let forward = |x: &[Array]| total_loss(&case, &x[0], &x[1], &shares);
            let inputs = [case.positives.clone(), case.scores.clone()];
            let what = format!("{loss:?}, {temperature:?}, masked {masked}");
            check(&what, &inputs, 0, &got.positive_weights, &forward);
            check(&what, &inputs, 1, &got.weights, &forward);
        }
    }
}

#[test]
fn gradients_of_penalties_are_their_derivatives() {
    let mut rng = stream(20, "penalties", 0);
    for penalty in kinds(&PENALTIES) {
        let weights = Array::new(1, 3, |_, i| [0.25, 1.5, 0.75][i]);
        let run = |x: &Array| crate::penalty::run(&Reference, penalty, &weights, x, &Array::zeros(3, 6));
        let x = Array::new(3, 6, |_, _| odd(&mut rng));
        let [grads, penalties] = run(&x);
        // Written from the definition.
        let root = |i: usize, k: usize| x.at(i, k).hypot(x.at(i, k + 3));
        for i in 0..3 {
            let sum: f64 = match penalty {
                Penalty::Squares => x.row(i).iter().map(|x| x * x).sum(),
                Penalty::Cubes => x.row(i).iter().map(|x| x.abs().powi(3)).sum(),
                Penalty::ComplexCubes => (0..3).map(|k| root(i, k).powi(3)).sum(),
            };
            let (got, want) = (penalties.at(0, i), weights.at(0, i) * sum);
            assert!((got - want).abs() < 1e-12, "{penalty:?}: {got}, not {want}");
        }
        let total = |x: &[Array]| run(&x[0])[1].row(0).iter().sum::<f64>();
        check(&format!("{penalty:?}"), std::slice::from_ref(&x), 0, &grads, &total);
    }
}

#[test]
fn elementwise_backward_is_the_derivative_of_elementwise() {
    let mut rng = stream(20, "elementwise", 0);
    for f in kinds(&FUNCTIONS) {
        // Away from 0, and from -0.95 by more than the step.
        let [inputs, values] = f.parts();
        let sign = |rng: &mut Rng| if below(rng, 3) == 0 { -1.02 } else { 1.02 };
        let x = Array::new(4, 5 * inputs, |_, _| odd(&mut rng) + sign(&mut rng));
        let coefficients = Array::random(&mut rng, 4, 5 * values, 1.0);
        let forward = |x: &[Array]| crate::elementwise::apply(&Reference, f, &x[0]).dot(&coefficients);
        let out = crate::elementwise::apply(&Reference, f, &x);
        let analytic = crate::elementwise::gradient(&Reference, f, &x, &out, &coefficients);
        check(&format!("{f:?}"), &[x], 0, &analytic, &forward);
    }
}

#[test]
fn the_gradients_of_divergences_are_their_derivatives() {
    use crate::beta::{entities, queries};
    use crate::common::cases::BETA;
    let mut rng = stream(20, "beta", 0);
    let q = queries(&mut rng, 4, 3, [0.3, 8.0]);
    let e = entities(&mut rng, &q, 6, 3, [0.3, 8.0]);
    let coefficients = Array::random(&mut rng, 4, 6, 1.0);
    check_scores("beta", BETA, [q, e], &coefficients);
}
