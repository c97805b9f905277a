//! Numbers as HTML tables.

use super::escape;
use std::fmt::Write;

/// A table of words in the first column and numbers in the others. Cells are HTML.
#[derive(Clone, Debug, Default)]
pub struct Table {
    head: Vec<String>,
    rows: Vec<(bool, Vec<String>)>,
}

impl Table {
    /// A table with these columns.
    pub fn new(head: impl IntoIterator<Item = String>) -> Self {
        Table { head: head.into_iter().collect(), rows: Vec::new() }
    }

    /// Adds a row with one cell per column; `strong` where it sums others up.
    pub fn row(&mut self, strong: bool, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.head.len());
        self.rows.push((strong, cells));
    }

    /// The table, in a box that scrolls sideways where the screen is narrow.
    pub fn html(&self) -> String {
        let mut out = String::from("<div class=\"scroll\"><table><thead><tr>");
        for head in &self.head {
            let _ = write!(out, "<th scope=\"col\">{head}</th>");
        }
        out += "</tr></thead><tbody>";
        for (strong, cells) in &self.rows {
            out += if *strong { "<tr class=\"strong\">" } else { "<tr>" };
            for (index, cell) in cells.iter().enumerate() {
                let _ = match index {
                    0 => write!(out, "<th scope=\"row\">{cell}</th>"),
                    _ => write!(out, "<td>{cell}</td>"),
                };
            }
            out += "</tr>";
        }
        out + "</tbody></table></div>"
    }
}

/// Pairs of what and how much, as a list.
pub fn pairs(rows: &[(String, String)]) -> String {
    let mut out = String::from("<dl>");
    for (what, value) in rows {
        let _ = write!(out, "<div><dt>{}</dt><dd>{}</dd></div>", escape(what), escape(value));
    }
    out + "</dl>"
}

/// A share of 1 in percent, as the literature prints it; a dash where there is none.
pub fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "–".into(), |share| format!("{:.1}", 100.0 * share))
}

/// A share of 1 as a bar of colour `colour`, with a mark where the baseline is.
pub fn bar(share: f64, baseline: Option<f64>, colour: usize) -> String {
    let width = |share: f64| (100.0 * share).clamp(0.0, 100.0);
    let mark = baseline
        .map_or_else(String::new, |baseline| format!("<i style=\"left:{:.1}%\"></i>", width(baseline)));
    format!(
        "<span class=\"bar\"><b class=\"c{colour}\" style=\"width:{:.1}%\"></b>{mark}</span>{}",
        width(share),
        below(share, baseline)
    )
}

/// A mark where a share is below the baseline's.
pub fn below(share: f64, baseline: Option<f64>) -> &'static str {
    match baseline {
        Some(baseline) if share < baseline => {
            " <em class=\"below\" title=\"below the frequency baseline\">▾</em>"
        }
        _ => "",
    }
}
