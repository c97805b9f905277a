//! From the sampler to the trainer: the workers that fill batches ahead.
//!
//! Reading order: [`lane`] (a thread that makes batches and the channels to it), [`workers`] (several that draw batches of
//! queries, handed over in order), [`single`] (one that goes through edges or pairs).

pub mod lane;
pub mod single;
pub mod workers;

pub use single::SinglePipeline;
pub use workers::{GraphSource, Pipeline, PipelineOptions};
