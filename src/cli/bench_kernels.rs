//! `smore bench kernels`: every operation by itself, against what the device can do at most.
//!
//! A time is the median of runs of some milliseconds, each of as many calls as fit; the device is waited for at the end of a
//! run. Inputs are random numbers. Floors:
//!
//! - bytes over the bandwidth of a large copy, measured in the same run: each input read once, each output written
//!   once;
//! - multiply-adds over the rate of a large matrix product, measured in the same run;
//! - on a GPU, instructions over their measured rates: those that a kernel's inner loop cannot do without, as counted
//!   in its source; on the CPU, operations of the formula over the rate of the matrix product.
//!
//! The share of the roofline is the greatest of them over the time.

mod beta;
mod convolution;
mod matrix;
mod normalise;

use super::options::{DeviceArgs, Opened, parse_number};
use super::{Global, print, print_json};
use crate::backend::cuda::ceilings::{self, Ceilings};
use crate::backend::*;
use crate::progress::Progress;
use crate::rng::{Rng, below, stream};
use crate::table::{Table, bytes, count};
use rand::Rng as _;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Arguments of `smore bench kernels`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Queries of the batch
    #[arg(long, value_name = "N", default_value_t = 512)]
    queries: usize,
    /// Negatives of the batch
    #[arg(long, value_name = "N", default_value_t = 1024)]
    negatives: usize,
    /// Embedding dimension
    #[arg(long, value_name = "N", default_value_t = 400)]
    dim: usize,
    /// Size of the table of entities for the row operations, in GB; it should not fit a cache [default: 4 on a GPU,
    /// 0.25 on the CPU]
    #[arg(long, value_name = "GB", value_parser = parse_number)]
    table: Option<f64>,
    /// Timed runs of each operation, of some 20 milliseconds, or fewer where they take long; the median is reported
    #[arg(long, value_name = "N", default_value_t = 15)]
    runs: usize,
    /// Precision of matrix products on a GPU
    #[arg(long, value_enum, value_name = "MATH", default_value = "fp32")]
    math: Math,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Runs `smore bench kernels`.
pub fn run(args: Args, global: &Global) -> anyhow::Result<()> {
    match args.device.open(args.math, global)? {
        Opened::Cpu(backend) => bench(backend, None, args.table.unwrap_or(0.25), &args, global),
        Opened::Cuda(backend) => {
            let ceilings = ceilings::measure(&backend)?;
            bench(backend, Some(ceilings), args.table.unwrap_or(4.0), &args, global)
        }
    }
}

/// What an operation cannot do without.
#[derive(Clone, Copy, Default)]
struct Cost {
    /// Bytes that must be read and written.
    bytes: f64,
    /// Floating-point operations of its formula.
    operations: f64,
    /// Those that are multiply-adds of a matrix product, two each.
    products: f64,
    /// Instructions of a GPU's FP32 units, and of its units for comparisons and bits.
    instructions: [f64; 2],
}

struct Row {
    name: String,
    size: String,
    seconds: f64,
    cost: Cost,
    floor: f64,
}

/// Times operations on a backend.
struct Bench<B: Backend> {
    backend: B,
    ceilings: Option<Ceilings>,
    /// Bytes a second of a copy, and operations a second of a matrix product.
    copy: f64,
    product: f64,
    rng: Rng,
    runs: usize,
    progress: Progress,
    /// Downloaded to wait for the device.
    flag: B::Buffer,
    rows: Vec<Row>,
}

/// Time for an operation after which the runs that there are count, where they are not too few.
const PATIENCE: Duration = Duration::from_millis(700);

/// Runs that are made in any case.
const FEWEST: usize = 3;

