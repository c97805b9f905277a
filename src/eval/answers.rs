//! Scores of all entities for one query, block by block -> the best answers, known or predicted.

use super::why::Why;
use crate::ids::EntityId;
use crate::query::{NameKind, NameLookup};
#[cfg(feature = "cli")]
use crate::table::Table;
use serde::{Deserialize, Serialize};

/// Whether an answer is news.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AnswerStatus {
    /// The training graph implies it.
    Known,
    /// The model says so.
    Predicted,
}

/// One ranked answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Name of the entity.
    pub entity: String,
    /// Its label in the preferred language, where it has one.
    pub label: Option<String>,
    /// The model's score, or by inference the truth from 0 to 1; higher is better.
    pub score: f32,
    /// Whether the training graph implies it.
    pub status: AnswerStatus,
    /// How probable it is, where that was calibrated; `None` for known answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// What makes it true, where that was asked for; `None` for an answer without a binding above the threshold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Why>,
}

/// The `k` entities with the greatest scores among those seen so far, best first, equal scores by id; not-a-number is
/// last. Memory is that of `k` and of a block, not of all entities.
#[derive(Clone, Debug)]
pub struct Best {
    k: usize,
    kept: Vec<(EntityId, f32)>,
}

impl Best {
    /// Nothing seen yet.
    pub fn new(k: usize) -> Self {
        Best { k, kept: Vec::new() }
    }

    /// Sees the scores of a block of entities. O(block + k).
    pub fn see(&mut self, scores: impl Iterator<Item = (EntityId, f32)>) {
        self.kept.extend(scores);
        if self.k < self.kept.len() {
            self.kept.select_nth_unstable_by(self.k, order);
            self.kept.truncate(self.k);
        }
    }

    /// The best ones.
    pub fn finish(mut self) -> Vec<(EntityId, f32)> {
        self.kept.sort_unstable_by(order);
        self.kept
    }
}

/// Better ones first. total_cmp puts -0 below 0 and NaN above or below all numbers by its sign; ranks do neither.
fn order(a: &(EntityId, f32), b: &(EntityId, f32)) -> std::cmp::Ordering {
    let key = |score: f32| if score.is_nan() { (true, 0.0) } else { (false, -(score + 0.0)) };
    let ((a_nan, a_score), (b_nan, b_score)) = (key(a.1), key(b.1));
    a_nan.cmp(&b_nan).then(a_score.total_cmp(&b_score)).then(a.0.cmp(&b.0))
}

/// The best answers with their names. `known` are the exact answers on the training graph, ascending
/// (see [`execute::answers`](crate::query::execute::answers)).
pub fn with_names(best: Vec<(EntityId, f32)>, known: &[EntityId], names: &impl NameLookup) -> Vec<Answer> {
    let answer = |(entity, score): (EntityId, f32)| {
        let status = match known.binary_search(&entity) {
            Ok(_) => AnswerStatus::Known,
            Err(_) => AnswerStatus::Predicted,
        };
        Answer::new(NameKind::Entity, entity.0, score, status, names)
    };
    best.into_iter().map(answer).collect()
}

impl Answer {
    /// An entity, or a relation, with its names; without a probability or a reason.
    pub fn new(kind: NameKind, id: u32, score: f32, status: AnswerStatus, names: &impl NameLookup) -> Self {
        let (entity, label) = (names.name(kind, id), names.label(kind, id));
        Answer { entity, label, score, status, probability: None, why: None }
    }
}

impl AnswerStatus {
    /// The word.
    pub fn name(self) -> &'static str {
        match self {
            AnswerStatus::Known => "known",
            AnswerStatus::Predicted => "predicted",
        }
    }
}

/// The answers as a table, under the head `what` they are, with `why` the links of their witnesses in rows below them. The label column is left out where no answer has one.
#[cfg(feature = "cli")]
pub fn render(what: &str, answers: &[Answer], why: bool) -> String {
    let labels = answers.iter().any(|a| a.label.is_some());
    let mut table = Table::new().right("#").left(what);
    if labels {
        table = table.left("label");
    }
    table = table.right("score");
    let probabilities = answers.iter().any(|a| a.probability.is_some());
    if probabilities {
        table = table.right("probability");
    }
    table = table.left("status");
    if why {
        table = table.left("because").left("link");
    }
    for (i, answer) in answers.iter().enumerate() {
        let mut row = vec![(i + 1).to_string(), answer.entity.clone()];
        row.extend(labels.then(|| answer.label.clone().unwrap_or_default()));
        row.push(format!("{:.4}", answer.score));
        row.extend(probabilities.then(|| answer.probability.map_or("-".into(), |p| format!("{p:.3}"))));
        row.push(answer.status.name().to_string());
        if !why {
            table.row(row);
            continue;
        }
        let mut links = answer.why.iter().flat_map(Why::links).peekable();
        if links.peek().is_none() {
            let what = if answer.why.is_none() { "no binding above the threshold" } else { "" };
            table.row(row.iter().cloned().chain([what.into(), String::new()]));
        }
        for link in links {
            table.row(row.iter().cloned().chain(link));
            row.iter_mut().for_each(String::clear);
        }
    }
    table.to_string()
}

/// Each answer with the tree of its witness.
#[cfg(feature = "cli")]
pub fn render_trees(answers: &[Answer]) -> String {
    let width = answers.len().to_string().len();
    let one = |(i, answer): (usize, &Answer)| {
        let shown = answer.label.as_deref().unwrap_or(&answer.entity);
        let indent = " ".repeat(width + 2);
        let tree = match &answer.why {
            Some(why) => why.tree(&indent),
            None => format!("{indent}└ no binding above the threshold\n"),
        };
        let probability = answer.probability.map(|p| format!(", probability {p:.3}")).unwrap_or_default();
        format!(
            "{:>width$}  {shown}  {:.4}  {}{probability}\n{tree}",
            i + 1,
            answer.score,
            answer.status.name()
        )
    };
    answers.iter().enumerate().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_scores_come_first_and_not_a_number_last() {
        let scores = [1.0, f32::NAN, 3.0, f32::NEG_INFINITY, 3.0, -f32::NAN, 0.0, -0.0];
        let ids = |k, block| {
            let mut best = Best::new(k);
            for (i, scores) in scores.chunks(block).enumerate() {
                best.see((i as u32 * block as u32..).map(EntityId).zip(scores.iter().copied()));
            }
            best.finish().into_iter().map(|(e, _)| e.0).collect::<Vec<_>>()
        };
        assert_eq!(ids(8, 8), [2, 4, 0, 6, 7, 3, 1, 5]);
        assert_eq!(ids(100, 8), ids(8, 8));
        for (k, block) in (0..9).flat_map(|k| [1, 3, 8].map(|block| (k, block))) {
            assert_eq!(ids(k, block), ids(8, 8)[..k]);
        }
    }

    #[cfg(feature = "cli")]
    #[test]
    fn answers_serialise_with_their_status_in_lower_case() {
        let answer = Answer {
            entity: "Q1".into(),
            label: None,
            score: 0.5,
            status: AnswerStatus::Known,
            probability: None,
            why: None,
        };
        let json = serde_json::to_string(&answer).unwrap();
        assert_eq!(json, r#"{"entity":"Q1","label":null,"score":0.5,"status":"known"}"#);
        let table = render("entity", &[answer], false);
        assert!(table.contains("Q1") && table.contains("known") && !table.contains("label"), "{table}");
    }
}
