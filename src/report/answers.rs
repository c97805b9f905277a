//! What a model answers, on a page: examples with what makes the answers true, and how far their probabilities hold.

use super::data::RunData;
use super::escape;
use super::plot::COLOURS;
use super::table::Table;
use crate::eval::calibrate::Tested;
use crate::eval::calibration::Reliability;
use crate::eval::why::Why;
use crate::table::counted;
use crate::train::calibration::Entry;
use crate::train::examples::{Example, Examples};
use std::fmt::Write;

/// The examples of a run.
pub(super) fn examples(run: &RunData) -> String {
    let Some(Examples { answered_by, computed, queries }) = &run.examples else { return String::new() };
    let mut out = format!(
        "<section><h2>Validation queries, answered</h2><p class=\"hint\">The best predicted answers, by {}. ✓ is a hard answer: \
         validation edges make it true. {}</p>",
        escape(answered_by),
        match computed {
            true =>
                "Below an answer stand the links that it was found by: observed, or predicted with their truth.",
            false =>
                "Below an answer stand links that support it, by the model's scores of single links; its embedding of the query \
                      found the answer without them.",
        }
    );
    for of_structure in queries.chunk_by(|a, b| a.structure == b.structure) {
        let hits = of_structure.iter().flat_map(|q| &q.answers).filter(|answer| answer.hard).count();
        let _ = write!(
            out,
            "<details><summary>{} <span class=\"hint\">{hits} of {} shown are hard answers</span></summary>",
            escape(&of_structure[0].structure),
            of_structure.iter().map(|q| q.answers.len()).sum::<usize>(),
        );
        of_structure.iter().for_each(|query| out += &example(query));
        out += "</details>";
    }
    out + "</section>"
}

fn example(example: &Example) -> String {
    let mut out = format!(
        "<p><code>{}</code> <span class=\"hint\">{}</span></p><ol class=\"answers\">",
        escape(&example.query),
        counted(example.num_hard as u64, "hard answer", "hard answers")
    );
    for shown in &example.answers {
        let answer = &shown.answer;
        let name = answer.label.as_deref().unwrap_or(&answer.entity);
        let _ = write!(
            out,
            "<li><strong>{}</strong>{} <span class=\"hint\">{:.4}</span>{}</li>",
            escape(name),
            if shown.hard { " ✓" } else { "" },
            answer.score,
            answer.why.as_ref().map(links).unwrap_or_default()
        );
    }
    out + "</ol>"
}

/// The links of a witness, from the anchors on.
fn links(why: &Why) -> String {
    let link = |[link, status]: [String; 2]| {
        format!("<li>{} <span class=\"hint\">{status}</span></li>", escape(&link))
    };
    let links: String = why.links().into_iter().map(link).collect();
    if links.is_empty() { links } else { format!("<ul>{links}</ul>") }
}

/// What validation queries taught about the probabilities of a run's answers, for each way of answering.
pub(super) fn calibrations(run: &RunData) -> String {
    run.calibrations.iter().map(calibration).collect()
}

fn calibration(entry: &Entry) -> String {
    let heads = ["structure", "curve"].into_iter().chain(Tested::HEADS);
    let mut table = Table::new(heads.map(String::from));
    let mut plots = String::new();
    for (name, calibrated) in entry.in_order() {
        let Some(tested) = &calibrated.tested else { continue };
        let mut cells = vec![escape(name), calibrated.curve.method().into()];
        cells.extend(tested.cells());
        table.row(false, cells);
        plots += &format!("<figure>{}</figure>", diagram(name, &tested.reliability));
    }
    if plots.is_empty() {
        return String::new();
    }
    format!(
        "<section><h2>Probabilities of predicted answers, by {}</h2><div class=\"plots small\">{plots}</div>\
         <p class=\"hint\">Reliability on test: of the candidates that are answers with the probability below, the share that are. \
         Learnt on valid; a larger dot is more candidates.</p>{}\
         <p class=\"hint\">In percent, but for sizes. Coverage: how often a set that is to hold an answer with {:.0} % holds it; \
         where valid and test differ, so does it.</p></section>",
        escape(&entry.of.options.describe()),
        table.html(),
        100.0 * entry.coverage()
    )
}

/// A reliability diagram: probability from left to right, share of answers upwards, the diagonal where they agree.
fn diagram(title: &str, reliability: &Reliability) -> String {
    const SIDE: f64 = 130.0;
    const LEFT: f64 = 26.0;
    const TOP: f64 = 22.0;
    let x = |p: f64| LEFT + SIDE * p;
    let y = |p: f64| TOP + SIDE * (1.0 - p);
    let mut out = format!(
        "<svg class=\"plot\" viewBox=\"0 0 {w} {h}\" role=\"img\" aria-label=\"{title}\"><text class=\"title\" x=\"{LEFT}\" y=\"13\">{title}</text>",
        w = LEFT + SIDE + 10.0,
        h = TOP + SIDE + 20.0,
        title = escape(title)
    );
    for (value, text) in [(0.0, "0"), (0.5, ".5"), (1.0, "1")] {
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{}\" x2=\"{}\" y1=\"{}\" y2=\"{}\"/>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{text}</text>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{text}</text>",
            x(0.0),
            x(1.0),
            y(value),
            y(value),
            LEFT - 5.0,
            y(value) + 4.0,
            x(value),
            TOP + SIDE + 14.0
        );
    }
    let _ = write!(
        out,
        "<line class=\"axis\" x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"/>",
        x(0.0),
        y(0.0),
        x(1.0),
        y(1.0)
    );
    let points: Vec<String> =
        reliability.bins.iter().map(|(p, share, _)| format!("{:.1},{:.1}", x(*p), y(*share))).collect();
    let _ = write!(out, "<polyline class=\"c{}\" points=\"{}\"/>", 1 % COLOURS, points.join(" "));
    for (p, share, candidates) in &reliability.bins {
        let radius = 1.5 + (*candidates as f64).log10();
        let _ = write!(
            out,
            "<circle class=\"dot c1\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius:.1}\"><title>probability {p:.3}, share {share:.3}, {}</title></circle>",
            x(*p),
            y(*share),
            counted(*candidates as u64, "candidate", "candidates")
        );
    }
    out + "</svg>"
}
