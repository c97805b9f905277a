//! The user's cache folder: imported graphs by content, and the names given to them.
//!
//! ```text
//! graphs/NAME-KEY.smore    KEY is the hash of the source files (if any), the options and the format version
//! names/NAME.json          where the graph is that was last imported or generated with `--name NAME`
//! derived/FINGERPRINT/     what was made from the graph with this fingerprint
//! verified/                which graph files were found whole (see [`Verified`])
//! kernels/                 kernels, compiled for this machine's GPUs
//! ```

use crate::error::{Error, Result};
use crate::graph::builder::check_dataset_name;
use crate::storage::atomic;
use crate::storage::verified::Verified;
use etcetera::BaseStrategy;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A cache folder; it is created at the first write.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
}

/// What is remembered of a named import.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NamedGraph {
    /// The name.
    pub name: String,
    /// The graph file, as an absolute path.
    pub graph: PathBuf,
    /// The folder that it was imported from, or `(generated)`.
    pub source: PathBuf,
}

impl Cache {
    /// The cache in `folder`, or in `smore` in the user's cache folder (`$XDG_CACHE_HOME`, `~/.cache`).
    pub fn new(folder: Option<&Path>) -> Result<Self> {
        let folder = match folder {
            Some(folder) => folder.to_path_buf(),
            None => etcetera::choose_base_strategy()
                .map_err(|e| Error::invalid(format!("no cache folder ({e}): name one with --cache-dir")))?
                .cache_dir()
                .join("smore"),
        };
        Ok(Cache { folder })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Adds to the error of a write into the cache that another one can be named.
    pub fn explain(&self, error: Error) -> Error {
        use std::io::ErrorKind::{AlreadyExists, NotADirectory, PermissionDenied, ReadOnlyFilesystem};
        match error {
            Error::Io { path, source }
                if path.starts_with(&self.folder)
                    && matches!(
                        source.kind(),
                        PermissionDenied | ReadOnlyFilesystem | NotADirectory | AlreadyExists
                    ) =>
            {
                let remedy = "name a folder for imported graphs that can be written with --cache-dir";
                Error::file(path, format!("{source}: {remedy} (or SMORE_CACHE)"))
            }
            other => other,
        }
    }

    /// Where the graph with this key is or will be.
    pub fn graph(&self, name: &str, key: &str) -> PathBuf {
        self.folder.join("graphs").join(format!("{name}-{key}.smore"))
    }

    /// Whether `path` is a graph file of this cache, which is never changed in place.
    pub fn has(&self, path: &Path) -> bool {
        let real = |path: &Path| path.canonicalize().ok();
        real(path)
            .zip(real(&self.folder.join("graphs")))
            .is_some_and(|(file, graphs)| file.starts_with(graphs))
    }

    /// Where other parts keep what they derive from the graph with this fingerprint.
    pub fn derived(&self, fingerprint: u64) -> PathBuf {
        self.folder.join("derived").join(format!("{fingerprint:016x}"))
    }

    /// Which graph files were found whole.
    pub fn verified(&self) -> Verified {
        Verified::new(&self.folder.join("verified"))
    }

    /// Where kernels are kept that were compiled for this machine's GPUs.
    pub fn kernels(&self) -> PathBuf {
        self.folder.join("kernels")
    }

    fn name_file(&self, name: &str) -> PathBuf {
        self.folder.join("names").join(format!("{}.json", name.to_lowercase()))
    }

    /// Remembers that `entry.name` means `entry.graph` from now on.
    pub fn remember(&self, entry: &NamedGraph) -> Result<()> {
        check_dataset_name(&entry.name)?;
        for path in [&entry.graph, &entry.source] {
            if path.to_str().is_none() {
                let message =
                    "its path is not UTF-8, and smore remembers names as JSON: rename the folder or file";
                return Err(Error::file(path, message));
            }
        }
        let text = serde_json::to_vec_pretty(entry).expect("plain data");
        atomic::write_bytes(&self.name_file(&entry.name), &text).map_err(|e| self.explain(e))
    }

    /// The graph imported under `name`, in any case; `None` where there is none, or its file is gone.
    pub fn recall(&self, name: &str) -> Option<NamedGraph> {
        check_dataset_name(name).ok()?;
        let text = std::fs::read(self.name_file(name)).ok()?;
        serde_json::from_slice::<NamedGraph>(&text).ok().filter(|entry| entry.graph.is_file())
    }

    /// All graphs imported under a name, by name.
    pub fn named(&self) -> Vec<NamedGraph> {
        let Ok(files) = std::fs::read_dir(self.folder.join("names")) else { return Vec::new() };
        let stem = |path: PathBuf| Some(path.file_stem()?.to_str()?.to_owned());
        let mut entries: Vec<NamedGraph> =
            files.flatten().filter_map(|file| self.recall(&stem(file.path())?)).collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        entries
    }
}

/// What [`Cache::remove`] did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Removal {
    /// Graph files that are gone, with their lengths.
    pub files: Vec<(PathBuf, u64)>,
    /// The graph file outside of the cache that had the name; it is left where it is.
    pub kept: Option<PathBuf>,
}

