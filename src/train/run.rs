//! The loop of a run: batches in, steps, evaluations on valid, the best model kept, test at the end.

use super::checkpoint::{self, Meta};
use super::evaluate::{Queries, evaluate_saved, query_set};
use super::folder::{RunFolder, RunInfo};
use super::learner::Learner;
use super::plan::RunPlan;
use super::row_file::{self, RowFile};
use super::tables;
use crate::backend::Backend;
use crate::config::{Config, EvaluationConfig, Objective, TableKind};
use crate::error::{Error, Result};
use crate::eval::group::QueryGroup;
use crate::eval::{LinkPrediction, ModelScorer, MultiHop, QueryOptions, QuerySet, Report, link_prediction};
use crate::graph::{KnowledgeGraph, Split};
use crate::model;
use crate::process::{self, PageFaults};
use crate::query::Structure;
use crate::sampler::SamplerOptions;
use crate::storage::mmap::Access;
use crate::table::count;
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Where a run stands; also a line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Progress {
    /// Steps done.
    pub step: u64,
    /// Steps of the whole run.
    pub steps: u64,
    /// Mean loss since the last report, or since the run was taken up again.
    pub loss: f64,
    /// Trained queries per second since the last report, evaluation apart.
    pub queries_per_second: f64,
    /// CPU time of the sampler's threads so far, in seconds.
    pub sampling_cpu_seconds: f64,
}

/// What a run tells while it goes on. All methods may do nothing.
pub trait Observer {
    /// Before anything is allocated.
    fn plan(&mut self, plan: &RunPlan, folder: &Path) {
        let _ = (plan, folder);
    }
    /// A few times a second.
    fn progress(&mut self, progress: &Progress) {
        let _ = progress;
    }
    /// After an evaluation on valid, with the MRR of each part by name; `best` if the model was kept.
    fn valid(&mut self, step: u64, each: &[(String, f64)], mean_mrr: f64, best: bool) {
        let _ = (step, each, mean_mrr, best);
    }
    /// Something that the user should know.
    fn note(&mut self, note: &str) {
        let _ = note;
    }
    /// A stage that takes a while starts.
    fn stage(&mut self, what: &str) {
        let _ = what;
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// Test results of the best model; `None` where the run was stopped.
    pub report: Option<Report>,
    /// Steps done.
    pub step: u64,
    /// The step whose model was kept.
    pub best_step: Option<u64>,
    /// What training took, evaluations apart.
    pub usage: Usage,
}

/// What training took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Usage {
    /// Trained queries per second, evaluations and saving apart.
    pub queries_per_second: f64,
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

/// Everything that a run needs.
pub struct Run<'a, B: Backend> {
    /// The device.
    pub backend: B,
    /// The graph.
    pub graph: Arc<KnowledgeGraph>,
    /// The resolved configuration.
    pub config: Config,
    /// Where it is saved.
    pub folder: &'a RunFolder,
    /// Where query sets are cached.
    pub query_cache: &'a Path,
    /// Whether to go on from the folder's state.
    pub resume: bool,
    /// Set from outside to save and stop.
    pub stop: &'a AtomicBool,
}

/// Time between reports of progress.
const REPORT: Duration = Duration::from_millis(500);

/// Time between saved states where no evaluation falls in it: what a power failure costs at most.
const SAVE: Duration = Duration::from_secs(300);

/// Log lines of a run, besides those of evaluations.
const LOG_LINES: u64 = 200;

/// A line of `metrics.jsonl`.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Record<'a> {
    Train(&'a Progress),
    Valid {
        step: u64,
        mean_mrr: f64,
        best: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        multi_hop: Option<&'a MultiHop>,
        #[serde(skip_serializing_if = "Option::is_none")]
        link_prediction: Option<&'a LinkPrediction>,
    },
    Test {
        step: u64,
        report: &'a Report,
    },
}

