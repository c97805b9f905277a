//! Queries over relations of one direction only.

use crate::graph::csr::Row;
use crate::graph::view::pick;
use crate::graph::{Csr, Walk};
use crate::ids::{EntityId, RelationId, Triple};
use crate::rng::{Rng, below};

/// The relations that queries are drawn over. Every fact can be walked both ways: `r` from its head, the inverse of `r`
/// from its tail.
///
/// Negatives are verified in the same graph whatever the direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Relations and their inverses, as in the query sets of BetaE.
    #[default]
    Both,
    /// The dataset's relations: every anchor is a head, every answer a tail.
    Forward,
    /// Inverse relations: what SMORE's sampler calls inverse queries.
    Inverse,
}

impl Direction {
    /// Whether queries may have this relation.
    pub fn allows(self, relation: RelationId) -> bool {
        match self {
            Direction::Both => true,
            Direction::Forward => !relation.is_inverse(),
            Direction::Inverse => relation.is_inverse(),
        }
    }
}

/// A graph in which walks from an answer leave by edges whose inverses, the query's relations, have one direction.
#[derive(Clone, Copy, Debug)]
pub struct OneWay<'g> {
    graph: Csr<'g>,
    /// Whether the edges walked are inverse relations, and the query's so the dataset's own.
    by_inverse: bool,
}

impl<'g> OneWay<'g> {
    /// The walks for queries over `direction`; `None` where that is both.
    pub fn new(graph: Csr<'g>, direction: Direction) -> Option<Self> {
        match direction {
            Direction::Both => None,
            Direction::Forward => Some(OneWay { graph, by_inverse: true }),
            Direction::Inverse => Some(OneWay { graph, by_inverse: false }),
        }
    }

    /// Fragments of the row that may be walked.
    fn allowed(&self, row: Row<'g>) -> impl Iterator<Item = (RelationId, &'g [EntityId])> {
        let by_inverse = self.by_inverse;
        row.iter().filter(move |(relation, _)| relation.is_inverse() == by_inverse)
    }
}

/// As [`Csr`], among the edges of one direction; O(relations at the entity).
impl Walk for OneWay<'_> {
    fn num_entities(&self) -> usize {
        self.graph.num_entities()
    }

    fn has_edges(&self, entity: EntityId) -> bool {
        self.allowed(self.graph.row(entity)).next().is_some()
    }

    fn pick_edge(&self, entity: EntityId, rng: &mut Rng) -> Option<(RelationId, EntityId)> {
        let row = self.graph.row(entity);
        let count = self.allowed(row).count();
        if count == 0 {
            return None;
        }
        let (relation, tails) = self.allowed(row).nth(below(rng, count as u64) as usize)?;
        Some((relation, pick(tails, rng)?))
    }

    /// Any relation's: a query's own relations have the other direction than the walk from its answer.
    fn pick_tail(&self, head: EntityId, relation: RelationId, rng: &mut Rng) -> Option<EntityId> {
        self.graph.pick_tail(head, relation, rng)
    }

    fn contains(&self, triple: Triple) -> bool {
        self.graph.contains(triple)
    }
}
