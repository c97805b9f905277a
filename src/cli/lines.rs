//! Questions that come one a line: from a file or from standard input, answered in batches while more are read.

use super::note;
use crate::error::{Error, Result};
use crate::storage::regular;
use crate::table::{count, counted, duration};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::time::Instant;

/// Lines that are answered together at most.
const AT_ONCE: usize = 4_096;

/// Lines to be read, with how it went so far.
pub(super) struct Lines {
    /// What stands before a line's number in messages.
    name: String,
    reader: BufReader<Box<dyn Read>>,
    number: u64,
    asked: u64,
    failed: u64,
    begun: Instant,
}

impl Lines {
    /// Of a file, or of standard input where the path is `-`.
    pub fn open(path: &str) -> Result<Self> {
        let (name, from): (&str, Box<dyn Read>) = match path {
            "-" => ("standard input", Box::new(std::io::stdin())),
            path => (path, Box::new(regular::open(Path::new(path))?)),
        };
        let reader = BufReader::with_capacity(1 << 20, from);
        Ok(Lines { name: name.into(), reader, number: 0, asked: 0, failed: 0, begun: Instant::now() })
    }

    /// The next lines with their numbers, those that are there before more is waited for; `None` at the end. Blank ones are
    /// left out; those that `parse` refuses are errors on standard error.
    pub fn next<T>(&mut self, parse: impl Fn(&str) -> Result<T>) -> Result<Option<Vec<(u64, T)>>> {
        let mut batch = Vec::new();
        while batch.len() < AT_ONCE {
            let mut line = Vec::new();
            if self.reader.read_until(b'\n', &mut line).map_err(Error::io(&self.name))? == 0 {
                let ends = batch.is_empty();
                self.asked += batch.len() as u64;
                return Ok(if ends { None } else { Some(batch) });
            }
            self.number += 1;
            let text = std::str::from_utf8(&line).map_err(|_| Error::invalid("the line is not UTF-8"));
            let text = text.map(|text| text.trim_start_matches('\u{feff}').trim_matches(['\r', '\n']));
            let parsed = match text {
                Ok(text) if text.trim().is_empty() => continue,
                text => text.and_then(&parse),
            };
            match parsed {
                Ok(parsed) => batch.push((self.number, parsed)),
                Err(error) => {
                    self.failed += 1;
                    // Of several lines, where the second points at a place in the line.
                    note(format_args!("error: {}:{}: {error}", self.name, self.number));
                }
            }
            if !self.reader.buffer().contains(&b'\n') {
                break;
            }
        }
        self.asked += batch.len() as u64;
        Ok(Some(batch))
    }

    /// Says how many were answered and how fast; an error where some were not.
    pub fn finish(self) -> anyhow::Result<()> {
        let (all, took) = (self.asked + self.failed, self.begun.elapsed());
        let rate = count((self.asked as f64 / took.as_secs_f64().max(1e-9)) as u64);
        note(format_args!("{} in {}, {rate}/s", counted(self.asked, "query", "queries"), duration(took)));
        if self.failed > 0 {
            anyhow::bail!(
                "{} of {} could not be answered",
                counted(self.failed, "query", "queries"),
                count(all)
            );
        }
        Ok(())
    }
}
