//! One query, drawn backward from its answer.
//!
//! [`fill`] is the walk; [`Choices`] are what training and evaluation decide differently on the way. [`instantiate`] draws
//! for training, [`held_out`](crate::eval::held_out) for evaluation.

use super::branches::{Branches, Position, end, negated, same};
use super::frontier::Filling;
use super::reject::Rejection;
use crate::graph::Walk;
use crate::ids::{EntityId, RelationId};
use crate::query::{Structure, Tree};
use crate::rng::{Rng, below};

/// Attempts to find a random entity that has edges.
const ENTITY_TRIES: usize = 64;

/// Walks to find another answer of an intersection for a negated branch to start from.
///
/// A random entity hardly ever has to do with the query: with it, the negations of 8 % of the `2in` drawn on FB15k-237 take
/// an answer away, and a model learns to ignore them. So do those of 80 %, all that can (the other 20 % have one answer
/// without the negation); of `3in` 41 % of 45 %, `pin` 89 % of 93 %, `pni` all of 80 %.
pub const OTHER_TRIES: usize = 16;

/// What is decided on the way backward from an answer.
pub trait Choices {
    /// The graph that the walk is on.
    type Graph: Walk;

    /// Whether all branches of a union have its target. Otherwise one has, drawn uniformly, and each of the others has a
    /// target of its own.
    const UNIONS_SHARE_TARGET: bool;

    /// The graph that the walk is on.
    fn graph(&self) -> &Self::Graph;

    /// An edge that leaves `target`, for the projection `node`.
    fn edge(
        &mut self,
        node: &Structure,
        target: EntityId,
        rng: &mut Rng,
    ) -> Result<(RelationId, EntityId), Rejection>;

    /// Where a negated branch starts: if possible at another answer than `target` of the intersection's other branches.
    fn other_answer(
        &mut self,
        branches: Branches,
        target: EntityId,
        rng: &mut Rng,
    ) -> Result<EntityId, Rejection>;

    /// Called where the query is found to be degenerate; an error ends the walk.
    fn degenerate(&mut self, reason: Rejection) -> Result<(), Rejection> {
        Err(reason)
    }
}

/// Fills `structure` with a query that has `answer` among its answers, walking backward from it.
///
/// Anchors and relations are **appended** in post-order (see [`Tree::flatten`]), also where the draw
/// is rejected: the caller then truncates. Every node has a target entity that its set should hold;
/// the root's is `answer`. Top down:
///
/// - projection: an edge that leaves the target, by [`Choices::edge`]. Its inverse becomes the query's relation, its tail
///   the child's target;
/// - intersection: every child has the same target;
/// - union: every child, or one of them (see [`Choices::UNIONS_SHARE_TARGET`]). Targets of their own are drawn uniformly
///   among the entities that have edges;
/// - negation: the child has another entity as its target. In an intersection it is [`Choices::other_answer`], so that the
///   negation takes something away; elsewhere it is drawn uniformly among the entities that have edges. Below a double
///   negation the target is the same again;
/// - anchor: the target.
///
/// So the distribution of an accepted query is that of this process, given that none of the reasons to
/// reject below holds. O(nodes) random accesses, besides the choices.
///
/// # Errors
///
/// [`Rejection::NoEdges`], [`Rejection::StepsBack`] (also across the intersections and unions between
/// two projections) and [`Rejection::EqualBranches`] (of an intersection or a union, whatever the order inside them; a branch
/// equal to the inside of a negated one also counts), and what the choices return.
///
/// Where `structure` has a negation, `answer` may be in the negated branch all the same: the walk
/// cannot see that. The caller must check it and throw the query away: the [`Sampler`](super::Sampler)
/// does so as [`Rejection::NegatedAnswer`], the evaluation's query sets with
/// [`answers`](crate::query::execute::answers). Without a negation `answer` is an answer for sure.
pub fn fill<C: Choices>(
    choices: &mut C,
    structure: &Structure,
    answer: EntityId,
    rng: &mut Rng,
    anchors: &mut Vec<EntityId>,
    relations: &mut Vec<RelationId>,
) -> Result<(), Rejection> {
    let start = (anchors.len(), relations.len());
    let (num_anchors, num_relations) = end(structure, start);
    anchors.resize(num_anchors, EntityId(0));
    relations.resize(num_relations, RelationId(0));
    let (anchors, relations) = (&mut anchors[start.0..], &mut relations[start.1..]);
    Backward { choices, rng, anchors, relations }.node(structure, answer, None, (0, 0)).map(|_| ())
}

/// Draws a training query: [`fill`] with edges of `graph`, each drawn by [`Walk::pick_edge`] (a relation uniformly among
/// those of the target, then a tail uniformly among that relation's). In unions one child has the target. The other answer
/// of an intersection is found by walking forward through one of its branches (see [`OTHER_TRIES`]); where none is found, it is
/// any entity that has edges. The walk needs no sets, only edges.
///
/// # Errors
///
/// As [`fill`].
pub fn instantiate(
    graph: &impl Walk,
    structure: &Structure,
    answer: EntityId,
    rng: &mut Rng,
    anchors: &mut Vec<EntityId>,
    relations: &mut Vec<RelationId>,
) -> Result<(), Rejection> {
    fill(&mut Training(graph), structure, answer, rng, anchors, relations)
}

