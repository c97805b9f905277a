//! Inference over single links as a [`Scorer`]: queries -> ranks, with a count of the ties that scores had to decide.

use super::ask::Answerer;
use super::ranks::RankCounts;
use super::scorer::{QueryBlock, Scorer};
use crate::error::Result;
use crate::ids::EntityId;
use crate::inference::{Merit, Merits, Propagation};
use crate::query::{Query, Structure};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// Ranks the answers of queries by inference.
pub struct Reasoned<'a> {
    propagation: Propagation<'a>,
    name: String,
    ties: Mutex<BTreeMap<String, Ties>>,
}

/// Hard answers whose truth did not tell them from other candidates, so that raw scores did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ties {
    /// Answers that were ranked.
    pub answers: usize,
    /// Those whose truth is 0: no binding is above the threshold.
    pub cut: usize,
    /// Those that are exactly as true as some other candidate, and not false.
    pub equal: usize,
}

impl<'a> Reasoned<'a> {
    /// Of a model with this name.
    pub fn new(propagation: Propagation<'a>, name: String) -> Self {
        Reasoned { propagation, name, ties: Mutex::default() }
    }

    /// Ties by structure, of all that was ranked so far.
    pub fn ties(&self) -> BTreeMap<String, Ties> {
        self.ties.lock().expect("no panic while it is held").clone()
    }
}

impl Scorer for Reasoned<'_> {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn queries_at_once(&self) -> usize {
        self.propagation.queries_at_once()
    }

    fn rank(&self, block: &QueryBlock) -> Result<Vec<RankCounts>> {
        let mut counts = Vec::with_capacity(block.num_targets());
        let mut ties = Ties::default();
        for first in (0..block.len()).step_by(self.queries_at_once()) {
            let numbers = first..block.len().min(first + self.queries_at_once());
            let queries: Vec<Query> = numbers.clone().map(|q| block.query(q)).collect();
            let queries: Vec<&Query> = queries.iter().collect();
            let merits = self.propagation.merits(&queries, self.propagation.traces(&queries)?)?;
            let entities = self.propagation.num_entities();
            let of_query = |(q, merits): (usize, &Merits)| {
                count(merits, entities, block.targets_of(q), block.filter_of(q))
            };
            let of_queries: Vec<_> = numbers.into_par_iter().zip(&merits).map(of_query).collect();
            for (of_query, more) in of_queries {
                counts.extend(of_query);
                ties.answers += more.answers;
                ties.cut += more.cut;
                ties.equal += more.equal;
            }
        }
        let mut all = self.ties.lock().expect("no panic while it is held");
        let sum = all.entry(block.structure.to_string()).or_default();
        sum.answers += ties.answers;
        sum.cut += ties.cut;
        sum.equal += ties.equal;
        Ok(counts)
    }
}

impl Answerer for Reasoned<'_> {
    fn best_of_each(
        &self,
        _: &Structure,
        queries: &[&Query],
        k: usize,
        keep: &(dyn Fn(usize, EntityId) -> bool + Sync),
    ) -> Result<Vec<Vec<(EntityId, f32)>>> {
        let (at_once, entities) = (self.queries_at_once(), self.propagation.num_entities());
        let mut all = Vec::with_capacity(queries.len());
        for (block, queries) in queries.chunks(at_once).enumerate() {
            let merits = self.propagation.merits(queries, self.propagation.traces(queries)?)?;
            let of_queries = merits.par_iter().enumerate().map(|(q, merits)| {
                let kept = merits.each(entities).filter(|(entity, _)| keep(block * at_once + q, *entity));
                let mut best: Vec<(EntityId, Merit)> = kept.collect();
                let order = |a: &(EntityId, Merit), b: &(EntityId, Merit)| b.1.cmp(&a.1).then(a.0.cmp(&b.0));
                if k < best.len() {
                    best.select_nth_unstable_by(k, order);
                    best.truncate(k);
                }
                best.sort_unstable_by(order);
                best.into_iter().map(|(entity, merit)| (entity, merit.truth())).collect()
            });
            all.extend(of_queries.collect::<Vec<_>>());
        }
        Ok(all)
    }
}

/// Counts as [`count_ranks`](super::count_ranks) does, by merits. O(entities log targets).
fn count(
    merits: &Merits,
    num_entities: usize,
    targets: &[EntityId],
    filter: &[EntityId],
) -> (Vec<RankCounts>, Ties) {
    let own: Vec<Merit> = targets.iter().map(|&target| merits.of(target)).collect();
    let mut sorted = own.clone();
    sorted.sort_unstable();
    sorted.dedup();
    // Candidates whose merit lies above this many of the sorted ones, equal to it, and of the same truth.
    let (mut above, mut equal) = (vec![0u32; sorted.len() + 1], vec![0u32; sorted.len()]);
    let mut same_truth = vec![false; sorted.len()];
    let mut filter = filter.iter().copied().peekable();
    for (entity, merit) in merits.each(num_entities) {
        while filter.next_if(|filtered| *filtered < entity).is_some() {}
        if filter.peek() == Some(&entity) {
            continue;
        }
        let below = sorted.partition_point(|own| *own < merit);
        above[below] += 1;
        if let Some(own) = sorted.get(below) {
            equal[below] += u32::from(*own == merit);
            same_truth[below] |= own.truth() == merit.truth();
        }
        if let Some(before) = below.checked_sub(1) {
            same_truth[before] |= sorted[before].truth() == merit.truth();
        }
    }
    // What holds for one of several targets of the same truth holds for all.
    let share = |same_truth: &mut Vec<bool>, one: usize, other: usize| {
        same_truth[other] |= same_truth[one] && sorted[one].truth() == sorted[other].truth();
    };
    (1..sorted.len()).for_each(|at| share(&mut same_truth, at - 1, at));
    (1..sorted.len()).rev().for_each(|at| share(&mut same_truth, at, at - 1));
    // From candidates that are above exactly so many to those that are above a given one.
    let mut better = vec![0u32; sorted.len()];
    let mut sum = 0;
    for at in (0..sorted.len()).rev() {
        sum += above[at + 1];
        better[at] = sum;
    }
    let at = |merit: &Merit| sorted.binary_search(merit).expect("it is one of them");
    let counts = own.iter().map(at).map(|at| RankCounts { better: better[at], equal: equal[at] }).collect();
    let cut = own.iter().filter(|merit| merit.truth() == 0.0).count();
    let tied = own.iter().filter(|merit| merit.truth() > 0.0 && same_truth[at(merit)]).count();
    (counts, Ties { answers: targets.len(), cut, equal: tied })
}
