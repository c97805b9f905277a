//! `smore bench train`: speed of training, and what a step spends its time on.

use super::bench::{Timing, median, show};
use super::options::{ConfigArgs, DeviceArgs, on};
use super::{Global, note};
use crate::backend::{Backend, Counters, Moment};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::model;
use crate::process;
use crate::progress::Watch;
use crate::table::{bytes, count};
use crate::train::pace::{Rate, Usage};
use crate::train::{Learner, RowFile, RunPlan, tables};
use serde::Serialize;
use serde_json::json;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Arguments of `smore bench train`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    timing: Timing,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Runs `smore bench train`.
pub fn run(args: Args, global: &Global) -> anyhow::Result<()> {
    let config = args.config.load()?.explicit();
    let device = args.device.open(config.training.math, global)?;
    on!(device, backend => train(backend, config, args.timing, global))
}

fn train<B: Backend>(backend: B, config: Config, timing: Timing, global: &Global) -> anyhow::Result<()> {
    let graph = Arc::new(global.open(&config.data.dataset)?);
    let model = model::create(&config.model)?;
    let plan = RunPlan::new(&backend, &*model, &graph, &config)?;
    // Rows in a file are kept with what is derived from the graph, and lose their name as soon as they are made: they go
    // when the process ends, however it ends.
    let cache = crate::dataset::Cache::new(global.cache_dir.as_deref())?.derived(graph.fingerprint());
    std::fs::create_dir_all(&cache).map_err(Error::io(&cache))?;
    let path = cache.join(format!("bench-{}.table", std::process::id()));
    let (weights, rows) = tables::start(&backend, &*model, &graph, &config, &path, &Watch::nobody())?;
    if rows.is_some() {
        std::fs::remove_file(&path).map_err(Error::io(&path))?;
    }
    let learner = Learner::start(backend, model, weights, (&graph, &config, &plan), 0)?;
    let mut training = Training::new(learner, rows, config.training.learning_rate);
    if timing.warm_up(1) + timing.seconds(1) > 2.0 {
        note(format_args!("warming up for {:.1} s", timing.warm_up(1)));
    }
    training.run(timing.warm_up(1))?;
    let (cpu, faults) = (process::cpu_time(), process::page_faults());
    let before = training.totals();
    training.seconds_on_device.clear();
    let runs: Vec<f64> = (1..=timing.runs.max(1))
        .map(|run| {
            if timing.seconds(1) > 2.0 {
                note(format_args!("run {run} of {}, {:.1} s", timing.runs.max(1), timing.seconds(1)));
            }
            training.run(timing.seconds(1))
        })
        .collect::<Result<_>>()?;
    let spent = Spent::new(before, training.totals(), &training.seconds_on_device);
    let cpu = (process::cpu_time() - cpu).as_secs_f64();
    let rate = Rate::new(config.training.objective, median(&runs));
    let mut usage = Usage { rate, ..Usage::default() };
    usage.look(faults);
    // The workers' clock has run since the start: their share of the work is the same throughout.
    let sampling = training.learner.sampling_cpu_seconds() / process::cpu_time().as_secs_f64();
    let (unit, per_cpu_second) = (rate.unit(), (training.units - before.units) as f64 / cpu);
    let document = json!({
        "benchmark": "train",
        (format!("{unit}_per_second")): median(&runs),
        (format!("{unit}_per_cpu_second")): per_cpu_second,
        "runs": runs,
        "step": spent,
        "sampling_share_of_cpu": sampling,
        "loss": training.loss,
        "steps": training.step,
        "peak_resident_bytes": process::peak_resident_bytes(),
        "table_bytes": plan.table_bytes,
        "usage": usage,
        "device": plan.device,
        "config": config,
    });
    let (per_second, per_cpu) = (format!("{unit} per second"), format!("{unit} per CPU second"));
    let mut rows = vec![
        (per_second.as_str(), count(median(&runs).round() as u64)),
        ("runs", runs.iter().map(|r| count(r.round() as u64)).collect::<Vec<_>>().join(", ")),
        (per_cpu.as_str(), count(per_cpu_second.round() as u64)),
        ("a step", spent.of_host(plan.on_host)),
    ];
    rows.extend(spent.of_device().map(|text| ("on the GPU", text)));
    rows.extend([
        ("sampling share of CPU time", format!("{:.1} %", 100.0 * sampling)),
        ("peak resident memory", process::peak_resident_bytes().map_or("-".into(), bytes)),
        ("of it now allocated", bytes(usage.anonymous_bytes)),
        ("of it now mapped", bytes(usage.mapped_bytes)),
        (
            "page faults",
            format!("{} minor, {} major", count(usage.page_faults.minor), count(usage.page_faults.major)),
        ),
    ]);
    show(global, &document, &format!("train {} on {}", plan.model, plan.dataset), &rows)
}

/// A learner that is timed.
struct Training<B: Backend> {
    learner: Learner<B>,
    rows: Option<RowFile>,
    learning_rate: f64,
    step: u64,
    /// What was trained.
    units: usize,
    /// Of the last step whose loss is known.
    loss: f64,
    /// Time in which steps were made or asked for, and in runs altogether.
    in_steps: Duration,
    in_runs: Duration,
    /// Steps on the device between two clock readings that were not looked at yet.
    clocked: VecDeque<(Moment, Moment)>,
    seconds_on_device: Vec<f64>,
}

/// Every so many steps the device's clock is read: more events would add to what is measured.
const TIMED: u64 = 16;

