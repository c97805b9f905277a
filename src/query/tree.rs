//! The query algebra: anchors, projections, intersections, unions, negations.

use crate::ids::{EntityId, RelationId};

/// A query tree over any kind of anchor `A` and relation `R`.
///
/// Three fillings are used: [`Structure`](super::Structure) (`Tree<(), ()>`, a template),
/// [`Query`] (ids), and names as a user types them (`Tree<String, Name>` or the like).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tree<A, R> {
    /// A constant entity.
    Anchor(A),
    /// The entities that a relation leads to from the child's.
    Projection(Box<Tree<A, R>>, R),
    /// The entities in every child; at least two children.
    Intersection(Vec<Tree<A, R>>),
    /// The entities in any child; at least two children.
    Union(Vec<Tree<A, R>>),
    /// The entities that are not in the child.
    Negation(Box<Tree<A, R>>),
}

/// A structure filled in with entities and relations.
pub type Query = Tree<EntityId, RelationId>;

impl<A, R> Tree<A, R> {
    /// Child trees, left to right.
    pub fn children(&self) -> &[Tree<A, R>] {
        match self {
            Tree::Anchor(_) => &[],
            Tree::Projection(child, _) | Tree::Negation(child) => std::slice::from_ref(child),
            Tree::Intersection(children) | Tree::Union(children) => children,
        }
    }

    /// Anchors and relations in **post-order**: children left to right, then the node itself.
    ///
    /// This order is the flat form of a query everywhere: `3p` lists its relations from the anchor
    /// to the answer, `pi` lists both of its first branch, then that of the second.
    pub fn flatten(&self) -> (Vec<&A>, Vec<&R>) {
        fn walk<'a, A, R>(tree: &'a Tree<A, R>, anchors: &mut Vec<&'a A>, relations: &mut Vec<&'a R>) {
            for child in tree.children() {
                walk(child, anchors, relations);
            }
            match tree {
                Tree::Anchor(anchor) => anchors.push(anchor),
                Tree::Projection(_, relation) => relations.push(relation),
                _ => {}
            }
        }
        let (mut anchors, mut relations) = (Vec::new(), Vec::new());
        walk(self, &mut anchors, &mut relations);
        (anchors, relations)
    }

    /// Replaces every anchor and relation, in post-order; the first error ends the walk.
    pub fn try_map<B, S, E>(
        &self,
        anchor: &mut impl FnMut(&A) -> Result<B, E>,
        relation: &mut impl FnMut(&R) -> Result<S, E>,
    ) -> Result<Tree<B, S>, E> {
        Ok(match self {
            Tree::Anchor(a) => Tree::Anchor(anchor(a)?),
            Tree::Projection(child, r) => {
                let child = child.try_map(anchor, relation)?;
                Tree::Projection(Box::new(child), relation(r)?)
            }
            Tree::Negation(child) => Tree::Negation(Box::new(child.try_map(anchor, relation)?)),
            Tree::Intersection(children) => Tree::Intersection(
                children.iter().map(|c| c.try_map(anchor, relation)).collect::<Result<_, E>>()?,
            ),
            Tree::Union(children) => {
                Tree::Union(children.iter().map(|c| c.try_map(anchor, relation)).collect::<Result<_, E>>()?)
            }
        })
    }

    /// The structure of this query.
    pub fn structure(&self) -> Tree<(), ()> {
        match self.try_map(&mut |_| Ok::<_, std::convert::Infallible>(()), &mut |_| Ok(())) {
            Ok(structure) => structure,
        }
    }

    /// Fills the tree anew from flat lists in post-order; `None` where a list has another length.
    pub fn fill<B: Clone, S: Clone>(&self, anchors: &[B], relations: &[S]) -> Option<Tree<B, S>> {
        let (mut anchors, mut relations) = (anchors.iter(), relations.iter());
        let tree = self
            .try_map(&mut |_| anchors.next().cloned().ok_or(()), &mut |_| relations.next().cloned().ok_or(()))
            .ok()?;
        (anchors.next().is_none() && relations.next().is_none()).then_some(tree)
    }

    /// Whether any node satisfies `predicate`.
    pub fn any(&self, predicate: &impl Fn(&Tree<A, R>) -> bool) -> bool {
        predicate(self) || self.children().iter().any(|c| c.any(predicate))
    }

    /// Whether a negation occurs.
    pub fn has_negation(&self) -> bool {
        self.any(&|t| matches!(t, Tree::Negation(_)))
    }

    /// Whether an intersection occurs.
    pub fn has_intersection(&self) -> bool {
        self.any(&|t| matches!(t, Tree::Intersection(_)))
    }

    /// Whether a union occurs.
    pub fn has_union(&self) -> bool {
        self.any(&|t| matches!(t, Tree::Union(_)))
    }

    /// An upper bound on the number of trees that [`Tree::disjuncts`] builds on its way, without
    /// building them; saturates. Refuse what is too large before calling it.
    pub fn num_disjuncts(&self) -> usize {
        match self {
            Tree::Anchor(_) => 1,
            Tree::Projection(child, _) | Tree::Negation(child) => child.num_disjuncts(),
            Tree::Intersection(children) => {
                children.iter().fold(1, |n, c| c.num_disjuncts().saturating_mul(n))
            }
            Tree::Union(children) => children.iter().fold(0, |n, c| c.num_disjuncts().saturating_add(n)),
        }
    }
}

