//! From the sampler to the trainer: batch buffers and the workers that fill them.
//!
//! Reading order: [`batch`] (what travels).

pub mod batch;

pub use batch::{Batch, Groups};
