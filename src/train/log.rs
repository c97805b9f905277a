//! What a run writes down as it goes on: `metrics.jsonl`, and the same numbers for TensorBoard.
//!
//! `metrics.jsonl` has one JSON document a line. Metrics are shares of 1, not percent.
//!
//! | `kind` | field | what |
//! | --- | --- | --- |
//! | `train` | `step`, `steps` | steps done, and those of the whole run |
//! | | `loss` | mean loss of the steps since the last such line, or since the run was taken up again |
//! | | `learning_rate` | that of this step |
//! | | `queries_per_second` | trained since the last such line, evaluations and saving apart |
//! | | `triples_per_second`, `pairs_per_second` | instead, with 1vsAll and with KvsAll |
//! | | `sampling_cpu_seconds` | CPU time of the sampler's threads since the process began |
//! | | `seconds` | training of the whole run so far, evaluations and saving apart |
//! | | `unix_time` | seconds since 1970 |
//! | `valid` | `step` | steps done |
//! | | `mean_mrr` | mean MRR over the structures that have valid queries |
//! | | `best` | whether the model was kept |
//! | | `multi_hop` | by structure: `mrr`, `hits_at_1`, `hits_at_3`, `hits_at_10`, `mrr_optimistic`, `mrr_pessimistic`, `num_queries`, `num_answers`, and `one_link` and `full_inference` with the same fields or `null` |
//! | | `link_prediction` | instead, after single-hop training: the same fields, and `head` and `tail` |
//! | `test` | `step` | steps done |
//! | | `report` | the document of `test.json` and of `smore eval --json` |
//!
//! A run that goes on drops the lines that it is going to write again. The file in `tensorboard/` is always written: its
//! bytes are a fifth of those of the log, and whoever wants to watch a run seldom knows it before the start. It is
//! made from the log, so that the two never differ.

use super::events;
use super::folder::RunFolder;
use super::pace::{Rate, TrainingProgress};
use crate::error::{Error, Result};
use crate::eval::{LinkPrediction, MultiHop, Report};
use crate::storage::atomic;
use serde::Serialize;
use serde_json::Value;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Its name in a run folder.
pub const NAME: &str = "metrics.jsonl";

/// The event file in a run folder. TensorBoard looks for `tfevents` in names.
pub const EVENTS: &str = "tensorboard/events.out.tfevents.smore";

/// A line of the log.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Record<'a> {
    /// A stretch of steps.
    Train {
        /// Where the run stands.
        #[serde(flatten)]
        progress: &'a TrainingProgress,
        /// That of the last step.
        learning_rate: f64,
        /// Training of the whole run so far, in seconds.
        seconds: f64,
        /// Seconds since 1970.
        unix_time: f64,
    },
    /// An evaluation on valid.
    Valid {
        /// Steps done.
        step: u64,
        /// Mean over structures.
        mean_mrr: f64,
        /// Whether the model was kept.
        best: bool,
        /// The results.
        #[serde(flatten)]
        results: &'a ValidResults,
    },
    /// The end of a run.
    Test {
        /// Steps done.
        step: u64,
        /// The results.
        report: &'a Report,
    },
}

/// What an evaluation on valid gives: either, by the run's objective.
#[derive(Debug, Default, Serialize)]
pub struct ValidResults {
    /// Of queries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multi_hop: Option<MultiHop>,
    /// Of single-hop training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_prediction: Option<LinkPrediction>,
}

impl ValidResults {
    /// Names and MRR of the parts.
    pub fn each(&self) -> Vec<(String, f64)> {
        let structures = self.multi_hop.iter().flat_map(|results| &results.structures);
        let links = self.link_prediction.map(|links| ("link prediction".to_string(), links.both.mrr));
        structures.map(|s| (s.structure.clone(), s.metrics.mrr)).chain(links).collect()
    }
}

/// The log of a run in training.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    events: PathBuf,
    seconds_before: f64,
}

impl Log {
    /// Opens the log of a run that goes on after `step`: drops the lines that it is going to write again.
    pub fn open(folder: &RunFolder, step: u64) -> Result<Self> {
        let (path, events) = (folder.file(NAME), folder.file(EVENTS));
        let text = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(Error::io(&path)(e)),
        };
        // A process that was killed may have left a part of a line, and of a character.
        let text = String::from_utf8_lossy(&text);
        let kept: Vec<(&str, Value)> = text
            .lines()
            .filter_map(|line| Some((line, serde_json::from_str::<Value>(line).ok()?)))
            .filter(|(_, r)| r["kind"] != "test" && r["step"].as_u64().is_some_and(|s| s <= step))
            .collect();
        let lines: String = kept.iter().map(|(line, _)| format!("{line}\n")).collect();
        atomic::write_bytes(&path, lines.as_bytes())?;
        atomic::write(&events, |out| {
            let mut time = now();
            let written = events::write_version(out, time).and_then(|()| {
                kept.iter().try_for_each(|(_, record)| {
                    time = record["unix_time"].as_f64().unwrap_or(time);
                    write_event(out, time, record)
                })
            });
            written.map_err(Error::io(&events))
        })?;
        let seconds_before =
            kept.iter().rev().find_map(|(_, record)| record["seconds"].as_f64()).unwrap_or(0.0);
        Ok(Log { path, events, seconds_before })
    }

    /// Training before this process, in seconds, up to the last line about it.
    pub fn seconds_before(&self) -> f64 {
        self.seconds_before
    }

    /// Appends a line, and its scalars to the event file.
    pub fn write(&self, record: &Record) -> Result<()> {
        let value = serde_json::to_value(record).expect("plain data");
        let mut line = serde_json::to_vec(record).expect("plain data");
        line.push(b'\n');
        append(&self.path, &line)?;
        let mut event = Vec::new();
        write_event(&mut event, now(), &value).map_err(Error::io(&self.events))?;
        append(&self.events, &event)
    }
}

fn append(path: &Path, bytes: &[u8]) -> Result<()> {
    let file = File::options().create(true).append(true).open(path);
    file.and_then(|mut f| f.write_all(bytes)).map_err(Error::io(path))
}

/// Seconds since 1970.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// The scalars of a line.
fn write_event(out: &mut impl Write, time: f64, record: &Value) -> io::Result<()> {
    let mut scalars: Vec<(String, f64)> = Vec::new();
    let mut add = |tag: String, value: &Value| scalars.extend(value.as_f64().map(|x| (tag, x)));
    let mut multi_hop = |split: &str, results: &Value| {
        for (structure, metrics) in results.as_object().into_iter().flatten() {
            for metric in ["mrr", "hits_at_10"] {
                add(format!("{split}_{metric}/{structure}"), &metrics[metric]);
            }
        }
    };
    match record["kind"].as_str() {
        Some("train") => {
            for name in ["loss", "learning_rate"].into_iter().chain(Rate::FIELDS) {
                add(format!("train/{name}"), &record[name]);
            }
        }
        Some("valid") => {
            multi_hop("valid", &record["multi_hop"]);
            add("valid_mrr/mean".into(), &record["mean_mrr"]);
        }
        Some("test") => {
            multi_hop("test", &record["report"]["multi_hop"]);
            add("test_mrr/link_prediction".into(), &record["report"]["link_prediction"]["mrr"]);
        }
        _ => {}
    }
    events::write_scalars(out, time, record["step"].as_u64().unwrap_or(0), &scalars)
}
