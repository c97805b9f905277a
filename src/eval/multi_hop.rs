//! A scorer and a query set -> metrics per structure.

use super::group::QueryGroup;
use super::metrics::{Average, Metrics};
use super::scorer::Scorer;
use crate::error::Result;
use serde::ser::{Serialize, Serializer};

/// Queries that a scorer gets at once: enough to keep it busy, few enough to show progress.
pub const BLOCK: usize = 2_048;

/// Metrics by structure, in the order of the query set; a structure without queries is left out.
///
/// Serialises as a map from the structure's text to its metrics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MultiHop {
    /// The structure's text, whether it has a negation, its metrics.
    pub structures: Vec<(String, bool, Metrics)>,
}

impl MultiHop {
    /// Ranks every hard answer. `progress` gets the number of queries done after each block.
    pub fn evaluate(
        scorer: &(impl Scorer + ?Sized),
        groups: &[QueryGroup],
        progress: &mut dyn FnMut(usize),
    ) -> Result<Self> {
        let mut structures = Vec::new();
        let mut done = 0;
        for group in groups.iter().filter(|group| !group.is_empty()) {
            let mut average = Average::default();
            for block in group.blocks(BLOCK) {
                average.add_per_query(&block, &scorer.rank(&block)?);
                done += block.len();
                progress(done);
            }
            structures.push((group.structure.to_string(), group.structure.has_negation(), average.finish()));
        }
        Ok(MultiHop { structures })
    }

    /// The metrics of a structure by its text.
    pub fn get(&self, structure: &str) -> Option<&Metrics> {
        self.structures.iter().find(|(text, ..)| text == structure).map(|(_, _, metrics)| metrics)
    }

    /// The mean over structures that have, or have not, a negation.
    pub fn average(&self, negation: bool) -> Option<Metrics> {
        Metrics::mean(self.structures.iter().filter(|(_, n, _)| *n == negation).map(|(.., m)| m))
    }
}

impl Serialize for MultiHop {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.structures.iter().map(|(text, _, metrics)| (text, metrics)))
    }
}
