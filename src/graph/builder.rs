//! From a stream of triples and labels to a graph file, in bounded memory.
//!
//! Names become ids ([`id_assigner`](super::id_assigner)); the triples of each split are sorted, on disk where memory
//! does not hold them ([`sort`](crate::storage::sort)); duplicates are dropped while the sorted streams are
//! read side by side; the inverses are sorted once more, and both directions together are the arrays of the
//! file ([`edges`](super::edges)). `write` does all of this, after the last input was added.

mod write;

use super::Split;
use super::deduplicate::memory_of;
use super::id_assigner::IdAssigner;
use super::label_builder::LabelBuilder;
use super::layout::Subject;
use super::metadata::Metadata;
use super::string_writer::StringWriter;
use super::vocabulary::Vocabulary;
use crate::error::{Error, Result};
use crate::ids::{EntityId, RelationId, Triple};
use crate::process::memory_limit;
use crate::progress::Progress;
use crate::storage::container::MAX_NAME;
use crate::storage::scratch::{Scratch, Spool};
use crate::storage::sort::Sorter;
use bytemuck::{Pod, Zeroable};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a builder may use.
#[derive(Clone, Debug)]
pub struct Resources {
    /// Bytes of memory. Names of relations come on top, and in the end one bit an entity.
    pub memory: u64,
    /// Where temporary files are made: up to 48 bytes a triple and 40 an entity.
    pub folder: PathBuf,
    /// Where the progress of the work is reported.
    pub progress: Progress,
}

impl Default for Resources {
    /// A quarter of the memory that the process may use, and the system's folder for temporary files.
    fn default() -> Self {
        let memory = memory_limit().map_or(1 << 30, |limit| limit.bytes / 4);
        Resources { memory, folder: std::env::temp_dir(), progress: Progress::default() }
    }
}

impl Resources {
    /// What the builder of the graph file `path` may use: temporary files lie beside it. `None` is a quarter of
    /// the memory that the process may use.
    pub fn beside(path: &Path, memory: Option<u64>, progress: Progress) -> Self {
        let default = Resources::default();
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            _ => PathBuf::from("."),
        };
        Resources { memory: memory.unwrap_or(default.memory), folder, progress }
    }
}

/// Collects triples, hard negatives and labels, then writes the file.
///
/// Two ways to name things. With [`GraphBuilder::add`], ids are given in the order in which names are first
/// met, so the caller feeds train first, then valid, test, and hard negatives last. With
/// [`GraphBuilder::add_ids`], the source has ids already; [`GraphBuilder::declare`] tells their names.
///
/// Takes [`Resources::memory`]; what does not fit is sorted on disk. The file does not depend on it. Each
/// triple is written and read up to three times; O(n log n) comparisons.
#[derive(Debug)]
pub struct GraphBuilder {
    resources: Resources,
    scratch: Arc<Scratch>,
    entities: IdAssigner,
    relations: Vocabulary,
    /// Entities' names where their ids are given.
    declared: Option<StringWriter>,
    /// Whether triples came with ids, and the numbers of entities and relations that these ids ask for.
    by_ids: bool,
    needed: [u32; 2],
    triples: [Sorter<Triple>; 3],
    hard_negatives: [Spool; 3],
    /// Triples with an entity whose id is not known yet.
    open: Spool,
    num_open: u64,
    labels: LabelBuilder,
    metadata: Metadata,
    /// The error of a call that returns none.
    error: Option<Error>,
}

/// A triple with an entity whose id is not known yet, which is [`OPEN`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
struct OpenTriple {
    triple: Triple,
    /// The split; of a hard negative the split plus 3.
    kind: u32,
}

const OPEN: u32 = u32::MAX;

