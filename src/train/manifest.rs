//! `manifest.json` of a run folder: length and checksum of each file that the run wrote and that is used again.
//!
//! A file's entry is on the disk before the file is renamed into its place, beside that of the file it replaces: so one
//! of them fits (or, where there was none, the file may be missing), whenever the process or the machine stops. Files that grow or are made again are not listed:
//! `metrics.jsonl`, `tensorboard/`, `report.html`; nor is `entities.table`, which changes in place and has checksums of its
//! own ([`row_sums`](super::row_sums)). Of the graph, the entry is that of its header,
//! which has a checksum of every section ([`crate::storage::container`]): the rest is checked when it is opened.

use crate::error::{Error, Result};
use crate::storage::{atomic, checksum};
use crate::table::count;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use xxhash_rust::xxh3::Xxh3Default;

/// Its name in a run folder.
pub const NAME: &str = "manifest.json";

/// The run's graph.
pub(super) const GRAPH: &str = "graph.smore";

/// Raised when entries mean something else.
const VERSION: u32 = 1;

/// Bytes of a graph's header.
const GRAPH_HEADER: u64 = size_of::<crate::storage::container::Header>() as u64;

/// A file as the run wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Length in bytes.
    pub bytes: u64,
    /// XXH3-64 of the bytes, in hexadecimal.
    pub xxh3: String,
}

impl Entry {
    /// The entry of a file with this content.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Entry { bytes: bytes.len() as u64, xxh3: format!("{:016x}", checksum::section(bytes)) }
    }

    /// The entry of file `name` of a run folder, as it is now. Reads all of it, of the graph the header.
    fn of_file(folder: &Path, name: &str) -> std::io::Result<Self> {
        let file = File::open(folder.join(name))?;
        let length = file.metadata()?.len();
        let mut sum = Summed::new(std::io::sink());
        let part = if name == GRAPH { GRAPH_HEADER } else { u64::MAX };
        std::io::copy(&mut file.take(part), &mut sum)?;
        let entry = sum.entry();
        Ok(if name == GRAPH { Entry { bytes: length, ..entry } } else { entry })
    }
}

/// A writer that sums up what goes through it.
pub struct Summed<W> {
    inner: W,
    hash: Xxh3Default,
    bytes: u64,
}

impl<W: Write> Summed<W> {
    /// Nothing written yet.
    pub fn new(inner: W) -> Self {
        Summed { inner, hash: Xxh3Default::new(), bytes: 0 }
    }

    /// The entry of what was written.
    pub fn entry(&self) -> Entry {
        Entry { bytes: self.bytes, xxh3: format!("{:016x}", self.hash.digest()) }
    }
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

/// What a run wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    files: Files,
}

/// By file: the newest entry, then, of the file that was written last, the one before it, `None` where there was none.
type Files = BTreeMap<String, Vec<Option<Entry>>>;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    files: Files,
    /// Of `files` as JSON without white space.
    xxh3: String,
}

impl Manifest {
    /// Lists files of a folder as they are now; those that are missing are left out.
    pub fn of_folder(folder: &Path, names: &[&str]) -> Result<Self> {
        let mut manifest = Manifest::default();
        for name in names {
            match Entry::of_file(folder, name) {
                Ok(entry) => manifest.note(name, entry),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io(folder.join(name))(error)),
            }
        }
        manifest.settle();
        Ok(manifest)
    }

    /// Reads a folder's manifest; `None` where it has none.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(NAME);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(path)(error)),
        };
        Self::parse(&bytes).map(Some).ok_or_else(|| {
            Error::file(
                path,
                "is damaged, so that nothing tells whether the run's other files are what it wrote: restore it, or \
                 go on with --accept-changes",
            )
        })
    }

    /// The manifest in these bytes; `None` unless they are exactly what [`Manifest::to_bytes`] gives.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let document: Document = serde_json::from_slice(bytes).ok()?;
        let manifest = Manifest { files: document.files };
        (manifest.to_bytes() == bytes).then_some(manifest)
    }

    /// The file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let files = serde_json::to_vec(&self.files).expect("plain data");
        let xxh3 = format!("{:016x}", checksum::section(&files));
        let document = Document { version: VERSION, files: self.files.clone(), xxh3 };
        serde_json::to_vec_pretty(&document).expect("plain data")
    }

    /// Writes the file, atomically.
    pub fn write(&self, folder: &Path) -> Result<()> {
        atomic::write_bytes(&folder.join(NAME), &self.to_bytes())
    }

    /// Notes a file that is about to be written. Of all others only the newest entry stays.
    pub fn note(&mut self, name: &str, entry: Entry) {
        self.settle();
        let entries = self.files.entry(name.to_owned()).or_insert_with(|| vec![None]);
        entries.insert(0, Some(entry));
    }

    /// Notes that all files are in their places.
    pub fn settle(&mut self) {
        self.files.values_mut().for_each(|entries| entries.truncate(1));
    }

    /// Of files that were being replaced when a process stopped, keeps the entry of what is there: the next one that is
    /// noted replaces that, and not what was never renamed into its place. Reads these files.
    pub fn keep_present(&mut self, folder: &Path) -> Result<()> {
        for (name, entries) in self.files.iter_mut().filter(|(_, entries)| entries.len() > 1) {
            let present = match Entry::of_file(folder, name) {
                Ok(entry) => Some(entry),
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                Err(error) => return Err(Error::io(folder.join(name))(error)),
            };
            entries.retain(|entry| *entry == present);
        }
        Ok(())
    }

    /// The listed files.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// What is wrong with file `name` of a folder; `None` where it is as it was written, or not listed. Reads all of it.
    pub fn difference(&self, folder: &Path, name: &str) -> Result<Option<String>> {
        let Some(entries) = self.files.get(name) else { return Ok(None) };
        match Entry::of_file(folder, name) {
            Ok(found) if entries.iter().flatten().any(|entry| *entry == found) => Ok(None),
            Ok(found) => {
                let written = entries.iter().flatten().next().map_or(0, |entry| entry.bytes);
                let length = match found.bytes == written {
                    true => String::new(),
                    false => format!(" ({} bytes instead of {})", count(found.bytes), count(written)),
                };
                Ok(Some(format!("{name} was changed since the run wrote it{length}")))
            }
            Err(error) if error.kind() == ErrorKind::NotFound && entries.contains(&None) => Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Ok(Some(format!("{name}, which the run wrote, is missing")))
            }
            Err(error) => Err(Error::io(folder.join(name))(error)),
        }
    }
}

