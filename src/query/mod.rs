//! Queries: one tree type with three fillings, its text, its exact answers, its batch plan.
//!
//! Reading order: [`tree`] (the algebra), [`structure`] (the 14 named structures and mixes of them),
//! [`execute`] (exact answers by set operations, the oracle of every other part), [`plan`] (a mix of
//! structures compiled to operators for the trainer).

pub mod execute;
pub mod plan;
pub mod structure;
pub mod tree;

pub use plan::Plan;
pub use structure::{Mix, Structure};
pub use tree::{Query, Tree};
