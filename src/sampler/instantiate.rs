//! One query, drawn backward from its answer.

use super::reject::Rejection;
use crate::graph::Walk;
use crate::ids::{EntityId, RelationId, Triple};
use crate::query::{Structure, Tree};
use crate::rng::{Rng, below};

/// Tries to find a random entity that has edges before the draw is given up.
const ENTITY_TRIES: usize = 64;

/// Walks to find another answer of an intersection for a negated branch to start from.
///
/// A random entity hardly ever has to do with the query: with it, the negations of 8 % of the `2in` drawn on FB15k-237 take
/// an answer away, and a model learns to ignore them. So do those of 80 %, all that can (the other 20 % have one answer
/// without the negation); of `3in` 41 % of 45 %, `pin` 89 % of 93 %, `pni` all of 80 %.
pub const OTHER_TRIES: usize = 16;

/// Draws a query of `structure` that has `answer` among its answers, walking backward from it.
///
/// Anchors and relations are **appended** in post-order (see [`Tree::flatten`]), also where the draw
/// is rejected: the caller then truncates. Every node has a target entity that its set should hold;
/// the root's is `answer`. Top down:
///
/// - projection: an edge that leaves the target is drawn by [`Walk::pick_edge`] (a relation uniformly
///   among those of the target, then a tail uniformly among that relation's). Its inverse becomes the
///   query's relation, its tail the child's target;
/// - intersection: every child has the same target;
/// - union: one child, drawn uniformly, has the target; each other child has a target of its own,
///   drawn uniformly among the entities that have edges;
/// - negation: the child has another entity as its target. In an intersection it is another answer of the branches
///   that are not negated, found by walking forward through one of them (see [`OTHER_TRIES`]), so that the negation takes
///   something away; where none is found, and outside intersections, it is drawn uniformly among the entities that have
///   edges. Below a double negation the target is the same again;
/// - anchor: the target.
///
/// So the distribution of an accepted query is that of this process, given that none of the reasons to
/// reject below holds. The walk needs no sets, only edges: O(nodes) random accesses.
///
/// # Errors
///
/// [`Rejection::NoEdges`], [`Rejection::StepsBack`] (also across the intersections and unions between
/// two projections) and [`Rejection::EqualBranches`] (of an intersection or a union; a branch equal to
/// the inside of a negated one also counts).
///
/// Where `structure` has a negation, `answer` may be in the negated branch all the same: the walk
/// cannot see that. The caller must check it and throw the query away: the [`Sampler`](super::Sampler)
/// does so as [`Rejection::NegatedAnswer`], the evaluation's query sets with
/// [`answers`](crate::query::execute::answers). Without a negation `answer` is an answer for sure.
pub fn instantiate(
    graph: &impl Walk,
    structure: &Structure,
    answer: EntityId,
    rng: &mut Rng,
    anchors: &mut Vec<EntityId>,
    relations: &mut Vec<RelationId>,
) -> Result<(), Rejection> {
    Draw { graph, rng, anchors, relations }.node(structure, answer, None)
}

struct Draw<'a, G> {
    graph: &'a G,
    rng: &'a mut Rng,
    anchors: &'a mut Vec<EntityId>,
    relations: &'a mut Vec<RelationId>,
}

