//! Training batches: ids and masks only, so that they are small and their buffers can be recycled.

use crate::ids::{EntityId, RelationId, Triple};
use crate::query::Plan;

/// One batch of queries with their negatives: a pool that all share, or one for each.
///
/// Queries stand structure by structure in the order of the [`Mix`](crate::query::Mix), so that the
/// position of a query says its structure. The sampler fills the first group of fields;
/// [`Batch::index`] derives the second from them for the trainer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Number of the batch: with the seed, it decides the whole content.
    pub number: u64,
    /// Anchors of all queries, query by query, each in post-order.
    pub anchors: Vec<EntityId>,
    /// Relations of all queries, query by query, each in post-order.
    pub relations: Vec<RelationId>,
    /// One answer of each query on the training graph.
    pub positives: Vec<EntityId>,
    /// Candidates of a query.
    pub pool_size: usize,
    /// The pool that all queries share (`pool_size` entities), or query by query the pool of each; the same entity may
    /// occur twice. See [`Batch::pool`].
    pub negatives: Vec<EntityId>,
    /// `queries x words_per_query` bits: bit `n` of a query's words says that candidate `n` of its pool is one of
    /// its answers and must not count as a negative.
    pub mask: Vec<u64>,
    /// Number of answers of each query: exact where the sampler enumerated them, else an estimate.
    pub num_answers: Vec<f32>,

    /// Row to gather for each use of an entity: the plan's anchors, then positives, then negatives.
    pub entity_rows: Vec<u32>,
    /// Row to gather for each use of a relation in the plan.
    pub relation_rows: Vec<u32>,
    /// The distinct entities with their positions in `entity_rows`.
    pub entity_groups: Groups,
    /// The distinct relations with their positions in `relation_rows`.
    pub relation_groups: Groups,
}

/// Positions grouped by the id that stands there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// Distinct ids, ascending.
    pub ids: Vec<u32>,
    /// Members of group `i` are `members[offsets[i]..offsets[i + 1]]`.
    pub offsets: Vec<u32>,
    /// Positions, ascending within a group.
    pub members: Vec<u32>,
}

impl Groups {
    /// Groups the positions of `ids`. O(n log n); reuses the buffers but for 8 bytes an id, by which it sorts.
    pub fn assign(&mut self, ids: &[u32]) {
        let mut keys: Vec<u64> =
            ids.iter().zip(0u32..).map(|(&id, position)| u64::from(id) << 32 | u64::from(position)).collect();
        keys.sort_unstable();
        self.members.clear();
        self.ids.clear();
        self.offsets.clear();
        for (i, key) in keys.into_iter().enumerate() {
            let (id, position) = ((key >> 32) as u32, key as u32);
            if self.ids.last() != Some(&id) {
                self.ids.push(id);
                self.offsets.push(i as u32);
            }
            self.members.push(position);
        }
        self.offsets.push(ids.len() as u32);
    }
}

impl Batch {
    /// Number of 64-bit words of a query's mask.
    pub fn words_per_query(num_negatives: usize) -> usize {
        num_negatives.div_ceil(64)
    }

    /// The candidates of query `q`.
    pub fn pool(&self, q: usize) -> &[EntityId] {
        let shared = self.negatives.len() == self.pool_size;
        &self.negatives[if shared { 0 } else { q * self.pool_size }..][..self.pool_size]
    }

    /// Whether candidate `n` of query `q` is an answer of it.
    pub fn is_masked(&self, q: usize, n: usize) -> bool {
        let words = Self::words_per_query(self.pool_size);
        self.mask[q * words + n / 64] >> (n % 64) & 1 == 1
    }

    /// Number of masked entries of query `q`.
    pub fn num_masked(&self, q: usize) -> usize {
        let words = Self::words_per_query(self.pool_size);
        self.mask[q * words..][..words].iter().map(|w| w.count_ones() as usize).sum()
    }

    /// Derives the rows to gather and their groups, once the sampler has filled the batch.
    pub fn index(&mut self, plan: &Plan) {
        self.entity_rows.clear();
        self.entity_rows.extend(plan.anchors.iter().map(|&a| self.anchors[a as usize].0));
        self.entity_rows.extend(self.positives.iter().map(|e| e.0));
        self.entity_rows.extend(self.negatives.iter().map(|e| e.0));
        self.relation_rows.clear();
        self.relation_rows.extend(plan.relation_uses.iter().map(|&r| self.relations[r as usize].0));
        self.entity_groups.assign(&self.entity_rows);
        self.relation_groups.assign(&self.relation_rows);
    }
}

/// Rows of scores with their labels: each row is a pair (head, relation), distinct in the batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OneVsAllBatch {
    /// Number of the batch: with the seed, it decides the whole content.
    pub number: u64,
    /// Triples (1vsAll) or pairs (KvsAll) of the epoch that it goes through.
    pub units: usize,
    /// Head of each row.
    pub heads: Vec<u32>,
    /// Relation of each row.
    pub relations: Vec<u32>,
    /// Bounds of each row in `labels`.
    pub label_offsets: Vec<u32>,
    /// Tails of each row, ascending: at least one, distinct.
    pub labels: Vec<u32>,
    /// The distinct heads with their rows.
    pub head_groups: Groups,
    /// The distinct relations with their rows.
    pub relation_groups: Groups,
}

impl OneVsAllBatch {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.heads.len()
    }

    /// Makes the rows of distinct edges that ascend by head, relation, tail.
    pub fn assign(&mut self, number: u64, edges: &[Triple]) {
        let OneVsAllBatch { heads, relations, label_offsets, labels, .. } = self;
        for list in [&mut *heads, &mut *relations, &mut *label_offsets, &mut *labels] {
            list.clear();
        }
        label_offsets.push(0);
        for edges in edges.chunk_by(|a, b| (a.head, a.relation) == (b.head, b.relation)) {
            heads.push(edges[0].head.0);
            relations.push(edges[0].relation.0);
            labels.extend(edges.iter().map(|edge| edge.tail.0));
            label_offsets.push(labels.len() as u32);
        }
        self.number = number;
        self.head_groups.assign(&self.heads);
        self.relation_groups.assign(&self.relations);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_list_every_position_once_by_id() {
        let mut groups = Groups::default();
        groups.assign(&[5, 2, 5, 9, 2, 2]);
        assert_eq!(groups.ids, [2, 5, 9]);
        assert_eq!(groups.offsets, [0, 3, 5, 6]);
        assert_eq!(groups.members, [1, 4, 5, 0, 2, 3]);
        groups.assign(&[]);
        assert_eq!((groups.ids.len(), groups.offsets.as_slice()), (0, [0].as_slice()));
    }
}
