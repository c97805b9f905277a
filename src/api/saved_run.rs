//! A saved run: asked, evaluated, its scores.

use super::{Device, on};
use crate::backend::Backend;
use crate::config::Config;
use crate::dataset::cache::Cache;
use crate::error::Result;
use crate::eval::Report;
use crate::eval::answers::Answer;
use crate::eval::ask::{Asker, Show};
use crate::eval::model_scorer::{Kept, ModelScorer};
use crate::graph::{KnowledgeGraph, Split};
use crate::ids::Triple;
use crate::model;
use crate::query::trained::Trained;
use crate::query::{Query, ground, parse_query};
use crate::train::evaluate::{Evaluation, Loaded, Queries, evaluate_loaded, load_model};
use crate::train::{Changes, Observer, RunFolder};
use std::path::Path;
use std::sync::atomic::AtomicBool;

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
    model: Box<dyn Served>,
}

/// A model on a device, whichever that is.
trait Served: Send + Sync {
    fn check(&self, query: &Query) -> Result<()>;
    fn answer(
        &self,
        graph: &KnowledgeGraph,
        queries: &[Query],
        k: usize,
        show: Show,
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
        graph: &KnowledgeGraph,
        queries: &[Query],
        k: usize,
        show: Show,
    ) -> Result<Vec<Vec<Answer>>> {
        let asker = Asker { scorer: self.scorer(), graph, trained: Trained::new(graph), k, show };
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
        let evaluation = Evaluation { graph, config, queries, split, inference: None, stop };
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
        Ok(SavedRun { graph, config, cache, model })
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
        self.model.check(&query)?;
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
        queries.iter().try_for_each(|query| self.model.check(query))?;
        self.model.answer(&self.graph, queries, k, show)
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
