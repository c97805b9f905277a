//! Evaluation: filtered ranks, metrics, query sets, link prediction, and the answers of one query.
//!
//! Reading order: [`ranks`] (what a rank is), [`metrics`] (what is averaged over what), [`scorer`] (what
//! a model must do to be evaluated), [`model_scorer`] (trained models; `model_links`: what they say of links and entities; `compared`: entities made ready once), [`reasoned`] (inference over single links), [`baseline`] (the scorer to beat),
//! [`group`] (queries of one structure with their answers), [`held_out`] (one query that passes a held-out
//! edge), [`queries`] (a whole set of them), [`cache`] (the set on disk), [`export`] (the set as JSON
//! lines), [`export_pickle`] (as the files of KGReasoning and SMORE), [`import`] and `import_pickle` (a set from any of these),
//! [`multi_hop`] and [`link_prediction`] (a scorer and queries -> metrics), [`report`] (tables and JSON),
//! [`answers`] (scores of one query -> ranked answers), [`calibration`] (probabilities and conformal sets; [`calibrate`]: learnt from queries), [`why`] (their witnesses, with names), [`ask`] (many queries at once).

pub mod answers;
pub mod ask;
pub mod baseline;
pub mod cache;
pub mod calibrate;
pub mod calibration;
mod compared;
pub mod export;
pub mod export_pickle;
pub mod group;
pub mod held_out;
pub mod import;
mod import_pickle;
pub mod link_prediction;
pub mod metrics;
mod model_links;
pub mod model_scorer;
pub mod multi_hop;
pub mod queries;
pub mod ranks;
pub mod reasoned;
pub mod report;
pub mod scorer;
pub mod why;

pub use answers::{Answer, AnswerStatus};
pub use baseline::FrequencyBaseline;
pub use group::QueryGroup;
pub use link_prediction::LinkPrediction;
pub use metrics::Metrics;
pub use model_scorer::ModelScorer;
pub use multi_hop::MultiHop;
pub use queries::{QueryOptions, QuerySet};
pub use ranks::{RankCounts, count_ranks};
pub use reasoned::Reasoned;
pub use report::Report;
pub use scorer::{Interruptible, QueryBlock, Scorer};
pub use why::Why;
