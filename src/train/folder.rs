//! The folder of a run: everything that is needed to go on with it, evaluate it and query it.
//!
//! | file | what |
//! | --- | --- |
//! | `config.toml` | the resolved configuration; itself a valid `--config` |
//! | `run.json` | version of smore, dataset, graph, device, steps, machine, what training took |
//! | `graph.smore` | the graph: a hard link to the cached one where that is possible, a copy of a graph file that the user named |
//! | `entities.tsv`, `relations.tsv` | row number, name and label of the rows of the model's tables; a backslash, tab, line feed or carriage return in them is written as `\\`, `\t`, `\n` or `\r` |
//! | `model.safetensors` | the best model by valid; with `training.table = "file"` the last one, without entity rows |
//! | `entities.table` | with `training.table = "file"`: the entity rows and their optimizer state, of the last state ([`super::row_file`]); then there is no `entities.tsv`, rows are in the order of the graph's entities |
//! | `state.safetensors` | the last state, with the optimizer's, to resume from |
//! | `manifest.json` | length and checksum of the files above and of `test.json` ([`super::manifest`]) |
//! | `metrics.jsonl` | one JSON document a line, of `kind` `train`, `valid` or `test` ([`super::log`] has every field) |
//! | `tensorboard/` | the same numbers as an event file |
//! | `test.json` | the report at the end |
//! | `report.html` | curves, tables and configuration to look at ([`crate::report`]) |

use super::info::RunInfo;
use super::manifest::{self, Entry, GRAPH, Manifest, Summed, accepted, refused};
use super::row_file::{self, RowFile};
use crate::config::{Config, TableKind};
use crate::error::{Error, Result};
use crate::graph::KnowledgeGraph;
use crate::ids::RelationId;
use crate::storage::atomic;
use crate::storage::place::{Placed, place};
use crate::storage::verified::Verified;
use crate::table::{count, quoted};
use std::borrow::Cow;
use std::cell::RefCell;
use std::fs::{DirEntry, File, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

/// The last state, to resume from.
pub(super) const STATE: &str = "state.safetensors";

/// The best model.
pub(super) const MODEL: &str = "model.safetensors";

/// The configuration.
const CONFIG: &str = "config.toml";

/// What else a run writes and uses again.
const OTHERS: [&str; 4] = ["entities.tsv", "relations.tsv", "run.json", "test.json"];

/// A run folder, locked while this value lives if it was made or taken up for training.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// Held for its lock.
    _lock: Option<File>,
    /// What its files must be; `None` where that is not known, or of no interest.
    manifest: RefCell<Option<Manifest>>,
    /// What the user should know.
    notes: Vec<String>,
    /// How the graph came here, where the folder was made just now.
    placed: Option<Placed>,
    /// Which files were found whole.
    verified: Option<Verified>,
    /// Whether changed files are used as they are.
    accepted: bool,
}

