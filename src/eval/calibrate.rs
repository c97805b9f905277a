//! Queries with known answers -> what calibrates the answers of others.

use super::ask::Answerer;
use super::calibration::{
    CANDIDATES, Candidate, Coverage, Curve, Reliability, nonconformity, quantile, set_size,
};
use super::group::QueryGroup;
use crate::error::Result;
use crate::ids::EntityId;
use crate::progress::Watch;
use crate::query::Query;
use crate::rng::{below, stream};
use crate::table::count;
use serde::{Deserialize, Serialize};

/// Candidates of a query that are looked through; an answer behind them counts as the last of all entities.
pub const MOST: usize = 100_000;

/// Queries that are answered at once.
const BLOCK: usize = 64;

/// What validation queries of one structure teach.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibrated {
    /// Validation queries.
    pub queries: usize,
    /// From the score of a candidate to its probability.
    pub curve: Curve,
    /// Share of answers among the candidates that the curve was fitted on.
    pub share: f64,
    /// Nonconformity of one hard answer of each query, ascending.
    pub nonconformities: Vec<f64>,
    /// What it is worth on test queries.
    pub tested: Option<Tested>,
}

/// What calibration is worth on the queries of another split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tested {
    /// Probabilities.
    pub reliability: Reliability,
    /// Conformal sets.
    pub coverage: Coverage,
}

impl Tested {
    /// The heads of [`Tested::cells`].
    pub const HEADS: [&str; 8] =
        ["ECE", "constant", "Brier", "constant", "coverage", "95 % interval", "mean size", "median size"];

    /// Its figures for a table: in percent, but for sizes.
    pub fn cells(&self) -> Vec<String> {
        let (r, c) = (&self.reliability, &self.coverage);
        let errors = [r.ece, r.ece_constant, r.brier, r.brier_constant];
        let mut cells: Vec<String> = errors.iter().map(|x| format!("{:.2}", 100.0 * x)).collect();
        cells.push(format!("{:.1}", 100.0 * c.covered));
        cells.push(format!("{:.1} to {:.1}", 100.0 * c.interval.0, 100.0 * c.interval.1));
        cells.push(format!("{:.1}", c.mean_size));
        cells.push(count(c.median_size));
        cells
    }
}

/// The ranked candidates of one query.
struct Ranked {
    /// The best ones, with whether they are answers.
    best: Vec<Candidate>,
    /// The score of a hard answer, drawn at random, and its place among the candidates, from 1.
    drawn: (Option<f32>, usize),
    /// The scores of all candidates.
    scores: Vec<f32>,
}

impl Ranked {
    fn nonconformity(&self, of_truth: bool, num_entities: usize) -> f64 {
        let (score, place) = self.drawn;
        nonconformity(score.filter(|_| of_truth), place, num_entities)
    }
}

/// What is calibrated.
pub struct Calibration<'a> {
    /// What answers.
    pub answerer: &'a dyn Answerer,
    /// Whether its scores are truth values.
    pub of_truth: bool,
    /// Number of entities of the graph.
    pub num_entities: usize,
    /// Decides which hard answers are drawn.
    pub seed: u64,
    /// Who can stop it.
    pub watch: Watch<'a>,
}

impl Calibration<'_> {
    /// Learns from the queries of one structure; `None` where there are none.
    ///
    /// # Errors
    ///
    /// Of the answerer; where the watcher stops it.
    pub fn learn(&self, group: &QueryGroup) -> Result<Option<Calibrated>> {
        let (mut candidates, mut nonconformities) = (Vec::new(), Vec::new());
        self.each(group, &mut |ranked| {
            nonconformities.push(ranked.nonconformity(self.of_truth, self.num_entities));
            candidates.push(ranked.best);
        })?;
        if candidates.is_empty() {
            return Ok(None);
        }
        nonconformities.sort_unstable_by(f64::total_cmp);
        let curve = Curve::choose(&candidates, self.of_truth);
        let all = candidates.iter().map(Vec::len).sum::<usize>().max(1) as f64;
        let answers = candidates.iter().flatten().filter(|(_, is_answer)| *is_answer).count() as f64;
        let (queries, share) = (candidates.len(), answers / all);
        Ok(Some(Calibrated { queries, curve, share, nonconformities, tested: None }))
    }

    /// What that is worth on other queries of the structure.
    ///
    /// # Errors
    ///
    /// As [`Calibration::learn`].
    pub fn test(&self, calibrated: &Calibrated, group: &QueryGroup, coverage: f64) -> Result<Tested> {
        let most = quantile(&calibrated.nonconformities, coverage);
        let (mut candidates, mut sets) = (Vec::new(), Vec::new());
        self.each(group, &mut |ranked| {
            let truths = self.of_truth.then_some(&ranked.scores[..]);
            let size = set_size(most, truths, ranked.scores.len(), self.num_entities);
            sets.push((ranked.drawn.1 <= size, size));
            candidates.push(ranked.best);
        })?;
        Ok(Tested {
            reliability: Reliability::of(&calibrated.curve, calibrated.share, &candidates),
            coverage: Coverage::of(coverage, &sets),
        })
    }

    fn each(&self, group: &QueryGroup, visit: &mut dyn FnMut(Ranked)) -> Result<()> {
        let mut number = 0;
        for block in group.blocks(BLOCK) {
            self.watch.check()?;
            let queries: Vec<Query> = (0..block.len()).map(|q| block.query(q)).collect();
            let queries: Vec<&Query> = queries.iter().collect();
            let is_hard = |q: usize, entity: &EntityId| block.targets_of(q).binary_search(entity).is_ok();
            let is_candidate = |q: usize, entity: EntityId| {
                block.filter_of(q).binary_search(&entity).is_err() || is_hard(q, &entity)
            };
            let most = MOST.min(self.num_entities);
            let ranked = self.answerer.best_of_each(block.structure, &queries, most, &is_candidate)?;
            for (q, ranked) in ranked.into_iter().enumerate() {
                let mut rng = stream(self.seed, "drawn hard answers", number);
                number += 1;
                let hard = block.targets_of(q);
                let drawn = hard[below(&mut rng, hard.len() as u64) as usize];
                let place = ranked.iter().position(|(entity, _)| *entity == drawn);
                visit(Ranked {
                    best: ranked.iter().take(CANDIDATES).map(|(e, score)| (*score, is_hard(q, e))).collect(),
                    drawn: match place {
                        Some(place) => (Some(ranked[place].1), place + 1),
                        None => (None, self.num_entities),
                    },
                    scores: ranked.into_iter().map(|(_, score)| score).collect(),
                });
            }
        }
        Ok(())
    }
}
