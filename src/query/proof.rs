//! The best proof of each answer: how many of its edges are missing from the observed graph.

use super::execute::answers;
use super::tree::{Query, Tree};
use crate::graph::View;
use crate::ids::EntityId;
use std::cmp::Ordering;

/// What a proof of an answer is made of: one edge for each projection that it walks, negated branches apart.
///
/// An edge that two branches walk counts twice: this is a count over the query's tree. Proofs are ordered,
/// the better one first: fewer missing edges, then, of unions, more observed ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Proof {
    /// Edges that are not in the observed graph: links that have to be predicted.
    pub missing: u32,
    /// Edges that are.
    pub observed: u32,
}

impl Proof {
    /// Whether one predicted link is enough.
    pub fn needs_one_link(self) -> bool {
        self.missing == 1
    }

    /// Whether nothing that was observed helps: *full* inference, where others are *partial*.
    pub fn is_full_inference(self) -> bool {
        self.missing > 0 && self.observed == 0
    }

    fn and(self, other: Proof) -> Proof {
        Proof { missing: self.missing + other.missing, observed: self.observed + other.observed }
    }
}

impl Ord for Proof {
    fn cmp(&self, other: &Self) -> Ordering {
        self.missing.cmp(&other.missing).then(other.observed.cmp(&self.observed))
    }
}

impl PartialOrd for Proof {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// All answers of `query` on `full`, ascending, each with the best of its proofs.
///
/// The entities are those of [`answers`], which has the rules; the counts are the sums and minima (*min-plus*) over
/// the tree: a projection adds an edge, an intersection adds up its branches, a union takes the best one. Negated
/// branches need no edge, so they only take answers away. An answer without a missing edge is easy, but for
/// negations within negations, where a held-out edge may add answers that no walked edge accounts for.
///
/// `observed` is part of `full`. Time and memory are some times those of [`answers`].
pub fn proofs(observed: &View, full: &View, query: &Query) -> Vec<(EntityId, Proof)> {
    match query {
        Tree::Anchor(entity) => vec![(*entity, Proof::default())],
        Tree::Projection(child, relation) => {
            let (mut out, mut tails) = (Vec::new(), Vec::new());
            for (entity, proof) in proofs(observed, full, child) {
                for (graph, edge) in
                    [(observed, Proof { missing: 0, observed: 1 }), (full, Proof { missing: 1, observed: 0 })]
                {
                    tails.clear();
                    graph.extend_tails(entity, *relation, &mut tails);
                    out.extend(tails.iter().map(|&tail| (tail, proof.and(edge))));
                }
            }
            best(out)
        }
        Tree::Union(children) => best(children.iter().flat_map(|c| proofs(observed, full, c)).collect()),
        Tree::Negation(_) => free(answers(full, query)),
        Tree::Intersection(children) => {
            let (negated, positive): (Vec<_>, Vec<_>) =
                children.iter().partition(|c| matches!(c, Tree::Negation(_)));
            let mut positive = positive.into_iter().map(|child| proofs(observed, full, child));
            let Some(mut out) = positive.next() else { return free(answers(full, query)) };
            for branch in positive {
                out = both(&out, &branch);
            }
            for child in negated {
                let Tree::Negation(inner) = child else { unreachable!("partitioned above") };
                let set = answers(full, inner);
                out.retain(|(e, _)| set.binary_search(e).is_err());
            }
            out
        }
    }
}

/// The best proof of each entity, by entity.
fn best(mut all: Vec<(EntityId, Proof)>) -> Vec<(EntityId, Proof)> {
    all.sort_unstable();
    all.dedup_by_key(|(entity, _)| *entity);
    all
}

fn free(entities: Vec<EntityId>) -> Vec<(EntityId, Proof)> {
    entities.into_iter().map(|entity| (entity, Proof::default())).collect()
}

/// The entities of both lists, their proofs added up.
fn both(left: &[(EntityId, Proof)], right: &[(EntityId, Proof)]) -> Vec<(EntityId, Proof)> {
    let find = |entity: &EntityId| right.binary_search_by_key(entity, |(e, _)| *e).ok();
    let pairs = left.iter().filter_map(|(e, proof)| find(e).map(|at| (*e, proof.and(right[at].1))));
    pairs.collect()
}
