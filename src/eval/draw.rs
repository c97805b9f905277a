//! One evaluation query, drawn so that it needs a held-out edge.

use crate::graph::{View, Walk};
use crate::ids::{EntityId, RelationId, Triple};
use crate::query::execute::answers;
use crate::query::{Query, Structure, Tree};
use crate::rng::{Rng, below};
use crate::sampler::Rejection;

/// Tries to find an entity with edges before the draw is given up.
const ENTITY_TRIES: usize = 64;

/// Draws a query of `structure` in which one projection is a given kind of edge: a held-out one.
///
/// Most random queries have no hard answer; those that pass a held-out edge usually have one. A
/// projection that stands below no negation is chosen uniformly, a held-out edge uniformly for it.
/// From its head the walk goes backward to the anchors below, from its tail forward to the root, and
/// backward again into the other branches of set operations: they all get the entity that the walk
/// passes there. A negated branch of an intersection gets another answer of the other branches (drawn
/// uniformly, on the full graph), so that the negation takes something away.
///
/// Whether the query does have hard answers is for the caller to find out, exactly. Degenerate queries
/// are refused as in training (see [`instantiate`](crate::sampler::instantiate)). `held_out` is not empty.
pub fn draw(
    full: &View,
    held_out: &[Triple],
    structure: &Structure,
    rng: &mut Rng,
) -> Result<Query, Rejection> {
    let mut spines = Vec::new();
    positive_projections(structure, &mut vec![], &mut spines);
    if spines.is_empty() {
        return Err(Rejection::NegatedAnswer);
    }
    let spine = &spines[below(rng, spines.len() as u64) as usize];
    let edge = held_out[below(rng, held_out.len() as u64) as usize];
    let (query, _) = Draw { full, rng }.through(structure, spine, edge)?;
    check(&query, None)?;
    Ok(query)
}

/// Whether a hard answer is possible at all: some projection stands below no negation.
pub fn can_have_hard_answers(structure: &Structure) -> bool {
    let mut spines = Vec::new();
    positive_projections(structure, &mut vec![], &mut spines);
    !spines.is_empty()
}

/// Paths (child by child) to the projections below no negation.
fn positive_projections(tree: &Structure, path: &mut Vec<usize>, found: &mut Vec<Vec<usize>>) {
    match tree {
        Tree::Negation(_) => return,
        Tree::Projection(..) => found.push(path.clone()),
        _ => {}
    }
    for (i, child) in tree.children().iter().enumerate() {
        path.push(i);
        positive_projections(child, path, found);
        path.pop();
    }
}

struct Draw<'a, 'g> {
    full: &'a View<'g>,
    rng: &'a mut Rng,
}

impl Draw<'_, '_> {
    /// The query of `tree` whose projection at `spine` is `edge`, and an answer of it.
    fn through(
        &mut self,
        tree: &Structure,
        spine: &[usize],
        edge: Triple,
    ) -> Result<(Query, EntityId), Rejection> {
        match (tree, spine) {
            (Tree::Projection(child, ()), []) => {
                let child = self.back(child, edge.head)?;
                Ok((Tree::Projection(Box::new(child), edge.relation), edge.tail))
            }
            (Tree::Projection(child, ()), [_, rest @ ..]) => {
                let (child, entity) = self.through(child, rest, edge)?;
                let (relation, tail) = self.full.pick_edge(entity, self.rng).ok_or(Rejection::NoEdges)?;
                Ok((Tree::Projection(Box::new(child), relation), tail))
            }
            (Tree::Intersection(children) | Tree::Union(children), [i, rest @ ..]) => {
                let (branch, entity) = self.through(&children[*i], rest, edge)?;
                let branches = self.branches(children, entity, Some((*i, branch)))?;
                Ok((rebuild(tree, branches), entity))
            }
            _ => unreachable!("spines lead to projections and not through negations"),
        }
    }

