//! Single-hop link prediction, per triple and in both directions.

use super::group::QueryGroup;
use super::metrics::{Average, Metrics};
use super::multi_hop::BLOCK;
use super::scorer::Scorer;
use crate::error::Result;
use crate::graph::{Csr, View};
use crate::query::structure::NAMED;
use crate::query::{Structure, parse_structure};
use serde::Serialize;

/// Metrics of link prediction. Unlike the multi-hop ones they average over triples, so that an entity
/// with many held-out edges of a relation counts as often as it has edges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct LinkPrediction {
    /// Both directions.
    #[serde(flatten)]
    pub both: Metrics,
    /// Heads ranked, given relation and tail.
    pub head: Metrics,
    /// Tails ranked, given head and relation.
    pub tail: Metrics,
}

impl LinkPrediction {
    /// Ranks the queries that [`queries`] makes. `progress` gets the number of queries done.
    pub fn evaluate(
        scorer: &(impl Scorer + ?Sized),
        queries: &QueryGroup,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Self> {
        let [mut both, mut head, mut tail] = [Average::default(); 3];
        let mut done = 0;
        for block in queries.blocks(BLOCK) {
            let counts = scorer.rank(&block)?;
            assert_eq!(counts.len(), block.num_targets(), "one count per target");
            for q in 0..block.len() {
                let bounds = [q, q + 1].map(|q| block.target_offsets[q] - block.target_offsets[0]);
                let counts = &counts[bounds[0]..bounds[1]];
                both.add_per_answer(counts);
                if block.relations_of(q)[0].is_inverse() {
                    head.add_per_answer(counts);
                } else {
                    tail.add_per_answer(counts);
                }
            }
            done += block.len();
            progress(done);
        }
        Ok(LinkPrediction { both: both.finish(), head: head.finish(), tail: tail.finish() })
    }
}

/// The structure of single-hop queries.
pub fn one_hop() -> Structure {
    parse_structure(NAMED[0].1).expect("a test parses the whole table")
}

/// Every (entity, directed relation) of the held-out split as one query: its held-out tails are the
/// targets, its tails on the full graph (train, valid and test) the filter.
///
/// Each held-out triple is a target twice, once from its head along the relation and once from its tail
/// along the inverse. O(edges of the split + tails filtered).
pub fn queries(held_out: &Csr, full: &View) -> QueryGroup {
    let mut group = QueryGroup::new(one_hop());
    let mut filter = Vec::new();
    for entity in held_out.entities_with_edges() {
        for (relation, tails) in held_out.row(entity).iter() {
            filter.clear();
            full.extend_tails(entity, relation, &mut filter);
            filter.sort_unstable();
            filter.dedup();
            group.push(&[entity], &[relation], tails, &filter);
        }
    }
    group
}
