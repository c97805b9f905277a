//! Rows, projections, optimizers, ranking.

use super::*;
use smore::engine::backend::Number;

pub fn rows<B: Backend>(
    bench: &mut Bench<B>,
    table_rows: usize,
    queries: usize,
    d: usize,
) -> anyhow::Result<()> {
    // A tenth of the rows, at random, in random order; for Adam the same ones in ascending order.
    let step = 10;
    let touched = table_rows / step;
    let mut ids: Vec<u32> =
        (0..touched).map(|i| (i * step) as u32 + below(&mut bench.rng, step as u64) as u32).collect();
    let ascending = ids.clone();
    (1..touched).rev().for_each(|i| ids.swap(i, below(&mut bench.rng, i as u64 + 1) as usize));
    let index = bench.backend.index(&ids)?;
    let groups = DeviceGroups::<B> {
        ids: bench.backend.index(&ascending)?,
        offsets: bench.backend.index(&(0..=touched as u32).collect::<Vec<_>>())?,
        members: bench.backend.index(&(0..touched as u32).collect::<Vec<_>>())?,
    };
    let mut table = Parameters::<B> {
        rows: table_rows,
        cols: d,
        values: bench.random(table_rows * d, 0.1)?,
        first: bench.backend.zeros(table_rows * d)?,
        second: bench.backend.zeros(table_rows * d)?,
        state: [d, d],
        interleaved: false,
    };
    let mut part = bench.random(touched * d, 1e-3)?;
    let size = format!("{} of {} rows x {d}", count(touched as u64), count(table_rows as u64));
    let row_bytes = 4.0 * (touched * d) as f64;
    let cost = |passes: f64| Cost { bytes: passes * row_bytes, ..Cost::default() };
    for (name, optimizer) in benchmarks(&cases::OPTIMIZERS) {
        // Gradient, value and state read, value and state written.
        let passes = 3.0
            + match optimizer {
                Optimizer::Adam => 4.0,
                Optimizer::Adagrad => 2.0,
                Optimizer::RowwiseAdagrad | Optimizer::Sgd => 0.0,
            };
        let step = optimizer.step(1e-3, 10);
        table.state = optimizer.state(d);
        bench.time(&format!("{name} on rows"), size.clone(), cost(passes), |b| {
            b.run(OptimizeRows {
                step,
                groups: &groups,
                grads: Mat::new(&part, touched, d),
                table: &mut table,
            });
        })?;
    }
    table.state = [d, d];
    bench.time("add groups", size.clone(), cost(3.0), |b| {
        b.run(AddGroups {
            groups: &groups,
            from: Mat::new(&part, touched, d),
            to: MatMut::new(&mut table.values, table_rows, d),
        });
    })?;
    clipping(bench, &groups, &mut part, (touched, d), &size)?;
    bench.time("dropout", format!("{} rows x {d}", count(touched as u64)), cost(2.0), |b| {
        b.run(DropOut { dropout: Dropout::new(1e-6, 7), x: MatMut::new(&mut part, touched, d) });
    })?;
    penalties(bench, &table, &mut part, touched)?;
    bench.time("gather", size.clone(), cost(2.0), |b| {
        b.run(Gather { table: table.mat(), rows: &index, out: MatMut::new(&mut part, touched, d) });
    })?;
    bench.time("scatter", size, cost(2.0), |b| {
        b.run(Scatter {
            from: Mat::new(&part, touched, d),
            rows: &index,
            out: MatMut::new(&mut table.values, table_rows, d),
        });
    })?;
    projections::bench(bench, 32 * queries, d)?;
    functions::bench(bench, 32 * queries, d)?;
    matrix::bench(bench, queries, queries.div_ceil(8), d)?;
    convolution::bench(bench, 2 * queries)?;
    normalise::bench(bench, 2 * queries)?;
    ranking(bench, &table, queries)
}

/// Full ranking of one target a query, in tiles.
fn ranking<B: Backend>(bench: &mut Bench<B>, table: &Parameters<B>, queries: usize) -> anyhow::Result<()> {
    let (table_rows, d) = (table.rows, table.cols);
    let queries = queries.min(table_rows);
    let entities = table_rows.min(if bench.ceilings.is_some() { 1 << 18 } else { 1 << 14 });
    let elements = (queries * entities * d) as f64;
    for (name, kind) in benchmarks(&cases::SCORES) {
        let width = kind.query_width(d);
        let rows = bench.random(queries * width, 0.1)?;
        let cost = Cost::of_score(kind, 0, elements, 4.0 * (entities * d + queries * width) as f64);
        rank(bench, name, kind, [Mat::new(&rows, queries, width), table.mat().rows(0, entities)], cost)?;
    }
    Ok(())
}

