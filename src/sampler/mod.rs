//! Training queries and verified negatives, by bidirectional rejection sampling.
//!
//! Reading order: [`reject`] (why a draw is thrown away), [`instantiate`] (one query, drawn backward
//! from its answer).

pub mod instantiate;
pub mod reject;

pub use instantiate::instantiate;
pub use reject::Rejection;
