//! The loop of a run: batches in, steps, evaluations on valid, the best model kept, test at the end.

use super::checkpoint::{self, Meta};
use super::folder::{RunFolder, RunInfo};
use super::plan::RunPlan;
use super::step::Trainer;
use crate::backend::Backend;
use crate::config::{Config, EvaluationConfig};
use crate::error::{Error, Result};
use crate::eval::report::Baseline;
use crate::eval::{FrequencyBaseline, LinkPrediction, ModelScorer, MultiHop, QueryOptions, Report, Scorer};
use crate::eval::{QuerySet, cache, link_prediction};
use crate::graph::{KnowledgeGraph, Split};
use crate::model::{self, Weights};
use crate::pipeline::{Pipeline, PipelineOptions};
use crate::query::Structure;
use crate::sampler::SamplerOptions;
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
    /// After an evaluation on valid; `best` if the model was kept.
    fn valid(&mut self, step: u64, valid: &MultiHop, mean_mrr: f64, best: bool) {
        let _ = (step, valid, mean_mrr, best);
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
    Valid { step: u64, mean_mrr: f64, best: bool, multi_hop: &'a MultiHop },
    Test { step: u64, report: &'a Report },
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
    /// valid queries); without any, the last one. A stop saves the state and skips the test. A run that
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

        let mut weights =
            Weights::zeros(&backend, &*model, graph.num_entities(), graph.num_relations(), true)?;
        let (state, best_path) = (folder.state(), folder.file("model.safetensors"));
        let mut meta = Meta {
            model: model.name().into(),
            graph: format!("{:016x}", graph.fingerprint()),
            version: env!("CARGO_PKG_VERSION").into(),
            ..Meta::default()
        };
        if resume && state.is_file() {
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
        } else {
            if resume {
                observer.note("no step was saved: training starts from the beginning");
            }
            weights.start(&backend, &*model, config.training.seed)?;
            folder.rewind_log(0)?;
        }

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

        let valid = {
            let options = query_options(&config.evaluation, &plan, config.evaluation.valid_queries);
            query_set(&graph, Split::Valid, &options, query_cache, observer)
        };
        let workers = config.sampling.num_workers(backend.on_host());
        let mut pipeline = Pipeline::start(
            graph.clone(),
            plan.mix(),
            Arc::new(plan.compiled().clone()),
            sampler_options(&config),
            PipelineOptions { workers, ahead: config.sampling.queue.div_ceil(workers), first: meta.step },
        )?;
        let mut trainer = Trainer::new(backend, model, weights, plan.compiled(), &config)?;
        let valid_every = match config.training.valid_every {
            0 => plan.steps.div_ceil(10),
            every => every,
        };
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
                    true => format!("the last good state and model are kept in {folder}"),
                    false => "nothing had been saved yet".into(),
                }
            ))
        };
        let save = |path: &Path, trainer: &Trainer<B>, meta: &Meta| {
            let (model, weights) = (trainer.model(), &trainer.weights);
            let result = checkpoint::save(path, trainer.backend(), model, weights, meta, path == state);
            result.map_err(|error| match error {
                Error::Training(what) => diverged(&what),
                other => other,
            })
        };

        while meta.step < plan.steps && !stopped {
            let batch = pipeline.next()?;
            let step = meta.step + 1;
            trainer.step(&batch, rate_at(&config, step, plan.steps), step)?;
            pipeline.recycle(batch);
            meta.step = step;
            stopped = stop.load(Ordering::Relaxed);
            let last = step == plan.steps;
            let log = last || step.is_multiple_of(log_every);
            let report = last || window.start.elapsed() >= REPORT;
            let due = last || step.is_multiple_of(valid_every);
            let save_now = due || stopped || saved.elapsed() >= SAVE;
            if trainer.is_full() || log || report || save_now {
                let losses = trainer.losses()?;
                for (loss, of) in losses.iter().zip(step + 1 - losses.len() as u64..) {
                    if !loss.is_finite() {
                        return Err(diverged(&format!("the loss of step {of} is {loss}")));
                    }
                    window.add(*loss);
                    log_window.add(*loss);
                }
            }
            if report {
                observer.progress(&window.report(step, plan.steps, pipeline.cpu_seconds()));
            }
            if log {
                folder.log(&Record::Train(&log_window.report(step, plan.steps, pipeline.cpu_seconds())))?;
            }
            if !save_now {
                continue;
            }
            window.stop();
            log_window.stop();
            // Also where the run stops: going on after this step would not make up for it.
            if due {
                let scorer = ModelScorer::new(trainer.backend(), trainer.model(), &trainer.weights);
                let results = MultiHop::evaluate(&scorer, &valid.groups, &mut |_| {})?;
                let mrr: Vec<f64> = results.structures.iter().map(|s| s.metrics.mrr).collect();
                let mean = mrr.iter().sum::<f64>() / mrr.len().max(1) as f64;
                let best = mrr.is_empty() || meta.best_valid_mrr.is_none_or(|b| mean > b);
                if best {
                    meta.best_valid_mrr = Some(mean).filter(|_| !mrr.is_empty());
                    save(&best_path, &trainer, &meta)?;
                }
                folder.log(&Record::Valid { step, mean_mrr: mean, best, multi_hop: &results })?;
                observer.valid(step, &results, mean, best);
            } else if meta.best_valid_mrr.is_none() {
                save(&best_path, &trainer, &meta)?;
            }
            save(&state, &trainer, &meta)?;
            saved = Instant::now();
            window.go_on();
            log_window.go_on();
        }
        drop(pipeline);
        if stopped && meta.step < plan.steps {
            return Ok(Outcome { report: None, step: meta.step, best_step: None });
        }

        let backend = trainer.into_backend();
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
        Ok(Outcome { report: Some(report), step: meta.step, best_step: Some(best.step) })
    }
}

