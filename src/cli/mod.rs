//! The command line: arguments -> one library call -> printing.
//!
//! One file per subcommand, with its `Args` and `run(Args, &Global)`. To add one: the file, its `mod`
//! line, one variant of [`Command`] and one arm in its `run`.
//!
//! | file | is |
//! | --- | --- |
//! | `data`, `data_export`, `data_generate`, `data_info` | `smore data` |
//! | `train`, `train_plan` | `smore train`; its plan and `--dry-run` |
//! | `eval`, `query`, `predict`, `similar`, `infer`, `calibrate`, `sample`, `report`, `devices`, `completions` | the subcommand of the same name |
//! | `bench`, `bench_train`, `bench_infer`, `bench_steps` | `smore bench` |
//! | `options`, `lines` | arguments that subcommands share; questions one a line |
//! | `usage` | the answer to wrong usage, `--help-config` |
//! | `progress`, `signals`, `memory` | progress on standard error, Ctrl-C and hangup, the end of memory as an error |
//!
//! Tables and JSON go to standard output, progress, notes and errors to standard error. Exit codes: 0
//! done (also where the reader of a pipe went away), 1 failed, 2 wrong usage, 130 interrupted.

pub mod bench;
pub mod bench_infer;
pub mod bench_steps;
pub mod bench_train;
pub mod calibrate;
pub mod completions;
pub mod data;
pub mod data_export;
pub mod data_generate;
pub mod data_info;
pub mod devices;
pub mod eval;
pub mod infer;
mod lines;
pub mod memory;
pub mod options;
pub mod predict;
pub mod progress;
pub mod query;
pub mod report;
pub mod sample;
mod signals;
pub mod similar;
pub mod train;
mod train_plan;
mod usage;

use crate::dataset::{Cache, ImportReport, OpenOptions, open};
use crate::error::reason;
use crate::graph::KnowledgeGraph;
use crate::train::RunFolder;
use anyhow::Context;
use clap::{Parser, Subcommand};
use std::fmt::Display;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

/// Multi-hop reasoning over knowledge graphs: import, train, evaluate, query.
#[derive(Debug, Parser)]
#[command(name = "smore", version, propagate_version = true, subcommand_required = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What holds for every subcommand.
    #[command(flatten)]
    pub global: Global,
}

/// Options of every subcommand.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Folder of datasets' folders
    #[arg(long, global = true, env = "SMORE_DATA", value_name = "FOLDER", hide_env_values = true)]
    pub data_dir: Option<PathBuf>,
    /// Where imported graphs are kept [default: smore in the user's cache folder]
    #[arg(long, global = true, env = "SMORE_CACHE", value_name = "FOLDER", hide_env_values = true)]
    pub cache_dir: Option<PathBuf>,
    /// Print one JSON document instead of tables
    #[arg(long, global = true)]
    pub json: bool,
    /// Worker threads [default: one per core]
    #[arg(long, global = true, value_name = "N", value_parser = parse_threads)]
    pub threads: Option<NonZeroUsize>,
}

/// More threads than any machine has cores are a slip, and take minutes to start.
fn parse_threads(text: &str) -> Result<NonZeroUsize, String> {
    let threads = text.parse().ok().filter(|threads: &NonZeroUsize| threads.get() <= 1024);
    threads.ok_or_else(|| "expected a number from 1 to 1,024".into())
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Import, generate, list, describe and verify datasets
    Data(data::Args),
    /// Train a model on multi-hop queries, evaluate it, save it
    Train(train::Args),
    /// Evaluate a saved model
    Eval(eval::Args),
    /// Ask a saved model a query
    Query(query::Args),
    /// Ask a saved model for tails, heads or relations, or for scores of triples
    Predict(predict::Args),
    /// Ask a saved model which entities are most alike
    Similar(similar::Args),
    /// Make the scores of a saved model's answers probabilities, by validation queries
    Calibrate(calibrate::Args),
    /// Write the truth of every link by a saved model to a file, for inference
    Infer(infer::Args),
    /// Write the curves and tables of runs as one HTML page
    Report(report::Args),
    /// Write the queries of an evaluation, with their easy and hard answers, as JSON lines
    Sample(sample::Args),
    /// Measure the speed of sampling, training and evaluation
    Bench(bench::Args),
    /// Show what models can run on
    Devices(devices::Args),
    /// Print a shell's completions of this command
    Completions(completions::Args),
}

