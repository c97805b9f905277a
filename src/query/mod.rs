//! Queries: one tree type with three fillings, its text, its exact answers, its batch plan.
//!
//! Reading order: [`tree`] (the algebra), [`structure`] (the 14 named structures and mixes of them),
//! [`parse`], [`nested`], [`print`](mod@print) and [`ground`](mod@ground) (text, tuples, names and ids), [`execute`] (exact
//! answers by set operations, the oracle of every other part), [`proof`] (how many edges of an answer's best proof are
//! missing), [`plan`] (a mix of structures compiled to
//! operators for the trainer), `trained` (what of a query no training edge has).

pub mod execute;
pub mod ground;
pub mod nested;
pub mod parse;
pub mod plan;
pub mod print;
pub mod proof;
pub mod structure;
pub mod trained;
pub mod tree;

pub use ground::{NameKind, NameLookup, ground};
pub use parse::{NamedQuery, parse_query, parse_structure, parse_structures};
pub use plan::Plan;
pub use proof::{Proof, proofs};
pub use structure::{Mix, Structure};
pub use tree::{Query, Tree};
