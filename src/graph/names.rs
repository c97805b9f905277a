//! Names and labels of entities or relations: both ways, several languages, "did you mean".

use super::layout::StringRanges;
use super::string_table::{StringTable, StringTableBuf};
use std::sync::LazyLock;

/// Where the names and labels of one subject lie in a graph file.
#[derive(Clone, Debug)]
pub struct NamesRanges {
    /// The unique names.
    pub names: StringRanges,
    /// Labels by language; `None` where a language labels only the other subject.
    pub labels: Vec<(String, Option<StringRanges>)>,
}

/// A texts table per language.
type Labels<'a> = Vec<(&'a str, StringTable<'a>)>;

/// Names (unique, one for every id) and labels (human-readable, optional, per language).
///
/// Making one costs O(languages), looking up is as [`StringTable`] says.
#[derive(Clone, Debug)]
pub struct Names<'a> {
    names: StringTable<'a>,
    /// The preferred language first, then English, then the others.
    labels: Labels<'a>,
}

/// Texts that one "did you mean" compares one by one at most, per table.
const MAX_COMPARED: usize = 1 << 21;

impl<'a> Names<'a> {
    /// Reads the tables, the labels of language `preferred` first. O(languages).
    pub(super) fn read(
        bytes: &'a [u8],
        ranges: &'a NamesRanges,
        preferred: Option<&str>,
    ) -> Result<Self, String> {
        let names = ranges.names.table(bytes)?;
        let mut labels = Labels::new();
        for (language, table) in &ranges.labels {
            if let Some(table) = table {
                labels.push((language, table.table(bytes)?));
            }
        }
        labels.sort_by_key(|(language, _)| (Some(*language) != preferred, *language != "en"));
        Ok(Names { names, labels })
    }

    /// No names at all.
    pub(super) fn none() -> Names<'static> {
        static NONE: LazyLock<StringTableBuf> = LazyLock::new(|| StringTableBuf::dense([]));
        Names::new(NONE.view())
    }

    /// Names without labels, for graphs in memory.
    pub fn new(names: StringTable<'a>) -> Self {
        Names { names, labels: Labels::new() }
    }

    /// Number of ids.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is no id.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The name of `id`; a replacement character where there is no such id.
    pub fn name(&self, id: u32) -> String {
        self.names.text(id as usize)
    }

    /// The id whose name is exactly `name`.
    pub fn find(&self, name: &str) -> Option<u32> {
        self.names.find(name).next()
    }

    /// The label of `id`: in the preferred language, else in English, else in any; `None` where it has
    /// none.
    pub fn label(&self, id: u32) -> Option<String> {
        self.labels.iter().find_map(|(_, table)| table.get(id))
    }

    /// The label of `id`, its name where it has none.
    pub fn display(&self, id: u32) -> String {
        self.label(id).unwrap_or_else(|| self.name(id))
    }

    /// The ids that have exactly this label in any language, ascending. Labels are not unique.
    pub fn find_label(&self, label: &str) -> Vec<u32> {
        let mut found: Vec<u32> = self.labels.iter().flat_map(|(_, table)| table.find(label)).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Languages that have labels with their numbers of labels; the preferred one first.
    pub fn languages(&self) -> impl Iterator<Item = (&'a str, usize)> {
        self.labels.iter().map(|(language, table)| (*language, table.len()))
    }

    /// Up to `n` names and labels that resemble `text`, the best first: equal but for case, then
    /// containing it, then by Jaro-Winkler similarity (at least 0.75).
    ///
    /// Compares with every text of a table, about a second per few million; of a table of more than two million
    /// texts with the first of them in alphabetical order, and with all that two edits make equal.
    pub fn suggestions(&self, text: &str, n: usize) -> Vec<String> {
        let wanted = text.to_lowercase();
        let mut best: Vec<(f64, String)> = Vec::new();
        let mut compare = |candidate: &str| {
            let score = resemblance(&wanted, &candidate.to_lowercase());
            if score >= 0.75 {
                best.push((score, candidate.to_owned()));
            }
        };
        for table in std::iter::once(&self.names).chain(self.labels.iter().map(|(_, table)| table)) {
            table.for_each(MAX_COMPARED, &mut compare);
            if table.len() > MAX_COMPARED {
                table.near(text).iter().for_each(|near| compare(near));
            }
        }
        best.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        best.dedup_by(|a, b| a.1 == b.1);
        best.into_iter().take(n).map(|(_, candidate)| candidate).collect()
    }
}

/// 3 for equal texts, above 1 where one word-like text lies in the other, else at most 1.
fn resemblance(wanted: &str, candidate: &str) -> f64 {
    if wanted == candidate {
        return 3.0;
    }
    if wanted.len() >= 3 && candidate.contains(wanted) {
        return 1.0 + wanted.len() as f64 / candidate.len() as f64;
    }
    strsim::jaro_winkler(wanted, candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions_put_case_before_parts_before_typing_errors() {
        let names = StringTableBuf::dense(["Q1", "Q2", "Q3", "Q4"]);
        let labels = StringTableBuf::sparse([(0, "Barack Obama"), (1, "OBAMA"), (2, "Obma"), (3, "Berlin")]);
        let names = Names { names: names.view(), labels: vec![("en", labels.view())] };
        assert_eq!(names.suggestions("obama", 5), ["OBAMA", "Barack Obama", "Obma"]);
        assert_eq!(names.suggestions("obama", 1), ["OBAMA"]);
        assert_eq!(names.suggestions("Berlni", 2), ["Berlin"]);
        assert!(names.suggestions("xyzzy", 3).is_empty());
    }

    #[test]
    fn labels_fall_back_from_language_to_language() {
        let names = StringTableBuf::dense(["a", "b", "c"]);
        let german = StringTableBuf::sparse([(0, "Haus"), (1, "Katze")]);
        let english = StringTableBuf::sparse([(0, "house"), (2, "Katze")]);
        let names =
            Names { names: names.view(), labels: vec![("de", german.view()), ("en", english.view())] };
        assert_eq!(
            (names.label(0), names.label(1), names.label(2)),
            (Some("Haus".into()), Some("Katze".into()), Some("Katze".into()))
        );
        assert_eq!(names.find_label("Katze"), [1, 2]);
        assert_eq!((names.find("b"), names.find("Haus")), (Some(1), None));
    }
}
