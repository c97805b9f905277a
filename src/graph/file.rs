//! A graph file, opened: memory-mapped, shared by any number of threads and processes.
//!
//! Opening verifies: every checksum, and that every offset and id is in range, so that what is damaged is found before
//! anything is used. Where a [`Verified`] remembers the file, opening costs a few pages.

use super::layout::{self, Kind, MAGIC, SplitRanges, StringRanges, Subject, VERSION};
use super::names::NamesRanges;
use super::{Csr, Metadata, Names, Split, View};
use crate::error::{Error, Result};
use crate::ids::Triple;
use crate::storage::container::Directory;
use crate::storage::mmap::Mapped;
use crate::storage::verified::Verified;
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// An opened graph file.
///
/// What it returns is in bounds of the file's arrays even where another program changes the file while it is open.
#[derive(Debug)]
pub struct KnowledgeGraph {
    path: PathBuf,
    map: Mapped,
    parsed: Parsed,
}

/// All that is read at opening.
#[derive(Debug)]
struct Parsed {
    directory: Directory,
    metadata: Metadata,
    num_entities: usize,
    num_relations: usize,
    fingerprint: u64,
    splits: [SplitRanges; 3],
    entities: NamesRanges,
    relations: NamesRanges,
}

const REMEDY: &str = "import the dataset again with `smore data import`";

impl KnowledgeGraph {
    /// Opens a graph file and reads all of it: about 0.2 s for 300 MB that are in memory.
    ///
    /// Checks magic, version, length, every checksum, and that offsets and ids are in order and in range. The error
    /// names the section that is wrong and what to do.
    pub fn open(path: &Path) -> Result<Self> {
        let graph = Self::map(path)?;
        graph.check(false)?;
        Ok(graph)
    }

    /// As [`KnowledgeGraph::open`], which `verified` remembers: of a file that it knows, only the header, the section
    /// table and the ends of the arrays are read, milliseconds whatever the size of the graph.
    pub fn open_known(path: &Path, verified: &Verified) -> Result<Self> {
        let graph = Self::map(path)?;
        let file = graph.map.metadata();
        if !verified.contains(path, file) {
            graph.check(false)?;
            verified.remember(path, file);
        }
        Ok(graph)
    }

    fn map(path: &Path) -> Result<Self> {
        let map = Mapped::open(path)?;
        let parsed = parse(map.bytes()).map_err(|message| Error::file(path, message))?;
        Ok(KnowledgeGraph { path: path.to_path_buf(), map, parsed })
    }

    /// Name of the dataset, for example `codex-s`.
    pub fn dataset(&self) -> &str {
        &self.parsed.directory.name
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Hash of the content (triples, names, labels; not how they were imported). Keys caches.
    pub fn fingerprint(&self) -> u64 {
        self.parsed.fingerprint
    }

    /// Number of entities of all splits.
    pub fn num_entities(&self) -> usize {
        self.parsed.num_entities
    }

    /// Number of *directed* relations: twice the dataset's.
    pub fn num_relations(&self) -> usize {
        self.parsed.num_relations
    }

    /// Edges of this split only, in both directions.
    pub fn split(&self, split: Split) -> Csr<'_> {
        let ranges = &self.parsed.splits[split as usize];
        // Opening has checked it: without edges only where the file was changed since.
        let csr = ranges.csr(self.map.bytes(), self.parsed.num_entities);
        csr.unwrap_or_else(|_| Csr::empty(self.parsed.num_entities))
    }

    /// Edges of this split and those before it: train, train+valid, train+valid+test.
    pub fn view(&self, split: Split) -> View<'_> {
        View::new(Split::ALL[..=split as usize].iter().map(|&s| self.split(s)))
    }

    /// Triples that the dataset gives as false but plausible, with forward relations, in its order.
    pub fn hard_negatives(&self, split: Split) -> &[Triple] {
        self.parsed.splits[split as usize].hard_negatives(self.map.bytes()).unwrap_or_default()
    }

    /// Names and labels of entities, indexed by entity.
    pub fn entities(&self) -> Names<'_> {
        self.names(&self.parsed.entities)
    }

    /// Names and labels of the dataset's relations, indexed by `RelationId.0 / 2`.
    pub fn relations(&self) -> Names<'_> {
        self.names(&self.parsed.relations)
    }

    fn names<'a>(&'a self, ranges: &'a NamesRanges) -> Names<'a> {
        Names::read(self.map.bytes(), ranges, self.language()).unwrap_or_else(|_| Names::none())
    }

    /// How the file was made.
    pub fn metadata(&self) -> &Metadata {
        &self.parsed.metadata
    }

    /// The language whose labels are shown first, if there are labels.
    pub fn language(&self) -> Option<&str> {
        self.parsed.metadata.language.as_deref()
    }

    /// Shows labels in `language` first. Fails where the graph has labels, but none in this language.
    pub fn set_language(&mut self, language: &str) -> Result<()> {
        self.parsed.metadata.set_language(Some(language))
    }

    /// Length of the file in bytes.
    pub fn size_in_bytes(&self) -> u64 {
        self.map.bytes().len() as u64
    }

    /// Names and lengths in bytes of all sections, in file order.
    pub fn sections(&self) -> impl Iterator<Item = (String, u64)> {
        let languages = &self.parsed.metadata.languages;
        self.parsed.directory.sections.iter().map(|s| (layout::describe(s, languages), s.length))
    }

    /// Checks every checksum, offset, id, order and text. Reads the whole file; O(edges + names).
    ///
    /// Beyond what opening checks, this follows every name and label both ways. The error names the first thing that
    /// is wrong.
    pub fn verify(&self) -> Result<()> {
        self.check(true)
    }

    fn check(&self, texts: bool) -> Result<()> {
        check(self.map.bytes(), &self.parsed, texts).map_err(|message| damaged(&self.path, &message))
    }
}

