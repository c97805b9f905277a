//! What a run tells while it goes on.

use super::pace::Progress;
use super::plan::RunPlan;
use crate::progress;
use std::path::Path;

/// Who is told. All methods may do nothing.
pub trait Observer {
    /// Before anything is allocated.
    fn plan(&mut self, plan: &RunPlan, folder: &Path) {
        let _ = (plan, folder);
    }
    /// A few times a second.
    fn progress(&mut self, progress: &Progress) {
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
    /// Who is told how far evaluations and the preparation of queries are.
    fn work(&self) -> progress::Progress {
        progress::Progress::default()
    }
}