/// The note on a file that was changed.
pub(super) fn accepted(difference: &str) -> String {
    format!("{difference}; it is used as it is (--accept-changes)")
}

/// The error on one.
pub(super) fn refused(folder: &Path, difference: &str) -> Error {
    Error::file(folder, format!("{difference}: restore it, or use what is there with --accept-changes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_of_a_manifest_is_found() {
        let mut manifest = Manifest::default();
        manifest.note("config.toml", Entry::of_bytes(b"dim = 8"));
        manifest.note("state.safetensors", Entry::of_bytes(b"1"));
        manifest.note("state.safetensors", Entry::of_bytes(b"22"));
        let bytes = manifest.to_bytes();
        assert_eq!(Manifest::parse(&bytes), Some(manifest));
        for position in 0..bytes.len() {
            for bit in 0..8 {
                let mut bad = bytes.clone();
                bad[position] ^= 1 << bit;
                assert_eq!(Manifest::parse(&bad), None, "byte {position}, bit {bit}");
            }
        }
    }

    #[test]
    fn a_file_fits_where_its_replacement_was_stopped_again_and_again() {
        let folder = tempfile::tempdir().unwrap();
        let write = |text: &str| std::fs::write(folder.path().join("state"), text).unwrap();
        let mut manifest = Manifest::default();
        for text in ["first", "second"] {
            manifest.note("state", Entry::of_bytes(text.as_bytes()));
            manifest.keep_present(folder.path()).unwrap();
            assert_eq!(manifest.difference(folder.path(), "state").unwrap(), None, "{text}: not there yet");
        }
        manifest.note("state", Entry::of_bytes(b"third"));
        write("third");
        for text in ["fourth", "fifth", "sixth"] {
            manifest.note("state", Entry::of_bytes(text.as_bytes()));
            assert_eq!(
                manifest.difference(folder.path(), "state").unwrap(),
                None,
                "{text}: the third is there"
            );
            manifest.keep_present(folder.path()).unwrap();
        }
        write("sixth");
        let changed = manifest.difference(folder.path(), "state").unwrap();
        assert_eq!(changed.as_deref(), Some("state was changed since the run wrote it"), "it was dropped");
    }

    #[test]
    fn a_file_fits_before_and_after_it_is_replaced_and_no_longer() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let mut manifest = Manifest::default();
        let fits = |manifest: &Manifest, name| manifest.difference(folder.path(), name).unwrap();
        manifest.note("state", Entry::of_bytes(b"old"));
        write("state", "old");
        manifest.note("state", Entry::of_bytes(b"newer"));
        assert_eq!(fits(&manifest, "state"), None);
        manifest.note("other", Entry::of_bytes(b""));
        assert_eq!(fits(&manifest, "other"), None, "it is not in its place yet");
        manifest.settle();
        let changed = "state was changed since the run wrote it (3 bytes instead of 5)";
        assert_eq!(fits(&manifest, "state").as_deref(), Some(changed));
        write("state", "newer");
        assert_eq!(fits(&manifest, "state"), None);
        write("state", "never");
        assert_eq!(fits(&manifest, "state").as_deref(), Some("state was changed since the run wrote it"));
        assert_eq!(fits(&manifest, "other").as_deref(), Some("other, which the run wrote, is missing"));
        assert_eq!(fits(&manifest, "unknown"), None);
    }
}
