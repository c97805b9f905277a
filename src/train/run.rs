//! The loop of a run: batches in, steps, evaluations on valid, the best model kept, test at the end.

use super::checkpoint::{self, Meta};
use super::evaluate::{Evaluation, Loaded, Queries, evaluate_loaded, load_model};
use super::examples;
use super::folder::{MODEL, RunFolder, STATE};
use super::info::{Machine, RunInfo};
use super::learner::Learner;
use super::log::{self, Log, Record};
use super::observer::Observer;
use super::pace::{Clock, Usage};
use super::plan::RunPlan;
use super::row_file::{self, RowFile};
use super::tables::{self, Tables};
use super::valid::Valid;
use super::watch;
use crate::backend::Backend;
use crate::config::{Config, TableKind};
use crate::error::{Error, Result};
use crate::eval::ModelScorer;
use crate::eval::Report;
use crate::graph::{KnowledgeGraph, Split};
use crate::inference::{Inference, Options};
use crate::model::{self, Model};
use crate::progress::Watch;
use crate::storage::mmap::Access;
use crate::table::{count, counted};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

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
    /// Whether to resume from the folder's state.
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
        let watch = Watch { progress: observer.work(), stop: self.stop };
        let model = model::create(&self.config.model)?;
        let plan = RunPlan::new(&self.backend, &*model, &self.graph, &self.config)?;
        observer.plan(&plan, self.folder.path());
        let (meta, (weights, rows)) = self.tables(&*model, &plan, &watch, observer)?;
        let Run { backend, graph, config, folder, query_cache, resume, stop } = self;

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
        let valid = Valid::new(&graph, &config, &plan, query_cache, &watch, observer)?;
        let learner = Learner::start(backend, model, weights, (&graph, &config, &plan), meta.step)?;
        let first = meta.step;
        let clock = Clock::start(config.training.objective);
        let mut training = Training {
            graph: &graph,
            config: &config,
            plan: &plan,
            folder,
            learner,
            rows,
            meta,
            valid,
            log,
            clock,
            last_valid: None,
        };
        training.go_on(&watch, observer)?;

        let usage = training.clock.usage();
        if training.meta.step > first {
            info.usage = Some(usage);
            folder.write_info(&info)?;
        }
        let trained = !training.meta.valid_pending && training.is_done();
        let Training { learner, rows, meta, log, last_valid, .. } = training;
        let unfinished = Outcome { report: None, trained, step: meta.step, best_step: None, usage };
        if !trained {
            return Ok(unfinished);
        }
        if let (Some(_), Some(best), Some(last)) = (&rows, meta.monitor.best_valid_mrr, last_valid)
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
        let (graph, config, queries, split) = (&*graph, &config, Queries::Drawn(query_cache), Split::Test);
        let evaluation = Evaluation { graph, config, queries, split, inference: None, stop };
        let Loaded { model, weights, meta: best, note } = load_model(&backend, graph, config, folder)?;
        note.iter().for_each(|text| observer.note(text));
        let scorer = ModelScorer::new(&backend, &*model, &weights);
        let report = match evaluate_loaded(&scorer, evaluation, observer) {
            // All steps are saved: what is left is to evaluate.
            Err(Error::Interrupted) => return Ok(unfinished),
            report => report?,
        };
        log.write(&Record::Test { step: meta.step, report: &report })?;
        let text = serde_json::to_vec_pretty(&report).expect("plain data");
        folder.write("test.json", &text)?;
        if graph.num_entities() <= examples::MAX_ENTITIES && graph.split(Split::Valid).num_edges() > 0 {
            let watch = Watch { progress: observer.work(), stop };
            let engine = config.inference.engine.over_links();
            let options = Options { engine, ..config.inference_options() };
            let inference = Inference::new(options, graph.num_entities(), Inference::default_memory())?;
            match examples::answer(&scorer, graph, config, &inference, query_cache, &watch, observer) {
                Err(Error::Interrupted) => {}
                examples => examples::write(folder, &examples?)?,
            }
        }
        Ok(Outcome { report: Some(report), trained, step: meta.step, best_step: Some(best.step), usage })
    }

    /// The tables to train, new or those of the saved state, and what that says about itself.
    fn tables(
        &self,
        model: &dyn Model,
        plan: &RunPlan,
        watch: &Watch,
        observer: &mut dyn Observer,
    ) -> Result<(Meta, Tables<B>)> {
        let Run { backend, graph, config, folder, resume, .. } = self;
        let (state, rows_path) = (folder.state(), tables::path(folder.path()));
        if !(*resume && state.is_file()) {
            if *resume {
                observer.note("no step was saved: training starts from the beginning");
            }
            if config.training.table == TableKind::File {
                observer.stage(&format!("writing {}", rows_path.display()));
            }
            let meta = Meta {
                model: model.spec().name.into(),
                graph: format!("{:016x}", graph.fingerprint()),
                version: env!("CARGO_PKG_VERSION").into(),
                ..Meta::default()
            };
            return Ok((meta, tables::start(backend, model, graph, config, &rows_path, watch)?));
        }
        checkpoint::check_shapes(&state, model, graph, config.training.table == TableKind::File)?;
        let (mut weights, mut rows) = tables::open(backend, model, graph, config, &rows_path, true)?;
        if let Some(rows) = &mut rows {
            folder.check_rows(rows)?.iter().for_each(|note| observer.note(note));
        }
        let meta = checkpoint::load(&state, backend, model, &mut weights, true)?;
        if meta.step > plan.steps {
            return Err(Error::invalid(format!(
                "{}: {} steps are done already, more than the {} asked for",
                folder.path().display(),
                meta.step,
                plan.steps
            )));
        }
        observer.note(&match plan.steps - meta.step {
            _ if meta.monitor.gives_up(&config.training) => {
                let why = meta.monitor.why_given_up(&config.training, meta.step);
                format!("{why}: only the test is made again")
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
        Ok((meta, (weights, rows)))
    }
}

/// A run between its steps.
struct Training<'a, B: Backend> {
    graph: &'a KnowledgeGraph,
    config: &'a Config,
    plan: &'a RunPlan,
    folder: &'a RunFolder,
    learner: Learner<B>,
    rows: Option<RowFile>,
    meta: Meta,
    valid: Valid,
    log: Log,
    clock: Clock,
    /// Mean MRR of the last evaluation on valid.
    last_valid: Option<f64>,
}

/// What is to be done after a step.
#[derive(Clone, Copy)]
struct Due {
    report: bool,
    log: bool,
    evaluation: bool,
    save: bool,
}

impl<B: Backend> Training<'_, B> {
    /// Trains until all steps are done, valid has not become better for too long, or the run is stopped.
    fn go_on(&mut self, watch: &Watch, observer: &mut dyn Observer) -> Result<()> {
        let mut stopped = false;
        // A state that was saved in the middle of an evaluation begins with that evaluation.
        while !stopped && (self.meta.valid_pending || !self.is_done()) {
            if !self.meta.valid_pending {
                self.step()?;
            }
            stopped = watch.is_stopped();
            let due = self.due(stopped);
            self.losses(due)?;
            self.report(due, observer)?;
            if !due.save {
                continue;
            }
            self.clock.stop();
            // Also where the run stops: going on after this step would not make up for it.
            if !(due.evaluation && self.evaluate(watch, observer)?) {
                stopped |= due.evaluation;
                if stopped {
                    observer.stage(&format!("saving the state of step {}", count(self.meta.step)));
                }
                if self.meta.monitor.best_valid_mrr.is_none() || self.rows.is_some() {
                    self.save(MODEL)?;
                }
            }
            self.save(STATE)?;
            // Only now that the rest is on the disk: a header that names this step has all of it.
            if let Some(rows) = &mut self.rows {
                rows.flush(self.meta.step)?;
            }
            self.clock.go_on();
        }
        Ok(())
    }

    /// Whether no step is left.
    fn is_done(&self) -> bool {
        self.meta.step >= self.plan.steps || self.meta.monitor.gives_up(&self.config.training)
    }

    fn is_last(&self) -> bool {
        self.meta.step == self.plan.steps
    }

    fn rate(&self, step: u64) -> f64 {
        self.config.training.rate_at(step, self.plan.steps, self.meta.monitor.plateaus)
    }

    fn step(&mut self) -> Result<()> {
        let (step, steps) = (self.meta.step + 1, self.plan.steps);
        let rate = self.rate(step);
        let units = self.learner.step(&mut self.rows, rate, step, step < steps)?;
        self.meta.step = step;
        self.clock.count(units);
        Ok(())
    }

    fn due(&self, stopped: bool) -> Due {
        let (step, last, pending) = (self.meta.step, self.is_last(), self.meta.valid_pending);
        let every = self.config.training.valid_interval(self.plan.steps);
        let evaluation = pending || last || step.is_multiple_of(every);
        Due {
            report: last || self.clock.report.age() >= REPORT,
            log: !pending && (last || step.is_multiple_of(self.plan.steps.div_ceil(LOG_LINES))),
            evaluation,
            save: evaluation || stopped || self.clock.unsaved() >= SAVE,
        }
    }

    /// Reads losses, those of the last window too where something is due, and stops a run that diverges.
    fn losses(&mut self, due: Due) -> Result<()> {
        let all = due.log || due.report || due.save;
        if !(all || self.learner.step.is_full()) {
            return Ok(());
        }
        let factor = self.config.training.divergence_factor;
        let (work, step) = (self.plan.work(), self.meta.step);
        let losses =
            watch::losses(&mut self.learner, work, self.graph, factor, step, !all, &mut self.meta.loss)?;
        losses.into_iter().for_each(|loss| self.clock.add(loss));
        Ok(())
    }

    fn report(&mut self, due: Due, observer: &mut dyn Observer) -> Result<()> {
        let (step, steps) = (self.meta.step, self.plan.steps);
        if due.report && !self.meta.valid_pending {
            self.clock.look();
            observer.progress(&self.clock.report.report(step, steps, self.learner.sampling_cpu_seconds()));
        }
        if due.log {
            self.log.write(&Record::Train {
                progress: &self.clock.log.report(step, steps, self.learner.sampling_cpu_seconds()),
                learning_rate: self.rate(step),
                seconds: self.log.seconds_before() + self.clock.seconds(),
                unix_time: log::now(),
            })?;
        }
        Ok(())
    }

    /// Evaluates on valid, and keeps the model where it is the best; whether that was not stopped on the way.
    fn evaluate(&mut self, watch: &Watch, observer: &mut dyn Observer) -> Result<bool> {
        let advise = |access| self.rows.iter().for_each(|rows| rows.advise(access));
        advise(Access::Sequential);
        let results = self.valid.evaluate(&self.learner, watch);
        advise(Access::Random);
        let results = results?;
        self.meta.valid_pending = results.is_none();
        let Some(results) = &results else { return Ok(false) };
        let training = &self.config.training;
        let (each, step) = (results.each(), self.meta.step);
        let mean = each.iter().map(|(_, mrr)| mrr).sum::<f64>() / each.len().max(1) as f64;
        let decision = self.meta.monitor.add(Some(mean).filter(|_| !each.is_empty()), training);
        if decision.best || self.rows.is_some() {
            self.save(MODEL)?;
        }
        if !each.is_empty() {
            self.last_valid = Some(mean);
            self.log.write(&Record::Valid { step, mean_mrr: mean, best: decision.best, results })?;
            observer.valid(step, &each, mean, decision.best);
        }
        if decision.falls && !self.is_last() {
            observer.note(&format!(
                "the learning rate falls to {:.3e}: valid has not become better in {} (training.plateau_patience)",
                self.rate(step),
                counted(training.plateau_patience, "evaluation", "evaluations")
            ));
        }
        if self.meta.monitor.gives_up(training) && !self.is_last() {
            observer.note(&self.meta.monitor.why_given_up(training, step));
        }
        Ok(true)
    }

    /// Writes a file of the folder: the model, or the state, which has the moments too.
    fn save(&self, name: &'static str) -> Result<()> {
        let (folder, learner) = (self.folder, &self.learner);
        let (path, state) = (folder.file(name), name == STATE);
        checkpoint::save(
            &path,
            learner.step.backend(),
            learner.step.model(),
            &learner.step.weights,
            &self.meta,
            state,
            |entry| folder.note(name, entry),
        )
    }
}
