//! The loop of a run: batches in, steps, evaluations on valid, the best model kept, test at the end.

use super::checkpoint::{self, Meta};
use super::evaluate::{Queries, evaluate_saved, query_set};
use super::folder::RunFolder;
use super::info::{Machine, RunInfo};
use super::learner::Learner;
use super::log::{self, Log, Record, ValidResults};
use super::pace::{Rate, Stopwatch, Window};
use super::plan::RunPlan;
use super::row_file::{self, RowFile};
use super::tables;
use super::watch;
use crate::backend::Backend;
use crate::config::{Config, EvaluationConfig, Objective, Schedule, TableKind};
use crate::error::{Error, Result};
use crate::eval::group::QueryGroup;
use crate::eval::{
    Interruptible, LinkPrediction, ModelScorer, MultiHop, QueryOptions, QuerySet, Report, Scorer,
    link_prediction,
};
use crate::graph::{KnowledgeGraph, Split};
use crate::model;
use crate::process::{self, PageFaults};
use crate::progress::{self, Watch};
use crate::query::Structure;
use crate::sampler::{SamplerOptions, Source};
use crate::storage::mmap::Access;
use crate::table::{count, counted};
use serde::{Deserialize, Serialize};
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
    /// What was trained per second since the last report, evaluation apart.
    #[serde(flatten)]
    pub rate: Rate,
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
    /// Who is told how far evaluations and the preparation of queries are.
    fn work(&self) -> progress::Progress {
        progress::Progress::default()
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// Test results of the best model; `None` where the run was stopped.
    pub report: Option<Report>,
    /// Whether training is done, so that where there is no report only the test was stopped.
    pub trained: bool,
    /// Steps done.
    pub step: u64,
    /// The step whose model was kept.
    pub best_step: Option<u64>,
    /// What training took, evaluations apart.
    pub usage: Usage,
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

/// Queries, negatives and caps as the sampler wants them.
pub fn sampler_options(config: &Config) -> SamplerOptions {
    SamplerOptions {
        seed: config.training.seed,
        source: match config.training.objective {
            Objective::Negatives => Source::Edges,
            _ => Source::Answers,
        },
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
    /// What the plan, the sampler, the disk or the device meet; [`Error::Interrupted`] where it is stopped while queries or
    /// rows are prepared, with nothing changed; [`Error::Training`] where the loss is not a
    /// number or diverges, with the last good model left in the folder. An error of the disk says what is kept.
    pub fn train(self, observer: &mut dyn Observer) -> Result<Outcome> {
        let (folder, training) = (self.folder, self.config.training.clone());
        let outcome = self.train_and_test(observer).and_then(|outcome| folder.settle().map(|()| outcome));
        outcome.map_err(|error| match error {
            Error::Io { path, source } if path.starts_with(folder.path()) => {
                Error::file(path, format!("{source}: {}", folder.kept()))
            }
            Error::Training(what) => {
                let kept = match training.table {
                    TableKind::File => {
                        "its entity rows were changed in place and are of no use any more: train again".into()
                    }
                    TableKind::Memory => folder.kept(),
                };
                let rate = training.learning_rate;
                Error::Training(format!("{what}: the learning rate ({rate:?}) is probably too high; {kept}"))
            }
            other => other,
        })
    }

    fn train_and_test(self, observer: &mut dyn Observer) -> Result<Outcome> {
        let Run { backend, graph, config, folder, query_cache, resume, stop } = self;
        let watch = Watch { progress: observer.work(), stop };
        let model = model::create::<B>(&config.model)?;
        let plan = RunPlan::new(&backend, &*model, &graph, &config)?;
        observer.plan(&plan, folder.path());

        let (state, best_path) = (folder.state(), folder.file(super::folder::MODEL));
        let mut meta = Meta {
            model: model.name().into(),
            graph: format!("{:016x}", graph.fingerprint()),
            version: env!("CARGO_PKG_VERSION").into(),
            ..Meta::default()
        };
        let rows_path = tables::path(folder.path());
        let (weights, mut rows) = if resume && state.is_file() {
            checkpoint::check_shapes(&state, &*model, &graph, config.training.table == TableKind::File)?;
            let (mut weights, mut rows) = tables::open(&backend, &*model, &graph, &config, &rows_path, true)?;
            if let Some(rows) = &mut rows {
                folder.check_rows(rows)?.iter().for_each(|note| observer.note(note));
            }
            meta = checkpoint::load(&state, &backend, &*model, &mut weights, true)?;
            if meta.step > plan.steps {
                return Err(Error::invalid(format!(
                    "{}: {} steps are done already, more than the {} asked for",
                    folder.path().display(),
                    meta.step,
                    plan.steps
                )));
            }
            observer.note(&match plan.steps - meta.step {
                _ if gave_up(&config, &meta) => {
                    format!("{}: only the test is made again", patience(&config, &meta))
                }
                0 if meta.step == 1 => "its one step is done: only the test is made again".into(),
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
            tables::start(&backend, &*model, &graph, &config, &rows_path, &watch)?
        };

        // Only now that nothing refuses the run any more.
        if resume {
            folder.set_config(&config)?;
        }
        let mut info = RunInfo {
            version: env!("CARGO_PKG_VERSION").into(),
            dataset: graph.dataset().into(),
            graph: format!("{:016x}", graph.fingerprint()),
            device: backend.describe(),
            steps: plan.steps,
            machine: Machine::this(),
            num_parameters: plan.num_parameters,
            usage: folder.info().ok().and_then(|info| info.usage),
        };
        folder.write_info(&info)?;
        let log = Log::open(folder, meta.step)?;

        let valid = match config.training.objective {
            Objective::Queries => {
                let options = query_options(&config.evaluation, &plan, config.evaluation.valid_queries);
                Valid::Queries(query_set(&graph, Split::Valid, &options, query_cache, &watch, observer)?)
            }
            _ => Valid::Links(link_prediction::queries(&graph.split(Split::Valid), &graph.view(Split::Test))),
        };
        valid.groups().iter().try_for_each(|group| group.check(&graph))?;
        if valid.groups().iter().all(QueryGroup::is_empty) {
            observer.note(
                "there is nothing on valid to rank: the model is that of the last step, and training neither ends early nor \
                 slows down; `smore data import --hold-out 0.05` takes a share of train for valid",
            );
        }
        let mut learner = Learner::start(backend, model, weights, &graph, &config, &plan, meta.step)?;
        let valid_every = config.training.valid_interval(plan.steps);
        let log_every = plan.steps.div_ceil(LOG_LINES);
        let objective = config.training.objective;
        let (mut window, mut log_window) = (Window::new(objective), Window::new(objective));
        let mut stopped = false;
        let mut saved = Instant::now();
        let save = |path: &Path, learner: &Learner<B>, meta: &Meta| {
            let (model, weights) = (learner.model(), learner.weights());
            let name = path.file_name().and_then(|name| name.to_str()).expect("a file of the run folder");
            checkpoint::save(path, learner.backend(), model, weights, meta, path == state, |entry| {
                folder.note(name, entry)
            })
        };

        let (mut usage, faults) = (Usage::default(), process::page_faults());
        let (first, mut busy, mut last_valid) = (meta.step, Stopwatch::default(), None);
        let mut trained = 0;
        busy.go_on();
        // A state that was saved in the middle of an evaluation begins with that evaluation.
        let mut pending = meta.valid_pending;
        while (meta.step < plan.steps && !gave_up(&config, &meta) || pending) && !stopped {
            if !pending {
                let step = meta.step + 1;
                let units = learner.step(
                    &mut rows,
                    config.training.rate_at(step, plan.steps, meta.plateaus),
                    step,
                    step < plan.steps,
                )?;
                meta.step = step;
                trained += units;
                window.count(units);
                log_window.count(units);
            }
            let step = meta.step;
            stopped = stop.load(Ordering::Relaxed);
            let last = step == plan.steps;
            let log_now = !pending && (last || step.is_multiple_of(log_every));
            let report = last || window.age() >= REPORT;
            let due = pending || last || step.is_multiple_of(valid_every);
            let save_now = due || stopped || saved.elapsed() >= SAVE;
            let all = log_now || report || save_now;
            if learner.is_full() || all {
                let factor = config.training.divergence_factor;
                let work = plan.work();
                for loss in watch::losses(&mut learner, work, &graph, factor, step, !all, &mut meta.loss)? {
                    window.add(loss);
                    log_window.add(loss);
                }
            }
            if report && !pending {
                usage.look(faults);
                observer.progress(&window.report(step, plan.steps, learner.sampling_cpu_seconds()));
            }
            if log_now {
                log.write(&Record::Train {
                    progress: &log_window.report(step, plan.steps, learner.sampling_cpu_seconds()),
                    learning_rate: config.training.rate_at(step, plan.steps, meta.plateaus),
                    seconds: log.seconds_before() + busy.seconds(),
                    unix_time: log::now(),
                })?;
            }
            if !save_now {
                continue;
            }
            window.stop();
            log_window.stop();
            busy.stop();
            // Also where the run stops: going on after this step would not make up for it.
            let results = match due {
                true => evaluate_valid(&learner, &valid, &rows, &watch)?,
                false => None,
            };
            pending = due && results.is_none();
            meta.valid_pending = pending;
            if let Some(results) = &results {
                let each = results.each();
                let mean = each.iter().map(|(_, mrr)| mrr).sum::<f64>() / each.len().max(1) as f64;
                let best = each.is_empty() || meta.best_valid_mrr.is_none_or(|b| mean > b);
                if best {
                    meta.best_valid_mrr = Some(mean).filter(|_| !each.is_empty());
                }
                meta.evaluations_since_best = if best { 0 } else { meta.evaluations_since_best + 1 };
                let plateau = on_plateau(&config, &mut meta, best);
                if best || rows.is_some() {
                    save(&best_path, &learner, &meta)?;
                }
                if !each.is_empty() {
                    last_valid = Some(mean);
                    log.write(&Record::Valid { step, mean_mrr: mean, best, results })?;
                    observer.valid(step, &each, mean, best);
                }
                if plateau && !last {
                    observer.note(&format!(
                        "the learning rate falls to {:.3e}: valid has not become better in {} \
                         (training.plateau_patience)",
                        config.training.rate_at(step, plan.steps, meta.plateaus),
                        counted(config.training.plateau_patience, "evaluation", "evaluations")
                    ));
                }
                if gave_up(&config, &meta) && !last {
                    observer.note(&patience(&config, &meta));
                }
            } else {
                stopped |= pending;
                if stopped {
                    observer.stage(&format!("saving the state of step {}", count(step)));
                }
                if meta.best_valid_mrr.is_none() || rows.is_some() {
                    save(&best_path, &learner, &meta)?;
                }
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
        usage.rate = Rate::new(objective, trained as f64 / busy.seconds().max(1e-9));
        if meta.step > first {
            info.usage = Some(usage);
            folder.write_info(&info)?;
        }
        let trained = !pending && (meta.step == plan.steps || gave_up(&config, &meta));
        let unfinished = Outcome { report: None, trained, step: meta.step, best_step: None, usage };
        if !trained {
            return Ok(unfinished);
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
        let queries = Queries::Drawn(query_cache);
        let tested = evaluate_saved(&backend, &graph, &config, folder, queries, Split::Test, stop, observer);
        let (report, best) = match tested {
            // All steps are saved: what is left is to evaluate.
            Err(Error::Interrupted) => return Ok(unfinished),
            tested => tested?,
        };
        log.write(&Record::Test { step: meta.step, report: &report })?;
        let text = serde_json::to_vec_pretty(&report).expect("plain data");
        folder.write("test.json", &text)?;
        Ok(Outcome { report: Some(report), trained, step: meta.step, best_step: Some(best.step), usage })
    }
}

/// What the best model is chosen by.
enum Valid {
    Queries(QuerySet),
    Links(QueryGroup),
}

impl Valid {
    fn groups(&self) -> &[QueryGroup] {
        match self {
            Valid::Queries(set) => &set.groups,
            Valid::Links(group) => std::slice::from_ref(group),
        }
    }

    /// Ranks all of it.
    fn rank(&self, scorer: &impl Scorer) -> Result<ValidResults> {
        let mut results = ValidResults::default();
        match self {
            Valid::Queries(set) => {
                results.multi_hop = Some(MultiHop::evaluate(scorer, &set.groups, &mut |_| {})?);
            }
            Valid::Links(queries) if !queries.is_empty() => {
                results.link_prediction = Some(LinkPrediction::evaluate(scorer, queries, &mut |_| {})?);
            }
            Valid::Links(_) => {}
        }
        Ok(results)
    }
}

/// Evaluates on valid; `None` where it was stopped on the way.
fn evaluate_valid<B: Backend>(
    learner: &Learner<B>,
    valid: &Valid,
    rows: &Option<RowFile>,
    watch: &Watch,
) -> Result<Option<ValidResults>> {
    let scorer = ModelScorer::new(learner.backend(), learner.model(), learner.weights());
    advise(rows, Access::Sequential);
    let results = valid.rank(&Interruptible { scorer: &scorer, watch });
    advise(rows, Access::Random);
    match results {
        Err(Error::Interrupted) => Ok(None),
        results => results.map(Some),
    }
}

/// Whether training ends because valid has not become better for too long.
fn gave_up(config: &Config, meta: &Meta) -> bool {
    config.training.patience > 0 && meta.evaluations_since_best >= config.training.patience
}

/// Counts an evaluation on valid, which was the `best` or not; whether it makes the learning rate fall.
fn on_plateau(config: &Config, meta: &mut Meta, best: bool) -> bool {
    meta.evaluations_on_plateau = if best { 0 } else { meta.evaluations_on_plateau + 1 };
    let falls = config.training.schedule == Schedule::Plateau
        && meta.evaluations_on_plateau >= config.training.plateau_patience;
    if falls {
        meta.plateaus += 1;
        meta.evaluations_on_plateau = 0;
    }
    falls
}

/// Why it did.
fn patience(config: &Config, meta: &Meta) -> String {
    format!(
        "training ended early, after step {}: valid has not become better in the last {} \
         (training.patience = {})",
        count(meta.step),
        counted(meta.evaluations_since_best, "evaluation", "evaluations"),
        config.training.patience
    )
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
