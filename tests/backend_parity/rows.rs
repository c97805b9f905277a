//! Memory, moving and adding rows, dropout.

use crate::array::*;
use smore::engine::backend::{Backend, DeviceGroups, Dropout, Mat, MatMut, Number, Reference};
use smore::engine::program::ops::rows::{Add, AddGroups, CopyRows, DropOut, Fill, Gather, Scatter};
use smore::engine::rng::stream;

pub fn check_memory<B: Backend>(backend: &B) {
    let data: Vec<B::Scalar> = (0..70).map(|i| B::Scalar::of(f64::from(i) / 8.0)).collect();
    let mut buffer = backend.zeros(100).unwrap();
    backend.upload(&data, &mut buffer, 13).unwrap();
    let mut out = vec![B::Scalar::of(-1.0); 99];
    backend.download(&buffer, 1, &mut out).unwrap();
    for (i, &x) in out.iter().enumerate() {
        let want = if (12..82).contains(&i) { (i as f64 - 12.0) / 8.0 } else { 0.0 };
        assert_eq!(B::Scalar::value(x), want, "scalar {i}");
    }
    backend.upload(&[], &mut buffer, 100).unwrap();
    backend.download(&buffer, 100, &mut []).unwrap();

    // What an index holds is seen in what it gathers.
    let numbers = Array::new(200, 1, |i, _| i as f64).on(backend);
    let mut index = backend.index(&[7, 3]).unwrap();
    for ids in [vec![199, 0, 5], vec![], vec![1], (0..200).rev().collect()] {
        backend.set_index(&ids, &mut index).unwrap();
        let mut out = Array::junk(ids.len(), 1).on(backend);
        backend.run(Gather { table: numbers.mat(), rows: &index, out: out.mat_mut() });
        let want = Array::new(ids.len(), 1, |i, _| f64::from(ids[i]));
        assert_same("index", &out.read(), &want);
    }
}

/// Matrices with more rows, and with more columns, than one dimension of a grid has blocks for: every cell is worked on
/// once.
pub fn check_large<B: Backend>(backend: &B) {
    // Groups of 256 rows, and blocks of 256 cells for such a group; 65,535 is the most in two of a grid's dimensions.
    for (rows, cols) in [(256 * 65_535 + 1, 1), (257, 65_537)] {
        let ones = vec![B::Scalar::of(1.0); rows * cols];
        let [mut from, mut to] = [(); 2].map(|()| backend.zeros(rows * cols).unwrap());
        backend.upload(&ones, &mut from, 0).unwrap();
        backend.run(Add { from: Mat::new(&from, rows, cols), to: MatMut::new(&mut to, rows, cols) });
        let mut out = vec![B::Scalar::of(-1.0); rows * cols];
        backend.download(&to, 0, &mut out).unwrap();
        for (i, &x) in out.iter().enumerate() {
            assert_eq!(B::Scalar::value(x), 1.0, "{rows} x {cols}: cell {i}");
        }
    }
}

pub fn check_gather<B: Backend>(backend: &B) {
    fn run<B: Backend>(backend: &B, table: &Array, rows: &[u32]) -> Array {
        let mut out = Array::junk(rows.len(), table.cols).on(backend);
        backend.run(Gather {
            table: table.on(backend).mat(),
            rows: &backend.index(rows).unwrap(),
            out: out.mat_mut(),
        });
        out.read()
    }
    let mut rng = stream(1, "gather", 0);
    for d in DIMENSIONS {
        for count in COUNTS {
            let table = Array::random(&mut rng, 70, d, 1.0);
            let rows: Vec<u32> = (0..count).map(|_| distinct(&mut rng, 1, 70)[0]).collect();
            let want = run(&Reference, &table, &rows);
            assert_same(&format!("gather {count} x {d}"), &run(backend, &table, &rows), &want);
        }
    }
}

pub fn check_scatter<B: Backend>(backend: &B) {
    fn run<B: Backend>(backend: &B, from: &Array, rows: &[u32], to: &Array) -> Array {
        let mut out = to.on(backend);
        backend.run(Scatter {
            from: from.on(backend).mat(),
            rows: &backend.index(rows).unwrap(),
            out: out.mat_mut(),
        });
        out.read()
    }
    let mut rng = stream(1, "scatter", 0);
    for d in DIMENSIONS {
        for count in COUNTS {
            let from = Array::random(&mut rng, count, d, 1.0);
            let to = Array::random(&mut rng, 150, d, 1.0);
            let rows = distinct(&mut rng, count, 150);
            let want = run(&Reference, &from, &rows, &to);
            assert_same(&format!("scatter {count} x {d}"), &run(backend, &from, &rows, &to), &want);
        }
    }
}