impl<B: Backend> Bench<B> {
    /// Uniform numbers in +-scale.
    fn random(&mut self, len: usize, scale: f32) -> anyhow::Result<B::Buffer> {
        const PIECE: usize = 1 << 22;
        let mut buffer = self.backend.zeros(len)?;
        let mut host = Vec::with_capacity(PIECE.min(len));
        for start in (0..len).step_by(PIECE) {
            let uniform = |rng: &mut Rng| (rng.next_u32() >> 8) as f32 / (1u32 << 23) as f32 - 1.0;
            host.clear();
            host.extend(
                (0..PIECE.min(len - start)).map(|_| B::scalar(f64::from(scale * uniform(&mut self.rng)))),
            );
            self.backend.upload(&host, &mut buffer, start)?;
        }
        Ok(buffer)
    }

    fn wait(&self) -> anyhow::Result<()> {
        Ok(self.backend.download(&self.flag, 0, &mut [B::Scalar::default()])?)
    }

    /// Seconds of a call: the median of the runs.
    fn seconds(&self, mut body: impl FnMut(&B)) -> anyhow::Result<f64> {
        const RUN: f64 = 0.02;
        let mut run = |calls: usize| -> anyhow::Result<f64> {
            self.wait()?;
            let start = Instant::now();
            (0..calls).for_each(|_| body(&self.backend));
            self.wait()?;
            Ok(start.elapsed().as_secs_f64() / calls as f64)
        };
        run(1)?;
        let calls = (RUN / run(3)?.max(1e-7)).ceil().clamp(1.0, 10_000.0) as usize;
        let (start, mut times) = (Instant::now(), Vec::new());
        // On a slow machine fewer runs: all operations together are to end within two minutes.
        while times.len() < self.runs && (times.len() < FEWEST || start.elapsed() < PATIENCE) {
            times.push(run(calls)?);
        }
        times.sort_by(f64::total_cmp);
        Ok(times[times.len() / 2])
    }

    fn time(&mut self, name: &str, size: String, cost: Cost, body: impl FnMut(&B)) -> anyhow::Result<()> {
        self.progress.report(&format!("measuring {name}, {size}"), 0, 0);
        let seconds = self.seconds(body)?;
        let arithmetic = match self.ceilings {
            Some(ceilings) => ceilings.floor(cost.instructions[0], cost.instructions[1]),
            None => cost.operations / self.product,
        };
        let floor = (cost.bytes / self.copy).max(cost.products / self.product).max(arithmetic);
        self.rows.push(Row { name: name.into(), size, seconds, cost, floor });
        Ok(())
    }
}

/// A score with the instructions of its inner loops for a pair and column (see `kernels/geometry.cuh`): forward, then
/// backward for both gradients; and the operations of the formulas.
struct Geometry {
    name: &'static str,
    kind: Scoring,
    forward: [f64; 2],
    backward: [f64; 2],
    operations: [f64; 2],
}

const GEOMETRIES: [Geometry; 5] = [
    Geometry {
        name: "L1",
        kind: Scoring::L1 { gamma: 24.0 },
        forward: [2.0, 0.0],
        backward: [2.0, 2.0],
        operations: [3.0, 3.0],
    },
    Geometry {
        name: "L2",
        kind: Scoring::L2 { gamma: 24.0 },
        forward: [2.0, 0.0],
        backward: [4.0, 0.0],
        operations: [3.0, 5.0],
    },
    Geometry {
        name: "box",
        kind: Scoring::Box { gamma: 24.0, inside: 0.02 },
        forward: [3.0, 1.0],
        backward: [7.0, 4.0],
        operations: [7.0, 8.0],
    },
    Geometry {
        name: "dot",
        kind: Scoring::Dot,
        forward: [1.0, 0.0],
        backward: [2.0, 0.0],
        operations: [2.0, 4.0],
    },
    // Complex numbers take two columns each. Roots are left to a unit of their own.
    Geometry {
        name: "rotation",
        kind: Scoring::Rotation { gamma: 24.0 },
        forward: [3.0, 0.0],
        backward: [7.0, 0.0],
        operations: [3.5, 7.5],
    },
];

