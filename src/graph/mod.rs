//! The graph: compressed sparse rows over directed relations, and the file that holds them.
//!
//! Reading order: [`csr`] (the index everything else walks), [`view`] (several of them as one), [`string_table`] (names and labels as
//! memory-mapped tables), [`layout`] (the sections of a graph file), [`metadata`] (what it says about
//! its making); from triples to a file in bounded memory: [`builder`], with [`vocabulary`] and [`id_assigner`]
//! (names to ids), `deduplicate` (triples sorted and counted), [`edges`], [`string_writer`] and [`label_builder`] (arrays as streams), [`alike`](mod@alike) (names that a reader may take for one); [`file`](mod@file) and [`names`]
//! (an opened one), [`stats`] (what `data info` reports).

pub mod alike;
pub mod builder;
pub mod csr;
mod deduplicate;
pub mod edges;
pub mod file;
pub mod id_assigner;
pub mod label_builder;
pub mod layout;
pub mod metadata;
pub mod names;
pub mod stats;
pub mod string_table;
pub mod string_writer;
pub mod view;
pub mod vocabulary;

pub use builder::{GraphBuilder, Resources};
pub use csr::{Csr, CsrBuf};
pub use file::KnowledgeGraph;
pub use layout::Subject;
pub use metadata::Metadata;
pub use names::Names;
pub use view::{View, Walk};

/// A part of a dataset. Training sees [`Split::Train`] only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Split {
    /// Edges to train on.
    Train,
    /// Edges to choose settings by.
    Valid,
    /// Edges to report results on.
    Test,
}

impl Split {
    /// All splits, in order.
    pub const ALL: [Split; 3] = [Split::Train, Split::Valid, Split::Test];

    /// The name in files and messages.
    pub fn name(self) -> &'static str {
        ["train", "valid", "test"][self as usize]
    }
}
