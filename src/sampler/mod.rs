//! Training queries and verified negatives, by bidirectional rejection sampling.
//!
//! Reading order: [`draw`] (the sampler: what is drawn, what a batch is promised), [`mod@instantiate`] (one
//! query, drawn backward from its answer), [`popularity`] (how answers and negatives are drawn), [`reject`] (why a draw is thrown away), `cut` (where the
//! forward and the backward walk meet), `frontier` (the forward walk), `negatives` (the pool, indexed
//! once per batch), `verify` (the backward walk from the pool's candidates), and the sets underneath:
//! [`sorted`], [`entity_set`].

mod cut;
pub mod draw;
pub mod entity_set;
mod frontier;
pub mod instantiate;
mod negatives;
pub mod popularity;
pub mod reject;
pub mod sorted;
mod verify;

pub use draw::{Sampler, SamplerOptions, StructureStats, Verification};
pub use entity_set::EntitySet;
pub use instantiate::instantiate;
pub use popularity::Popularity;
pub use reject::{Rejection, Rejections};
