//! What a run folder says about its run.

use crate::config::Config;
use crate::error::{Error, Result};
use crate::eval::Metrics;
use crate::graph::stats::{self, Cardinality};
use crate::graph::{KnowledgeGraph, Split};
use crate::table::{bytes, count};
use crate::train::RunFolder;
use crate::train::calibration::{self, Entry};
use crate::train::examples::{self, Examples};
use crate::train::info::RunInfo;
use crate::train::log;
use crate::train::pace::Rate;
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;

/// A run as its folder has it: finished, stopped or going on.
#[derive(Clone, Debug)]
pub struct RunData {
    /// Name of the folder.
    pub name: String,
    /// The resolved configuration.
    pub config: Config,
    /// `run.json`.
    pub info: RunInfo,
    /// Stretches of steps, in order.
    pub train: Vec<Stretch>,
    /// Evaluations on valid, in order.
    pub valid: Vec<Valid>,
    /// The results at the end.
    pub test: Option<Test>,
    /// How a few validation queries are answered.
    pub examples: Option<Examples>,
    /// How probable answers are.
    pub calibrations: Vec<Entry>,
    /// The dataset in numbers: what, and how much.
    pub dataset: Vec<(String, String)>,
}

/// A line of kind `train`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Stretch {
    /// Its last step.
    pub step: u64,
    /// Mean loss.
    pub loss: f64,
    /// What was trained per second.
    #[serde(flatten)]
    pub rate: Rate,
    /// Of its last step; runs of earlier versions do not tell.
    pub learning_rate: Option<f64>,
    /// Training so far.
    pub seconds: Option<f64>,
}

/// A line of kind `valid`.
#[derive(Clone, Debug, PartialEq)]
pub struct Valid {
    /// Steps done.
    pub step: u64,
    /// Mean over structures, a share of 1.
    pub mean_mrr: f64,
    /// Whether the model was kept.
    pub best: bool,
    /// By structure, a share of 1.
    pub mrr: Vec<(String, f64)>,
}

/// `test.json`.
#[derive(Clone, Debug)]
pub struct Test {
    /// By structure, in order.
    pub structures: Vec<(String, Row)>,
    /// Means over structures without and with a negation, where there are any.
    pub averages: Vec<(&'static str, Row)>,
    /// Link prediction: both directions, heads, tails.
    pub link_prediction: Vec<(&'static str, Row)>,
    /// How the numbers come about.
    pub protocol: String,
    /// What else to know.
    pub notes: Vec<String>,
}

/// Results on one set of queries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// Over all hard answers.
    pub metrics: Metrics,
    /// Over those that need one predicted link.
    pub one_link: Option<Metrics>,
    /// Over those whose every edge is missing.
    pub full_inference: Option<Metrics>,
    /// The frequency baseline's, over all hard answers.
    pub baseline: Option<Metrics>,
}

impl Valid {
    /// The mean over these structures; `None` where one of them is missing, or there are none.
    pub fn mean_over(&self, structures: &[String]) -> Option<f64> {
        let mrr = |name: &String| self.mrr.iter().find(|(other, _)| other == name).map(|(_, mrr)| *mrr);
        let all: Vec<f64> = structures.iter().map(mrr).collect::<Option<_>>()?;
        (!all.is_empty()).then(|| all.iter().sum::<f64>() / all.len() as f64)
    }
}

impl Test {
    /// The structures that an average of this name is over.
    pub fn averaged(&self, average: &str) -> Vec<String> {
        let negation = average == AVERAGES[1].0;
        let names =
            self.structures.iter().map(|(name, _)| name).filter(|name| has_negation(name) == negation);
        names.cloned().collect()
    }

    /// The mean over these structures; `None` where one of them is missing.
    pub fn mean_over(&self, structures: &[String]) -> Option<Row> {
        let row =
            |name: &String| self.structures.iter().find(|(other, _)| other == name).map(|(_, row)| *row);
        let rows: Vec<Row> = structures.iter().map(row).collect::<Option<_>>()?;
        let metrics = Metrics::mean(&rows.iter().map(|row| row.metrics).collect::<Vec<_>>())?;
        let baselines: Option<Vec<Metrics>> = rows.iter().map(|row| row.baseline).collect();
        let baseline = baselines.and_then(|all| Metrics::mean(&all));
        Some(Row { metrics, one_link: None, full_inference: None, baseline })
    }
}

/// Averages by name, with their key in a report and whether they are over structures with a negation.
const AVERAGES: [(&str, &str, bool); 2] =
    [("average", "without_negation", false), ("average, negation", "with_negation", true)];

/// Entities up to which a graph's degrees are counted, which takes 16 bytes each.
pub const MAX_ENTITIES: usize = 5_000_000;

impl RunData {
    /// Reads a run folder, whose run may still be going on.
    pub fn read(folder: &RunFolder) -> Result<Self> {
        let path = folder.path();
        let absolute = std::path::absolute(path).map_err(Error::io(path))?;
        let name = absolute.file_name().unwrap_or(absolute.as_os_str()).to_string_lossy().into_owned();
        let (train, valid) = read_log(&folder.file(log::NAME))?;
        let graph = folder.graph()?;
        Ok(RunData {
            name,
            config: folder.config()?,
            info: folder.info()?,
            train,
            valid,
            test: read_test(&folder.file("test.json"))?,
            examples: examples::read(folder)?,
            calibrations: calibration::read(folder)?,
            dataset: describe(&graph),
        })
    }

