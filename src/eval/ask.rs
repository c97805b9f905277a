//! Many queries at once -> the best answers of each, known or predicted.

use super::answers::{Answer, with_names};
use super::why::Why;
use crate::error::Result;
use crate::graph::{KnowledgeGraph, View};
use crate::ids::EntityId;
use crate::inference::Propagation;
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
    /// Answers of a query.
    pub k: usize,
    /// Which ones.
    pub show: Show,
}

impl Asker<'_> {
    /// Answers queries of any structures that the model can express, in their order. Those of one structure are embedded
    /// and scored together.
    pub fn answer(&self, queries: &[Query]) -> Result<Vec<Answered>> {
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
                let is_known = || known[numbers[query]].binary_search(&entity).is_ok();
                match self.show {
                    Show::Both => true,
                    Show::Known => is_known(),
                    Show::Predicted => !is_known(),
                }
            };
            let found = self.answerer.best_of_each(&structure, &of_structure, self.k, &keep)?;
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
