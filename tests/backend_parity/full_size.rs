//! Operations at the sizes of training against the reference: a batch of 512 queries, 1,024 negatives, 400 dimensions,
//! the entities of FB15k-237. The backend computes everything, twice, to the same bits; the float64 loops of the reference
//! only some rows of it.
//!
//! Too much for the emulator: kernels are run at these sizes on a GPU, and on the fake driver at small ones.

use crate::array::*;
use crate::score::{backward, scores};
use crate::{beta, linear, optimizer, rank, score};
use rayon::prelude::*;
use smore::engine::backend::{Activation, Backend, Optimizer, Reference, Scoring};
use smore::engine::rng::{below, stream};

/// Sizes of the operations.
pub struct Sizes {
    /// Queries, entities, dimensions of scores.
    scores: [usize; 3],
    /// Rows, inputs, outputs of a linear layer.
    linear: [usize; 3],
    /// Rows that a step touches, rows and columns of a table.
    table: [usize; 3],
    /// Queries, entities, dimensions of a ranking.
    rank: [usize; 3],
}

pub const FULL: Sizes = Sizes {
    scores: [512, 1024, 400],
    linear: [1088, 1200, 1600],
    table: [2240, 14_541, 400],
    rank: [512, 14_541, 400],
};

pub const SMALL: Sizes =
    Sizes { scores: [70, 130, 40], linear: [70, 48, 80], table: [100, 300, 40], rank: [40, 500, 16] };

/// `count` of `n` rows, the first and the last among them.
fn sample(n: usize, count: usize) -> Vec<usize> {
    (0..count).map(|i| i * (n - 1) / (count - 1)).collect()
}

fn rows(from: &Array, rows: &[usize]) -> Array {
    Array::new(rows.len(), from.cols, |i, k| from.at(rows[i], k))
}

fn columns(from: &Array, cols: &[usize]) -> Array {
    Array::new(from.rows, cols.len(), |i, k| from.at(i, cols[k]))
}

pub fn check_scores<B: Backend>(backend: &B, kind: Scoring, sizes: &Sizes) {
    let [num_queries, num_entities, d] = sizes.scores;
    let rng = &mut stream(40, "full size scores", 0);
    let is_beta = matches!(kind, Scoring::Beta { .. });
    let (q, e) = if is_beta {
        let q = beta::queries(rng, num_queries, d, beta::USUAL);
        let e = beta::entities(rng, &q, num_entities, d, beta::USUAL);
        (q, e)
    } else {
        let d = score::entity_width(kind, d);
        let q = score::queries(rng, kind, num_queries, d);
        let e = score::entities(rng, &q, num_entities, d);
        (q, e)
    };
    // Most weights of a batch are positive; masked pairs have none.
    let w = Array::new(
        num_queries,
        num_entities,
        |_, _| {
            if below(rng, 4) == 0 { 0.0 } else { random(rng) + 0.5 }
        },
    );
    let s = scores(backend, kind, &q, &e);
    let (dq, de) = backward(backend, kind, [&q, &e, &s, &w]);
    let again = backward(backend, kind, [&q, &e, &s, &w]);
    assert_same("scores a second time", &scores(backend, kind, &q, &e), &s);
    assert_same("gradients of queries a second time", &again.0, &dq);
    assert_same("gradients of entities a second time", &again.1, &de);

    // What a gradient may be off by, per unit of a pair's weight.
    let sensitivity = |i: usize, j: usize, k: usize, side: usize| {
        let (q, e) = (q.row(i), e.row(j));
        if is_beta { beta::sensitivity(q, e, k)[side] } else { score::sensitivity(kind, q, e) }
    };
    let terms = |i: usize, j: usize, side: usize, width: usize| -> Vec<f64> {
        let weight = w.at(i, j).abs();
        // All but Beta's are those of any column.
        let of = |k| weight * sensitivity(i, j, k, side);
        if is_beta { (0..width).map(of).collect() } else { vec![of(0); width] }
    };
    let add = |mut sums: Vec<f64>, terms: Vec<f64>| {
        sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
        sums
    };
    // Formulas of Beta distributions are a hundred times as long.
    let count = if is_beta { 4 } else { 32 };
    sample(num_queries, count).into_par_iter().for_each(|i| {
        let [q, s, w, dq] = [&q, &s, &w, &dq].map(|all| rows(all, &[i]));
        let want = scores(&Reference, kind, &q, &e);
        assert_close(&format!("scores of query {i}"), &s, &want, |_, j| {
            if is_beta {
                2.0 * f64::from(f32::EPSILON) * want.at(0, j).abs() + 1e-7
            } else {
                rounding(e.cols, score::magnitude(kind, q.row(0), e.row(j)))
            }
        });
        let (want, _) = backward(&Reference, kind, [&q, &e, &s, &w]);
        let sums = (0..e.rows).map(|j| terms(i, j, 0, q.cols)).fold(vec![0.0; q.cols], add);
        assert_close(&format!("gradient of query {i}"), &dq, &want, |_, k| rounding(e.rows, sums[k]));
    });
    sample(num_entities, count).into_par_iter().for_each(|j| {
        let [e, de] = [&e, &de].map(|all| rows(all, &[j]));
        let [s, w] = [&s, &w].map(|all| columns(all, &[j]));
        let (_, want) = backward(&Reference, kind, [&q, &e, &s, &w]);
        let sums = (0..q.rows).map(|i| terms(i, j, 1, e.cols)).fold(vec![0.0; e.cols], add);
        assert_close(&format!("gradient of entity {j}"), &de, &want, |_, k| rounding(q.rows, sums[k]));
    });
}

