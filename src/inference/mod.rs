//! Answers by reasoning over single links: how true is each answer, and by which links?
//!
//! A model embeds a query and compares entities with the embedding. Here it only scores single links; what a query asks of them is
//! worked out exactly, or along the best bindings of each variable. That gives better answers than embeddings of queries do, from
//! models that have seen single links alone, and each answer has a witness.
//!
//! Reading order: [`norm`] ("and" and "or" of truth values), [`truth`] (scores of a link's tails -> a sparse row of truth values),
//! [`rows`] (rows on demand), [`adjacency`] (all rows in a file), [`values`] (how true each entity is at a node of a query), [`propagate`] (from anchors to answers),
//! [`ranking`] (the order of answers),
//! [`witness`] (why an answer is true).

pub mod adjacency;
pub mod norm;
pub mod propagate;
pub mod ranking;
pub mod rows;
pub mod truth;
pub mod values;
pub mod witness;

pub use adjacency::{Adjacency, AnyRow};
pub use norm::TNorm;
pub use propagate::{Propagation, Trace};
pub use ranking::{Merit, Merits};
pub use rows::{LinkScorer, Pair, RowCache, RowStats, Rows};
pub use truth::Truth;
pub use values::Values;
pub use witness::{Because, Witness};

use crate::error::{Error, Result};
use crate::graph::{KnowledgeGraph, Split, View};
use crate::process::memory_limit;
use crate::progress::Watch;
use crate::table::count;
use serde::{Deserialize, Serialize};

/// What answers queries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// The model's own embedding of the query.
    #[default]
    Embedding,
    /// Single links, along the best bindings of each variable.
    Beam,
    /// Single links, along all bindings.
    Exact,
    /// Exact where it fits, else a beam.
    Auto,
}

impl Engine {
    /// The names, as options have them.
    pub const NAMES: [&str; 4] = ["embedding", "beam", "exact", "auto"];

    /// The name.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

impl Engine {
    /// The engine that reasons over single links where one has to: itself, or for embeddings the automatic one.
    pub fn over_links(self) -> Self {
        if self == Engine::Embedding { Engine::Auto } else { self }
    }
}

/// Which links count as observed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Evidence {
    /// Those of the training split.
    #[default]
    #[serde(rename = "train")]
    #[cfg_attr(feature = "cli", value(name = "train"))]
    Train,
    /// Those of the training and the validation split.
    #[serde(rename = "train+valid")]
    #[cfg_attr(feature = "cli", value(name = "train+valid"))]
    TrainAndValid,
}

impl Evidence {
    /// The names, as options have them.
    pub const NAMES: [&str; 2] = ["train", "train+valid"];

    /// The name.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// The links of a graph that are observed.
    pub fn view(self, graph: &KnowledgeGraph) -> View<'_> {
        match self {
            Evidence::Train => graph.view(Split::Train),
            Evidence::TrainAndValid => graph.view(Split::Valid),
        }
    }
}

/// How answers are inferred.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// What answers queries: a beam, exact, or automatically one of them.
    pub engine: Engine,
    /// Which links count as observed.
    pub evidence: Evidence,
    /// What joins truth values.
    pub norm: TNorm,
    /// What a truth value is multiplied by before it is negated.
    pub negation_scale: f32,
    /// Truth below which a link is cut.
    pub row_threshold: f32,
    /// What scores are divided by before they become truth values.
    pub temperature: f32,
    /// Bindings of a variable that a beam follows.
    pub beam: usize,
    /// Entities up to which exact inference is offered.
    pub exact_entities: usize,
}

impl Options {
    /// With an engine that fits a graph of so many entities.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] with the remedy where exact inference does not fit and was asked for.
    pub fn resolved(&self, num_entities: usize) -> Result<Self> {
        let fits = num_entities <= self.exact_entities;
        let engine = match self.engine {
            Engine::Exact if !fits => {
                return Err(Error::invalid(format!(
                    "exact inference follows every binding of a variable, and this graph has {} entities, more than \
                     inference.exact_entities = {}: use --inference beam, or set that higher and be patient",
                    count(num_entities),
                    count(self.exact_entities)
                )));
            }
            Engine::Auto if fits => Engine::Exact,
            Engine::Auto => Engine::Beam,
            engine => engine,
        };
        Ok(Options { engine, ..self.clone() })
    }

    /// The engine and what its answers depend on, for the head of a table.
    pub fn describe(&self) -> String {
        let Options { engine, evidence, norm, .. } = self;
        if *engine == Engine::Embedding {
            return "embeddings of queries".into();
        }
        let along = match engine {
            Engine::Beam => format!(" along {} bindings", count(self.beam)),
            _ => String::new(),
        };
        format!("{} inference{along}, {} norm, evidence {}", engine.name(), norm.name(), evidence.name())
    }
}

/// What is kept between queries: options, and rows of truth values within a budget of memory.
#[derive(Debug)]
pub struct Inference {
    options: Options,
    truth: Truth,
    cache: RowCache,
    adjacency: Option<Adjacency>,
}

impl Inference {
    /// With an engine that fits a graph of so many entities, and rows in at most `memory` bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] with the remedy where exact inference does not fit and was asked for.
    pub fn new(options: Options, num_entities: usize, memory: u64) -> Result<Self> {
        let options = options.resolved(num_entities)?;
        let truth = Truth::new(options.row_threshold, options.temperature);
        let cache = RowCache::new(usize::try_from(memory).unwrap_or(usize::MAX));
        Ok(Inference { options, truth, cache, adjacency: None })
    }

    /// With all rows from a file, if it was made of what `origin` says; else with a note that it was not.
    pub fn with_adjacency(
        mut self,
        adjacency: Adjacency,
        origin: &adjacency::Origin,
    ) -> (Self, Option<String>) {
        if adjacency.origin() == origin {
            self.adjacency = Some(adjacency);
            return (self, None);
        }
        let path = adjacency.path().display();
        let note = format!(
            "{path} was made of another model or with other options: rows are made on demand; smore infer makes it again"
        );
        (self, Some(note))
    }

    /// What its rows are made of, given the checksum of the model's file.
    pub fn origin(&self, model: String, graph: &KnowledgeGraph) -> adjacency::Origin {
        let Options { evidence, row_threshold, temperature, .. } = self.options;
        let graph = format!("{:016x}", graph.fingerprint());
        adjacency::Origin { model, graph, evidence, row_threshold, temperature }
    }

    /// Bytes for rows where nobody says how many: a quarter of the machine's memory.
    pub fn default_memory() -> u64 {
        memory_limit().map_or(1 << 30, |limit| limit.bytes / 4)
    }

    /// The options, with the engine that answers.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// What was done for rows of truth values so far.
    pub fn row_stats(&self) -> RowStats {
        self.cache.stats()
    }

    /// Reasons over the links of a model and a graph, always the same ones.
    pub fn over<'a>(
        &'a self,
        graph: &'a KnowledgeGraph,
        links: &'a dyn LinkScorer,
        watch: Watch<'a>,
    ) -> Propagation<'a> {
        let evidence = self.options.evidence.view(graph);
        let (train, truth, cache) = (graph.split(Split::Train), &self.truth, &self.cache);
        let adjacency = self.adjacency.as_ref();
        Propagation {
            rows: Rows { links, train, evidence, truth, cache, adjacency, watch },
            norm: self.options.norm,
            negation_scale: self.options.negation_scale,
            beam: (self.options.engine == Engine::Beam).then_some(self.options.beam),
        }
    }
}
