//! Linear layers on a serial sgemm per tile.

use super::memory::{CHUNK, Shared, par_rows};
use super::project::activate;
use super::{View, ViewMut};
use crate::backend::{Activation, Cpu, HostBuffer, Mat, On};
use crate::program::ops::linear::{Layers, Linear, LinearBackward};
use crate::program::ops::rows::Fill;
use rayon::prelude::*;

/// Does an operation of the family.
pub fn run(op: Layers<On<Cpu>>) {
    match op {
        Layers::Linear(op) => linear(op),
        Layers::LinearBackward(op) => linear_backward(op),
    }
}

/// A matrix as the multiplication reads it: element (i, j) at `i * row_stride + j * col_stride`.
#[derive(Clone, Copy)]
pub struct Operand<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> Operand<'a> {
    /// The matrix as it stands.
    pub fn new(m: View<'a>) -> Self {
        let len = if m.rows == 0 { 0 } else { (m.rows - 1) * m.stride + m.cols };
        let data = &m.buffer.as_slice()[m.offset..][..len];
        Operand { data, rows: m.rows, cols: m.cols, row_stride: m.stride, col_stride: 1 }
    }

    /// Rows of `cols` numbers, one after the other.
    pub fn slice(data: &'a [f32], cols: usize) -> Self {
        Operand { data, rows: data.len() / cols, cols, row_stride: cols, col_stride: 1 }
    }

    /// Rows `first..first + rows`.
    pub fn rows(self, first: usize, rows: usize) -> Self {
        assert!(first + rows <= self.rows);
        Operand { data: &self.data[first * self.row_stride..], rows, ..self }
    }

    /// Whether all its elements are in its slice.
    fn fits(self) -> bool {
        self.rows == 0
            || self.cols == 0
            || (self.rows - 1) * self.row_stride + (self.cols - 1) * self.col_stride < self.data.len()
    }

    /// Its transpose.
    pub fn transposed(self) -> Self {
        Operand {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }
}

/// Rows and columns of the part of a product that a task has. What a task reads is packed anew by every task: with
/// tiles of 64 rows, packing the wide weights of BetaE takes longer than multiplying.
const TILE: usize = 256;

/// `out = a b` or `out += a b`, in parallel over fixed tiles of `out`.
pub fn par_matmul(a: Operand, b: Operand, accumulate: bool, out: ViewMut) {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    assert_eq!((k, m, n), (b.rows, out.rows, out.cols));
    if m == 0 || n == 0 || k == 0 {
        if !accumulate {
            super::rows::fill(Fill { value: 0.0, out });
        }
        return;
    }
    assert!(a.fits() && b.fits());
    let (out, tiles) = (Shared::new(out), n.div_ceil(TILE));
    (0..m.div_ceil(TILE) * tiles).into_par_iter().for_each(|i| {
        let (row, col) = (i / tiles * TILE, i % tiles * TILE);
        let (m, n) = (TILE.min(m - row), TILE.min(n - col));
        let (pointer, stride) = out.tile(row, col, m, n);
        // SAFETY: the strides of a and b stay inside their slices (asserted above), the tile inside `out` (asserted by
        // `Shared::tile`), which no other task's tile overlaps.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                pointer,
                1,
                stride as isize,
                accumulate,
                a.data[row * a.row_stride..].as_ptr(),
                a.col_stride as isize,
                a.row_stride as isize,
                b.data[col * b.col_stride..].as_ptr(),
                b.col_stride as isize,
                b.row_stride as isize,
                1.0f32,
                1.0f32,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    });
}

/// `out = a b` on this thread; rows of `out` lie one after the other.
pub fn matmul_into(a: Operand, b: Operand, out: &mut [f32]) {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    assert_eq!((k, m * n), (b.rows, out.len()));
    assert!(a.fits() && b.fits());
    if k == 0 {
        return out.fill(0.0);
    }
    // SAFETY: the strides of a and b stay inside their slices, and `out` has m rows of n (all asserted above).
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            false,
            a.data.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            1.0f32,
            1.0f32,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// See [`Linear`].
fn linear(Linear { x, w, bias, f, mut out }: Linear<On<Cpu>>) {
    par_matmul(Operand::new(x), Operand::new(w).transposed(), false, out.again());
    let Some(b) = bias else {
        return apply(f, out);
    };
    par_rows(out, CHUNK, |mut out| {
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                for i in 0..out.count {
                    for (y, b) in out.row(i).iter_mut().zip(b.row(0)) {
                        *y = activate(f, *y + b);
                    }
                }
            },
        );
    });
}

/// `x = f(x)`.
fn apply(f: Activation, x: ViewMut) {
    if f == Activation::None {
        return;
    }
    par_rows(x, CHUNK, |mut x| {
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || (0..x.count).for_each(|i| x.row(i).iter_mut().for_each(|x| *x = activate(f, *x))),
        );
    });
}

/// See [`LinearBackward`].
fn linear_backward(LinearBackward { x, w, out, f, dout, dx, dw, dbias }: LinearBackward<On<Cpu>>) {
    let (rows, cols, offset, stride) = (dout.rows, dout.cols, dout.offset, dout.stride);
    let buffer = dout.buffer;
    match f {
        Activation::None => {}
        Activation::Relu => {
            let out = out.expect("an activation is known by its output");
            let dout = crate::backend::MatMut { buffer: &mut *buffer, offset, rows, cols, stride };
            par_rows(dout, CHUNK, |mut dout| {
                for i in 0..dout.count {
                    let out = out.row(dout.first + i);
                    for (d, y) in dout.row(i).iter_mut().zip(out) {
                        *d = if *y <= 0.0 { 0.0 } else { *d };
                    }
                }
            });
        }
        Activation::Softplus => unreachable!("linear layers have no softplus"),
    }
    let dout = Mat { buffer: &*buffer, offset, rows, cols, stride };
    if let Some(mut db) = dbias {
        let db = db.row(0);
        for i in 0..rows {
            for (b, d) in db.iter_mut().zip(dout.row(i)) {
                *b += d;
            }
        }
    }
    par_matmul(Operand::new(dout).transposed(), Operand::new(x), true, dw);
    par_matmul(Operand::new(dout), Operand::new(w), false, dx);
}
