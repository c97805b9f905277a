//! A pool of negatives: of a batch, indexed once for all of its queries, or of one query.

use super::entity_set::EntitySet;
use super::prefetch;
use crate::graph::Csr;
use crate::ids::{EntityId, RelationId};

/// Whose a pool of negatives is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// One pool for all queries of a batch: its rows are gathered, and its entities indexed, once.
    #[default]
    Shared,
    /// A pool for each query: negatives of different queries are independent, at the price of
    /// queries x negatives rows a batch.
    Own,
}

/// The pool's distinct entities, by entity and, where many queries share it, by the relations that leave them.
#[derive(Debug, Default)]
pub struct Pool<'g> {
    /// The pool as drawn, with repetitions.
    drawn: Vec<EntityId>,
    /// The distinct entities; a *candidate* is a position in this set.
    set: EntitySet,
    /// Positions in `drawn` of candidate `c` are `positions[starts[c]..starts[c + 1]]`.
    starts: Vec<u32>,
    positions: Vec<u32>,
    /// Whether the fields below are filled.
    by_relation: bool,
    /// Entries of directed relation `r` are `entries[relation_starts[r]..relation_starts[r + 1]]`.
    relation_starts: Vec<u32>,
    entries: Vec<Entry<'g>>,
    /// Tails in all entries of a relation.
    num_tails: Vec<usize>,
}

/// A candidate that has edges of a given relation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Entry<'g> {
    /// Position among the distinct entities.
    pub candidate: u32,
    /// Where the relation leads from the candidate, ascending.
    pub tails: &'g [EntityId],
}

impl<'g> Pool<'g> {
    /// Draws `size` entities, with repetition, and indexes them.
    ///
    /// O(size), and for a shared pool O(fragments at its entities + relations) more: that is worth its while for
    /// many queries, not for one.
    /// Returns the number of fragments that were listed.
    pub fn draw(
        &mut self,
        graph: Csr<'g>,
        size: usize,
        pooling: Pooling,
        mut entity: impl FnMut() -> EntityId,
    ) -> usize {
        self.drawn.clear();
        self.drawn.extend((0..size).map(|_| entity()));
        self.index_entities();
        self.by_relation = pooling == Pooling::Shared;
        if !self.by_relation {
            return 0;
        }
        self.index_relations(graph);
        self.entries.len()
    }

    fn index_entities(&mut self) {
        self.set.clear();
        for &entity in &self.drawn {
            self.set.insert(entity);
        }
        self.starts.clear();
        self.starts.resize(self.set.len() + 1, 0);
        for &entity in &self.drawn {
            let candidate = self.set.position(entity).expect("inserted above");
            self.starts[candidate] += 1;
        }
        accumulate(&mut self.starts);
        self.positions.clear();
        self.positions.resize(self.drawn.len(), 0);
        for (position, &entity) in self.drawn.iter().enumerate().rev() {
            let candidate = self.set.position(entity).expect("inserted above");
            self.starts[candidate] -= 1;
            self.positions[self.starts[candidate] as usize] = position as u32;
        }
    }

    fn index_relations(&mut self, graph: Csr<'g>) {
        self.relation_starts.clear();
        self.relation_starts.push(0);
        self.num_tails.clear();
        let mut total = 0;
        prefetch::each_row(graph, self.set.members(), |entity| {
            let row = graph.row(entity);
            total += row.num_fragments();
            if row.num_fragments() > 0 {
                let last = row.fragment(row.num_fragments() - 1).0.index();
                if last + 2 > self.relation_starts.len() {
                    self.relation_starts.resize(last + 2, 0);
                    self.num_tails.resize(last + 1, 0);
                }
            }
            for (relation, tails) in row.iter() {
                // A file that is changed while it is mapped may have relations beyond the row's last.
                let counts = (
                    self.relation_starts.get_mut(relation.index()),
                    self.num_tails.get_mut(relation.index()),
                );
                if let (Some(starts), Some(num_tails)) = counts {
                    *starts += 1;
                    *num_tails += tails.len();
                }
            }
            true
        });
        accumulate(&mut self.relation_starts);
        self.entries.clear();
        self.entries.resize(total, Entry::default());
        for (candidate, &entity) in self.set.members().iter().enumerate() {
            for (relation, tails) in graph.row(entity).iter() {
                let Some(start) = self.relation_starts.get_mut(relation.index()) else { continue };
                *start = start.saturating_sub(1);
                if let Some(entry) = self.entries.get_mut(*start as usize) {
                    *entry = Entry { candidate: candidate as u32, tails };
                }
            }
        }
    }

