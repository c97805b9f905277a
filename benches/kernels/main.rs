//! `cargo bench --bench kernels`: every operation by itself, against what the device can do at most.
//!
//! Criterion times them (FILTER, `--save-baseline NAME` and `--baseline NAME` are its own) and compares with the run before;
//! a table of floors follows. A call of an operation returns before the device has done it, so a sample is as many calls as
//! fit, and the device is waited for at its end; a time is the median of the samples. Inputs are random numbers. Floors:
//!
//! - bytes over the bandwidth of a large copy, measured in the same run: each input read once, each output written
//!   once;
//! - multiply-adds over the rate of a large matrix product, measured in the same run;
//! - on a GPU, instructions over their measured rates: those that a kernel's inner loop cannot do without, as counted
//!   in its source; on the CPU, operations of the formula over the rate of the matrix product.
//!
//! The share of the roofline is the greatest of them over the time.
//!
//! The binary (`cargo bench --bench kernels --no-run`) needs neither cargo nor files: `benches/gpu.sh` takes it to machines
//! with a GPU.

mod beta;
#[path = "../../tests/common/cases.rs"]
mod cases;
mod convolution;
mod functions;
mod matrix;
mod networks;
mod normalise;
mod projections;
mod rows;
mod scores;

use cases::benchmarks;
use clap::Parser;
use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use rand::Rng as _;
use serde_json::{Value, json};
use smore::Device;
use smore::engine::backend::cuda::ceilings::{self, Ceilings};
use smore::engine::backend::cuda::formulas::instructions;
use smore::engine::backend::*;
use smore::engine::dataset::Cache;
use smore::engine::program::ops::clip::{ClipFactor, GroupSquares, RowSquares, Scale};
use smore::engine::program::ops::label_loss::LossOfLabels;
use smore::engine::program::ops::linear::{Linear, LinearBackward};
use smore::engine::program::ops::loss::LossOfPool;
use smore::engine::program::ops::optimizer::OptimizeRows;
use smore::engine::program::ops::penalty::Regularise;
use smore::engine::program::ops::rows::{AddGroups, CopyRows, DropOut, Gather, Scatter};
use smore::engine::program::ops::score::{PerQueryScores, PerQueryScoresBackward, Scores, ScoresBackward};
use smore::engine::program::ops::segment::{Attend, AttendBackward};
use smore::engine::rng::{Rng, below, stream};
use smore::engine::table::{Table, bytes, count};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Time every operation by itself, against what the device can do at most
#[derive(Parser)]
#[command(name = "kernels")]
struct Args {
    /// Only operations whose name and size, as in "scores L1/512 x 1,024 x 400", match this regular expression
    filter: Option<String>,
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
    #[arg(long, value_name = "GB")]
    table: Option<f64>,
    /// Time that the samples of an operation take together, or more where a call for each takes longer
    #[arg(long, value_name = "SECONDS", default_value_t = 0.2)]
    seconds: f64,
    /// Samples of an operation
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u64).range(10..))]
    samples: u64,
    /// Precision of matrix products on a GPU
    #[arg(long, value_enum, value_name = "MATH", default_value = "fp32")]
    math: Math,
    /// Device: auto (a GPU where there is one), cpu, cuda or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: Device,
    /// Where compiled kernels are kept [default: smore in the user's cache folder]
    #[arg(long, value_name = "FOLDER", env = "SMORE_CACHE")]
    cache_dir: Option<PathBuf>,
    /// Write one JSON document with times and floors to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Keep the times as a baseline of this name
    #[arg(long, value_name = "NAME", conflicts_with = "baseline")]
    save_baseline: Option<String>,
    /// Compare with a baseline, and leave it as it is
    #[arg(long, value_name = "NAME")]
    baseline: Option<String>,
    /// Cargo says so
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let gpu = |ordinal| {
        anyhow::Ok(Cuda::open(ordinal, args.math, &Cache::new(args.cache_dir.as_deref())?.kernels())?)
    };
    let cuda = match args.device {
        Device::Cpu => None,
        Device::Auto => gpu(0).inspect_err(|why| eprintln!("no GPU is used: {why}")).ok(),
        Device::Cuda(ordinal) => Some(gpu(ordinal)?),
    };
    match cuda {
        None => bench(Cpu, None, args.table.unwrap_or(0.25), &args),
        Some(cuda) => {
            let ceilings = ceilings::measure(&cuda)?;
            bench(cuda, Some(ceilings), args.table.unwrap_or(4.0), &args)
        }
    }
}

