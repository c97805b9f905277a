//! Several indexes read as one, and walks at random over either.

use super::Csr;
use crate::ids::{EntityId, RelationId, Triple};
use crate::rng::{Rng, below};

/// Several indexes over the same entities, read as their union: train, train+valid, train+valid+test.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// The layers; their edges may overlap.
    pub layers: Vec<Csr<'a>>,
}

impl<'a> View<'a> {
    /// The union of `layers`.
    pub fn new(layers: impl IntoIterator<Item = Csr<'a>>) -> Self {
        View { layers: layers.into_iter().collect() }
    }

    /// Number of entities.
    pub fn num_entities(&self) -> usize {
        self.layers[0].num_entities()
    }

    /// Appends the tails of `(head, relation)` to `out`, layer by layer: ascending within a layer only.
    pub fn extend_tails(&self, head: EntityId, relation: RelationId, out: &mut Vec<EntityId>) {
        for layer in &self.layers {
            out.extend_from_slice(layer.tails(head, relation));
        }
    }

    /// Whether any layer has the edge.
    pub fn contains(&self, triple: Triple) -> bool {
        self.layers.iter().any(|layer| layer.contains(triple))
    }
}

/// A graph on which one can walk at random.
pub trait Walk {
    /// Number of entities, with or without edges.
    fn num_entities(&self) -> usize;

    /// Whether any edge leaves `entity`.
    fn has_edges(&self, entity: EntityId) -> bool;

    /// An edge that leaves `entity`: a relation uniformly among those it has, then a tail uniformly
    /// among that relation's. `None` where the entity has no edges.
    fn pick_edge(&self, entity: EntityId, rng: &mut Rng) -> Option<(RelationId, EntityId)>;

    /// A tail of `(head, relation)`, uniformly; `None` where there is none.
    fn pick_tail(&self, head: EntityId, relation: RelationId, rng: &mut Rng) -> Option<EntityId>;

    /// Whether the graph has the edge.
    fn contains(&self, triple: Triple) -> bool;
}

/// Uniform among entities; `None` where there are none.
pub(crate) fn pick(entities: &[EntityId], rng: &mut Rng) -> Option<EntityId> {
    (!entities.is_empty()).then(|| entities[below(rng, entities.len() as u64) as usize])
}

impl Walk for Csr<'_> {
    #[inline]
    fn num_entities(&self) -> usize {
        self.num_entities()
    }

    #[inline]
    fn has_edges(&self, entity: EntityId) -> bool {
        self.has_edges(entity)
    }

    #[inline]
    fn pick_edge(&self, entity: EntityId, rng: &mut Rng) -> Option<(RelationId, EntityId)> {
        let row = self.row(entity);
        if row.num_fragments() == 0 {
            return None;
        }
        let (relation, tails) = row.fragment(below(rng, row.num_fragments() as u64) as usize);
        Some((relation, pick(tails, rng)?))
    }

    #[inline]
    fn pick_tail(&self, head: EntityId, relation: RelationId, rng: &mut Rng) -> Option<EntityId> {
        pick(self.tails(head, relation), rng)
    }

    #[inline]
    fn contains(&self, triple: Triple) -> bool {
        self.contains(triple)
    }
}

/// A layer is chosen first, in proportion to its number of relations at the entity.
impl Walk for View<'_> {
    fn num_entities(&self) -> usize {
        self.layers[0].num_entities()
    }

    fn has_edges(&self, entity: EntityId) -> bool {
        self.layers.iter().any(|layer| layer.has_edges(entity))
    }

    fn pick_edge(&self, entity: EntityId, rng: &mut Rng) -> Option<(RelationId, EntityId)> {
        let total: usize = self.layers.iter().map(|l| l.num_relations_at(entity)).sum();
        let mut pick = if total == 0 { return None } else { below(rng, total as u64) as usize };
        for layer in &self.layers {
            let here = layer.num_relations_at(entity);
            if pick < here {
                return layer.pick_edge(entity, rng);
            }
            pick -= here;
        }
        None
    }

    fn pick_tail(&self, head: EntityId, relation: RelationId, rng: &mut Rng) -> Option<EntityId> {
        let mut tails = Vec::new();
        self.extend_tails(head, relation, &mut tails);
        pick(&tails, rng)
    }

    fn contains(&self, triple: Triple) -> bool {
        self.contains(triple)
    }
}