    /// The pool as drawn.
    pub fn drawn(&self) -> &[EntityId] {
        &self.drawn
    }

    /// Number of distinct entities.
    #[inline]
    pub fn num_candidates(&self) -> usize {
        self.set.len()
    }

    /// Entity of a candidate.
    #[inline]
    pub fn entity(&self, candidate: usize) -> EntityId {
        self.set.members()[candidate]
    }

    /// The candidate that `entity` is, if it is in the pool.
    #[inline]
    pub fn candidate(&self, entity: EntityId) -> Option<usize> {
        self.set.position(entity)
    }

    /// Positions of a candidate in the pool as drawn.
    #[inline]
    pub fn positions(&self, candidate: usize) -> &[u32] {
        &self.positions[self.starts[candidate] as usize..self.starts[candidate + 1] as usize]
    }

    /// The candidates that `relation` leaves, with its tails; `None` in a pool that is not indexed by relation.
    #[inline]
    pub fn leaving(&self, relation: RelationId) -> Option<&[Entry<'g>]> {
        if !self.by_relation {
            return None;
        }
        match self.relation_starts.get(relation.index()..relation.index() + 2) {
            Some(&[begin, end]) => Some(&self.entries[begin as usize..end as usize]),
            _ => Some(&[]),
        }
    }

    /// Tails in all of [`Pool::leaving`]; 0 without it.
    #[inline]
    pub fn num_tails(&self, relation: RelationId) -> usize {
        if !self.by_relation {
            return 0;
        }
        self.num_tails.get(relation.index()).copied().unwrap_or(0)
    }
}

/// Counts become segment ends; filling each segment from its end then leaves its start there, and the
/// last entry, which counts nothing, becomes the end of all.
fn accumulate(counts: &mut [u32]) {
    let mut sum = 0;
    for count in counts {
        sum += *count;
        *count = sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::CsrBuf;
    use crate::ids::Triple;
    use crate::rng::{below, stream};

    #[test]
    fn the_index_lists_every_occurrence_and_every_fragment_once() {
        let mut rng = stream(3, "pool", 0);
        let mut pool_memory = Pool::default();
        let graphs: Vec<CsrBuf> = [4, 30, 200]
            .map(|n| {
                let mut id = |n| below(&mut rng, n) as u32;
                let triples: Vec<Triple> = (0..3 * n)
                    .map(|_| Triple {
                        head: EntityId(id(n)),
                        relation: RelationId(2 * id(5)),
                        tail: EntityId(id(n)),
                    })
                    .collect();
                CsrBuf::from_triples(n as usize + 3, &triples)
            })
            .into();
        for buf in &graphs {
            let (graph, pool) = (buf.view(), &mut pool_memory);
            let n = graph.num_entities() as u64;
            pool.draw(graph, 64, Pooling::Shared, || EntityId(below(&mut rng, n) as u32));
            let mut seen = [false; 64];
            for candidate in 0..pool.num_candidates() {
                let entity = pool.entity(candidate);
                assert_eq!(pool.candidate(entity), Some(candidate));
                for &position in pool.positions(candidate) {
                    assert_eq!(pool.drawn()[position as usize], entity);
                    assert!(!std::mem::replace(&mut seen[position as usize], true));
                }
            }
            assert!(seen.iter().all(|&s| s));
            for relation in (0..12).map(RelationId) {
                let entries = pool.leaving(relation).expect("a shared pool is indexed");
                let expected: usize = (0..pool.num_candidates())
                    .filter(|&c| !graph.tails(pool.entity(c), relation).is_empty())
                    .count();
                assert_eq!(entries.len(), expected);
                for entry in entries {
                    assert_eq!(entry.tails, graph.tails(pool.entity(entry.candidate as usize), relation));
                }
                assert_eq!(pool.num_tails(relation), entries.iter().map(|e| e.tails.len()).sum::<usize>());
            }
        }
    }
}