/// The queries of an evaluation.
pub enum Queries<'a> {
    /// Those of the configuration, drawn from the graph, or kept in this folder from an earlier time.
    Drawn(&'a Path),
    /// A set that the user gave; structures that the model cannot express are left out with a note.
    Given(QuerySet),
}

/// Evaluates a run's best model on a split, beside the frequency baseline.
pub fn evaluate_saved<B: Backend>(
    backend: &B,
    graph: &KnowledgeGraph,
    config: &Config,
    folder: &RunFolder,
    queries: Queries,
    split: Split,
    observer: &mut dyn Observer,
) -> Result<(Report, Meta)> {
    let (model, weights, meta) = load_model(backend, graph, config, folder)?;
    let evaluation = &config.evaluation;
    let set = match queries {
        Queries::Drawn(cache) => {
            let structures = super::plan::evaluated(&*model, &evaluation.structures)?;
            let max_queries =
                if split == Split::Valid { evaluation.valid_queries } else { evaluation.queries };
            let (max_answers, seed) = (evaluation.max_answers, evaluation.seed);
            let options = QueryOptions { structures, max_queries, max_answers, seed };
            query_set(graph, split, &options, cache, observer)
        }
        Queries::Given(mut set) => {
            let mut left_out = Vec::new();
            set.groups.retain(|group| {
                let name = group.structure.to_string();
                let fits = model::check_expressible(&*model, &name, &group.structure);
                left_out.extend(fits.as_ref().err().map(|e| format!("{name} is left out: {e}")));
                fits.is_ok()
            });
            set.notes.extend(left_out);
            set
        }
    };
    let scorer = ModelScorer::new(backend, &*model, &weights);
    observer.stage(&format!("evaluating on {}", split.name()));
    let report = evaluate(&scorer, graph, split, &set, evaluation.link_prediction)?;
    Ok((report, meta))
}

/// A model of a run with its tables.
pub type Loaded<B> = (Box<dyn model::Model<B>>, Weights<B>, Meta);

/// Loads the best model of a run; errors where it does not belong to the graph.
pub fn load_model<B: Backend>(
    backend: &B,
    graph: &KnowledgeGraph,
    config: &Config,
    folder: &RunFolder,
) -> Result<Loaded<B>> {
    let model = model::create::<B>(&config.model)?;
    let mut weights = Weights::zeros(backend, &*model, graph.num_entities(), graph.num_relations(), false)?;
    let path = folder.model()?;
    let meta = checkpoint::load(&path, backend, &*model, &mut weights, false)?;
    if meta.graph != format!("{:016x}", graph.fingerprint()) {
        return Err(Error::file(&path, "was trained on another graph than the run folder's graph.smore"));
    }
    Ok((model, weights, meta))
}

/// Ranks all queries of a set, and the split's triples where `links`, by a scorer and by the baseline.
pub fn evaluate(
    scorer: &impl Scorer,
    graph: &KnowledgeGraph,
    split: Split,
    set: &QuerySet,
    links: bool,
) -> Result<Report> {
    let baseline = FrequencyBaseline::new(&graph.split(Split::Train), graph.num_relations());
    let triples = links.then(|| link_prediction::queries(&graph.split(split), &graph.view(Split::Test)));
    let link_prediction = |scorer: &dyn Scorer| -> Result<Option<LinkPrediction>> {
        triples.as_ref().map(|t| LinkPrediction::evaluate(scorer, t, &mut |_| {})).transpose()
    };
    let theirs = Baseline {
        link_prediction: link_prediction(&baseline)?,
        multi_hop: MultiHop::evaluate(&baseline, &set.groups, &mut |_| {})?,
    };
    let links = link_prediction(scorer)?;
    let multi_hop = MultiHop::evaluate(scorer, &set.groups, &mut |_| {})?;
    Ok(Report::new(split.name(), scorer.name(), links, multi_hop, Some(theirs), set.notes.clone()))
}

fn query_options(evaluation: &EvaluationConfig, plan: &RunPlan, max_queries: usize) -> QueryOptions {
    let structures: Vec<Structure> = plan.evaluated_structures.clone();
    QueryOptions { structures, max_queries, max_answers: evaluation.max_answers, seed: evaluation.seed }
}

fn query_set(
    graph: &KnowledgeGraph,
    split: Split,
    options: &QueryOptions,
    folder: &Path,
    observer: &mut dyn Observer,
) -> QuerySet {
    observer.stage(&format!("preparing {} queries", split.name()));
    let (set, note) = cache::load_or_generate(graph, split, options, folder);
    if let Some(note) = note {
        observer.note(&note);
    }
    set
}

/// The learning rate of a step (from 1): linear from the full rate to its final share.
fn rate_at(config: &Config, step: u64, steps: u64) -> f64 {
    let done = (step - 1) as f64 / steps.max(2).saturating_sub(1) as f64;
    config.training.learning_rate * (1.0 - done * (1.0 - config.training.final_rate))
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
