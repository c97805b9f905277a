//! What programs call: open a dataset, train, ask a saved run, draw batches.
//!
//! `dataset` opens a graph, `device` chooses where models run, `run` trains, `saved_run` asks, scores and evaluates, `sampler`
//! draws batches.
//!
//! Everything here is a thin layer over the rest of the crate: it opens devices, hides which one it is, and turns the
//! watcher of a run into a callback.

mod dataset;
mod device;
mod run;
mod sampler;
mod saved_run;

pub use dataset::Dataset;
pub(crate) use device::on;
pub use device::{Device, Opened};
pub use run::{Event, Run};
pub use sampler::{Drawn, Sampler};
pub use saved_run::SavedRun;

use crate::error::Result;
use crate::graph::{KnowledgeGraph, Split};
use crate::ids::{EntityId, RelationId};
use crate::query::{Query, Tree, execute, ground, parse_query};

impl Query {
    /// A query in the notation of nested tuples, with names or labels of a graph: `('Q1',('P1','P2'))`.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchEntity`](crate::Error::NoSuchEntity), [`Error::NoSuchRelation`](crate::Error::NoSuchRelation);
    /// [`Error::Invalid`](crate::Error::Invalid) with a place where the text is no query.
    pub fn parse(text: &str, graph: &KnowledgeGraph) -> Result<Query> {
        ground::ground(&parse_query(text)?, graph)
    }

    /// What `relation` leads to from `head`.
    pub fn one_hop(head: EntityId, relation: RelationId) -> Query {
        Tree::Projection(Box::new(Tree::Anchor(head)), relation)
    }

    /// Its exact answers in a split and those before it (train, then valid, then test): ids, ascending.
    pub fn answers(&self, graph: &KnowledgeGraph, split: Split) -> Vec<EntityId> {
        execute::answers(&graph.view(split), self)
    }
}

impl KnowledgeGraph {
    /// The text of a query, with names: [`Query::parse`] reads it.
    pub fn text_of(&self, query: &Query) -> String {
        ground::with_names(query, self).to_string()
    }
}
