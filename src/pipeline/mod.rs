//! From the sampler to the trainer: batch buffers and the workers that fill them.
//!
//! Reading order: [`batch`] (what travels), [`queue`] (bounded, between two threads that sleep while
//! they wait), [`workers`] (threads that draw batches ahead and hand them over in order).

pub mod batch;
pub mod queue;
pub mod workers;

pub use batch::{Batch, Groups};
pub use workers::{GraphSource, Pipeline, PipelineOptions};