fn bench<B: Backend>(
    backend: B,
    ceilings: Option<Ceilings>,
    table_gb: f64,
    args: &Args,
    global: &Global,
) -> anyhow::Result<()> {
    let (queries, pool, d) = (args.queries.max(1), args.negatives.max(1), args.dim.max(1));
    let table_rows = ((table_gb * 1e9 / (4.0 * d as f64)) as usize).max(1024);
    let flag = backend.zeros(1)?;
    let rng = stream(1, "bench kernels", 0);
    let mut bench = Bench {
        backend,
        ceilings,
        copy: 1.0,
        product: 1.0,
        rng,
        runs: args.runs.max(1),
        progress: super::progress::printer(),
        flag,
        rows: Vec::new(),
    };

    // The ceilings that every device has.
    let len = table_rows * d / 2;
    let (from, mut to) = (bench.random(len, 1.0)?, bench.backend.zeros(len)?);
    let seconds = bench.seconds(|b| b.copy(Mat::new(&from, len / d, d), MatMut::new(&mut to, len / d, d)))?;
    bench.copy = 8.0 * (len / d * d) as f64 / seconds;
    let n = len.isqrt().next_multiple_of(64).min(if ceilings.is_some() { 4096 } else { 1024 });
    let (x, w, b) = (bench.random(n * n, 1.0)?, bench.random(n * n, 1.0)?, bench.random(n, 1.0)?);
    drop((from, to));
    let mut to = bench.backend.zeros(n * n)?;
    let seconds = bench.seconds(|backend| {
        let out = MatMut::new(&mut to, n, n);
        backend.linear(Mat::new(&x, n, n), Mat::new(&w, n, n), Mat::new(&b, 1, n), Activation::None, out);
    })?;
    bench.product = 2.0 * (n as f64).powi(3) / seconds;
    drop((to, x, w, b));

    scores(&mut bench, queries, pool, d)?;
    beta::bench(&mut bench, queries, pool, d)?;
    networks(&mut bench, queries, d)?;
    rows(&mut bench, table_rows, queries, d)?;
    show(&bench, table_rows * d * 4, global)
}

