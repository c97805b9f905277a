//! Queries of one structure with their answers, in flat arrays.

use super::scorer::QueryBlock;
use crate::error::{Error, Result};
use crate::graph::KnowledgeGraph;
use crate::ids::{EntityId, RelationId};
use crate::query::{Proof, Structure};
use std::ops::Range;

/// Queries of one structure, the answers to rank and the answers to filter out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryGroup {
    /// The structure of every query.
    pub structure: Structure,
    /// Anchors, query by query, each in post-order.
    pub anchors: Vec<EntityId>,
    /// Relations, query by query, each in post-order.
    pub relations: Vec<RelationId>,
    /// Answers to rank, query by query, ascending within a query.
    pub targets: Vec<EntityId>,
    /// Bounds of each query in `targets`, one more than there are queries.
    pub target_offsets: Vec<usize>,
    /// The best proof of each of `targets`; `None` where the graph has none. Empty where nobody asked.
    pub proofs: Vec<Option<Proof>>,
    /// All answers, query by query, ascending within a query.
    pub filter: Vec<EntityId>,
    /// Bounds of each query in `filter`, one more than there are queries.
    pub filter_offsets: Vec<usize>,
}

impl QueryGroup {
    /// A group without queries.
    pub fn new(structure: Structure) -> Self {
        QueryGroup {
            structure,
            anchors: Vec::new(),
            relations: Vec::new(),
            targets: Vec::new(),
            target_offsets: vec![0],
            proofs: Vec::new(),
            filter: Vec::new(),
            filter_offsets: vec![0],
        }
    }

    /// Adds a query. `targets` and `filter` are ascending.
    pub fn push(
        &mut self,
        anchors: &[EntityId],
        relations: &[RelationId],
        targets: &[EntityId],
        filter: &[EntityId],
    ) {
        self.anchors.extend_from_slice(anchors);
        self.relations.extend_from_slice(relations);
        self.targets.extend_from_slice(targets);
        self.target_offsets.push(self.targets.len());
        self.filter.extend_from_slice(filter);
        self.filter_offsets.push(self.filter.len());
    }

    /// That all ids are the graph's. They are, unless its file was changed after it was opened; no scorer must see
    /// others.
    pub fn check(&self, graph: &KnowledgeGraph) -> Result<()> {
        let entities = [&self.anchors, &self.targets, &self.filter];
        let known = entities.iter().all(|ids| ids.iter().all(|e| e.index() < graph.num_entities()));
        match known && self.relations.iter().all(|r| r.index() < graph.num_relations()) {
            true => Ok(()),
            false => Err(Error::file(
                graph.path(),
                "was changed while it is used: its ids are out of range; import it again",
            )),
        }
    }

    /// Number of queries.
    pub fn len(&self) -> usize {
        self.target_offsets.len() - 1
    }

    /// Whether there is no query.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All queries.
    pub fn all(&self) -> QueryBlock<'_> {
        self.block(0..self.len())
    }

    /// The queries of a range.
    pub fn block(&self, range: Range<usize>) -> QueryBlock<'_> {
        let (anchors, relations) = self.structure.flatten();
        let (anchors, relations) = (anchors.len(), relations.len());
        QueryBlock {
            structure: &self.structure,
            anchors: &self.anchors[range.start * anchors..range.end * anchors],
            relations: &self.relations[range.start * relations..range.end * relations],
            targets: &self.targets,
            target_offsets: &self.target_offsets[range.start..=range.end],
            filter: &self.filter,
            filter_offsets: &self.filter_offsets[range.start..=range.end],
        }
    }

    /// Consecutive blocks of at most `size` queries.
    pub fn blocks(&self, size: usize) -> impl Iterator<Item = QueryBlock<'_>> {
        (0..self.len()).step_by(size).map(move |start| self.block(start..self.len().min(start + size)))
    }
}
