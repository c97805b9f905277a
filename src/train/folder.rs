//! The folder of a run: everything that is needed to go on with it, evaluate it and query it.
//!
//! | file | what |
//! | --- | --- |
//! | `config.toml` | the resolved configuration; itself a valid `--config` |
//! | `run.json` | version of smore, dataset, graph, device, steps, machine, what training took |
//! | `graph.smore` | the graph, a hard link to the cached one where that is possible |
//! | `entities.tsv`, `relations.tsv` | row number, name and label of the rows of the model's tables; a backslash, tab, line feed or carriage return in them is written as `\\`, `\t`, `\n` or `\r` |
//! | `model.safetensors` | the best model by valid; with `training.table = "file"` the last one, without entity rows |
//! | `entities.table` | with `training.table = "file"`: the entity rows and their optimizer state, of the last state ([`super::row_file`]); then there is no `entities.tsv`, rows are in the order of the graph's entities |
//! | `state.safetensors` | the last state, with the optimizer's, to go on from |
//! | `metrics.jsonl` | one JSON document a line, of `kind` `train`, `valid` or `test` ([`super::log`] has every field) |
//! | `tensorboard/` | the same numbers as an event file |
//! | `test.json` | the report at the end |
//! | `report.html` | curves, tables and configuration to look at ([`crate::report`]) |

use super::run::Usage;
use crate::config::{Config, TableKind};
use crate::error::{Error, Result};
use crate::graph::KnowledgeGraph;
use crate::ids::RelationId;
use crate::process;
use crate::storage::atomic;
use crate::storage::verified::Verified;
use crate::table::count;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

/// Its graph.
const GRAPH: &str = "graph.smore";

/// A run folder, locked while this value lives if it was made or taken up for training.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// Held for its lock.
    _lock: Option<File>,
}

/// `run.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// Version of smore.
    pub version: String,
    /// Name of the dataset.
    pub dataset: String,
    /// Fingerprint of the graph, in hexadecimal.
    pub graph: String,
    /// Device and instruction set.
    pub device: String,
    /// Steps of the whole run.
    pub steps: u64,
    /// Where it was trained last.
    #[serde(default)]
    pub machine: Machine,
    /// Trained numbers.
    #[serde(default)]
    pub num_parameters: usize,
    /// What training took since the run was begun or taken up again, once that has ended.
    #[serde(default)]
    pub usage: Option<Usage>,
}

/// A machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Name of the processor, where the system tells it.
    pub processor: Option<String>,
    /// Cores that this process may use.
    pub cores: usize,
    /// Memory in bytes, swap included, where the system tells it.
    pub memory_bytes: Option<u64>,
    /// Operating system and architecture.
    pub system: String,
}

impl Machine {
    /// This one.
    pub fn this() -> Self {
        Machine {
            processor: process::processor(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: process::total_memory(),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        }
    }
}

/// A name as it stands in a column of a `.tsv` file.
fn cell(text: &str) -> Cow<'_, str> {
    if !text.contains(['\\', '\t', '\n', '\r']) {
        return text.into();
    }
    text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r").into()
}

impl RunFolder {
    /// Makes a new run folder at `path`, or, without one, `runs/DATASET-MODEL` with the first free number.
    ///
    /// Errors where `path` exists already: a run is never overwritten.
    pub fn create(path: Option<&Path>, config: &Config, graph: &KnowledgeGraph) -> Result<Self> {
        let path = match path {
            Some(path) => {
                if let Some(parent) = path.parent() {
                    std::fs::create_dir_all(parent).map_err(Error::io(parent))?;
                }
                std::fs::create_dir(path).map_err(|e| match e.kind() {
                    ErrorKind::AlreadyExists => Error::file(
                        path,
                        "exists already: choose another --run-dir, or go on with it by --resume",
                    ),
                    _ => Error::io(path)(e),
                })?;
                path.to_path_buf()
            }
            None => first_free(Path::new("runs"), &format!("{}-{}", graph.dataset(), config.model.name))?,
        };
        let folder = Self::take(path)?;
        folder.fill(config, graph).inspect_err(|_| folder.discard_unless_saved())?;
        Ok(folder)
    }

    /// Writes what does not change in a run.
    fn fill(&self, config: &Config, graph: &KnowledgeGraph) -> Result<()> {
        let target = self.file(GRAPH);
        if std::fs::hard_link(graph.path(), &target).is_err() {
            atomic::write_by_path(&target, |temporary| {
                std::fs::copy(graph.path(), temporary).map(drop).map_err(Error::io(&target))
            })?;
        }
        let entities = (0..graph.num_entities() as u32).map(|id| {
            let names = graph.entities();
            format!("{id}\t{}\t{}\n", cell(&names.name(id)), cell(&names.label(id).unwrap_or_default()))
        });
        // A table that may not fit into memory is as long as its names are: the graph has them.
        if config.training.table == TableKind::Memory {
            self.write_lines("entities.tsv", entities)?;
        }
        let relations = (0..graph.num_relations() as u32).map(RelationId).map(|relation| {
            let (names, id) = (graph.relations(), relation.0 / 2);
            let inverse = if relation.is_inverse() { "^" } else { "" };
            let label = names.label(id).map(|label| format!("{inverse}{}", cell(&label))).unwrap_or_default();
            format!("{}\t{inverse}{}\t{label}\n", relation.0, cell(&names.name(id)))
        });
        self.write_lines("relations.tsv", relations)?;
        // Last: a folder with a configuration is whole.
        self.set_config(config)
    }