fn scores<B: Backend>(bench: &mut Bench<B>, queries: usize, pool: usize, d: usize) -> anyhow::Result<()> {
    let entities = bench.random(pool * d, 0.2)?;
    let weights = bench.random(queries * pool, 1e-3)?;
    let mut out = bench.backend.zeros(queries * pool)?;
    let mut dentities = bench.backend.zeros(pool * d)?;
    let size = format!("{} x {} x {d}", count(queries as u64), count(pool as u64));
    let elements = (queries * pool * d) as f64;
    for g in GEOMETRIES {
        let width = g.kind.query_width(d);
        let rows = bench.random(queries * width, 0.2)?;
        let mut dqueries = bench.backend.zeros(queries * width)?;
        let (q, e) = (Mat::new(&rows, queries, width), Mat::new(&entities, pool, d));
        let touched = (queries * width + pool * d) as f64;
        let pairs = (queries * pool) as f64;
        let cost = Cost {
            bytes: 4.0 * (touched + pairs),
            operations: g.operations[0] * elements,
            instructions: g.forward.map(|i| i * elements),
            ..Cost::default()
        };
        bench.time(&format!("scores {}", g.name), size.clone(), cost, |b| {
            b.scores(g.kind, q, e, MatMut::new(&mut out, queries, pool));
        })?;
        let cost = Cost {
            bytes: 4.0 * (2.0 * touched + pairs),
            operations: g.operations[1] * elements,
            instructions: g.backward.map(|i| i * elements),
            ..Cost::default()
        };
        bench.time(&format!("scores backward {}", g.name), size.clone(), cost, |b| {
            b.scores_backward(
                g.kind,
                q,
                e,
                Mat::new(&out, queries, pool),
                Mat::new(&weights, queries, pool),
                MatMut::new(&mut dqueries, queries, width),
                MatMut::new(&mut dentities, pool, d),
            );
        })?;
    }

    // Candidates of their own are read once for one query: fewer of them.
    let own = (pool / 16).max(1);
    let roots = bench.backend.index(&(0..=queries as u32).collect::<Vec<_>>())?;
    let entities = bench.random(queries * own * d, 0.2)?;
    let mut dentities = bench.backend.zeros(queries * own * d)?;
    let size = format!("{} x {} x {d}", count(queries as u64), count(own as u64));
    let (elements, pairs) = ((queries * own * d) as f64, (queries * own) as f64);
    for g in GEOMETRIES {
        let width = g.kind.query_width(d);
        let rows = bench.random(queries * width, 0.2)?;
        let mut dqueries = bench.backend.zeros(queries * width)?;
        let (q, e) = (Mat::new(&rows, queries, width), Mat::new(&entities, queries * own, d));
        let touched = (queries * width) as f64 + elements;
        let cost = Cost {
            bytes: 4.0 * (touched + pairs),
            operations: g.operations[0] * elements,
            instructions: g.forward.map(|i| i * elements),
            ..Cost::default()
        };
        bench.time(&format!("own scores {}", g.name), size.clone(), cost, |b| {
            b.own_scores(g.kind, q, e, &roots, MatMut::new(&mut out, queries, own));
        })?;
        let cost = Cost {
            // Gradients of queries are read and written, those of entities written.
            bytes: 4.0 * (2.0 * touched + (queries * width) as f64 + pairs),
            operations: g.operations[1] * elements,
            instructions: g.backward.map(|i| i * elements),
            ..Cost::default()
        };
        bench.time(&format!("own scores backward {}", g.name), size.clone(), cost, |b| {
            b.own_scores_backward(
                g.kind,
                q,
                e,
                &roots,
                Mat::new(&out, queries, own),
                Mat::new(&weights, queries, own),
                MatMut::new(&mut dqueries, queries, width),
                MatMut::new(&mut dentities, queries * own, d),
            );
        })?;
    }

    let scores = bench.random(queries * pool, 20.0)?;
    let (positives, query_weights) = (bench.random(queries, 20.0)?, bench.random(queries, 1.0)?);
    let words = pool.div_ceil(32);
    let mask = bench.backend.index(&vec![0; queries * words])?;
    let (mut losses, mut dpositives) = (bench.backend.zeros(queries)?, bench.backend.zeros(queries)?);
    for (name, loss, adversarial_temperature) in [
        ("loss uniform", PoolLoss::Logistic, None),
        ("loss adversarial", PoolLoss::Logistic, Some(1.0)),
        ("loss cross-entropy", PoolLoss::CrossEntropy, None),
        ("loss margin", PoolLoss::Margin { margin: 1.0 }, None),
    ] {
        let bytes = 8.0 * (queries * pool) as f64;
        let size = format!("{} x {}", count(queries as u64), count(pool as u64));
        bench.time(name, size, Cost { bytes, ..Cost::default() }, |b| {
            b.loss(
                LossOptions { loss, adversarial_temperature },
                &roots,
                Mat::new(&positives, 1, queries),
                Mat::new(&scores, queries, pool),
                &mask,
                words,
                Mat::new(&query_weights, 1, queries),
                MatMut::new(&mut losses, 1, queries),
                MatMut::new(&mut dpositives, 1, queries),
                MatMut::new(&mut out, queries, pool),
            );
        })?;
    }

    // Rows of scores with three labels each, as of single-hop training.
    let offsets: Vec<u32> = (0..=queries as u32).map(|q| 3 * q).collect();
    let labels: Vec<u32> = (0..3 * queries as u32).map(|l| l % pool.max(3) as u32).collect();
    let (offsets, labels) = (bench.backend.index(&offsets)?, bench.backend.index(&labels)?);
    let mut rows = bench.random(queries * pool.max(3), 20.0)?;
    let losses_of = [
        ("label loss cross-entropy", LabelLoss::CrossEntropy { smoothing: 0.0 }),
        ("label loss logistic", LabelLoss::Logistic { smoothing: 0.1, per_label: false }),
    ];
    for (name, kind) in losses_of {
        let pool = pool.max(3);
        let bytes = 8.0 * (queries * pool) as f64;
        let size = format!("{} x {}", count(queries as u64), count(pool as u64));
        bench.time(name, size, Cost { bytes, ..Cost::default() }, |b| {
            b.label_loss(
                kind,
                LabelRows { offsets: &offsets, labels: &labels, first: 0 },
                Mat::new(&query_weights, 1, queries),
                MatMut::new(&mut rows, queries, pool),
                MatMut::new(&mut losses, 1, queries),
            );
        })?;
    }
    Ok(())
}

