//! Calibrates the answers of a saved run: learns from validation queries, judges on test queries.

use super::calibration::{Entry, Of};
use super::evaluate::{Loaded, query_set};
use super::observer::Observer;
use super::plan::evaluated;
use crate::backend::Backend;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::eval::ask::Answerer;
use crate::eval::calibrate::Calibration;
use crate::eval::{ModelScorer, MultiHop, QueryGroup, QueryOptions, Reasoned};
use crate::graph::{KnowledgeGraph, Split};
use crate::inference::{Inference, Options};
use crate::progress::Watch;
use crate::query::structure;
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// Negation scales that are tried.
const SCALES: [f32; 6] = [0.5, 1.0, 2.0, 3.0, 4.0, 6.0];

/// What is calibrated.
pub struct Task<'a> {
    /// The run's graph.
    pub graph: &'a KnowledgeGraph,
    /// Its configuration: structures, numbers of queries.
    pub config: &'a Config,
    /// How queries are answered; by embeddings where that is not said.
    pub inference: Option<&'a Inference>,
    /// Checksum of the model's file.
    pub model: String,
    /// Folder in which drawn queries are kept.
    pub cache: &'a Path,
    /// Share of answers that sets are to hold when they are tested.
    pub coverage: f64,
    /// Set from outside to end it.
    pub stop: &'a AtomicBool,
}

/// Calibrates a model's answers.
///
/// # Errors
///
/// Where there are no validation queries; of the device; where it is stopped.
pub fn calibrate<B: Backend>(
    backend: &B,
    loaded: &Loaded<B>,
    task: Task,
    observer: &mut dyn Observer,
) -> Result<Entry> {
    let Task { graph, config, inference, model, cache, coverage, stop } = task;
    let scorer = ModelScorer::new(backend, &*loaded.model, &loaded.weights);
    let watch = Watch { progress: observer.work(), stop };
    let structures = match inference {
        None => evaluated(&*loaded.model, config)?,
        Some(_) => structure::all_or_listed(&config.evaluation.structures)?,
    };
    let mut sets = Vec::new();
    for (split, max_queries) in
        [(Split::Valid, config.evaluation.valid_queries), (Split::Test, config.evaluation.queries)]
    {
        let (structures, max_answers) = (structures.clone(), config.evaluation.max_answers);
        let options = QueryOptions { structures, max_queries, max_answers, seed: config.evaluation.seed };
        let set = query_set(graph, split, &options, cache, &watch, observer)?;
        set.groups.iter().try_for_each(|group| group.check(graph))?;
        sets.push(set.groups);
    }
    let [valid, test] = [&sets[0], &sets[1]];
    if valid.iter().all(QueryGroup::is_empty) {
        return Err(Error::invalid(
            "there are no validation queries to calibrate with: the graph has no validation triples, or evaluation.valid_queries is 0",
        ));
    }
    let reasoned = |scale: f32| {
        inference.map(|inference| {
            let mut propagation = inference.over(graph, &scorer, watch.clone());
            propagation.negation_scale = scale;
            Reasoned::new(propagation, String::new())
        })
    };
    let mut options = inference.map_or(config.inference_options(), |inference| inference.options().clone());
    let mut negation_scales = Vec::new();
    let negated: Vec<QueryGroup> =
        valid.iter().filter(|group| group.structure.has_negation()).cloned().collect();
    if inference.is_some() && config.inference.negation_scale.is_none() && !negated.is_empty() {
        observer.stage("choosing the negation scale on valid");
        for scale in SCALES {
            let scorer = reasoned(scale).expect("there is inference");
            let results = MultiHop::evaluate(&scorer, &negated, &mut |_| ())?;
            negation_scales.extend(results.average(true).map(|mean| (scale, mean.mrr)));
        }
        let best = negation_scales.iter().max_by(|a, b| a.1.total_cmp(&b.1)).map(|(scale, _)| *scale);
        options = Options { negation_scale: best.unwrap_or(options.negation_scale), ..options };
    }
    let reasoned = reasoned(options.negation_scale);
    let answerer: &dyn Answerer = match &reasoned {
        Some(reasoned) => reasoned,
        None => &scorer,
    };
    let (num_entities, seed) = (graph.num_entities(), config.evaluation.seed);
    let of_truth = inference.is_some();
    let calibration = Calibration { answerer, of_truth, num_entities, seed, watch: watch.clone() };
    let mut entry = Entry { of: Of { model, options }, negation_scales, structures: Default::default() };
    for (valid, test) in valid.iter().zip(test) {
        let name = valid.structure.to_string();
        observer.stage(&format!("calibrating {name}"));
        let Some(mut calibrated) = calibration.learn(valid)? else { continue };
        if !test.is_empty() {
            calibrated.tested = Some(calibration.test(&calibrated, test, coverage)?);
        }
        entry.structures.insert(name, calibrated);
    }
    Ok(entry)
}
