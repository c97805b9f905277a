//! Clocks of a run: time that was spent training, losses and rates between two reports, and what all of it took.

use crate::config::Objective;
use crate::process::{self, PageFaults};
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

/// Where a run stands; also a line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TrainingProgress {
    /// Steps done.
    pub step: u64,
    /// Steps of the whole run.
    pub steps: u64,
    /// Mean loss since the last report, or since the run was taken up again.
    pub loss: f64,
    /// What was trained per second since the last report, evaluation apart.
    #[serde(flatten)]
    pub rate: Rate,
    /// CPU time of the sampler's threads so far, in seconds.
    pub sampling_cpu_seconds: f64,
}

/// What training took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// What was trained per second, evaluations and saving apart.
    #[serde(flatten)]
    pub rate: Rate,
    /// Most resident memory that was seen and that the process had allocated, in bytes.
    pub anonymous_bytes: u64,
    /// Most resident pages of mapped files that were seen, in bytes: the graph, and rows in a file.
    pub mapped_bytes: u64,
    /// Page faults, in evaluations too.
    pub page_faults: PageFaults,
}

impl Usage {
    /// Looks at the process again. `since` are the faults before training.
    pub fn look(&mut self, since: PageFaults) {
        let most = |a: &mut u64, b: Option<u64>| *a = (*a).max(b.unwrap_or(0));
        most(&mut self.anonymous_bytes, process::anonymous_bytes());
        most(&mut self.mapped_bytes, process::mapped_bytes());
        self.page_faults = process::page_faults() - since;
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
pub(super) struct Interval {
    objective: Objective,
    /// Queries, triples or pairs.
    trained: usize,
    start: Instant,
    spent: Duration,
    loss: f64,
    steps: u64,
}

impl Interval {
    pub fn new(objective: Objective) -> Self {
        Interval { objective, trained: 0, start: Instant::now(), spent: Duration::ZERO, loss: 0.0, steps: 0 }
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
    pub fn report(&mut self, step: u64, steps: u64, sampling_cpu_seconds: f64) -> TrainingProgress {
        let seconds = (self.spent + self.start.elapsed()).as_secs_f64();
        let count = self.steps.max(1) as f64;
        let progress = TrainingProgress {
            step,
            steps,
            loss: self.loss / count,
            rate: Rate::new(self.objective, self.trained as f64 / seconds.max(1e-9)),
            sampling_cpu_seconds,
        };
        *self = Interval::new(self.objective);
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

/// All clocks of a run, and when its state was saved last.
#[derive(Debug)]
pub(super) struct Clock {
    objective: Objective,
    /// Since the last report, and since the last line of the log.
    pub report: Interval,
    pub log: Interval,
    busy: Stopwatch,
    saved: Instant,
    usage: Usage,
    faults: PageFaults,
    trained: usize,
}

impl Clock {
    /// Starts to run.
    pub fn start(objective: Objective) -> Self {
        let mut busy = Stopwatch::default();
        busy.go_on();
        Clock {
            objective,
            report: Interval::new(objective),
            log: Interval::new(objective),
            busy,
            saved: Instant::now(),
            usage: Usage::default(),
            faults: process::page_faults(),
            trained: 0,
        }
    }

    /// Counts a step on so many queries, triples or pairs.
    pub fn count(&mut self, trained: usize) {
        self.trained += trained;
        self.report.count(trained);
        self.log.count(trained);
    }

    /// Adds the loss of a step.
    pub fn add(&mut self, loss: f64) {
        self.report.add(loss);
        self.log.add(loss);
    }

    /// Stops for an evaluation or to save...
    pub fn stop(&mut self) {
        self.report.stop();
        self.log.stop();
        self.busy.stop();
    }

    /// ... and goes on, all being saved.
    pub fn go_on(&mut self) {
        self.look();
        self.saved = Instant::now();
        self.report.go_on();
        self.log.go_on();
        self.busy.go_on();
    }

    /// Looks at the memory of the process.
    pub fn look(&mut self) {
        self.usage.look(self.faults);
    }

    /// Seconds of training, evaluations and saving apart.
    pub fn seconds(&self) -> f64 {
        self.busy.seconds()
    }

    /// Since the state was saved.
    pub fn unsaved(&self) -> Duration {
        self.saved.elapsed()
    }

    /// What training took so far.
    pub fn usage(&self) -> Usage {
        Usage {
            rate: Rate::new(self.objective, self.trained as f64 / self.seconds().max(1e-9)),
            ..self.usage
        }
    }
}
