//! Exact answers by set operations over sorted lists: the oracle of every other part. Kept plain.

use super::tree::{Query, Tree};
use crate::graph::View;
use crate::ids::EntityId;

/// All answers of `query` on `graph`, ascending, unique.
///
/// A negation is a complement over all entities; where it stands in an intersection, its child is
/// subtracted instead, so that the usual structures never enumerate a complement. Time is the size
/// of the sets on the way; memory is at most a few sets of entities.
pub fn answers(graph: &View, query: &Query) -> Vec<EntityId> {
    match query {
        Tree::Anchor(entity) => vec![*entity],
        Tree::Projection(child, relation) => {
            let mut out = Vec::new();
            for entity in answers(graph, child) {
                graph.extend_tails(entity, *relation, &mut out);
            }
            out.sort_unstable();
            out.dedup();
            out
        }
        Tree::Union(children) => {
            let mut out: Vec<EntityId> = children.iter().flat_map(|c| answers(graph, c)).collect();
            out.sort_unstable();
            out.dedup();
            out
        }
        Tree::Negation(child) => complement(&answers(graph, child), graph.num_entities()),
        Tree::Intersection(children) => {
            let (negated, positive): (Vec<_>, Vec<_>) =
                children.iter().partition(|c| matches!(c, Tree::Negation(_)));
            let mut out: Option<Vec<EntityId>> = None;
            for child in positive {
                let set = answers(graph, child);
                out = Some(match out {
                    None => set,
                    Some(mut kept) => {
                        kept.retain(|e| set.binary_search(e).is_ok());
                        kept
                    }
                });
            }
            let mut out = out.unwrap_or_else(|| complement(&[], graph.num_entities()));
            for child in negated {
                let Tree::Negation(inner) = child else { unreachable!("partitioned above") };
                let set = answers(graph, inner);
                out.retain(|e| set.binary_search(e).is_err());
            }
            out
        }
    }
}

fn complement(set: &[EntityId], num_entities: usize) -> Vec<EntityId> {
    (0..num_entities as u32).map(EntityId).filter(|e| set.binary_search(e).is_err()).collect()
}
