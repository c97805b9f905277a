//! Elementwise functions and their gradients: the loops of [`super::formulas`].

use super::View;
use super::formulas::with_function;
use super::memory::{CHUNK, Rows, par_rows};
use crate::backend::{Cpu, On};
use crate::program::ops::elementwise::{Apply, ApplyBackward, Elementwise};
use pulp::WithSimd;

/// Does an operation of the family.
pub fn run(op: Elementwise<On<Cpu>>) {
    match op {
        Elementwise::Apply(op) => apply(op),
        Elementwise::ApplyBackward(op) => apply_backward(op),
    }
}

/// A function of `I` numbers that gives `O`, and its gradient at `A` numbers: its inputs or its values, as
/// [`Function::gradient_reads`](crate::backend::Function::gradient_reads) says. Without branches, so that loops vectorise.
pub trait Formula<const I: usize, const O: usize, const A: usize>: Copy + Sync {
    /// Its values.
    fn value(self, x: [f32; I]) -> [f32; O];

    /// Its gradient by x from the gradient by its values.
    fn backward(self, at: [f32; A], dy: [f32; O]) -> [f32; I];
}

/// Columns that are worked on at once, in arrays that nothing else can point to.
const COLUMNS: usize = 64;

/// See [`Apply`].
fn apply(Apply { f, x, out }: Apply<On<Cpu>>) {
    par_rows(out, CHUNK, |out| with_function!(f, f => pulp::Arch::new().dispatch(Values { f, x, out })));
}

/// Values of some rows.
struct Values<'a, F, const I: usize, const O: usize, const A: usize> {
    f: F,
    x: View<'a>,
    out: Rows<'a>,
}

impl<F: Formula<I, O, A>, const I: usize, const O: usize, const A: usize> WithSimd
    for Values<'_, F, I, O, A>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let Values { f, x, mut out } = self;
        let d = x.cols / I;
        for i in 0..out.count {
            let (x, out) = (x.row(out.first + i), out.row(i));
            for first in (0..d).step_by(COLUMNS) {
                let x = load::<I>(x, d, first);
                let mut y = [[0f32; COLUMNS]; O];
                for k in 0..COLUMNS {
                    let value = f.value(std::array::from_fn(|part| x[part][k]));
                    (0..O).for_each(|part| y[part][k] = value[part]);
                }
                store(&y, out, d, first);
            }
        }
    }
}

/// See [`ApplyBackward`].
fn apply_backward(ApplyBackward { f, at, dout, dx }: ApplyBackward<On<Cpu>>) {
    par_rows(dx, CHUNK, |dx| {
        with_function!(f, f => pulp::Arch::new().dispatch(Gradients { f, at, dout, dx }));
    });
}

/// Gradients of some rows.
struct Gradients<'a, F, const I: usize, const O: usize, const A: usize> {
    f: F,
    at: View<'a>,
    dout: View<'a>,
    dx: Rows<'a>,
}

impl<F: Formula<I, O, A>, const I: usize, const O: usize, const A: usize> WithSimd
    for Gradients<'_, F, I, O, A>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let Gradients { f, at, dout, mut dx } = self;
        let d = dout.cols / O;
        for i in 0..dx.count {
            let (at, dout, dx) = (at.row(dx.first + i), dout.row(dx.first + i), dx.row(i));
            for first in (0..d).step_by(COLUMNS) {
                let (at, dy) = (load::<A>(at, d, first), load::<O>(dout, d, first));
                let mut sums = [[0f32; COLUMNS]; I];
                for k in 0..COLUMNS {
                    let at = std::array::from_fn(|part| at[part][k]);
                    let gradient = f.backward(at, std::array::from_fn(|part| dy[part][k]));
                    (0..I).for_each(|part| sums[part][k] = gradient[part]);
                }
                store(&sums, dx, d, first);
            }
        }
    }
}

/// [`COLUMNS`] columns of each part of a row, from `first` of `d` on; ones where there are fewer, at which functions have values.
#[inline(always)]
fn load<const N: usize>(row: &[f32], d: usize, first: usize) -> [[f32; COLUMNS]; N] {
    let count = COLUMNS.min(d - first);
    std::array::from_fn(|part| {
        let mut all = [1.0; COLUMNS];
        all[..count].copy_from_slice(&row[part * d + first..][..count]);
        all
    })
}

/// Writes what [`load`] would read.
#[inline(always)]
fn store<const N: usize>(from: &[[f32; COLUMNS]; N], row: &mut [f32], d: usize, first: usize) {
    let count = COLUMNS.min(d - first);
    for (part, from) in from.iter().enumerate() {
        row[part * d + first..][..count].copy_from_slice(&from[..count]);
    }
}
