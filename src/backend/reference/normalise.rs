//! Batch normalisation.

use super::linear::activate;
use crate::backend::{Activation, NORM_EPSILON};
use crate::backend::{On, Reference};
use crate::program::ops::normalise::{Blend, MeanVariance, Normalisation, Normalise, NormaliseBackward};

/// Does an operation of the family.
pub fn run(op: Normalisation<On<Reference>>) {
    match op {
        Normalisation::MeanVariance(op) => mean_variance(op),
        Normalisation::Normalise(op) => normalise(op),
        Normalisation::NormaliseBackward(op) => normalise_backward(op),
        Normalisation::Blend(op) => blend(op),
    }
}

/// See [`MeanVariance`].
fn mean_variance(MeanVariance { x, mut out }: MeanVariance<On<Reference>>) {
    let n = x.rows as f64;
    for k in 0..x.cols {
        let mean = (0..x.rows).map(|i| x.row(i)[k]).sum::<f64>() / n;
        out.row(0)[k] = mean;
        out.row(1)[k] = (0..x.rows).map(|i| (x.row(i)[k] - mean).powi(2)).sum::<f64>() / n;
    }
}

/// See [`Normalise`].
fn normalise(Normalise { x, mean_variance, affine, f, mut out }: Normalise<On<Reference>>) {
    for (i, k) in (0..x.rows).flat_map(|i| (0..x.cols).map(move |k| (i, k))) {
        let deviation = (mean_variance.row(1)[k] + f64::from(NORM_EPSILON)).sqrt();
        let normal = (x.row(i)[k] - mean_variance.row(0)[k]) / deviation;
        out.row(i)[k] = activate(f, normal * (1.0 + affine.row(0)[k]) + affine.row(1)[k]);
    }
}

/// See [`NormaliseBackward`].
fn normalise_backward(
    NormaliseBackward { x, mean_variance, affine, out, f, mut dx, mut daffine }: NormaliseBackward<
        On<Reference>,
    >,
) {
    let n = x.rows as f64;
    for k in 0..x.cols {
        let deviation = (mean_variance.row(1)[k] + f64::from(NORM_EPSILON)).sqrt();
        let normal = |i: usize| (x.row(i)[k] - mean_variance.row(0)[k]) / deviation;
        // By the normalised number, before its scale.
        let dout: Vec<f64> = (0..x.rows)
            .map(|i| if f == Activation::Relu && out.row(i)[k] <= 0.0 { 0.0 } else { dx.row(i)[k] })
            .collect();
        daffine.row(0)[k] = dout.iter().enumerate().map(|(i, d)| d * normal(i)).sum();
        daffine.row(1)[k] = dout.iter().sum();
        // By the mean and by the variance, on which every row has an influence.
        let scale = 1.0 + affine.row(0)[k];
        let by_mean = -scale * daffine.row(1)[k] / deviation;
        let by_variance = -0.5 * scale * daffine.row(0)[k] / (deviation * deviation);
        for (i, d) in dout.into_iter().enumerate() {
            let from_mean = x.row(i)[k] - mean_variance.row(0)[k];
            dx.row(i)[k] = d * scale / deviation + by_mean / n + by_variance * 2.0 * from_mean / n;
        }
    }
}

/// See [`Blend`].
fn blend(Blend { rate, from, mut to }: Blend<On<Reference>>) {
    for i in 0..from.rows {
        to.row(i).iter_mut().zip(from.row(i)).for_each(|(to, from)| *to += f64::from(rate) * (from - *to));
    }
}
