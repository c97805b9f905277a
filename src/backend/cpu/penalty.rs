//! What large numbers of rows cost.

use super::memory::{CHUNK, Shared, par_rows};
use crate::backend::{Cpu, On, Penalty};
use crate::math::LANES;
use crate::program::ops::penalty::{Penalties, Regularise};

/// Does an operation of the family.
pub fn run(op: Penalties<On<Cpu>>) {
    match op {
        Penalties::Regularise(op) => regularise(op),
    }
}

/// See [`Regularise`].
fn regularise(Regularise { penalty, row_weights, x, grads, penalties }: Regularise<On<Cpu>>) {
    let (row_weights, penalties) = (row_weights.into_row(), penalties.into_row());
    let penalties = Shared::new(penalties);
    par_rows(grads, CHUNK, |mut grads| {
        for i in 0..grads.count {
            let row = grads.first + i;
            let weight = row_weights.row(0)[row];
            let mut sum = 0.0;
            if weight != 0.0 {
                let (x, dx) = (x.row(row), grads.row(i));
                sum = pulp::Arch::new().dispatch(
                    #[inline(always)]
                    || match penalty {
                        Penalty::Squares => real(x, dx, |x| (x * x, 2.0 * weight * x)),
                        Penalty::Cubes => real(x, dx, |x| (x * x * x.abs(), 3.0 * weight * x.abs() * x)),
                        Penalty::ComplexCubes => complex_cubes(weight, x, dx),
                    },
                );
            }
            // SAFETY: each row's penalty is written by the one task that owns the row.
            unsafe { penalties.slice(0, row, 1)[0] = weight * sum };
        }
    });
}

/// The sum of the values of `of`, in [`LANES`] partial sums; adds its derivatives.
#[inline(always)]
fn real(x: &[f32], dx: &mut [f32], of: impl Fn(f32) -> (f32, f32)) -> f32 {
    let mut lanes = [0f32; LANES];
    for (x, dx) in x.chunks(LANES).zip(dx.chunks_mut(LANES)) {
        for ((x, dx), lane) in x.iter().zip(dx).zip(&mut lanes) {
            let (value, derivative) = of(*x);
            *lane += value;
            *dx += derivative;
        }
    }
    lanes.iter().sum()
}

#[inline(always)]
fn complex_cubes(weight: f32, x: &[f32], dx: &mut [f32]) -> f32 {
    let (re, im) = x.split_at(x.len() / 2);
    let (dre, dim) = dx.split_at_mut(x.len() / 2);
    let mut lanes = [0f32; LANES];
    let parts = re.chunks(LANES).zip(im.chunks(LANES));
    let gradients = dre.chunks_mut(LANES).zip(dim.chunks_mut(LANES));
    for ((re, im), (dre, dim)) in parts.zip(gradients) {
        for ((((re, im), dre), dim), lane) in re.iter().zip(im).zip(dre).zip(dim).zip(&mut lanes) {
            let square = re * re + im * im;
            let modulus = square.sqrt();
            *lane += square * modulus;
            *dre += 3.0 * weight * modulus * re;
            *dim += 3.0 * weight * modulus * im;
        }
    }
    lanes.iter().sum()
}
