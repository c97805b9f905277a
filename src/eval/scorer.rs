//! What is evaluated: anything that can count better and equal candidates for blocks of queries.

use super::ranks::RankCounts;
use crate::error::Result;
use crate::ids::{EntityId, RelationId};
use crate::progress::Watch;
use crate::query::{Query, Structure};
use std::ops::Range;

/// Queries of one structure with the answers to rank, borrowed from a [`QueryGroup`](super::QueryGroup).
#[derive(Clone, Copy, Debug)]
pub struct QueryBlock<'a> {
    /// The structure of every query.
    pub structure: &'a Structure,
    /// Anchors, query by query, each in post-order.
    pub anchors: &'a [EntityId],
    /// Relations, query by query, each in post-order.
    pub relations: &'a [RelationId],
    /// Answers to rank; those of query `q` are `targets[target_offsets[q]..target_offsets[q + 1]]`.
    /// Offsets point into this whole list and need not start at 0.
    pub targets: &'a [EntityId],
    /// One more than there are queries.
    pub target_offsets: &'a [usize],
    /// All answers of each query, the targets among them, ascending within a query.
    pub filter: &'a [EntityId],
    /// Bounds in `filter`, one more than there are queries.
    pub filter_offsets: &'a [usize],
}

impl<'a> QueryBlock<'a> {
    /// Number of queries.
    pub fn len(&self) -> usize {
        self.target_offsets.len() - 1
    }

    /// Whether there is no query.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of answers to rank in the whole block.
    pub fn num_targets(&self) -> usize {
        self.target_offsets[self.len()] - self.target_offsets[0]
    }

    /// Answers of query `q` to rank.
    pub fn targets_of(&self, q: usize) -> &'a [EntityId] {
        &self.targets[self.target_offsets[q]..self.target_offsets[q + 1]]
    }

    /// All answers of query `q`, ascending.
    pub fn filter_of(&self, q: usize) -> &'a [EntityId] {
        &self.filter[self.filter_offsets[q]..self.filter_offsets[q + 1]]
    }

    /// Some of its queries.
    pub fn part(&self, queries: Range<usize>) -> Self {
        let (anchors, relations) = (self.anchors.len() / self.len(), self.relations.len() / self.len());
        let Range { start, end } = queries;
        QueryBlock {
            anchors: &self.anchors[start * anchors..end * anchors],
            relations: &self.relations[start * relations..end * relations],
            target_offsets: &self.target_offsets[start..=end],
            filter_offsets: &self.filter_offsets[start..=end],
            ..*self
        }
    }

    /// Anchors of query `q`.
    pub fn anchors_of(&self, q: usize) -> &'a [EntityId] {
        let each = self.anchors.len() / self.len();
        &self.anchors[q * each..][..each]
    }

    /// Relations of query `q`.
    pub fn relations_of(&self, q: usize) -> &'a [RelationId] {
        let each = self.relations.len() / self.len();
        &self.relations[q * each..][..each]
    }

    /// Query `q` as a tree.
    pub fn query(&self, q: usize) -> Query {
        let query = self.structure.fill(self.anchors_of(q), self.relations_of(q));
        query.expect("a block has the anchors and relations of its structure")
    }
}

/// Something that scores all entities for a query: a model, or the baseline.
pub trait Scorer {
    /// What stands in the head of a table.
    fn name(&self) -> String;

    /// Counts for every target of the block, in the order of `targets`, as
    /// [`count_ranks`](super::count_ranks) defines them.
    fn rank(&self, block: &QueryBlock) -> Result<Vec<RankCounts>>;

    /// Queries that it ranks in well under a second.
    fn queries_at_once(&self) -> usize {
        512
    }
}

/// A scorer that gives up with [`Error::Interrupted`](crate::Error::Interrupted) within a second after the watcher has stopped it.
#[derive(Debug)]
pub struct Interruptible<'a, S: ?Sized> {
    /// What scores.
    pub scorer: &'a S,
    /// Who can stop it.
    pub watch: &'a Watch<'a>,
}

impl<S: Scorer + ?Sized> Scorer for Interruptible<'_, S> {
    fn name(&self) -> String {
        self.scorer.name()
    }

    fn queries_at_once(&self) -> usize {
        self.scorer.queries_at_once()
    }

    fn rank(&self, block: &QueryBlock) -> Result<Vec<RankCounts>> {
        let at_once = self.scorer.queries_at_once();
        let mut counts = Vec::with_capacity(block.num_targets());
        for first in (0..block.len()).step_by(at_once) {
            self.watch.check()?;
            counts.extend(self.scorer.rank(&block.part(first..block.len().min(first + at_once)))?);
        }
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::eval::QueryGroup;
    use crate::progress::Progress;
    use crate::query::parse_structure;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    /// Counts as many better candidates as the target's id; is stopped after some calls.
    struct Stopping<'a> {
        calls: AtomicUsize,
        after: usize,
        stop: &'a AtomicBool,
    }

    impl Scorer for Stopping<'_> {
        fn name(&self) -> String {
            "stopping".into()
        }

        fn rank(&self, block: &QueryBlock) -> Result<Vec<RankCounts>> {
            assert!(block.len() <= 4 && block.anchors.len() == block.len());
            if self.calls.fetch_add(1, Ordering::Relaxed) + 1 == self.after {
                self.stop.store(true, Ordering::Relaxed);
            }
            let targets = (0..block.len()).flat_map(|q| block.targets_of(q));
            Ok(targets.map(|target| RankCounts { better: target.0, equal: 0 }).collect())
        }

        fn queries_at_once(&self) -> usize {
            4
        }
    }

    #[test]
    fn an_evaluation_stops_between_two_parts_of_a_block_and_goes_on_over_them_otherwise() {
        let mut group = QueryGroup::new(parse_structure("1p").unwrap());
        for i in 0..10 {
            let targets = [EntityId(2 * i), EntityId(2 * i + 1)];
            group.push(&[EntityId(i)], &[RelationId(0)], &targets[..1 + i as usize % 2], &targets);
        }
        for (after, calls) in [(usize::MAX, 3), (1, 1), (2, 2)] {
            let stop = AtomicBool::new(false);
            let scorer = Stopping { calls: AtomicUsize::new(0), after, stop: &stop };
            let watch = Watch { progress: Progress::default(), stop: &stop };
            let ranked = Interruptible { scorer: &scorer, watch: &watch }.rank(&group.all());
            assert_eq!(scorer.calls.load(Ordering::Relaxed), calls);
            match after {
                usize::MAX => {
                    let better: Vec<u32> = ranked.unwrap().iter().map(|counts| counts.better).collect();
                    assert_eq!(better, [0, 2, 3, 4, 6, 7, 8, 10, 11, 12, 14, 15, 16, 18, 19]);
                }
                _ => assert!(matches!(ranked, Err(Error::Interrupted))),
            }
        }
    }
}
