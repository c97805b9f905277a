//! What large numbers of rows cost.

use crate::array::*;
use crate::common::cases::{PENALTIES, kinds};
use smore::engine::backend::{Backend, Penalty, Reference};
use smore::engine::program::ops::penalty::Regularise;
use smore::engine::rng::stream;

/// What the gradients have become, and the penalties.
pub fn run<B: Backend>(
    backend: &B,
    penalty: Penalty,
    weights: &Array,
    x: &Array,
    grads: &Array,
) -> [Array; 2] {
    let mut grads = grads.on(backend);
    let mut penalties = Array::junk(1, x.rows).on(backend);
    let (weights, x) = (weights.on(backend), x.on(backend));
    backend.run(Regularise {
        penalty,
        row_weights: weights.column(),
        x: x.mat(),
        grads: grads.mat_mut(),
        penalties: penalties.column_mut(),
    });
    [grads.read(), penalties.read()]
}

pub fn check_regularise<B: Backend>(backend: &B) {
    let mut rng = stream(1, "penalty", 0);
    for penalty in kinds(&PENALTIES) {
        for d in DIMENSIONS {
            for count in COUNTS {
                let cols = if penalty == Penalty::ComplexCubes { 2 * d } else { d };
                let mut x = Array::random(&mut rng, count, cols, 2.0);
                let mut weights = Array::new(1, count, |_, _| random(&mut rng) + 1.5);
                if count > 3 {
                    (0..cols).for_each(|k| x.set(1, k, 0.0));
                    // A row that is left out may hold anything.
                    weights.set(0, 2, 0.0);
                    (0..cols).for_each(|k| x.set(2, k, f64::NAN));
                }
                let start = Array::random(&mut rng, count, cols, 1.0);
                let what = format!("{penalty:?}, {count} x {d}");
                let [grads, penalties] = run(backend, penalty, &weights, &x, &start);
                let [want_grads, want_penalties] = run(&Reference, penalty, &weights, &x, &start);
                assert_close(&what, &grads, &want_grads, |i, k| {
                    rounding(2, start.at(i, k).abs() + (want_grads.at(i, k) - start.at(i, k)).abs())
                });
                assert_close(&what, &penalties, &want_penalties, |_, i| rounding(d, want_penalties.at(0, i)));
                if count > 3 {
                    assert_eq!((penalties.at(0, 2), grads.row(2)), (0.0, start.row(2)), "{what}");
                }
            }
        }
    }
}
