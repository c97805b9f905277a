//! Clocks of a run: time that was spent training, and losses and rates between two reports.

use super::run::Progress;
use crate::config::Objective;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// How much is trained in a second, in the units of the run's objective; in a log a field of that name.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Rate {
    /// Queries; with sampled negatives for triples, each edge is one.
    #[serde(rename = "queries_per_second")]
    Queries(f64),
    /// 1vsAll: triples, each in all directions that are trained.
    #[serde(rename = "triples_per_second")]
    Triples(f64),
    /// KvsAll: pairs (head, relation) with all their tails.
    #[serde(rename = "pairs_per_second")]
    Pairs(f64),
}

impl Default for Rate {
    fn default() -> Self {
        Rate::Queries(0.0)
    }
}

impl Rate {
    /// The names of its fields.
    pub const FIELDS: [&str; 3] = ["queries_per_second", "triples_per_second", "pairs_per_second"];

    /// In the units of an objective.
    pub fn new(objective: Objective, per_second: f64) -> Self {
        match objective {
            Objective::Queries | Objective::Negatives => Rate::Queries(per_second),
            Objective::OneVsAll => Rate::Triples(per_second),
            Objective::KvsAll => Rate::Pairs(per_second),
        }
    }

    /// The number.
    pub fn per_second(self) -> f64 {
        let (Rate::Queries(rate) | Rate::Triples(rate) | Rate::Pairs(rate)) = self;
        rate
    }

    /// What is counted.
    pub fn unit(self) -> &'static str {
        match self {
            Rate::Queries(_) => "queries",
            Rate::Triples(_) => "triples",
            Rate::Pairs(_) => "pairs",
        }
    }
}

/// `1,234 queries/s`.
impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{} {}/s", crate::table::count(self.per_second().round() as u64), self.unit())
    }
}

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
    objective: Objective,
    /// Queries, triples or pairs.
    trained: usize,
    start: Instant,
    spent: Duration,
    loss: f64,
    steps: u64,
}

impl Window {
    pub fn new(objective: Objective) -> Self {
        Window { objective, trained: 0, start: Instant::now(), spent: Duration::ZERO, loss: 0.0, steps: 0 }
    }

    /// Counts a step on so many queries, triples or pairs, whose loss comes later.
    pub fn count(&mut self, trained: usize) {
        self.trained += trained;
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
            rate: Rate::new(self.objective, self.trained as f64 / seconds.max(1e-9)),
            sampling_cpu_seconds,
        };
        *self = Window::new(self.objective);
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
