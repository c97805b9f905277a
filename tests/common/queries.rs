//! Random graphs and random queries, small enough to be looked at from all sides.

use proptest::prelude::*;
use smore::engine::ids::Triple;
use smore::engine::query::{Query, Tree};
use smore::{EntityId, RelationId};

/// Fewer than `most` triples over so many entities and relations of a dataset.
pub fn any_triples(entities: u32, relations: u32, most: usize) -> impl Strategy<Value = Vec<Triple>> {
    let triple = (0..entities, 0..relations, 0..entities).prop_map(|(h, r, t)| Triple {
        head: EntityId(h),
        relation: RelationId(2 * r),
        tail: EntityId(t),
    });
    prop::collection::vec(triple, 0..most)
}

/// A query of any tree, over relations in both directions, at most so deep and of about so many nodes.
pub fn any_query(entities: u32, relations: u32, depth: u32, nodes: u32) -> impl Strategy<Value = Query> {
    let leaf = (0..entities).prop_map(|e| Tree::Anchor(EntityId(e)));
    leaf.prop_recursive(depth, nodes, 3, move |inner| {
        prop_oneof![
            3 => (inner.clone(), 0..2 * relations)
                .prop_map(|(t, r)| Tree::Projection(Box::new(t), RelationId(r))),
            1 => inner.clone().prop_map(|t| Tree::Negation(Box::new(t))),
            1 => prop::collection::vec(inner.clone(), 2..4).prop_map(Tree::Intersection),
            1 => prop::collection::vec(inner, 2..4).prop_map(Tree::Union),
        ]
    })
}
