//! The operations of Beta distributions. Their rows have 2d numbers.

use super::{Bench, Cost, cases, rows, scores};
use smore::engine::backend::*;
use smore::engine::program::ops::elementwise::Apply;

/// Scores, gradients and ranks of `queries` with `pool` entities.
///
/// Floors: a multiply-add in float64 takes the time of two in float32 (on a GPU with full-rate float64; others have a
/// fraction of it), gradients are two products in float32.
pub fn bench<B: Backend>(bench: &mut Bench<B>, queries: usize, pool: usize, d: usize) -> anyhow::Result<()> {
    let kind = cases::BETA;
    let width = 2 * d;
    let entities = bench.random(pool * width, 0.2)?;
    let raw = bench.random(queries * width, 0.2)?;
    let mut parameters = bench.backend.zeros(queries * width)?;
    let x = Mat::new(&raw, queries, width);
    bench.backend.run(Apply {
        f: Function::BetaParameter,
        x,
        out: MatMut::new(&mut parameters, queries, width),
    });
    let q = Mat::new(&parameters, queries, width);

    let products = 4.0 * (queries * pool * width) as f64;
    let bytes = 4.0 * ((queries + pool) * width + queries * pool) as f64;
    let forward = Cost { bytes, operations: products, products, ..Cost::default() };
    let backward = Cost { bytes: 2.0 * bytes, ..forward };
    scores::pairs(bench, "beta", kind, [q, Mat::new(&entities, pool, width)], [forward, backward])?;

    let entities = 8 * pool;
    let table = bench.random(entities * width, 0.2)?;
    let products = 4.0 * (queries * entities * width) as f64;
    let bytes = 4.0 * ((queries + entities) * width) as f64;
    let cost = Cost { bytes, operations: products, products, ..Cost::default() };
    rows::rank(bench, "beta", kind, [q, Mat::new(&table, entities, width)], cost)
}
