//! Evaluations on valid while a run goes on.

use super::evaluate::query_set;
use super::learner::Learner;
use super::log::ValidResults;
use super::observer::Observer;
use super::plan::RunPlan;
use crate::backend::Backend;
use crate::config::{Config, Objective};
use crate::error::{Error, Result};
use crate::eval::group::QueryGroup;
use crate::eval::{
    Interruptible, LinkPrediction, ModelScorer, MultiHop, QueryOptions, QuerySet, Scorer, link_prediction,
};
use crate::graph::{KnowledgeGraph, Split};
use crate::progress::Watch;
use std::path::Path;

/// What the best model is chosen by.
pub(super) enum Valid {
    Queries(QuerySet),
    Links(QueryGroup),
}

impl Valid {
    /// The queries of valid where queries are trained, else its triples. Says where there is nothing to rank.
    pub fn new(
        graph: &KnowledgeGraph,
        config: &Config,
        plan: &RunPlan,
        query_cache: &Path,
        watch: &Watch,
        observer: &mut dyn Observer,
    ) -> Result<Self> {
        let valid = match config.training.objective {
            Objective::Queries => {
                let evaluation = &config.evaluation;
                let options = QueryOptions {
                    structures: plan.evaluated_structures.clone(),
                    max_queries: evaluation.valid_queries,
                    max_answers: evaluation.max_answers,
                    seed: evaluation.seed,
                };
                Valid::Queries(query_set(graph, Split::Valid, &options, query_cache, watch, observer)?)
            }
            _ => Valid::Links(link_prediction::queries(&graph.split(Split::Valid), &graph.view(Split::Test))),
        };
        valid.groups().iter().try_for_each(|group| group.check(graph))?;
        if valid.groups().iter().all(QueryGroup::is_empty) {
            observer.note(
                "there is nothing on valid to rank: the model is that of the last step, and training neither ends early nor \
                 slows down; `smore data import --hold-out 0.05` takes a share of train for valid",
            );
        }
        Ok(valid)
    }

    fn groups(&self) -> &[QueryGroup] {
        match self {
            Valid::Queries(set) => &set.groups,
            Valid::Links(group) => std::slice::from_ref(group),
        }
    }

    /// Ranks all of it; `None` where that was stopped on the way.
    pub fn evaluate<B: Backend>(&self, learner: &Learner<B>, watch: &Watch) -> Result<Option<ValidResults>> {
        let scorer = ModelScorer::new(learner.step.backend(), learner.step.model(), &learner.step.weights);
        let all: usize = self.groups().iter().map(QueryGroup::len).sum();
        let mut progress = |done| watch.progress.report("evaluating on valid", done as u64, all as u64);
        progress(0);
        match self.rank(&Interruptible { scorer: &scorer, watch }, &mut progress) {
            Err(Error::Interrupted) => Ok(None),
            results => results.map(Some),
        }
    }

    fn rank(&self, scorer: &impl Scorer, progress: &mut dyn FnMut(usize)) -> Result<ValidResults> {
        let mut results = ValidResults::default();
        match self {
            Valid::Queries(set) => {
                results.multi_hop = Some(MultiHop::evaluate(scorer, &set.groups, progress)?);
            }
            Valid::Links(queries) if !queries.is_empty() => {
                results.link_prediction = Some(LinkPrediction::evaluate(scorer, queries, progress)?);
            }
            Valid::Links(_) => {}
        }
        Ok(results)
    }
}
