//! Linear layers.

use crate::array::*;
use crate::common::cases::ACTIVATIONS;
use smore::engine::backend::cuda::driver::Operand;
use smore::engine::backend::cuda::linear::matmul;
use smore::engine::backend::cuda::memory::{mat, mat_mut};
use smore::engine::backend::{Activation, Backend, Mat, MatMut, Reference};
use smore::engine::program::ops::linear::{Linear, LinearBackward};
use smore::engine::rng::stream;

/// Rows, inputs, outputs.
fn shapes() -> Vec<[usize; 3]> {
    let mut shapes = vec![[65, 64, 100], [3, 400, 400], [130, 33, 3], [64, 400, 17]];
    shapes.extend(DIMENSIONS.map(|d| [5, d, 7]));
    shapes.extend(DIMENSIONS.map(|d| [5, 7, d]));
    shapes.extend(COUNTS.map(|rows| [rows, 17, 33]));
    shapes
}

pub fn run<B: Backend>(backend: &B, x: &Array, w: &Array, b: &Array, f: Activation) -> Array {
    let mut out = Array::junk(x.rows, w.rows).on(backend);
    backend.run(Linear {
        x: x.on(backend).mat(),
        w: w.on(backend).mat(),
        bias: Some(b.on(backend).mat()),
        f,
        out: out.mat_mut(),
    });
    out.read()
}

pub fn check_linear<B: Backend>(backend: &B) {
    let mut rng = stream(3, "linear", 0);
    for [rows, inputs, outputs] in shapes() {
        for f in ACTIVATIONS {
            let x = Array::random(&mut rng, rows, inputs, 1.0);
            let w = Array::random(&mut rng, outputs, inputs, 2.0);
            let b = Array::random(&mut rng, 1, outputs, 1.0);
            let magnitude = run(&Reference, &x.abs(), &w.abs(), &b.abs(), Activation::None);
            let want = run(&Reference, &x, &w, &b, f);
            let what = format!("linear {rows} x {inputs} x {outputs}, {f:?}");
            assert_close(&what, &run(backend, &x, &w, &b, f), &want, |i, j| {
                rounding(inputs, magnitude.at(i, j) + 1.0)
            });
        }
    }
}

#[derive(Clone)]
pub struct Backward {
    pub x: Array,
    pub w: Array,
    pub out: Array,
    pub dout: Array,
    pub dw: Array,
    pub db: Array,
}

impl Backward {
    /// The same with absolute values, whose gradients are the sums of those of all terms.
    pub fn abs(&self) -> Self {
        let [x, w, dout, dw, db] = [&self.x, &self.w, &self.dout, &self.dw, &self.db].map(Array::abs);
        Backward { x, w, out: self.out.clone(), dout, dw, db }
    }
}

pub fn run_backward<B: Backend>(backend: &B, case: &Backward, f: Activation) -> [Array; 4] {
    let [mut dout, mut dw, mut db] = [&case.dout, &case.dw, &case.db].map(|a| a.on(backend));
    let [x, w, out] = [&case.x, &case.w, &case.out].map(|a| a.on(backend));
    let mut dx = Array::junk(case.x.rows, case.x.cols).on(backend);
    backend.run(LinearBackward {
        x: x.mat(),
        w: w.mat(),
        out: (f != Activation::None).then_some(out.mat()),
        f,
        dout: dout.mat_mut(),
        dx: dx.mat_mut(),
        dw: dw.mat_mut(),
        dbias: Some(db.mat_mut()),
    });
    [dout.read(), dx.read(), dw.read(), db.read()]
}

pub fn check_linear_backward<B: Backend>(backend: &B) {
    let mut rng = stream(3, "linear backward", 0);
    for [rows, inputs, outputs] in shapes() {
        for f in [Activation::None, Activation::Relu] {
            let case = Backward {
                x: Array::random(&mut rng, rows, inputs, 1.0),
                w: Array::random(&mut rng, outputs, inputs, 2.0),
                // The output of a Relu, with many zeros.
                out: Array::random(&mut rng, rows, outputs, 2.0).map(|y| y.max(0.0)),
                dout: Array::random(&mut rng, rows, outputs, 1.0),
                dw: Array::random(&mut rng, outputs, inputs, 1.0),
                db: Array::random(&mut rng, 1, outputs, 1.0),
            };
            let magnitudes = run_backward(&Reference, &case.abs(), f);
            let want = run_backward(&Reference, &case, f);
            let got = run_backward(backend, &case, f);
            let what = format!("linear backward {rows} x {inputs} x {outputs}, {f:?}");
            assert_same(&format!("{what}, dout"), &got[0], &want[0]);
            for (n, (name, terms)) in [("dx", outputs), ("dw", rows), ("db", rows)].into_iter().enumerate() {
                assert_close(&format!("{what}, {name}"), &got[n + 1], &want[n + 1], |i, j| {
                    rounding(terms, magnitudes[n + 1].at(i, j))
                });
            }
        }
    }
}