/// Criterion with the options of the command line.
fn criterion(args: &Args) -> Criterion {
    let seconds = |seconds: f64| Duration::from_secs_f64(seconds.max(1e-4));
    let mut criterion = Criterion::default()
        .without_plots()
        .nresamples(10_000)
        .sample_size(args.samples as usize)
        .warm_up_time(seconds(args.seconds / 4.0))
        .measurement_time(seconds(args.seconds));
    if let Some(filter) = &args.filter {
        criterion = criterion.with_filter(filter);
    }
    if let Some(name) = &args.save_baseline {
        criterion = criterion.save_baseline(name.clone());
    }
    if let Some(name) = &args.baseline {
        criterion = criterion.retain_baseline(name.clone(), true);
    }
    criterion
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

impl Cost {
    /// Of a score's formula for so many columns of pairs: forward (0) or backward (1).
    fn of_score(kind: Scoring, direction: usize, columns: f64, bytes: f64) -> Self {
        Cost {
            bytes,
            operations: kind.operations()[direction] * columns,
            instructions: instructions(kind)[direction].map(|i| i * columns),
            ..Cost::default()
        }
    }
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
    criterion: Criterion,
    samples: usize,
    ceilings: Option<Ceilings>,
    /// Bytes a second of a copy, and operations a second of a matrix product.
    copy: f64,
    product: f64,
    rng: Rng,
    /// Downloaded to wait for the device.
    flag: B::Buffer,
    rows: Vec<Row>,
}

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

    /// Seconds of so many calls, with the device waited for before and after.
    fn calls(
        backend: &B,
        flag: &B::Buffer,
        calls: u64,
        mut body: impl FnMut(&B),
    ) -> anyhow::Result<Duration> {
        let wait = || backend.download(flag, 0, &mut [B::Scalar::default()]);
        wait()?;
        let start = Instant::now();
        (0..calls).for_each(|_| body(backend));
        wait()?;
        Ok(start.elapsed())
    }

    /// Seconds of a call, the median of some runs: what the others are compared with.
    fn ceiling(&self, mut body: impl FnMut(&B)) -> anyhow::Result<f64> {
        const CALLS: u64 = 4;
        let mut run = || anyhow::Ok(Self::calls(&self.backend, &self.flag, CALLS, &mut body)?.as_secs_f64());
        run()?;
        let mut times = (0..15).map(|_| run()).collect::<Result<Vec<f64>, _>>()?;
        times.sort_by(f64::total_cmp);
        Ok(times[times.len() / 2] / CALLS as f64)
    }

    fn time(&mut self, name: &str, size: String, cost: Cost, mut body: impl FnMut(&B)) -> anyhow::Result<()> {
        let (mut times, mut failure) = (Vec::new(), None);
        let mut group = self.criterion.benchmark_group(name);
        group.sampling_mode(SamplingMode::Flat);
        if cost.bytes > 0.0 {
            group.throughput(Throughput::Bytes(cost.bytes as u64));
        }
        group.bench_function(BenchmarkId::from_parameter(&size), |bencher| {
            bencher.iter_custom(|calls| match Self::calls(&self.backend, &self.flag, calls, &mut body) {
                Ok(elapsed) => {
                    times.push(elapsed.as_secs_f64() / calls as f64);
                    elapsed
                }
                Err(error) => {
                    failure = Some(error);
                    Duration::from_secs(1)
                }
            });
        });
        group.finish();
        failure.map_or(Ok(()), Err)?;
        // What came before the samples was to warm up. Where the filter leaves an operation out there are none.
        let mut samples = times.split_off(times.len().saturating_sub(self.samples));
        if samples.is_empty() {
            return Ok(());
        }
        samples.sort_by(f64::total_cmp);
        let seconds = samples[samples.len() / 2];
        let arithmetic = match self.ceilings {
            Some(ceilings) => ceilings.floor(cost.instructions[0], cost.instructions[1]),
            None => cost.operations / self.product,
        };
        let floor = (cost.bytes / self.copy).max(cost.products / self.product).max(arithmetic);
        self.rows.push(Row { name: name.into(), size, seconds, cost, floor });
        Ok(())
    }
}

