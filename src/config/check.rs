//! Ranges that types cannot express.

use super::*;
use crate::backend::Optimizer;
use crate::error::Error;

impl Config {
    /// Ranges that types cannot express.
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
                t.relation_prediction.is_finite()
                    && t.relation_prediction >= 0.0
                    && (all_entities || t.relation_prediction == 0.0),
                "training.relation_prediction must be 0 or more, and 0 with training.objective = queries and negatives",
            ),
            (t.margin.is_finite(), "training.margin must be a finite number"),
            (
                (0.0..=1.0).contains(&t.label_smoothing) && (all_entities || t.label_smoothing == 0.0),
                "training.label_smoothing must be between 0 and 1, and 0 with training.objective = queries and negatives",
            ),
            (
                [m.dropout_entity, m.dropout_relation, m.dropout_features, m.dropout_hidden]
                    .iter()
                    .all(|p| (0.0..1.0).contains(p) && (all_entities || *p == 0.0)),
                "model.dropout_entity, dropout_relation, dropout_features and dropout_hidden must be at least 0 and below \
                 1, and 0 with training.objective = queries and negatives",
            ),
            (
                !m.batch_norm || (m.name == "conve" && all_entities),
                "model.batch_norm is for conve with training.objective = 1vsall or kvsall: leave it out",
            ),
            (
                m.name == "conve" || (m.dropout_features == 0.0 && m.dropout_hidden == 0.0),
                "model.dropout_features and model.dropout_hidden are for conve: leave them out",
            ),
            (
                [m.regularise_entities, m.regularise_relations].iter().all(|w| w.is_finite() && *w >= 0.0),
                "model.regularise_entities and model.regularise_relations must be 0 or more",
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
            (t.steps != Some(0), "training.steps must be at least 1"),
            (t.epochs.is_none_or(|e| e.is_finite() && e > 0.0), "training.epochs must be above 0"),
            (t.learning_rate.is_finite() && t.learning_rate > 0.0, "training.learning_rate must be above 0"),
            ((0.0..=1.0).contains(&t.final_rate), "training.final_rate must be between 0 and 1"),
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
                t.clip_norm.is_finite() && t.clip_norm >= 0.0,
                "training.clip_norm must be above 0, or 0 for no clipping",
            ),
            (
                t.adversarial_temperature.is_finite() && t.adversarial_temperature >= 0.0,
                "training.adversarial_temperature must be 0 or more",
            ),
            (
                t.divergence_factor == 0.0 || (t.divergence_factor.is_finite() && t.divergence_factor > 1.0),
                "training.divergence_factor must be above 1, or 0 for never",
            ),
            (self.model.gamma().is_finite() && self.model.gamma() > -2.0, "model.gamma must be above -2"),
            // Far beyond any use, and small enough that products of them do not overflow.
            (self.model.dim <= 1 << 20, "model.dim must be at most 1,048,576"),
            (
                m.relation_dim.is_none_or(|k| (1..=1 << 20).contains(&k)) && m.filters <= 1 << 20,
                "model.relation_dim must be between 1 and 1,048,576 and model.filters at most 1,048,576",
            ),
            (
                (1..=1 << 20).contains(&self.model.hidden) && self.model.hidden_layers <= 64,
                "model.hidden must be between 1 and 1,048,576 and model.hidden_layers at most 64",
            ),
            (t.batch_size <= 1 << 24, "training.batch_size must be at most 16,777,216"),
            (
                (1..=1 << 24).contains(&self.sampling.negatives),
                "sampling.negatives must be between 1 and 16,777,216",
            ),
            (
                // Rows of a batch are numbered by 32 bits.
                self.sampling.num_negatives(t.batch_size) <= 1 << 31,
                "with sampling.pool = own, training.batch_size times sampling.negatives must be at most 2,147,483,648",
            ),
            (
                self.sampling.answer_exponent.abs() <= 8.0 && self.sampling.negative_exponent.abs() <= 8.0,
                "sampling.answer_exponent and sampling.negative_exponent must be between -8 and 8",
            ),
            (
                self.sampling.workers <= 1024,
                "sampling.workers must be between 1 and 1,024, or 0 for as many as fit",
            ),
            ((1..=65_536).contains(&self.sampling.queue), "sampling.queue must be between 1 and 65,536"),
            (self.evaluation.queries > 0, "evaluation.queries must be at least 1"),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, message)) => Err(Error::invalid(*message)),
            None => Ok(()),
        }
    }
}