impl<G: Walk> Draw<'_, G> {
    /// `after` is the relation of the projection that is applied next to this node's set.
    fn node(
        &mut self,
        node: &Structure,
        target: EntityId,
        after: Option<RelationId>,
    ) -> Result<(), Rejection> {
        match node {
            Tree::Anchor(()) => self.anchors.push(target),
            Tree::Projection(child, ()) => {
                let (back, source) = self.graph.pick_edge(target, self.rng).ok_or(Rejection::NoEdges)?;
                let relation = back.inverse();
                if after == Some(back) {
                    return Err(Rejection::StepsBack);
                }
                self.node(child, source, Some(relation))?;
                self.relations.push(relation);
            }
            Tree::Negation(child) => match &**child {
                Tree::Negation(inner) => self.node(inner, target, after)?,
                child => {
                    let other = self.entity_with_edges(Some(target))?;
                    self.node(child, other, None)?;
                }
            },
            Tree::Intersection(children) => {
                let start = self.position();
                for child in children {
                    match negated(child) {
                        // Its place is kept until the others are known.
                        Some(_) => self.reserve(child),
                        None => self.node(child, target, after)?,
                    }
                }
                self.negated_branches(children, target, start)?;
                self.check_branches(children, start)?;
            }
            Tree::Union(children) => {
                let start = self.position();
                let chosen = below(self.rng, children.len() as u64) as usize;
                for (i, child) in children.iter().enumerate() {
                    let target = if i == chosen { target } else { self.entity_with_edges(None)? };
                    self.node(child, target, after)?;
                }
                self.check_branches(children, start)?;
            }
        }
        Ok(())
    }

    fn position(&self) -> (usize, usize) {
        (self.anchors.len(), self.relations.len())
    }

    /// Makes room for the anchors and relations of a branch.
    fn reserve(&mut self, branch: &Structure) {
        let (anchors, relations) = end(branch, self.position());
        self.anchors.resize(anchors, EntityId(0));
        self.relations.resize(relations, RelationId(0));
    }

    /// Draws the negated branches of an intersection, whose others lie from `start`, into the room that was made.
    fn negated_branches(
        &mut self,
        children: &[Structure],
        target: EntityId,
        start: (usize, usize),
    ) -> Result<(), Rejection> {
        let mut begin = start;
        for child in children {
            let next = end(child, begin);
            if let Some(inside) = negated(child) {
                let other = match self.other_answer(children, target, start) {
                    Some(other) => other,
                    None => self.entity_with_edges(Some(target))?,
                };
                let (anchors, relations) = self.position();
                self.node(inside, other, None)?;
                self.anchors.copy_within(anchors.., begin.0);
                self.relations.copy_within(relations.., begin.1);
                self.anchors.truncate(anchors);
                self.relations.truncate(relations);
            }
            begin = next;
        }
        Ok(())
    }

    /// An answer, other than `target`, of the branches from `start` that are not negated.
    fn other_answer(
        &mut self,
        children: &[Structure],
        target: EntityId,
        start: (usize, usize),
    ) -> Option<EntityId> {
        (0..OTHER_TRIES).find_map(|_| {
            self.walk_any(children, start).filter(|&e| e != target && self.may_answer(children, start, e))
        })
    }

    /// Walks forward through a random one of the branches that are not negated.
    fn walk_any(&mut self, children: &[Structure], mut begin: (usize, usize)) -> Option<EntityId> {
        let count = children.iter().filter(|child| negated(child).is_none()).count();
        let mut chosen = if count == 0 { return None } else { below(self.rng, count as u64) };
        for child in children {
            if negated(child).is_none() {
                if chosen == 0 {
                    return self.walk(child, begin);
                }
                chosen -= 1;
            }
            begin = end(child, begin);
        }
        None
    }

    /// An entity that the branch at `begin` leads to, without regard to the other branches of its intersections.
    fn walk(&mut self, branch: &Structure, begin: (usize, usize)) -> Option<EntityId> {
        match branch {
            Tree::Anchor(()) => Some(self.anchors[begin.0]),
            Tree::Projection(child, ()) => {
                let from = self.walk(child, begin)?;
                let relation = self.relations[end(child, begin).1];
                self.graph.pick_tail(from, relation, self.rng)
            }
            Tree::Negation(child) => match &**child {
                Tree::Negation(inner) => self.walk(inner, begin),
                _ => None,
            },
            Tree::Intersection(children) | Tree::Union(children) => self.walk_any(children, begin),
        }
    }

    /// Whether no branch of one hop, negated ones aside, says that `entity` is no answer. Longer ones are not looked at.
    fn may_answer(&self, children: &[Structure], mut begin: (usize, usize), entity: EntityId) -> bool {
        children.iter().all(|child| {
            let here = begin;
            begin = end(child, begin);
            match child {
                Tree::Projection(anchor, ()) if matches!(**anchor, Tree::Anchor(())) => {
                    let (head, relation) = (self.anchors[here.0], self.relations[here.1]);
                    self.graph.contains(Triple { head, relation, tail: entity })
                }
                _ => true,
            }
        })
    }

    /// Uniform among the entities that have edges and are not `except`.
    fn entity_with_edges(&mut self, except: Option<EntityId>) -> Result<EntityId, Rejection> {
        for _ in 0..ENTITY_TRIES {
            let entity = EntityId(below(self.rng, self.graph.num_entities() as u64) as u32);
            if Some(entity) != except && self.graph.has_edges(entity) {
                return Ok(entity);
            }
        }
        Err(Rejection::NoEdges)
    }

    /// Rejects two branches that are written the same, negated or not.
    fn check_branches(
        &self,
        children: &[Structure],
        (anchor, relation): (usize, usize),
    ) -> Result<(), Rejection> {
        let mut begin = (anchor, relation);
        for (i, child) in children.iter().enumerate() {
            let next = end(child, begin);
            let mut other_begin = next;
            for other in &children[i + 1..] {
                let other_end = end(other, other_begin);
                if positive(child) == positive(other)
                    && self.anchors[begin.0..next.0] == self.anchors[other_begin.0..other_end.0]
                    && self.relations[begin.1..next.1] == self.relations[other_begin.1..other_end.1]
                {
                    return Err(Rejection::EqualBranches);
                }
                other_begin = other_end;
            }
            begin = next;
        }
        Ok(())
    }
}