    /// The evaluation whose model was kept.
    pub fn best(&self) -> Option<&Valid> {
        self.valid.iter().rev().find(|valid| valid.best)
    }

    /// Steps done, as far as the log knows.
    pub fn steps_done(&self) -> u64 {
        self.train.iter().map(|t| t.step).chain(self.valid.iter().map(|v| v.step)).max().unwrap_or(0)
    }
}

/// A file's text; `None` where there is no such file.
fn text(path: &Path) -> Result<Option<String>> {
    match std::fs::read(path) {
        // A part of a character may be at the end of a log that is being written.
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(path)(e)),
    }
}

/// The lines of a log; what is no whole line, because a process was killed or is at it, is passed over.
fn read_log(path: &Path) -> Result<(Vec<Stretch>, Vec<Valid>)> {
    let (mut train, mut valid) = (Vec::new(), Vec::new());
    for line in text(path)?.unwrap_or_default().lines() {
        let Ok(record) = serde_json::from_str::<Value>(line) else { continue };
        match record["kind"].as_str() {
            Some("train") => train.extend(serde_json::from_value::<Stretch>(record)),
            Some("valid") => {
                let results = record["multi_hop"].as_object().into_iter().flatten();
                let (Some(step), Some(mean_mrr)) = (record["step"].as_u64(), record["mean_mrr"].as_f64())
                else {
                    continue;
                };
                valid.push(Valid {
                    step,
                    mean_mrr,
                    best: record["best"] == true,
                    mrr: results.filter_map(|(s, m)| Some((s.clone(), m["mrr"].as_f64()?))).collect(),
                });
            }
            _ => {}
        }
    }
    Ok((train, valid))
}

fn read_test(path: &Path) -> Result<Option<Test>> {
    let Some(text) = text(path)? else { return Ok(None) };
    let report: Value = serde_json::from_str(&text).map_err(|e| {
        Error::file(path, format!("is no report ({e}): make it again with smore train --resume"))
    })?;
    let metrics = |value: &Value| serde_json::from_value::<Metrics>(value.clone()).ok();
    let row = |results: &Value, baseline: &Value| {
        Some(Row {
            metrics: metrics(results)?,
            one_link: metrics(&results["one_link"]),
            full_inference: metrics(&results["full_inference"]),
            baseline: metrics(baseline),
        })
    };
    let baseline = &report["baseline"];
    let structures: Vec<(String, Row)> = report["multi_hop"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(name, m)| Some((name.clone(), row(m, &baseline["multi_hop"][name])?)))
        .collect();
    // The report has no averages of the baseline.
    let average = |key: &str, negation: bool| {
        let theirs = structures.iter().filter(|(name, _)| has_negation(name) == negation);
        let theirs: Option<Vec<Metrics>> = theirs.map(|(_, row)| row.baseline).collect();
        let metrics = metrics(&report["average"][key])?;
        let baseline = theirs.and_then(|all| Metrics::mean(&all));
        Some(Row { metrics, one_link: None, full_inference: None, baseline })
    };
    let links = [("both directions", None), ("heads", Some("head")), ("tails", Some("tail"))];
    let link = |key: Option<&str>| {
        let of = |value: &Value| key.map_or_else(|| value.clone(), |key| value[key].clone());
        row(&of(&report["link_prediction"]), &of(&baseline["link_prediction"]))
    };
    Ok(Some(Test {
        averages: AVERAGES.iter().filter_map(|&(name, key, n)| Some((name, average(key, n)?))).collect(),
        link_prediction: links.iter().filter_map(|&(name, key)| Some((name, link(key)?))).collect(),
        structures,
        protocol: report["protocol"].as_str().unwrap_or_default().to_string(),
        notes: report["notes"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(Into::into)
            .collect(),
    }))
}

/// Whether a structure's text has a negation.
fn has_negation(text: &str) -> bool {
    crate::query::parse_structure(text).is_ok_and(|structure| structure.has_negation())
}

/// The graph in numbers.
fn describe(graph: &KnowledgeGraph) -> Vec<(String, String)> {
    let mut rows: Vec<(String, String)> = vec![
        ("entities".into(), count(graph.num_entities())),
        ("relations".into(), count(graph.num_relations() / 2)),
    ];
    for split in [Split::Train, Split::Valid, Split::Test] {
        rows.push((format!("facts of {}", split.name()), count(graph.split(split).num_edges() / 2)));
    }
    if graph.num_entities() <= MAX_ENTITIES {
        let train = graph.split(Split::Train);
        let degrees = stats::degrees(train, 0);
        rows.push(("facts of an entity, median".into(), degrees.median.to_string()));
        rows.push(("facts of an entity, mean".into(), format!("{:.1}", degrees.mean)));
        rows.push(("facts of an entity, most".into(), count(degrees.max)));
        let relations = stats::relations(train, graph.num_relations());
        for kind in Cardinality::ALL {
            let of_kind = relations.iter().filter(|r| r.cardinality == Some(kind)).count();
            rows.push((format!("{} relations", kind.name()), count(of_kind)));
        }
    }
    rows.push(("graph file".into(), bytes(graph.size_in_bytes())));
    rows
}
