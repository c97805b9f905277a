//! A scorer and a query set -> metrics per structure.

use super::group::QueryGroup;
use super::metrics::{Average, Metrics};
use super::scorer::Scorer;
use crate::error::Result;
use crate::query::Proof;
use serde::Serialize;
use serde::ser::Serializer;

/// Queries that a scorer gets at once: enough to keep it busy, few enough to show progress.
pub const BLOCK: usize = 2_048;

/// Fewer are not worth a report.
const MIN_BLOCK: usize = 32;

/// Metrics by structure, in the order of the query set; a structure without queries is left out.
///
/// Serialises as a map from the structure's text to its metrics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MultiHop {
    /// The results of each structure.
    pub structures: Vec<StructureMetrics>,
}

/// The metrics of one structure, over all hard answers and over two kinds of them apart.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StructureMetrics {
    /// The structure's text.
    #[serde(skip)]
    pub structure: String,
    /// Whether it has a negation.
    #[serde(skip)]
    pub has_negation: bool,
    /// Over all hard answers.
    #[serde(flatten)]
    pub metrics: Metrics,
    /// Over those whose best proof misses one edge, and the queries that have such.
    pub one_link: Option<Metrics>,
    /// Over those whose best proof misses every edge, and the queries that have such.
    pub full_inference: Option<Metrics>,
}

impl MultiHop {
    /// Ranks every hard answer, once. `progress` gets the number of queries done after each block.
    pub fn evaluate(
        scorer: &(impl Scorer + ?Sized),
        groups: &[QueryGroup],
        progress: &mut dyn FnMut(usize),
    ) -> Result<Self> {
        let mut structures = Vec::new();
        let mut done = 0;
        for group in groups.iter().filter(|group| !group.is_empty()) {
            let [mut all, mut one_link, mut full_inference] = [Average::default(); 3];
            // Some that take long are reported on more often.
            for block in group.blocks(scorer.queries_at_once().clamp(MIN_BLOCK, BLOCK)) {
                let counts = scorer.rank(&block)?;
                all.add_per_query(&block, &counts);
                if !group.proofs.is_empty() {
                    let proofs = &group.proofs[block.target_offsets[0]..][..block.num_targets()];
                    let keep = |kind: fn(Proof) -> bool| -> Vec<bool> {
                        proofs.iter().map(|proof| proof.is_some_and(kind)).collect()
                    };
                    one_link.add_some_per_query(&block, &counts, &keep(Proof::needs_one_link));
                    full_inference.add_some_per_query(&block, &counts, &keep(Proof::is_full_inference));
                }
                done += block.len();
                progress(done);
            }
            let some = |average: Average| Some(average.finish()).filter(|metrics| metrics.num_answers > 0);
            structures.push(StructureMetrics {
                structure: group.structure.to_string(),
                has_negation: group.structure.has_negation(),
                metrics: all.finish(),
                one_link: some(one_link),
                full_inference: some(full_inference),
            });
        }
        Ok(MultiHop { structures })
    }

    /// The results of a structure by its text.
    pub fn get(&self, structure: &str) -> Option<&StructureMetrics> {
        self.structures.iter().find(|s| s.structure == structure)
    }

    /// The mean over structures that have, or have not, a negation.
    pub fn average(&self, negation: bool) -> Option<Metrics> {
        Metrics::mean(self.structures.iter().filter(|s| s.has_negation == negation).map(|s| &s.metrics))
    }
}

impl Serialize for MultiHop {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.structures.iter().map(|s| (&s.structure, s)))
    }
}
