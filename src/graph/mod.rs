//! The graph: compressed sparse rows over directed relations, and the file that holds them.
//!
//! Reading order: [`csr`] (the index everything else walks).

pub mod csr;

pub use csr::{Csr, CsrBuf, View, Walk};

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
