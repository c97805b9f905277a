//! Functions of single numbers.

use crate::program::{Gradients, Program};

/// A function of numbers, done column by column: its operands have as many parts, side by side and equally wide, as it has
/// inputs, and its values as many as it gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Function {
    /// `clamp(x + 1, BETA_MIN, BETA_MAX)`: any number to a parameter of a Beta distribution (Ren and Leskovec 2020); NaN
    /// stays NaN, and where the value is a bound the derivative is 0.
    BetaParameter,
    /// 1 / x.
    Reciprocal,
    /// `height tanh(slope x) + shift`.
    Tanh {
        /// The factor of x.
        slope: f32,
        /// Half the height of the range.
        height: f32,
        /// Its middle.
        shift: f32,
    },
    /// x to [cos(scale x), sin(scale x)].
    Direction {
        /// The factor of x.
        scale: f32,
    },
    /// [x, y] to the angle of this direction, in (-pi, pi]. Its gradient is that at a radius of at least [`LEAST_RADIUS`].
    Angle,
    /// A sector [axis, half-aperture] to the angles where it begins and ends.
    Ends,
    /// A sector to the rest of the circle: [axis -+ pi, pi - half-aperture], the new axis in [-pi, pi) where the old one was in (-pi, pi].
    Complement,
    /// [axis, half-aperture, x] with m = modulus (1 + x) to the query row of [`Scoring::Cone`](super::score::Scoring::Cone):
    /// [m cos(axis / 2), m sin(axis / 2), cos(half-aperture / 2), sin(half-aperture / 2), m sin(half-aperture / 2)].
    Sector {
        /// m where x is 0.
        modulus: f32,
    },
}

/// Below this radius the gradient of an angle grows no further.
pub const LEAST_RADIUS: f32 = 1e-3;

/// What the gradient of a function is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GradientReads {
    /// Its inputs.
    Inputs,
    /// Its values.
    Values,
}

impl Function {
    /// How many inputs it has, and how many values.
    pub fn parts(self) -> [usize; 2] {
        match self {
            Function::BetaParameter | Function::Reciprocal | Function::Tanh { .. } => [1, 1],
            Function::Direction { .. } => [1, 2],
            Function::Angle => [2, 1],
            Function::Ends | Function::Complement => [2, 2],
            Function::Sector { .. } => [3, 5],
        }
    }

    /// What its gradient is known from.
    pub fn gradient_reads(self) -> GradientReads {
        match self {
            Function::Angle | Function::Sector { .. } => GradientReads::Inputs,
            _ => GradientReads::Values,
        }
    }

    /// Parts of what its gradient is known from.
    fn parts_read(self) -> usize {
        let [inputs, values] = self.parts();
        match self.gradient_reads() {
            GradientReads::Inputs => inputs,
            GradientReads::Values => values,
        }
    }
}

/// Least parameter of a Beta distribution that a row can stand for.
pub const BETA_MIN: f32 = 0.05;
/// Greatest parameter of a Beta distribution that a row can stand for.
pub const BETA_MAX: f32 = 1e9;

operations! {
    /// Functions of single numbers.
    Elementwise:

    /// `out = f(x)`, column by column.
    Apply { f: Is(Function), x: In, out: Out }
    /// Gradient of [`Apply`], from `at`: its `x` or its `out`, as [`Function::gradient_reads`] says.
    ApplyBackward { f: Is(Function), at: In, dout: In, dx: Out }
}

impl<O: Operands> Apply<O> {
    fn check(&self) {
        let [inputs, values] = self.f.parts();
        let ((rows, x), (out_rows, out)) = (O::shape(&self.x), O::shape_of_out(&self.out));
        same!(rows => out_rows, (x % inputs, out % values) => (0, 0), x / inputs => out / values);
    }
}

impl Described for Apply<OnPaper> {
    fn kind(&self) -> String {
        format!("{:?}", self.f)
    }

    fn work(&self) -> f64 {
        self.out.numbers()
    }

    fn gradient(&self, gradients: &mut Gradients, program: &mut Program) {
        let Some(dout) = gradients.of(program, self.out) else { return };
        let dx = gradients.target(program, self.x);
        let at = match self.f.gradient_reads() {
            GradientReads::Inputs => self.x,
            GradientReads::Values => self.out,
        };
        program.push(ApplyBackward { f: self.f, at, dout, dx: dx.var });
        dx.finish(program);
    }
}

impl<O: Operands> ApplyBackward<O> {
    fn check(&self) {
        let [inputs, values] = self.f.parts();
        let ((rows, dx), (_, dout)) = (O::shape_of_out(&self.dx), O::shape(&self.dout));
        let d = dx / inputs;
        same!(
            O::shape_of_out(&self.dx) => (rows, inputs * d),
            (O::shape(&self.dout).0, dout) => (rows, values * d),
            O::shape(&self.at) => (rows, self.f.parts_read() * d),
        );
    }
}

impl Described for ApplyBackward<OnPaper> {
    fn kind(&self) -> String {
        format!("{:?}", self.f)
    }

    fn work(&self) -> f64 {
        self.dx.numbers()
    }
}