/// Queries, negatives and caps as the sampler wants them.
pub fn sampler_options(config: &Config) -> SamplerOptions {
    SamplerOptions {
        seed: config.training.seed,
        negatives: config.sampling.negatives,
        pool: config.sampling.pool,
        direction: config.sampling.direction,
        relation_bandwidth: config.sampling.relation_bandwidth,
        answer_cap: config.sampling.answer_cap,
        verification: config.sampling.verification,
        answer_exponent: config.sampling.answer_exponent,
        negative_exponent: config.sampling.negative_exponent,
        ..SamplerOptions::default()
    }
}

impl<B: Backend> Run<'_, B> {
    /// Trains, evaluates, saves.
    ///
    /// The model on disk is the one with the best mean MRR on valid (over all evaluated structures with
    /// valid queries); without any, and where entity rows are in a file, the last one. A stop saves the state and skips the test. A run that
    /// was stopped and goes on ends with the same bytes as one that was not; one that goes on to another
    /// number of steps does not end as a run of that length would have, because the learning rate of
    /// the steps already done fell towards the old end.
    ///
    /// # Errors
    ///
    /// What the plan, the sampler, the disk or the device meet; [`Error::Training`] where the loss is not a
    /// number, with the last good model left in the folder.
    pub fn train(self, observer: &mut dyn Observer) -> Result<Outcome> {
        let Run { backend, graph, config, folder, query_cache, resume, stop } = self;
        let model = model::create::<B>(&config.model)?;
        let plan = RunPlan::new(&backend, &*model, &graph, &config)?;
        observer.plan(&plan, folder.path());

        let (state, best_path) = (folder.state(), folder.file("model.safetensors"));
        let mut meta = Meta {
            model: model.name().into(),
            graph: format!("{:016x}", graph.fingerprint()),
            version: env!("CARGO_PKG_VERSION").into(),
            ..Meta::default()
        };
        let rows_path = tables::path(folder.path());
        let (weights, mut rows) = if resume && state.is_file() {
            let (mut weights, rows) = tables::open(&backend, &*model, &graph, &config, &rows_path, true)?;
            meta = checkpoint::load(&state, &backend, &*model, &mut weights, true)?;
            if meta.step > plan.steps {
                return Err(Error::invalid(format!(
                    "{}: {} steps are done already, more than the {} asked for",
                    folder.path().display(),
                    meta.step,
                    plan.steps
                )));
            }
            folder.rewind_log(meta.step)?;
            observer.note(&match plan.steps - meta.step {
                0 => format!("all {} steps are done: only the test is made again", meta.step),
                left => format!("going on after step {}, {left} to go", meta.step),
            });
            if let Some(age) = rows.as_ref().and_then(|rows| row_file::age(&rows.steps(), meta.step)) {
                observer.note(&format!(
                    "{age}; training goes on from there, not to the same bytes as without the interruption"
                ));
            }
            (weights, rows)
        } else {
            if resume {
                observer.note("no step was saved: training starts from the beginning");
            }
            if config.training.table == TableKind::File {
                observer.stage(&format!("writing {}", rows_path.display()));
            }
            let tables = tables::start(&backend, &*model, &graph, &config, &rows_path)?;
            folder.rewind_log(0)?;
            tables
        };

        // Only now that nothing refuses the run any more.
        if resume {
            folder.set_config(&config)?;
        }
        folder.write_info(&RunInfo {
            version: env!("CARGO_PKG_VERSION").into(),
            dataset: graph.dataset().into(),
            graph: format!("{:016x}", graph.fingerprint()),
            device: backend.describe(),
            steps: plan.steps,
        })?;

        let valid = match config.training.objective {
            Objective::Queries => {
                let options = query_options(&config.evaluation, &plan, config.evaluation.valid_queries);
                Valid::Queries(query_set(&graph, Split::Valid, &options, query_cache, observer))
            }
            _ => Valid::Links(link_prediction::queries(&graph.split(Split::Valid), &graph.view(Split::Test))),
        };
        let mut learner = Learner::start(backend, model, weights, &graph, &config, &plan, meta.step)?;
        let valid_every = config.training.valid_interval(plan.steps);
        let log_every = plan.steps.div_ceil(LOG_LINES);
        let mut window = Window::new(config.training.batch_size);
        let mut log_window = Window::new(config.training.batch_size);
        let mut stopped = false;
        let mut saved = Instant::now();
        let diverged = |what: &str| {
            let folder = folder.path().display();
            Error::Training(format!(
                "{what}: the learning rate ({:?}) is probably too high; {}",
                config.training.learning_rate,
                match state.is_file() {
                    _ if config.training.table == TableKind::File =>
                        "its entity rows were changed in place and are of no use any more: train again".into(),
                    true => format!("the last good state and model are kept in {folder}"),
                    false => "nothing had been saved yet".into(),
                }
            ))
        };
        let save = |path: &Path, learner: &Learner<B>, meta: &Meta| {
            let (model, weights) = (learner.model(), learner.weights());
            let result = checkpoint::save(path, learner.backend(), model, weights, meta, path == state);
            result.map_err(|error| match error {
                Error::Training(what) => diverged(&what),
                other => other,
            })
        };

        let (mut usage, faults) = (Usage::default(), process::page_faults());
        let (first, mut busy, mut last_valid) = (meta.step, Stopwatch::default(), None);
        busy.go_on();
        // Also where a run that has ended so is taken up again.
        let has_stalled = |meta: &Meta| {
            config.training.patience > 0 && meta.evaluations_since_best >= config.training.patience
        };
        while meta.step < plan.steps && !stopped && !has_stalled(&meta) {
            let step = meta.step + 1;
            learner.step(&mut rows, config.training.rate_at(step, plan.steps), step, step < plan.steps)?;
            meta.step = step;
            stopped = stop.load(Ordering::Relaxed);
            let last = step == plan.steps;
            let log = last || step.is_multiple_of(log_every);
            let report = last || window.start.elapsed() >= REPORT;
            let due = last || step.is_multiple_of(valid_every);
            let save_now = due || stopped || saved.elapsed() >= SAVE;
            if learner.is_full() || log || report || save_now {
                let losses = learner.losses()?;
                for (loss, of) in losses.iter().zip(step + 1 - losses.len() as u64..) {
                    if !loss.is_finite() {
                        return Err(diverged(&format!("the loss of step {of} is {loss}")));
                    }
                    window.add(*loss);
                    log_window.add(*loss);
                }
            }
            if report {
                usage.look(faults);
                observer.progress(&window.report(step, plan.steps, learner.sampling_cpu_seconds()));
            }
            if log {
                folder.log(&Record::Train(&log_window.report(
                    step,
                    plan.steps,
                    learner.sampling_cpu_seconds(),
                )))?;
            }
            if !save_now {
                continue;
            }
            window.stop();
            log_window.stop();
            busy.stop();
            // Also where the run stops: going on after this step would not make up for it.
            if due {
                advise(&rows, Access::Sequential);
                let scorer = ModelScorer::new(learner.backend(), learner.model(), learner.weights());
                let (mut multi_hop, mut links) = (None, None);
                match &valid {
                    Valid::Queries(set) => {
                        multi_hop = Some(MultiHop::evaluate(&scorer, &set.groups, &mut |_| {})?);
                    }
                    Valid::Links(queries) if !queries.is_empty() => {
                        links = Some(LinkPrediction::evaluate(&scorer, queries, &mut |_| {})?);
                    }
                    Valid::Links(_) => {}
                }
                advise(&rows, Access::Random);
                let structures = multi_hop.iter().flat_map(|results| &results.structures);
                let each: Vec<(String, f64)> = structures
                    .map(|s| (s.structure.clone(), s.metrics.mrr))
                    .chain(links.map(|links| ("link prediction".to_string(), links.both.mrr)))
                    .collect();
                let mean = each.iter().map(|(_, mrr)| mrr).sum::<f64>() / each.len().max(1) as f64;
                let best = each.is_empty() || meta.best_valid_mrr.is_none_or(|b| mean > b);
                if best {
                    meta.best_valid_mrr = Some(mean).filter(|_| !each.is_empty());
                }
                meta.evaluations_since_best = if best { 0 } else { meta.evaluations_since_best + 1 };
                if best || rows.is_some() {
                    save(&best_path, &learner, &meta)?;
                }
                last_valid = Some(mean);
                let (multi_hop, link_prediction) = (multi_hop.as_ref(), links.as_ref());
                folder.log(&Record::Valid { step, mean_mrr: mean, best, multi_hop, link_prediction })?;
                observer.valid(step, &each, mean, best);
            } else if meta.best_valid_mrr.is_none() || rows.is_some() {
                save(&best_path, &learner, &meta)?;
            }
            save(&state, &learner, &meta)?;
            // Only now that the rest is on the disk: a header that names this step has all of it.
            if let Some(rows) = &mut rows {
                rows.flush(step)?;
            }
            usage.look(faults);
            saved = Instant::now();
            window.go_on();
            log_window.go_on();
            busy.go_on();
        }
        let queries = (meta.step - first) as f64 * config.training.batch_size as f64;
        usage.queries_per_second = queries / busy.seconds().max(1e-9);
        let stalled = has_stalled(&meta);
        if stalled && meta.step < plan.steps {
            observer.note(&format!(
                "training ends after step {}: the last {} evaluations on valid were not the best (training.patience)",
                count(meta.step),
                count(meta.evaluations_since_best)
            ));
        }
        if stopped && meta.step < plan.steps && !stalled {
            return Ok(Outcome { report: None, step: meta.step, best_step: None, usage });
        }
        if let (Some(_), Some(best), Some(last)) = (&rows, meta.best_valid_mrr, last_valid)
            && last < best
        {
            observer.note(&format!(
                "valid was better before (mean MRR {:.2} against {:.2} after step {}), but rows in a file have no \
                 copy of an earlier step: the model is the last one",
                100.0 * best,
                100.0 * last,
                count(meta.step)
            ));
        }
        // Gives up the lock, and the map.
        drop(rows);

        let backend = learner.into_backend();
        let (report, best) = evaluate_saved(
            &backend,
            &graph,
            &config,
            folder,
            Queries::Drawn(query_cache),
            Split::Test,
            observer,
        )?;
        folder.log(&Record::Test { step: meta.step, report: &report })?;
        let text = serde_json::to_vec_pretty(&report).expect("plain data");
        crate::storage::atomic::write_bytes(&folder.file("test.json"), &text)?;
        Ok(Outcome { report: Some(report), step: meta.step, best_step: Some(best.step), usage })
    }
}

