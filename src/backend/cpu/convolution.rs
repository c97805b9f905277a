//! Windows of images, and the sums of their gradients.

use super::memory::par_rows;
use crate::backend::{ConvolutionSize, Cpu, On};
use crate::program::ops::convolution::{Convolution, Fold, Unfold};

/// Does an operation of the family.
pub fn run(op: Convolution<On<Cpu>>) {
    match op {
        Convolution::Unfold(op) => unfold(op),
        Convolution::Fold(op) => fold(op),
    }
}

/// See [`Unfold`].
fn unfold(Unfold { window, images, out }: Unfold<On<Cpu>>) {
    let ConvolutionSize { width, side, .. } = window;
    let (positions, across) = (window.positions(), window.across());
    // A task has whole images.
    par_rows(out, 8 * positions, |mut out| {
        for i in 0..out.count {
            let (image, position) = ((out.first + i) / positions, (out.first + i) % positions);
            let first = position / across * width + position % across;
            let image = &images.row(image)[first..];
            for (y, to) in out.row(i).chunks_mut(side).enumerate() {
                to.copy_from_slice(&image[y * width..][..side]);
            }
        }
    });
}

/// See [`Fold`].
fn fold(Fold { window, windows, out }: Fold<On<Cpu>>) {
    let ConvolutionSize { width, side, .. } = window;
    let (positions, across) = (window.positions(), window.across());
    par_rows(out, 8, |mut out| {
        for i in 0..out.count {
            let image = (out.first + i) * positions;
            let to = out.row(i);
            to.fill(0.0);
            for position in 0..positions {
                let first = position / across * width + position % across;
                for (y, from) in windows.row(image + position).chunks(side).enumerate() {
                    for (a, b) in to[first + y * width..].iter_mut().zip(from) {
                        *a += b;
                    }
                }
            }
        }
    });
}
