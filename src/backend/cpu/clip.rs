//! Clipping of gradients by their norm.

use super::memory::{CHUNK, Shared, par_rows};
use crate::backend::{Cpu, On};
use crate::math::LANES;
use crate::program::ops::clip::{Clip, ClipFactor, GroupSquares, RowSquares, Scale};
use rayon::prelude::*;

/// Does an operation of the family.
pub fn run(op: Clip<On<Cpu>>) {
    match op {
        Clip::GroupSquares(op) => group_squares(op),
        Clip::RowSquares(op) => row_squares(op),
        Clip::ClipFactor(op) => clip_factor(op),
        Clip::Scale(op) => scale(op),
    }
}

/// The sum of the squares of a row, in [`LANES`] partial sums.
#[inline(always)]
pub fn sum_of_squares(values: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    for chunk in values.chunks(LANES) {
        lanes.iter_mut().zip(chunk).for_each(|(lane, value)| *lane += value * value);
    }
    lanes.iter().sum()
}

/// See [`GroupSquares`].
fn group_squares(GroupSquares { groups, from, squares }: GroupSquares<On<Cpu>>) {
    let squares = squares.into_row();
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

/// See [`RowSquares`].
fn row_squares(RowSquares { from, squares }: RowSquares<On<Cpu>>) {
    let squares = squares.into_row();
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

/// See [`ClipFactor`].
fn clip_factor(ClipFactor { bound, squares, mut factor }: ClipFactor<On<Cpu>>) {
    let squares = squares.into_row();
    let mut lanes = [0f64; 8];
    for chunk in squares.row(0).chunks(8) {
        lanes.iter_mut().zip(chunk).for_each(|(lane, &square)| *lane += f64::from(square));
    }
    let norm = lanes.iter().sum::<f64>().sqrt();
    factor.row(0)[0] = if norm > f64::from(bound) { (f64::from(bound) / norm) as f32 } else { 1.0 };
}

/// See [`Scale`].
fn scale(Scale { factor, x }: Scale<On<Cpu>>) {
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
