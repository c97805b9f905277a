//! Clipping.

use super::range_of;
use crate::backend::{On, Reference};
use crate::program::ops::clip::{Clip, ClipFactor, GroupSquares, RowSquares, Scale};

/// Does an operation of the family.
pub fn run(op: Clip<On<Reference>>) {
    match op {
        Clip::GroupSquares(op) => group_squares(op),
        Clip::RowSquares(op) => row_squares(op),
        Clip::ClipFactor(op) => clip_factor(op),
        Clip::Scale(op) => scale(op),
    }
}

/// See [`GroupSquares`].
fn group_squares(GroupSquares { groups, from, mut squares }: GroupSquares<On<Reference>>) {
    for g in 0..groups.ids.len() {
        let members = &groups.members[range_of(&groups.offsets, g)];
        let sum = |k: usize| members.iter().map(|&m| from.row(m as usize)[k]).sum::<f64>();
        squares.row(g)[0] = (0..from.cols).map(|k| sum(k).powi(2)).sum();
    }
}

/// See [`RowSquares`].
fn row_squares(RowSquares { from, mut squares }: RowSquares<On<Reference>>) {
    for i in 0..from.rows {
        squares.row(i)[0] = from.row(i).iter().map(|x| x * x).sum();
    }
}

/// See [`ClipFactor`].
fn clip_factor(ClipFactor { bound, squares, mut factor }: ClipFactor<On<Reference>>) {
    let norm = (0..squares.rows).map(|i| squares.row(i)[0]).sum::<f64>().sqrt();
    // Not `min`, which would take 1 for what is NaN as well, but by chance.
    factor.row(0)[0] = if norm > f64::from(bound) { f64::from(bound) / norm } else { 1.0 };
}

/// See [`Scale`].
fn scale(Scale { factor, mut x }: Scale<On<Reference>>) {
    let factor = factor.row(0)[0];
    (0..x.rows).for_each(|i| x.row(i).iter_mut().for_each(|x| *x *= factor));
}