    /// Removes the folder of a new run that failed before it had saved anything to go on from.
    pub fn discard_unless_saved(&self) {
        if !self.state().is_file() {
            // What cannot be removed is no worse than what made the run fail.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }

    fn write_lines(&self, name: &str, mut lines: impl Iterator<Item = String>) -> Result<()> {
        let path = self.file(name);
        atomic::write(&path, |out| {
            lines.try_for_each(|l| out.write_all(l.as_bytes())).map_err(Error::io(&path))
        })
    }

    /// Opens a finished or stopped run to read from.
    pub fn open(path: &Path) -> Result<Self> {
        if !path.join("config.toml").is_file() {
            let message = if path.is_dir() {
                "is not a run folder (it has no config.toml)"
            } else {
                "no such run folder"
            };
            return Err(Error::file(path, format!("{message}: give the folder that smore train printed")));
        }
        Ok(RunFolder { path: path.to_path_buf(), _lock: None })
    }

    /// Opens a stopped run to go on with it.
    pub fn resume(path: &Path) -> Result<Self> {
        Self::open(path)?;
        let folder = Self::take(path.to_path_buf())?;
        if folder._lock.is_some() {
            folder.sweep();
        }
        Ok(folder)
    }

    /// Removes half-written files of a process that was killed; nobody else writes here now.
    fn sweep(&self) {
        for file in std::fs::read_dir(&self.path).into_iter().flatten().flatten() {
            if atomic::is_temporary(&file.path()) {
                let _ = std::fs::remove_file(file.path());
            }
        }
    }

    fn take(path: PathBuf) -> Result<Self> {
        let name = path.join(".lock");
        let lock = File::create(&name).map_err(|e| match e.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Error::file(
                &name,
                format!("{e}: the run folder cannot be written to, and nothing in it was changed; copy it to where it can"),
            ),
            _ => Error::io(&name)(e),
        })?;
        match lock.try_lock() {
            Ok(()) => Ok(RunFolder { path, _lock: Some(lock) }),
            Err(TryLockError::WouldBlock) => {
                Err(Error::file(&path, "another smore is training in this run folder"))
            }
            // Some file systems have no locks: then nothing guards against a second process.
            Err(TryLockError::Error(_)) => Ok(RunFolder { path, _lock: None }),
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The last state, to go on from.
    pub fn state(&self) -> PathBuf {
        self.file("state.safetensors")
    }

    /// What there is to go on from after a failure, in words.
    pub fn kept(&self) -> String {
        let run = self.path.display();
        match super::checkpoint::read_meta(&self.state()) {
            Ok(meta) => format!(
                "the state of step {} and the best model until then are kept; go on with smore train --resume {run}",
                count(meta.step)
            ),
            Err(_) if self.state().exists() => format!("what is in {run} is left as it was"),
            Err(_) => "nothing had been saved yet".into(),
        }
    }

    /// Its configuration.
    pub fn config(&self) -> Result<Config> {
        Config::resolve(Some(&self.file("config.toml")), &[])
    }

    /// Replaces its configuration.
    pub fn set_config(&self, config: &Config) -> Result<()> {
        atomic::write_bytes(&self.file("config.toml"), config.explicit().to_toml().as_bytes())
    }

    /// Its graph; all of it is read and checked.
    pub fn graph(&self) -> Result<KnowledgeGraph> {
        self.whole(KnowledgeGraph::open(&self.file(GRAPH)))
    }

    /// Its graph, which is read and checked unless `verified` knows it.
    pub fn known_graph(&self, verified: &Verified) -> Result<KnowledgeGraph> {
        self.whole(KnowledgeGraph::open_known(&self.file(GRAPH), verified))
    }

    /// Adds to an error how a run gets a whole graph again.
    fn whole(&self, opened: Result<KnowledgeGraph>) -> Result<KnowledgeGraph> {
        opened.map_err(|error| match error {
            Error::File { path, message } if path == self.file(GRAPH) => {
                Error::File { path, message: format!("{message}, and copy the graph file here") }
            }
            other => other,
        })
    }

    /// The best model; an error that says what to do where training has not saved one.
    pub fn model(&self) -> Result<PathBuf> {
        let path = self.file("model.safetensors");
        if path.is_file() {
            return Ok(path);
        }
        let run = self.path.display();
        Err(Error::file(
            &self.path,
            format!("has no model yet: train it further with smore train --resume {run}"),
        ))
    }

    /// Reads `run.json`.
    pub fn info(&self) -> Result<RunInfo> {
        let path = self.file("run.json");
        let bytes = std::fs::read(&path).map_err(Error::io(&path))?;
        let broken =
            |e| Error::file(&path, format!("is not what smore wrote ({e}): train again, or use another run"));
        serde_json::from_slice(&bytes).map_err(broken)
    }

    /// Writes `run.json`.
    pub fn write_info(&self, info: &RunInfo) -> Result<()> {
        let text = serde_json::to_vec_pretty(info).expect("plain data");
        atomic::write_bytes(&self.file("run.json"), &text)
    }
}

/// Makes `runs/name`, or `runs/name-2`, `runs/name-3`, ...
fn first_free(runs: &Path, name: &str) -> Result<PathBuf> {
    std::fs::create_dir_all(runs).map_err(Error::io(runs))?;
    for number in 1.. {
        let path = runs.join(if number == 1 { name.to_string() } else { format!("{name}-{number}") });
        match std::fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(Error::io(&path)(e)),
        }
    }
    unreachable!("there are fewer folders than numbers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_column() {
        assert_eq!(cell("plain name"), "plain name");
        assert_eq!(cell("a\tb\nc\rd\\e"), "a\\tb\\nc\\rd\\\\e");
    }
}
