//! Runs to look at: one self-contained HTML page of curves, tables and configurations, for one run or several side by side.
//!
//! Reading order: [`data`] (what a run folder says), [`plot`] (curves as SVG), [`table`] (numbers as HTML), `answers` (examples, probabilities), [`page`] (all of
//! it together), `compare` (several runs side by side), `style` (colours). The page has no script and loads nothing; colours follow the reader's light or dark mode.
//!
//! The SVG is written here and not by a plotting crate, because only one that is styled by the page's own sheet can follow
//! the mode, and because no font is needed to make it.

mod answers;
mod compare;
pub mod data;
pub mod page;
pub mod plot;
pub mod table;

pub use data::RunData;

use crate::error::{Error, Result};
use crate::storage::atomic;
use crate::train::{Changes, RunFolder};
use std::path::{Path, PathBuf};

/// Its name in a run folder.
pub const NAME: &str = "report.html";

/// Writes the page of these runs to `output`, or without one into the folder of the first. Reads their logs and
/// results; of a graph of up to [`data::MAX_ENTITIES`] entities its edges too. Gives the path.
///
/// # Errors
///
/// Where a folder is no run, a file of one is damaged, or the page cannot be written.
pub fn write(runs: &[PathBuf], output: Option<&Path>) -> Result<PathBuf> {
    write_with(runs, output, Changes::Refuse, &mut |_| {})
}

/// As [`write()`], with a choice of what to do where a run's files were changed. `note` gets what the user should know.
pub fn write_with(
    runs: &[PathBuf],
    output: Option<&Path>,
    changes: Changes,
    note: &mut dyn FnMut(&str),
) -> Result<PathBuf> {
    let data = runs.iter().map(|run| {
        let folder = RunFolder::open_with(run, changes)?;
        folder.notes().iter().for_each(|text| note(text));
        RunData::read(&folder)
    });
    let data = data.collect::<Result<Vec<_>>>()?;
    let path = output.map_or_else(|| runs[0].join(NAME), Path::to_path_buf);
    atomic::write_bytes(&path, page::render(&data).as_bytes()).map_err(|error| match error {
        Error::Io { path, source } => {
            Error::file(path, format!("{source}: the page can be written elsewhere with --output FILE"))
        }
        other => other,
    })?;
    Ok(path)
}

/// Text as HTML or SVG shows it, between tags and in attributes: names come from files.
pub(crate) fn escape(text: &str) -> String {
    html_escape::encode_quoted_attribute(text).into_owned()
}