/// The rank of one target of each query among entities.
pub fn rank<B: Backend>(
    bench: &mut Bench<B>,
    name: &str,
    kind: Scoring,
    [queries, entities]: [Mat<B::Buffer>; 2],
    cost: Cost,
) -> anyhow::Result<()> {
    let one_each: Vec<u32> = (0..=queries.rows as u32).collect();
    let target = |_| below(&mut bench.rng, entities.rows as u64) as u32;
    let targets: Vec<u32> = (0..queries.rows).map(target).collect();
    let none = vec![0; queries.rows + 1];
    let size =
        format!("{} x {} x {}", count(queries.rows as u64), count(entities.rows as u64), entities.cols);
    let mut failure = None;
    bench.time(&format!("rank {name}"), size, cost, |b| {
        let task = RankTask {
            root_offsets: &one_each,
            queries,
            target_offsets: &one_each,
            targets: &targets,
            filter_offsets: &none,
            filter: &[],
        };
        failure = b.rank(kind, task, entities).err();
    })?;
    Ok(failure.map_or(Ok(()), Err)?)
}

/// What large numbers of the first rows of a table cost, which are as good as any.
fn penalties<B: Backend>(
    bench: &mut Bench<B>,
    table: &Parameters<B>,
    part: &mut B::Buffer,
    touched: usize,
) -> anyhow::Result<()> {
    let d = table.cols;
    let cost = |passes: f64| Cost { bytes: passes * 4.0 * (touched * d) as f64, ..Cost::default() };
    let ones = vec![B::Scalar::of(1e-9); touched];
    let mut weights = bench.backend.zeros(touched)?;
    bench.backend.upload(&ones, &mut weights, 0)?;
    let mut penalties = bench.backend.zeros(touched)?;
    for (name, penalty) in benchmarks(&cases::PENALTIES) {
        let size = format!("{} rows x {d}", count(touched as u64));
        bench.time(&format!("regularise {name}"), size, cost(3.0), |b| {
            b.run(Regularise {
                penalty,
                row_weights: Mat::new(&weights, touched, 1),
                x: table.mat().rows(0, touched),
                grads: MatMut::new(&mut *part, touched, d),
                penalties: MatMut::new(&mut penalties, touched, 1),
            });
        })?;
    }
    Ok(())
}

/// Clipping of the gradients of so many rows and columns.
fn clipping<B: Backend>(
    bench: &mut Bench<B>,
    groups: &DeviceGroups<B>,
    part: &mut B::Buffer,
    (touched, d): (usize, usize),
    size: &str,
) -> anyhow::Result<()> {
    let cost = |passes: f64| Cost { bytes: passes * 4.0 * (touched * d) as f64, ..Cost::default() };
    let mut squares = bench.backend.zeros(touched)?;
    bench.time("group squares", size.to_string(), cost(1.0), |b| {
        b.run(GroupSquares {
            groups,
            from: Mat::new(&*part, touched, d),
            squares: MatMut::new(&mut squares, touched, 1),
        });
    })?;
    let rows_size = format!("{} rows x {d}", count(touched as u64));
    bench.time("row squares", rows_size.to_string(), cost(1.0), |b| {
        b.run(RowSquares {
            from: Mat::new(&*part, touched, d),
            squares: MatMut::new(&mut squares, touched, 1),
        });
    })?;
    let mut factor = bench.backend.zeros(1)?;
    let bytes = 4.0 * touched as f64;
    bench.time("clip factor", count(touched as u64), Cost { bytes, ..Cost::default() }, |b| {
        b.run(ClipFactor {
            bound: 1e-9,
            squares: Mat::new(&squares, touched, 1),
            factor: MatMut::new(&mut factor, 1, 1),
        });
    })?;
    // Near 1, so that the numbers stay.
    bench.backend.upload(&[B::Scalar::of(0.999_999)], &mut factor, 0)?;
    bench.time("scale", rows_size, cost(2.0), |b| {
        b.run(Scale { factor: Mat::new(&factor, 1, 1), x: MatMut::new(&mut *part, touched, d) });
    })?;
    Ok(())
}
