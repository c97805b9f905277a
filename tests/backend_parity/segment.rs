//! Attention, means and gated minima over segments of rows.

use crate::array::*;
use smore::engine::backend::{Backend, Reference};
use smore::engine::program::ops::segment::{
    Attend, AttendBackward, GatedMin, GatedMinBackward, SegmentMean, SegmentMeanBackward,
};
use smore::engine::rng::{Rng, stream};

/// Segments of rows with one matrix per row and one per segment.
struct Case {
    what: String,
    offsets: Vec<u32>,
    x: Array,
    /// Like `x`: logits or weights.
    rows: Array,
    /// A row per segment: gates.
    gate: Array,
    /// A row per segment: the gradient of the output.
    dout: Array,
}

impl Case {
    fn arity(&self, row: usize) -> usize {
        let segment = self.offsets.partition_point(|&o| o as usize <= row) - 1;
        (self.offsets[segment + 1] - self.offsets[segment]) as usize
    }
}

fn each_case(mut body: impl FnMut(Case)) {
    let mut rng = stream(4, "segment", 0);
    let mut case = |rng: &mut Rng, count: usize, arity, d| {
        let mut offsets = segments(rng, count, arity);
        if count == 5 {
            // One segment of each arity.
            offsets = vec![0, 1, 3, 6, 10, 15];
        }
        let rows = offsets[count] as usize;
        body(Case {
            what: format!("{count} segments x {d}"),
            x: Array::random(rng, rows, d, 1.0),
            rows: Array::new(rows, d, |i, _| random(rng) * if i % 7 == 6 { 128.0 } else { 8.0 }),
            gate: Array::new(count, d, |i, _| random(rng) * if i % 7 == 6 { 128.0 } else { 4.0 }),
            dout: Array::random(rng, count, d, 1.0),
            offsets,
        });
    };
    DIMENSIONS.into_iter().for_each(|d| case(&mut rng, 5, 5, d));
    COUNTS.into_iter().for_each(|count| case(&mut rng, count, 5, 17));
    case(&mut rng, 65, 1, 100);
    case(&mut rng, 20, 3, 400);
}

fn attend<B: Backend>(backend: &B, case: &Case) -> [Array; 2] {
    let mut weights = case.rows.on(backend);
    let mut out = Array::junk(case.gate.rows, case.x.cols).on(backend);
    let offsets = backend.index(&case.offsets).unwrap();
    backend.run(Attend {
        x: case.x.on(backend).mat(),
        offsets: &offsets,
        weights: weights.mat_mut(),
        out: out.mat_mut(),
    });
    [weights.read(), out.read()]
}

pub fn check_attend<B: Backend>(backend: &B) {
    each_case(|case| {
        let ([weights, out], [want_weights, want_out]) = (attend(backend, &case), attend(&Reference, &case));
        // Below e^-87 float32 may be 0.
        assert_close(&case.what, &weights, &want_weights, |i, k| {
            rounding(case.arity(i), want_weights.at(i, k)) + 1e-37
        });
        assert_close(&case.what, &out, &want_out, |_, _| rounding(5, 1.0));
    });
}

pub fn check_attend_backward<B: Backend>(backend: &B) {
    fn run<B: Backend>(backend: &B, case: &Case, weights: &Array) -> [Array; 2] {
        let mut weights = weights.on(backend);
        let mut dx = Array::junk(case.x.rows, case.x.cols).on(backend);
        let offsets = backend.index(&case.offsets).unwrap();
        let (x, dout) = (case.x.on(backend), case.dout.on(backend));
        backend.run(AttendBackward {
            x: x.mat(),
            offsets: &offsets,
            dout: dout.mat(),
            weights: weights.mat_mut(),
            dx: dx.mat_mut(),
        });
        [weights.read(), dx.read()]
    }
    each_case(|case| {
        let weights = attend(&Reference, &case)[0].rounded();
        let [dlogits, dx] = run(backend, &case, &weights);
        let [want_dlogits, want_dx] = run(&Reference, &case, &weights);
        let tolerance = |i, k| rounding(case.arity(i), weights.at(i, k)) + 1e-37;
        assert_close(&case.what, &dlogits, &want_dlogits, |i, k| 2.0 * tolerance(i, k));
        assert_close(&case.what, &dx, &want_dx, tolerance);
    });
}

