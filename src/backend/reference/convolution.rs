//! Windows of images.

use crate::backend::ConvolutionSize;
use crate::backend::{On, Reference};
use crate::program::ops::convolution::{Convolution, Fold, Unfold};

/// Does an operation of the family.
pub fn run(op: Convolution<On<Reference>>) {
    match op {
        Convolution::Unfold(op) => unfold(op),
        Convolution::Fold(op) => fold(op),
    }
}

/// The windows of images: row, image, and the places of its numbers in the image.
fn places(window: ConvolutionSize, images: usize) -> Vec<(usize, usize, Vec<usize>)> {
    let ConvolutionSize { height, width, side } = window;
    let mut all = Vec::new();
    for image in 0..images {
        for (y, x) in (0..=height - side).flat_map(|y| (0..=width - side).map(move |x| (y, x))) {
            let pixels = (0..side * side).map(|k| (y + k / side) * width + x + k % side);
            all.push((all.len(), image, pixels.collect()));
        }
    }
    all
}

/// See [`Unfold`].
fn unfold(Unfold { window, images, mut out }: Unfold<On<Reference>>) {
    for (row, image, pixels) in places(window, images.rows) {
        for (k, pixel) in pixels.into_iter().enumerate() {
            out.row(row)[k] = images.row(image)[pixel];
        }
    }
}

/// See [`Fold`].
fn fold(Fold { window, windows, mut out }: Fold<On<Reference>>) {
    (0..out.rows).for_each(|i| out.row(i).fill(0.0));
    for (row, image, pixels) in places(window, out.rows) {
        for (k, pixel) in pixels.into_iter().enumerate() {
            out.row(image)[pixel] += windows.row(row)[k];
        }
    }
}
