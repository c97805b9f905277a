//! Clipping of gradients by their norm.

use super::math::LANES;
use super::memory::{CHUNK, Shared, par_rows};
use super::{View, ViewMut};
use crate::backend::{Cpu, DeviceGroups};
use rayon::prelude::*;

/// The sum of the squares of a row, in [`LANES`] partial sums.
#[inline(always)]
pub fn sum_of_squares(values: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    for chunk in values.chunks(LANES) {
        lanes.iter_mut().zip(chunk).for_each(|(lane, value)| *lane += value * value);
    }
    lanes.iter().sum()
}

/// See [`Backend::group_squares`](crate::backend::Backend::group_squares).
pub fn group_squares(groups: &DeviceGroups<Cpu>, from: View, squares: ViewMut) {
    let (offsets, members) = (&groups.offsets, &groups.members);
    assert_eq!((offsets.len(), squares.cols), (groups.ids.len() + 1, groups.ids.len()));
    let (count, squares) = (squares.cols, Shared::new(squares));
    (0..count.div_ceil(CHUNK)).into_par_iter().for_each_init(
        || vec![0f32; from.cols],
        |sum, chunk| {
            let first = chunk * CHUNK;
            let rows = CHUNK.min(count - first);
            // SAFETY: each chunk of groups has one task.
            let out = unsafe { squares.slice(0, first, rows) };
            pulp::Arch::new().dispatch(
                #[inline(always)]
                || {
                    for (out, bounds) in out.iter_mut().zip(offsets[first..].windows(2)) {
                        sum.fill(0.0);
                        for &member in &members[bounds[0] as usize..bounds[1] as usize] {
                            sum.iter_mut().zip(from.row(member as usize)).for_each(|(sum, x)| *sum += x);
                        }
                        *out = sum_of_squares(sum);
                    }
                },
            );
        },
    );
}

/// See [`Backend::row_squares`](crate::backend::Backend::row_squares).
pub fn row_squares(from: View, squares: ViewMut) {
    assert_eq!(squares.cols, from.rows);
    let (count, squares) = (squares.cols, Shared::new(squares));
    (0..count.div_ceil(CHUNK)).into_par_iter().for_each(|chunk| {
        let first = chunk * CHUNK;
        // SAFETY: each chunk of rows has one task.
        let out = unsafe { squares.slice(0, first, CHUNK.min(count - first)) };
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                for (i, out) in out.iter_mut().enumerate() {
                    *out = sum_of_squares(from.row(first + i));
                }
            },
        );
    });
}

/// See [`Backend::clip_factor`](crate::backend::Backend::clip_factor).
pub fn clip_factor(bound: f32, squares: View, mut factor: ViewMut) {
    let mut lanes = [0f64; 8];
    for chunk in squares.row(0).chunks(8) {
        lanes.iter_mut().zip(chunk).for_each(|(lane, &square)| *lane += f64::from(square));
    }
    let norm = lanes.iter().sum::<f64>().sqrt();
    factor.row(0)[0] = if norm > f64::from(bound) { (f64::from(bound) / norm) as f32 } else { 1.0 };
}

/// See [`Backend::scale`](crate::backend::Backend::scale).
pub fn scale(factor: View, x: ViewMut) {
    let factor = factor.row(0)[0];
    // Then nothing changes, and nothing needs to be read.
    if factor == 1.0 {
        return;
    }
    par_rows(x, CHUNK, |mut x| {
        for i in 0..x.count {
            x.row(i).iter_mut().for_each(|x| *x *= factor);
        }
    });
}
