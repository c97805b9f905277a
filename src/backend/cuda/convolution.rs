//! Windows of images, and the sums of their gradients. Kernels: `kernels/convolution.cu`.

use super::Cuda;
use super::memory::{mat, mat_mut};
use crate::backend::{ConvolutionSize, On};
use crate::program::ops::convolution::{Convolution, Fold, Unfold};

/// Does an operation of the family.
pub fn run(cuda: &Cuda, op: Convolution<On<Cuda>>) {
    match op {
        Convolution::Unfold(op) => unfold(cuda, op),
        Convolution::Fold(op) => fold(cuda, op),
    }
}

/// A window as the kernels take it.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct RawSize {
    height: u32,
    width: u32,
    side: u32,
}

impl RawSize {
    fn new(window: ConvolutionSize) -> Self {
        assert!(window.pixels() < 1 << 31, "{window:?}");
        let [height, width, side] = [window.height, window.width, window.side].map(|n| n as u32);
        RawSize { height, width, side }
    }
}

/// See [`Unfold`].
fn unfold(cuda: &Cuda, Unfold { window, images, mut out }: Unfold<On<Cuda>>) {
    let (images, out) = (mat(images), mat_mut(&mut out));
    cuda.cells(["unfold"; 2], false, out, &[&RawSize::new(window), &images, &out]);
}

/// See [`Fold`].
fn fold(cuda: &Cuda, Fold { window, windows, mut out }: Fold<On<Cuda>>) {
    let (windows, out) = (mat(windows), mat_mut(&mut out));
    cuda.cells(["fold"; 2], false, out, &[&RawSize::new(window), &windows, &out]);
}