impl<A: Clone + Ord, R: Clone + Ord> Tree<A, R> {
    /// The same tree with the branches of every intersection and union sorted: two trees that differ
    /// in the order of branches only have the same canonical form.
    pub fn canonical(&self) -> Tree<A, R> {
        let sorted = |children: &[Tree<A, R>]| {
            let mut children: Vec<_> = children.iter().map(Tree::canonical).collect();
            children.sort();
            children
        };
        match self {
            Tree::Anchor(_) => self.clone(),
            Tree::Projection(c, r) => Tree::Projection(Box::new(c.canonical()), r.clone()),
            Tree::Negation(c) => Tree::Negation(Box::new(c.canonical())),
            Tree::Intersection(cs) => Tree::Intersection(sorted(cs)),
            Tree::Union(cs) => Tree::Union(sorted(cs)),
        }
    }
}

impl<A: Clone, R: Clone> Tree<A, R> {
    /// Disjunctive normal form: unions moved to the root and taken apart.
    ///
    /// The answers of the tree are the union of the answers of the returned trees, none of which has
    /// a union. A tree without unions comes back unchanged. A union below a negation is rewritten by
    /// De Morgan: not (a or b) = not a and not b, and these negations join the intersection that the
    /// negation stood in, if it stood in one. The number of trees is at most
    /// [`Tree::num_disjuncts`]: it grows exponentially with the number of unions that meet.
    pub fn disjuncts(&self) -> Vec<Tree<A, R>> {
        if !self.has_union() {
            return vec![self.clone()];
        }
        match self {
            Tree::Anchor(_) => vec![self.clone()],
            Tree::Projection(child, r) => {
                child.disjuncts().into_iter().map(|c| Tree::Projection(Box::new(c), r.clone())).collect()
            }
            Tree::Union(children) => children.iter().flat_map(Tree::disjuncts).collect(),
            Tree::Intersection(children) => {
                // Every choice of one disjunct from each child.
                let mut choices: Vec<Vec<Tree<A, R>>> = vec![vec![]];
                for child in children {
                    let rewritten_negation = matches!(child, Tree::Negation(_)) && child.has_union();
                    let options = child.disjuncts();
                    choices = choices
                        .iter()
                        .flat_map(|chosen| {
                            options.iter().map(move |option| {
                                let mut next = chosen.clone();
                                match option {
                                    Tree::Intersection(parts) if rewritten_negation => {
                                        next.extend(parts.iter().cloned())
                                    }
                                    other => next.push(other.clone()),
                                }
                                next
                            })
                        })
                        .collect();
                }
                choices.into_iter().map(Tree::Intersection).collect()
            }
            Tree::Negation(child) => {
                if let Tree::Negation(inner) = &**child {
                    return inner.disjuncts();
                }
                // None of the child's disjuncts may hold.
                let parts: Vec<_> = child.disjuncts().into_iter().map(negate).collect();
                if parts.len() == 1 { parts } else { vec![Tree::Intersection(parts)] }
            }
        }
    }

    /// De Morgan: every union `a or b` rewritten as `not (not a and not b)`.
    pub fn without_unions(&self) -> Tree<A, R> {
        match self {
            Tree::Anchor(_) => self.clone(),
            Tree::Projection(c, r) => Tree::Projection(Box::new(c.without_unions()), r.clone()),
            Tree::Intersection(cs) => Tree::Intersection(cs.iter().map(Tree::without_unions).collect()),
            Tree::Negation(c) => negate(c.without_unions()),
            Tree::Union(cs) => {
                let negated = cs.iter().map(|c| negate(c.without_unions())).collect();
                Tree::Negation(Box::new(Tree::Intersection(negated)))
            }
        }
    }
}

/// The negation of a tree, without doubling one that it already has.
fn negate<A, R>(tree: Tree<A, R>) -> Tree<A, R> {
    match tree {
        Tree::Negation(child) => *child,
        other => Tree::Negation(Box::new(other)),
    }
}