/// Ids end here, so that directed relations fit 32 bits.
const MAX_ID: u32 = (1 << 31) - 1;

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
        Self::with_resources(metadata, Resources::default())
    }

    /// As [`GraphBuilder::new`], with bounds.
    pub fn with_resources(metadata: Metadata, resources: Resources) -> Result<Self> {
        check_dataset_name(&metadata.dataset)?;
        let memory = usize::try_from(resources.memory).unwrap_or(usize::MAX);
        let scratch = Scratch::new(&resources.folder);
        let small = (memory / 64).min(1 << 20);
        Ok(GraphBuilder {
            entities: IdAssigner::new(&scratch, memory / 2),
            relations: Vocabulary::default(),
            declared: None,
            by_ids: false,
            needed: [0; 2],
            triples: Split::ALL.map(|split| Sorter::new(&scratch, memory_of(split, memory))),
            hard_negatives: std::array::from_fn(|_| Spool::new(&scratch, small)),
            open: Spool::new(&scratch, small),
            num_open: 0,
            labels: LabelBuilder::new(&scratch, memory / 8),
            metadata,
            error: None,
            resources,
            scratch,
        })
    }

    /// Numbers the names; `None` where the triple was put aside.
    fn intern(&mut self, kind: u32, head: &str, relation: &str, tail: &str) -> Result<Option<Triple>> {
        if self.by_ids || self.declared.is_some() {
            return Err(Error::invalid("a graph's triples come all with ids or all with names"));
        }
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let position = 2 * self.num_open;
        let head = self.entities.intern(head, position)?;
        let relation = RelationId(2 * self.relations.intern(relation)?);
        let tail = self.entities.intern(tail, position + 1)?;
        // Hard negatives keep their order, so all follow the first that was put aside.
        if let (Some(head), Some(tail), false) = (head, tail, kind >= 3 && self.entities.is_open()) {
            return Ok(Some(Triple { head: EntityId(head), relation, tail: EntityId(tail) }));
        }
        let [head, tail] = [head, tail].map(|id| EntityId(id.unwrap_or(OPEN)));
        self.open.push(OpenTriple { triple: Triple { head, relation, tail }, kind })?;
        self.num_open += 1;
        Ok(None)
    }

    /// Adds a fact of `split`. Splits come in order.
    pub fn add(&mut self, split: Split, head: &str, relation: &str, tail: &str) -> Result<()> {
        match self.intern(split as u32, head, relation, tail)? {
            Some(triple) => self.push(split, triple),
            None => Ok(()),
        }
    }

    fn push(&mut self, split: Split, triple: Triple) -> Result<()> {
        let triples = &mut self.triples[split as usize];
        if triples.len().is_multiple_of(1 << 20) {
            let all: u64 = self.triples.iter().map(Sorter::len).sum();
            self.need(all);
        }
        self.triples[split as usize].push(triple)
    }

    /// States how many triples there will be, for the message of a full disk.
    pub fn expect_triples(&mut self, triples: u64) {
        self.need(triples);
    }

    fn need(&self, triples: u64) {
        self.scratch
            .set_needed(48 * triples + 40 * u64::from(self.needed[0]).max(self.entities.num_known() as u64));
    }

    /// Adds a hard negative of `split`, after all facts.
    pub fn add_hard_negative(&mut self, split: Split, head: &str, relation: &str, tail: &str) -> Result<()> {
        match self.intern(split as u32 + 3, head, relation, tail)? {
            Some(triple) => self.hard_negatives[split as usize].push(triple),
            None => Ok(()),
        }
    }

    /// Gives the next id (0, 1, 2...) of a source that has its own ids to `name`; returns the id.
    ///
    /// Where nothing is declared, names are the ids in decimal. Names are all different; an entity's that is
    /// not is reported by [`GraphBuilder::write`].
    pub fn declare(&mut self, subject: Subject, name: &str) -> Result<u32> {
        match subject {
            Subject::Entity => {
                let memory = self.resources.memory as usize / 4;
                let writer = match &mut self.declared {
                    Some(writer) => writer,
                    none => none.insert(StringWriter::new(&self.scratch, true, memory)),
                };
                let id = writer.num_texts();
                if id > MAX_ID {
                    return Err(Error::invalid("more than 2^31 entities"));
                }
                writer.push(id, name.as_bytes())?;
                Ok(id)
            }
            Subject::Relation => match self.relations.get(name) {
                Some(id) => Err(Error::invalid(format!(
                    "relation {name:?} has the ids {id} and {}",
                    self.relations.len()
                ))),
                None => self.relations.intern(name),
            },
        }
    }

    /// Adds a fact of `split` by ids. `relation` is a number of the dataset, undirected. Splits may come in any
    /// order.
    pub fn add_ids(&mut self, split: Split, head: u32, relation: u32, tail: u32) -> Result<()> {
        let triple = self.triple_of_ids(head, relation, tail)?;
        self.push(split, triple)
    }

    /// Adds a hard negative of `split` by ids.
    pub fn add_hard_negative_ids(&mut self, split: Split, head: u32, relation: u32, tail: u32) -> Result<()> {
        let triple = self.triple_of_ids(head, relation, tail)?;
        self.hard_negatives[split as usize].push(triple)
    }

    fn triple_of_ids(&mut self, head: u32, relation: u32, tail: u32) -> Result<Triple> {
        if !self.by_ids {
            if self.entities.num_known() > 0 || self.num_open > 0 {
                return Err(Error::invalid("a graph's triples come all with ids or all with names"));
            }
            self.by_ids = true;
        }
        let largest = head.max(tail);
        if largest.max(relation) > MAX_ID {
            return Err(Error::invalid(format!(
                "id {} is too large: ids are below 2^31",
                largest.max(relation)
            )));
        }
        self.needed = [self.needed[0].max(largest + 1), self.needed[1].max(relation + 1)];
        Ok(Triple { head: EntityId(head), relation: RelationId(2 * relation), tail: EntityId(tail) })
    }

    /// Gives the entity or relation `name` a label. Of several labels in one language the first stays;
    /// an unknown name and an empty label are passed over.
    ///
    /// Returns whether the label was taken, as far as that is known: a later label of the same thing is
    /// dropped in the end, and so is one of a name that was put aside and turns out to be unknown. An
    /// error is returned by the next call that returns one.
    pub fn add_label(&mut self, subject: Subject, language: &str, name: &str, label: &str) -> bool {
        if label.is_empty() {
            return false;
        }
        let id = match subject {
            Subject::Entity => self.entities.get(name),
            Subject::Relation => self.relations.get(name),
        };
        let open = subject == Subject::Entity && (self.entities.is_open() || self.declared.is_some());
        let added = match id {
            Some(id) => self.labels.add(subject, language, id, label),
            None if open => self.labels.add_by_name(language, name, label),
            None => return false,
        };
        added.map_err(|error| self.error = Some(error)).is_ok()
    }

    /// What the file will say about its making; the importer adds the files that it reads.
    pub fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::KnowledgeGraph;

    fn builder(memory: u64, folder: &Path) -> GraphBuilder {
        let metadata = Metadata { dataset: "test".into(), ..Metadata::default() };
        let resources =
            Resources { memory, ..Resources::beside(&folder.join("graph"), None, Progress::default()) };
        GraphBuilder::with_resources(metadata, resources).unwrap()
    }

    fn written(builder: GraphBuilder, folder: &Path) -> Vec<u8> {
        let path = folder.join("graph");
        builder.write(&path, None).unwrap();
        KnowledgeGraph::open(&path).unwrap().verify().unwrap();
        std::fs::read(&path).unwrap()
    }

    #[test]
    fn given_ids_and_their_names_give_the_graph_of_the_names() {
        let folder = tempfile::tempdir().unwrap();
        let triple = |i: u32| (i * 7 % 50, i % 3, i * i % 50);
        for memory in [0, 1 << 20] {
            let mut by_name = builder(memory, folder.path());
            let mut by_id = builder(memory, folder.path());
            // The names in the order in which the first graph meets them.
            let mut ids = [Vocabulary::default(), Vocabulary::default()];
            let mut triples = Vec::new();
            for i in 0..200 {
                let (h, r, t) = triple(i);
                let [head, relation, tail] = [format!("e{h}"), format!("r{r}"), format!("e{t}")];
                by_name.add(Split::Train, &head, &relation, &tail).unwrap();
                triples.push([
                    ids[0].intern(&head).unwrap(),
                    ids[1].intern(&relation).unwrap(),
                    ids[0].intern(&tail).unwrap(),
                ]);
            }
            for (subject, names) in [(Subject::Entity, &ids[0]), (Subject::Relation, &ids[1])] {
                for (id, name) in (0..).zip(names.iter()) {
                    assert_eq!(by_id.declare(subject, name).unwrap(), id);
                }
            }
            // Ids need no order.
            triples.reverse();
            triples.iter().try_for_each(|&[h, r, t]| by_id.add_ids(Split::Train, h, r, t)).unwrap();
            for graph in [&mut by_name, &mut by_id] {
                assert!(graph.add_label(Subject::Entity, "en", "e7", "seven"));
                assert!(graph.add_label(Subject::Relation, "de", "r1", "eins"));
                graph.add_label(Subject::Entity, "en", "nobody", "x");
                assert!(!graph.add_label(Subject::Relation, "en", "nobody", "x"));
            }
            assert!(written(by_name, folder.path()) == written(by_id, folder.path()));
            let graph = KnowledgeGraph::open(&folder.path().join("graph")).unwrap();
            assert_eq!(graph.metadata().languages, ["de", "en"]);
        }
    }

    #[test]
    fn ids_without_names_are_named_by_their_numbers_and_gaps_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut graph = builder(1 << 20, folder.path());
        graph.add_ids(Split::Train, 11, 1, 3).unwrap();
        graph.add_ids(Split::Test, 3, 0, 12).unwrap();
        written(graph, folder.path());
        let graph = KnowledgeGraph::open(&folder.path().join("graph")).unwrap();
        assert_eq!((graph.num_entities(), graph.num_relations()), (13, 4));
        assert_eq!((graph.entities().name(11), graph.entities().find("3")), ("11".into(), Some(3)));
        assert_eq!(graph.metadata().findings.unseen_entities, 11);
    }

    #[test]
    fn ids_that_contradict_their_names_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let error = |fill: &dyn Fn(&mut GraphBuilder) -> Result<()>| {
            let mut graph = builder(1 << 20, folder.path());
            let result = fill(&mut graph).and_then(|()| graph.write(&folder.path().join("graph"), None));
            result.unwrap_err().to_string()
        };
        let unnamed = error(&|graph| {
            graph.declare(Subject::Entity, "a")?;
            graph.add_ids(Split::Train, 0, 0, 1)
        });
        assert_eq!(unnamed, "entity 1 has no name: the names of 1 were given");
        let same = error(&|graph| {
            ["a", "b", "a"].iter().try_for_each(|name| graph.declare(Subject::Entity, name).map(drop))?;
            graph.add_ids(Split::Train, 0, 0, 1)
        });
        assert_eq!(same, "entities 0 and 2 have the same name \"a\"");
        let mixed = error(&|graph| {
            graph.add(Split::Train, "a", "r", "b")?;
            graph.add_ids(Split::Train, 0, 0, 1)
        });
        assert!(mixed.contains("all with ids or all with names"), "{mixed}");
        assert!(error(&|graph| graph.add_ids(Split::Train, 1 << 31, 0, 1)).contains("too large"));
        assert!(!folder.path().join("graph").exists());
    }
}
