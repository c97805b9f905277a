//! What large numbers cost.

use crate::backend::Penalty;
use crate::backend::{On, Reference};
use crate::program::ops::penalty::{Penalties, Regularise};

/// Does an operation of the family.
pub fn run(op: Penalties<On<Reference>>) {
    match op {
        Penalties::Regularise(op) => regularise(op),
    }
}

/// See [`Regularise`].
fn regularise(Regularise { penalty, row_weights, x, mut grads, mut penalties }: Regularise<On<Reference>>) {
    for i in 0..x.rows {
        let (weight, x, grads) = (row_weights.row(i)[0], x.row(i), grads.row(i));
        let modulus = |k: usize| match penalty {
            Penalty::ComplexCubes => x[k].hypot(x[(k + x.len() / 2) % x.len()]),
            _ => x[k].abs(),
        };
        let mut sum = 0.0;
        for k in (0..x.len()).filter(|_| weight != 0.0) {
            // Both parts of a complex number bring its modulus, times their share of its square: x^2 in all.
            sum += match penalty {
                Penalty::Squares => x[k] * x[k],
                Penalty::Cubes | Penalty::ComplexCubes => modulus(k) * x[k] * x[k],
            };
            grads[k] += match penalty {
                Penalty::Squares => 2.0 * weight * x[k],
                Penalty::Cubes | Penalty::ComplexCubes => 3.0 * weight * modulus(k) * x[k],
            };
        }
        penalties.row(i)[0] = weight * sum;
    }
}
