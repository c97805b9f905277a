//! The triples of all splits, sorted, without duplicates, counted: what is known before the first section of
//! a graph file is written.

use super::Split;
use super::builder::Resources;
use super::edges::Probe;
use super::metadata::Findings;
use crate::error::Result;
use crate::ids::Triple;
use crate::storage::scratch::{Scratch, Spool};
use crate::storage::sort::{Sorted, Sorter};
use std::sync::Arc;

/// Triples between two reports of progress.
pub(super) const STEP: usize = 1 << 20;

/// See [`deduplicate`].
pub(super) struct Deduplicated {
    /// Facts of each split, sorted and unique, and the same facts read backwards, sorted.
    pub splits: [(Spool, Sorted<Triple>); 3],
    pub findings: Findings,
}

/// The part of `memory` in which the triples of `split` are sorted.
pub(super) fn memory_of(split: Split, memory: usize) -> usize {
    memory / if split == Split::Train { 4 } else { 16 }
}

/// Sorts the triples, drops duplicates (within a split, then across splits) and counts. `num_entities` and
/// `num_relations` take one bit each.
pub(super) fn deduplicate(
    triples: [Sorter<Triple>; 3],
    hard_negatives: &[Spool; 3],
    (num_entities, num_relations): (usize, usize),
    scratch: &Arc<Scratch>,
    resources: &Resources,
) -> Result<Deduplicated> {
    let Resources { memory, progress, .. } = resources;
    let memory = usize::try_from(*memory).unwrap_or(usize::MAX);
    let mut findings = Findings::default();
    let mut seen = [vec![0u64; num_entities.div_ceil(64)], vec![0; num_relations.div_ceil(64)]];
    let mut splits: Vec<(Spool, Sorted<Triple>)> = Vec::with_capacity(3);
    for (split, here) in Split::ALL.into_iter().zip(triples) {
        let (number, stage) = (here.len(), format!("sorting {}", split.name()));
        progress.report(&stage, 0, number);
        let here = here.finish()?;
        let mut earlier: Vec<_> =
            splits.iter().map(|(facts, _)| Probe::new(facts.values::<Triple>(1 << 20))).collect();
        let mut facts = Spool::new(scratch, (memory / 64).min(1 << 20));
        let mut inverses = Sorter::new(scratch, memory_of(split, memory));
        let of = split as usize;
        let mut last = None;
        for (index, triple) in (0..).zip(here.iter()?) {
            let triple = triple?;
            if index % STEP as u64 == 0 {
                progress.report(&stage, index, number);
            }
            if last.replace(triple) == Some(triple) {
                findings.duplicates[of] += 1;
                continue;
            }
            let mut is_earlier = false;
            for probe in &mut earlier {
                is_earlier |= probe.contains(triple)?;
            }
            if is_earlier {
                findings.duplicates_of_earlier_splits[of] += 1;
                continue;
            }
            findings.triples[of] += 1;
            let names =
                [(0, triple.head.index()), (0, triple.tail.index()), (1, triple.relation.index() / 2)];
            if split == Split::Train {
                names.iter().for_each(|&(kind, id)| seen[kind][id / 64] |= 1 << (id % 64));
            }
            let unseen = names.iter().any(|&(kind, id)| seen[kind][id / 64] >> (id % 64) & 1 == 0);
            findings.unseen_triples[of] += u64::from(unseen);
            facts.push(triple)?;
            inverses.push(triple.inverse())?;
        }
        drop(earlier);
        splits.push((facts, inverses.finish()?));
    }
    let number = |bits: &[u64]| bits.iter().map(|word| u64::from(word.count_ones())).sum::<u64>();
    findings.unseen_entities = num_entities as u64 - number(&seen[0]);
    findings.unseen_relations = num_relations as u64 - number(&seen[1]);
    for split in Split::ALL {
        let negatives = &hard_negatives[split as usize];
        findings.hard_negatives[split as usize] = negatives.len() / size_of::<Triple>() as u64;
        let mut sorter = Sorter::new(scratch, memory / 16);
        negatives.values::<Triple>(1 << 18).try_for_each(|triple| sorter.push(triple?))?;
        let mut facts: Vec<_> =
            splits.iter().map(|(facts, _)| Probe::new(facts.values::<Triple>(1 << 20))).collect();
        for triple in sorter.finish()?.iter()? {
            let triple = triple?;
            let mut is_fact = false;
            for probe in &mut facts {
                is_fact |= probe.contains(triple)?;
            }
            findings.false_hard_negatives[split as usize] += u64::from(is_fact);
        }
    }
    let splits = splits.try_into().unwrap_or_else(|_| unreachable!("three splits were pushed"));
    Ok(Deduplicated { splits, findings })
}
