//! `smore train`.

use super::options::{ChangesArgs, ConfigArgs, DeviceArgs, on};
use super::progress::Sparse;
use super::signals::stop_flag;
use super::train_plan::{self, DryRun};
use super::{Global, Interrupted, note, print, print_json, shown};
use crate::backend::Backend;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::graph::KnowledgeGraph;
use crate::storage::place::Placed;
use crate::table::{bytes, count, duration, fit, quoted, terminal_width};
use crate::train::mix::drawable;
use crate::train::{Changes, Observer, Run, RunFolder, RunPlan, TrainingProgress};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Arguments of `smore train`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// Folder of the run; it must not exist yet [default: runs/DATASET-MODEL]
    #[arg(long, value_name = "FOLDER")]
    run_dir: Option<PathBuf>,
    /// Go on with a run that was stopped, or with --steps or --epochs make a finished one longer: the learning
    /// rate then goes on falling from where the new length puts it
    #[arg(long, value_name = "RUN", conflicts_with_all = ["run_dir", "dataset", "dataset_flag", "config"])]
    resume: Option<PathBuf>,
    /// Print the plan and end: nothing is trained or written
    #[arg(long)]
    dry_run: bool,
    /// With --dry-run: print the operations of a training step, with shapes, bytes and share of the work
    #[arg(long, requires = "dry_run")]
    print_program: bool,
    #[command(flatten)]
    changes: ChangesArgs,
    /// List every key of the configuration with its default, what it takes and what it means
    #[arg(long)]
    help_config: bool,
}

/// Runs `smore train`.
pub fn run(args: Args, global: &Global) -> anyhow::Result<()> {
    if args.help_config {
        return match global.json {
            true => print_json(&crate::config::keys::help()),
            false => print(super::usage::configuration(terminal_width().unwrap_or(100).min(120))),
        };
    }
    if args.resume.is_none() && args.changes.changes() == Changes::Accept {
        return Err(Error::invalid("--accept-changes is for the run that --resume names").into());
    }
    let resume =
        |path| RunFolder::resume_with(path, args.changes.changes()).and_then(|run| global.opened(run));
    let resumed = args.resume.as_deref().map(resume).transpose()?;
    let config = match &resumed {
        Some(folder) => resumed_config(folder, &args.config)?,
        None => args.config.load()?,
    };
    let (device, no_gpu) = args.device.open_with_reason(config.training.math, global)?;
    on!(device, backend => train(backend, config, no_gpu, resumed, args, global))
}

