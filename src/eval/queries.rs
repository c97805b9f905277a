//! Valid and test query sets of any structures, with easy and hard answers.

use super::group::QueryGroup;
use super::held_out::{LIMIT, can_have_hard_answers, draw};
use crate::error::Result;
use crate::graph::csr::Sizes;
use crate::graph::{Csr, KnowledgeGraph, Split, View};
use crate::ids::{EntityId, Triple};
use crate::progress::Watch;
use crate::query::execute::answers_within;
use crate::query::{Proof, Query, Structure, Tree, proofs};
use crate::rng::{below, stream};
use crate::sampler::Rejection;
use crate::table::count;
use hashbrown::HashSet;
use rayon::prelude::*;

/// Attempts per query asked for before a structure is given up.
const ATTEMPTS_PER_QUERY: usize = 30;

/// What to generate.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryOptions {
    /// The structures, in the order of the tables.
    pub structures: Vec<Structure>,
    /// At most this many queries of each structure.
    pub max_queries: usize,
    /// At most this many hard answers of a query; queries with more are thrown away, as in BetaE.
    pub max_answers: usize,
    /// Seed of everything that is drawn.
    pub seed: u64,
}

/// Queries of every structure asked for, some perhaps without any.
#[derive(Clone, Debug, PartialEq)]
pub struct QuerySet {
    /// Queries by structure; their targets are the hard answers with their proofs, their filters all answers.
    pub groups: Vec<QueryGroup>,
    /// What the user should know: structures with fewer queries than asked for, and why.
    pub notes: Vec<String>,
}

impl QuerySet {
    /// Number of queries of all structures.
    pub fn num_queries(&self) -> usize {
        self.groups.iter().map(QueryGroup::len).sum()
    }
}

/// Three graphs: what is known, what is to be found out, and both.
#[derive(Clone, Copy, Debug)]
pub struct Graphs<'a> {
    /// The observed graph. Train: nothing; valid: train; test: train and valid.
    pub observed: &'a View<'a>,
    /// The held-out split.
    pub held_out: Csr<'a>,
    /// The observed graph and the held-out split.
    pub full: &'a View<'a>,
}

/// Generates the queries of a split of a graph; see [`generate_from`].
///
/// Of the train split nothing counts as observed, so all answers of its queries are hard.
///
/// # Errors
///
/// [`Error::Interrupted`](crate::Error::Interrupted) where the watcher stops it, within a fraction of a second.
pub fn generate(
    graph: &KnowledgeGraph,
    split: Split,
    options: &QueryOptions,
    watch: &Watch,
) -> Result<QuerySet> {
    with_graphs(graph, split, |graphs| generate_watched(graphs, options, split.name(), watch))
}

/// Calls `work` with the graphs of a split.
pub fn with_graphs<T>(graph: &KnowledgeGraph, split: Split, work: impl FnOnce(&Graphs) -> T) -> T {
    let observed = match split {
        Split::Train => {
            let empty = Csr::from_parts(graph.num_entities(), Sizes::default(), &[], &[0], &[]);
            View::new([empty.expect("no edges, and a row offset that closes none")])
        }
        Split::Valid => graph.view(Split::Train),
        Split::Test => graph.view(Split::Valid),
    };
    work(&Graphs { observed: &observed, held_out: graph.split(split), full: &graph.view(split) })
}

/// Generates queries with at least one hard answer and at most `max_answers` of them.
///
/// All answers are those on the full graph; the hard ones are those of them that are no answers on the
/// observed graph. (With a negation the observed graph may have answers that
/// the full graph has not; they are no answers.) No query occurs twice, also not with its branches in
/// another order. For `1p` every (entity, relation) with a new tail is used, or a uniform choice of
/// them where there are too many; other structures are drawn by [`draw()`]. The result
/// depends on the graphs and options only, not on the number of threads.
pub fn generate_from(graphs: &Graphs, options: &QueryOptions) -> QuerySet {
    generate_watched(graphs, options, "", &Watch::nobody()).expect("nobody stops it")
}

