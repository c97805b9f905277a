//! Training: a step on a batch, the loop around it, and the folder that a run leaves.
//!
//! Reading order: [`objective`] (what is learnt from: each writes down its step as a program), `update` (the end of every
//! step), [`step`] (a program with the tables that it trains), `losses` (what steps cost, read later), [`learner`] (a step
//! with its batches), `mix` (which structures a graph has), [`plan`] (what a run is going to do and how much memory it takes, before anything is allocated),
//! [`folder`] (files of a run), [`manifest`] (what they were when the run wrote them), [`info`] (`run.json`), [`log`] (its
//! lines of numbers) and [`events`] (the same for TensorBoard), [`watch`] (losses that diverge), [`checkpoint`] (saved
//! models and states), [`row_file`] (entity rows in a mapped file; [`row_sums`]: their checksums), [`tables`] (all rows of
//! a run, wherever they live), [`pace`] (its clocks), `valid` (evaluations while it goes on), [`monitor`] (what they
//! decide), [`observer`] (the observer of a run), [`run`] (the loop), [`evaluate`] (a saved run's model and its results), [`inference`]
//! (how its queries are answered), [`calibration`] (how probable the answers are;
//! [`calibrate`]: learnt), [`examples`] (how a few queries are answered).

pub mod calibrate;
pub mod calibration;
pub mod checkpoint;
pub mod evaluate;
pub mod events;
pub mod examples;
pub mod folder;
pub mod inference;
pub mod info;
pub mod learner;
pub mod log;
mod losses;
pub mod manifest;
pub mod mix;
pub mod monitor;
pub mod objective;
pub mod observer;
pub mod pace;
pub mod plan;
pub mod row_file;
pub mod row_sums;
pub mod run;
pub mod step;
pub mod tables;
mod update;
mod valid;
pub mod watch;

pub use folder::{Changes, RunFolder};
pub use learner::Learner;
pub use objective::TrainingBatch;
pub use observer::Observer;
pub use pace::TrainingProgress;
pub use plan::RunPlan;
pub use row_file::RowFile;
pub use run::Run;
pub use step::Step;