fn train<B: Backend>(
    backend: B,
    mut config: Config,
    no_gpu: Option<String>,
    resumed: Option<RunFolder>,
    args: Args,
    global: &Global,
) -> anyhow::Result<()> {
    let start = Instant::now();
    let cache = global.cache()?;
    let graph = match &resumed {
        Some(folder) => folder.graph()?,
        None => {
            let graph = global.open(&config.data.dataset)?;
            if !args.config.sets("sampling.structures")? {
                leave_out_undrawable(&mut config, &graph)?;
            }
            graph
        }
    };
    if args.dry_run {
        let model = crate::model::create(&config.model)?;
        let plan = &RunPlan::new(&backend, &*model, &graph, &config)?;
        let default = RunFolder::default_path(&config, &graph);
        let folder = resumed.as_ref().map(RunFolder::path).or(args.run_dir.as_deref()).unwrap_or(&default);
        let no_gpu = no_gpu.as_deref();
        let dry_run = DryRun { plan, model: &*model, graph: &graph, config: &config, no_gpu, folder };
        return dry_run.print::<B>(args.print_program, global);
    }
    let folder = match resumed {
        Some(folder) => folder,
        None => {
            // Before the folder is made: what cannot work leaves nothing behind.
            let model = crate::model::create(&config.model)?;
            RunPlan::new(&backend, &*model, &graph, &config)?;
            let may_link = cache.has(graph.path());
            RunFolder::create(args.run_dir.as_deref(), &config, &graph, may_link)?
        }
    };
    let query_cache = cache.derived(graph.fingerprint());
    let mut printer = Printer::new(config.training.batch_size, folder.placed(), no_gpu);
    let stop = stop_flag(printer.bar.clone())?;
    let run = Run {
        backend,
        graph: Arc::new(graph),
        config,
        folder: &folder,
        query_cache: &query_cache,
        resume: args.resume.is_some(),
        stop,
    };
    let outcome = run.train(&mut printer);
    printer.finish();
    if outcome.is_err() && args.resume.is_none() {
        folder.discard_unless_saved();
    }
    let outcome = match outcome {
        Err(Error::Interrupted) => {
            note(match args.resume {
                None => "stopped before the first step; nothing was saved",
                Some(_) => "stopped before the next step; the run is as it was",
            });
            return Err(Interrupted.into());
        }
        outcome => outcome?,
    };
    note(train_plan::spent(&outcome.usage));
    let Some(report) = outcome.report else {
        let path = quoted(&shown(folder.path()));
        let what = match outcome.trained {
            true => "the evaluation after the last step was stopped; make it with",
            false => "go on with",
        };
        note(format_args!("stopped after step {}; {what}: smore train --resume {path}", count(outcome.step)));
        return Err(Interrupted.into());
    };
    if let Err(error) = crate::report::write(&[folder.path().to_path_buf()], None) {
        note(format_args!("note: the run is complete, but its report could not be written: {error}"));
    }
    if global.json {
        return print_json(&json!({
            "run": shown(folder.path()),
            "step": outcome.step,
            "best_step": outcome.best_step,
            "usage": outcome.usage,
            "report": report,
        }));
    }
    print(format_args!("\n{}", report.render()))?;
    note(format_args!(
        "\nfinished in {}; the model of step {} is in {path}\n  {path}/report.html\n  smore eval {run}\n  smore query {run} {}",
        duration(start.elapsed()),
        count(outcome.best_step.unwrap_or(outcome.step)),
        quoted(&example(&folder).unwrap_or_default()),
        path = folder.path().display(),
        run = quoted(&shown(folder.path())),
    ));
    Ok(())
}

/// Leaves structures out of the default mix that cannot be drawn on the graph, with a note.
fn leave_out_undrawable(config: &mut Config, graph: &KnowledgeGraph) -> Result<()> {
    let Some((mix, left_out)) = drawable(config, graph)? else { return Ok(()) };
    config.sampling.structures = mix;
    note(format_args!(
        "note: {} cannot be drawn on this graph and {} left out of training (sampling.structures = {})",
        left_out.join(", "),
        if left_out.len() == 1 { "is" } else { "are" },
        config.sampling.structures
    ));
    Ok(())
}

/// The stored configuration with what may change in a run that goes on: its length and what is evaluated.
fn resumed_config(folder: &RunFolder, args: &ConfigArgs) -> Result<Config> {
    let stored = folder.config()?;
    let config = stored.with(&args.assignments())?;
    let mut same = config.clone();
    same.training.steps = stored.training.steps;
    same.training.epochs = stored.training.epochs;
    same.training.valid_every = stored.training.valid_every;
    same.training.patience = stored.training.patience;
    same.training.divergence_factor = stored.training.divergence_factor;
    same.sampling.workers = stored.sampling.workers;
    same.sampling.queue = stored.sampling.queue;
    same.evaluation = stored.evaluation.clone();
    if same != stored {
        return Err(Error::invalid(
            "--resume goes on with the run's own model, data and sampling; only training.steps, training.epochs, \
             training.valid_every, training.patience, training.divergence_factor, sampling.workers, sampling.queue and evaluation.* can be changed",
        ));
    }
    Ok(config)
}

