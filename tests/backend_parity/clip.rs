//! Clipping by the norm.

use crate::array::*;
use smore::engine::backend::{Backend, DeviceGroups, Reference};
use smore::engine::program::ops::clip::{ClipFactor, GroupSquares, RowSquares, Scale};
use smore::engine::rng::stream;

struct Case {
    from: Array,
    ids: Vec<u32>,
    offsets: Vec<u32>,
    members: Vec<u32>,
}

/// Squares of groups, squares of rows, and for each bound the factor and what it makes of the rows.
fn run<B: Backend>(backend: &B, case: &Case, bounds: &[f32]) -> Vec<Array> {
    let from = case.from.on(backend);
    let index = |numbers: &[u32]| backend.index(numbers).unwrap();
    let groups =
        DeviceGroups { ids: index(&case.ids), offsets: index(&case.offsets), members: index(&case.members) };
    let mut of_groups = Array::junk(1, case.ids.len()).on(backend);
    backend.run(GroupSquares { groups: &groups, from: from.mat(), squares: of_groups.column_mut() });
    let mut of_rows = Array::junk(1, case.from.rows).on(backend);
    backend.run(RowSquares { from: from.mat(), squares: of_rows.column_mut() });
    let mut results = vec![of_groups.read(), of_rows.read()];
    for &bound in bounds {
        let mut factor = Array::junk(1, 1).on(backend);
        backend.run(ClipFactor { bound, squares: of_rows.column(), factor: factor.mat_mut() });
        let mut x = case.from.on(backend);
        backend.run(Scale { factor: factor.mat(), x: x.mat_mut() });
        results.extend([factor.read(), x.read()]);
    }
    results
}

pub fn check_clip<B: Backend>(backend: &B) {
    let mut rng = stream(9, "clip", 0);
    let shapes = DIMENSIONS.map(|d| (20, d)).into_iter().chain(COUNTS.map(|count| (count, 17)));
    for (count, d) in shapes {
        let offsets = segments(&mut rng, count, 3);
        let rows = offsets[count] as usize;
        let members = distinct(&mut rng, rows, rows + 5);
        let from = Array::random(&mut rng, rows + 5, d, 1.0);
        let case = Case { from, ids: (0..count as u32).collect(), offsets, members };
        let bounds = [1e-3, 1.0, 1e9];
        let (got, want) = (run(backend, &case, &bounds), run(&Reference, &case, &bounds));
        for (n, (got, want)) in got.iter().zip(&want).enumerate() {
            let what = format!("{count} groups x {d}, result {n}");
            assert_close(&what, got, want, |i, j| rounding(3 * d + 20, want.at(i, j).abs()));
        }
        assert_eq!(got[6].at(0, 0), 1.0, "no norm is above a billion");
        assert_same("what is not clipped", &got[7], &case.from);
    }
}

/// What is NaN stays and spreads nowhere; what is infinite does not pass as a number.
pub fn check_nan<B: Backend>(backend: &B) {
    let numbers = Array::new(3, 5, |i, j| (i * 5 + j) as f64);
    for (odd, others_stay) in [(f64::NAN, true), (f64::INFINITY, false)] {
        let mut from = numbers.clone();
        from.set(1, 2, odd);
        let case = Case { from, ids: vec![0], offsets: vec![0, 2], members: vec![0, 1] };
        let got = run(backend, &case, &[0.5]);
        assert!(!got[0].at(0, 0).is_finite() && !got[1].at(0, 1).is_finite());
        for (i, j) in (0..3).flat_map(|i| (0..5).map(move |j| (i, j))) {
            let x = got[3].at(i, j);
            match (i, j) {
                (1, 2) => assert!(x.is_nan(), "{odd} became {x}"),
                _ if others_stay => assert_eq!(x, numbers.at(i, j)),
                _ => assert_eq!(x, 0.0),
            }
        }
    }
}
