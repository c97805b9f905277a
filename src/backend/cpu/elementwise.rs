//! Elementwise functions and their gradients.

use super::memory::{CHUNK, par_rows};
use super::{View, ViewMut};
use crate::backend::{BETA_MAX, BETA_MIN, Elementwise};

/// See [`Backend::elementwise`](crate::backend::Backend::elementwise).
pub fn elementwise(f: Elementwise, x: View, out: ViewMut) {
    assert_eq!((x.rows, x.cols), (out.rows, out.cols));
    par_rows(out, CHUNK, |mut out| {
        for i in 0..out.count {
            let pairs = x.row(out.first + i).iter();
            let pairs = out.row(i).iter_mut().zip(pairs);
            match f {
                Elementwise::BetaParameter => {
                    pairs.for_each(|(y, x)| *y = (x + 1.0).clamp(BETA_MIN, BETA_MAX))
                }
                Elementwise::Reciprocal => pairs.for_each(|(y, x)| *y = 1.0 / x),
            }
        }
    });
}

/// See [`Backend::elementwise_backward`](crate::backend::Backend::elementwise_backward).
pub fn elementwise_backward(f: Elementwise, out: View, dout: View, dx: ViewMut) {
    assert_eq!((out.rows, out.cols), (dx.rows, dx.cols));
    assert_eq!((dout.rows, dout.cols), (dx.rows, dx.cols));
    par_rows(dx, CHUNK, |mut dx| {
        for i in 0..dx.count {
            let (out, dout) = (out.row(dx.first + i), dout.row(dx.first + i));
            let all = dx.row(i).iter_mut().zip(out.iter().zip(dout));
            match f {
                Elementwise::BetaParameter => all.for_each(|(dx, (&y, &d))| {
                    let inside = y > BETA_MIN && y < BETA_MAX;
                    *dx = if inside { d } else { 0.0 };
                }),
                Elementwise::Reciprocal => all.for_each(|(dx, (y, d))| *dx = -y * y * d),
            }
        }
    });
}
