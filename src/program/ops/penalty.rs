//! What large numbers of a row cost.

/// What large numbers of a row cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Penalty {
    /// `sum x^2`.
    Squares,
    /// `sum |x|^3`.
    Cubes,
    /// `sum |z|^3` over complex numbers z; rows are [real d, imaginary d].
    ComplexCubes,
}

operations! {
    /// What large numbers cost.
    Penalties:

    /// Adds `row_weights[i] * penalty'(x[i])` to `grads[i]` and writes `penalties[i] = row_weights[i] *
    /// penalty(x[i])`. A row whose weight is 0 is not read, and its gradient stays.
    Regularise { penalty: Is(Penalty), row_weights: In, x: In, grads: Out, penalties: Out }
}

impl<O: Operands> Regularise<O> {
    fn check(&self) {
        same!(
            O::shape(&self.x) => O::shape_of_out(&self.grads),
            O::shape(&self.row_weights) => (O::shape(&self.x).0, 1),
            O::shape_of_out(&self.penalties) => (O::shape(&self.x).0, 1),
        );
    }
}

impl Described for Regularise<OnPaper> {
    fn kind(&self) -> String {
        format!("{:?}", self.penalty)
    }

    fn work(&self) -> f64 {
        6.0 * self.x.numbers()
    }
}
