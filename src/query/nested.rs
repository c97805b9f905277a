//! Queries as nested tuples, the spelling of KGReasoning: of text, or of integers as in its pickle files.

use super::tree::Tree;

/// Nested tuples with leaves of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nested<L> {
    /// An anchor, a relation or a keyword.
    Leaf(L),
    /// A tuple.
    Tuple(Vec<Nested<L>>),
}

/// What the leaves of a tree become, and the keywords between them.
pub struct Spelling<'a, A, R, L> {
    /// The leaf of an anchor.
    pub anchor: &'a dyn Fn(&A) -> L,
    /// The leaf of a relation.
    pub relation: &'a dyn Fn(&R) -> L,
    /// The keyword of a negation.
    pub negation: L,
    /// The keyword of a union, alone in a last tuple.
    pub union: L,
}

impl<A, R, L: Clone> Spelling<'_, A, R, L> {
    /// The tuples of a tree: `(anchor, (relation, ...))`, `(branch, branch)`, `(branch, branch, (union,))`
    /// or `((branch, branch), (relation, ...))`; see [`parse`](super::parse).
    pub fn spell(&self, tree: &Tree<A, R>) -> Nested<L> {
        // The projections and negations on the way down to an anchor or a set operation.
        let (mut base, mut path) = (tree, Vec::new());
        loop {
            match base {
                Tree::Projection(child, r) => {
                    path.push(Nested::Leaf((self.relation)(r)));
                    base = child;
                }
                Tree::Negation(child) => {
                    path.push(Nested::Leaf(self.negation.clone()));
                    base = child;
                }
                _ => break,
            }
        }
        path.reverse();
        let inner = match base {
            Tree::Anchor(a) => {
                return Nested::Tuple(vec![Nested::Leaf((self.anchor)(a)), Nested::Tuple(path)]);
            }
            _ => {
                let mut branches: Vec<_> = base.children().iter().map(|child| self.spell(child)).collect();
                if matches!(base, Tree::Union(_)) {
                    branches.push(Nested::Tuple(vec![Nested::Leaf(self.union.clone())]));
                }
                Nested::Tuple(branches)
            }
        };
        if path.is_empty() { inner } else { Nested::Tuple(vec![inner, Nested::Tuple(path)]) }
    }
}
