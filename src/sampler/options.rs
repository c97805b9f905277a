//! What is asked of the sampler, and what it reports of its work.

use super::direction::Direction;
use super::negatives::Pooling;
use super::reject::Rejections;

/// How it is found out which negatives are answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verification {
    /// Forward to a cut in the middle of the query, backward from the pool: about the square root of the cost of
    /// enumerating all answers.
    #[default]
    Bidirectional,
    /// All answers are enumerated, whatever that costs; no cap applies, and their number is exact.
    Exhaustive,
    /// Not at all: apart from the drawn answer itself, answers in the pool count as negatives.
    None,
}

/// Where queries come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// Each is drawn backward from a random answer.
    #[default]
    Answers,
    /// Queries of structure `1p` are the edges of the graph, each once an epoch, in the order of a permutation of their
    /// own for each epoch. None is thrown away and no cap applies; one whose pool holds nothing but answers has all of it
    /// masked.
    Edges,
}

/// What a batch is made of, besides the graph and the mix.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplerOptions {
    /// With the batch's number, decides the whole content.
    pub seed: u64,
    /// Where queries come from.
    pub source: Source,
    /// Size of a pool of negatives.
    pub negatives: usize,
    /// Whose a pool is.
    pub pool: Pooling,
    /// Relations that queries are drawn over.
    pub direction: Direction,
    /// Largest fragment that a set is projected through, and largest set on the way to the cut.
    /// A query that needs more is drawn again.
    pub relation_bandwidth: usize,
    /// Largest frontier at the cut and, apart from it, most distinct entities of the pool that may be
    /// answers. A query above either is drawn again.
    pub answer_cap: usize,
    /// Draws of one query before the structure is given up as impossible on this graph.
    pub max_attempts: usize,
    /// How negatives are verified.
    pub verification: Verification,
    /// Answers are drawn by their degree to this power; 0 is uniform.
    pub answer_exponent: f32,
    /// Negatives are drawn by their degree to this power; 0 is uniform.
    pub negative_exponent: f32,
}

/// The caps are wide enough to throw few queries away for their size: a graph of some thousand entities
/// has relations whose answers fill hundreds of places in the pool, and they should be trained, too.
impl Default for SamplerOptions {
    fn default() -> Self {
        SamplerOptions {
            seed: 0,
            source: Source::default(),
            negatives: 1024,
            pool: Pooling::default(),
            direction: Direction::default(),
            relation_bandwidth: 2_000,
            answer_cap: 512,
            max_attempts: 10_000,
            verification: Verification::default(),
            answer_exponent: 0.0,
            negative_exponent: 0.0,
        }
    }
}

/// What was drawn of one structure so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StructureStats {
    /// Queries in batches.
    pub drawn: u64,
    /// Draws that were thrown away.
    pub rejections: Rejections,
    /// Entities at the cut, summed over the drawn queries.
    pub frontier_sum: u64,
    /// Most entities at the cut of a drawn query.
    pub frontier_max: u64,
    /// Candidates of the pool that are answers, summed over the drawn queries.
    pub masked_sum: u64,
    /// Queries whose number of answers is exact.
    pub enumerated: u64,
    /// Bytes of the graph and of the pool's index that were read, for draws that were thrown away, too: 32 for where an
    /// entity's row begins and ends, 8 for a fragment that a binary search compares or that is listed, 4 for a tail
    /// that is walked or compared, 24 for a candidate that a relation leaves, 8 for an entity looked up in the pool. Counted as
    /// the algorithm asks for them, not by cache lines; a shared pool's indexing is shared by the batch. With exhaustive
    /// verification only the walk that draws a query counts.
    pub bytes: u64,
}

impl StructureStats {
    /// Adds those of another sampler.
    pub fn merge(&mut self, other: &StructureStats) {
        self.drawn += other.drawn;
        self.rejections.merge(&other.rejections);
        self.frontier_sum += other.frontier_sum;
        self.frontier_max = self.frontier_max.max(other.frontier_max);
        self.masked_sum += other.masked_sum;
        self.enumerated += other.enumerated;
        self.bytes += other.bytes;
    }
}
