//! Functions of single numbers.

use crate::program::{Gradients, Program};

/// An elementwise function that knows its derivative from its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// `clamp(x + 1, BETA_MIN, BETA_MAX)`: any number to a parameter of a Beta distribution (Ren and Leskovec 2020); NaN
    /// stays NaN, and where the value is a bound the derivative is 0.
    BetaParameter,
    /// 1 / x.
    Reciprocal,
}

/// Least parameter of a Beta distribution that a row can stand for.
pub const BETA_MIN: f32 = 0.05;
/// Greatest parameter of a Beta distribution that a row can stand for.
pub const BETA_MAX: f32 = 1e9;

operations! {
    /// Functions of single numbers.
    Elementwise:

    /// `out = f(x)`, element by element.
    Apply { f: Is(Function), x: In, out: Out }
    /// Gradient of [`Apply`] from its output: `dx = dout * f'`.
    ApplyBackward { f: Is(Function), out: In, dout: In, dx: Out }
}

impl<O: Operands> Apply<O> {
    fn check(&self) {
        same!(O::shape(&self.x) => O::shape_of_out(&self.out));
    }
}

impl Described for Apply<OnPaper> {
    fn kind(&self) -> String {
        format!("{:?}", self.f)
    }

    fn work(&self) -> f64 {
        self.x.numbers()
    }

    fn gradient(&self, gradients: &mut Gradients, program: &mut Program) {
        let Some(dout) = gradients.of(program, self.out) else { return };
        let dx = gradients.target(program, self.x);
        program.push(ApplyBackward { f: self.f, out: self.out, dout, dx: dx.var });
        dx.finish(program);
    }
}

impl<O: Operands> ApplyBackward<O> {
    fn check(&self) {
        same!(
            O::shape(&self.out) => O::shape_of_out(&self.dx),
            O::shape(&self.dout) => O::shape_of_out(&self.dx),
        );
    }
}

impl Described for ApplyBackward<OnPaper> {
    fn kind(&self) -> String {
        format!("{:?}", self.f)
    }

    fn work(&self) -> f64 {
        self.out.numbers()
    }
}
