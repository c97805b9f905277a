//! A saved run: asked, evaluated, its scores.

use super::{Device, on};
use crate::backend::Backend;
use crate::config::Config;
use crate::dataset::cache::Cache;
use crate::error::Result;
use crate::eval::Reasoned;
use crate::eval::Report;
use crate::eval::answers::Answer;
use crate::eval::ask::{Answerer, Asker, Probabilities, Show, Wanted};
use crate::eval::model_scorer::{Kept, ModelScorer};
use crate::graph::{KnowledgeGraph, Split};
use crate::ids::Triple;
use crate::inference::{Engine, Inference};
use crate::model;
use crate::progress::Watch;
use crate::query::trained::Trained;
use crate::query::{Query, ground, parse_query};
use crate::train::calibration::Entry;
use crate::train::evaluate::{Evaluation, Loaded, Queries, evaluate_loaded, load_model};
use crate::train::inference::{self, Prepared};
use crate::train::{Changes, Observer, RunFolder};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, OnceLock};

/// A trained model with its graph, from the folder of a run. It can be asked from many threads at once.
///
/// ```no_run
/// use smore::{Device, SavedRun};
/// let run = SavedRun::open("runs/umls-gqe", Device::Cpu)?;
/// for answer in run.answers("('steroid',('affects',))", 10)? {
///     println!("{} {:.2} {:?}", answer.entity, answer.score, answer.status);
/// }
/// # Ok::<(), smore::Error>(())
/// ```
pub struct SavedRun {
    graph: KnowledgeGraph,
    config: Config,
    cache: Cache,
    folder: Mutex<RunFolder>,
    /// How queries are answered, where not by embeddings of them.
    inference: Option<Inference>,
    /// What makes probabilities of scores.
    calibration: Option<Entry>,
    /// What explains the answers of embeddings.
    reasons: OnceLock<Inference>,
    model: Box<dyn Served>,
}

/// A model on a device, whichever that is.
trait Served: Send + Sync {
    fn check(&self, query: &Query) -> Result<()>;
    fn answer(
        &self,
        run: &SavedRun,
        queries: &[Query],
        wanted: Wanted,
        why: bool,
    ) -> Result<Vec<Vec<Answer>>>;
    fn score(&self, triples: &[Triple]) -> Result<Vec<f32>>;
    fn evaluate(
        &self,
        run: &SavedRun,
        split: Split,
        stop: &AtomicBool,
        observer: &mut dyn Observer,
    ) -> Result<Report>;
}

struct OnBackend<B: Backend> {
    backend: B,
    loaded: Loaded<B>,
    /// Compiled structures, shared by all threads.
    kept: Kept<B>,
}

impl<B: Backend> OnBackend<B> {
    fn scorer(&self) -> ModelScorer<'_, B> {
        ModelScorer::sharing(&self.backend, &*self.loaded.model, &self.loaded.weights, &self.kept)
    }
}

impl<B: Backend> Served for OnBackend<B> {
    fn check(&self, query: &Query) -> Result<()> {
        let structure = query.structure();
        model::check_expressible(&*self.loaded.model, &structure.to_string(), &structure)
    }

    fn answer(
        &self,
        run: &SavedRun,
        queries: &[Query],
        wanted: Wanted,
        why: bool,
    ) -> Result<Vec<Vec<Answer>>> {
        let (graph, scorer) = (&run.graph, self.scorer());
        let reasons = if why { Some(run.reasons()?) } else { None };
        let [by, why] =
            [run.inference.as_ref(), reasons].map(|by| by.map(|by| by.over(graph, &scorer, Watch::nobody())));
        let reasoned = by.map(|by| Reasoned::new(by, run.model().into()));
        let answerer: &dyn Answerer = match &reasoned {
            Some(reasoned) => reasoned,
            None => &scorer,
        };
        let evidence = run.config.inference.evidence.view(graph);
        let (trained, of_truth) = (Trained::new(graph), run.inference.is_some());
        let probabilities = run.calibration.as_ref();
        let probabilities =
            probabilities.map(|entry| Probabilities { structures: &entry.structures, of_truth });
        let asker = Asker { answerer, why: why.as_ref(), evidence, graph, trained, probabilities, wanted };
        Ok(asker.answer(queries)?.into_iter().map(|answered| answered.answers).collect())
    }