fn networks<B: Backend>(bench: &mut Bench<B>, queries: usize, d: usize) -> anyhow::Result<()> {
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
        backend.linear(x, w, Mat::new(&b, 1, d), Activation::Relu, MatMut::new(&mut y, rows, d));
    })?;
    let cost = Cost { bytes: 2.5 * bytes, operations: 2.0 * products, products: 2.0 * products, ..cost };
    bench.time("linear backward", size, cost, |backend| {
        backend.linear_backward(
            x,
            w,
            Mat::new(&y, rows, d),
            Activation::Relu,
            MatMut::new(&mut dout, rows, d),
            MatMut::new(&mut dx, rows, d),
            MatMut::new(&mut dw, d, d),
            MatMut::new(&mut db, 1, d),
        );
    })?;

    let mut weights = bench.random(rows * d, 1.0)?;
    let mut out = bench.backend.zeros(segments * d)?;
    let size = format!("{} sets, {} rows x {d}", count(segments as u64), count(rows as u64));
    let bytes = 4.0 * ((3 * rows + segments) * d) as f64;
    bench.time("attend", size.clone(), Cost { bytes, ..Cost::default() }, |b| {
        b.attend(x, &offsets, MatMut::new(&mut weights, rows, d), MatMut::new(&mut out, segments, d));
    })?;
    let bytes = 4.0 * ((4 * rows + segments) * d) as f64;
    bench.time("attend backward", size, Cost { bytes, ..Cost::default() }, |b| {
        let dout = Mat::new(&out, segments, d);
        b.attend_backward(
            x,
            &offsets,
            dout,
            MatMut::new(&mut weights, rows, d),
            MatMut::new(&mut dx, rows, d),
        );
    })
}

