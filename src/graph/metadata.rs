//! What a graph file says about its own making, stored in it as JSON.

use super::alike::Alike;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a graph file came to be. No paths of the machine and no time, so that the same input gives the
/// same bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// Name of the dataset.
    pub dataset: String,
    /// Version of the program that wrote the file.
    pub smore_version: String,
    /// Languages that have labels; their positions number the label tables.
    pub languages: Vec<String>,
    /// The language whose labels are shown.
    pub language: Option<String>,
    /// The files that were read.
    pub sources: Vec<SourceFile>,
    /// Whether bad lines were skipped instead of refused.
    pub skip_bad_lines: bool,
    /// What the graph was generated from, where it was not read from files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generated: Option<Synthetic>,
    /// What the builder found.
    pub findings: Findings,
}

/// A file that was read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceFile {
    /// Name relative to the dataset's folder.
    pub name: String,
    /// Length in bytes.
    pub bytes: u64,
    /// XXH3-128, as `xxh128sum` prints it.
    pub xxh128: String,
    /// Number of bad lines that were skipped.
    pub skipped_lines: u64,
    /// Statements that are neither edges nor labels, by reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub skipped_statements: BTreeMap<String, u64>,
    /// What else a user should know of it, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
}

/// What a synthetic graph is generated from; see [`crate::dataset::generate`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Synthetic {
    /// Number of entities, `e0`, `e1` and so on.
    pub entities: u32,
    /// Number of relations without inverses, `r0`, `r1` and so on, the most frequent first.
    pub relations: u32,
    /// Number of triples of all splits.
    pub triples: u32,
    /// Zipf exponent of the popularity of entities; 0 makes all alike.
    pub exponent: f64,
    /// Zipf exponent of the frequency of relations.
    pub relation_exponent: f64,
    /// Share of triples in valid.
    pub valid: f64,
    /// Share of triples in test.
    pub test: f64,
    /// Seed of everything that is drawn.
    pub seed: u64,
}

impl Default for Synthetic {
    fn default() -> Self {
        Synthetic {
            entities: 10_000,
            relations: 100,
            triples: 100_000,
            exponent: 0.8,
            relation_exponent: 1.0,
            valid: 0.05,
            test: 0.05,
            seed: 0,
        }
    }
}

/// Counts by split: `[train, valid, test]`.
pub type BySplit = [u64; 3];

/// What the builder found in the triples.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Findings {
    /// Triples kept.
    pub triples: BySplit,
    /// Triples that occurred before in the same split; each was kept once.
    pub duplicates: BySplit,
    /// Triples that occur in an earlier split, where they were kept.
    pub duplicates_of_earlier_splits: BySplit,
    /// Entities that do not occur in train; they are kept.
    pub unseen_entities: u64,
    /// Relations that do not occur in train; they are kept.
    pub unseen_relations: u64,
    /// Triples that have such an entity or relation.
    pub unseen_triples: BySplit,
    /// Hard negatives kept.
    pub hard_negatives: BySplit,
    /// Hard negatives that are facts of some split.
    pub false_hard_negatives: BySplit,
    /// Names of entities that a reader may take for one, where they are at most [`MOST`](super::alike::MOST).
    #[serde(skip_serializing_if = "is_default")]
    pub alike_entities: Alike,
    /// As many of relations.
    #[serde(skip_serializing_if = "is_default")]
    pub alike_relations: Alike,
}

fn is_default(alike: &Alike) -> bool {
    *alike == Alike::default()
}

impl Metadata {
    /// Statements of all files that are neither edges nor labels, by reason.
    pub fn skipped_statements(&self) -> BTreeMap<&str, u64> {
        let mut all = BTreeMap::new();
        for (reason, count) in self.sources.iter().flat_map(|source| &source.skipped_statements) {
            *all.entry(reason.as_str()).or_default() += count;
        }
        all
    }

    /// Chooses the language whose labels are shown; `None` is English, or the first there is.
    ///
    /// Fails where there are labels, but none in `wanted`. Without any labels every language is the same.
    pub fn set_language(&mut self, wanted: Option<&str>) -> Result<()> {
        let default = || self.languages.iter().find(|l| *l == "en").or(self.languages.first()).cloned();
        self.language = match wanted {
            None => default(),
            Some(_) if self.languages.is_empty() => None,
            Some(wanted) if self.languages.iter().any(|l| l == wanted) => Some(wanted.to_owned()),
            Some(wanted) => {
                return Err(Error::invalid(format!(
                    "no labels in language {wanted:?}; {} has {}",
                    self.dataset,
                    self.languages.join(", ")
                )));
            }
        };
        Ok(())
    }
}
