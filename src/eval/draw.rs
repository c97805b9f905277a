//! One evaluation query, drawn so that it needs a held-out edge.

use crate::graph::{Csr, View, Walk};
use crate::ids::{EntityId, RelationId};
use crate::query::execute::answers_within;
use crate::query::{Query, Structure, Tree};
use crate::rng::{Rng, below};
use crate::sampler::Rejection;

/// Entities that a set on the way of an evaluation query may take to put together. On a graph of many millions of
/// edges some queries reach most entities; looking at one of them would take seconds, and it is drawn again instead.
/// No smaller graph than this has such queries.
pub const LIMIT: usize = 1 << 20;

/// Tries to find a random entity of a kind before the draw is given up.
const ENTITY_TRIES: usize = 64;

/// Draws a query of `structure` in which one projection is a held-out edge.
///
/// Most random queries have no hard answer; those that pass a held-out edge usually have one. A
/// projection that stands below no negation is chosen uniformly. Then, as in BetaE, an answer is drawn
/// uniformly among the entities with edges, and the walk goes backward from it to the anchors: at a
/// projection a relation uniformly among those of the entity, then an entity uniformly among those it
/// leads to; all branches of a set operation start from the same entity. At the chosen projection the
/// walk takes a held-out edge in this way; where its entity has none, it starts again with another
/// answer. Unlike in BetaE, a negated branch of an intersection starts from another answer of the other
/// branches (uniform, on the full graph), so that the negation always takes something away.
///
/// Whether the query does have hard answers is for the caller to find out, exactly. Degenerate queries
/// are refused as in training (see [`instantiate`](crate::sampler::instantiate())).
pub fn draw(full: &View, held_out: &Csr, structure: &Structure, rng: &mut Rng) -> Result<Query, Rejection> {
    let mut spines = Vec::new();
    positive_projections(structure, &mut vec![], &mut spines);
    if spines.is_empty() {
        return Err(Rejection::NegatedAnswer);
    }
    let spine = &spines[below(rng, spines.len() as u64) as usize];
    let mut draw = Draw { full, held_out, rng };
    for _ in 0..ENTITY_TRIES {
        let answer = draw.entity_with_edges(None)?;
        if let Some(query) = draw.back(structure, answer, Some(spine))? {
            check(&query, None)?;
            return Ok(query);
        }
    }
    Err(Rejection::NoEdges)
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
    held_out: &'a Csr<'g>,
    rng: &'a mut Rng,
}

impl Draw<'_, '_> {
    /// A query of `tree` that has `target` among its answers, as far as negations let it; `None` where
    /// the projection at the end of `spine` has no held-out edge to take.
    fn back(
        &mut self,
        tree: &Structure,
        target: EntityId,
        spine: Option<&[usize]>,
    ) -> Result<Option<Query>, Rejection> {
        let query = match tree {
            Tree::Anchor(()) => Tree::Anchor(target),
            Tree::Projection(child, ()) => {
                let edge = match spine {
                    Some([]) => match self.held_out.pick_edge(target, self.rng) {
                        None => return Ok(None),
                        edge => edge,
                    },
                    _ => self.full.pick_edge(target, self.rng),
                };
                let (back, source) = edge.ok_or(Rejection::NoEdges)?;
                let below = spine.and_then(|spine| spine.get(1..));
                let Some(child) = self.back(child, source, below)? else { return Ok(None) };
                Tree::Projection(Box::new(child), back.inverse())
            }
            Tree::Intersection(children) | Tree::Union(children) => {
                return self.branches(children, target, spine).map(|b| b.map(|b| rebuild(tree, b)));
            }
            Tree::Negation(child) => {
                let inside = match &**child {
                    Tree::Negation(inner) => {
                        self.free(inner, target).map(|inner| Tree::Negation(Box::new(inner)))?
                    }
                    child => {
                        let other = self.entity_with_edges(Some(target))?;
                        self.free(child, other)?
                    }
                };
                Tree::Negation(Box::new(inside))
            }
        };
        Ok(Some(query))
    }

    /// A query of `tree` that may pass any edges.
    fn free(&mut self, tree: &Structure, target: EntityId) -> Result<Query, Rejection> {
        self.back(tree, target, None)?.ok_or(Rejection::NoEdges)
    }

    /// Branches of a set operation at `target`.
    fn branches(
        &mut self,
        children: &[Structure],
        target: EntityId,
        spine: Option<&[usize]>,
    ) -> Result<Option<Vec<Query>>, Rejection> {
        let mut branches: Vec<Option<Query>> = vec![None; children.len()];
        for (i, (child, branch)) in children.iter().zip(&mut branches).enumerate() {
            if !matches!(child, Tree::Negation(_)) {
                let below = spine.filter(|spine| spine[0] == i).map(|spine| &spine[1..]);
                let Some(query) = self.back(child, target, below)? else { return Ok(None) };
                *branch = Some(query);
            }
        }
        if branches.iter().any(Option::is_none) {
            // Other answers of the branches that are not negated.
            let positive: Vec<Query> = branches.iter().flatten().cloned().collect();
            let others = match positive.is_empty() {
                true => vec![self.entity_with_edges(Some(target))?],
                false => {
                    let all = answers_within(self.full, &Tree::Intersection(positive), LIMIT);
                    let mut set = all.ok_or(Rejection::Frontier)?;
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
                *branch = Some(Tree::Negation(Box::new(self.free(inner, other)?)));
            }
        }
        Ok(Some(branches.into_iter().flatten().collect()))
    }

    /// Uniform among the entities that have edges and are not `except`.
    fn entity_with_edges(&mut self, except: Option<EntityId>) -> Result<EntityId, Rejection> {
        for _ in 0..ENTITY_TRIES {
            let entity = EntityId(below(self.rng, self.full.num_entities() as u64) as u32);
            if Some(entity) != except && self.full.has_edges(entity) {
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
