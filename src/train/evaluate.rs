//! Evaluation of a saved run: its model loaded from the folder, its queries, the report.

use super::checkpoint::{self, Meta};
use super::observer::Observer;
use super::plan::{is_untrained, why_untrained};
use super::row_file;
use super::{RunFolder, tables};
use crate::backend::Backend;
use crate::config::{Config, TableKind};
use crate::error::{Error, Result};
use crate::eval::report::{Baseline, Inferred};
use crate::eval::{
    FrequencyBaseline, Interruptible, LinkPrediction, ModelScorer, MultiHop, QueryGroup, QueryOptions,
    Reasoned, Report, Scorer,
};
use crate::eval::{QuerySet, baseline, cache, link_prediction};
use crate::graph::{KnowledgeGraph, Split};
use crate::inference::Inference;
use crate::model::{self, Weights};
use crate::progress::Watch;
use crate::query::trained::Trained;
use crate::query::{Structure, structure};
use crate::table::count;
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// The queries of an evaluation.
pub enum Queries<'a> {
    /// Those of the configuration, drawn from the graph, or kept in this folder from an earlier time.
    Drawn(&'a Path),
    /// A set that the user gave; structures that the model cannot express are left out with a note.
    Given(QuerySet),
}

/// What of a saved run is evaluated.
pub struct Evaluation<'a> {
    /// The run's graph.
    pub graph: &'a KnowledgeGraph,
    /// The run's configuration.
    pub config: &'a Config,
    /// The queries.
    pub queries: Queries<'a>,
    /// The split whose edges are predicted.
    pub split: Split,
    /// How queries are answered, where not by the model's embeddings of them.
    pub inference: Option<&'a Inference>,
    /// Once it is set, the evaluation gives up with [`Error::Interrupted`].
    pub stop: &'a AtomicBool,
}

/// Evaluates a run's best model, beside the frequency baseline.
pub fn evaluate_saved<B: Backend>(
    backend: &B,
    folder: &RunFolder,
    evaluation: Evaluation,
    observer: &mut dyn Observer,
) -> Result<(Report, Meta)> {
    let Loaded { model, weights, meta, note } =
        load_model(backend, evaluation.graph, evaluation.config, folder)?;
    if let Some(note) = note {
        observer.note(&note);
    }
    let report = evaluate_loaded(&ModelScorer::new(backend, &*model, &weights), evaluation, observer)?;
    Ok((report, meta))
}

/// Evaluates a model, beside the frequency baseline.
pub fn evaluate_loaded<B: Backend>(
    scorer: &ModelScorer<B>,
    evaluation: Evaluation,
    observer: &mut dyn Observer,
) -> Result<Report> {
    let Evaluation { graph, config, queries, split, inference, stop } = evaluation;
    let model = scorer.model();
    let watch = Watch { progress: observer.work(), stop };
    let evaluation = &config.evaluation;
    let set = match queries {
        Queries::Drawn(cache) => {
            let structures = match inference {
                None => super::plan::evaluated(model, config)?,
                Some(_) => structure::all_or_listed(&config.evaluation.structures)?,
            };
            let max_queries =
                if split == Split::Valid { evaluation.valid_queries } else { evaluation.queries };
            let (max_answers, seed) = (evaluation.max_answers, evaluation.seed);
            let options = QueryOptions { structures, max_queries, max_answers, seed };
            let mut set = query_set(graph, split, &options, cache, &watch, observer)?;
            set.notes.extend(inference.is_none().then(|| left_out(model, config)).flatten());
            set
        }
        Queries::Given(set) if inference.is_some() => set,
        Queries::Given(mut set) => {
            let mut left_out = Vec::new();
            set.groups.retain(|group| {
                let name = group.structure.to_string();
                let fits = model::check_expressible(model, &name, &group.structure);
                left_out.extend(fits.as_ref().err().map(|e| format!("{name} is left out: {e}")));
                fits.is_ok()
            });
            set.notes.extend(left_out);
            set
        }
    };
    let mut set = set;
    observer.stage(&format!("evaluating on {}", split.name()));
    let Some(inference) = inference else {
        set.notes.extend(untrained_networks(model, config, &set));
        let scorers = Scorers { links: scorer, queries: scorer };
        return evaluate(scorers, &watch, graph, split, &set, evaluation.link_prediction);
    };
    let name = format!("{}, {}", scorer.name(), inference.options().describe());
    let reasoned = Reasoned::new(inference.over(graph, scorer, watch.clone()), name);
    let scorers = Scorers { links: scorer, queries: &reasoned };
    let mut report = evaluate(scorers, &watch, graph, split, &set, evaluation.link_prediction)?;
    let (options, ties, rows) = (inference.options().clone(), reasoned.ties(), inference.row_stats());
    report.inference = Some(Inferred { options, ties, rows });
    Ok(report)
}

