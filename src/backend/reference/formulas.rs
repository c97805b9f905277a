//! The formulas in float64: scores and functions of numbers, as they are written.

use super::linear::relu;
use super::special;
use crate::backend::{BETA_MAX, BETA_MIN, Function, Scoring};

/// Score of a query row with an entity row.
pub fn score(kind: Scoring, q: &[f64], e: &[f64]) -> f64 {
    let d = e.len();
    match kind {
        Scoring::L1 { gamma } => f64::from(gamma) - (0..d).map(|k| (q[k] - e[k]).abs()).sum::<f64>(),
        Scoring::L2 { gamma } => f64::from(gamma) - (0..d).map(|k| (q[k] - e[k]).powi(2)).sum::<f64>().sqrt(),
        Scoring::Box { gamma, inside } => {
            let a = |k: usize| (e[k] - q[k]).abs();
            let outer: f64 = (0..d).map(|k| relu(a(k) - q[d + k])).sum();
            let inner: f64 = (0..d).map(|k| a(k).min(q[d + k]).abs()).sum();
            f64::from(gamma) - outer - f64::from(inside) * inner
        }
        Scoring::Dot => (0..d).map(|k| q[k] * e[k]).sum(),
        Scoring::Beta { gamma } => {
            let d = d / 2;
            let [a, b] = [0, d].map(|first| move |k| value(Function::BetaParameter, &[e[first + k]])[0]);
            f64::from(gamma)
                - (0..d).map(|k| special::kl_of_betas([a(k), b(k)], [q[k], q[d + k]])).sum::<f64>()
        }
        Scoring::Rotation { gamma } => {
            let d = d / 2;
            f64::from(gamma) - (0..d).map(|k| (q[k] - e[k]).hypot(q[d + k] - e[d + k])).sum::<f64>()
        }
    }
}

/// Adds the gradients of `w * score`.
pub fn score_gradient(kind: Scoring, w: f64, q: &[f64], e: &[f64], dq: &mut [f64], de: &mut [f64]) {
    let d = e.len();
    let sign = |x: f64| if x < 0.0 { -1.0 } else { 1.0 };
    let distance = (0..d).map(|k| (q[k] - e[k]).powi(2)).sum::<f64>().sqrt();
    for k in 0..d {
        let t = q[k] - e[k];
        match kind {
            Scoring::L1 { .. } => {
                dq[k] -= w * sign(t);
                de[k] += w * sign(t);
            }
            Scoring::L2 { .. } => {
                if distance > 0.0 {
                    dq[k] -= w * t / distance;
                    de[k] += w * t / distance;
                }
            }
            Scoring::Box { inside, .. } => {
                let (a, o, inside) = (t.abs(), q[d + k], f64::from(inside));
                // Derivatives of relu(a - o) + inside |min(a, o)| by a and by o.
                let (by_a, by_o) = if a > o { (1.0, -1.0 + inside * sign(o)) } else { (inside, 0.0) };
                dq[k] -= w * by_a * sign(t);
                de[k] += w * by_a * sign(t);
                dq[d + k] -= w * by_o;
            }
            Scoring::Dot => {
                dq[k] += w * e[k];
                de[k] += w * q[k];
            }
            Scoring::Beta { .. } => {
                // Of this parameter x and the other one, y, of the same distribution: the KL's derivative by the
                // query's x is F(q) - F(e), F(x) = psi(x) - psi(x + y), and by the entity's the difference of the
                // parameters through F'.
                use special::{digamma, trigamma};
                let other = (k + d / 2) % d;
                let [x, y] = [k, other].map(|k| value(Function::BetaParameter, &[e[k]])[0]);
                let f = |x: f64, y: f64| digamma(x) - digamma(x + y);
                dq[k] += w * (f(x, y) - f(q[k], q[other]));
                let slope = gradient(Function::BetaParameter, &[x], &[1.0])[0];
                let (by_x, by_y) = (q[k] - x, q[other] - y);
                de[k] += w * slope * (by_x * trigamma(x) - (by_x + by_y) * trigamma(x + y));
            }
            Scoring::Rotation { .. } => {
                let other = (k + d / 2) % d;
                let modulus = t.hypot(q[other] - e[other]);
                if modulus > 0.0 {
                    dq[k] -= w * t / modulus;
                    de[k] += w * t / modulus;
                }
            }
        }
    }
}

/// A function's values at its inputs.
pub fn value(f: Function, x: &[f64]) -> Vec<f64> {
    match f {
        Function::BetaParameter => vec![(x[0] + 1.0).clamp(f64::from(BETA_MIN), f64::from(BETA_MAX))],
        Function::Reciprocal => vec![1.0 / x[0]],
    }
}

/// A function's gradient by its inputs, from that by its values, at what [`Function::gradient_reads`] says.
pub fn gradient(f: Function, at: &[f64], dy: &[f64]) -> Vec<f64> {
    let y = at[0];
    match f {
        Function::BetaParameter => {
            vec![dy[0] * f64::from(y > f64::from(BETA_MIN) && y < f64::from(BETA_MAX))]
        }
        Function::Reciprocal => vec![dy[0] * -y * y],
    }
}