impl Command {
    fn run(self, global: &Global) -> anyhow::Result<()> {
        match self {
            Command::Data(args) => data::run(args, global),
            Command::Train(args) => train::run(args, global),
            Command::Eval(args) => eval::run(args, global),
            Command::Query(args) => query::run(args, global),
            Command::Predict(args) => predict::run(args, global),
            Command::Similar(args) => similar::run(args, global),
            Command::Calibrate(args) => calibrate::run(args, global),
            Command::Infer(args) => infer::run(args, global),
            Command::Report(args) => report::run(args, global),
            Command::Sample(args) => sample::run(args, global),
            Command::Bench(args) => bench::run(args, global),
            Command::Devices(args) => devices::run(args, global),
            Command::Completions(args) => completions::run(args),
        }
    }
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    memory::remember_limit();
    signals::ignore_file_limit();
    let Cli { command, global } = usage::parse();
    if let Some(threads) = global.threads {
        // Fails only if the pool is there already, and nothing has used it yet.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads.get()).build_global();
    }
    match command.run(&global) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) if error.is::<Interrupted>() => ExitCode::from(130),
        Err(error) => {
            note(describe(&error));
            ExitCode::FAILURE
        }
    }
}

/// A signal ended the work early, in good order and after a word to the user.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Whether writing to standard output failed because nobody reads it any more.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}

/// `error: ...`, then the causes that the message does not already tell.
fn describe(error: &anyhow::Error) -> String {
    let mut text = format!("error: {error}");
    for cause in error.chain().skip(1) {
        let cause = cause.downcast_ref().map_or_else(|| cause.to_string(), reason);
        if !text.contains(&cause) {
            text += &format!("\n  caused by: {cause}");
        }
    }
    text
}

impl Global {
    /// How datasets are looked for and imported.
    pub fn open_options(&self) -> OpenOptions {
        OpenOptions {
            data_dir: self.data_dir.clone(),
            cache_dir: self.cache_dir.clone(),
            ..OpenOptions::default()
        }
    }

    /// Prints what a user should know of an opened run folder, whose files are read once on a machine.
    pub fn opened(&self, folder: RunFolder) -> crate::Result<RunFolder> {
        folder.notes().iter().for_each(|text| note(format_args!("note: {text}")));
        Ok(folder.remembering(self.cache()?.verified()))
    }

    /// The cache folder.
    pub fn cache(&self) -> crate::Result<Cache> {
        Cache::new(self.cache_dir.as_deref())
    }

    /// Opens a dataset argument; a first import and its warnings are noted on standard error.
    pub fn open(&self, dataset: &str) -> anyhow::Result<KnowledgeGraph> {
        let options = OpenOptions { progress: progress::printer(), ..self.open_options() };
        let (graph, report) = open(dataset, &options)?;
        if !report.cached {
            match report.source.starts_with("(bundled)") {
                true => note(format_args!("imported {}, which comes with smore", graph.dataset())),
                false => note(format_args!("imported {} from {}", graph.dataset(), report.source.display())),
            }
            note_warnings(&report);
        }
        Ok(graph)
    }
}

/// Prints everything in an import that deserves attention.
pub fn note_warnings(report: &ImportReport) {
    report.warnings.iter().for_each(|warning| note(format_args!("warning: {warning}")));
    report.bad_lines.iter().for_each(|line| note(format_args!("  skipped {line}")));
}

/// A line on standard error: notes, progress, warnings. That it cannot be written is no failure.
pub fn note(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Text on standard output. Use this instead of `print!`, which panics where a pipe was closed.
pub fn print(text: impl Display) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    write!(out, "{text}").and_then(|()| out.flush()).context("cannot write to standard output")
}

/// A path as text, also where it is not UTF-8: JSON has no other strings.
pub fn shown(path: &std::path::Path) -> String {
    path.display().to_string()
}

/// One JSON document on standard output.
pub fn print_json(document: &impl serde::Serialize) -> anyhow::Result<()> {
    print(serde_json::to_string_pretty(document)? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_of_the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn causes_are_reported_once() {
        let cause = std::io::Error::other("the disk is full");
        let error = anyhow::Error::new(crate::Error::io("x.txt")(cause)).context("cannot save");
        assert_eq!(describe(&error), "error: cannot save\n  caused by: x.txt: the disk is full");
        let error = anyhow::Error::new(crate::Error::io("x.txt")(std::io::Error::from_raw_os_error(2)));
        assert_eq!(describe(&error).lines().count(), 1, "{}", describe(&error));
        let alone = anyhow::Error::new(std::io::Error::from_raw_os_error(2)).context("cannot save");
        assert!(!describe(&alone).contains("os error"), "{}", describe(&alone));
    }

    #[test]
    fn only_a_closed_standard_output_is_quiet() {
        let pipe = || std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert!(is_closed_pipe(&anyhow::Error::new(pipe()).context("cannot write to standard output")));
        assert!(!is_closed_pipe(&crate::Error::io("socket")(pipe()).into()));
    }
}