/// An entity drawn uniformly among those that have edges and are not `except`.
///
/// # Errors
///
/// [`Rejection::NoEdges`] where none is found.
pub fn entity_with_edges(
    graph: &impl Walk,
    except: Option<EntityId>,
    rng: &mut Rng,
) -> Result<EntityId, Rejection> {
    for _ in 0..ENTITY_TRIES {
        let entity = EntityId(below(rng, graph.num_entities() as u64) as u32);
        if Some(entity) != except && graph.has_edges(entity) {
            return Ok(entity);
        }
    }
    Err(Rejection::NoEdges)
}

/// A walk that is going on. The arrays are those of one query, in their final length.
struct Backward<'a, C> {
    choices: &'a mut C,
    rng: &'a mut Rng,
    anchors: &'a mut [EntityId],
    relations: &'a mut [RelationId],
}

impl<C: Choices> Backward<'_, C> {
    /// Fills a node that begins at `begin` and returns where it ends. `after` is the relation of the projection that is
    /// applied next to this node's set.
    fn node(
        &mut self,
        node: &Structure,
        target: EntityId,
        after: Option<RelationId>,
        begin: Position,
    ) -> Result<Position, Rejection> {
        match node {
            Tree::Anchor(()) => {
                self.anchors[begin.0] = target;
                Ok((begin.0 + 1, begin.1))
            }
            Tree::Projection(child, ()) => {
                let (back, source) = self.choices.edge(node, target, self.rng)?;
                let relation = back.inverse();
                if after == Some(back) {
                    self.choices.degenerate(Rejection::StepsBack)?;
                }
                let (anchor, place) = self.node(child, source, Some(relation), begin)?;
                self.relations[place] = relation;
                Ok((anchor, place + 1))
            }
            Tree::Negation(child) => match &**child {
                Tree::Negation(inner) => self.node(inner, target, after, begin),
                child => {
                    let other = entity_with_edges(self.choices.graph(), Some(target), self.rng)?;
                    self.node(child, other, None, begin)
                }
            },
            Tree::Intersection(children) => {
                let mut next = begin;
                for child in children {
                    next = match negated(child) {
                        // After the others, which decide where it starts.
                        Some(_) => end(child, next),
                        None => self.node(child, target, after, next)?,
                    }
                }
                self.negated_branches(children, target, begin)?;
                self.check_branches(children, begin)?;
                Ok(next)
            }
            Tree::Union(children) => {
                let chosen =
                    (!C::UNIONS_SHARE_TARGET).then(|| below(self.rng, children.len() as u64) as usize);
                let mut next = begin;
                for (i, child) in children.iter().enumerate() {
                    let target = match chosen.is_none_or(|chosen| i == chosen) {
                        true => target,
                        false => entity_with_edges(self.choices.graph(), None, self.rng)?,
                    };
                    next = self.node(child, target, after, next)?;
                }
                self.check_branches(children, begin)?;
                Ok(next)
            }
        }
    }

    /// Fills the negated branches of an intersection whose other branches are filled.
    fn negated_branches(
        &mut self,
        children: &[Structure],
        target: EntityId,
        begin: Position,
    ) -> Result<(), Rejection> {
        let mut next = begin;
        for child in children {
            if let Some(inside) = negated(child) {
                let query = Filling { anchors: self.anchors, relations: self.relations };
                let other =
                    self.choices.other_answer(Branches { children, begin, query }, target, self.rng)?;
                self.node(inside, other, None, next)?;
            }
            next = end(child, next);
        }
        Ok(())
    }

    /// Finds branches that are written the same, negated or not.
    fn check_branches(&mut self, children: &[Structure], begin: Position) -> Result<(), Rejection> {
        let query = Filling { anchors: self.anchors, relations: self.relations };
        let inside = |(child, at)| (negated(child).unwrap_or(child), at);
        let mut branches = Branches { children, begin, query }.iter().map(inside);
        while let Some(branch) = branches.next() {
            if branches.clone().any(|other| same(query, branch, other)) {
                return self.choices.degenerate(Rejection::EqualBranches);
            }
        }
        Ok(())
    }
}

/// The choices of training.
struct Training<'a, G>(&'a G);

impl<G: Walk> Choices for Training<'_, G> {
    type Graph = G;

    const UNIONS_SHARE_TARGET: bool = false;

    fn graph(&self) -> &G {
        self.0
    }

    fn edge(
        &mut self,
        _: &Structure,
        target: EntityId,
        rng: &mut Rng,
    ) -> Result<(RelationId, EntityId), Rejection> {
        self.0.pick_edge(target, rng).ok_or(Rejection::NoEdges)
    }

    fn other_answer(
        &mut self,
        branches: Branches,
        target: EntityId,
        rng: &mut Rng,
    ) -> Result<EntityId, Rejection> {
        for _ in 0..OTHER_TRIES {
            let found = branches.walk(self.0, rng).filter(|&e| e != target);
            if let Some(other) = found.filter(|&e| branches.may_answer(self.0, e)) {
                return Ok(other);
            }
        }
        entity_with_edges(self.0, Some(target), rng)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{CsrBuf, View};
    use crate::ids::Triple;
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