/// What the best model is chosen by.
enum Valid {
    Queries(QuerySet),
    Links(QueryGroup),
}

fn query_options(evaluation: &EvaluationConfig, plan: &RunPlan, max_queries: usize) -> QueryOptions {
    let structures: Vec<Structure> = plan.evaluated_structures.clone();
    QueryOptions { structures, max_queries, max_answers: evaluation.max_answers, seed: evaluation.seed }
}

/// Says how rows in a file are going to be touched.
fn advise(rows: &Option<RowFile>, access: Access) {
    if let Some(rows) = rows {
        rows.advise(access);
    }
}

/// Time that was spent training.
#[derive(Default)]
struct Stopwatch {
    start: Option<Instant>,
    spent: Duration,
}

impl Stopwatch {
    fn go_on(&mut self) {
        self.start = Some(Instant::now());
    }

    fn stop(&mut self) {
        self.spent += self.start.take().map(|start| start.elapsed()).unwrap_or_default();
    }

    fn seconds(&self) -> f64 {
        (self.spent + self.start.map(|start| start.elapsed()).unwrap_or_default()).as_secs_f64()
    }
}

/// Losses and time since the last report.
struct Window {
    batch_size: usize,
    start: Instant,
    spent: Duration,
    loss: f64,
    steps: u64,
}

impl Window {
    fn new(batch_size: usize) -> Self {
        Window { batch_size, start: Instant::now(), spent: Duration::ZERO, loss: 0.0, steps: 0 }
    }

    fn add(&mut self, loss: f64) {
        self.loss += loss;
        self.steps += 1;
    }

    /// What has passed since the last report, evaluations apart; starts anew.
    fn report(&mut self, step: u64, steps: u64, sampling_cpu_seconds: f64) -> Progress {
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
    fn stop(&mut self) {
        self.spent += self.start.elapsed();
    }

    /// ... and starts it again.
    fn go_on(&mut self) {
        self.start = Instant::now();
    }
}
