//! Mean reciprocal rank and hits, and what they are averages over.

use super::ranks::RankCounts;
use super::scorer::QueryBlock;
use serde::{Deserialize, Serialize};

/// How the numbers of a report come about, in one line to print with them.
pub const PROTOCOL: &str = "filtered ranks among all entities, ties as the mean of optimistic and pessimistic rank; \
     multi-hop: averaged over a query's hard answers, then over queries; \
     one link, full inf.: MRR over the answers whose best proof misses one edge, every edge; \
     link prediction: averaged over triples, both directions";

/// Averages of one structure or of link prediction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Mean of 1 / rank, ties as the mean of the optimistic and the pessimistic rank.
    pub mrr: f64,
    /// Share of ranks up to 1.
    pub hits_at_1: f64,
    /// Share of ranks up to 3.
    pub hits_at_3: f64,
    /// Share of ranks up to 10.
    pub hits_at_10: f64,
    /// Mean of 1 / rank with ties decided for the answer.
    pub mrr_optimistic: f64,
    /// Mean of 1 / rank with ties decided against the answer.
    pub mrr_pessimistic: f64,
    /// Number of different queries.
    pub num_queries: usize,
    /// Number of ranked answers.
    pub num_answers: usize,
}

impl Metrics {
    /// The unweighted mean over structures, with the sums of their counts; `None` of nothing.
    pub fn mean<'a>(all: impl IntoIterator<Item = &'a Metrics>) -> Option<Metrics> {
        let (mut sum, mut count) = (Average::default(), 0);
        for metrics in all {
            sum.add_values(&metrics.values(), 1.0);
            sum.num_queries += metrics.num_queries;
            sum.num_answers += metrics.num_answers;
            count += 1;
        }
        (count > 0).then(|| sum.finish())
    }

    fn values(&self) -> [f64; 6] {
        [self.mrr, self.hits_at_1, self.hits_at_3, self.hits_at_10, self.mrr_optimistic, self.mrr_pessimistic]
    }
}

/// A running weighted average; the order of additions decides the last bits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Average {
    sums: [f64; 6],
    weight: f64,
    num_queries: usize,
    num_answers: usize,
}

impl Average {
    /// Adds a block whose every **query** weighs the same, its answers sharing the weight.
    pub fn add_per_query(&mut self, block: &QueryBlock, counts: &[RankCounts]) {
        assert_eq!(counts.len(), block.num_targets(), "one count per target");
        let mut counts = counts.iter();
        for q in 0..block.len() {
            let answers = block.targets_of(q).len();
            for counts in counts.by_ref().take(answers) {
                self.add_counts(*counts, 1.0 / answers as f64);
            }
            self.num_queries += 1;
        }
    }

    /// Adds those answers of a block for which `keep` holds, of every query that has any, as
    /// [`Average::add_per_query`]. `keep` has one entry per target.
    pub fn add_some_per_query(&mut self, block: &QueryBlock, counts: &[RankCounts], keep: &[bool]) {
        assert_eq!((counts.len(), keep.len()), (block.num_targets(), block.num_targets()));
        let mut pairs = counts.iter().zip(keep);
        for q in 0..block.len() {
            let pairs = pairs.by_ref().take(block.targets_of(q).len());
            let kept: Vec<RankCounts> = pairs.filter(|(_, keep)| **keep).map(|(c, _)| *c).collect();
            for counts in &kept {
                self.add_counts(*counts, 1.0 / kept.len() as f64);
            }
            self.num_queries += usize::from(!kept.is_empty());
        }
    }

    /// Adds the answers of one query, each **answer** weighing the same.
    pub fn add_per_answer(&mut self, counts: &[RankCounts]) {
        for &counts in counts {
            self.add_counts(counts, 1.0);
        }
        self.num_queries += 1;
    }

    fn add_counts(&mut self, counts: RankCounts, weight: f64) {
        let rank = counts.rank();
        let hit = |k: f64| if rank <= k { 1.0 } else { 0.0 };
        let (optimistic, pessimistic) = (1.0 / counts.optimistic(), 1.0 / counts.pessimistic());
        self.add_values(&[1.0 / rank, hit(1.0), hit(3.0), hit(10.0), optimistic, pessimistic], weight);
        self.num_answers += 1;
    }

    fn add_values(&mut self, values: &[f64; 6], weight: f64) {
        for (sum, value) in self.sums.iter_mut().zip(values) {
            *sum += weight * value;
        }
        self.weight += weight;
    }

    /// The averages; all zero where nothing was added.
    pub fn finish(&self) -> Metrics {
        let [mrr, hits_at_1, hits_at_3, hits_at_10, mrr_optimistic, mrr_pessimistic] =
            self.sums.map(|sum| if self.weight > 0.0 { sum / self.weight } else { 0.0 });
        Metrics {
            mrr,
            hits_at_1,
            hits_at_3,
            hits_at_10,
            mrr_optimistic,
            mrr_pessimistic,
            num_queries: self.num_queries,
            num_answers: self.num_answers,
        }
    }
}
