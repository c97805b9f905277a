//! Batch normalisation of ConvE's features.

use super::{Bench, Cost};
use smore::engine::backend::*;
use smore::engine::program::ops::normalise::{MeanVariance, Normalise, NormaliseBackward};
use smore::engine::table::count;

/// Rows of 32 features, as 3 x 3 filters make them of `images` of 20 x 20.
///
/// Floors: mean and variance need two readings, and the gradients' sums one before what is written.
pub fn bench<B: Backend>(bench: &mut Bench<B>, images: usize) -> anyhow::Result<()> {
    let (rows, cols) = (images * 18 * 18, 32);
    let x = bench.random(rows * cols, 1.0)?;
    let [mut y, mut dx] = [bench.backend.zeros(rows * cols)?, bench.random(rows * cols, 1.0)?];
    let [mut mean_variance, affine, mut daffine] =
        [bench.backend.zeros(2 * cols)?, bench.random(2 * cols, 0.1)?, bench.backend.zeros(2 * cols)?];
    let size = format!("{} x {cols}", count(rows as u64));
    let cost = |passes: f64| Cost { bytes: 4.0 * passes * (rows * cols) as f64, ..Cost::default() };
    let x = Mat::new(&x, rows, cols);
    bench.time("mean and variance", size.clone(), cost(2.0), |b| {
        b.run(MeanVariance { x, out: MatMut::new(&mut mean_variance, 2, cols) })
    })?;
    let (mean_variance, affine) = (Mat::new(&mean_variance, 2, cols), Mat::new(&affine, 2, cols));
    bench.time("normalise", size.clone(), cost(2.0), |b| {
        b.run(Normalise {
            x,
            mean_variance,
            affine,
            f: Activation::Relu,
            out: MatMut::new(&mut y, rows, cols),
        });
    })?;
    let y = Mat::new(&y, rows, cols);
    bench.time("normalise backward", size, cost(7.0), |b| {
        let (dx, daffine) = (MatMut::new(&mut dx, rows, cols), MatMut::new(&mut daffine, 2, cols));
        b.run(NormaliseBackward { x, mean_variance, affine, out: y, f: Activation::Relu, dx, daffine });
    })
}
