//! Batch normalisation.

use crate::array::*;
use smore::engine::backend::{Activation, Backend, Reference};
use smore::engine::program::ops::normalise::{Blend, MeanVariance, Normalise, NormaliseBackward};
use smore::engine::rng::{Rng, stream};

pub fn mean_variance<B: Backend>(backend: &B, x: &Array) -> Array {
    let mut out = Array::junk(2, x.cols).on(backend);
    backend.run(MeanVariance { x: x.on(backend).mat(), out: out.mat_mut() });
    out.read()
}

pub fn normalise<B: Backend>(
    backend: &B,
    x: &Array,
    mean_variance: &Array,
    affine: &Array,
    f: Activation,
) -> Array {
    let mut out = Array::junk(x.rows, x.cols).on(backend);
    let [x, mean_variance, affine] = [x, mean_variance, affine].map(|a| a.on(backend));
    backend.run(Normalise {
        x: x.mat(),
        mean_variance: mean_variance.mat(),
        affine: affine.mat(),
        f,
        out: out.mat_mut(),
    });
    out.read()
}

/// Gradients of x and of the affine rows.
pub fn gradient<B: Backend>(backend: &B, of: [&Array; 4], f: Activation, dout: &Array) -> [Array; 2] {
    let [x, mean_variance, affine, out] = of.map(|a| a.on(backend));
    let (mut dx, mut daffine) = (dout.on(backend), Array::junk(2, dout.cols).on(backend));
    let (to_x, to_affine) = (dx.mat_mut(), daffine.mat_mut());
    backend.run(NormaliseBackward {
        x: x.mat(),
        mean_variance: mean_variance.mat(),
        affine: affine.mat(),
        out: out.mat(),
        f,
        dx: to_x,
        daffine: to_affine,
    });
    [dx.read(), daffine.read()]
}

/// Rows around a mean that is far from 0, scales and shifts.
fn each_case(mut body: impl FnMut(&str, Array, Array, Activation, &mut Rng)) {
    let mut rng = stream(13, "normalise", 0);
    let shapes = COUNTS.into_iter().filter(|&n| n > 1).map(|n| (n, 17));
    for (rows, cols) in shapes.chain(DIMENSIONS.map(|d| (6, d))).chain([(5000, 9)]) {
        for f in [Activation::None, Activation::Relu] {
            let x = Array::new(rows, cols, |_, k| random(&mut rng) + (k % 3) as f64);
            let affine = Array::random(&mut rng, 2, cols, 0.5);
            body(&format!("{rows} x {cols}, {f:?}"), x, affine, f, &mut rng);
        }
    }
}

pub fn check_mean_variance<B: Backend>(backend: &B) {
    each_case(|what, x, _, _, _| {
        let tolerance = |_, _| rounding(x.rows, 9.0);
        assert_close(what, &mean_variance(backend, &x), &mean_variance(&Reference, &x), tolerance);
    });
}

pub fn check_normalise<B: Backend>(backend: &B) {
    each_case(|what, x, affine, f, _| {
        let of = mean_variance(&Reference, &x).rounded();
        // What is lost of x and its mean is divided by the deviation.
        let tolerance = |_, k| rounding(2, 6.0 / (of.at(1, k) + 1e-5).sqrt());
        let want = normalise(&Reference, &x, &of, &affine, f);
        assert_close(what, &normalise(backend, &x, &of, &affine, f), &want, tolerance);
    });
}

pub fn check_normalise_backward<B: Backend>(backend: &B) {
    each_case(|what, x, affine, f, rng| {
        let of = mean_variance(&Reference, &x).rounded();
        let out = normalise(&Reference, &x, &of, &affine, f).rounded();
        let dout = Array::random(rng, x.rows, x.cols, 1.0);
        let inputs = [&x, &of, &affine, &out];
        let ([dx, daffine], want) =
            (gradient(backend, inputs, f, &dout), gradient(&Reference, inputs, f, &dout));
        let lost = |k: usize| 1.0 / (of.at(1, k) + 1e-5).sqrt();
        assert_close(what, &daffine, &want[1], |_, k| {
            rounding(x.rows, 3.0 * x.rows as f64 * (1.0 + lost(k)))
        });
        assert_close(what, &dx, &want[0], |_, k| rounding(x.rows, 16.0 * lost(k) * (1.0 + lost(k))));
    });
}

pub fn check_blend<B: Backend>(backend: &B) {
    let mut rng = stream(13, "blend", 0);
    for cols in DIMENSIONS {
        let (from, start) = (Array::random(&mut rng, 3, cols, 1.0), Array::random(&mut rng, 3, cols, 1.0));
        let mut to = start.on(backend);
        backend.run(Blend { rate: 0.25, from: from.on(backend).mat(), to: to.mat_mut() });
        let want = Array::new(3, cols, |i, k| 0.75 * start.at(i, k) + 0.25 * from.at(i, k));
        assert_close(&format!("{cols} columns"), &to.read(), &want, |_, _| rounding(2, 2.0));
    }
}
