//! The batch plan: a mix of structures compiled once into operators over one arena of slots.
//!
//! Every anchor of every query becomes a slot; then, level by level, all projections, negations and
//! intersections of that level, whatever structure they belong to, are one operator each. A slot is
//! written once and read once, so the backward pass is the same list in reverse, without a tape.

use super::structure::{Mix, Structure};
use super::tree::Tree;
use crate::error::Result;

/// One operator of the plan over `output.len()` slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// `slot[output + i] = project(slot[inputs[i]], relation use first_use + i)`.
    Project {
        /// Slots read, all below `output`.
        inputs: Vec<u32>,
        /// First slot written.
        output: u32,
        /// First of as many consecutive uses in [`Plan::relation_uses`].
        first_use: u32,
    },
    /// `slot[output + i] = intersection(slot[j] for j in inputs[offsets[i]..offsets[i + 1]])`.
    Intersect {
        /// Slots read, segment by segment, all below `output`.
        inputs: Vec<u32>,
        /// Segment bounds, one more than there are outputs.
        offsets: Vec<u32>,
        /// First slot written.
        output: u32,
    },
    /// `slot[output + i] = not slot[inputs[i]]`.
    Negate {
        /// Slots read, all below `output`.
        inputs: Vec<u32>,
        /// First slot written.
        output: u32,
    },
}

/// A compiled mix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Number of queries.
    pub num_queries: usize,
    /// Number of slots; the first `anchors.len()` are the anchors.
    pub num_slots: usize,
    /// For each anchor slot: the index of its anchor in [`Batch::anchors`](crate::sampler::Batch::anchors).
    pub anchors: Vec<u32>,
    /// For each use of a relation: its index in [`Batch::relations`](crate::sampler::Batch::relations).
    pub relation_uses: Vec<u32>,
    /// The operators, in order.
    pub steps: Vec<Step>,
    /// Slots of the final embeddings, query by query; several for a query with a union.
    pub roots: Vec<u32>,
    /// Roots of query `q` are `roots[root_offsets[q]..root_offsets[q + 1]]`.
    pub root_offsets: Vec<u32>,
}

/// A node of the forest while it is compiled.
enum Node {
    Anchor(u32),
    Project(usize, u32),
    Negate(usize),
    Intersect(Vec<usize>),
}

impl Plan {
    /// Compiles a mix. Unions are moved to the roots (disjunctive normal form).
    ///
    /// The model must be able to express what is left; [`crate::model`] checks that first.
    pub fn new(mix: &Mix) -> Result<Self> {
        Self::compile(mix, |s: &Tree<u32, u32>| s.disjuncts())
    }

    /// Compiles a mix for a model with negation, unions rewritten by De Morgan.
    pub fn with_de_morgan(mix: &Mix) -> Result<Self> {
        Self::compile(mix, |s: &Tree<u32, u32>| vec![s.without_unions()])
    }

    fn compile(mix: &Mix, rewrite: impl Fn(&Tree<u32, u32>) -> Vec<Tree<u32, u32>>) -> Result<Self> {
        // The forest of all queries, children before parents, each node with its level.
        let mut nodes: Vec<(usize, Node)> = Vec::new();
        let (mut roots, mut root_offsets) = (Vec::new(), vec![0u32]);
        let (mut num_anchors, mut num_relations) = (0u32, 0u32);
        for (structure, count) in &mix.parts {
            let (anchors, relations) = count_leaves(structure);
            for _ in 0..*count {
                let flat_anchors: Vec<u32> = (num_anchors..num_anchors + anchors).collect();
                let flat_relations: Vec<u32> = (num_relations..num_relations + relations).collect();
                let query =
                    structure.fill(&flat_anchors, &flat_relations).expect("counted from the same tree");
                for disjunct in rewrite(&query) {
                    roots.push(add(&disjunct, &mut nodes));
                }
                root_offsets.push(roots.len() as u32);
                num_anchors += anchors;
                num_relations += relations;
            }
        }

        // Slots: anchors first, then one operator of each kind per level.
        let mut slot = vec![0u32; nodes.len()];
        let mut plan = Plan {
            num_queries: mix.num_queries(),
            num_slots: 0,
            anchors: Vec::new(),
            relation_uses: Vec::new(),
            steps: Vec::new(),
            roots: Vec::new(),
            root_offsets,
        };
        let mut take = |slot: &mut u32| {
            *slot = plan.num_slots as u32;
            plan.num_slots += 1;
        };
        let depth = nodes.iter().map(|(level, _)| *level).max().unwrap_or(0);
        for (i, (_, node)) in nodes.iter().enumerate() {
            if let Node::Anchor(anchor) = node {
                take(&mut slot[i]);
                plan.anchors.push(*anchor);
            }
        }
        for level in 1..=depth {
            let at_level = || (0..nodes.len()).filter(|&i| nodes[i].0 == level);
            let first_use = plan.relation_uses.len() as u32;
            let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
            for i in at_level() {
                if let Node::Project(child, relation) = nodes[i].1 {
                    inputs.push(slot[child]);
                    plan.relation_uses.push(relation);
                    outputs.push(i);
                }
            }
            if let Some(output) = assign(&outputs, &mut slot, &mut take) {
                plan.steps.push(Step::Project { inputs, output, first_use });
            }
            let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
            for i in at_level() {
                if let Node::Negate(child) = nodes[i].1 {
                    inputs.push(slot[child]);
                    outputs.push(i);
                }
            }
            if let Some(output) = assign(&outputs, &mut slot, &mut take) {
                plan.steps.push(Step::Negate { inputs, output });
            }
            let (mut inputs, mut offsets, mut outputs) = (Vec::new(), vec![0u32], Vec::new());
            for i in at_level() {
                if let Node::Intersect(children) = &nodes[i].1 {
                    inputs.extend(children.iter().map(|&c| slot[c]));
                    offsets.push(inputs.len() as u32);
                    outputs.push(i);
                }
            }
            if let Some(output) = assign(&outputs, &mut slot, &mut take) {
                plan.steps.push(Step::Intersect { inputs, offsets, output });
            }
        }
        plan.roots = roots.into_iter().map(|node| slot[node]).collect();
        Ok(plan)
    }
}

/// Gives the nodes consecutive slots; the first one, or `None` where there are no nodes.
fn assign(nodes: &[usize], slot: &mut [u32], take: &mut impl FnMut(&mut u32)) -> Option<u32> {
    for &node in nodes {
        take(&mut slot[node]);
    }
    nodes.first().map(|&node| slot[node])
}

fn count_leaves(structure: &Structure) -> (u32, u32) {
    let (anchors, relations) = structure.flatten();
    (anchors.len() as u32, relations.len() as u32)
}

/// Adds a union-free tree to the forest and returns its root.
fn add(tree: &Tree<u32, u32>, nodes: &mut Vec<(usize, Node)>) -> usize {
    let children: Vec<usize> = tree.children().iter().map(|c| add(c, nodes)).collect();
    let level = children.iter().map(|&c| nodes[c].0 + 1).max().unwrap_or(0);
    let node = match tree {
        Tree::Anchor(anchor) => Node::Anchor(*anchor),
        Tree::Projection(_, relation) => Node::Project(children[0], *relation),
        Tree::Negation(_) => Node::Negate(children[0]),
        Tree::Intersection(_) => Node::Intersect(children),
        Tree::Union(_) => unreachable!("unions are rewritten before compilation"),
    };
    nodes.push((level, node));
    nodes.len() - 1
}
