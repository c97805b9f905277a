//! Scores of all entities for one query -> the best answers, known or predicted.

use crate::ids::EntityId;
use crate::query::{NameKind, NameLookup};
use crate::table::Table;
use serde::Serialize;

/// Whether an answer is news.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AnswerStatus {
    /// The training graph implies it.
    Known,
    /// The model says so.
    Predicted,
}

/// One ranked answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// Name of the entity.
    pub entity: String,
    /// Its label in the preferred language, where it has one.
    pub label: Option<String>,
    /// The model's score; higher is better.
    pub score: f32,
    /// Whether the training graph implies it.
    pub status: AnswerStatus,
}

/// The `k` entities with the greatest scores, best first, equal scores by id; not-a-number is last.
///
/// O(entities + k log k): a selection, then a sort of what was selected.
pub fn top_k(scores: &[f32], k: usize) -> Vec<EntityId> {
    // total_cmp puts -0 below 0 and NaN above or below all numbers by its sign; ranks do neither.
    let key = |e: &EntityId| {
        let score = scores[e.index()];
        if score.is_nan() { (true, 0.0) } else { (false, -(score + 0.0)) }
    };
    let order = |a: &EntityId, b: &EntityId| {
        let ((a_nan, a_score), (b_nan, b_score)) = (key(a), key(b));
        a_nan.cmp(&b_nan).then(a_score.total_cmp(&b_score)).then(a.cmp(b))
    };
    let mut ids: Vec<EntityId> = (0..scores.len() as u32).map(EntityId).collect();
    if k < ids.len() {
        ids.select_nth_unstable_by(k, order);
        ids.truncate(k);
    }
    ids.sort_unstable_by(order);
    ids
}

/// The `k` best answers with their names. `known` are the exact answers on the training graph, ascending
/// (see [`execute::answers`](crate::query::execute::answers)).
pub fn rank_answers(scores: &[f32], k: usize, known: &[EntityId], names: &impl NameLookup) -> Vec<Answer> {
    let answer = |entity: EntityId| Answer {
        entity: names.name(NameKind::Entity, entity.0),
        label: names.label(NameKind::Entity, entity.0),
        score: scores[entity.index()],
        status: match known.binary_search(&entity) {
            Ok(_) => AnswerStatus::Known,
            Err(_) => AnswerStatus::Predicted,
        },
    };
    top_k(scores, k).into_iter().map(answer).collect()
}

/// The answers as a table. The label column is left out where no answer has one.
pub fn render(answers: &[Answer]) -> String {
    let labels = answers.iter().any(|a| a.label.is_some());
    let mut table = Table::new().right("#").left("entity");
    if labels {
        table = table.left("label");
    }
    table = table.right("score").left("status");
    for (i, answer) in answers.iter().enumerate() {
        let status = match answer.status {
            AnswerStatus::Known => "known",
            AnswerStatus::Predicted => "predicted",
        };
        let mut row = vec![(i + 1).to_string(), answer.entity.clone()];
        row.extend(labels.then(|| answer.label.clone().unwrap_or_default()));
        row.extend([format!("{:.4}", answer.score), status.to_string()]);
        table.row(row);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_scores_come_first_and_not_a_number_last() {
        let scores = [1.0, f32::NAN, 3.0, f32::NEG_INFINITY, 3.0, -f32::NAN, 0.0, -0.0];
        let ids = |k| top_k(&scores, k).into_iter().map(|e| e.0).collect::<Vec<_>>();
        assert_eq!(ids(8), [2, 4, 0, 6, 7, 3, 1, 5]);
        assert_eq!(ids(100), ids(8));
        for k in 0..8 {
            assert_eq!(ids(k), ids(8)[..k]);
        }
    }

    #[test]
    fn answers_serialise_with_their_status_in_lower_case() {
        let answer = Answer { entity: "Q1".into(), label: None, score: 0.5, status: AnswerStatus::Known };
        let json = serde_json::to_string(&answer).unwrap();
        assert_eq!(json, r#"{"entity":"Q1","label":null,"score":0.5,"status":"known"}"#);
        let table = render(&[answer]);
        assert!(table.contains("Q1") && table.contains("known") && !table.contains("label"), "{table}");
    }
}
