//! The events of a run.

use super::pace::TrainingProgress;
use super::plan::RunPlan;
use crate::progress;
use std::path::Path;

/// The observer of a run. All methods may do nothing.
pub trait Observer {
    /// Before anything is allocated.
    fn plan(&mut self, plan: &RunPlan, folder: &Path) {
        let _ = (plan, folder);
    }
    /// A few times a second.
    fn progress(&mut self, progress: &TrainingProgress) {
        let _ = progress;
    }
    /// After an evaluation on valid, with the MRR of each part by name; `best` if the model was kept.
    fn valid(&mut self, step: u64, each: &[(String, f64)], mean_mrr: f64, best: bool) {
        let _ = (step, each, mean_mrr, best);
    }
    /// Something that the user should know.
    fn note(&mut self, note: &str) {
        let _ = note;
    }
    /// A stage that takes a while starts.
    fn stage(&mut self, what: &str) {
        let _ = what;
    }
    /// Where the progress of evaluations and of the preparation of queries is reported.
    fn work(&self) -> progress::Progress {
        progress::Progress::default()
    }
}
