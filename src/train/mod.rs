//! Training: a step on a batch, the loop around it, and the folder that a run leaves.
//!
//! Reading order: [`step`] (one batch: gather, forward, loss, backward, optimizers), [`plan`] (what a
//! run is going to do and how much memory it takes, before anything is allocated), [`folder`] (files of
//! a run), [`checkpoint`] (saved models and states), [`run`] (the loop).

pub mod checkpoint;
pub mod folder;
pub mod plan;
pub mod run;
pub mod step;

pub use folder::RunFolder;
pub use plan::RunPlan;
pub use run::{Observer, Progress, Run};
pub use step::Trainer;