pub fn check_copy_and_fill<B: Backend>(backend: &B) {
    fn run<B: Backend>(backend: &B, from: &Array) -> [Array; 2] {
        let from = from.on(backend);
        let mut copied = Array::junk(from.mat().rows, from.mat().cols).on(backend);
        backend.run(CopyRows { from: from.mat(), out: copied.mat_mut() });
        // A part of a matrix: not its first rows and columns, nor its last ones.
        let mut part = from.read().on(backend);
        if from.mat().rows > 3 && from.mat().cols > 3 {
            let (rows, cols) = (from.mat().rows - 3, from.mat().cols - 2);
            backend.run(Fill { value: 0.1, out: part.mat_mut().rows(1, rows).columns(1, cols) });
            backend.run(CopyRows {
                from: from.mat().rows(3, 1).columns(2, 1),
                out: part.mat_mut().rows(0, 1).columns(0, 1),
            });
        } else {
            backend.run(Fill { value: 0.1, out: part.mat_mut() });
        }
        [copied.read(), part.read()]
    }
    let mut rng = stream(1, "copy", 0);
    for d in DIMENSIONS {
        for count in COUNTS {
            let from = Array::random(&mut rng, count, d, 1.0);
            let ([copied, filled], want) = (run(backend, &from), run(&Reference, &from));
            assert_same(&format!("copy {count} x {d}"), &copied, &want[0]);
            assert_same(&format!("fill {count} x {d}"), &filled, &want[1]);
        }
    }
}

pub fn check_add<B: Backend>(backend: &B) {
    fn run<B: Backend>(backend: &B, from: &Array, to: &Array) -> Array {
        let mut to = to.on(backend);
        backend.run(Add { from: from.on(backend).mat(), to: to.mat_mut() });
        to.read()
    }
    let mut rng = stream(1, "add", 0);
    for d in DIMENSIONS {
        for count in COUNTS {
            let from = Array::random(&mut rng, count, d, 1.0);
            let to = Array::random(&mut rng, count, d, 1.0);
            let want = run(&Reference, &from, &to);
            assert_same(&format!("add {count} x {d}"), &run(backend, &from, &to), &want);
        }
    }
}

pub fn check_add_groups<B: Backend>(backend: &B) {
    fn run<B: Backend>(backend: &B, groups: &[Vec<u32>; 3], from: &Array, to: &Array) -> Array {
        let [ids, offsets, members] = groups.each_ref().map(|index| backend.index(index).unwrap());
        let mut to = to.on(backend);
        backend.run(AddGroups {
            groups: &DeviceGroups { ids, offsets, members },
            from: from.on(backend).mat(),
            to: to.mat_mut(),
        });
        to.read()
    }
    let mut rng = stream(1, "add groups", 0);
    for d in DIMENSIONS {
        for count in COUNTS {
            let mut ids = distinct(&mut rng, count, 150);
            ids.sort_unstable();
            let offsets = segments(&mut rng, count, 3);
            let num_members = offsets[count] as usize;
            let members = distinct(&mut rng, num_members, num_members + 7);
            // In 4096ths: the sums are exact, in any order.
            let from = Array::random(&mut rng, num_members + 7, d, 1.0);
            let to = Array::random(&mut rng, 150, d, 1.0);
            let groups = [ids, offsets, members];
            let want = run(&Reference, &groups, &from, &to);
            assert_same(&format!("add groups {count} x {d}"), &run(backend, &groups, &from, &to), &want);
        }
    }
}

pub fn check_dropout<B: Backend>(backend: &B) {
    fn run<B: Backend>(backend: &B, dropout: Dropout, x: &Array) -> Array {
        let mut x = x.on(backend);
        backend.run(DropOut { dropout, x: x.mat_mut() });
        x.read()
    }
    let mut rng = stream(1, "dropout", 0);
    for (i, probability) in [0.0, 0.079, 0.5, 0.97].into_iter().enumerate() {
        for d in DIMENSIONS {
            for count in COUNTS {
                // Without zeros, so that one that is dropped shows.
                let x = Array::random(&mut rng, count, d, 1.0).map(|x| x + 2.0);
                let dropout = Dropout::new(probability, 0x0123_4567_89ab_cdef << i);
                let (got, want) = (run(backend, dropout, &x), run(&Reference, dropout, &x));
                let what = format!("dropout {probability} of {count} x {d}");
                // One product.
                assert_close(&what, &got, &want, |i, k| f64::from(f32::EPSILON) * want.at(i, k).abs());
                let dropped = (0..count).flat_map(|i| want.row(i)).filter(|&&x| x == 0.0).count();
                if count * d >= 10_000 {
                    let share = dropped as f64 / (count * d) as f64;
                    assert!((share - f64::from(probability)).abs() < 0.02, "{what}: {share} is dropped");
                }
            }
        }
    }
}
