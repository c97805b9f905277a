//! Batch normalisation: mean and variance of columns, and what they do to rows.

use super::View;
use super::memory::{CHUNK, par_rows};
use super::project::activate;
use crate::backend::{Activation, Cpu, MatMut, NORM_EPSILON, On};
use crate::program::ops::normalise::{Blend, MeanVariance, Normalisation, Normalise, NormaliseBackward};
use rayon::prelude::*;

/// Does an operation of the family.
pub fn run(op: Normalisation<On<Cpu>>) {
    match op {
        Normalisation::MeanVariance(op) => mean_variance(op),
        Normalisation::Normalise(op) => normalise(op),
        Normalisation::NormaliseBackward(op) => normalise_backward(op),
        Normalisation::Blend(op) => blend(op),
    }
}

/// Rows whose sums are one task's: fixed, so that sums do not depend on threads.
const BLOCK: usize = 2048;

/// Sums over rows, of `sums` numbers: `add(i, sums)` adds row i's in float32 within a block; blocks are added in float64.
fn over_rows(rows: usize, sums: usize, add: impl Fn(usize, &mut [f32]) + Sync) -> Vec<f64> {
    let blocks: Vec<Vec<f32>> = (0..rows.div_ceil(BLOCK))
        .into_par_iter()
        .map(|block| {
            let mut partial = vec![0.0; sums];
            pulp::Arch::new().dispatch(
                #[inline(always)]
                || (block * BLOCK..rows.min((block + 1) * BLOCK)).for_each(|i| add(i, &mut partial)),
            );
            partial
        })
        .collect();
    let mut total = vec![0.0; sums];
    for block in blocks {
        total.iter_mut().zip(block).for_each(|(sum, x)| *sum += f64::from(x));
    }
    total
}

/// See [`MeanVariance`].
fn mean_variance(MeanVariance { x, mut out }: MeanVariance<On<Cpu>>) {
    let n = x.rows as f64;
    let sums = over_rows(x.rows, x.cols, |i, sums| {
        sums.iter_mut().zip(x.row(i)).for_each(|(sum, x)| *sum += x);
    });
    let means: Vec<f32> = sums.into_iter().map(|sum| (sum / n) as f32).collect();
    let squares = over_rows(x.rows, x.cols, |i, sums| {
        for ((sum, x), mean) in sums.iter_mut().zip(x.row(i)).zip(&means) {
            *sum += (x - mean) * (x - mean);
        }
    });
    out.row(0).copy_from_slice(&means);
    out.row(1).iter_mut().zip(squares).for_each(|(variance, sum)| *variance = (sum / n) as f32);
}

/// 1 / sqrt(variance + epsilon) of each column.
fn inverse_deviations(mean_variance: View) -> Vec<f32> {
    mean_variance.row(1).iter().map(|variance| 1.0 / (variance + NORM_EPSILON).sqrt()).collect()
}

/// See [`Normalise`].
fn normalise(Normalise { x, mean_variance, affine, f, out }: Normalise<On<Cpu>>) {
    let cols = x.cols;
    let slopes: Vec<f32> = inverse_deviations(mean_variance)
        .into_iter()
        .zip(affine.row(0))
        .map(|(inv, s)| inv * (1.0 + s))
        .collect();
    let (means, shifts) = (mean_variance.row(0), affine.row(1));
    par_rows(out, CHUNK, |mut out| {
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                for i in 0..out.count {
                    // Lengths that the compiler knows to be alike need no checks in the loop.
                    let (x, y) = (&x.row(out.first + i)[..cols], &mut out.row(i)[..cols]);
                    let (means, slopes, shifts) = (&means[..cols], &slopes[..cols], &shifts[..cols]);
                    for k in 0..cols {
                        y[k] = activate(f, (x[k] - means[k]) * slopes[k] + shifts[k]);
                    }
                }
            },
        );
    });
}

/// See [`NormaliseBackward`].
fn normalise_backward(
    NormaliseBackward { x, mean_variance, affine, out, f, mut dx, mut daffine }: NormaliseBackward<On<Cpu>>,
) {
    let (rows, cols) = (x.rows, x.cols);
    let (means, inverse) = (mean_variance.row(0), inverse_deviations(mean_variance));
    let open = |y: f32| match f {
        Activation::None => true,
        // NaN lets the gradient through, so that it shows.
        Activation::Relu => y > 0.0 || y.is_nan(),
        Activation::Softplus => unreachable!("normalised rows have no softplus"),
    };
    let (offset, stride) = (dx.offset, dx.stride);
    let sums = {
        let dout = dx.again();
        let dout = dout.as_mat();
        over_rows(rows, 2 * cols, |i, sums| {
            let (scales, shifts) = sums.split_at_mut(cols);
            let (x, y, d) = (&x.row(i)[..cols], &out.row(i)[..cols], &dout.row(i)[..cols]);
            let (means, inverse, shifts) = (&means[..cols], &inverse[..cols], &mut shifts[..cols]);
            for k in 0..cols {
                let d = if open(y[k]) { d[k] } else { 0.0 };
                scales[k] += d * (x[k] - means[k]) * inverse[k];
                shifts[k] += d;
            }
        })
    };
    for (half, sums) in sums.chunks(cols.max(1)).enumerate() {
        daffine.row(half).iter_mut().zip(sums).for_each(|(to, sum)| *to = *sum as f32);
    }
    let sums: Vec<f32> = sums.iter().map(|sum| (sum / rows as f64) as f32).collect();
    let (along, mean) = sums.split_at(cols);
    let slopes: Vec<f32> = inverse.iter().zip(affine.row(0)).map(|(inv, s)| inv * (1.0 + s)).collect();
    let dx = MatMut { buffer: dx.buffer, offset, rows, cols, stride };
    par_rows(dx, CHUNK, |mut dx| {
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                for i in 0..dx.count {
                    let (x, y) = (&x.row(dx.first + i)[..cols], &out.row(dx.first + i)[..cols]);
                    let d = &mut dx.row(i)[..cols];
                    let (means, inverse, slopes) = (&means[..cols], &inverse[..cols], &slopes[..cols]);
                    let (along, mean) = (&along[..cols], &mean[..cols]);
                    for k in 0..cols {
                        let through = if open(y[k]) { d[k] } else { 0.0 };
                        let normal = (x[k] - means[k]) * inverse[k];
                        d[k] = slopes[k] * (through - mean[k] - normal * along[k]);
                    }
                }
            },
        );
    });
}

/// See [`Blend`].
fn blend(Blend { rate, from, to }: Blend<On<Cpu>>) {
    par_rows(to, CHUNK, |mut to| {
        for i in 0..to.count {
            let from = from.row(to.first + i);
            to.row(i).iter_mut().zip(from).for_each(|(to, from)| *to += rate * (from - *to));
        }
    });
}
