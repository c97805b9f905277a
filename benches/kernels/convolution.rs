//! ConvE's convolution: windows, a product, and back.

use super::{Bench, Cost};
use smore::engine::backend::*;
use smore::engine::program::ops::convolution::{Fold, Unfold};
use smore::engine::table::count;

/// 3 x 3 windows of images of 20 x 20, ConvE's of d = 200.
///
/// Floors: images and windows are read or written once.
pub fn bench<B: Backend>(bench: &mut Bench<B>, images: usize) -> anyhow::Result<()> {
    let window = ConvolutionSize { height: 20, width: 20, side: 3 };
    let (pixels, places) = (window.pixels(), images * window.positions());
    let mut from = bench.random(images * pixels, 1.0)?;
    let mut windows = bench.backend.zeros(places * 9)?;
    let size = format!("{} of 20 x 20", count(images as u64));
    let cost = Cost { bytes: 4.0 * (images * pixels + places * 9) as f64, ..Cost::default() };
    bench.time("unfold", size.clone(), cost, |b| {
        b.run(Unfold {
            window,
            images: Mat::new(&from, images, pixels),
            out: MatMut::new(&mut windows, places, 9),
        });
    })?;
    bench.time("fold", size, cost, |b| {
        b.run(Fold {
            window,
            windows: Mat::new(&windows, places, 9),
            out: MatMut::new(&mut from, images, pixels),
        });
    })
}