impl<B: Backend> Training<B> {
    fn new(learner: Learner<B>, rows: Option<RowFile>, learning_rate: f64) -> Self {
        Training {
            learner,
            rows,
            learning_rate,
            step: 0,
            units: 0,
            loss: f64::NAN,
            in_steps: Duration::ZERO,
            in_runs: Duration::ZERO,
            clocked: VecDeque::new(),
            seconds_on_device: Vec::new(),
        }
    }

    /// At least one step, and until so many seconds have passed; what was trained a second. Waits for the device.
    fn run(&mut self, seconds: f64) -> Result<f64> {
        let (start, units) = (Instant::now(), self.units);
        loop {
            self.one()?;
            if start.elapsed() >= Duration::from_secs_f64(seconds) {
                break;
            }
        }
        self.loss = self.learner.step.losses()?.pop().unwrap_or(self.loss);
        let elapsed = start.elapsed();
        self.in_runs += elapsed;
        self.look_at_clock(0)?;
        Ok((self.units - units) as f64 / elapsed.as_secs_f64())
    }

    /// The device's clock now, where it has one.
    fn moment(&self) -> Result<Option<Moment>> {
        self.learner.step.backend().clock().map_or(Ok(None), |clock| clock.moment())
    }

    fn one(&mut self) -> Result<()> {
        self.step += 1;
        let timed = self.step.is_multiple_of(TIMED);
        let before = if timed { self.moment()? } else { None };
        let start = Instant::now();
        self.units += self.learner.step(&mut self.rows, self.learning_rate, self.step, true)?;
        self.in_steps += start.elapsed();
        if let Some(before) = before
            && let Some(after) = self.moment()?
        {
            self.clocked.push_back((before, after));
        }
        if self.learner.step.is_full() {
            self.loss = self.learner.step.earlier_losses()?.pop().unwrap_or(self.loss);
            // Those that the device has done long ago.
            self.look_at_clock(8)?;
        }
        Ok(())
    }

    /// Looks at all pairs of clock readings but the newest.
    fn look_at_clock(&mut self, newest: usize) -> Result<()> {
        while self.clocked.len() > newest {
            let (before, after) = self.clocked.pop_front().expect("there are more");
            let clock = self.learner.step.backend().clock().expect("it gave the clock readings");
            self.seconds_on_device.push(clock.seconds_between(before, after)?);
        }
        Ok(())
    }

    fn totals(&self) -> Totals {
        Totals {
            steps: self.step,
            units: self.units,
            in_steps: self.in_steps.as_secs_f64(),
            in_runs: self.in_runs.as_secs_f64(),
            for_batches: self.learner.waited_for_batches(),
            device: self.learner.step.backend().counters(),
        }
    }
}

/// Sums over all steps so far; times in seconds.
#[derive(Clone, Copy)]
struct Totals {
    steps: u64,
    units: usize,
    in_steps: f64,
    in_runs: f64,
    for_batches: f64,
    device: Counters,
}

/// What a step takes in the mean. Times are in microseconds; their sum can be below `wall_us`, as reading clocks is no
/// part of them.
#[derive(Clone, Copy, Serialize)]
struct Spent {
    wall_us: f64,
    /// Waiting for a batch.
    batch_wait_us: f64,
    /// Asking the device for operations; on the CPU doing them.
    enqueue_us: f64,
    /// Waiting for memory from which batches are copied to the device.
    upload_wait_us: f64,
    /// Waiting for losses.
    losses_wait_us: f64,
    launches: f64,
    products: f64,
    uploads: f64,
    uploaded_bytes: f64,
    /// The device's time between two events, median; `None` where it has no clock.
    gpu_us: Option<f64>,
}

impl Spent {
    fn new(before: Totals, after: Totals, seconds_on_device: &[f64]) -> Self {
        let steps = (after.steps - before.steps) as f64;
        let us = |seconds: f64| 1e6 * seconds / steps;
        let device = after.device - before.device;
        let for_batches = after.for_batches - before.for_batches;
        let upload_wait = device.upload_wait_seconds;
        Spent {
            wall_us: us(after.in_runs - before.in_runs),
            batch_wait_us: us(for_batches),
            enqueue_us: us(after.in_steps - before.in_steps - for_batches - upload_wait),
            upload_wait_us: us(upload_wait),
            losses_wait_us: us(device.download_wait_seconds),
            launches: device.launches as f64 / steps,
            products: device.products as f64 / steps,
            uploads: device.uploads as f64 / steps,
            uploaded_bytes: device.uploaded_bytes as f64 / steps,
            gpu_us: (!seconds_on_device.is_empty()).then(|| 1e6 * median(seconds_on_device)),
        }
    }

    fn of_host(&self, on_host: bool) -> String {
        let us = |us: f64| count(us.round() as u64);
        let work = if on_host { "computing" } else { "asking for operations" };
        let waits = format!("{} waiting for a batch", us(self.batch_wait_us));
        let of_device = format!(
            ", {} for memory to copy from, {} for losses",
            us(self.upload_wait_us),
            us(self.losses_wait_us)
        );
        let rest = if on_host { "" } else { &of_device };
        format!("{} µs: {} {work}, {waits}{rest}", us(self.wall_us), us(self.enqueue_us))
    }

    fn of_device(&self) -> Option<String> {
        let us = self.gpu_us?;
        Some(format!(
            "{} µs a step; {:.0} kernels, {:.0} products, {:.0} copies of {} in all",
            count(us.round() as u64),
            self.launches,
            self.products,
            self.uploads,
            bytes(self.uploaded_bytes.round() as u64)
        ))
    }
}
