//! The formulas in float64: scores and functions of numbers, as they are written.

use super::linear::relu;
use super::special;
use crate::backend::{BETA_MAX, BETA_MIN, Function, Scoring};
use crate::program::ops::elementwise::LEAST_RADIUS;
use std::f64::consts::PI;

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
        Scoring::Cone { gamma, inside } => {
            let d = d / 2;
            let distance = |k| {
                let [a, b, c, s, r] = query_parts(q, d, k);
                let (u, v) = ((e[d + k] * a - e[k] * b).abs(), (e[k] * a + e[d + k] * b).abs());
                relu(u * c - v * s) + f64::from(inside) * u.min(r)
            };
            f64::from(gamma) - (0..d).map(distance).sum::<f64>()
        }
        Scoring::Rotation { gamma } => {
            let d = d / 2;
            f64::from(gamma) - (0..d).map(|k| (q[k] - e[k]).hypot(q[d + k] - e[d + k])).sum::<f64>()
        }
    }
}

/// Column `k` of the five parts, `d` wide, of a query row of [`Scoring::Cone`].
fn query_parts(q: &[f64], d: usize, k: usize) -> [f64; 5] {
    std::array::from_fn(|part| q[part * d + k])
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
            // All of a column at its first half.
            Scoring::Cone { .. } if k >= d / 2 => {}
            Scoring::Cone { inside, .. } => {
                let (d, inside) = (d / 2, f64::from(inside));
                let ([a, b, c, s, r], e_, f) = (query_parts(q, d, k), e[k], e[d + k]);
                let (u, v) = (f * a - e_ * b, e_ * a + f * b);
                let outside = if u.abs() * c - v.abs() * s > 0.0 { w } else { 0.0 };
                let near = if u.abs() < r { w * inside } else { 0.0 };
                let (du, dv) = (-(outside * c + near) * sign(u), outside * s * sign(v));
                let by_query = [
                    du * f + dv * e_,
                    dv * f - du * e_,
                    -outside * u.abs(),
                    outside * v.abs(),
                    if near == 0.0 { -w * inside } else { 0.0 },
                ];
                by_query.into_iter().enumerate().for_each(|(part, by)| dq[part * d + k] += by);
                de[k] += dv * a - du * b;
                de[d + k] += du * a + dv * b;
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
        Function::Tanh { slope, height, shift } => {
            vec![f64::from(height) * (f64::from(slope) * x[0]).tanh() + f64::from(shift)]
        }
        Function::Direction { scale } => {
            let angle = f64::from(scale) * x[0];
            vec![angle.cos(), angle.sin()]
        }
        Function::Angle => vec![x[1].atan2(x[0])],
        Function::Ends => vec![x[0] - x[1], x[0] + x[1]],
        Function::Complement => vec![if x[0] >= 0.0 { x[0] - PI } else { x[0] + PI }, PI - x[1]],
        Function::Sector { modulus } => {
            let m = f64::from(modulus) * (1.0 + x[2]);
            let ((axis_sin, axis_cos), (sin, cos)) = ((x[0] / 2.0).sin_cos(), (x[1] / 2.0).sin_cos());
            vec![m * axis_cos, m * axis_sin, cos, sin, m * sin]
        }
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
        Function::Tanh { slope, height, shift } => {
            let t = (y - f64::from(shift)) / f64::from(height);
            vec![dy[0] * f64::from(slope) * f64::from(height) * (1.0 - t * t)]
        }
        Function::Direction { scale } => vec![f64::from(scale) * (at[0] * dy[1] - at[1] * dy[0])],
        Function::Angle => {
            let (square, least) = (at[0] * at[0] + at[1] * at[1], f64::from(LEAST_RADIUS).powi(2));
            let square = if square < least { least } else { square };
            vec![-at[1] / square * dy[0], at[0] / square * dy[0]]
        }
        Function::Ends => vec![dy[0] + dy[1], dy[1] - dy[0]],
        Function::Complement => vec![dy[0], -dy[1]],
        Function::Sector { modulus } => {
            let modulus = f64::from(modulus);
            let m = modulus * (1.0 + at[2]);
            let ((axis_sin, axis_cos), (sin, cos)) = ((at[0] / 2.0).sin_cos(), (at[1] / 2.0).sin_cos());
            vec![
                m / 2.0 * (axis_cos * dy[1] - axis_sin * dy[0]),
                (cos * dy[3] - sin * dy[2] + m * cos * dy[4]) / 2.0,
                modulus * (axis_cos * dy[0] + axis_sin * dy[1] + sin * dy[4]),
            ]
        }
    }
}
