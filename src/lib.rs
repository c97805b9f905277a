//! Multi-hop reasoning over knowledge graphs, from triple files to ranked answers.
//!
//! # For programs that use it
//!
//! [`Dataset`] opens a [`Graph`], [`Run`] trains on it, [`SavedRun`] is asked, scored and evaluated from many threads, [`Sampler`] draws
//! training queries. [`Error`] says of what kind a failure is. Nothing prints; progress and cancellation go through callbacks.
//!
//! ```
//! use smore::{Dataset, Device, Run};
//!
//! # let folder = tempfile::tempdir().unwrap();
//! # let (cache, folder) = (folder.path().join("cache"), folder.path().join("run"));
//! let run = Run::new(Dataset::new("umls").cache_folder(&cache).graph()?)
//!     .cache_folder(&cache)
//!     .device(Device::Cpu)
//!     .set("model.name=gqe")
//!     .set("model.dim=16")
//!     .set("training.steps=20")
//!     .train(&folder)?;
//! let answers = run.answers("('steroid',('affects',))", 3)?;
//! assert_eq!(answers.len(), 3);
//! # Ok::<(), smore::Error>(())
//! ```
//!
//! # For those who work on it
//!
//! Data flows through the modules of `engine` in this order; each one's own page (`cargo doc --document-hidden-items`, or the
//! head of its `mod.rs`) is a map of its files.
//!
//! | module | step |
//! | --- | --- |
//! | `dataset` | triple files of many layouts -> entities, relations, splits, labels |
//! | `storage` | checked, memory-mapped, atomically written files |
//! | `graph` | the graph file and its compressed sparse rows |
//! | `query` | structures, queries, their text, the batch plan, the exact executor |
//! | `sampler` | training queries and verified negatives, by bidirectional rejection sampling |
//! | `pipeline` | worker threads that keep a bounded queue of ready batches |
//! | `program` | a step as a list of operations, with gradients and memory derived from it |
//! | `backend` | does operations: one trait, a twin per device |
//! | `model` | embedding geometries, as formulas of operations |
//! | `train` | the loop, losses, optimizers, the run folder |
//! | `inference` | answers by reasoning over single links, exactly or along a beam |
//! | `eval` | filtered ranks, metrics, query sets, link prediction |
//! | `report` | runs as an HTML page |
//! | `api` | what other programs call |
//! | `cli` | arguments -> one library call -> printing |
//!
//! `ids`, `error`, `math`, `rng`, `config`, `process`, `progress` and `table` are used throughout.

/// The engine itself, for this package's tests and benchmarks: it may change with any version.
#[doc(hidden)]
#[path = "."]
pub mod engine {
    pub mod api;
    pub mod backend;
    #[cfg(feature = "cli")]
    pub mod cli;
    pub mod config;
    pub mod dataset;
    pub mod error;
    pub mod eval;
    pub mod graph;
    pub mod ids;
    pub mod inference;
    pub mod math;
    pub mod model;
    pub mod pipeline;
    pub mod process;
    pub mod program;
    pub mod progress;
    pub mod query;
    pub mod report;
    pub mod rng;
    pub mod sampler;
    pub mod storage;
    pub mod table;
    pub mod train;
}

use engine::*;

pub use api::{Dataset, Device, Drawn, Event, Run, Sampler, SavedRun};
pub use error::{Error, Result};
pub use eval::Report;
pub use eval::answers::{Answer, AnswerStatus};
pub use eval::ask::{Show, Wanted};
pub use eval::why::{Link, Reason, Why};
pub use graph::{KnowledgeGraph as Graph, Split};
pub use ids::{EntityId, RelationId, Triple};
pub use query::Query;
