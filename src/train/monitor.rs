//! What evaluations on valid decide: which model is kept, when the learning rate falls, when training ends.

use crate::config::{Schedule, TrainingConfig};
use crate::table::{count, counted};
use serde::{Deserialize, Serialize};

/// The evaluations of a run so far; part of a saved state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Monitor {
    /// Best mean MRR on valid so far, where there has been an evaluation.
    pub best_valid_mrr: Option<f64>,
    /// Evaluations on valid since then.
    #[serde(default)]
    pub evaluations_since_best: u64,
    /// How often the learning rate has fallen because valid had not become better.
    #[serde(default)]
    pub plateaus: u32,
    /// Evaluations on valid since the best, or since the rate has fallen.
    #[serde(default)]
    pub evaluations_on_plateau: u64,
}

/// What follows from an evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The model is the best so far.
    pub best: bool,
    /// The learning rate falls.
    pub falls: bool,
}

impl Monitor {
    /// Adds an evaluation with this mean MRR, `None` where there was nothing to rank: then every model is the best.
    pub fn add(&mut self, mean_mrr: Option<f64>, training: &TrainingConfig) -> Decision {
        let best = match (mean_mrr, self.best_valid_mrr) {
            (Some(mean), Some(best)) => mean > best,
            _ => true,
        };
        if best {
            self.best_valid_mrr = mean_mrr;
        }
        self.evaluations_since_best = if best { 0 } else { self.evaluations_since_best + 1 };
        self.evaluations_on_plateau = if best { 0 } else { self.evaluations_on_plateau + 1 };
        let falls = training.schedule == Schedule::Plateau
            && self.evaluations_on_plateau >= training.plateau_patience;
        if falls {
            self.plateaus += 1;
            self.evaluations_on_plateau = 0;
        }
        Decision { best, falls }
    }

    /// Whether training ends because valid has not become better for too long.
    pub fn gives_up(&self, training: &TrainingConfig) -> bool {
        training.patience > 0 && self.evaluations_since_best >= training.patience
    }

    /// Why it did, after this step.
    pub fn why_given_up(&self, training: &TrainingConfig, step: u64) -> String {
        format!(
            "training ended early, after step {}: valid has not become better in the last {} \
             (training.patience = {})",
            count(step),
            counted(self.evaluations_since_best, "evaluation", "evaluations"),
            training.patience
        )
    }
}

/// The loss of a run so far, smoothed: the mean of all steps, where a step weighs 1/32 less than the one after it.
///
/// It goes from step to step and is part of a saved state, so an interruption does not change what it says.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossWatch {
    /// Loss of the first step.
    pub first: f64,
    /// Smoothed loss.
    pub mean: f64,
    /// The smallest that it has been.
    pub best: f64,
}

impl LossWatch {
    /// Adds the next step's loss, a finite number.
    pub fn add(watch: &mut Option<LossWatch>, loss: f64) {
        let this = watch.get_or_insert(LossWatch { first: loss, mean: loss, best: loss });
        this.mean += (loss - this.mean) / 32.0;
        this.best = this.best.min(this.mean);
    }

    /// Whether the smoothed loss is more than `factor` times its best and above the first step's. Never, where
    /// `factor` is 0.
    ///
    /// The best alone would not do: a loss of .0001 that becomes one of .002 has not diverged.
    pub fn diverges(&self, factor: f64) -> bool {
        factor > 0.0 && self.mean > factor * self.best && self.mean > self.first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(losses: impl IntoIterator<Item = f64>) -> LossWatch {
        let mut watch = None;
        losses.into_iter().for_each(|loss| LossWatch::add(&mut watch, loss));
        watch.unwrap()
    }

    #[test]
    fn a_loss_far_above_its_best_and_above_its_start_diverges() {
        let falling = || (0..500).map(|step| 5.0 * (-0.01 * f64::from(step)).exp());
        assert!(!watch(falling()).diverges(10.0));
        assert!(!watch(falling().chain([6.0])).diverges(10.0), "one bad batch is none");
        assert!(watch(falling().chain([60.0; 200])).diverges(10.0));
        assert!(!watch(falling().chain([60.0; 200])).diverges(0.0), "0 is never");
        assert!(!watch(falling().chain([4.9; 1000])).diverges(10.0), "it is back where it began");
        assert!(watch([1.0].into_iter().chain([1e6; 2])).diverges(10.0));
    }

    #[test]
    fn the_best_model_is_the_first_of_those_with_the_highest_mean() {
        let mut monitor = Monitor::default();
        let training = TrainingConfig::default();
        let best: Vec<bool> =
            [0.1, 0.3, 0.3, 0.2, 0.31].map(|mrr| monitor.add(Some(mrr), &training).best).to_vec();
        assert_eq!(best, [true, true, false, false, true]);
        assert_eq!((monitor.best_valid_mrr, monitor.evaluations_since_best), (Some(0.31), 0));
    }

    #[test]
    fn where_there_is_nothing_to_rank_every_model_is_kept_and_training_goes_on() {
        let mut monitor = Monitor::default();
        let training = TrainingConfig {
            patience: 1,
            schedule: Schedule::Plateau,
            plateau_patience: 1,
            ..Default::default()
        };
        for _ in 0..3 {
            assert_eq!(monitor.add(None, &training), Decision { best: true, falls: false });
            assert!(!monitor.gives_up(&training));
        }
        assert_eq!(monitor.best_valid_mrr, None);
    }

    #[test]
    fn training_ends_after_as_many_evaluations_without_a_better_one_as_its_patience() {
        let mut monitor = Monitor::default();
        let training = TrainingConfig { patience: 2, ..Default::default() };
        let given_up: Vec<bool> = [0.5, 0.4, 0.6, 0.5, 0.6]
            .map(|mrr| {
                monitor.add(Some(mrr), &training);
                monitor.gives_up(&training)
            })
            .to_vec();
        assert_eq!(given_up, [false, false, false, false, true]);
        assert!(!monitor.gives_up(&TrainingConfig { patience: 0, ..training.clone() }), "0 is for ever");
        assert_eq!(
            monitor.why_given_up(&training, 1_234),
            "training ended early, after step 1,234: valid has not become better in the last 2 evaluations \
             (training.patience = 2)"
        );
    }

    #[test]
    fn the_rate_falls_on_a_plateau_and_again_after_as_many_evaluations() {
        let mut monitor = Monitor::default();
        let training =
            TrainingConfig { schedule: Schedule::Plateau, plateau_patience: 2, ..Default::default() };
        let falls: Vec<bool> =
            [0.5, 0.4, 0.4, 0.4, 0.4, 0.6, 0.1].map(|mrr| monitor.add(Some(mrr), &training).falls).to_vec();
        assert_eq!(falls, [false, false, true, false, true, false, false]);
        assert_eq!(monitor.plateaus, 2);
        let other = TrainingConfig { schedule: Schedule::Linear, ..training };
        assert!((0..5).all(|_| !monitor.add(Some(0.0), &other).falls));
    }
}
