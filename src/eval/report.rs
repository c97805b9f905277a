//! The results as tables for people and one JSON document for programs.

use super::link_prediction::LinkPrediction;
use super::metrics::{Metrics, PROTOCOL};
use super::multi_hop::MultiHop;
use super::reasoned::Ties;
use crate::inference::{Options, RowStats};
#[cfg(feature = "cli")]
use crate::table::{Table, count};
use serde::Serialize;
use std::collections::BTreeMap;

/// Everything that one evaluation found out. Serialises to the document of `eval --json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The evaluated split.
    pub split: &'static str,
    /// What was scored.
    pub scorer: String,
    /// Single-hop link prediction.
    pub link_prediction: Option<LinkPrediction>,
    /// Metrics by structure.
    pub multi_hop: MultiHop,
    /// Means over structures.
    pub average: Averages,
    /// The same for the frequency baseline, on the same queries.
    pub baseline: Option<Baseline>,
    /// How queries were answered, where not by the model's embeddings of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inference: Option<Inferred>,
    /// How the numbers come about.
    pub protocol: &'static str,
    /// What else the user should know, for example structures with few queries.
    pub notes: Vec<String>,
}

/// A row of the table: name, metrics, those over one link and over full inference, the baseline's.
#[cfg(feature = "cli")]
type Row = (String, Metrics, [Option<Metrics>; 2], Option<Metrics>);

/// The baseline's part of a [`Report`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Baseline {
    /// Single-hop link prediction.
    pub link_prediction: Option<LinkPrediction>,
    /// Metrics by structure.
    pub multi_hop: MultiHop,
}

/// How queries were answered by inference over single links.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inferred {
    /// The engine that answered, and its options.
    #[serde(flatten)]
    pub options: Options,
    /// Answers whose truth did not decide their rank, by structure.
    pub ties: BTreeMap<String, Ties>,
    /// Rows of truth values.
    pub rows: RowStats,
}

/// Unweighted means over structures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Averages {
    /// Over the structures without a negation.
    pub without_negation: Option<Metrics>,
    /// Over the structures with a negation.
    pub with_negation: Option<Metrics>,
}

impl Averages {
    /// The averages of these results.
    pub fn of(results: &MultiHop) -> Self {
        Averages { without_negation: results.average(false), with_negation: results.average(true) }
    }
}

impl Report {
    /// Puts results together.
    pub fn new(
        split: &'static str,
        scorer: String,
        link_prediction: Option<LinkPrediction>,
        multi_hop: MultiHop,
        baseline: Option<Baseline>,
        notes: Vec<String>,
    ) -> Self {
        let average = Averages::of(&multi_hop);
        let inference = None;
        Report {
            split,
            scorer,
            link_prediction,
            multi_hop,
            average,
            baseline,
            inference,
            protocol: PROTOCOL,
            notes,
        }
    }

    /// Rows of the table.
    #[cfg(feature = "cli")]
    fn rows(&self) -> Vec<Row> {
        let baseline = self.baseline.as_ref();
        let mut rows = Vec::new();
        for s in &self.multi_hop.structures {
            let theirs = baseline.and_then(|b| b.multi_hop.get(&s.structure)).map(|s| s.metrics);
            rows.push((s.structure.clone(), s.metrics, [s.one_link, s.full_inference], theirs));
        }
        for (name, negation, metrics) in [
            ("average", false, self.average.without_negation),
            ("average, negation", true, self.average.with_negation),
        ] {
            let theirs = baseline.and_then(|b| b.multi_hop.average(negation));
            rows.extend(metrics.map(|metrics| (name.into(), metrics, [None; 2], theirs)));
        }
        if let Some(link) = &self.link_prediction {
            let theirs = baseline.and_then(|b| b.link_prediction);
            rows.push(("link prediction".into(), link.both, [None; 2], theirs.map(|l| l.both)));
            rows.push(("  heads".into(), link.head, [None; 2], theirs.map(|l| l.head)));
            rows.push(("  tails".into(), link.tail, [None; 2], theirs.map(|l| l.tail)));
        }
        rows
    }

    /// The tables, the protocol and the notes. Metrics are in percent, as the literature prints them.
    #[cfg(feature = "cli")]
    pub fn render(&self) -> String {
        let mut table = Table::new().left("structure");
        for head in ["MRR", "H@1", "H@3", "H@10", "one link", "full inf.", "queries", "answers"] {
            table = table.right(head);
        }
        if self.baseline.is_some() {
            table = table.right("baseline MRR");
        }
        let below = |metrics: &Metrics, theirs: &Option<Metrics>| theirs.is_some_and(|b| metrics.mrr < b.mrr);
        let any_below = self.rows().iter().any(|(_, metrics, _, theirs)| below(metrics, theirs));
        if any_below {
            table = table.left("");
        }
        // Of nothing there is no mean.
        let percent = |x: f64, of: &Metrics| match of.num_queries {
            0 => "-".into(),
            _ => format!("{:.1}", 100.0 * x),
        };
        for (name, metrics, parts, theirs) in self.rows() {
            let mut row = vec![name];
            let each = [metrics.mrr, metrics.hits_at_1, metrics.hits_at_3, metrics.hits_at_10];
            row.extend(each.map(|x| percent(x, &metrics)));
            row.extend(parts.map(|part| part.map_or("-".into(), |m| percent(m.mrr, &m))));
            row.extend([metrics.num_queries, metrics.num_answers].map(count));
            if self.baseline.is_some() {
                row.push(theirs.map_or("-".into(), |b| percent(b.mrr, &b)));
            }
            if any_below {
                row.push(if below(&metrics, &theirs) { "*".into() } else { String::new() });
            }
            table.row(row);
        }
        let protocol = self.protocol.replace("; ", "\n");
        let legend = if any_below { "* MRR below the frequency baseline's\n" } else { "" };
        let mut text =
            format!("{} on {}, in percent\n\n{table}{legend}\n{protocol}\n", self.scorer, self.split);
        for note in &self.notes {
            text.push_str(&format!("note: {note}\n"));
        }
        text
    }
}