pub fn check_linear<B: Backend>(backend: &B, sizes: &Sizes) {
    let [num_rows, inputs, outputs] = sizes.linear;
    let rng = &mut stream(40, "full size linear", 0);
    let f = Activation::Relu;
    let b = Array::random(rng, 1, outputs, 1.0);
    let case = linear::Backward {
        x: Array::random(rng, num_rows, inputs, 1.0),
        w: Array::random(rng, outputs, inputs, 2.0),
        out: Array::random(rng, num_rows, outputs, 2.0).map(|y| y.max(0.0)),
        dout: Array::random(rng, num_rows, outputs, 1.0),
        dw: Array::random(rng, outputs, inputs, 1.0),
        db: Array::random(rng, 1, outputs, 1.0),
    };
    let out = linear::run(backend, &case.x, &case.w, &b, f);
    let got = linear::run_backward(backend, &case, f);
    assert_same("outputs a second time", &linear::run(backend, &case.x, &case.w, &b, f), &out);
    for (again, got) in linear::run_backward(backend, &case, f).iter().zip(&got) {
        assert_same("gradients a second time", again, got);
    }
    let [_, dx, dw, db] = &got;

    sample(num_rows, 32).par_chunks(4).for_each(|of| {
        let [x, y, dout] = [&case.x, &case.out, &case.dout].map(|all| rows(all, of));
        let magnitude = linear::run(&Reference, &x.abs(), &case.w.abs(), &b.abs(), Activation::None);
        let want = linear::run(&Reference, &x, &case.w, &b, f);
        assert_close(&format!("outputs of rows {of:?}"), &rows(&out, of), &want, |i, j| {
            rounding(inputs, magnitude.at(i, j) + 1.0)
        });
        let part = linear::Backward { x, out: y, dout, ..case.clone() };
        let [_, magnitude, ..] = linear::run_backward(&Reference, &part.abs(), f);
        let [_, want, ..] = linear::run_backward(&Reference, &part, f);
        assert_close(&format!("gradients of rows {of:?}"), &rows(dx, of), &want, |i, j| {
            rounding(outputs, magnitude.at(i, j))
        });
    });
    sample(outputs, 32).par_chunks(4).for_each(|of| {
        let [w, part_dw] = [&case.w, &case.dw].map(|all| rows(all, of));
        let [y, dout, part_db] = [&case.out, &case.dout, &case.db].map(|all| columns(all, of));
        let part = linear::Backward { x: case.x.clone(), w, out: y, dout, dw: part_dw, db: part_db };
        let [_, _, of_dw, of_db] = linear::run_backward(&Reference, &part.abs(), f);
        let [_, _, want_dw, want_db] = linear::run_backward(&Reference, &part, f);
        let what = format!("gradients of outputs {of:?}");
        assert_close(&what, &rows(dw, of), &want_dw, |i, j| rounding(num_rows, of_dw.at(i, j)));
        assert_close(&what, &columns(db, of), &want_db, |i, j| rounding(num_rows, of_db.at(i, j)));
    });
}