    fn score(&self, triples: &[Triple]) -> Result<Vec<f32>> {
        self.scorer().scores_of_triples(triples)
    }

    fn evaluate(
        &self,
        run: &SavedRun,
        split: Split,
        stop: &AtomicBool,
        observer: &mut dyn Observer,
    ) -> Result<Report> {
        let cached = run.cache.derived(run.graph.fingerprint());
        let SavedRun { graph, config, .. } = run;
        let queries = Queries::Drawn(&cached);
        let inference = run.inference.as_ref();
        let evaluation = Evaluation { graph, config, queries, split, inference, stop };
        evaluate_loaded(&self.scorer(), evaluation, observer)
    }
}

impl SavedRun {
    /// Opens the folder of a run; the best model that it has.
    ///
    /// # Errors
    ///
    /// [`Error::File`](crate::Error::File) where the folder is none of a run, or files were changed since; of the device.
    pub fn open(folder: impl AsRef<Path>, device: Device) -> Result<Self> {
        Self::open_in(folder.as_ref(), device, None)
    }

    /// The same, with a folder for compiled kernels and for what is remembered of verified files; else it is the user's
    /// cache folder.
    ///
    /// # Errors
    ///
    /// As [`SavedRun::open`].
    pub fn open_with_cache(
        folder: impl AsRef<Path>,
        device: Device,
        cache: impl AsRef<Path>,
    ) -> Result<Self> {
        Self::open_in(folder.as_ref(), device, Some(cache.as_ref()))
    }

    pub(super) fn open_in(folder: &Path, device: Device, cache: Option<&Path>) -> Result<Self> {
        let cache = Cache::new(cache)?;
        let folder = RunFolder::open_with(folder, Changes::Refuse)?.remembering(cache.verified());
        let (config, graph) = (folder.config()?, folder.graph()?);
        let (device, _) = device.open(config.training.math, &cache)?;
        let model: Box<dyn Served> = on!(device, backend => {
            let loaded = load_model(&backend, &graph, &config, &folder)?;
            Box::new(OnBackend { backend, loaded, kept: Kept::default() })
        });
        let (reasons, folder) = (OnceLock::new(), Mutex::new(folder));
        let mut run =
            SavedRun { graph, config, cache, folder, inference: None, calibration: None, reasons, model };
        run.infer_by_config()?;
        Ok(run)
    }

    /// Sets a key of the section `inference`, for example `inference.engine=exact`: the answers of queries then come from reasoning
    /// over the model's scores of single links, and their scores are truth values from 0 to 1.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`](crate::Error::Invalid) for another key or a value that it does not take; where exact inference does
    /// not fit the graph.
    pub fn set(mut self, assignment: &str) -> Result<Self> {
        if !assignment.trim_start().starts_with("inference.") {
            return Err(crate::Error::invalid(format!(
                "{assignment}: the run is trained, only keys of the section inference can be set: inference.KEY=VALUE"
            )));
        }
        self.config = self.config.with(&[assignment.to_string()])?;
        self.infer_by_config()?;
        Ok(self)
    }

    fn infer_by_config(&mut self) -> Result<()> {
        let prepared = self.prepare(self.config.inference.engine)?;
        self.inference = prepared.inference;
        self.calibration = prepared.calibration;
        self.reasons = OnceLock::new();
        Ok(())
    }

    fn prepare(&self, engine: Engine) -> Result<Prepared> {
        let folder = self.folder.lock().expect("no panic while it is held");
        let memory = Inference::default_memory();
        inference::prepare(&folder, &self.graph, &self.config, engine, memory, &self.cache.verified())
    }

    /// What explains answers: what answers, or for embeddings the same over their scores of single links.
    fn reasons(&self) -> Result<&Inference> {
        match (&self.inference, self.reasons.get()) {
            (Some(inference), _) | (None, Some(inference)) => Ok(inference),
            (None, None) => {
                let made = self.prepare(Engine::Auto)?.inference;
                Ok(self.reasons.get_or_init(|| made.expect("auto is exact or a beam")))
            }
        }
    }

