//! Clocks of a run: time that was spent training, and losses and rates between two reports.

use super::run::Progress;
use std::time::{Duration, Instant};

/// Time that was spent training.
#[derive(Debug, Default)]
pub(super) struct Stopwatch {
    start: Option<Instant>,
    spent: Duration,
}

impl Stopwatch {
    pub fn go_on(&mut self) {
        self.start = Some(Instant::now());
    }

    pub fn stop(&mut self) {
        self.spent += self.start.take().map(|start| start.elapsed()).unwrap_or_default();
    }

    pub fn seconds(&self) -> f64 {
        (self.spent + self.start.map(|start| start.elapsed()).unwrap_or_default()).as_secs_f64()
    }
}

/// Losses and time since the last report.
#[derive(Debug)]
pub(super) struct Window {
    batch_size: usize,
    start: Instant,
    spent: Duration,
    loss: f64,
    steps: u64,
}

impl Window {
    pub fn new(batch_size: usize) -> Self {
        Window { batch_size, start: Instant::now(), spent: Duration::ZERO, loss: 0.0, steps: 0 }
    }

    pub fn add(&mut self, loss: f64) {
        self.loss += loss;
        self.steps += 1;
    }

    /// How long this one has been going on, also in an evaluation.
    pub fn age(&self) -> Duration {
        self.start.elapsed()
    }

    /// What has passed since the last report, evaluations apart; starts anew.
    pub fn report(&mut self, step: u64, steps: u64, sampling_cpu_seconds: f64) -> Progress {
        let seconds = (self.spent + self.start.elapsed()).as_secs_f64();
        let count = self.steps.max(1) as f64;
        let progress = Progress {
            step,
            steps,
            loss: self.loss / count,
            queries_per_second: self.steps as f64 * self.batch_size as f64 / seconds.max(1e-9),
            sampling_cpu_seconds,
        };
        *self = Window::new(self.batch_size);
        progress
    }

    /// Stops the clock for an evaluation...
    pub fn stop(&mut self) {
        self.spent += self.start.elapsed();
    }

    /// ... and starts it again.
    pub fn go_on(&mut self) {
        self.start = Instant::now();
    }
}