pub fn check_adam<B: Backend>(backend: &B, sizes: &Sizes) {
    let [touched, num_rows, d] = sizes.table;
    let rng = &mut stream(40, "full size adam", 0);
    let values = Array::random(rng, num_rows, d, 1.0);
    let mut steps = Vec::new();
    for _ in 0..2 {
        let mut ids = distinct(rng, touched, num_rows);
        ids.sort_unstable();
        let offsets = segments(rng, touched, 3);
        let num_members = offsets[touched] as usize;
        let members = distinct(rng, num_members, num_members);
        steps.push((Array::random(rng, num_members, d, 1.0), [ids, offsets, members]));
    }
    let mut case = optimizer::Case { optimizer: Optimizer::Adam, values, steps };
    optimizer::compare(backend, "rows", &case, true);
    let grads = Array::random(rng, num_rows, d, 1.0);
    case.steps = vec![(grads, Default::default())];
    optimizer::compare(backend, "the whole table", &case, false);
}

pub fn check_rank<B: Backend>(backend: &B, sizes: &Sizes) {
    let [num_queries, num_entities, d] = sizes.rank;
    let rng = &mut stream(40, "full size rank", 0);
    for kind in [Scoring::L1 { gamma: 24.0 }, Scoring::Dot] {
        let case = rank::Case::random(rng, kind, num_queries, num_entities, d, 2);
        let got = case.run(backend);
        sample(num_queries, 32).par_chunks(4).for_each(|of| {
            let (part, targets) = case.part(of);
            let got: Vec<_> = targets.into_iter().map(|target| got[target]).collect();
            assert_eq!(got, part.run(&Reference), "{kind:?}, queries {of:?}");
        });
    }
}

/// The cases on a backend.
macro_rules! full_size {
    ($($module:ident: $backend:expr, $sizes:expr;)*) => {$(
        mod $module {
            use super::*;

            fn scores(kind: Scoring) {
                if let Some(backend) = $backend {
                    check_scores(&backend, kind, $sizes);
                }
            }
            #[test]
            fn scores_by_l1_agree_at_full_size() {
                scores(Scoring::L1 { gamma: 24.0 });
            }
            #[test]
            fn scores_by_l2_agree_at_full_size() {
                scores(Scoring::L2 { gamma: 24.0 });
            }
            #[test]
            fn scores_of_boxes_agree_at_full_size() {
                scores(Scoring::Box { gamma: 24.0, inside: 0.02 });
            }
            #[test]
            fn scores_by_dot_products_agree_at_full_size() {
                scores(Scoring::Dot);
            }
            #[test]
            fn scores_of_rotations_agree_at_full_size() {
                scores(Scoring::Rotation { gamma: 24.0 });
            }
            #[test]
            fn scores_of_cones_agree_at_full_size() {
                scores(Scoring::Cone { gamma: 30.0, inside: 0.02 });
            }
            #[test]
            fn scores_of_beta_distributions_agree_at_full_size() {
                scores(crate::common::cases::BETA);
            }
            #[test]
            fn linear_layers_agree_at_full_size() {
                if let Some(backend) = $backend {
                    check_linear(&backend, $sizes);
                }
            }
            #[test]
            fn adam_agrees_at_full_size() {
                if let Some(backend) = $backend {
                    check_adam(&backend, $sizes);
                }
            }
            #[test]
            fn ranks_agree_at_full_size() {
                if let Some(backend) = $backend {
                    check_rank(&backend, $sizes);
                }
            }
        }
    )*};
}

full_size! {
    cpu: Some(smore::engine::backend::Cpu), &FULL;
    cuda: crate::gpu::cuda(), crate::gpu::sizes(&FULL, &SMALL);
}
