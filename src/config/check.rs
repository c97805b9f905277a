//! What depends on several keys.

use super::*;
use crate::backend::Optimizer;
use crate::error::Error;
use crate::model;

impl Config {
    /// What depends on several keys; what one takes is in `keys`.
    pub(super) fn check(&self) -> Result<()> {
        let (t, m) = (&self.training, &self.model);
        let all_entities = !t.objective.samples();
        let rules = [
            (
                matches!(
                    (t.objective, t.loss()),
                    (Objective::Queries | Objective::Negatives, _)
                        | (Objective::OneVsAll | Objective::KvsAll, Loss::CrossEntropy | Loss::Logistic)
                ),
                "training.loss must be cross-entropy or logistic with training.objective = 1vsall and kvsall; margin needs \
                 sampled negatives: training.objective = queries or negatives",
            ),
            (
                all_entities || t.relation_prediction == 0.0,
                "training.relation_prediction must be 0 with training.objective = queries and negatives",
            ),
            (
                all_entities || t.label_smoothing == 0.0,
                "training.label_smoothing must be 0 with training.objective = queries and negatives",
            ),
            (
                [m.dropout_entity, m.dropout_relation].iter().all(|p| all_entities || *p == 0.0),
                "model.dropout_entity and model.dropout_relation must be 0 with training.objective = queries and negatives",
            ),
            (
                all_entities
                    || m.regularise_by == RegulariseBy::Frequency
                    || self.regulariser() == Regulariser::None,
                "training.objective = queries and negatives change the rows of their batch alone: use model.regularise_by = frequency",
            ),
            (
                t.optimizer == Optimizer::Adam || t.table == TableKind::Memory,
                "rows in a file hold Adam's state: use training.optimizer = adam, or training.table = memory",
            ),
            (
                !all_entities || t.table == TableKind::Memory,
                "training.objective = 1vsall and kvsall change every entity's row in every step: use training.table = memory",
            ),
            (
                t.steps.is_none() || t.epochs.is_none(),
                "give either training.steps or training.epochs, not both",
            ),
            (
                t.schedule != Schedule::Step || t.final_rate > 0.0,
                "training.schedule = step needs a training.final_rate above 0",
            ),
            (
                t.schedule != Schedule::Plateau
                    || (t.plateau_patience > 0 && t.plateau_factor > 0.0 && t.plateau_factor < 1.0),
                "training.schedule = plateau needs a training.plateau_patience of at least 1 and a \
                 training.plateau_factor between 0 and 1",
            ),
            (
                t.divergence_factor == 0.0 || (t.divergence_factor.is_finite() && t.divergence_factor > 1.0),
                "training.divergence_factor must be above 1, or 0 for never",
            ),
            (
                // Rows of a batch are numbered by 32 bits.
                self.sampling.num_negatives(t.batch_size) <= 1 << 31,
                "with sampling.pool = own, training.batch_size times sampling.negatives must be at most 2,147,483,648",
            ),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, message)) => Err(Error::invalid(*message)),
            None => self.check_own(),
        }
    }

    /// Keys that only some models have are given for these, and those that are for single-hop training with it.
    fn check_own(&self) -> Result<()> {
        let (name, single_hop) = (self.model.name.as_str(), !self.training.objective.samples());
        for (key, given) in self.model.given_of_own() {
            let of = |entry: &&model::Entry| entry.own.only_here.contains(&key.as_str());
            let Some(entry) = model::REGISTRY.iter().find(of) else { continue };
            let default = (entry.own.defaults)(&self.model).get(key).cloned();
            if default.as_ref() == Some(given) {
                continue;
            }
            if entry.name != name {
                return Err(Error::invalid(format!(
                    "model.{key} is for {}, and this is {name}: leave it out",
                    entry.name
                )));
            }
            if entry.own.single_hop.contains(&key.as_str()) && !single_hop {
                return Err(Error::invalid(format!(
                    "model.{key} is for {name} with training.objective = 1vsall or kvsall: leave it out"
                )));
            }
        }
        Ok(())
    }
}
