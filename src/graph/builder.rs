//! From a stream of triples and labels to a graph file.

use super::layout::{Kind, MAGIC, Subject, VERSION};
use super::metadata::{Findings, Metadata};
use super::text::TextTableBuf;
use super::vocabulary::Vocabulary;
use super::{CsrBuf, Split};
use crate::error::{Error, Result};
use crate::ids::{EntityId, RelationId, Triple};
use crate::storage::atomic;
use crate::storage::container::{MAX_NAME, Writer};
use std::collections::BTreeMap;
use std::path::Path;

/// Collects triples, hard negatives and labels, then writes the file.
///
/// Ids are given in the order in which names are first met, so the caller feeds train first, then
/// valid, test, and hard negatives last. Holds everything in memory: 12 bytes a triple, the names once,
/// and, while writing, 48 bytes a triple of the largest split.
#[derive(Debug)]
pub struct GraphBuilder {
    entities: Vocabulary,
    relations: Vocabulary,
    triples: [Vec<Triple>; 3],
    hard_negatives: [Vec<Triple>; 3],
    /// Numbers of entities and relations when the last triple of train had been added.
    seen: (usize, usize),
    /// By language: labels of entities, labels of relations.
    labels: BTreeMap<String, [BTreeMap<u32, String>; 2]>,
    metadata: Metadata,
}

/// Checks that `name` can name a dataset: 1 to 64 bytes, ASCII letters, digits, `.`, `_`, `-`, and no
/// leading dot or dash, so that it is a file name and never an option.
pub fn check_dataset_name(name: &str) -> Result<()> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if name.is_empty() || name.len() > MAX_NAME || name.starts_with(['.', '-']) || !name.bytes().all(plain) {
        return Err(Error::invalid(format!(
            "{name:?} cannot name a dataset: use 1 to {MAX_NAME} ASCII letters, digits, '.', '_' or '-', \
             starting with a letter or digit"
        )));
    }
    Ok(())
}

impl GraphBuilder {
    /// An empty graph of the dataset that `metadata` describes; its findings are filled in at the end.
    pub fn new(metadata: Metadata) -> Result<Self> {
        check_dataset_name(&metadata.dataset)?;
        Ok(GraphBuilder {
            entities: Vocabulary::default(),
            relations: Vocabulary::default(),
            triples: Default::default(),
            hard_negatives: Default::default(),
            seen: (0, 0),
            labels: BTreeMap::new(),
            metadata,
        })
    }

    fn intern(&mut self, head: &str, relation: &str, tail: &str) -> Result<Triple> {
        Ok(Triple {
            head: EntityId(self.entities.intern(head)?),
            relation: RelationId(2 * self.relations.intern(relation)?),
            tail: EntityId(self.entities.intern(tail)?),
        })
    }

    /// Adds a fact of `split`. Splits come in order.
    pub fn add(&mut self, split: Split, head: &str, relation: &str, tail: &str) -> Result<()> {
        let triple = self.intern(head, relation, tail)?;
        self.triples[split as usize].push(triple);
        if split == Split::Train {
            self.seen = (self.entities.len(), self.relations.len());
        }
        Ok(())
    }

    /// Adds a hard negative of `split`, after all facts.
    pub fn add_hard_negative(&mut self, split: Split, head: &str, relation: &str, tail: &str) -> Result<()> {
        let triple = self.intern(head, relation, tail)?;
        self.hard_negatives[split as usize].push(triple);
        Ok(())
    }

    /// Gives the entity or relation `name` a label. Of several labels in one language the first stays;
    /// an unknown name and an empty label are passed over. Returns whether the label was taken.
    pub fn add_label(&mut self, subject: Subject, language: &str, name: &str, label: &str) -> bool {
        let names = match subject {
            Subject::Entity => &self.entities,
            Subject::Relation => &self.relations,
        };
        let Some(id) = names.get(name).filter(|_| !label.is_empty()) else { return false };
        if !self.labels.contains_key(language) {
            self.labels.insert(language.to_owned(), Default::default());
        }
        let labels = &mut self.labels.get_mut(language).expect("inserted above")[subject as usize];
        let std::collections::btree_map::Entry::Vacant(entry) = labels.entry(id) else { return false };
        entry.insert(label.to_owned());
        true
    }

