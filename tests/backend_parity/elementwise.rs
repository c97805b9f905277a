//! Functions of numbers.

use crate::array::*;
use crate::common::cases::{FUNCTIONS, kinds};
use smore::engine::backend::{BETA_MAX, BETA_MIN, Backend, Function, Reference};
use smore::engine::program::ops::elementwise::{Apply, ApplyBackward, GradientReads};
use smore::engine::rng::{below, stream};

/// How large what a function or its gradient adds up can be, where its results are smaller; 0 where nothing cancels.
fn scale(f: Function) -> f64 {
    match f {
        Function::BetaParameter | Function::Reciprocal => 0.0,
        _ => 8.0,
    }
}

pub fn apply<B: Backend>(backend: &B, f: Function, x: &Array) -> Array {
    let [inputs, values] = f.parts();
    let mut out = Array::junk(x.rows, x.cols / inputs * values).on(backend);
    backend.run(Apply { f, x: x.on(backend).mat(), out: out.mat_mut() });
    out.read()
}

/// The gradient by the inputs, at what it reads of inputs and values.
pub fn gradient<B: Backend>(backend: &B, f: Function, x: &Array, out: &Array, dout: &Array) -> Array {
    let mut dx = Array::junk(x.rows, x.cols).on(backend);
    let at = match f.gradient_reads() {
        GradientReads::Inputs => x,
        GradientReads::Values => out,
    };
    backend.run(ApplyBackward {
        f,
        at: at.on(backend).mat(),
        dout: dout.on(backend).mat(),
        dx: dx.mat_mut(),
    });
    dx.read()
}

/// Shapes, and numbers below, between and above the bounds of a parameter.
fn each_input(mut body: impl FnMut(&str, Function, Array, Array)) {
    let mut rng = stream(9, "elementwise", 0);
    for f in kinds(&FUNCTIONS) {
        let [inputs, values] = f.parts();
        let shapes = COUNTS.map(|n| (n, 17)).into_iter().chain(DIMENSIONS.map(|d| (5, d)));
        for (rows, d) in shapes {
            // Angles are of a turn at most.
            let is_bounded = scale(f) > 0.0;
            let x = Array::new(rows, inputs * d, |_, _| match below(&mut rng, 8) {
                0 => -3.0,
                1 => {
                    if is_bounded {
                        3.0
                    } else {
                        4e9
                    }
                }
                2 => f64::NAN,
                _ => random(&mut rng) * 1.5 + 1.0 / 8192.0,
            });
            let dout = Array::random(&mut rng, rows, values * d, 2.0);
            body(&format!("{f:?}, {rows} x {d}"), f, x, dout);
        }
    }
}

pub fn check_elementwise<B: Backend>(backend: &B) {
    each_input(|what, f, x, _| {
        let want = apply(&Reference, f, &x);
        let tolerance = |i: usize, j: usize| rounding(1, want.at(i, j).abs() + scale(f));
        assert_close(what, &apply(backend, f, &x), &want, tolerance);
    });
    let x = Array::new(1, 4, |_, k| [-2.0, 2e9, 0.5, f64::NAN][k]);
    let y = apply(backend, Function::BetaParameter, &x);
    let bounds = [BETA_MIN, BETA_MAX].map(f64::from);
    assert_eq!([y.at(0, 0), y.at(0, 1), y.at(0, 2)], [bounds[0], bounds[1], 1.5]);
    assert!(y.at(0, 3).is_nan());
}

pub fn check_elementwise_backward<B: Backend>(backend: &B) {
    each_input(|what, f, x, dout| {
        let out = apply(&Reference, f, &x).rounded();
        let want = gradient(&Reference, f, &x, &out, &dout);
        let tolerance = |i: usize, j: usize| rounding(2, want.at(i, j).abs() + scale(f));
        // A parameter at a bound does not move, whatever its gradient; NaN is above and below nothing.
        assert_close(what, &gradient(backend, f, &x, &out, &dout), &want, tolerance);
    });
}
