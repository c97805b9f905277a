//! The branches of a query that is drawn, while some of them are not known yet.

use super::frontier::Filling;
use crate::graph::Walk;
use crate::ids::{EntityId, Triple};
use crate::query::{Query, Structure, Tree};
use crate::rng::{Rng, below};

/// Where the anchors and the relations of a branch begin in the flat form of its query.
pub type Position = (usize, usize);

/// The branches of an intersection or a union of a query, of which those that are not negated are filled.
#[derive(Clone, Copy)]
pub struct Branches<'a> {
    pub children: &'a [Structure],
    pub begin: Position,
    pub query: Filling<'a>,
}

impl<'a> Branches<'a> {
    /// Every branch with where it begins.
    pub fn iter(self) -> impl Iterator<Item = (&'a Structure, Position)> + Clone {
        self.children.iter().scan(self.begin, |next, child| {
            let begin = *next;
            *next = end(child, begin);
            Some((child, begin))
        })
    }

    fn positive(self) -> impl Iterator<Item = (&'a Structure, Position)> + Clone {
        self.iter().filter(|(child, _)| negated(child).is_none())
    }

    /// The branches that are not negated.
    pub fn queries(self) -> Vec<Query> {
        let query = |(child, begin): (&Structure, Position)| {
            let end = end(child, begin);
            let (anchors, relations) =
                (&self.query.anchors[begin.0..end.0], &self.query.relations[begin.1..end.1]);
            child.fill(anchors, relations).expect("as many as the branch has")
        };
        self.positive().map(query).collect()
    }

    /// Walks forward through a random one of the branches that are not negated.
    pub fn walk(self, graph: &impl Walk, rng: &mut Rng) -> Option<EntityId> {
        let count = self.positive().count();
        let chosen = if count == 0 { return None } else { below(rng, count as u64) };
        let (branch, begin) = self.positive().nth(chosen as usize)?;
        forward(graph, self.query, branch, begin, rng)
    }

    /// Whether no branch of one hop, negated ones aside, says that `entity` is no answer. Longer ones are not looked at.
    pub fn may_answer(self, graph: &impl Walk, entity: EntityId) -> bool {
        self.iter().all(|(branch, begin)| match branch {
            Tree::Projection(anchor, ()) if matches!(**anchor, Tree::Anchor(())) => {
                let (head, relation) = (self.query.anchors[begin.0], self.query.relations[begin.1]);
                graph.contains(Triple { head, relation, tail: entity })
            }
            _ => true,
        })
    }
}

/// An entity that the branch at `begin` leads to, without regard to the other branches of its intersections.
fn forward(
    graph: &impl Walk,
    query: Filling,
    branch: &Structure,
    begin: Position,
    rng: &mut Rng,
) -> Option<EntityId> {
    match branch {
        Tree::Anchor(()) => Some(query.anchors[begin.0]),
        Tree::Projection(child, ()) => {
            let from = forward(graph, query, child, begin, rng)?;
            graph.pick_tail(from, query.relations[end(child, begin).1], rng)
        }
        Tree::Negation(child) => match &**child {
            Tree::Negation(inner) => forward(graph, query, inner, begin, rng),
            _ => None,
        },
        Tree::Intersection(children) | Tree::Union(children) => {
            Branches { children, begin, query }.walk(graph, rng)
        }
    }
}

/// Whether two branches are written the same, but for the order inside their intersections and unions.
pub fn same(query: Filling, (a, at): (&Structure, Position), (b, bt): (&Structure, Position)) -> bool {
    match (a, b) {
        (Tree::Anchor(()), Tree::Anchor(())) => query.anchors[at.0] == query.anchors[bt.0],
        (Tree::Projection(x, ()), Tree::Projection(y, ())) => {
            query.relations[end(x, at).1] == query.relations[end(y, bt).1] && same(query, (x, at), (y, bt))
        }
        (Tree::Negation(x), Tree::Negation(y)) => same(query, (x, at), (y, bt)),
        (Tree::Intersection(xs), Tree::Intersection(ys)) | (Tree::Union(xs), Tree::Union(ys)) => {
            let (xs, ys) = (
                Branches { children: xs, begin: at, query }.iter(),
                Branches { children: ys, begin: bt, query }.iter(),
            );
            let count = |of, among: &mut dyn Iterator<Item = (&Structure, Position)>| {
                among.filter(|&other| same(query, of, other)).count()
            };
            xs.clone().count() == ys.clone().count()
                && xs.clone().all(|x| count(x, &mut xs.clone()) == count(x, &mut ys.clone()))
        }
        _ => false,
    }
}

/// What a branch negates; `None` where it is no negation, or a double one.
pub fn negated(branch: &Structure) -> Option<&Structure> {
    match branch {
        Tree::Negation(child) if !matches!(**child, Tree::Negation(_)) => Some(child),
        _ => None,
    }
}

/// Position in the flat form after `tree`, which starts at `(anchor, relation)`.
pub fn end(tree: &Structure, (anchor, relation): Position) -> Position {
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
    use crate::ids::RelationId;

    #[test]
    fn branches_are_equal_whatever_the_order_inside_them() {
        let project = |child| Tree::Projection(Box::new(child), ());
        let one = || project(Tree::Anchor(()));
        let pair = || Tree::Intersection(vec![one(), one()]);
        let chain = project(one());
        let ids = |ids: &[u32]| ids.iter().map(|&id| EntityId(id)).collect::<Vec<_>>();
        let (anchors, relations) = (ids(&[1, 2, 2, 1]), [3, 4, 4, 3].map(RelationId));
        let query = Filling { anchors: &anchors, relations: &relations };
        assert!(same(query, (&pair(), (0, 0)), (&pair(), (2, 2))));
        let other = ids(&[1, 2, 2, 2]);
        let query = Filling { anchors: &other, relations: &relations };
        assert!(!same(query, (&pair(), (0, 0)), (&pair(), (2, 2))), "another anchor");
        let query = Filling { anchors: &ids(&[1, 1]), relations: &[3, 4, 3, 4].map(RelationId) };
        assert!(same(query, (&chain, (0, 0)), (&chain, (1, 2))));
        assert!(!same(query, (&one(), (0, 0)), (&chain, (1, 2))), "another structure");
    }
}