/// What is negated, or the branch itself.
fn positive(branch: &Structure) -> &Structure {
    match branch {
        Tree::Negation(child) => child,
        other => other,
    }
}

/// What a branch negates; `None` where it is no negation, or a double one.
fn negated(branch: &Structure) -> Option<&Structure> {
    match branch {
        Tree::Negation(child) if !matches!(**child, Tree::Negation(_)) => Some(child),
        _ => None,
    }
}

/// Position in the flat lists after `tree`, which starts at `(anchor, relation)`.
fn end(tree: &Structure, (anchor, relation): (usize, usize)) -> (usize, usize) {
    let own = match tree {
        Tree::Anchor(()) => (1, 0),
        Tree::Projection(..) => (0, 1),
        _ => (0, 0),
    };
    let start = (anchor + own.0, relation + own.1);
    tree.children().iter().fold(start, |position, child| end(child, position))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{CsrBuf, View};
    use crate::query::execute::answers;
    use crate::rng::stream;

    fn project(child: Structure) -> Structure {
        Tree::Projection(Box::new(child), ())
    }

    fn anchor() -> Structure {
        Tree::Anchor(())
    }

    fn triple(h: u32, r: u32, t: u32) -> Triple {
        Triple { head: EntityId(h), relation: RelationId(r), tail: EntityId(t) }
    }

    fn random_graph(seed: u64) -> CsrBuf {
        let mut rng = stream(seed, "graph", 0);
        let mut id = |n| below(&mut rng, n) as u32;
        let triples: Vec<Triple> = (0..80).map(|_| triple(id(20), 2 * id(4), id(20))).collect();
        CsrBuf::from_triples(22, &triples)
    }

    #[test]
    fn without_negation_the_answer_is_always_an_answer() {
        let two = || vec![project(anchor()), project(project(anchor()))];
        let structures = [
            project(anchor()),
            project(project(project(anchor()))),
            Tree::Intersection(two()),
            Tree::Union(two()),
            project(Tree::Union(two())),
            Tree::Negation(Box::new(Tree::Negation(Box::new(project(anchor()))))),
        ];
        let mut accepted = vec![0; structures.len()];
        for seed in 0..20 {
            let buf = random_graph(seed);
            let (graph, mut rng) = (buf.view(), stream(seed, "test", 0));
            let view = View::new([graph]);
            for answer in graph.entities_with_edges() {
                for (structure, count) in structures.iter().zip(&mut accepted) {
                    let (mut anchors, mut relations) = (vec![], vec![]);
                    if instantiate(&graph, structure, answer, &mut rng, &mut anchors, &mut relations).is_ok()
                    {
                        let query = structure.fill(&anchors, &relations).expect("lengths fit");
                        assert!(answers(&view, &query).contains(&answer), "{query:?} lacks {answer:?}");
                        *count += 1;
                    }
                }
            }
        }
        assert!(accepted.iter().all(|&n| n > 100), "{accepted:?}");
    }

    #[test]
    fn degenerate_queries_are_rejected_with_their_reason() {
        let edge = CsrBuf::from_triples(3, &[triple(0, 0, 1)]);
        let mut rng = stream(1, "test", 0);
        let mut draw = |structure: &Structure, answer| {
            instantiate(&edge.view(), structure, EntityId(answer), &mut rng, &mut vec![], &mut vec![])
        };
        let twice = project(project(anchor()));
        let both = Tree::Intersection(vec![project(anchor()), project(anchor())]);
        let across = project(both.clone());
        let without =
            Tree::Intersection(vec![project(anchor()), Tree::Negation(Box::new(project(anchor())))]);
        assert_eq!(draw(&project(anchor()), 1), Ok(()));
        assert_eq!(draw(&twice, 1), Err(Rejection::StepsBack));
        assert_eq!(draw(&across, 1), Err(Rejection::StepsBack));
        assert_eq!(draw(&both, 0), Err(Rejection::EqualBranches));
        assert_eq!(draw(&without, 0), Ok(()));
        assert_eq!(draw(&project(anchor()), 2), Err(Rejection::NoEdges));
    }

    #[test]
    fn relations_stand_in_post_order_from_the_anchor_to_the_answer() {
        let chain = CsrBuf::from_triples(3, &[triple(0, 0, 1), triple(1, 2, 2)]);
        let mut rng = stream(1, "test", 0);
        let (mut anchors, mut relations) = (vec![], vec![]);
        let structure = project(project(anchor()));
        let graph = chain.view();
        while instantiate(&graph, &structure, EntityId(2), &mut rng, &mut anchors, &mut relations).is_err() {
            anchors.clear();
            relations.clear();
        }
        assert_eq!((anchors, relations), (vec![EntityId(0)], vec![RelationId(0), RelationId(2)]));
    }
}