/// A note on named structures that are left out by default because their networks were never trained.
fn left_out(model: &dyn model::Model, config: &Config) -> Option<String> {
    let untrained = |(_, s): &&(&str, Structure)| {
        model::check_expressible(model, "", s).is_ok() && is_untrained(model, config, s)
    };
    let names: Vec<&str> = structure::named().iter().filter(untrained).map(|(name, _)| *name).collect();
    (config.evaluation.structures == "all" && !names.is_empty()).then(|| {
        format!(
            "left out, because the networks that combine sets were never trained ({}): {}; --structures evaluates them \
             all the same",
            why_untrained(config),
            names.join(", ")
        )
    })
}

/// Warns of structures of a set whose networks were never trained.
fn untrained_networks(model: &dyn model::Model, config: &Config, set: &QuerySet) -> Option<String> {
    let untrained = set.groups.iter().filter(|g| !g.is_empty() && is_untrained(model, config, &g.structure));
    let names: Vec<String> = untrained.map(|group| group.structure.to_string()).collect();
    (!names.is_empty()).then(|| {
        format!(
            "the networks that combine sets were never trained ({}): the figures of {} are those of random networks",
            why_untrained(config),
            names.join(", ")
        )
    })
}

/// A note on queries and hard answers of which no training edge has the anchor, relation or entity.
fn unseen(graph: &KnowledgeGraph, set: &QuerySet, links: Option<&QueryGroup>) -> Option<String> {
    let trained = Trained::new(graph);
    let mut parts = Vec::new();
    let groups = set.groups.iter().map(|group| (group.structure.to_string(), group));
    for (name, group) in groups.chain(links.map(|links| ("link prediction".to_string(), links))) {
        let all = group.all();
        let unseen = |&q: &usize| {
            all.anchors_of(q).iter().any(|&e| !trained.has_entity(e))
                || all.relations_of(q).iter().any(|&r| !trained.has_relation(r))
        };
        let queries = (0..group.len()).filter(unseen).count();
        let answers = group.targets.iter().filter(|&&e| !trained.has_entity(e)).count();
        if queries + answers > 0 {
            parts.push(format!("{name} {} and {}", count(queries), count(answers)));
        }
    }
    (!parts.is_empty()).then(|| {
        format!(
            "no training edge has the anchor or relation of some queries, nor some of the answers; their rows are what \
             they were at the start: {} (queries, answers)",
            parts.join("; ")
        )
    })
}

/// A model of a run with its tables.
#[derive(Debug)]
pub struct Loaded<B: Backend> {
    /// The model.
    pub model: Box<dyn model::Model>,
    /// Its tables; not to be trained.
    pub weights: Weights<B>,
    /// What the saved model says about itself.
    pub meta: Meta,
    /// What the user should know: of which steps the rows of a table are that a crash left.
    pub note: Option<String>,
}

