//! Why an answer is true: its best binding of the inner variables, and the links between them.

use super::propagate::{Propagation, Trace};
use super::rows::Pair;
use crate::error::Result;
use crate::ids::{EntityId, RelationId, Triple};
use crate::query::{Query, Tree};
use rustc_hash::FxHashMap;

/// What makes an entity true at a node of a query.
///
/// Where all bindings were followed, the truth of a witness, worked out from its links, is the truth of the entity.
#[derive(Clone, Debug, PartialEq)]
pub struct Witness {
    /// The entity.
    pub entity: EntityId,
    /// How true it is here.
    pub truth: f32,
    /// By what.
    pub because: Because,
}

/// A node of a query, with its variable bound.
#[derive(Clone, Debug, PartialEq)]
pub enum Because {
    /// It is the anchor.
    Anchor,
    /// A link leads to it from the best binding of what stands below.
    Link {
        /// The binding.
        from: Box<Witness>,
        /// The link's relation.
        relation: RelationId,
        /// The link's truth.
        truth: f32,
        /// Whether the link is observed.
        observed: bool,
    },
    /// All branches make it true.
    All(Vec<Witness>),
    /// These branches make it true; one is enough.
    Any(Vec<Witness>),
    /// Nothing speaks against it, or this does: the strongest counter-evidence.
    Not(Option<Box<Witness>>),
}

impl Propagation<'_> {
    /// The witnesses of entities as answers of a query whose trace this is; `None` for one that is false.
    ///
    /// # Errors
    ///
    /// As [`Rows::get`](super::rows::Rows::get).
    pub fn witnesses(
        &self,
        query: &Query,
        trace: &Trace,
        entities: &[EntityId],
    ) -> Result<Vec<Option<Witness>>> {
        let true_here: Vec<(EntityId, f32)> = entities
            .iter()
            .map(|&entity| (entity, trace.values.of(entity)))
            .filter(|(_, truth)| *truth > 0.0)
            .collect();
        let because: Vec<Because> = match query {
            Tree::Anchor(_) => vec![Because::Anchor; true_here.len()],
            Tree::Projection(child, relation) => {
                self.links(child, &trace.children[0], *relation, &true_here)?
            }
            Tree::Negation(child) => {
                let counter = self.branch(child, &trace.children[0], &true_here)?;
                counter.into_iter().map(|counter| Because::Not(counter.map(Box::new))).collect()
            }
            Tree::Intersection(children) | Tree::Union(children) => {
                let mut branches = vec![Vec::with_capacity(children.len()); true_here.len()];
                for (child, trace) in children.iter().zip(&trace.children) {
                    let witnesses = self.branch(child, trace, &true_here)?;
                    branches
                        .iter_mut()
                        .zip(witnesses)
                        .for_each(|(branches, witness)| branches.extend(witness));
                }
                let all = matches!(query, Tree::Intersection(_));
                branches.into_iter().map(if all { Because::All } else { Because::Any }).collect()
            }
        };
        let mut witnesses = true_here
            .into_iter()
            .zip(because)
            .map(|((entity, truth), because)| Witness { entity, truth, because })
            .peekable();
        Ok(entities.iter().map(|&entity| witnesses.next_if(|witness| witness.entity == entity)).collect())
    }

    fn branch(
        &self,
        query: &Query,
        trace: &Trace,
        entities: &[(EntityId, f32)],
    ) -> Result<Vec<Option<Witness>>> {
        let entities: Vec<EntityId> = entities.iter().map(|(entity, _)| *entity).collect();
        self.witnesses(query, trace, &entities)
    }

    /// The best link to each tail, of equal ones that from the lowest id.
    fn links(
        &self,
        child: &Query,
        trace: &Trace,
        relation: RelationId,
        tails: &[(EntityId, f32)],
    ) -> Result<Vec<Because>> {
        let bindings = self.bindings(&trace.values);
        let mut best: Vec<Option<(EntityId, f32, f32)>> = vec![None; tails.len()];
        for bindings in bindings.chunks(self.rows_at_once()) {
            let pairs: Vec<Pair> = bindings.iter().map(|(head, _)| (relation, *head)).collect();
            let rows = self.rows.get(&pairs)?;
            for ((head, value), row) in bindings.iter().zip(&rows) {
                let row = row.row();
                for ((tail, _), best) in tails.iter().zip(&mut best) {
                    let Ok(at) = row.tails.binary_search(tail) else { continue };
                    let truth = self.rows.truth.of(row.codes[at]);
                    let both = self.norm.and(*value, truth);
                    if both > best.map_or(0.0, |(_, _, best)| best) {
                        *best = Some((*head, truth, both));
                    }
                }
            }
        }
        let best: Vec<_> = best.into_iter().map(|best| best.expect("a true entity has a binding")).collect();
        let mut heads: Vec<EntityId> = best.iter().map(|(head, ..)| *head).collect();
        heads.sort_unstable();
        heads.dedup();
        let below = self.witnesses(child, trace, &heads)?.into_iter().flatten();
        let below: FxHashMap<EntityId, Witness> = below.map(|witness| (witness.entity, witness)).collect();
        let each = best.into_iter().zip(tails).map(|((head, truth, _), &(tail, _))| Because::Link {
            from: Box::new(below[&head].clone()),
            relation,
            truth,
            observed: self.rows.evidence.contains(Triple { head, relation, tail }),
        });
        Ok(each.collect())
    }
}
