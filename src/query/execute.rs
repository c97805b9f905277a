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
    answers_within(graph, query, usize::MAX).expect("no set has more entities than that")
}

/// As [`answers`], or `None` where a set on the way takes more than `limit` entities to put together: on a large graph
/// a few hops from a hub reach most of it. Time and memory are bounded by a few times `limit` for each projection.
pub fn answers_within(graph: &View, query: &Query, limit: usize) -> Option<Vec<EntityId>> {
    let inside = |child| answers_within(graph, child, limit);
    let complement = |set: &[EntityId]| {
        let fits = graph.num_entities() <= limit;
        fits.then(|| complement(set, graph.num_entities()))
    };
    match query {
        Tree::Anchor(entity) => Some(vec![*entity]),
        Tree::Projection(child, relation) => {
            let mut out = Vec::new();
            for entity in inside(child)? {
                graph.extend_tails(entity, *relation, &mut out);
                if out.len() > limit {
                    return None;
                }
            }
            out.sort_unstable();
            out.dedup();
            Some(out)
        }
        Tree::Union(children) => {
            let sets: Option<Vec<_>> = children.iter().map(inside).collect();
            let mut out = sets?.concat();
            out.sort_unstable();
            out.dedup();
            Some(out)
        }
        Tree::Negation(child) => complement(&inside(child)?),
        Tree::Intersection(children) => {
            let (negated, positive): (Vec<_>, Vec<_>) =
                children.iter().partition(|c| matches!(c, Tree::Negation(_)));
            let mut out: Option<Vec<EntityId>> = None;
            for child in positive {
                let set = inside(child)?;
                out = Some(match out {
                    None => set,
                    Some(mut kept) => {
                        kept.retain(|e| set.binary_search(e).is_ok());
                        kept
                    }
                });
            }
            let mut out = match out {
                Some(out) => out,
                None => complement(&[])?,
            };
            for child in negated {
                let Tree::Negation(inner) = child else { unreachable!("partitioned above") };
                let set = inside(inner)?;
                out.retain(|e| set.binary_search(e).is_err());
            }
            Some(out)
        }
    }
}

fn complement(set: &[EntityId], num_entities: usize) -> Vec<EntityId> {
    (0..num_entities as u32).map(EntityId).filter(|e| set.binary_search(e).is_err()).collect()
}
