//! From the sampler to the trainer: batch buffers and the workers that fill them.
//!
//! Reading order: [`batch`] (what travels), [`queue`] (bounded, between two threads that sleep while
//! they wait), [`workers`] (threads that draw batches ahead and hand them over in order), [`single`] (the same for single-hop training).

pub mod batch;
pub mod queue;
pub mod single;
pub mod workers;

pub use batch::{Batch, Groups};
pub use single::{SingleBatch, SinglePipeline};
pub use workers::{GraphSource, Pipeline, PipelineOptions};