fn bench<B: Backend>(
    backend: B,
    ceilings: Option<Ceilings>,
    table_gb: f64,
    args: &Args,
) -> anyhow::Result<()> {
    let (queries, pool, d) = (args.queries.max(1), args.negatives.max(1), args.dim.max(2));
    let table_rows = ((table_gb * 1e9 / (4.0 * d as f64)) as usize).max(1024);
    let flag = backend.zeros(1)?;
    let rng = stream(1, "bench kernels", 0);
    let mut bench = Bench {
        backend,
        criterion: criterion(args),
        samples: args.samples as usize,
        ceilings,
        copy: 1.0,
        product: 1.0,
        rng,
        flag,
        rows: Vec::new(),
    };

    // The ceilings that every device has.
    let len = table_rows * d / 2;
    let (from, mut to) = (bench.random(len, 1.0)?, bench.backend.zeros(len)?);
    let seconds = bench.ceiling(|b| {
        b.run(CopyRows { from: Mat::new(&from, len / d, d), out: MatMut::new(&mut to, len / d, d) })
    })?;
    bench.copy = 8.0 * (len / d * d) as f64 / seconds;
    let n = len.isqrt().next_multiple_of(64).min(if ceilings.is_some() { 4096 } else { 1024 });
    let (x, w, b) = (bench.random(n * n, 1.0)?, bench.random(n * n, 1.0)?, bench.random(n, 1.0)?);
    drop((from, to));
    let mut to = bench.backend.zeros(n * n)?;
    let seconds = bench.ceiling(|backend| {
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
    bench.criterion.final_summary();
    if let Some(path) = &args.json {
        std::fs::write(path, serde_json::to_string_pretty(&document(&bench, table_rows * d * 4))? + "\n")?;
    }
    show(&bench, table_rows * d * 4);
    Ok(())
}

fn ratio(row: &Row) -> Option<f64> {
    (row.floor > 0.0).then(|| row.floor / row.seconds)
}

fn document<B: Backend>(bench: &Bench<B>, table_bytes: usize) -> Value {
    let kernel = |row: &Row| {
        json!({
            "kernel": row.name,
            "size": row.size,
            "seconds": row.seconds,
            "bytes_per_second": row.cost.bytes / row.seconds,
            "operations_per_second": row.cost.operations / row.seconds,
            "floor_seconds": row.floor,
            "share_of_roofline": ratio(row),
        })
    };
    json!({
        "benchmark": "kernels",
        "device": bench.backend.describe(),
        "copy_bytes_per_second": bench.copy,
        "product_operations_per_second": bench.product,
        "instructions_per_second": bench.ceilings,
        "table_bytes": table_bytes,
        "kernels": bench.rows.iter().map(kernel).collect::<Vec<Value>>(),
    })
}

fn show<B: Backend>(bench: &Bench<B>, table_bytes: usize) {
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
    println!(
        "{}\ncopies {}/s, matrix products {:.0} Gop/s{}; row operations on a table of {}\n\n{table}",
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
    );
}

fn bytes_of(number: f64) -> String {
    bytes(number as u64)
}

fn milliseconds(seconds: f64) -> String {
    format!("{:.3} ms", seconds * 1e3)
}
