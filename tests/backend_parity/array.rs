//! Matrices on the host, the same matrices on a device, and how two of them are compared.

use rand::Rng as _;
use smore::engine::backend::{Backend, Mat, MatMut, Number};
use smore::engine::rng::{Rng, below};

/// Column counts below, at and around the widths of vectors.
pub const DIMENSIONS: [usize; 9] = [1, 3, 7, 16, 17, 33, 64, 100, 400];

/// Row counts below, at and around the tiles and chunks of the kernels.
pub const COUNTS: [usize; 10] = [0, 1, 2, 3, 4, 5, 63, 64, 65, 130];

/// A matrix and the buffer around it. What lies between its rows is NaN: who reads it spoils the
/// result, who writes it is found by [`assert_close`].
#[derive(Clone, Debug)]
pub struct Array {
    pub rows: usize,
    pub cols: usize,
    offset: usize,
    stride: usize,
    data: Vec<f64>,
}

impl Array {
    /// Numbers by row and column, rounded to float32 so that every backend gets the same ones. Some
    /// shapes begin behind the start of their buffer and have gaps between rows; those of a multiple of
    /// 8 columns have all rows at multiples of 16 bytes, as kernels with wide loads want them.
    pub fn new(rows: usize, cols: usize, mut value: impl FnMut(usize, usize) -> f64) -> Array {
        let aligned = [(0, 0), (8, 4), (0, 0), (0, 4)];
        let (offset, gap) = if cols.is_multiple_of(8) { aligned } else { [(0, 0), (3, 0), (0, 5), (21, 3)] }
            [(rows + cols) % 4];
        let stride = cols + gap;
        let len = if rows == 0 { offset } else { offset + (rows - 1) * stride + cols };
        let mut array = Array { rows, cols, offset, stride, data: vec![f64::NAN; len] };
        for i in 0..rows {
            for j in 0..cols {
                array.set(i, j, f64::from(value(i, j) as f32));
            }
        }
        array
    }

    /// Multiples of `scale / 4096` in `-scale..=scale`: sums and differences of two are exact in
    /// float32 where `scale` is a power of 2, so that comparisons fall the same way on every backend.
    pub fn random(rng: &mut Rng, rows: usize, cols: usize, scale: f64) -> Array {
        Array::new(rows, cols, |_, _| random(rng) * scale)
    }

    pub fn zeros(rows: usize, cols: usize) -> Array {
        Array::new(rows, cols, |_, _| 0.0)
    }

    /// What an operation must overwrite.
    pub fn junk(rows: usize, cols: usize) -> Array {
        Array::new(rows, cols, |_, _| 12345.0)
    }

    pub fn row(&self, i: usize) -> &[f64] {
        &self.data[self.offset + i * self.stride..][..self.cols]
    }

    pub fn at(&self, i: usize, j: usize) -> f64 {
        self.row(i)[j]
    }

    pub fn set(&mut self, i: usize, j: usize, value: f64) {
        self.data[self.offset + i * self.stride + j] = value;
    }

    pub fn map(&self, f: impl Fn(f64) -> f64) -> Array {
        Array { data: self.data.iter().map(|&x| f(x)).collect(), ..self.clone() }
    }

    pub fn abs(&self) -> Array {
        self.map(f64::abs)
    }

    pub fn rounded(&self) -> Array {
        self.map(|x| f64::from(x as f32))
    }

    /// Sum of the products of two matrices' entries.
    pub fn dot(&self, other: &Array) -> f64 {
        (0..self.rows).map(|i| self.row(i).iter().zip(other.row(i)).map(|(a, b)| a * b).sum::<f64>()).sum()
    }

    /// Copies the matrix to a device.
    pub fn on<'b, B: Backend>(&self, backend: &'b B) -> Device<'b, B> {
        let data: Vec<B::Scalar> = self.data.iter().map(|&x| B::Scalar::of(x)).collect();
        let mut buffer = backend.zeros(data.len()).unwrap();
        backend.upload(&data, &mut buffer, 0).unwrap();
        Device { backend, host: self.clone(), buffer }
    }
}

/// An [`Array`] on a device.
pub struct Device<'b, B: Backend> {
    backend: &'b B,
    host: Array,
    pub buffer: B::Buffer,
}

