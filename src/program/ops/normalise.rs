//! Batch normalisation (Ioffe and Szegedy 2015).

use super::linear::Activation;
use crate::program::{Gradients, Program};

/// Added to variances by which rows are normalised.
pub const NORM_EPSILON: f32 = 1e-5;

/// A running average moves by a tenth of the difference or, at first, by one part of as many as there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Average;

operations! {
    /// Batch normalisation.
    Normalisation:

    /// `out[0]` are the means of the columns of x, `out[1]` their variances: means of squared distances from the mean.
    MeanVariance { x: In, out: Out }
    /// `out = f((x - mean) / sqrt(variance + e) * (1 + affine[0]) + affine[1])` with `mean_variance` as of
    /// [`MeanVariance`] and e = [`NORM_EPSILON`].
    Normalise { x: In, mean_variance: In, affine: In, f: Is(Activation), out: Out }
    /// Gradients of [`Normalise`], through the mean and variance of x itself, from its output (`None` and `Relu` only): turns `dx`,
    /// which holds the output's gradient, into that of x; writes `daffine`.
    NormaliseBackward { x: In, mean_variance: In, affine: In, out: In, f: Is(Activation), dx: Out, daffine: Out }
    /// `to += rate (from - to)`.
    Blend { rate: Rate, from: In, to: Out }
}

impl<O: Operands> MeanVariance<O> {
    fn check(&self) {
        same!(O::shape_of_out(&self.out) => (O::count(2), O::shape(&self.x).1));
    }
}

impl Described for MeanVariance<OnPaper> {
    fn work(&self) -> f64 {
        4.0 * self.x.numbers()
    }
}

impl<O: Operands> Normalise<O> {
    fn check(&self) {
        let by_column = (O::count(2), O::shape(&self.x).1);
        same!(
            O::shape(&self.x) => O::shape_of_out(&self.out),
            O::shape(&self.mean_variance) => by_column,
            O::shape(&self.affine) => by_column,
        );
    }
}

impl Described for Normalise<OnPaper> {
    fn kind(&self) -> String {
        self.f.to_string()
    }

    fn work(&self) -> f64 {
        3.0 * self.x.numbers()
    }

    /// Through the mean and variance of x itself; running averages are not differentiated.
    fn gradient(&self, gradients: &mut Gradients, program: &mut Program) {
        let Normalise { x, mean_variance, affine, f, out } = *self;
        let Some(dx) = gradients.of(program, out) else { return };
        let daffine = gradients.target(program, affine);
        program.push(NormaliseBackward { x, mean_variance, affine, out, f, dx, daffine: daffine.var });
        daffine.finish(program);
        gradients.is(x, dx);
    }
}

impl<O: Operands> NormaliseBackward<O> {
    fn check(&self) {
        let (shape, by_column) = (O::shape(&self.x), (O::count(2), O::shape(&self.x).1));
        assert!(self.f != Activation::Softplus, "normalised rows have no softplus");
        same!(
            O::shape(&self.out) => shape,
            O::shape_of_out(&self.dx) => shape,
            O::shape(&self.mean_variance) => by_column,
            O::shape(&self.affine) => by_column,
            O::shape_of_out(&self.daffine) => by_column,
        );
    }
}

impl Described for NormaliseBackward<OnPaper> {
    fn kind(&self) -> String {
        self.f.to_string()
    }

    fn work(&self) -> f64 {
        8.0 * self.x.numbers()
    }
}

impl<O: Operands> Blend<O> {
    fn check(&self) {
        same!(O::shape(&self.from) => O::shape_of_out(&self.to));
    }
}

impl Described for Blend<OnPaper> {
    fn work(&self) -> f64 {
        3.0 * self.from.numbers()
    }
}
