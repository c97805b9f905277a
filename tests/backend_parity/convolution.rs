//! Windows of images.

use crate::array::*;
use smore::engine::backend::{Backend, ConvolutionSize, Reference};
use smore::engine::program::ops::convolution::{Fold, Unfold};
use smore::engine::rng::stream;

pub fn unfold<B: Backend>(backend: &B, window: ConvolutionSize, images: &Array) -> Array {
    let rows = images.rows * window.positions();
    let mut out = Array::junk(rows, window.side * window.side).on(backend);
    backend.run(Unfold { window, images: images.on(backend).mat(), out: out.mat_mut() });
    out.read()
}

pub fn fold<B: Backend>(backend: &B, window: ConvolutionSize, windows: &Array) -> Array {
    let mut out = Array::junk(windows.rows / window.positions(), window.pixels()).on(backend);
    backend.run(Fold { window, windows: windows.on(backend).mat(), out: out.mat_mut() });
    out.read()
}

/// Windows as large as the image, of one number, and between; rows and columns of other lengths.
const WINDOWS: [(usize, usize, usize); 7] =
    [(3, 3, 3), (4, 3, 3), (2, 7, 2), (5, 4, 1), (6, 5, 4), (20, 20, 3), (1, 1, 1)];

/// Windows and numbers of images.
fn each_case(mut body: impl FnMut(&str, ConvolutionSize, usize)) {
    for (height, width, side) in WINDOWS {
        for images in [0, 1, 7, 9, 65] {
            let window = ConvolutionSize { height, width, side };
            body(&format!("{images} images, {window:?}"), window, images);
        }
    }
}

pub fn check_unfold<B: Backend>(backend: &B) {
    let mut rng = stream(12, "unfold", 0);
    each_case(|what, window, images| {
        let images = Array::random(&mut rng, images, window.pixels(), 1.0);
        assert_same(what, &unfold(backend, window, &images), &unfold(&Reference, window, &images));
    });
    let image = Array::new(1, 6, |_, k| k as f64);
    let windows = unfold(backend, ConvolutionSize { height: 2, width: 3, side: 2 }, &image);
    assert_eq!([windows.row(0), windows.row(1)], [[0.0, 1.0, 3.0, 4.0], [1.0, 2.0, 4.0, 5.0]]);
}

pub fn check_fold<B: Backend>(backend: &B) {
    let mut rng = stream(12, "fold", 0);
    each_case(|what, window, images| {
        let (rows, terms) = (images * window.positions(), window.side * window.side);
        let windows = Array::random(&mut rng, rows, terms, 1.0);
        let want = fold(&Reference, window, &windows);
        assert_close(what, &fold(backend, window, &windows), &want, |_, _| rounding(terms, terms as f64));
    });
}
