//! The public datasets that `smore` knows: manifests in `datasets/`, embedded in the binary.

use super::format::columns::Column;
use super::format::delimiter::Delimiter;
use super::format::triples::TripleFormat;
use crate::error::{Error, Result};
use crate::graph::{KnowledgeGraph, Split};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// What is known of a public dataset.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The name that users type.
    pub name: String,
    /// The name in the literature.
    pub title: String,
    /// One sentence.
    pub description: String,
    /// Where its files come from.
    pub source: String,
    /// Licence of data and files.
    pub license: String,
    /// Folders, relative to a data folder or to the dataset's checkout; the first that exists is used.
    pub folders: Vec<String>,
    /// One ASCII character between columns.
    #[serde(default = "tab")]
    pub delimiter: char,
    /// Order of the columns.
    #[serde(default = "head_relation_tail")]
    pub columns: [Column; 3],
    /// Folder in the dataset's that holds the same triples line by line with readable names.
    pub readable_copy: Option<String>,
    /// Counts to verify against.
    pub counts: Counts,
    /// XXH3-128 of the files of triples and hard negatives, as `xxh128sum` prints them.
    pub files: BTreeMap<String, String>,
}

fn tab() -> char {
    '\t'
}

fn head_relation_tail() -> [Column; 3] {
    [Column::Head, Column::Relation, Column::Tail]
}

/// Sizes of a dataset. Relations are the dataset's own, without inverses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Counts {
    pub entities: u64,
    pub relations: u64,
    pub train: u64,
    pub valid: u64,
    pub test: u64,
}

impl Counts {
    /// Counts of an opened graph.
    pub fn of(graph: &KnowledgeGraph) -> Self {
        let facts = |split| graph.split(split).num_edges() as u64 / 2;
        Counts {
            entities: graph.num_entities() as u64,
            relations: graph.num_relations() as u64 / 2,
            train: facts(Split::Train),
            valid: facts(Split::Valid),
            test: facts(Split::Test),
        }
    }

    fn named(&self) -> [(&'static str, u64); 5] {
        [
            ("entities", self.entities),
            ("relations", self.relations),
            ("train triples", self.train),
            ("valid triples", self.valid),
            ("test triples", self.test),
        ]
    }
}

impl Manifest {
    /// How the files of triples are laid out.
    pub fn format(&self) -> TripleFormat {
        TripleFormat {
            delimiter: Delimiter::Character(self.delimiter as u8),
            columns: self.columns.into(),
            header: false,
        }
    }

    /// In what an imported graph differs from what was published: checksums and counts. Empty: in
    /// nothing.
    pub fn differences(&self, graph: &KnowledgeGraph) -> Vec<String> {
        let mut differences = Vec::new();
        for source in &graph.metadata().sources {
            if let Some(expected) = self.files.get(&source.name).filter(|e| **e != source.xxh128) {
                differences.push(format!(
                    "{} is not the published file of {}: its XXH3-128 is {} instead of {expected}",
                    source.name, self.title, source.xxh128
                ));
            }
        }
        for ((what, expected), (_, found)) in self.counts.named().into_iter().zip(Counts::of(graph).named()) {
            if expected != found {
                differences.push(format!("{} has {expected} {what}, this graph {found}", self.title));
            }
        }
        differences
    }

    /// The files of a dataset that ships inside the binary.
    pub fn bundled(&self) -> Option<&'static [(&'static str, &'static [u8])]> {
        (self.name == "umls").then_some(UMLS)
    }
}

const UMLS: &[(&str, &[u8])] = &[
    ("train.txt", include_bytes!("../../datasets/umls/train.txt")),
    ("valid.txt", include_bytes!("../../datasets/umls/valid.txt")),
    ("test.txt", include_bytes!("../../datasets/umls/test.txt")),
];

const MANIFESTS: [&str; 8] = [
    include_str!("../../datasets/codex-s.toml"),
    include_str!("../../datasets/codex-m.toml"),
    include_str!("../../datasets/codex-l.toml"),
    include_str!("../../datasets/fb15k-237.toml"),
    include_str!("../../datasets/wn18rr.toml"),
    include_str!("../../datasets/umls.toml"),
    include_str!("../../datasets/kinship.toml"),
    include_str!("../../datasets/nations.toml"),
];

fn parse(text: &str) -> Result<Manifest> {
    let manifest: Manifest = toml::from_str(text).map_err(|e| Error::invalid(format!("manifest: {e}")))?;
    if !manifest.delimiter.is_ascii() {
        return Err(Error::invalid(format!("manifest of {}: the delimiter is not ASCII", manifest.name)));
    }
    Ok(manifest)
}

/// All known datasets.
pub fn all() -> &'static [Manifest] {
    static ALL: LazyLock<Vec<Manifest>> = LazyLock::new(|| {
        MANIFESTS.iter().map(|text| parse(text).expect("a test parses every embedded manifest")).collect()
    });
    &ALL
}

/// The dataset called `name`, in any case.
pub fn find(name: &str) -> Option<&'static Manifest> {
    all().iter().find(|manifest| manifest.name.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::builder::check_dataset_name;
    use crate::storage::checksum;

    #[test]
    fn every_manifest_parses_and_is_complete() {
        for manifest in MANIFESTS.iter().map(|text| parse(text).unwrap()) {
            check_dataset_name(&manifest.name).unwrap();
            assert!(!manifest.folders.is_empty() && !manifest.files.is_empty(), "{}", manifest.name);
            assert!(manifest.files.values().all(|hash| hash.len() == 32), "{}", manifest.name);
            assert!(std::ptr::eq(
                find(&manifest.name.to_uppercase()).unwrap(),
                find(&manifest.name).unwrap()
            ));
        }
    }

    #[test]
    fn unknown_keys_of_a_manifest_are_errors() {
        let text = MANIFESTS[0].replacen("title", "titel", 1);
        assert!(parse(&text).unwrap_err().to_string().contains("titel"));
    }

    #[test]
    fn the_bundled_files_are_the_published_ones() {
        let umls = find("umls").unwrap();
        for (name, bytes) in umls.bundled().unwrap() {
            assert_eq!(umls.files[*name], checksum::hex(bytes), "{name}");
        }
        assert!(find("nations").unwrap().bundled().is_none());
    }
}
