//! What of a query training has seen: the row of an entity or relation that no training edge has is what it was at
//! the start.

use super::ground::{NameKind, NameLookup};
use super::tree::Query;
use crate::graph::{KnowledgeGraph, Split};
use crate::ids::{EntityId, RelationId};

/// Entities and relations that training edges have.
pub struct Trained<'g> {
    graph: &'g KnowledgeGraph,
    /// By the dataset's relation; empty where training has all of them.
    relations: Vec<bool>,
}

impl<'g> Trained<'g> {
    /// Of a graph. O(1) where the training graph has every relation, else O(its fragments).
    pub fn new(graph: &'g KnowledgeGraph) -> Self {
        let mut relations = Vec::new();
        if graph.metadata().findings.unseen_relations > 0 {
            relations.resize(graph.num_relations() / 2, false);
            let train = graph.split(Split::Train);
            for entity in train.entities_with_edges() {
                train.row(entity).iter().for_each(|(relation, _)| relations[relation.index() / 2] = true);
            }
        }
        Trained { graph, relations }
    }

    /// Whether a training edge has this entity.
    pub fn has_entity(&self, entity: EntityId) -> bool {
        self.graph.split(Split::Train).has_edges(entity)
    }

    /// Whether a training edge has this relation, in either direction.
    pub fn has_relation(&self, relation: RelationId) -> bool {
        self.relations.get(relation.index() / 2).is_none_or(|&seen| seen)
    }

    /// What of a query no training edge has: `entity "x"`, `relation "r"`, each once.
    pub fn missing(&self, query: &Query) -> Vec<String> {
        let (anchors, relations) = query.flatten();
        let entities = anchors.into_iter().filter(|&&e| !self.has_entity(e)).map(|e| (NameKind::Entity, e.0));
        let relations = relations.into_iter().filter(|&&r| !self.has_relation(r));
        let mut missing: Vec<String> = Vec::new();
        for (kind, id) in entities.chain(relations.map(|r| (NameKind::Relation, r.0 / 2))) {
            let text = format!("{} \"{}\"", kind.word(), self.graph.name(kind, id));
            if !missing.contains(&text) {
                missing.push(text);
            }
        }
        missing
    }
}
