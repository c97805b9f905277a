//! How many bytes of the graph and of the pool's index are read.

use super::negatives::Entry;
use crate::graph::Csr;
use crate::ids::{EntityId, RelationId};
use std::cell::Cell;

/// A count of bytes, by what the algorithm asks for: not by cache lines, and twice what is asked for twice.
///
/// | read | bytes |
/// | --- | --- |
/// | where an entity's row begins and ends | 16 |
/// | a fragment that a binary search compares, or that is listed | 4 |
/// | a tail that is walked or compared | 4 |
/// | a candidate of the pool that a relation leaves | 24 |
/// | an entity looked up in the pool | 8 |
///
/// Sets that are built on the way do not count: they are the worker's own and stay in its cache.
#[derive(Debug, Default)]
pub struct Work {
    bytes: Cell<u64>,
}

/// Where a row begins and where the next one does.
const ROW: usize = 2 * size_of::<u64>();
/// Of a narrow row, as almost all are.
const FRAGMENT: usize = size_of::<u32>();
const TAIL: usize = size_of::<EntityId>();
const ENTRY: usize = size_of::<Entry>();
/// A slot of the pool's table and the entity that it points to.
const LOOK_UP: usize = 2 * size_of::<EntityId>();

impl Work {
    /// Returns what was counted since the last call.
    pub fn take(&self) -> u64 {
        self.bytes.take()
    }

    /// Tails of `(head, relation)`; counts what it takes to find them, not themselves.
    #[inline]
    pub fn tails<'g>(&self, graph: Csr<'g>, head: EntityId, relation: RelationId) -> &'g [EntityId] {
        let row = graph.row(head);
        self.add(ROW + FRAGMENT * steps(row.num_fragments()));
        row.tails_of(relation)
    }

    /// `edges` of a random walk: a row, a fragment and the next for its end, a tail.
    pub fn drawn(&self, edges: usize) {
        self.add(edges * (ROW + 2 * FRAGMENT + TAIL));
    }

    /// Rows of which all `fragments` are listed.
    pub fn listed(&self, rows: usize, fragments: usize) {
        self.add(rows * ROW + fragments * FRAGMENT);
    }

    /// Tails that are walked.
    #[inline]
    pub fn walked(&self, tails: usize) {
        self.add(tails * TAIL);
    }

    /// Tails that are intersected with a set: all, or so many as binary searches for its members meet.
    #[inline]
    pub fn compared(&self, tails: usize, set: usize) {
        self.add(tails.min(set.saturating_mul(steps(tails))) * TAIL);
    }

    /// Tails that are walked and looked up in the pool.
    #[inline]
    pub fn asked(&self, tails: usize) {
        self.add(tails * (TAIL + LOOK_UP));
    }

    /// Candidates that a relation leaves.
    #[inline]
    pub fn entries(&self, candidates: usize) {
        self.add(candidates * ENTRY);
    }

    #[inline]
    fn add(&self, bytes: usize) {
        self.bytes.set(self.bytes.get() + bytes as u64);
    }
}

/// Comparisons of a binary search.
#[inline]
fn steps(len: usize) -> usize {
    (usize::BITS - len.leading_zeros()) as usize
}
