//! Many queries at once -> the best answers of each, known or predicted.

use super::answers::{Answer, AnswerStatus, with_names};
use super::calibrate::{Calibrated, MOST};
use super::calibration::{quantile, set_size};
use super::why::Why;
use crate::error::{Error, Result};
use crate::graph::{KnowledgeGraph, View};
use crate::ids::EntityId;
use crate::inference::Propagation;
use crate::query::trained::Trained;
use crate::query::{Query, Structure, execute};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Which answers are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Show {
    /// All.
    #[default]
    Both,
    /// Those that the training graph implies.
    Known,
    /// Those that it does not imply.
    Predicted,
}

impl Show {
    /// Whether an answer is wanted that is known or not.
    pub fn wants(self, is_known: impl FnOnce() -> bool) -> bool {
        match self {
            Show::Both => true,
            Show::Known => is_known(),
            Show::Predicted => !is_known(),
        }
    }
}

/// What a query was answered with.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// How many answers the observed links imply.
    pub num_known: usize,
    /// The best answers of those that are wanted.
    pub answers: Vec<Answer>,
    /// What of the query no training edge has ([`Trained::missing`]).
    pub untrained: Vec<String>,
}

/// What finds the best answers: a model's embeddings of queries, or inference over its links.
pub trait Answerer: Sync {
    /// The `k` best entities for each query of one structure with their scores, the best first, equal ones by id; only those that
    /// `keep(number of the query, entity)` wants.
    fn best_of_each(
        &self,
        structure: &Structure,
        queries: &[&Query],
        k: usize,
        keep: &(dyn Fn(usize, EntityId) -> bool + Sync),
    ) -> Result<Vec<Vec<(EntityId, f32)>>>;
}

/// A model that is asked.
pub struct Asker<'a> {
    /// What finds the answers.
    pub answerer: &'a dyn Answerer,
    /// What finds their witnesses, where they are wanted.
    pub why: Option<&'a Propagation<'a>>,
    /// The links that are observed.
    pub evidence: View<'a>,
    /// The graph of its run.
    pub graph: &'a KnowledgeGraph,
    /// What training has seen of it.
    pub trained: Trained<'a>,
    /// What makes probabilities of scores.
    pub probabilities: Option<Probabilities<'a>>,
    /// Which answers.
    pub wanted: Wanted,
}

/// Which answers of a query are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Wanted {
    /// At most so many.
    pub k: usize,
    /// Known ones, predicted ones or both.
    pub show: Show,
    /// Of the predicted ones those that are at least so probable.
    pub min_probability: Option<f64>,
    /// Of the predicted ones a set that holds an answer with this probability.
    pub coverage: Option<f64>,
}

/// What validation queries taught about the scores of an answerer, by structure.
#[derive(Clone, Copy, Debug)]
pub struct Probabilities<'a> {
    /// By the structure's text.
    pub structures: &'a BTreeMap<String, Calibrated>,
    /// Whether scores are truth values.
    pub of_truth: bool,
}

impl Probabilities<'_> {
    /// How many of the best candidates of a query are wanted: a set with this coverage, and so probable ones.
    fn cut(
        &self,
        structure: &str,
        candidates: &[(EntityId, f32)],
        num_entities: usize,
        wanted: Wanted,
    ) -> usize {
        let Some(calibrated) = self.structures.get(structure) else { return candidates.len() };
        let probable = wanted.min_probability.map_or(candidates.len(), |least| {
            candidates.partition_point(|(_, score)| calibrated.curve.probability(*score) >= least)
        });
        let covering = wanted.coverage.map_or(candidates.len(), |coverage| {
            let scores: Vec<f32> = candidates.iter().map(|(_, score)| *score).collect();
            let truths = self.of_truth.then_some(&scores[..]);
            let most = quantile(&calibrated.nonconformities, coverage);
            set_size(most, truths, candidates.len(), num_entities)
        });
        probable.min(covering)
    }
}