    /// What the file will say about its making; the importer adds the files that it reads.
    pub fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.metadata
    }

    /// Writes the graph to `path`, atomically. `language` is the one whose labels are shown (`None`:
    /// English, or the first there is).
    ///
    /// Fails where there is no triple in train, where labels in `language` are missing, and where the
    /// file cannot be written.
    pub fn write(mut self, path: &Path, language: Option<&str>) -> Result<()> {
        if self.triples[Split::Train as usize].is_empty() {
            return Err(Error::invalid(format!("{}: train has no triple", self.metadata.dataset)));
        }
        self.metadata.languages = self.labels.keys().cloned().collect();
        self.metadata.set_language(language)?;
        self.metadata.smore_version = env!("CARGO_PKG_VERSION").to_owned();
        self.metadata.findings = self.tidy();
        atomic::write(path, |file| self.write_sections(Writer::new(file, path)?))
    }

    /// Sorts the triples, drops duplicates (within a split, then across splits) and counts.
    fn tidy(&mut self) -> Findings {
        let mut findings = Findings::default();
        for split in 0..3 {
            let (earlier, rest) = self.triples.split_at_mut(split);
            let here = &mut rest[0];
            let before = here.len();
            here.sort_unstable();
            here.dedup();
            findings.duplicates[split] = (before - here.len()) as u64;
            let unique = here.len();
            here.retain(|triple| earlier.iter().all(|e| e.binary_search(triple).is_err()));
            findings.duplicates_of_earlier_splits[split] = (unique - here.len()) as u64;
            findings.triples[split] = here.len() as u64;
            let unseen = here.iter().filter(|t| {
                self.seen.0 <= t.head.index().max(t.tail.index()) || self.seen.1 <= t.relation.index() / 2
            });
            findings.unseen_triples[split] = unseen.count() as u64;
            let negatives = &self.hard_negatives[split];
            findings.hard_negatives[split] = negatives.len() as u64;
        }
        for (split, negatives) in self.hard_negatives.iter().enumerate() {
            let facts = negatives.iter().filter(|n| self.triples.iter().any(|t| t.binary_search(n).is_ok()));
            findings.false_hard_negatives[split] = facts.count() as u64;
        }
        findings.unseen_entities = (self.entities.len() - self.seen.0) as u64;
        findings.unseen_relations = (self.relations.len() - self.seen.1) as u64;
        findings
    }

    fn write_sections(self, mut writer: Writer) -> Result<()> {
        let metadata = serde_json::to_vec(&self.metadata).expect("metadata is plain data");
        writer.section(Kind::Metadata as u32, 0, &metadata)?;
        for (tag, triples) in (0..).zip(&self.triples) {
            let csr = CsrBuf::from_triples(self.entities.len(), triples);
            let (sources, rows, fragments, tails) = csr.view().parts();
            writer.section(Kind::Sources as u32, tag, bytemuck::cast_slice(sources))?;
            writer.section(Kind::Rows as u32, tag, bytemuck::cast_slice(rows))?;
            writer.section(Kind::Fragments as u32, tag, bytemuck::cast_slice(fragments))?;
            writer.section(Kind::Tails as u32, tag, bytemuck::cast_slice(tails))?;
        }
        for (tag, negatives) in (0..).zip(&self.hard_negatives) {
            if !negatives.is_empty() {
                writer.section(Kind::HardNegatives as u32, tag, bytemuck::cast_slice(negatives))?;
            }
        }
        for (subject, names) in [(Subject::Entity, &self.entities), (Subject::Relation, &self.relations)] {
            write_texts(&mut writer, subject.names(), &TextTableBuf::dense(names.iter()))?;
            for (number, labels) in self.labels.values().enumerate() {
                let labels = &labels[subject as usize];
                if !labels.is_empty() {
                    let table = TextTableBuf::sparse(labels.iter().map(|(&id, label)| (id, label.as_str())));
                    write_texts(&mut writer, subject.labels(number), &table)?;
                }
            }
        }
        let counts = [self.entities.len() as u64, 2 * self.relations.len() as u64, 0];
        writer.finish(MAGIC, VERSION, counts, &self.metadata.dataset)
    }
}

fn write_texts(writer: &mut Writer, tag: u32, table: &TextTableBuf) -> Result<()> {
    let (owners, offsets, bytes, order) = table.parts();
    if let Some(owners) = owners {
        writer.section(Kind::TextOwners as u32, tag, bytemuck::cast_slice(owners))?;
    }
    writer.section(Kind::TextOffsets as u32, tag, bytemuck::cast_slice(offsets))?;
    writer.section(Kind::TextBytes as u32, tag, bytes)?;
    writer.section(Kind::TextOrder as u32, tag, bytemuck::cast_slice(order))
}
