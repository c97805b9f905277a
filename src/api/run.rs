//! Training as a call.

use super::{Device, SavedRun, on};
use crate::backend::Backend;
use crate::config::Config;
use crate::dataset::cache::Cache;
use crate::error::{Error, Result};
use crate::graph::KnowledgeGraph;
use crate::train::{self, Observer, RunFolder, RunPlan, TrainingProgress};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The events of a run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// What is going to be done, before memory is taken: steps, bytes of memory.
    Plan {
        /// Steps of the run.
        steps: u64,
        /// Bytes that it takes.
        memory: u64,
    },
    /// A few times a second.
    Step {
        /// Steps done.
        step: u64,
        /// Steps of the run.
        steps: u64,
        /// Mean loss of the last steps.
        loss: f64,
        /// Queries, triples or pairs a second.
        per_second: f64,
    },
    /// After an evaluation on valid.
    Valid {
        /// Steps done.
        step: u64,
        /// Its mean reciprocal rank.
        mrr: f64,
        /// Whether this model is kept as the best.
        best: bool,
    },
    /// Something to know.
    Note(String),
}

/// A training run: a graph, options, and a callback.
///
/// ```no_run
/// use smore::{Dataset, Run};
/// let run = Run::new(Dataset::new("umls").graph()?)
///     .set("model.name=gqe")
///     .set("training.steps=500")
///     .train("runs/umls-gqe")?;
/// println!("{:?}", run.answers("('steroid',('affects',))", 3)?);
/// # Ok::<(), smore::Error>(())
/// ```
pub struct Run {
    graph: Arc<KnowledgeGraph>,
    assignments: Vec<String>,
    config_file: Option<PathBuf>,
    cache: Option<PathBuf>,
    device: Device,
    callback: Option<Callback>,
}

/// The callback of events; [`ControlFlow::Break`] ends the run.
type Callback = Box<dyn FnMut(&Event) -> ControlFlow<()>>;

impl Run {
    /// A run with default options.
    pub fn new(graph: impl Into<Arc<KnowledgeGraph>>) -> Self {
        Run {
            graph: graph.into(),
            assignments: Vec::new(),
            config_file: None,
            cache: None,
            device: Device::Auto,
            callback: None,
        }
    }

    /// A document of options, which [`Run::set`] overrides.
    pub fn config(mut self, file: impl Into<PathBuf>) -> Self {
        self.config_file = Some(file.into());
        self
    }

    /// An option as on the command line, `key.path=value`: see `smore train --help-config`.
    pub fn set(mut self, assignment: impl Into<String>) -> Self {
        self.assignments.push(assignment.into());
        self
    }

    /// Where it runs.
    pub fn device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// Where queries of evaluations and compiled kernels are kept; else it is the user's cache folder.
    pub fn cache_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cache = Some(folder.into());
        self
    }

    /// Called with what happens; ends the run by [`ControlFlow::Break`].
    pub fn on_event(mut self, callback: impl FnMut(&Event) -> ControlFlow<()> + 'static) -> Self {
        self.callback = Some(Box::new(callback));
        self
    }

    /// Trains, evaluates, and saves everything in `folder`, which must not exist yet.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for options that do not fit each other or the graph, [`Error::CannotExpress`] for a structure,
    /// [`Error::OutOfMemory`] before anything is allocated, [`Error::Training`] where the loss diverges, and
    /// [`Error::Interrupted`] where the callback ended it: then [`Run::resume`] goes on.
    pub fn train(self, folder: impl AsRef<Path>) -> Result<SavedRun> {
        let config = Config::load(self.config_file.as_deref(), &self.assignments)?;
        let cache = Cache::new(self.cache.as_deref())?;
        let (device, _) = self.device.open(config.training.math, &cache)?;
        let (opened, cache_folder) = (self.device, self.cache.clone());
        on!(device, backend => {
            let model = crate::model::create(&config.model)?;
            RunPlan::new(&backend, &*model, &self.graph, &config)?;
            let run_folder = RunFolder::create(Some(folder.as_ref()), &config, &self.graph, cache.has(self.graph.path()))?;
            let outcome = self.go_on(backend, config, &run_folder, &cache, false);
            if outcome.is_err() {
                run_folder.discard_unless_saved();
            }
            outcome?;
        });
        SavedRun::open_in(folder.as_ref(), opened, cache_folder.as_deref())
    }

    /// Goes on with a run that was stopped, whose options it has; with [`Run::set`] of `training.steps` or
    /// `training.epochs` a finished one becomes longer.
    ///
    /// # Errors
    ///
    /// As [`Run::train`]; [`Error::File`] where files of the folder were changed.
    pub fn resume(self, folder: impl AsRef<Path>) -> Result<SavedRun> {
        let cache = Cache::new(self.cache.as_deref())?;
        let (opened, cache_folder) = (self.device, self.cache.clone());
        let run_folder = RunFolder::resume(folder.as_ref())?.remembering(cache.verified());
        let config = run_folder.config()?.with(&self.assignments)?;
        let (device, _) = self.device.open(config.training.math, &cache)?;
        on!(device, backend => self.go_on(backend, config, &run_folder, &cache, true)?);
        SavedRun::open_in(folder.as_ref(), opened, cache_folder.as_deref())
    }

    fn go_on<B: Backend>(
        self,
        backend: B,
        config: Config,
        folder: &RunFolder,
        cache: &Cache,
        resume: bool,
    ) -> Result<()> {
        let stop = AtomicBool::new(false);
        let query_cache = cache.derived(self.graph.fingerprint());
        let mut events = Events { callback: self.callback, stop: &stop };
        let (graph, query_cache) = (self.graph, &query_cache);
        let run = train::Run { backend, graph, config, folder, query_cache, resume, stop: &stop };
        match run.train(&mut events)?.report {
            Some(_) => Ok(()),
            None => Err(Error::Interrupted),
        }
    }
}

/// An observer that calls back.
struct Events<'a> {
    callback: Option<Callback>,
    stop: &'a AtomicBool,
}

impl Events<'_> {
    fn emit(&mut self, event: Event) {
        if let Some(callback) = &mut self.callback
            && callback(&event).is_break()
        {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}

impl Observer for Events<'_> {
    fn plan(&mut self, plan: &RunPlan, _: &Path) {
        let memory = (plan.device_bytes() + plan.host_bytes()) as u64;
        self.emit(Event::Plan { steps: plan.steps, memory });
    }

    fn progress(&mut self, progress: &TrainingProgress) {
        let TrainingProgress { step, steps, loss, .. } = *progress;
        self.emit(Event::Step { step, steps, loss, per_second: progress.rate.per_second() });
    }

    fn valid(&mut self, step: u64, _: &[(String, f64)], mrr: f64, best: bool) {
        self.emit(Event::Valid { step, mrr, best });
    }

    fn note(&mut self, note: &str) {
        self.emit(Event::Note(note.into()));
    }
}
