//! Multi-hop reasoning over knowledge graphs, from triple files to ranked answers.
//!
//! Data flows through the modules in this order; each one's own page is a map of its files.
//!
//! | module | step |
//! | --- | --- |
//! | [`dataset`] | triple files of many layouts -> entities, relations, splits, labels |
//! | [`storage`] | checked, memory-mapped, atomically written files |
//! | [`graph`] | the graph file and its compressed sparse rows |
//! | [`query`] | structures, queries, their text, the batch plan, the exact executor |
//! | [`sampler`] | training queries and verified negatives, by bidirectional rejection sampling |
//! | [`pipeline`] | worker threads that keep a bounded queue of ready batches |
//! | [`program`] | a step as a list of operations, with gradients and memory derived from it |
//! | [`backend`] | the numeric operations, one trait with a twin per device |
//! | [`model`] | embedding geometries, composed from backend operations |
//! | [`train`] | the loop, losses, optimizers, the run folder |
//! | [`eval`] | filtered ranks, metrics, query sets, link prediction |
//! | [`report`] | runs as an HTML page |
//! | [`cli`] | arguments -> one library call -> printing |
//!
//! [`ids`], [`error`], [`rng`], [`config`], [`process`], [`progress`] and [`table`] are used throughout.

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

pub use api::{Dataset, Device, Drawn, Event, Run, Sampler, SavedRun};
pub use error::{Error, Result};
pub use eval::answers::Answer;
pub use eval::ask::Show;
pub use graph::{KnowledgeGraph as Graph, Split};
pub use ids::{EntityId, RelationId, Triple};
pub use query::Query;
