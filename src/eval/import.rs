//! Query sets of other origin: JSON lines or pickle files, checked against the graph.

use super::group::QueryGroup;
use super::import_pickle;
use super::queries::{QuerySet, hard_proofs, with_graphs};
use crate::error::{Error, Result};
use crate::graph::{KnowledgeGraph, Split};
use crate::ids::EntityId;
use crate::query::{Proof, Query, Structure, Tree, ground, parse_query, structure};
use crate::storage::regular;
use hashbrown::HashMap;
use rayon::prelude::*;
use serde::Deserialize;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// Reads the query set of a split from `path` and finds the best proof of each hard answer.
///
/// `path` is a file of [JSON lines](super::export), a folder of [pickle files](super::export_pickle)
/// (KGReasoning's are looked for first, then SMORE's `all-{split}-data.pkl`), or one of SMORE's files. Names are
/// looked up in the graph, and so are ids where their folder has `id2ent.pkl` and `id2rel.pkl`; without those, ids
/// are the graph's own.
///
/// Structures keep their order; queries of one structure in different orders of branches become one group.
/// Time is that of executing every query on the graph of the split.
///
/// Errors name the place: what cannot be read, unknown names, ids out of range, queries without answers; and a
/// set most of whose hard answers do not need an edge of the split, because it was made from another graph or split.
pub fn read(path: &Path, graph: &KnowledgeGraph, split: Split) -> Result<QuerySet> {
    let mut found = Found::default();
    if path.is_dir() || path.extension().is_some_and(|extension| extension == "pkl") {
        import_pickle::read(path, graph, split, &mut found)?;
    } else {
        read_json_lines(path, graph, &mut found)?;
    }
    found.finish(path, graph, split)
}

/// What is read of a line; `structure` and the counts of a proof follow from the query and the graph.
#[derive(Deserialize)]
struct Line {
    query: String,
    easy: Vec<String>,
    hard: Vec<String>,
}

fn read_json_lines(path: &Path, graph: &KnowledgeGraph, found: &mut Found) -> Result<()> {
    let file = BufReader::with_capacity(1 << 16, regular::open(path)?);
    for (number, line) in (1..).zip(file.lines()) {
        let text = line.map_err(Error::io(path))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        if text.trim().is_empty() {
            continue;
        }
        let wrong = |message: String| Error::line(path, number, message);
        let line: Line = serde_json::from_str(text).map_err(|e| {
            // The place within the line is not reported: people look for members, not for columns.
            let text = e.to_string();
            let reason = text.split(" at line ").next().unwrap_or_default();
            wrong(format!("expected {{\"query\": text, \"easy\": [names], \"hard\": [names]}}: {reason}"))
        })?;
        let query = parse_query(&line.query).and_then(|query| ground(&query, graph));
        let query = query.map_err(|e| wrong(e.to_string()))?;
        let entity = |name: &String| {
            let id = graph.entities().find(name).map(EntityId);
            id.ok_or_else(|| wrong(format!("the answer \"{name}\" is no entity of {}", graph.dataset())))
        };
        let entities = |names: &[String]| names.iter().map(entity).collect::<Result<Vec<_>>>();
        found.push(&query, entities(&line.easy)?, entities(&line.hard)?);
    }
    Ok(())
}

/// The queries that were found so far.
#[derive(Default)]
pub(super) struct Found {
    groups: Vec<QueryGroup>,
    /// The group of each structure in canonical form.
    index: HashMap<Structure, usize>,
    /// Queries that were left out because there is nothing to rank.
    without_hard: usize,
    /// What the user should know.
    pub notes: Vec<String>,
}

impl Found {
    /// Adds a query; its answers are in any order.
    pub fn push(&mut self, query: &Query, easy: Vec<EntityId>, mut hard: Vec<EntityId>) {
        let mut all = easy;
        all.extend(&hard);
        for list in [&mut hard, &mut all] {
            list.sort_unstable();
            list.dedup();
        }
        if hard.is_empty() {
            self.without_hard += 1;
            return;
        }
        let canonical = query.structure().canonical();
        let at = *self.index.entry(canonical).or_insert_with_key(|canonical| {
            let named = structure::named().iter().find(|(_, s)| s.canonical() == *canonical);
            self.groups.push(QueryGroup::new(named.map_or_else(|| query.structure(), |(_, s)| s.clone())));
            self.groups.len() - 1
        });
        let group = &mut self.groups[at];
        let query = arranged(query, &group.structure);
        let (anchors, relations) = query.flatten();
        let anchors: Vec<_> = anchors.into_iter().copied().collect();
        let relations: Vec<_> = relations.into_iter().copied().collect();
        group.push(&anchors, &relations, &hard, &all);
    }

    fn finish(mut self, path: &Path, graph: &KnowledgeGraph, split: Split) -> Result<QuerySet> {
        if self.groups.is_empty() {
            return Err(Error::file(path, "holds no query with a hard answer"));
        }
        let (mut total, mut unproven, mut easy) = (0, 0, 0);
        for group in &mut self.groups {
            let block = group.all();
            let proofs: Vec<Vec<Option<Proof>>> = with_graphs(graph, split, |graphs| {
                let of = |q| hard_proofs(graphs, &block.query(q), block.targets_of(q));
                (0..block.len()).into_par_iter().map(of).collect()
            });
            group.proofs = proofs.into_iter().flatten().collect();
            total += group.proofs.len();
            unproven += group.proofs.iter().filter(|proof| proof.is_none()).count();
            // Within a negation a held-out edge may count for nothing and yet be needed.
            if !group.structure.has_negation() {
                easy += group.proofs.iter().flatten().filter(|proof| proof.missing == 0).count();
            }
        }
        let (name, split) = (graph.dataset(), split.name());
        if unproven + easy > 0 {
            let text = format!(
                "of {total} hard answers {unproven} do not follow from the graph {name} with its {split} edges and \
                 {easy} follow without them"
            );
            if 2 * (unproven + easy) > total {
                return Err(Error::file(
                    path,
                    format!("{text}: the queries were made from another graph or for another --split"),
                ));
            }
            self.notes.push(format!("{text}; they count for the MRR of all answers only"));
        }
        if self.without_hard > 0 {
            self.notes.push(match self.without_hard {
                1 => "1 query without a hard answer was left out".to_string(),
                many => format!("{many} queries without a hard answer were left out"),
            });
        }
        Ok(QuerySet { groups: self.groups, notes: self.notes })
    }
}

/// The query with its branches in the order of `like`, which is its structure but for that order.
fn arranged(query: &Query, like: &Structure) -> Query {
    let all = |children: &[Query], like: &[Structure]| {
        let mut left: Vec<_> = children.iter().map(|c| (c.structure().canonical(), c)).collect();
        let mut take = |like: &Structure| {
            let canonical = like.canonical();
            let at = left.iter().position(|(structure, _)| *structure == canonical);
            arranged(left.remove(at.expect("both have the same canonical structure")).1, like)
        };
        like.iter().map(&mut take).collect()
    };
    match (query, like) {
        (Tree::Anchor(entity), _) => Tree::Anchor(*entity),
        (Tree::Projection(child, relation), Tree::Projection(like, ())) => {
            Tree::Projection(Box::new(arranged(child, like)), *relation)
        }
        (Tree::Negation(child), Tree::Negation(like)) => Tree::Negation(Box::new(arranged(child, like))),
        (Tree::Intersection(children), Tree::Intersection(like)) => Tree::Intersection(all(children, like)),
        (Tree::Union(children), Tree::Union(like)) => Tree::Union(all(children, like)),
        _ => unreachable!("both have the same canonical structure"),
    }
}
