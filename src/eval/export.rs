//! Query sets as JSON lines, with names for ids.

use super::group::QueryGroup;
use super::queries::QuerySet;
use super::scorer::QueryBlock;
use crate::graph::KnowledgeGraph;
use crate::ids::EntityId;
use crate::query::ground::with_names;
use serde::Serialize;
use std::io::{self, Write};

/// A query with its answers.
#[derive(Serialize)]
struct Line<'a> {
    structure: &'a str,
    query: String,
    easy: Vec<String>,
    hard: Vec<String>,
    /// Missing and observed edges of the best proof of each hard answer.
    missing: Vec<Option<u32>>,
    observed: Vec<Option<u32>>,
    /// Rank of each hard answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    ranks: Option<Vec<f64>>,
}

/// Writes a set that was generated from `graph`, one query a line, by structure:
/// `{"structure":"2i","query":"(('a',('r',)),('b',('^s',)))","easy":["c"],"hard":["d","e"],"missing":[1,2],"observed":[1,0]}`.
///
/// `missing` and `observed` count the edges of each hard answer's best [`Proof`](crate::query::Proof). `query` is
/// text that [`parse_query`](crate::query::parse_query) reads. Answers are names, in the order of their ids.
/// `ranks` are those of the hard answers of each group, where somebody ranked them, and are written beside. Flushes at the end.
pub fn write_json_lines(
    set: &QuerySet,
    graph: &KnowledgeGraph,
    ranks: &[Option<Vec<f64>>],
    out: &mut impl Write,
) -> io::Result<()> {
    let entities = graph.entities();
    for (number, group) in set.groups.iter().enumerate() {
        let ranks = ranks.get(number).and_then(Option::as_ref);
        let structure = group.structure.to_string();
        let block = group.all();
        let proofs = |q: usize| group.proofs[group.target_offsets[q]..group.target_offsets[q + 1]].iter();
        for q in 0..block.len() {
            let named =
                |ids: &mut dyn Iterator<Item = &EntityId>| ids.map(|id| entities.name(id.0)).collect();
            let line = Line {
                structure: &structure,
                query: with_names(&block.query(q), graph).to_string(),
                easy: named(&mut easy_answers(&block, q)),
                hard: named(&mut block.targets_of(q).iter()),
                missing: proofs(q).map(|p| p.map(|p| p.missing)).collect(),
                observed: proofs(q).map(|p| p.map(|p| p.observed)).collect(),
                ranks: ranks.map(|r| r[group.target_offsets[q]..group.target_offsets[q + 1]].to_vec()),
            };
            serde_json::to_writer(&mut *out, &line)?;
            out.write_all(b"\n")?;
        }
    }
    out.flush()
}

/// The answers of query `q` that are not to be ranked.
pub(super) fn easy_answers<'a>(block: &QueryBlock<'a>, q: usize) -> impl Iterator<Item = &'a EntityId> {
    let hard = block.targets_of(q);
    block.filter_of(q).iter().filter(|e| hard.binary_search(e).is_err())
}

/// Numbers of easy and of hard answers of a group.
pub fn count_answers(group: &QueryGroup) -> [usize; 2] {
    [group.filter.len() - group.targets.len(), group.targets.len()]
}