/// What to do where a file of a run folder is not what the run wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Changes {
    /// An error that names the file.
    #[default]
    Refuse,
    /// A note; the file is used as it is.
    Accept,
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
    /// Its graph is linked only where `may_link`, which is for files of smore's own cache: they never change. Another file
    /// is copied, so that the run does not depend on what becomes of it. Errors where `path` exists already: a run is never
    /// overwritten.
    pub fn create(
        path: Option<&Path>,
        config: &Config,
        graph: &KnowledgeGraph,
        may_link: bool,
    ) -> Result<Self> {
        let path = match path {
            Some(path) => {
                if let Some(parent) = path.parent() {
                    std::fs::create_dir_all(parent).map_err(Error::io(parent))?;
                }
                std::fs::create_dir(path).or_else(|e| match e.kind() {
                    // A process that was killed at its start left it, with nothing in it to lose.
                    ErrorKind::AlreadyExists if is_unbegun(path) => Ok(()),
                    ErrorKind::AlreadyExists => Err(Error::file(
                        path,
                        "exists already: choose another --run-dir, or go on with it by --resume",
                    )),
                    _ => Err(Error::io(path)(e)),
                })?;
                path.to_path_buf()
            }
            None => {
                let path = Self::default_path(config, graph);
                first_free(Path::new("runs"), &path.file_name().expect("it has a name").to_string_lossy())?
            }
        };
        let mut folder = Self::take(path)?;
        folder.sweep();
        *folder.manifest.borrow_mut() = Some(Manifest::default());
        let placed = folder.fill(config, graph, may_link).inspect_err(|_| folder.discard_unless_saved())?;
        folder.placed = Some(placed);
        Ok(folder)
    }

    /// Where a run goes of which nobody says where; with a number behind it where that is taken.
    pub fn default_path(config: &Config, graph: &KnowledgeGraph) -> PathBuf {
        Path::new("runs").join(format!("{}-{}", graph.dataset(), config.model.name))
    }

    /// Writes what does not change in a run.
    fn fill(&self, config: &Config, graph: &KnowledgeGraph, may_link: bool) -> Result<Placed> {
        let target = self.file(GRAPH);
        let _ = std::fs::remove_file(&target);
        let placed = place(graph.path(), &target, may_link)?;
        let listed = Manifest::of_folder(&self.path, &[GRAPH])?;
        *self.manifest.borrow_mut() = Some(listed);
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
        self.set_config(config)?;
        Ok(placed)
    }

    /// Removes the folder of a new run that failed before it had saved anything to resume from.
    pub fn discard_unless_saved(&self) {
        if !self.file(STATE).is_file() {
            // What cannot be removed is no worse than what made the run fail.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }

    fn write_lines(&self, name: &str, mut lines: impl Iterator<Item = String>) -> Result<()> {
        let path = self.file(name);
        atomic::write(&path, |out| {
            let mut out = Summed::new(out);
            lines.try_for_each(|l| out.write_all(l.as_bytes())).map_err(Error::io(&path))?;
            self.note(name, out.entry())
        })
    }

    /// Notes in the manifest what file `name` is going to be. To be called when all of it is written, under its
    /// temporary name.
    pub fn note(&self, name: &str, entry: Entry) -> Result<()> {
        match &mut *self.manifest.borrow_mut() {
            Some(manifest) => {
                manifest.note(name, entry);
                manifest.write(&self.path)
            }
            None => Ok(()),
        }
    }

    /// Notes in the manifest that all files are in their places.
    pub fn settle(&self) -> Result<()> {
        match &mut *self.manifest.borrow_mut() {
            Some(manifest) => {
                manifest.settle();
                manifest.write(&self.path)
            }
            None => Ok(()),
        }
    }

    /// Writes a file, and before it its entry in the manifest.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.note(name, Entry::of_bytes(bytes))?;
        atomic::write_bytes(&self.file(name), bytes)
    }

    /// Opens a finished or stopped run to read from. Its files must be what the run wrote: all but model and state
    /// are read and compared with its manifest now, those when they are used.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, Changes::Refuse)
    }

    /// As [`RunFolder::open`], with a choice of what to do where a file was changed.
    pub fn open_with(path: &Path, changes: Changes) -> Result<Self> {
        let manifest = match Manifest::read(path) {
            Err(_) if changes == Changes::Accept => Ok(None),
            manifest => manifest,
        }?;
        let lost = |m: &Manifest| matches!(m.difference(path, CONFIG), Ok(Some(_)));
        if !path.join(CONFIG).is_file() && !manifest.as_ref().is_some_and(lost) {
            let remedy = "give the folder that smore train printed";
            return Err(Error::file(
                path,
                if path.join(LOCK).is_file() && is_unbegun(path) {
                    let path = path.display();
                    format!(
                        "is the folder of a run that was killed before it began: start it again with smore train --run-dir {path}"
                    )
                } else if path.is_dir() {
                    format!("is not a run folder (it has no config.toml): {remedy}")
                } else {
                    format!("no such run folder: {remedy}")
                },
            ));
        }
        let mut folder = RunFolder {
            path: path.to_path_buf(),
            _lock: None,
            manifest: RefCell::new(manifest),
            notes: Vec::new(),
            placed: None,
            verified: None,
            accepted: changes == Changes::Accept,
        };
        let Some(manifest) = folder.manifest.get_mut().clone() else {
            folder.notes.push(format!(
                "{} has no {} to tell whether its files are what the run wrote",
                path.display(),
                manifest::NAME
            ));
            return Ok(folder);
        };
        match changes {
            Changes::Refuse => {
                let small = manifest.names().filter(|&name| name != STATE && name != MODEL);
                small.into_iter().try_for_each(|name| folder.check(name))?;
            }
            Changes::Accept => {
                for name in manifest.names() {
                    if let Some(difference) = manifest.difference(path, name)? {
                        folder.notes.push(accepted(&difference));
                    }
                }
                *folder.manifest.get_mut() = None;
            }
        }
        Ok(folder)
    }

    /// That file `name` is what the run wrote. Reads all of it.
    fn check(&self, name: &str) -> Result<()> {
        let Some(mut manifest) = self.manifest.borrow().clone() else { return Ok(()) };
        while let Some(difference) = manifest.difference(&self.path, name)? {
            // A run that is going on may have replaced it since the manifest was read.
            match Manifest::read(&self.path)? {
                Some(newer) if newer != manifest => manifest = newer,
                _ => return Err(refused(&self.path, &difference)),
            }
        }
        Ok(())
    }

    /// That the entity rows of a run are what it wrote; a note for the user where they are not and that is accepted.
    /// Reads all of them unless they are remembered.
    pub fn check_rows(&self, rows: &mut RowFile) -> Result<Option<String>> {
        let path = self.file(row_file::NAME);
        let file = std::fs::metadata(&path).map_err(Error::io(&path))?;
        if self.verified.as_ref().is_some_and(|verified| verified.contains(&path, &file)) {
            return Ok(None);
        }
        match rows.difference()? {
            None => {
                self.verified.iter().for_each(|verified| verified.remember(&path, &file));
                Ok(None)
            }
            Some(difference) if self.accepted => {
                rows.accept();
                Ok(Some(accepted(&difference)))
            }
            Some(difference) => Err(refused(&self.path, &difference)),
        }
    }

    /// Remembers which files were found whole, and does not read those again.
    pub fn remembering(self, verified: Verified) -> Self {
        RunFolder { verified: Some(verified), ..self }
    }

    /// What the user should know of the folder.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Opens a stopped run to go on with it. All its files must be what the run wrote.
    pub fn resume(path: &Path) -> Result<Self> {
        Self::resume_with(path, Changes::Refuse)
    }

    /// As [`RunFolder::resume`], with a choice of what to do where a file was changed. What is accepted is the run's
    /// from then on.
    pub fn resume_with(path: &Path, changes: Changes) -> Result<Self> {
        Self::open_with(path, changes)?;
        let lock = Self::take(path.to_path_buf())?._lock;
        // Again: until now another process may have been training.
        let folder = RunFolder { _lock: lock, ..Self::open_with(path, changes)? };
        if folder._lock.is_some() {
            folder.sweep();
        }
        [STATE, MODEL].into_iter().try_for_each(|name| folder.check(name))?;
        folder.manifest.borrow_mut().as_mut().map_or(Ok(()), |manifest| manifest.keep_present(path))?;
        if folder.manifest.borrow().is_none() {
            let names = [&[GRAPH, CONFIG, STATE, MODEL][..], &OTHERS].concat();
            *folder.manifest.borrow_mut() = Some(Manifest::of_folder(path, &names)?);
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
        let name = path.join(LOCK);
        let lock = File::create(&name).map_err(|e| match e.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Error::file(
                &name,
                format!("{e}: the run folder cannot be written to, and nothing in it was changed; copy it to where it can"),
            ),
            _ => Error::io(&name)(e),
        })?;
        match lock.try_lock() {
            Ok(()) => Ok(Self::without_manifest(path, Some(lock))),
            Err(TryLockError::WouldBlock) => {
                Err(Error::file(&path, "another smore is training in this run folder"))
            }
            // Some file systems have no locks: then nothing guards against a second process.
            Err(TryLockError::Error(_)) => Ok(Self::without_manifest(path, None)),
        }
    }

    fn without_manifest(path: PathBuf, lock: Option<File>) -> Self {
        RunFolder {
            path,
            _lock: lock,
            manifest: RefCell::new(None),
            notes: Vec::new(),
            placed: None,
            verified: None,
            accepted: false,
        }
    }

    /// How the graph came here, where the folder was made just now.
    pub fn placed(&self) -> Option<Placed> {
        self.placed
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The last state, to resume from.
    pub fn state(&self) -> PathBuf {
        self.file(STATE)
    }

    /// What there is to resume from after a failure, in words.
    pub fn kept(&self) -> String {
        let run = quoted(&self.path.to_string_lossy());
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
        Config::load(Some(&self.file(CONFIG)), &[])
    }

    /// Replaces its configuration.
    pub fn set_config(&self, config: &Config) -> Result<()> {
        self.write(CONFIG, config.explicit().to_toml().as_bytes())
    }

    /// Its graph, all of which is read and checked unless it is remembered.
    pub fn graph(&self) -> Result<KnowledgeGraph> {
        let path = self.file(GRAPH);
        let opened = match &self.verified {
            Some(verified) => KnowledgeGraph::open_known(&path, verified),
            None => KnowledgeGraph::open(&path),
        };
        opened.map_err(|error| match error {
            Error::File { path, message } if path == self.file(GRAPH) => {
                Error::File { path, message: format!("{message}, and copy the graph file here") }
            }
            other => other,
        })
    }

    /// The best model; an error that says what to do where training has not saved one.
    pub fn model(&self) -> Result<PathBuf> {
        let path = self.file(MODEL);
        self.check(MODEL)?;
        if path.is_file() {
            return Ok(path);
        }
        let run = quoted(&self.path.to_string_lossy());
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
        self.write("run.json", &text)
    }
}

/// The file whose lock tells that a process is training in the folder.
const LOCK: &str = ".lock";

/// Whether a folder holds nothing but what a run writes before it begins.
fn is_unbegun(path: &Path) -> bool {
    let begun = |file: DirEntry| {
        let name = file.file_name();
        let known = [LOCK, GRAPH, manifest::NAME, OTHERS[0], OTHERS[1]].iter().any(|known| name == *known);
        !known && !atomic::is_temporary(&file.path())
    };
    std::fs::read_dir(path).is_ok_and(|mut files| !files.any(|file| file.map_or(true, begun)))
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
