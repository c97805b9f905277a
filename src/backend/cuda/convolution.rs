//! Windows of images, and the sums of their gradients. Kernels: `kernels/convolution.cu`.

use super::memory::{mat, mat_mut};
use super::{Cuda, View, ViewMut};
use crate::backend::Window;

/// A window as the kernels take it.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct RawWindow {
    height: u32,
    width: u32,
    side: u32,
}

impl RawWindow {
    fn new(window: Window) -> Self {
        assert!(window.pixels() < 1 << 31, "{window:?}");
        let [height, width, side] = [window.height, window.width, window.side].map(|n| n as u32);
        RawWindow { height, width, side }
    }
}

/// See [`Backend::unfold`](crate::backend::Backend::unfold).
pub fn unfold(cuda: &Cuda, window: Window, images: View, mut out: ViewMut) {
    assert_eq!((images.cols, out.cols), (window.pixels(), window.side * window.side));
    assert_eq!(out.rows, images.rows * window.positions());
    let (images, out) = (mat(images), mat_mut(&mut out));
    cuda.cells(["unfold"; 2], false, out, &[&RawWindow::new(window), &images, &out]);
}

/// See [`Backend::fold`](crate::backend::Backend::fold).
pub fn fold(cuda: &Cuda, window: Window, windows: View, mut out: ViewMut) {
    assert_eq!((out.cols, windows.cols), (window.pixels(), window.side * window.side));
    assert_eq!(windows.rows, out.rows * window.positions());
    let (windows, out) = (mat(windows), mat_mut(&mut out));
    cuda.cells(["fold"; 2], false, out, &[&RawWindow::new(window), &windows, &out]);
}