impl Asker<'_> {
    /// That probabilities are there where they decide which answers are wanted.
    fn check_calibrated(&self, structure: &str) -> Result<()> {
        let Wanted { min_probability, coverage, .. } = self.wanted;
        let known = self.probabilities.is_some_and(|p| p.structures.contains_key(structure));
        match known || (min_probability.is_none() && coverage.is_none()) {
            true => Ok(()),
            false => Err(Error::invalid(format!(
                "answers of {structure} queries, answered like this, have no probabilities yet: smore calibrate RUN with the same options \
                 of inference, and --structures {structure} if it is not among those that are evaluated"
            ))),
        }
    }

    /// Answers queries of any structures that the model can express, in their order. Those of one structure are embedded
    /// and scored together.
    pub fn answer(&self, queries: &[Query]) -> Result<Vec<Answered>> {
        let wanted = self.wanted;
        let known: Vec<Vec<EntityId>> =
            queries.par_iter().map(|q| execute::answers(&self.evidence, q)).collect();
        let mut by_structure: Vec<(Structure, Vec<usize>)> = Vec::new();
        for (number, query) in queries.iter().enumerate() {
            let structure = query.structure();
            match by_structure.iter_mut().find(|(other, _)| *other == structure) {
                Some((_, numbers)) => numbers.push(number),
                None => by_structure.push((structure, vec![number])),
            }
        }
        let mut best = vec![Vec::new(); queries.len()];
        let mut why = vec![Vec::new(); queries.len()];
        for (structure, numbers) in by_structure {
            let of_structure: Vec<&Query> = numbers.iter().map(|&number| &queries[number]).collect();
            let keep = |query: usize, entity: EntityId| {
                wanted.show.wants(|| known[numbers[query]].binary_search(&entity).is_ok())
            };
            let name = structure.to_string();
            self.check_calibrated(&name)?;
            let by_probability = wanted.min_probability.is_some() || wanted.coverage.is_some();
            let k = if by_probability { MOST.max(wanted.k) } else { wanted.k };
            let mut found = self.answerer.best_of_each(&structure, &of_structure, k, &keep)?;
            if let Some(probabilities) = self.probabilities.filter(|_| by_probability) {
                let num_entities = self.graph.num_entities();
                found.par_iter_mut().zip(&numbers).for_each(|(found, &number)| {
                    let is_known = |entity: &EntityId| known[number].binary_search(entity).is_ok();
                    let candidates: Vec<_> = found.iter().filter(|(e, _)| !is_known(e)).copied().collect();
                    let mut left = probabilities.cut(&name, &candidates, num_entities, wanted);
                    found.retain(|(entity, _)| {
                        let predicted = !is_known(entity);
                        let kept = !predicted || left > 0;
                        left -= usize::from(predicted && left > 0);
                        kept
                    });
                    found.truncate(wanted.k);
                });
            }
            if let Some(propagation) = self.why {
                let traces = propagation.traces(&of_structure)?;
                for (((&number, query), trace), found) in
                    numbers.iter().zip(of_structure).zip(traces).zip(&found)
                {
                    let entities: Vec<EntityId> = found.iter().map(|(entity, _)| *entity).collect();
                    why[number] = propagation.witnesses(query, &trace, &entities)?;
                }
            }
            numbers.iter().zip(found).for_each(|(&number, found)| best[number] = found);
        }
        let mut answered = Vec::with_capacity(queries.len());
        for (((query, known), best), why) in queries.iter().zip(&known).zip(best).zip(why) {
            let mut answers = with_names(best, known, self.graph);
            let structure = query.structure().to_string();
            let calibrated = self.probabilities.and_then(|p| p.structures.get(&structure));
            if let Some(calibrated) = calibrated {
                for answer in answers.iter_mut().filter(|answer| answer.status == AnswerStatus::Predicted) {
                    answer.probability = Some(calibrated.curve.probability(answer.score));
                }
            }
            for (answer, witness) in answers.iter_mut().zip(why) {
                answer.why = witness.map(|witness| Why::new(&witness, self.graph));
            }
            answered.push(Answered {
                num_known: known.len(),
                answers,
                untrained: self.trained.missing(query),
            });
        }
        Ok(answered)
    }
}