impl Cache {
    /// Removes the graph files of a dataset (in any case) and forgets its name. Touches nothing outside of the cache.
    ///
    /// Errors where there is nothing of that name.
    pub fn remove(&self, name: &str) -> Result<Removal> {
        let mut files = self.graphs();
        let mut known: Vec<String> = files.iter().map(|(dataset, _)| dataset.clone()).collect();
        known.extend(self.named().into_iter().map(|entry| entry.name));
        known.sort_unstable();
        known.dedup();
        files.retain(|(dataset, _)| dataset.eq_ignore_ascii_case(name));
        let entry = check_dataset_name(name).ok().and_then(|()| {
            serde_json::from_slice::<NamedGraph>(&std::fs::read(self.name_file(name)).ok()?).ok()
        });
        if files.is_empty() && entry.is_none() {
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(Error::invalid(format!("no graph of {name:?} is in the cache; there are {known}")));
        }
        let mut removal = Removal::default();
        for (_, path) in files {
            let file = std::fs::symlink_metadata(&path).map_err(Error::io(&path))?;
            self.verified().forget(&path, &file);
            std::fs::remove_file(&path).map_err(Error::io(&path))?;
            removal.files.push((path, file.len()));
        }
        if let Some(entry) = entry {
            let path = self.name_file(name);
            std::fs::remove_file(&path).map_err(Error::io(&path))?;
            removal.kept = Some(entry.graph).filter(|graph| graph.is_file());
        }
        Ok(removal)
    }

    /// The graph files with the names of their datasets, by path.
    fn graphs(&self) -> Vec<(String, PathBuf)> {
        let Ok(files) = std::fs::read_dir(self.folder.join("graphs")) else { return Vec::new() };
        let named = files.flatten().filter(|file| file.file_type().is_ok_and(|kind| !kind.is_dir()));
        let named = named.filter_map(|file| {
            let path = file.path();
            let (name, key) = path.file_name()?.to_str()?.strip_suffix(".smore")?.rsplit_once('-')?;
            let is_key = key.len() == 16 && key.bytes().all(|b| b.is_ascii_hexdigit());
            is_key.then(|| (name.to_owned(), path.clone()))
        });
        let mut graphs: Vec<(String, PathBuf)> = named.collect();
        graphs.sort();
        graphs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_not_utf_8_is_refused_with_the_remedy() {
        use std::os::unix::ffi::OsStrExt;
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(Some(folder.path())).unwrap();
        let source = PathBuf::from(std::ffi::OsStr::from_bytes(b"/data/caf\xe9"));
        let error =
            cache.remember(&NamedGraph { name: "mine".into(), graph: "/g".into(), source }).unwrap_err();
        assert_eq!(
            error.to_string(),
            "/data/caf\u{fffd}: its path is not UTF-8, and smore remembers names as JSON: rename the folder or file"
        );
        assert!(cache.named().is_empty());
    }

    #[test]
    fn a_name_means_the_last_graph_given_to_it_while_that_exists() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(Some(&folder.path().join("new"))).unwrap();
        assert_eq!(cache.recall("mine"), None);
        let entry = |file: &str| NamedGraph {
            name: "Mine".into(),
            graph: folder.path().join(file),
            source: "data".into(),
        };
        std::fs::write(folder.path().join("b"), b"").unwrap();
        cache.remember(&entry("a")).unwrap();
        cache.remember(&entry("b")).unwrap();
        assert_eq!(cache.recall("MINE"), Some(entry("b")));
        assert_eq!(cache.named(), [entry("b")]);
        std::fs::remove_file(folder.path().join("b")).unwrap();
        assert_eq!(cache.recall("mine"), None);
        assert_eq!(cache.recall("../mine"), None);
    }
}