    /// Its graph.
    pub fn graph(&self) -> &KnowledgeGraph {
        &self.graph
    }

    /// The name of its model.
    pub fn model(&self) -> &str {
        &self.config.model.name
    }

    /// A query in the notation of nested tuples, with names or labels: `('Q1',('P1','P2'))`.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchEntity`](crate::Error::NoSuchEntity) and
    /// [`Error::NoSuchRelation`](crate::Error::NoSuchRelation) with what may be meant;
    /// [`Error::CannotExpress`](crate::Error::CannotExpress) where the model has not what the query needs.
    pub fn query(&self, text: &str) -> Result<Query> {
        let query = ground::ground(&parse_query(text)?, &self.graph)?;
        self.check(&query)?;
        Ok(query)
    }

    /// The `k` best answers of a query, known and predicted ones.
    ///
    /// # Errors
    ///
    /// As [`SavedRun::query`]; of the device.
    pub fn answers(&self, text: &str, k: usize) -> Result<Vec<Answer>> {
        let query = self.query(text)?;
        Ok(self.answers_to(std::slice::from_ref(&query), k, Show::Both)?.remove(0))
    }

    /// The `k` best answers of each query. Those of one structure are answered together.
    ///
    /// # Errors
    ///
    /// [`Error::CannotExpress`](crate::Error::CannotExpress) where the model has not what a query needs; of the device.
    pub fn answers_to(&self, queries: &[Query], k: usize, show: Show) -> Result<Vec<Vec<Answer>>> {
        self.answers_wanted(queries, Wanted { k, show, ..Wanted::default() }, false)
    }

    /// The same with [`Answer::why`]: what makes each answer true, by its best binding of the inner variables. With inference that
    /// is how the answer was found; for embeddings it is supporting evidence by the model's scores of single links.
    ///
    /// # Errors
    ///
    /// As [`SavedRun::answers_to`].
    pub fn explained(&self, queries: &[Query], k: usize, show: Show) -> Result<Vec<Vec<Answer>>> {
        self.answers_wanted(queries, Wanted { k, show, ..Wanted::default() }, true)
    }

    /// The answers that are wanted of each query: so many, so probable ones, or sets that hold an answer as often as they say; `why` with
    /// what makes each of them true.
    ///
    /// # Errors
    ///
    /// As [`SavedRun::answers_to`]; [`Error::Invalid`](crate::Error::Invalid) where probabilities are wanted and the run's folder has none:
    /// see `smore calibrate`.
    pub fn answers_wanted(&self, queries: &[Query], wanted: Wanted, why: bool) -> Result<Vec<Vec<Answer>>> {
        queries.iter().try_for_each(|query| self.check(query))?;
        self.model.answer(self, queries, wanted, why)
    }

    /// Inference answers queries of any structure, a model's embeddings those that it can express.
    fn check(&self, query: &Query) -> Result<()> {
        if self.inference.is_some() { Ok(()) } else { self.model.check(query) }
    }

    /// The score of each triple: greater is more likely. Scores of one model compare with each other alone.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`](crate::Error::Invalid) for an id beyond the graph; of the device.
    pub fn score(&self, triples: &[Triple]) -> Result<Vec<f32>> {
        let (entities, relations) = (self.graph.num_entities() as u32, self.graph.num_relations() as u32);
        let is_known = |t: &Triple| t.head.0 < entities && t.tail.0 < entities && t.relation.0 < relations;
        if let Some(unknown) = triples.iter().find(|triple| !is_known(triple)) {
            return Err(crate::Error::invalid(format!(
                "{unknown:?} has an id beyond the graph's {entities} entities or {relations} directed relations"
            )));
        }
        self.model.score(triples)
    }

    /// Ranks the queries and triples of a split, as `smore eval` does. Ends with
    /// [`Error::Interrupted`](crate::Error::Interrupted) once `stop` is set.
    ///
    /// # Errors
    ///
    /// Of the files of drawn queries, and of the device.
    pub fn evaluate(&self, split: Split, stop: &AtomicBool) -> Result<Report> {
        struct Nobody;
        impl Observer for Nobody {}
        self.model.evaluate(self, split, stop, &mut Nobody)
    }
}
