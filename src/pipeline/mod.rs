//! From the sampler to the trainer: the workers that fill batches ahead.
//!
//! Reading order: [`lane`] (a thread that makes batches and the channels to it), [`workers`] (several that draw batches of
//! queries, handed over in order), [`one_vs_all`] (one that goes through edges or pairs).

pub mod lane;
pub mod one_vs_all;
pub mod workers;

pub use one_vs_all::OneVsAllPipeline;
pub use workers::{GraphSource, Pipeline, PipelineOptions};