impl<B: Backend> Device<'_, B> {
    pub fn mat(&self) -> Mat<'_, B::Buffer> {
        let Array { rows, cols, offset, stride, .. } = self.host;
        Mat { buffer: &self.buffer, offset, rows, cols, stride }
    }

    pub fn mat_mut(&mut self) -> MatMut<'_, B::Buffer> {
        let Array { rows, cols, offset, stride, .. } = self.host;
        MatMut { buffer: &mut self.buffer, offset, rows, cols, stride }
    }

    /// Its only row as a column.
    pub fn column(&self) -> Mat<'_, B::Buffer> {
        assert_eq!(self.host.rows, 1);
        Mat { rows: self.host.cols, cols: 1, stride: 1, ..self.mat() }
    }

    /// The same, to be written.
    pub fn column_mut(&mut self) -> MatMut<'_, B::Buffer> {
        assert_eq!(self.host.rows, 1);
        let rows = self.host.cols;
        MatMut { rows, cols: 1, stride: 1, ..self.mat_mut() }
    }

    /// The whole buffer, as it is now.
    pub fn read(&self) -> Array {
        let mut data = vec![B::Scalar::default(); self.host.data.len()];
        self.backend.download(&self.buffer, 0, &mut data).unwrap();
        Array { data: data.into_iter().map(B::Scalar::value).collect(), ..self.host.clone() }
    }
}

/// A multiple of 1/4096 in -1..=1.
pub fn random(rng: &mut Rng) -> f64 {
    below(rng, 8193) as f64 / 4096.0 - 1.0
}

/// A number with all the bits of a float32, so that the order of a sum shows.
pub fn full(rng: &mut Rng) -> f64 {
    f64::from((random(rng) + random(rng) * 1e-4) as f32)
}

/// True with probability `p`.
pub fn chance(rng: &mut Rng, p: f64) -> bool {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64 <= p
}

/// Offsets of `count` segments of 1 to `arity` rows.
pub fn segments(rng: &mut Rng, count: usize, arity: usize) -> Vec<u32> {
    let mut offsets = vec![0];
    for _ in 0..count {
        offsets.push(offsets[offsets.len() - 1] + 1 + below(rng, arity as u64) as u32);
    }
    offsets
}

/// `count` distinct numbers below `n`, in random order.
pub fn distinct(rng: &mut Rng, count: usize, n: usize) -> Vec<u32> {
    let mut all: Vec<u32> = (0..n as u32).collect();
    for i in 0..count {
        all.swap(i, i + below(rng, (n - i) as u64) as usize);
    }
    all.truncate(count);
    all
}

/// What float32 may lose in a sum of `terms` terms whose absolute values add up to `magnitude`, each
/// with a few roundings of its own.
pub fn rounding(terms: usize, magnitude: f64) -> f64 {
    f64::from(f32::EPSILON) * (8.0 + 2.0 * (terms as f64).sqrt()) * magnitude
}

/// Fails where `got` is further than `tolerance(row, column)` from `want`, is NaN where `want` is not
/// or the reverse, or differs from NaN between its rows.
#[track_caller]
pub fn assert_close(what: &str, got: &Array, want: &Array, tolerance: impl Fn(usize, usize) -> f64) {
    assert_eq!((got.rows, got.cols, got.data.len()), (want.rows, want.cols, want.data.len()), "{what}");
    let mut gaps = got.clone();
    for i in 0..got.rows {
        for j in 0..got.cols {
            let (g, w, t) = (got.at(i, j), want.at(i, j), tolerance(i, j));
            let close = g == w || (g - w).abs() <= t || (g.is_nan() && w.is_nan());
            assert!(close, "{what}: [{i}, {j}] is {g}, not {w} +- {t:e}");
            gaps.set(i, j, f64::NAN);
        }
    }
    assert!(gaps.data.iter().all(|x| x.is_nan()), "{what}: written outside of the view");
}

/// Fails where two matrices or their surroundings differ at all.
#[track_caller]
pub fn assert_same(what: &str, got: &Array, want: &Array) {
    assert_close(what, got, want, |_, _| 0.0);
}
