//! Many queries at once -> the best answers of each, known or predicted.

use super::answers::{Answer, with_names};
use super::model_scorer::ModelScorer;
use crate::backend::Backend;
use crate::error::Result;
use crate::graph::{KnowledgeGraph, Split};
use crate::ids::EntityId;
use crate::query::trained::Trained;
use crate::query::{Query, Structure, execute};
use rayon::prelude::*;

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

/// What a query was answered with.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// How many answers the training graph implies.
    pub num_known: usize,
    /// The best answers of those that are wanted.
    pub answers: Vec<Answer>,
    /// What of the query no training edge has ([`Trained::missing`]).
    pub untrained: Vec<String>,
}

/// A model that is asked.
pub struct Asker<'a, B: Backend> {
    /// The model.
    pub scorer: ModelScorer<'a, B>,
    /// The graph of its run.
    pub graph: &'a KnowledgeGraph,
    /// What training has seen of it.
    pub trained: Trained<'a>,
    /// Answers of a query.
    pub k: usize,
    /// Which ones.
    pub show: Show,
}

impl<B: Backend> Asker<'_, B> {
    /// Answers queries of any structures that the model can express, in their order. Those of one structure are embedded
    /// and scored together.
    pub fn answer(&self, queries: &[Query]) -> Result<Vec<Answered>> {
        let train = self.graph.view(Split::Train);
        let known: Vec<Vec<EntityId>> = queries.par_iter().map(|q| execute::answers(&train, q)).collect();
        let mut by_structure: Vec<(Structure, Vec<usize>)> = Vec::new();
        for (number, query) in queries.iter().enumerate() {
            let structure = query.structure();
            match by_structure.iter_mut().find(|(other, _)| *other == structure) {
                Some((_, numbers)) => numbers.push(number),
                None => by_structure.push((structure, vec![number])),
            }
        }
        let mut best = vec![Vec::new(); queries.len()];
        for (structure, numbers) in by_structure {
            let of_structure: Vec<&Query> = numbers.iter().map(|&number| &queries[number]).collect();
            let keep = |query: usize, entity: EntityId| {
                let is_known = || known[numbers[query]].binary_search(&entity).is_ok();
                match self.show {
                    Show::Both => true,
                    Show::Known => is_known(),
                    Show::Predicted => !is_known(),
                }
            };
            let found = self.scorer.best_of_each(&structure, &of_structure, self.k, &keep)?;
            numbers.iter().zip(found).for_each(|(&number, found)| best[number] = found);
        }
        let mut answered = Vec::with_capacity(queries.len());
        for ((query, known), best) in queries.iter().zip(&known).zip(best) {
            answered.push(Answered {
                num_known: known.len(),
                answers: with_names(best, known, self.graph),
                untrained: self.trained.missing(query),
            });
        }
        Ok(answered)
    }
}
