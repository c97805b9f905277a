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
mod networks;
mod normalise;
mod rows;
mod scores;

use super::options::{DeviceArgs, parse_number};
use super::{Global, print, print_json};
use crate::api::Opened;
use crate::backend::cuda::ceilings::{self, Ceilings};
use crate::backend::cuda::formulas::instructions;
use crate::backend::*;
use crate::program::ops::clip::{ClipFactor, GroupSquares, RowSquares, Scale};
use crate::program::ops::label_loss::LossOfLabels;
use crate::program::ops::linear::{Linear, LinearBackward};
use crate::program::ops::loss::Loss;
use crate::program::ops::optimizer::OptimizeRows;
use crate::program::ops::penalty::Penalise;
use crate::program::ops::project::Project;
use crate::program::ops::rows::{AddGroups, CopyRows, DropOut, Gather, Scatter};
use crate::program::ops::score::{OwnScores, OwnScoresBackward, Scores, ScoresBackward};
use crate::program::ops::segment::{Attend, AttendBackward};
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
                (0..PIECE.min(len - start)).map(|_| B::Scalar::of(f64::from(scale * uniform(&mut self.rng)))),
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

/// The scores that are sums over columns.
fn geometries() -> impl Iterator<Item = Scoring> {
    Scoring::EACH.into_iter().filter(|kind| !matches!(kind, Scoring::Beta { .. }))
}

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
    let seconds = bench.seconds(|b| {
        b.run(CopyRows { from: Mat::new(&from, len / d, d), out: MatMut::new(&mut to, len / d, d) })
    })?;
    bench.copy = 8.0 * (len / d * d) as f64 / seconds;
    let n = len.isqrt().next_multiple_of(64).min(if ceilings.is_some() { 4096 } else { 1024 });
    let (x, w, b) = (bench.random(n * n, 1.0)?, bench.random(n * n, 1.0)?, bench.random(n, 1.0)?);
    drop((from, to));
    let mut to = bench.backend.zeros(n * n)?;
    let seconds = bench.seconds(|backend| {
        let out = MatMut::new(&mut to, n, n);
        let (x, w, bias) = (Mat::new(&x, n, n), Mat::new(&w, n, n), Mat::new(&b, 1, n));
        backend.run(Linear { x, w, bias: Some(bias), f: Activation::None, out });
    })?;
    bench.product = 2.0 * (n as f64).powi(3) / seconds;
    drop((to, x, w, b));

    scores::scores(&mut bench, queries, pool, d)?;
    beta::bench(&mut bench, queries, pool, d)?;
    networks::networks(&mut bench, queries, d)?;
    rows::rows(&mut bench, table_rows, queries, d)?;
    show(&bench, table_rows * d * 4, global)
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