fn rows<B: Backend>(bench: &mut Bench<B>, table_rows: usize, queries: usize, d: usize) -> anyhow::Result<()> {
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
    // Gradient, value and state read, value and state written; Adam's state is two numbers a value.
    let optimizers = [
        ("adam", Optimizer::Adam, 7.0),
        ("adagrad", Optimizer::Adagrad, 5.0),
        ("row-wise adagrad", Optimizer::RowwiseAdagrad, 3.0),
        ("sgd", Optimizer::Sgd, 3.0),
    ];
    for (name, optimizer, passes) in optimizers {
        let step = optimizer.step(1e-3, 10);
        table.state = optimizer.state(d);
        bench.time(&format!("{name} on rows"), size.clone(), cost(passes), |b| {
            b.optimize_rows(step, &groups, Mat::new(&part, touched, d), &mut table);
        })?;
    }
    table.state = [d, d];
    bench.time("add groups", size.clone(), cost(3.0), |b| {
        b.add_groups(&groups, Mat::new(&part, touched, d), MatMut::new(&mut table.values, table_rows, d));
    })?;
    let mut squares = bench.backend.zeros(touched)?;
    bench.time("group squares", size.clone(), cost(1.0), |b| {
        b.group_squares(&groups, Mat::new(&part, touched, d), MatMut::new(&mut squares, 1, touched));
    })?;
    let rows_size = format!("{} rows x {d}", count(touched as u64));
    bench.time("row squares", rows_size.clone(), cost(1.0), |b| {
        b.row_squares(Mat::new(&part, touched, d), MatMut::new(&mut squares, 1, touched));
    })?;
    let mut factor = bench.backend.zeros(1)?;
    let bytes = 4.0 * touched as f64;
    bench.time("clip factor", count(touched as u64), Cost { bytes, ..Cost::default() }, |b| {
        b.clip_factor(1e-9, Mat::new(&squares, 1, touched), MatMut::new(&mut factor, 1, 1));
    })?;
    // Near 1, so that the numbers stay.
    bench.backend.upload(&[B::scalar(0.999_999)], &mut factor, 0)?;
    bench.time("scale", rows_size, cost(2.0), |b| {
        b.scale(Mat::new(&factor, 1, 1), MatMut::new(&mut part, touched, d));
    })?;
    bench.time("dropout", format!("{} rows x {d}", count(touched as u64)), cost(2.0), |b| {
        b.dropout(Dropout::new(1e-6, 7), MatMut::new(&mut part, touched, d));
    })?;
    let ones = vec![B::scalar(1e-9); touched];
    let mut weights = bench.backend.zeros(touched)?;
    bench.backend.upload(&ones, &mut weights, 0)?;
    let mut penalties = bench.backend.zeros(touched)?;
    let penalised = [
        ("penalise squares", Penalty::Squares),
        ("penalise cubes", Penalty::Cubes),
        ("penalise complex cubes", Penalty::ComplexCubes),
    ];
    for (name, penalty) in penalised {
        // Its first rows are as good as any.
        bench.time(name, format!("{} rows x {d}", count(touched as u64)), cost(3.0), |b| {
            b.penalise(
                penalty,
                Mat::new(&weights, 1, touched),
                table.mat().rows(0, touched),
                MatMut::new(&mut part, touched, d),
                MatMut::new(&mut penalties, 1, touched),
            );
        })?;
    }
    bench.time("gather", size.clone(), cost(2.0), |b| {
        b.gather(table.mat(), &index, MatMut::new(&mut part, touched, d));
    })?;
    bench.time("scatter", size, cost(2.0), |b| {
        b.scatter(Mat::new(&part, touched, d), &index, MatMut::new(&mut table.values, table_rows, d));
    })?;
    let step = 32 * queries;
    let size = format!("{} slots x {d}", count(step as u64));
    let inputs = bench.backend.index(&(0..step as u32).collect::<Vec<_>>())?;
    let relations = bench.random(step * d, 1.0)?;
    let bytes = 12.0 * (step * d) as f64;
    let mut slots = bench.random(2 * step * d, 1.0)?;
    bench.time("project", size, Cost { bytes, ..Cost::default() }, |b| {
        let to = ProjectStep { inputs: &inputs, output: step, count: step, groups: None, key: None };
        let slots = MatMut::new(&mut slots, 2 * step, d);
        b.project(Projection::Translate, to, Mat::new(&relations, step, d), slots);
    })?;

    // Rotation reads half as much of a relation.
    let d2 = d / 2 * 2;
    let size = format!("{} slots x {d2}", count(step as u64));
    let bytes = 10.0 * (step * d2) as f64;
    bench.time("project rotate", size, Cost { bytes, ..Cost::default() }, |b| {
        let to = ProjectStep { inputs: &inputs, output: step, count: step, groups: None, key: None };
        let slots = MatMut::new(&mut slots, 2 * step, d2);
        let relations = Mat::new(&relations, step, d2 / 2);
        b.project(Projection::Rotate { scale: 3.0 }, to, relations, slots);
    })?;

    matrix::bench(bench, queries, queries.div_ceil(8), d)?;
    convolution::bench(bench, 2 * queries)?;
    normalise::bench(bench, 2 * queries)?;

    // Full ranking of one target a query, in tiles.
    let queries = queries.min(table_rows);
    let entities = table_rows.min(if bench.ceilings.is_some() { 1 << 18 } else { 1 << 14 });
    let one_each: Vec<u32> = (0..=queries as u32).collect();
    let targets: Vec<u32> = (0..queries).map(|_| below(&mut bench.rng, entities as u64) as u32).collect();
    let none = vec![0; queries + 1];
    let elements = (queries * entities * d) as f64;
    let size = format!("{} x {} x {d}", count(queries as u64), count(entities as u64));
    for g in GEOMETRIES {
        let width = g.kind.query_width(d);
        let rows = bench.random(queries * width, 0.1)?;
        let cost = Cost {
            bytes: 4.0 * (entities * d + queries * width) as f64,
            operations: g.operations[0] * elements,
            instructions: g.forward.map(|i| i * elements),
            ..Cost::default()
        };
        let mut failure = None;
        bench.time(&format!("rank {}", g.name), size.clone(), cost, |b| {
            let task = RankTask {
                root_offsets: &one_each,
                queries: Mat::new(&rows, queries, width),
                target_offsets: &one_each,
                targets: &targets,
                filter_offsets: &none,
                filter: &[],
            };
            failure = b.rank(g.kind, task, table.mat().rows(0, entities)).err();
        })?;
        failure.map_or(Ok(()), Err)?;
    }
    Ok(())
}