    /// A query of `tree` that has `target` among its answers, as far as negations let it.
    fn back(&mut self, tree: &Structure, target: EntityId) -> Result<Query, Rejection> {
        Ok(match tree {
            Tree::Anchor(()) => Tree::Anchor(target),
            Tree::Projection(child, ()) => {
                let (back, source) = self.full.pick_edge(target, self.rng).ok_or(Rejection::NoEdges)?;
                Tree::Projection(Box::new(self.back(child, source)?), back.inverse())
            }
            Tree::Intersection(children) | Tree::Union(children) => {
                rebuild(tree, self.branches(children, target, None)?)
            }
            Tree::Negation(child) => {
                let inside = match &**child {
                    Tree::Negation(inner) => Tree::Negation(Box::new(self.back(inner, target)?)),
                    child => {
                        let other = self.other_entity(target)?;
                        self.back(child, other)?
                    }
                };
                Tree::Negation(Box::new(inside))
            }
        })
    }

    /// Branches of a set operation at `target`; the one given stays as it is.
    fn branches(
        &mut self,
        children: &[Structure],
        target: EntityId,
        given: Option<(usize, Query)>,
    ) -> Result<Vec<Query>, Rejection> {
        let mut branches: Vec<Option<Query>> = vec![None; children.len()];
        if let Some((i, query)) = given {
            branches[i] = Some(query);
        }
        let negated = |child: &Structure| matches!(child, Tree::Negation(_));
        for (child, branch) in children.iter().zip(&mut branches) {
            if branch.is_none() && !negated(child) {
                *branch = Some(self.back(child, target)?);
            }
        }
        if branches.iter().any(Option::is_none) {
            // Other answers of the branches that are not negated.
            let positive: Vec<Query> = branches.iter().flatten().cloned().collect();
            let others = match positive.is_empty() {
                true => vec![self.other_entity(target)?],
                false => {
                    let mut set = answers(self.full, &Tree::Intersection(positive));
                    set.retain(|&e| e != target);
                    set
                }
            };
            for (child, branch) in children.iter().zip(&mut branches).filter(|(_, b)| b.is_none()) {
                let Tree::Negation(inner) = child else { unreachable!("the others are filled in") };
                if others.is_empty() {
                    return Err(Rejection::NegatedAnswer);
                }
                let other = others[below(self.rng, others.len() as u64) as usize];
                *branch = Some(Tree::Negation(Box::new(self.back(inner, other)?)));
            }
        }
        Ok(branches.into_iter().flatten().collect())
    }

    /// Uniform among the entities that have edges and are not `except`.
    fn other_entity(&mut self, except: EntityId) -> Result<EntityId, Rejection> {
        for _ in 0..ENTITY_TRIES {
            let entity = EntityId(below(self.rng, self.full.num_entities() as u64) as u32);
            if entity != except && self.full.has_edges(entity) {
                return Ok(entity);
            }
        }
        Err(Rejection::NoEdges)
    }
}

/// The set operation of `tree` over other branches.
fn rebuild(tree: &Structure, branches: Vec<Query>) -> Query {
    if matches!(tree, Tree::Union(_)) { Tree::Union(branches) } else { Tree::Intersection(branches) }
}

/// Refuses a projection after its own inverse (also across set operations) and equal branches.
fn check(query: &Query, next: Option<RelationId>) -> Result<(), Rejection> {
    match query {
        Tree::Anchor(_) => Ok(()),
        Tree::Projection(child, relation) => match next == Some(relation.inverse()) {
            true => Err(Rejection::StepsBack),
            false => check(child, Some(*relation)),
        },
        Tree::Negation(child) => check(child, None),
        Tree::Intersection(children) | Tree::Union(children) => {
            let inside = |child: &Query| match child {
                Tree::Negation(inner) => inner.canonical(),
                other => other.canonical(),
            };
            let mut insides: Vec<Query> = children.iter().map(inside).collect();
            insides.sort();
            if insides.windows(2).any(|pair| pair[0] == pair[1]) {
                return Err(Rejection::EqualBranches);
            }
            children.iter().try_for_each(|child| check(child, next))
        }
    }
}