fn generate_watched(graphs: &Graphs, options: &QueryOptions, split: &str, watch: &Watch) -> Result<QuerySet> {
    let mut set = QuerySet { groups: Vec::new(), notes: Vec::new() };
    let mut left_out = Vec::new();
    for structure in &options.structures {
        let stage = format!("preparing {split} queries, {structure}");
        let report = |done: usize| watch.progress.report(&stage, done as u64, options.max_queries as u64);
        let (group, note, too_many) = match structure {
            Tree::Projection(child, ()) if **child == Tree::Anchor(()) => {
                one_hop(graphs, structure, options, watch, &report)?
            }
            _ => draw_group(graphs, structure, options, watch, &report)?,
        };
        set.groups.push(group);
        set.notes.extend(note);
        if too_many > 0 {
            left_out.push(format!("{structure} {}", count(too_many)));
        }
    }
    if !left_out.is_empty() {
        set.notes.push(format!(
            "queries with more than {} hard answers are left out (evaluation.max_answers): {}; of 1p all are counted, of \
             other structures those that were drawn",
            count(options.max_answers),
            left_out.join(", ")
        ));
    }
    Ok(set)
}

/// Hard answers and all answers, or why the query is of no use.
fn hard_answers(graphs: &Graphs, query: &Query, max: usize) -> std::result::Result<Answers, Reason> {
    let within = |graph| answers_within(graph, query, LIMIT).ok_or(Reason::TooMuchOnTheWay);
    let (all, observed) = (within(graphs.full)?, within(graphs.observed)?);
    let mut hard = all.clone();
    hard.retain(|e| observed.binary_search(e).is_err());
    match hard.len() {
        0 => Err(Reason::NoHardAnswer),
        n if n > max => Err(Reason::TooManyAnswers),
        _ => Ok(Answers { proofs: hard_proofs(graphs, query, &hard), hard, all }),
    }
}

/// The best proof of each hard answer; `None` for an entity that is no answer on the full graph.
pub fn hard_proofs(graphs: &Graphs, query: &Query, hard: &[EntityId]) -> Vec<Option<Proof>> {
    let all = proofs(graphs.observed, graphs.full, query);
    hard.iter().map(|e| all.binary_search_by_key(e, |(entity, _)| *entity).ok().map(|at| all[at].1)).collect()
}

struct Answers {
    hard: Vec<EntityId>,
    /// The best proofs of the hard ones.
    proofs: Vec<Option<Proof>>,
    all: Vec<EntityId>,
}

/// Why an attempt gave no query.
#[derive(Clone, Copy)]
enum Reason {
    Rejected,
    NoHardAnswer,
    TooManyAnswers,
    Repeated,
    TooMuchOnTheWay,
}

const REASONS: [&str; 5] = [
    "could not be drawn or are degenerate",
    "have no hard answer",
    "have too many hard answers",
    "repeat one",
    "reach more than a million entities on the way",
];

impl From<Rejection> for Reason {
    fn from(_: Rejection) -> Self {
        Reason::Rejected
    }
}

fn push(group: &mut QueryGroup, query: &Query, answers: &Answers) {
    let (anchors, relations) = query.flatten();
    let anchors: Vec<_> = anchors.into_iter().copied().collect();
    let relations: Vec<_> = relations.into_iter().copied().collect();
    group.push(&anchors, &relations, &answers.hard, &answers.all);
    group.proofs.extend(&answers.proofs);
}