fn parse(bytes: &[u8]) -> Result<Parsed, String> {
    let directory = Directory::parse(bytes, MAGIC, VERSION, "graph file", REMEDY)?;
    parse_sections(bytes, directory).map_err(|message| format!("is damaged: {message}; {REMEDY}"))
}

fn parse_sections(bytes: &[u8], directory: Directory) -> Result<Parsed, String> {
    let [entities, relations, _] = directory.counts;
    // Ids are 32-bit; relations are doubled.
    let (Ok(num_entities), Ok(num_relations)) = (u32::try_from(entities), u32::try_from(relations)) else {
        return Err(format!("{entities} entities and {relations} relations do not fit 32-bit ids"));
    };
    let (num_entities, num_relations) = (num_entities as usize, num_relations as usize);
    let metadata = directory.find(Kind::Metadata as u32, 0).ok_or("it has no metadata")?;
    let metadata: Metadata =
        serde_json::from_slice(&bytes[metadata]).map_err(|e| format!("its metadata is unreadable: {e}"))?;

    let find = |split| SplitRanges::find(&directory, split);
    let splits = [find(Split::Train)?, find(Split::Valid)?, find(Split::Test)?];
    for split in &splits {
        split.csr(bytes, num_entities)?;
        split.hard_negatives(bytes)?;
    }
    let names = |subject: Subject, len: usize| {
        let names = StringRanges::find(&directory, subject.names())?.ok_or("it has no names")?;
        if names.table(bytes)?.len() != len {
            return Err(format!("it has not one name for each {subject:?}").to_lowercase());
        }
        let labels = metadata.languages.iter().enumerate().map(|(number, language)| {
            let table = StringRanges::find(&directory, subject.labels(number))?;
            table.as_ref().map(|t| t.table(bytes)).transpose()?;
            Ok::<_, String>((language.clone(), table))
        });
        Ok(NamesRanges { names, labels: labels.collect::<Result<_, _>>()? })
    };
    Ok(Parsed {
        entities: names(Subject::Entity, num_entities)?,
        relations: names(Subject::Relation, num_relations / 2)?,
        num_entities,
        num_relations,
        fingerprint: directory.fingerprint(Kind::Metadata as u32),
        splits,
        metadata,
        directory,
    })
}

fn damaged(path: &Path, message: &str) -> Error {
    Error::file(path, format!("is damaged: {message}; {REMEDY}"))
}

/// Checks all bytes, in parallel: sums first, which name the section, then what the arrays hold; with every text
/// where `texts`, else the arrays beside them.
fn check(bytes: &[u8], parsed: &Parsed, texts: bool) -> Result<(), String> {
    if let Some(section) = parsed.directory.damaged(bytes).first() {
        let name = layout::describe(section, &parsed.metadata.languages);
        return Err(format!("the checksum of its {name} does not match"));
    }
    if let Some(place) = parsed.directory.damaged_padding(bytes) {
        return Err(format!("byte {place}, between its sections, is not zero"));
    }
    let splits = Split::ALL.iter().zip(&parsed.splits).map(|(split, ranges)| {
        ranges
            .check(bytes, parsed.num_entities, parsed.num_relations)
            .map_err(|message| format!("{}: {message}", split.name()))
    });
    splits.collect::<Result<(), String>>()?;
    let subjects = [
        ("entity", &parsed.entities, parsed.num_entities),
        ("relation", &parsed.relations, parsed.num_relations / 2),
    ];
    let tables: Vec<(String, &StringRanges, usize, bool)> = subjects
        .into_iter()
        .flat_map(|(subject, ranges, num_ids)| {
            let names = (format!("{subject} names"), &ranges.names, num_ids, true);
            let labels = ranges.labels.iter().filter_map(move |(language, table)| {
                Some((format!("{subject} labels {language}"), table.as_ref()?, num_ids, false))
            });
            [names].into_iter().chain(labels)
        })
        .collect();
    let checked = tables.par_iter().map(|(name, ranges, num_ids, unique)| {
        let table = ranges.table(bytes)?;
        let checked = match texts {
            true => table.check(*num_ids, *unique),
            false => table.check_arrays(*num_ids),
        };
        checked.map_err(|message| format!("{name}: {message}"))
    });
    // The first one, whichever thread was first.
    checked.collect::<Vec<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opened_graph_is_shared_between_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<KnowledgeGraph>();
    }
}
