//! `smore report`.

use super::options::ChangesArgs;
use super::{Global, note, print_json, shown};
use crate::report;
use serde_json::json;
use std::path::PathBuf;

/// Arguments of `smore report`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folders of runs; several are compared in one page. They may still be going on
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// File to write [default: report.html in the folder of a single run, in the current folder for several]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    changes: ChangesArgs,
}

/// Runs `smore report`.
pub fn run(args: Args, global: &Global) -> anyhow::Result<()> {
    let output = args.output.or_else(|| (args.runs.len() > 1).then(|| report::NAME.into()));
    let mut print_note = |text: &str| note(format_args!("note: {text}"));
    let path = report::write_with(&args.runs, output.as_deref(), args.changes.changes(), &mut print_note)?;
    if global.json {
        return print_json(&json!({ "report": shown(&path) }));
    }
    note(format_args!("wrote {}", path.display()));
    Ok(())
}
