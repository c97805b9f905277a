//! The operations of Beta distributions. Their rows have 2d numbers.

use super::{Bench, Cost, cases};
use smore::engine::backend::*;
use smore::engine::program::ops::elementwise::Apply;
use smore::engine::program::ops::score::{Scores, ScoresBackward};
use smore::engine::table::count;

/// Scores, gradients and ranks of `queries` with `pool` entities.
///
/// Floors: a multiply-add in float64 takes the time of two in float32 (on a GPU with full-rate float64; others have a
/// fraction of it), gradients are two products in float32.
pub fn bench<B: Backend>(bench: &mut Bench<B>, queries: usize, pool: usize, d: usize) -> anyhow::Result<()> {
    let kind = cases::BETA;
    let width = 2 * d;
    let entities = bench.random(pool * width, 0.2)?;
    let raw = bench.random(queries * width, 0.2)?;
    let weights = bench.random(queries * pool, 1e-3)?;
    let [mut rows, mut dqueries] =
        [bench.backend.zeros(queries * width)?, bench.backend.zeros(queries * width)?];
    let mut dentities = bench.backend.zeros(pool * width)?;
    let mut out = bench.backend.zeros(queries * pool)?;
    let x = Mat::new(&raw, queries, width);
    bench.backend.run(Apply { f: Function::BetaParameter, x, out: MatMut::new(&mut rows, queries, width) });
    let q = Mat::new(&rows, queries, width);
    let e = Mat::new(&entities, pool, width);
    let size = format!("{} x {} x {width}", count(queries as u64), count(pool as u64));
    let products = 2.0 * (queries * pool * width) as f64;
    let bytes = 4.0 * ((queries + pool) * width + queries * pool) as f64;
    let cost = Cost { bytes, operations: 2.0 * products, products: 2.0 * products, ..Cost::default() };
    bench.time("scores beta", size.clone(), cost, |b| {
        b.run(Scores {
            kind,
            exact: true,
            queries: q,
            entities: e,
            out: MatMut::new(&mut out, queries, pool),
        });
    })?;
    bench.time("scores backward beta", size, Cost { bytes: 2.0 * bytes, ..cost }, |b| {
        b.run(ScoresBackward {
            kind,
            queries: q,
            entities: e,
            scores: Mat::new(&out, queries, pool),
            weights: Mat::new(&weights, queries, pool),
            dqueries: MatMut::new(&mut dqueries, queries, width),
            dentities: MatMut::new(&mut dentities, pool, width),
        });
    })?;

    let entities = 8 * pool;
    let table = bench.random(entities * width, 0.2)?;
    let one_each: Vec<u32> = (0..=queries as u32).collect();
    let targets: Vec<u32> = (0..queries).map(|i| (i * 31 % entities) as u32).collect();
    let none = vec![0; queries + 1];
    let size = format!("{} x {} x {width}", count(queries as u64), count(entities as u64));
    let products = 4.0 * (queries * entities * width) as f64;
    let bytes = 4.0 * ((queries + entities) * width) as f64;
    let cost = Cost { bytes, operations: products, products, ..Cost::default() };
    let mut failure = None;
    bench.time("rank beta", size, cost, |b| {
        let task = RankTask {
            root_offsets: &one_each,
            queries: q,
            target_offsets: &one_each,
            targets: &targets,
            filter_offsets: &none,
            filter: &[],
        };
        failure = b.rank(kind, task, Mat::new(&table, entities, width)).err();
    })?;
    Ok(failure.map_or(Ok(()), Err)?)
}
