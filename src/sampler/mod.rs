//! Training queries and verified negatives, by bidirectional rejection sampling.
//!
//! Reading order: [`batch`] (what is handed on), [`options`] (what is asked for), [`bidirectional`] (the sampler: what is drawn, what a batch is promised), [`instantiate`](mod@instantiate) (one
//! query, drawn backward from its answer, for training and for evaluation), `branches` (those of it that are known so far), [`direction`] (over which relations), [`epoch`] (every edge in turn, instead), [`popularity`] (how answers and negatives are drawn), [`reject`] (why a draw is thrown away), `cut` (where the
//! forward and the backward walk meet), `frontier` (the forward walk), `negatives` (a pool, indexed
//! once per batch where it is shared), `verify` (the backward walk from the pool's candidates), `work` (how much was read), `prefetch`
//! (what will be), [`one_vs_all`] (batches of pairs against all entities), and the sets underneath: [`sorted`], [`entity_set`].

pub mod batch;
pub mod bidirectional;
mod branches;
mod cut;
pub mod direction;
pub mod entity_set;
pub mod epoch;
mod frontier;
pub mod instantiate;
mod negatives;
pub mod one_vs_all;
pub mod options;
pub mod popularity;
mod prefetch;
pub mod reject;
pub mod sorted;
mod verify;
mod work;

/// What a batch's ids out of range mean.
pub(crate) const CHANGED: &str =
    "the graph's file was changed while it is used: its ids are out of range; import it again";

pub use batch::{Batch, Groups, OneVsAllBatch};
pub use bidirectional::{Prepared, Sampler};
pub use branches::Branches;
pub use direction::Direction;
pub use entity_set::EntitySet;
pub use instantiate::instantiate;
pub use negatives::Pooling;
pub use one_vs_all::{OneVsAllOptions, OneVsAllSampler, Unit};
pub use options::{SamplerOptions, Source, StructureStats, Verification};
pub use popularity::Popularity;
pub use reject::{Rejection, Rejections};
