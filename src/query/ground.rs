//! Names and labels -> ids, and back.

use super::parse::{NamedQuery, RelationName};
use super::tree::Query;
use crate::error::{Error, Result};
use crate::graph::{KnowledgeGraph, Names};
use crate::ids::{EntityId, RelationId};

/// What a name is a name of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NameKind {
    /// An entity.
    Entity,
    /// A relation of the dataset, without a direction.
    Relation,
}

impl NameKind {
    /// The word in messages.
    pub fn word(self) -> &'static str {
        match self {
            NameKind::Entity => "entity",
            NameKind::Relation => "relation",
        }
    }
}

/// A vocabulary in which queries are resolved. Ids of relations are the dataset's (not doubled).
pub trait NameLookup {
    /// The id of an exact name.
    fn find(&self, kind: NameKind, name: &str) -> Option<u32>;
    /// The ids that have this label; several may.
    fn find_label(&self, kind: NameKind, label: &str) -> Vec<u32>;
    /// The name of an id.
    fn name(&self, kind: NameKind, id: u32) -> String;
    /// The label of an id in the preferred language, if it has one.
    fn label(&self, kind: NameKind, id: u32) -> Option<String>;
    /// Names and labels that look like `name`, best first; empty where nothing does.
    fn suggestions(&self, kind: NameKind, name: &str) -> Vec<String>;
}

/// Looks every name of a query up: as a name first, then as a label.
///
/// Errors: an unknown name, with what it might have been; a label of several ids, with their names.
pub fn ground(query: &NamedQuery, names: &impl NameLookup) -> Result<Query> {
    query.try_map(&mut |anchor| find(names, NameKind::Entity, anchor).map(EntityId), &mut |relation| {
        let id = find(names, NameKind::Relation, &relation.name)?;
        Ok(RelationId(2 * id + u32::from(relation.inverse)))
    })
}

/// The query with names for ids: its `to_string` is text that is grounded to the same query.
pub fn with_names(query: &Query, names: &impl NameLookup) -> NamedQuery {
    let named = query.try_map(&mut |anchor| Ok(names.name(NameKind::Entity, anchor.0)), &mut |relation| {
        let name = names.name(NameKind::Relation, relation.0 / 2);
        Ok::<_, std::convert::Infallible>(RelationName { name, inverse: relation.is_inverse() })
    });
    match named {
        Ok(named) => named,
    }
}

/// Names and labels of a graph file; labels in its preferred language.
impl NameLookup for KnowledgeGraph {
    fn find(&self, kind: NameKind, name: &str) -> Option<u32> {
        names_of(self, kind).find(name)
    }

    fn find_label(&self, kind: NameKind, label: &str) -> Vec<u32> {
        names_of(self, kind).find_label(label)
    }

    fn name(&self, kind: NameKind, id: u32) -> String {
        names_of(self, kind).name(id)
    }

    fn label(&self, kind: NameKind, id: u32) -> Option<String> {
        names_of(self, kind).label(id)
    }

    fn suggestions(&self, kind: NameKind, name: &str) -> Vec<String> {
        names_of(self, kind).suggestions(name, 3)
    }
}

fn names_of(graph: &KnowledgeGraph, kind: NameKind) -> Names<'_> {
    match kind {
        NameKind::Entity => graph.entities(),
        NameKind::Relation => graph.relations(),
    }
}

/// The id of a name, or of a label that only one has.
///
/// Errors: as [`ground`].
pub fn find(names: &impl NameLookup, kind: NameKind, name: &str) -> Result<u32> {
    if let Some(id) = names.find(kind, name) {
        return Ok(id);
    }
    const SHOWN: usize = 8;
    match names.find_label(kind, name).as_slice() {
        [id] => Ok(*id),
        [] => {
            let suggestions = names.suggestions(kind, name);
            let hint = match suggestions.is_empty() {
                true => String::new(),
                false => format!("; did you mean {}?", suggestions.join(", ")),
            };
            let message = format!("no {} has the name or label \"{name}\"{hint}", kind.word());
            let name = name.to_string();
            Err(match kind {
                NameKind::Entity => Error::NoSuchEntity { name, message },
                NameKind::Relation => Error::NoSuchRelation { name, message },
            })
        }
        many => {
            let shown: Vec<String> = many.iter().take(SHOWN).map(|&id| names.name(kind, id)).collect();
            let more = if many.len() > SHOWN { ", ..." } else { "" };
            Err(Error::invalid(format!(
                "\"{name}\" is the label of {} {}: write one of the names {}{more}",
                many.len(),
                if kind == NameKind::Entity { "entities" } else { "relations" },
                shown.join(", ")
            )))
        }
    }
}