fn show<B: Backend>(bench: &Bench<B>, table_bytes: usize, global: &Global) -> anyhow::Result<()> {
    let ratio = |row: &Row| (row.floor > 0.0).then(|| row.floor / row.seconds);
    if global.json {
        let kernels: Vec<Value> = bench
            .rows
            .iter()
            .map(|row| {
                json!({
                    "kernel": row.name,
                    "size": row.size,
                    "seconds": row.seconds,
                    "bytes_per_second": row.cost.bytes / row.seconds,
                    "operations_per_second": row.cost.operations / row.seconds,
                    "floor_seconds": row.floor,
                    "share_of_roofline": ratio(row),
                })
            })
            .collect();
        return print_json(&json!({
            "benchmark": "kernels",
            "device": bench.backend.describe(),
            "copy_bytes_per_second": bench.copy,
            "product_operations_per_second": bench.product,
            "instructions_per_second": bench.ceilings,
            "table_bytes": table_bytes,
            "kernels": kernels,
        }));
    }
    let mut table = Table::new().left("kernel").left("size");
    for column in ["time", "GB/s", "of copy", "Gop/s", "floor", "of roofline"] {
        table = table.right(column);
    }
    let percent = |share: f64| format!("{:.0} %", 100.0 * share);
    for row in &bench.rows {
        let bytes = row.cost.bytes / row.seconds;
        let operations = row.cost.operations / row.seconds;
        table.row([
            row.name.clone(),
            row.size.clone(),
            milliseconds(row.seconds),
            format!("{:.1}", bytes * 1e-9),
            percent(bytes / bench.copy),
            if operations > 0.0 { format!("{:.0}", operations * 1e-9) } else { "-".into() },
            milliseconds(row.floor),
            ratio(row).map_or("-".into(), percent),
        ]);
    }
    print(format_args!(
        "{}\ncopies {}/s, matrix products {:.0} Gop/s{}; row operations on a table of {}\n\n",
        bench.backend.describe(),
        bytes_of(bench.copy),
        bench.product * 1e-9,
        bench.ceilings.map_or(String::new(), |c| format!(
            ", FP32 instructions {:.2} T/s, bit operations {:.2} T/s, both in turns {:.2} T/s",
            c.fp32 * 1e-12,
            c.logic * 1e-12,
            c.mixed * 1e-12
        )),
        bytes_of(table_bytes as f64),
    ))?;
    print(table)
}

fn bytes_of(number: f64) -> String {
    bytes(number as u64)
}

fn milliseconds(seconds: f64) -> String {
    format!("{:.3} ms", seconds * 1e3)
}
