//! Witnesses with names: for JSON, as rows of a table, as a tree.

use crate::graph::KnowledgeGraph;
use crate::ids::{EntityId, RelationId};
use crate::inference::{Because, Witness};
use crate::query::{NameKind, NameLookup};
use serde::{Deserialize, Serialize};

/// What makes an entity true at a node of a query: the best binding of the variables below, and the links between them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Why {
    /// Name of the entity.
    pub entity: String,
    /// Its label in the preferred language, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// How true it is here, from 0 to 1.
    pub truth: f32,
    /// By what.
    #[serde(flatten)]
    pub because: Reason,
}

/// A node of a query, with its variable bound.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// It is an anchor of the query.
    Anchor,
    /// A link leads to it.
    Link(Link),
    /// All of these make it true.
    All(Vec<Why>),
    /// Each of these makes it true.
    Any(Vec<Why>),
    /// The strongest evidence for what is negated; none where there is not any.
    Not(Option<Box<Why>>),
}

/// A link, in the direction of the query.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// The relation's name, `^P` for the inverse of `P`.
    pub relation: String,
    /// How true the link is, from 0 to 1.
    pub truth: f32,
    /// Whether it is observed; else it is predicted.
    pub observed: bool,
    /// Where it comes from.
    pub from: Box<Why>,
}

impl Why {
    /// A witness with the names of a graph.
    pub fn new(witness: &Witness, graph: &KnowledgeGraph) -> Self {
        let each = |parts: &[Witness]| parts.iter().map(|part| Why::new(part, graph)).collect();
        let because = match &witness.because {
            Because::Anchor => Reason::Anchor,
            Because::All(parts) => Reason::All(each(parts)),
            Because::Any(parts) => Reason::Any(each(parts)),
            Because::Not(counter) => Reason::Not(counter.as_ref().map(|c| Box::new(Why::new(c, graph)))),
            Because::Link { from, relation, truth, observed } => Reason::Link(Link {
                relation: relation_name(graph, *relation),
                truth: *truth,
                observed: *observed,
                from: Box::new(Why::new(from, graph)),
            }),
        };
        let EntityId(id) = witness.entity;
        Why {
            entity: graph.name(NameKind::Entity, id),
            label: graph.label(NameKind::Entity, id),
            truth: witness.truth,
            because,
        }
    }

    /// The label, or the name where there is none.
    pub fn shown(&self) -> &str {
        self.label.as_deref().unwrap_or(&self.entity)
    }

    /// The links, from the anchors to the answer: `head --relation--> tail`, after `not: ` below a negation, and its status.
    pub fn links(&self) -> Vec<[String; 2]> {
        fn walk(why: &Why, negated: bool, all: &mut Vec<[String; 2]>) {
            match &why.because {
                Reason::Anchor => {}
                Reason::Link(link) => {
                    walk(&link.from, negated, all);
                    let not = if negated { "not: " } else { "" };
                    all.push([format!("{not}{}", link.text(why)), link.status()]);
                }
                Reason::All(parts) | Reason::Any(parts) => {
                    parts.iter().for_each(|part| walk(part, negated, all));
                }
                Reason::Not(counter) => counter.iter().for_each(|part| walk(part, !negated, all)),
            }
        }
        let mut all = Vec::new();
        walk(self, false, &mut all);
        all
    }

    /// The links as lines of a tree, the last ones first; each line begins with `indent`.
    pub fn tree(&self, indent: &str) -> String {
        let lines = self.lines();
        let last = lines.len().saturating_sub(1);
        let line = |(i, (line, below)): (usize, (String, Option<&Why>))| {
            let (branch, space) = if i == last { ("└ ", "  ") } else { ("├ ", "│ ") };
            let below = below.map(|below| below.tree(&format!("{indent}{space}"))).unwrap_or_default();
            format!("{indent}{branch}{line}\n{below}")
        };
        lines.into_iter().enumerate().map(line).collect()
    }

    /// The lines right below this node, each with the node that is spelt out below it.
    fn lines(&self) -> Vec<(String, Option<&Why>)> {
        match &self.because {
            Reason::Anchor => Vec::new(),
            Reason::Link(link) => {
                vec![(format!("{}  {}", link.text(self), link.status()), Some(&*link.from))]
            }
            Reason::All(parts) => parts.iter().flat_map(Why::lines).collect(),
            Reason::Any(parts) => {
                parts.iter().map(|part| (format!("either  {:.4}", part.truth), Some(part))).collect()
            }
            Reason::Not(None) => vec![("not: no counter-evidence".into(), None)],
            Reason::Not(Some(counter)) => {
                vec![(
                    format!("not  {:.4}; counter-evidence  {:.4}", self.truth, counter.truth),
                    Some(&**counter),
                )]
            }
        }
    }
}

impl Link {
    /// `head --relation--> tail`.
    pub fn text(&self, to: &Why) -> String {
        format!("{} --{}--> {}", self.from.shown(), self.relation, to.shown())
    }

    /// `observed`, or `predicted` with its truth.
    pub fn status(&self) -> String {
        match self.observed {
            true => "observed".into(),
            false => format!("predicted {:.4}", self.truth),
        }
    }
}

/// The name of a relation, with its direction.
fn relation_name(graph: &KnowledgeGraph, relation: RelationId) -> String {
    let inverse = if relation.is_inverse() { "^" } else { "" };
    let shown = graph.label(NameKind::Relation, relation.0 / 2);
    format!("{inverse}{}", shown.unwrap_or_else(|| graph.name(NameKind::Relation, relation.0 / 2)))
}