pub fn check_mean<B: Backend>(backend: &B) {
    fn run<B: Backend>(backend: &B, case: &Case) -> [Array; 2] {
        let mut out = Array::junk(case.gate.rows, case.x.cols).on(backend);
        let mut dx = Array::junk(case.x.rows, case.x.cols).on(backend);
        let offsets = backend.index(&case.offsets).unwrap();
        backend.run(SegmentMean { x: case.x.on(backend).mat(), offsets: &offsets, out: out.mat_mut() });
        backend.run(SegmentMeanBackward {
            dout: case.dout.on(backend).mat(),
            offsets: &offsets,
            dx: dx.mat_mut(),
        });
        [out.read(), dx.read()]
    }
    each_case(|case| {
        let ([out, dx], [want_out, want_dx]) = (run(backend, &case), run(&Reference, &case));
        assert_close(&case.what, &out, &want_out, |_, _| rounding(5, 1.0));
        assert_close(&case.what, &dx, &want_dx, |i, k| rounding(1, want_dx.at(i, k).abs()));
    });
}

fn gated_min<B: Backend>(backend: &B, case: &Case) -> Array {
    let mut out = Array::junk(case.gate.rows, case.x.cols).on(backend);
    let offsets = backend.index(&case.offsets).unwrap();
    backend.run(GatedMin {
        x: case.x.on(backend).mat(),
        offsets: &offsets,
        gate: case.gate.on(backend).mat(),
        out: out.mat_mut(),
    });
    out.read()
}

fn gated_min_backward<B: Backend>(backend: &B, case: &Case) -> [Array; 2] {
    let mut gate = case.gate.on(backend);
    let mut dx = Array::junk(case.x.rows, case.x.cols).on(backend);
    let offsets = backend.index(&case.offsets).unwrap();
    let (x, dout) = (case.x.on(backend), case.dout.on(backend));
    backend.run(GatedMinBackward {
        x: x.mat(),
        offsets: &offsets,
        dout: dout.mat(),
        gate: gate.mat_mut(),
        dx: dx.mat_mut(),
    });
    [gate.read(), dx.read()]
}

pub fn check_gated_min<B: Backend>(backend: &B) {
    each_case(|case| {
        let want = gated_min(&Reference, &case);
        assert_close(&case.what, &gated_min(backend, &case), &want, |i, k| {
            rounding(1, want.at(i, k).abs()) + 1e-37
        });
    });
}

pub fn check_gated_min_backward<B: Backend>(backend: &B) {
    each_case(|mut case| {
        // Quarters, so that many segments have equal minima.
        case.x = case.x.map(|x| (x * 4.0).round() / 4.0);
        let ([gate, dx], [want_gate, want_dx]) =
            (gated_min_backward(backend, &case), gated_min_backward(&Reference, &case));
        assert_close(&case.what, &dx, &want_dx, |i, k| rounding(1, want_dx.at(i, k).abs()) + 1e-37);
        // The derivative of the sigmoid is g (1 - g), which float32 knows to the precision of g.
        let opening = |i, k| 1.0 / (1.0 + (-case.gate.at(i, k)).exp());
        assert_close(&case.what, &gate, &want_gate, |i, k| rounding(1, opening(i, k)) + 1e-37);
    });
}

pub fn check_nan<B: Backend>(backend: &B) {
    let mut rng = stream(4, "segment nan", 0);
    let offsets = vec![0, 3, 6, 9];
    // The NaN stands in each place of the middle segment.
    for place in 3..6 {
        let mut x = Array::random(&mut rng, 9, 17, 1.0);
        x.set(place, 5, f64::NAN);
        let mut case = Case {
            what: format!("NaN in row {place}"),
            offsets: offsets.clone(),
            rows: Array::random(&mut rng, 9, 17, 1.0),
            gate: Array::random(&mut rng, 3, 17, 1.0),
            dout: Array::random(&mut rng, 3, 17, 1.0),
            x,
        };
        let check = |name: &str, out: &Array| {
            for s in 0..out.rows {
                for k in 0..17 {
                    assert_eq!(out.at(s, k).is_nan(), (s, k) == (1, 5), "{}, {name} [{s}, {k}]", case.what);
                }
            }
        };
        check("min", &gated_min(backend, &case));
        check("gradient of the gate", &gated_min_backward(backend, &case)[0]);
        check("attention to NaN", &attend(backend, &case)[1]);
        std::mem::swap(&mut case.x, &mut case.rows);
        check("NaN logit", &attend(backend, &case)[1]);
    }
}
