//! Functions of numbers.

use super::cases::{FUNCTIONS, benchmarks};
use super::{Bench, Cost};
use smore::engine::backend::*;
use smore::engine::program::ops::elementwise::{Apply, ApplyBackward, GradientReads};
use smore::engine::table::count;

/// Rows of inputs of d columns each.
///
/// Floors: every number is read or written once.
pub fn bench<B: Backend>(bench: &mut Bench<B>, rows: usize, d: usize) -> anyhow::Result<()> {
    for (name, f) in benchmarks(&FUNCTIONS) {
        let [inputs, values] = f.parts().map(|parts| parts * d);
        let [x, dout] = [bench.random(rows * inputs, 0.2)?, bench.random(rows * values, 1.0)?];
        let [mut out, mut dx] = [bench.backend.zeros(rows * values)?, bench.backend.zeros(rows * inputs)?];
        let size = format!("{} x {inputs} to {values}", count(rows as u64));
        let cost = |columns: usize| Cost { bytes: 4.0 * (rows * columns) as f64, ..Cost::default() };
        let x = Mat::new(&x, rows, inputs);
        bench.time(&format!("function {name}"), size.clone(), cost(inputs + values), |b| {
            b.run(Apply { f, x, out: MatMut::new(&mut out, rows, values) });
        })?;
        let at = match f.gradient_reads() {
            GradientReads::Inputs => x,
            GradientReads::Values => Mat::new(&out, rows, values),
        };
        let cost = cost(at.cols + inputs + values);
        bench.time(&format!("function backward {name}"), size, cost, |b| {
            let (dout, dx) = (Mat::new(&dout, rows, values), MatMut::new(&mut dx, rows, inputs));
            b.run(ApplyBackward { f, at, dout, dx });
        })?;
    }
    Ok(())
}