pub fn check_nan<B: Backend>(backend: &B) {
    let mut rng = stream(3, "linear nan", 0);
    for f in ACTIVATIONS {
        let mut x = Array::random(&mut rng, 5, 7, 1.0);
        let (w, b) = (Array::random(&mut rng, 33, 7, 1.0), Array::random(&mut rng, 1, 33, 1.0));
        x.set(2, 3, f64::NAN);
        let out = run(backend, &x, &w, &b, f);
        for i in 0..5 {
            assert!(out.row(i).iter().all(|y| y.is_nan() == (i == 2)), "{f:?}, row {i}: {:?}", out.row(i));
        }
        if f != Activation::Softplus {
            let case = Backward {
                dout: Array::random(&mut rng, 5, 33, 1.0),
                dw: Array::zeros(33, 7),
                db: Array::zeros(1, 33),
                x,
                w,
                out,
            };
            let [_, dx, dw, _] = run_backward(backend, &case, f);
            assert!((0..5).all(|i| dx.row(i).iter().all(|d| d.is_finite())));
            assert!((0..33).all(|j| (0..7).all(|k| dw.at(j, k).is_nan() == (k == 3))));
        }
    }
}

#[test]
fn cuda_products_agree_with_any_transposition_and_without_terms() {
    let Some(cuda) = crate::emulator::cuda() else { return };
    let mut rng = stream(3, "products", 0);
    let shapes = [[65, 130, 17], [64, 64, 64], [3, 1, 100], [70, 5, 1], [5, 70, 0], [0, 3, 2], [2, 0, 3]];
    for [m, n, k] in shapes {
        for [transpose_a, transpose_b, accumulate] in
            [0, 1, 2, 3, 4, 5, 6, 7].map(|bits| [bits & 1, bits & 2, bits & 4].map(|bit| bit != 0))
        {
            let mut array = |rows, cols, transpose| {
                let (rows, cols) = if transpose { (cols, rows) } else { (rows, cols) };
                Array::random(&mut rng, rows, cols, 1.0)
            };
            let (a, b) = (array(m, k, transpose_a), array(k, n, transpose_b));
            let start = if accumulate { Array::random(&mut rng, m, n, 1.0) } else { Array::junk(m, n) };
            let (on_a, on_b, mut c) = (a.on(&cuda), b.on(&cuda), start.on(&cuda));
            let operand = |m, transpose| {
                let operand = Operand::new(mat(m));
                if transpose { operand.transposed() } else { operand }
            };
            let (left, right) = (operand(on_a.mat(), transpose_a), operand(on_b.mat(), transpose_b));
            matmul(&cuda, left, right, k as u32, accumulate, mat_mut(&mut c.mat_mut()));
            let mut want = start.clone();
            for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                let a = |s| if transpose_a { a.at(s, i) } else { a.at(i, s) };
                let b = |s| if transpose_b { b.at(j, s) } else { b.at(s, j) };
                let sum: f64 = (0..k).map(|s| a(s) * b(s)).sum();
                want.set(i, j, if accumulate { start.at(i, j) + sum } else { sum });
            }
            let what = format!("{m} x {n} x {k}, {transpose_a} {transpose_b} {accumulate}");
            assert_close(&what, &c.read(), &want, |_, _| rounding(k + 1, k as f64 + 1.0));
        }
    }
}

#[test]
fn cuda_products_have_more_columns_than_a_grid_has_rows_of_tiles() {
    let Some(cuda) = crate::emulator::cuda() else { return };
    // The scores of a query with 4 million entities: more than 65,535 tiles of 64.
    let (m, n) = (2, 64 * 65_535 + 5);
    let number = |i: usize| (i % 1000) as f32;
    let [mut a, mut b, mut c] = [m, n, m * n].map(|len| cuda.zeros(len).unwrap());
    cuda.upload(&[1.0, 2.0], &mut a, 0).unwrap();
    cuda.upload(&(0..n).map(number).collect::<Vec<_>>(), &mut b, 0).unwrap();
    let (left, right) = (Operand::new(mat(Mat::new(&a, m, 1))), Operand::new(mat(Mat::new(&b, n, 1))));
    matmul(&cuda, left, right.transposed(), 1, false, mat_mut(&mut MatMut::new(&mut c, m, n)));
    let mut out = vec![f32::NAN; m * n];
    cuda.download(&c, 0, &mut out).unwrap();
    for (at, &x) in out.iter().enumerate() {
        assert_eq!(x, (at / n + 1) as f32 * number(at % n), "row {}, column {}", at / n, at % n);
    }
}
