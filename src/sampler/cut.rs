//! The cut: where the walk forward from the anchors meets the walk backward from a candidate.

use crate::query::{Structure, Tree};

/// A structure with its nodes in one array, children before parents, and its cut.
///
/// Double negations are gone. Every path from the root to an anchor meets exactly one *cut* node: its
/// set is enumerated forward, everything above is verified backward. Backward always goes one
/// projection at least, because for that step the pool is indexed by relation; beyond that the cut
/// makes the longer of both sides as short as possible, and the backward side shorter on a tie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Nodes in post-order; the root is last.
    pub nodes: Vec<Node>,
    /// Number of anchors of a query.
    pub num_anchors: usize,
    /// Number of relations of a query.
    pub num_relations: usize,
    /// Whether a negation is left: then the drawn answer must be checked.
    pub has_negation: bool,
}

/// A node of a [`Program`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The operator with its children.
    pub kind: Kind,
    /// How the node's set is represented.
    pub role: Role,
    /// Whether the set can be enumerated without a complement.
    enumerable: bool,
    /// Projections on the longest path down to an anchor.
    height: usize,
}

/// An operator; children are indexes into [`Program::nodes`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Index into the query's anchors.
    Anchor(usize),
    /// Child, and index into the query's relations.
    Projection(usize, usize),
    /// Children.
    Intersection(Vec<usize>),
    /// Children.
    Union(Vec<usize>),
    /// Child.
    Negation(usize),
}

/// What is done with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Enumerated as a step towards the cut.
    Below,
    /// Enumerated, its size capped, and met by the backward walk.
    Cut,
    /// A projection of an anchor that is above the cut: one fragment of the graph, which is borrowed
    /// and never copied, so that no cap is needed.
    Fragment,
    /// Verified backward.
    Above,
}

impl Program {
    /// Compiles a structure.
    pub fn new(structure: &Structure) -> Self {
        let mut program =
            Program { nodes: Vec::new(), num_anchors: 0, num_relations: 0, has_negation: false };
        let root = program.add(structure);
        let mut longest = 1;
        while !program.cut(root, 0, longest, false) {
            longest += 1;
        }
        program.cut(root, 0, longest, true);
        program
    }

    /// Index of the root.
    pub fn root(&self) -> usize {
        self.nodes.len() - 1
    }

    fn add(&mut self, tree: &Structure) -> usize {
        if let Tree::Negation(child) = tree
            && let Tree::Negation(inner) = &**child
        {
            return self.add(inner);
        }
        let children: Vec<usize> = tree.children().iter().map(|child| self.add(child)).collect();
        let height = children.iter().map(|&c| self.nodes[c].height).max().unwrap_or(0);
        let enumerable = |c: usize| self.nodes[c].enumerable;
        let (kind, enumerable, height) = match tree {
            Tree::Anchor(()) => {
                self.num_anchors += 1;
                (Kind::Anchor(self.num_anchors - 1), true, 0)
            }
            Tree::Projection(..) => {
                self.num_relations += 1;
                let enumerable = enumerable(children[0]);
                (Kind::Projection(children[0], self.num_relations - 1), enumerable, height + 1)
            }
            Tree::Intersection(_) => {
                // What a negation excludes must be enumerable too: it is subtracted.
                let excludes = |c: usize| match self.nodes[c].kind {
                    Kind::Negation(inner) => enumerable(inner),
                    _ => false,
                };
                let any = children.iter().any(|&c| enumerable(c));
                let all = children.iter().all(|&c| enumerable(c) || excludes(c));
                (Kind::Intersection(children), any && all, height)
            }
            Tree::Union(_) => {
                let all = children.iter().all(|&c| enumerable(c));
                (Kind::Union(children), all, height)
            }
            Tree::Negation(_) => {
                self.has_negation = true;
                (Kind::Negation(children[0]), false, height)
            }
        };
        self.nodes.push(Node { kind, role: Role::Below, enumerable, height });
        self.nodes.len() - 1
    }

    /// Whether a cut exists with at most `longest` projections on either side, found from the top: the
    /// higher it lies the less is walked backward. `apply` writes it down.
    fn cut(&mut self, node: usize, depth: usize, longest: usize, apply: bool) -> bool {
        let Node { enumerable, height, .. } = self.nodes[node];
        let is_anchor = matches!(self.nodes[node].kind, Kind::Anchor(_));
        let here = is_anchor || (depth >= 1 && enumerable && height <= longest);
        let fragment = match self.nodes[node].kind {
            Kind::Projection(child, _) => matches!(self.nodes[child].kind, Kind::Anchor(_)),
            _ => false,
        };
        if apply {
            self.nodes[node].role = match (here, fragment) {
                (true, _) => Role::Cut,
                (false, true) => Role::Fragment,
                (false, false) => Role::Above,
            };
        }
        if here || fragment {
            return true;
        }
        match self.nodes[node].kind.clone() {
            Kind::Anchor(_) => true,
            Kind::Projection(child, _) => depth < longest && self.cut(child, depth + 1, longest, apply),
            Kind::Negation(child) => self.cut(child, depth, longest, apply),
            Kind::Intersection(children) | Kind::Union(children) => {
                children.into_iter().all(|child| self.cut(child, depth, longest, apply))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(child: Structure) -> Structure {
        Tree::Projection(Box::new(child), ())
    }

    fn chain(length: usize) -> Structure {
        (0..length).fold(Tree::Anchor(()), |tree, _| project(tree))
    }

    fn roles(structure: &Structure) -> Vec<Role> {
        Program::new(structure).nodes.into_iter().map(|node| node.role).collect()
    }

    use Role::{Above, Below, Cut, Fragment};

    #[test]
    fn a_chain_is_cut_in_the_middle_with_the_longer_side_forward() {
        assert_eq!(roles(&chain(1)), [Below, Fragment]);
        assert_eq!(roles(&chain(2)), [Below, Cut, Above]);
        assert_eq!(roles(&chain(3)), [Below, Below, Cut, Above]);
        assert_eq!(roles(&chain(4)), [Below, Below, Cut, Above, Above]);
        assert_eq!(roles(&chain(5)), [Below, Below, Below, Cut, Above, Above]);
    }

    #[test]
    fn every_branch_has_its_own_cut() {
        let pi = Tree::Intersection(vec![chain(2), chain(1)]);
        assert_eq!(roles(&pi), [Below, Cut, Above, Below, Fragment, Above]);
        let ip = project(Tree::Intersection(vec![chain(1), chain(1)]));
        assert_eq!(roles(&ip), [Below, Below, Below, Below, Cut, Above]);
        let inp = project(Tree::Intersection(vec![chain(1), Tree::Negation(Box::new(chain(1)))]));
        assert_eq!(roles(&inp), [Below, Below, Below, Below, Below, Cut, Above]);
    }

    #[test]
    fn a_complement_is_never_enumerated() {
        let not = |tree| Tree::Negation(Box::new(tree));
        assert_eq!(roles(&project(not(chain(1)))), [Below, Cut, Above, Above]);
        let neither = project(Tree::Intersection(vec![not(chain(1)), not(chain(1))]));
        assert_eq!(roles(&neither), [Below, Cut, Above, Below, Cut, Above, Above, Above]);
        assert_eq!(roles(&not(not(chain(1)))), [Below, Fragment]);
    }
}
