//! The optimizers.

use crate::array::*;
use crate::common::cases::{OPTIMIZERS, kinds};
use smore::engine::backend::{Backend, DeviceGroups, Number, Optimizer, Parameters, Reference};
use smore::engine::program::ops::optimizer::{Optimize, OptimizeRows};
use smore::engine::rng::stream;

const RATE: f64 = 0.01;

/// The gradients of some steps, and for each the rows they belong to: ids, offsets, members.
pub struct Case {
    pub optimizer: Optimizer,
    pub values: Array,
    pub steps: Vec<(Array, [Vec<u32>; 3])>,
}

/// A matrix without offset or gaps, as tables are.
fn table(array: &Array) -> Vec<f64> {
    (0..array.rows).flat_map(|i| array.row(i).to_vec()).collect()
}

fn upload<B: Backend>(backend: &B, case: &Case) -> Parameters<B> {
    let data: Vec<B::Scalar> = table(&case.values).into_iter().map(B::Scalar::of).collect();
    let (rows, cols) = (case.values.rows, case.values.cols);
    let state = case.optimizer.state(cols);
    let [mut values, first, second] =
        [cols, state[0], state[1]].map(|cols| backend.zeros(rows * cols).unwrap());
    backend.upload(&data, &mut values, 0).unwrap();
    Parameters { rows, cols, values, first, second, state, interleaved: false }
}

fn download<B: Backend>(backend: &B, table: &Parameters<B>) -> [Vec<f64>; 3] {
    let widths = [table.cols, table.state[0], table.state[1]];
    let buffers = [&table.values, &table.first, &table.second];
    [0, 1, 2].map(|n| (buffers[n], widths[n])).map(|(buffer, cols)| {
        let mut out = vec![B::Scalar::default(); table.rows * cols];
        backend.download(buffer, 0, &mut out).unwrap();
        out.into_iter().map(B::Scalar::value).collect()
    })
}

/// Values and state after each step: on the rows of the groups, or on the whole table.
fn run<B: Backend>(backend: &B, case: &Case, rows_only: bool) -> Vec<[Vec<f64>; 3]> {
    let mut table = upload(backend, case);
    let mut states = Vec::new();
    for (t, (grads, groups)) in case.steps.iter().enumerate() {
        let step = case.optimizer.step(RATE, t as u64 + 1);
        let grads = grads.on(backend);
        if rows_only {
            let [ids, offsets, members] = groups.each_ref().map(|index| backend.index(index).unwrap());
            backend.run(OptimizeRows {
                step,
                groups: &DeviceGroups { ids, offsets, members },
                grads: grads.mat(),
                table: &mut table,
            });
        } else {
            backend.run(Optimize { step, grads: grads.mat(), table: &mut table });
        }
        states.push(download(backend, &table));
    }
    states
}

/// Gradients are below 3, added up from at most 3 rows of below 1.
pub fn compare<B: Backend>(backend: &B, what: &str, case: &Case, rows_only: bool) {
    let (got, want) = (run(backend, case, rows_only), run(&Reference, case, rows_only));
    for (t, (got, want)) in got.iter().zip(&want).enumerate() {
        // A step moves a value by at most a few rates, whatever the gradient.
        let squares = 9.0 * (t + 1) as f64;
        let first = if case.optimizer == Optimizer::Adam { 3.0 } else { squares };
        let terms = t + case.values.cols;
        let tolerances =
            [rounding(terms, 1.0 + 100.0 * RATE), rounding(terms, first), rounding(t + 1, squares)];
        let names = ["value", "first state", "second state"];
        for (n, tolerance) in tolerances.into_iter().enumerate() {
            for (i, (g, w)) in got[n].iter().zip(&want[n]).enumerate() {
                assert!((g - w).abs() <= tolerance, "{what}, step {t}, {} {i}: {g}, not {w}", names[n]);
            }
        }
    }
}

pub fn check_rows<B: Backend>(backend: &B) {
    kinds(&OPTIMIZERS).for_each(|optimizer| check_rows_by(backend, optimizer));
}

fn check_rows_by<B: Backend>(backend: &B, optimizer: Optimizer) {
    let mut rng = stream(7, "adam rows", 0);
    let shapes = DIMENSIONS.map(|d| (20, d)).into_iter().chain(COUNTS.map(|touched| (touched, 17)));
    for (touched, d) in shapes {
        const ROWS: usize = 200;
        let values = Array::random(&mut rng, ROWS, d, 1.0);
        // Rows below 100 are touched in every second step only; rows from 170 on never.
        let steps = (0..6).map(|t| {
            let limit = if t % 2 == 0 { 170 } else { 100.max(touched) };
            let mut ids = distinct(&mut rng, touched, limit);
            ids.sort_unstable();
            let offsets = segments(&mut rng, touched, 3);
            let num_members = offsets[touched] as usize;
            let members = distinct(&mut rng, num_members, num_members + 7);
            let grads = Array::new(num_members + 7, d, |_, k| {
                if k % 5 == 4 { 0.0 } else { random(&mut rng) * [1.0, 1e-3, 1e-6][k % 3] }
            });
            (grads, [ids, offsets, members])
        });
        let case = Case { optimizer, steps: steps.collect(), values };
        let what = format!("{optimizer:?} on {touched} rows x {d}");
        compare(backend, &what, &case, true);
        let got = run(backend, &case, true);
        for t in 0..got.len() {
            let touched = &case.steps[t].1[0];
            for row in (0..ROWS).filter(|&row| !touched.contains(&(row as u32))) {
                for (n, now) in got[t].iter().enumerate() {
                    let cols = now.len() / ROWS;
                    let start = if n == 0 { table(&case.values) } else { vec![0.0; ROWS * cols] };
                    let before = if t == 0 { &start } else { &got[t - 1][n] };
                    let bits = |all: &[f64]| -> Vec<u64> {
                        all[row * cols..][..cols].iter().map(|x| x.to_bits()).collect()
                    };
                    assert_eq!(bits(now), bits(before), "{what}, step {t}: row {row} was touched");
                }
            }
        }
    }
}

pub fn check_tables<B: Backend>(backend: &B) {
    kinds(&OPTIMIZERS).for_each(|optimizer| check_tables_by(backend, optimizer));
}

fn check_tables_by<B: Backend>(backend: &B, optimizer: Optimizer) {
    let mut rng = stream(7, "adam", 0);
    let shapes = DIMENSIONS.map(|d| (5, d)).into_iter().chain(COUNTS.map(|rows| (rows, 17)));
    for (rows, d) in shapes {
        let values = Array::random(&mut rng, rows, d, 1.0);
        let steps = (0..6).map(|_| (Array::random(&mut rng, rows, d, 1.0), Default::default())).collect();
        compare(
            backend,
            &format!("{optimizer:?} on {rows} x {d}"),
            &Case { optimizer, values, steps },
            false,
        );
    }
    // A gradient of zero on fresh moments moves nothing; NaN shows.
    let mut grads = Array::zeros(3, 33);
    grads.set(1, 20, f64::NAN);
    let values = Array::random(&mut rng, 3, 33, 1.0);
    let case = Case { optimizer, steps: vec![(grads, Default::default())], values };
    let got = run(backend, &case, false);
    for (i, (&after, before)) in got[0][0].iter().zip(table(&case.values)).enumerate() {
        // Row-wise, it shows in the whole row.
        let nan = if optimizer == Optimizer::RowwiseAdagrad { i / 33 == 1 } else { i == 33 + 20 };
        assert!(if nan { after.is_nan() } else { after == before }, "value {i} is {after}");
    }
}