/// Loads the model of a run: the best one, or with entity rows in a file the last one, whose rows stay in the file.
/// Errors where it does not belong to the graph.
pub fn load_model<B: Backend>(
    backend: &B,
    graph: &KnowledgeGraph,
    config: &Config,
    folder: &RunFolder,
) -> Result<Loaded<B>> {
    let model = model::create(&config.model)?;
    let path = folder.model()?;
    checkpoint::check_shapes(&path, &*model, graph, config.training.table == TableKind::File)?;
    let (mut weights, rows) =
        tables::open(backend, &*model, graph, config, &tables::path(folder.path()), false)?;
    let meta = checkpoint::load(&path, backend, &*model, &mut weights, false)?;
    if meta.graph != format!("{:016x}", graph.fingerprint()) {
        return Err(Error::file(&path, "was trained on another graph than the run folder's graph.smore"));
    }
    let note = match rows {
        Some(mut rows) => folder.check_rows(&mut rows)?.or(row_file::age(&rows.steps(), meta.step)),
        None => None,
    };
    Ok(Loaded { model, weights, meta, note })
}

/// What ranks triples, and what ranks the answers of queries: every way of answering orders the tails of a single link alike.
#[derive(Clone, Copy)]
pub struct Scorers<'a> {
    /// For link prediction.
    pub links: &'a dyn Scorer,
    /// For queries.
    pub queries: &'a dyn Scorer,
}

/// Ranks all queries of a set, and the split's triples where `links`, by scorers and, up to [`baseline::MAX_EDGES`], by
/// the baseline, until the watcher stops it.
pub fn evaluate(
    scorers: Scorers,
    watch: &Watch,
    graph: &KnowledgeGraph,
    split: Split,
    set: &QuerySet,
    links: bool,
) -> Result<Report> {
    let triples = links.then(|| link_prediction::queries(&graph.split(split), &graph.view(Split::Test)));
    triples.iter().chain(&set.groups).try_for_each(|group| group.check(graph))?;
    let report = |what: &str, name: &str, done: usize, of: usize| {
        let stage = format!("evaluating on {}: {what}, {name}", split.name());
        watch.progress.report(&stage, done as u64, of as u64);
    };
    let link_prediction = |scorer: &dyn Scorer| -> Result<Option<LinkPrediction>> {
        let Some(triples) = &triples else { return Ok(None) };
        let name = scorer.name();
        let mut progress = |done| report("link prediction", &name, done, triples.len());
        LinkPrediction::evaluate(&Interruptible { scorer, watch }, triples, &mut progress).map(Some)
    };
    let multi_hop = |scorer: &dyn Scorer| {
        let name = scorer.name();
        let mut progress = |done| report("queries", &name, done, set.num_queries());
        MultiHop::evaluate(&Interruptible { scorer, watch }, &set.groups, &mut progress)
    };
    let (train, mut notes) = (graph.split(Split::Train), set.notes.clone());
    notes.extend(unseen(graph, set, triples.as_ref()));
    let theirs = if train.num_edges() <= baseline::MAX_EDGES {
        let baseline = FrequencyBaseline::new(&train, graph.num_relations());
        Some(Baseline { link_prediction: link_prediction(&baseline)?, multi_hop: multi_hop(&baseline)? })
    } else {
        notes.push(format!(
            "the frequency baseline is left out: the training graph has more than {} directed edges",
            count(baseline::MAX_EDGES)
        ));
        None
    };
    let links = link_prediction(scorers.links)?;
    let multi_hop = multi_hop(scorers.queries)?;
    Ok(Report::new(split.name(), scorers.queries.name(), links, multi_hop, theirs, notes))
}

/// Draws the queries of a split, or reads them from an earlier time.
pub(super) fn query_set(
    graph: &KnowledgeGraph,
    split: Split,
    options: &QueryOptions,
    folder: &Path,
    watch: &Watch,
    observer: &mut dyn Observer,
) -> Result<QuerySet> {
    observer.stage(&format!("preparing {} queries", split.name()));
    let (set, note) = cache::load_or_generate(graph, split, options, folder, watch)?;
    if let Some(note) = note {
        observer.note(&note);
    }
    Ok(set)
}