/// A query to try: the first training edge, with names.
fn example(folder: &RunFolder) -> Option<String> {
    use crate::query::{Tree, ground::with_names};
    let graph = folder.graph().ok()?;
    let triple = graph.split(crate::graph::Split::Train).triples().find(|t| !t.relation.is_inverse())?;
    let query = Tree::Projection(Box::new(Tree::Anchor(triple.head)), triple.relation);
    Some(with_names(&query, &graph).to_string())
}

/// Progress on standard error: a bar on a terminal, a line now and then elsewhere.
struct Printer {
    bar: Option<ProgressBar>,
    batch_size: usize,
    placed: Option<Placed>,
    /// Why no GPU is used, where one would have been.
    no_gpu: Option<String>,
    /// Steps of the run.
    steps: String,
    lines: Sparse,
}

impl Printer {
    fn new(batch_size: usize, placed: Option<Placed>, no_gpu: Option<String>) -> Self {
        // Drawn when it first has something to say.
        let draw = || ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(5));
        let bar = std::io::stderr().is_terminal().then(draw);
        Printer { bar, batch_size, placed, no_gpu, steps: String::new(), lines: Sparse::start() }
    }

    /// The number of a step, as wide as that of the last one.
    fn aligned(&self, step: u64) -> String {
        format!("{:>width$}", count(step), width = self.steps.len())
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => note(text),
        }
    }

    fn finish(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Observer for Printer {
    fn plan(&mut self, plan: &RunPlan, folder: &Path) {
        let graph = match self.placed {
            Some(Placed::Copied) => format!(", with a copy of the graph ({})", bytes(plan.mapped_bytes)),
            Some(Placed::Shared) => ", with a copy of the graph that shares its blocks on the disk".into(),
            Some(Placed::Linked) | None => String::new(),
        };
        note(train_plan::table(plan, self.batch_size, self.no_gpu.as_deref(), (folder, &graph)));
        self.steps = count(plan.steps);
        if let Some(bar) = &self.bar {
            let style = "{bar:16} {human_pos}/{human_len}  {wide_msg}";
            bar.set_style(ProgressStyle::with_template(style).expect("a fixed template"));
            bar.set_length(plan.steps);
        }
        self.lines = Sparse::start();
    }

    fn progress(&mut self, progress: &TrainingProgress) {
        let mut text = format!("loss {:.4}  {}", progress.loss, progress.rate);
        let units = (progress.steps - progress.step) as f64 * self.batch_size as f64;
        if units > 0.0 {
            let left = units / progress.rate.per_second().max(1e-9);
            text += &format!("  {} left", duration(Duration::from_secs_f64(left.min(1e9))));
        }
        if let Some(bar) = &self.bar {
            bar.set_position(progress.step);
            bar.set_message(text);
        } else if self.lines.is_due(Instant::now()) || progress.step == progress.steps {
            note(format_args!("step {}/{}  {text}", self.aligned(progress.step), self.steps));
        }
    }

    fn valid(&mut self, step: u64, each: &[(String, f64)], mean_mrr: f64, best: bool) {
        let each: Vec<String> =
            each.iter().map(|(name, mrr)| format!("{name} {:4.1}", 100.0 * mrr)).collect();
        let best = if best { "best" } else { "" };
        if let Some(bar) = &self.bar {
            bar.set_position(step);
        }
        let (step, mean) = (self.aligned(step), 100.0 * mean_mrr);
        // On a terminal in one line; all numbers are in the log.
        let width = self.bar.as_ref().and_then(|_| terminal_width()).unwrap_or(usize::MAX);
        self.line(&fit(format!("valid  step {step}  MRR {mean:5.2} {best:4}"), &each, width));
    }

    fn note(&mut self, text: &str) {
        self.line(&format!("note: {text}"));
    }

    fn stage(&mut self, what: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(what.to_string()),
            None => note(what),
        }
    }

    fn work(&self) -> crate::progress::Progress {
        super::progress::on(self.bar.clone())
    }
}
