//! Datasets: from a name, a folder or a graph file to an opened graph.
//!
//! Reading order: [`registry`] (the public datasets we know), [`inventory`] (which files of a folder
//! are what), [`source`] (a file as a decompressed stream; `encoding`: texts as UTF-8), `content` (what a file holds, by how it begins), [`format`](mod@format) (one file per format), [`import`] (files -> graph file; `feed` reads one),
//! [`generate`](mod@generate) (a synthetic graph instead), [`cache`] (where graphs are kept),
//! [`open`](mod@open) (the way from an argument to a graph), [`export`] (a graph as a folder of DGL-KE).
//!
//! CoDEx's entity types are not imported yet.

pub mod cache;
mod content;
mod encoding;
pub mod export;
mod feed;
pub mod format;
pub mod generate;
pub mod import;
pub mod inventory;
pub mod open;
pub mod registry;
pub mod source;

pub use cache::Cache;
pub use import::ImportReport;
pub use open::{OpenOptions, open};
pub use registry::Manifest;
