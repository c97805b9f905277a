//! One evaluation query, drawn so that it needs a held-out edge.

use crate::graph::view::pick;
use crate::graph::{Csr, View, Walk};
use crate::ids::{EntityId, RelationId};
use crate::query::execute::answers_within;
use crate::query::{Query, Structure, Tree};
use crate::rng::{Rng, below};
use crate::sampler::instantiate::{Choices, entity_with_edges, fill};
use crate::sampler::{Branches, Rejection};

/// Entities that a set on the way of an evaluation query may take to put together. On a graph of many millions of
/// edges some queries reach most entities; looking at one of them would take seconds, and it is drawn again instead.
/// No smaller graph than this has such queries.
pub const LIMIT: usize = 1 << 20;

/// Answers to walk backward from before the draw is given up.
const ANSWER_TRIES: usize = 64;

/// Draws a query of `structure` in which one projection is a held-out edge.
///
/// Most random queries have no hard answer; those that pass a held-out edge usually have one. A
/// projection that stands below no negation is chosen uniformly. Then, as in BetaE, an answer is drawn
/// uniformly among the entities with edges, and the query by [`fill`]: at a
/// projection a relation uniformly among those of the entity, then an entity uniformly among those it
/// leads to; all branches of a set operation start from the same entity. At the chosen projection the
/// walk takes a held-out edge in this way; where its entity has none, it starts again with another
/// answer. Unlike in BetaE, a negated branch of an intersection starts from another answer of the other
/// branches (uniform, on the full graph), so that the negation always takes something away.
///
/// Whether the query does have hard answers is for the caller to find out, exactly.
///
/// # Errors
///
/// As [`fill`]; [`Rejection::NegatedAnswer`] also where the other branches have no other answer, and
/// [`Rejection::Frontier`] where they have more than can be looked at.
pub fn draw(full: &View, held_out: &Csr, structure: &Structure, rng: &mut Rng) -> Result<Query, Rejection> {
    let mut projections = Vec::new();
    positive_projections(structure, &mut projections);
    if projections.is_empty() {
        return Err(Rejection::NegatedAnswer);
    }
    let chosen = projections[below(rng, projections.len() as u64) as usize];
    let (mut anchors, mut relations) = (Vec::new(), Vec::new());
    for _ in 0..ANSWER_TRIES {
        let answer = entity_with_edges(full, None, rng)?;
        let mut choices = HeldOut { full, held_out, chosen, missed: false, degenerate: None };
        anchors.clear();
        relations.clear();
        let filled = fill(&mut choices, structure, answer, rng, &mut anchors, &mut relations);
        if choices.missed {
            continue;
        }
        filled?;
        return match choices.degenerate {
            Some(reason) => Err(reason),
            None => Ok(structure.fill(&anchors, &relations).expect("the structure's own lengths")),
        };
    }
    Err(Rejection::NoEdges)
}

/// Whether a hard answer is possible at all: some projection stands below no negation.
pub fn can_have_hard_answers(structure: &Structure) -> bool {
    let mut projections = Vec::new();
    positive_projections(structure, &mut projections);
    !projections.is_empty()
}

/// The projections below no negation.
fn positive_projections<'a>(tree: &'a Structure, found: &mut Vec<&'a Structure>) {
    match tree {
        Tree::Negation(_) => return,
        Tree::Projection(..) => found.push(tree),
        _ => {}
    }
    tree.children().iter().for_each(|child| positive_projections(child, found));
}

/// The choices of evaluation.
struct HeldOut<'a, 'g> {
    full: &'a View<'g>,
    held_out: &'a Csr<'g>,
    /// The projection that takes a held-out edge.
    chosen: &'a Structure,
    /// Whether its entity had none.
    missed: bool,
    /// Why the query is of no use. It is walked to its end first: one that misses the held-out edge is drawn again.
    degenerate: Option<Rejection>,
}

impl<'g> Choices for HeldOut<'_, 'g> {
    type Graph = View<'g>;

    const UNIONS_SHARE_TARGET: bool = true;

    fn graph(&self) -> &View<'g> {
        self.full
    }

    fn edge(
        &mut self,
        node: &Structure,
        target: EntityId,
        rng: &mut Rng,
    ) -> Result<(RelationId, EntityId), Rejection> {
        let edge = match std::ptr::eq(node, self.chosen) {
            true => {
                let edge = self.held_out.pick_edge(target, rng);
                self.missed = edge.is_none();
                edge
            }
            false => self.full.pick_edge(target, rng),
        };
        edge.ok_or(Rejection::NoEdges)
    }

    fn other_answer(
        &mut self,
        branches: Branches,
        target: EntityId,
        rng: &mut Rng,
    ) -> Result<EntityId, Rejection> {
        let positive = branches.queries();
        if positive.is_empty() {
            return entity_with_edges(self.full, Some(target), rng);
        }
        let all = answers_within(self.full, &Tree::Intersection(positive), LIMIT);
        let mut others = all.ok_or(Rejection::Frontier)?;
        others.retain(|&e| e != target);
        pick(&others, rng).ok_or(Rejection::NegatedAnswer)
    }

    fn degenerate(&mut self, reason: Rejection) -> Result<(), Rejection> {
        self.degenerate.get_or_insert(reason);
        Ok(())
    }
}