fn one_hop(
    graphs: &Graphs,
    structure: &Structure,
    options: &QueryOptions,
    watch: &Watch,
    report: &dyn Fn(usize),
) -> Result<(QueryGroup, Option<String>, usize)> {
    // Only which ones there are: of a large graph most are not going to be used.
    let mut found = Vec::new();
    let mut too_many = 0;
    for entity in graphs.held_out.entities_with_edges() {
        watch.check()?;
        for (relation, tails) in graphs.held_out.row(entity).iter() {
            let is_new =
                |&&tail: &&EntityId| !graphs.observed.contains(Triple { head: entity, relation, tail });
            match tails.iter().filter(is_new).count() {
                0 => {}
                hard if hard > options.max_answers => too_many += 1,
                _ => found.push((entity, relation)),
            }
        }
    }
    let mut rng = stream(options.seed, "evaluation queries 1p", 0);
    // The first of a random order, then back in the order of entities.
    let mut order: Vec<usize> = (0..found.len()).collect();
    for i in 0..found.len().min(options.max_queries) {
        order.swap(i, i + below(&mut rng, (found.len() - i) as u64) as usize);
    }
    order.truncate(options.max_queries);
    order.sort_unstable();
    let mut group = QueryGroup::new(structure.clone());
    for (entity, relation) in order.into_iter().map(|i| found[i]) {
        watch.check()?;
        report(group.len());
        let query = Tree::Projection(Box::new(Tree::Anchor(entity)), relation);
        match hard_answers(graphs, &query, options.max_answers) {
            Ok(answers) => push(&mut group, &query, &answers),
            Err(_) => too_many += 1,
        }
    }
    let note = (group.is_empty() && options.max_queries > 0).then(|| {
        let why = match (graphs.held_out.num_edges(), too_many) {
            (0, _) => "there are no held-out edges".into(),
            (_, 0) => "no held-out edge is new".into(),
            (_, some) => {
                format!("no held-out edge is new ({some} have more than {} answers)", options.max_answers)
            }
        };
        format!("1p: no queries: {why}")
    });
    Ok((group, note, too_many))
}

fn draw_group(
    graphs: &Graphs,
    structure: &Structure,
    options: &QueryOptions,
    watch: &Watch,
    report: &dyn Fn(usize),
) -> Result<(QueryGroup, Option<String>, usize)> {
    let wanted = options.max_queries;
    let mut group = QueryGroup::new(structure.clone());
    let impossible = match () {
        _ if graphs.held_out.num_edges() == 0 => Some("there are no held-out edges"),
        _ if !can_have_hard_answers(structure) => {
            Some("every relation is below a negation, where a held-out edge only takes answers away")
        }
        _ => None,
    };
    if let Some(reason) = impossible {
        return Ok((group, Some(format!("{structure}: no queries: {reason}")), 0));
    }
    let purpose = format!("evaluation queries {structure}");
    let attempt = |number: u64| -> std::result::Result<(Query, Answers), Reason> {
        if watch.is_stopped() {
            return Err(Reason::Rejected);
        }
        let mut rng = stream(options.seed, &purpose, number);
        let query = draw(graphs.full, &graphs.held_out, structure, &mut rng)?;
        let answers = hard_answers(graphs, &query, options.max_answers)?;
        Ok((query, answers))
    };
    let mut seen = HashSet::new();
    let mut failed = [0usize; REASONS.len()];
    let limit = wanted.saturating_mul(ATTEMPTS_PER_QUERY) as u64;
    let mut next = 0u64;
    while group.len() < wanted && next < limit {
        // About as many attempts as are still needed; the number depends on earlier results only.
        let yield_so_far = (group.len() + 1) as f64 / (next + 1) as f64;
        let needed = ((wanted - group.len()) as f64 / yield_so_far).ceil() as u64;
        let end = limit.min(next + needed.clamp(64, 4_096));
        let drawn: Vec<_> = (next..end).into_par_iter().map(attempt).collect();
        watch.check()?;
        for result in drawn {
            match result {
                _ if group.len() == wanted => break,
                Ok((query, _)) if !seen.insert(query.canonical()) => failed[Reason::Repeated as usize] += 1,
                Ok((query, answers)) => push(&mut group, &query, &answers),
                Err(reason) => failed[reason as usize] += 1,
            }
        }
        next = end;
        report(group.len());
    }
    let note = (group.len() < wanted).then(|| {
        let mut reasons: Vec<(usize, &str)> = failed.into_iter().zip(REASONS).collect();
        reasons.sort_by_key(|&(count, _)| std::cmp::Reverse(count));
        let text: Vec<String> =
            reasons.iter().filter(|(n, _)| *n > 0).map(|(n, why)| format!("{n} {why}")).collect();
        format!(
            "{structure}: {} of {wanted} queries after {next} attempts, of which {}",
            group.len(),
            text.join(", ")
        )
    });
    Ok((group, note, failed[Reason::TooManyAnswers as usize]))
}
