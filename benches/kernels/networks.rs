//! Networks.

use super::*;

pub fn networks<B: Backend>(bench: &mut Bench<B>, queries: usize, d: usize) -> anyhow::Result<()> {
    // The inputs of the intersections of a batch: pairs and triples of a quarter of its queries each.
    let segments = queries / 4;
    let offsets: Vec<u32> = (0..=segments as u32).map(|s| 5 * s / 2).collect();
    let rows = offsets[segments] as usize;
    let offsets = bench.backend.index(&offsets)?;
    let (x, w, b) = (bench.random(rows * d, 1.0)?, bench.random(d * d, 0.1)?, bench.random(d, 0.1)?);
    let (mut y, mut dx) = (bench.backend.zeros(rows * d)?, bench.backend.zeros(rows * d)?);
    let (mut dw, mut db) = (bench.backend.zeros(d * d)?, bench.backend.zeros(d)?);
    let mut dout = bench.random(rows * d, 1.0)?;
    let size = format!("{} x {d} x {d}", count(rows as u64));
    let products = 2.0 * (rows * d * d) as f64;
    let bytes = 4.0 * (2 * rows * d + d * d) as f64;
    let cost = Cost { bytes, operations: products, products, ..Cost::default() };
    let (x, w) = (Mat::new(&x, rows, d), Mat::new(&w, d, d));
    bench.time("linear", size.clone(), cost, |backend| {
        backend.run(Linear {
            x,
            w,
            bias: Some(Mat::new(&b, 1, d)),
            f: Activation::Relu,
            out: MatMut::new(&mut y, rows, d),
        });
    })?;
    let cost = Cost { bytes: 2.5 * bytes, operations: 2.0 * products, products: 2.0 * products, ..cost };
    bench.time("linear backward", size, cost, |backend| {
        backend.run(LinearBackward {
            x,
            w,
            out: Some(Mat::new(&y, rows, d)),
            f: Activation::Relu,
            dout: MatMut::new(&mut dout, rows, d),
            dx: MatMut::new(&mut dx, rows, d),
            dw: MatMut::new(&mut dw, d, d),
            dbias: Some(MatMut::new(&mut db, 1, d)),
        });
    })?;

    let mut weights = bench.random(rows * d, 1.0)?;
    let mut out = bench.backend.zeros(segments * d)?;
    let size = format!("{} sets, {} rows x {d}", count(segments as u64), count(rows as u64));
    let bytes = 4.0 * ((3 * rows + segments) * d) as f64;
    bench.time("attend", size.clone(), Cost { bytes, ..Cost::default() }, |b| {
        b.run(Attend {
            x,
            offsets: &offsets,
            weights: MatMut::new(&mut weights, rows, d),
            out: MatMut::new(&mut out, segments, d),
        });
    })?;
    let bytes = 4.0 * ((4 * rows + segments) * d) as f64;
    bench.time("attend backward", size, Cost { bytes, ..Cost::default() }, |b| {
        let dout = Mat::new(&out, segments, d);
        b.run(AttendBackward {
            x,
            offsets: &offsets,
            dout,
            weights: MatMut::new(&mut weights, rows, d),
            dx: MatMut::new(&mut dx, rows, d),
        });
    })
}
