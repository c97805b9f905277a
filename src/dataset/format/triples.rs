//! Delimited triples: `head<TAB>relation<TAB>tail`, or other columns and another delimiter.
//!
//! Names are opaque: nothing is trimmed but the line's end, and `007` is not `7`.

use super::lines::{BadLines, Block, lines};
use crate::error::Result;
use serde::Deserialize;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Column {
    /// The head.
    Head,
    /// The relation.
    Relation,
    /// The tail.
    Tail,
}

/// Order and delimiter of the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TripleFormat {
    /// One ASCII character.
    pub delimiter: u8,
    /// Each column once.
    pub columns: [Column; 3],
}

impl Default for TripleFormat {
    fn default() -> Self {
        TripleFormat { delimiter: b'\t', columns: [Column::Head, Column::Relation, Column::Tail] }
    }
}

impl TripleFormat {
    /// `[head, relation, tail]` of a line's fields.
    fn arrange<'t>(&self, fields: [&'t str; 3]) -> [&'t str; 3] {
        let mut triple = [""; 3];
        for (field, column) in fields.into_iter().zip(self.columns) {
            triple[column as usize] = field;
        }
        triple
    }

    fn delimited(&self) -> String {
        match self.delimiter {
            b'\t' => "tab-separated".into(),
            b',' => "comma-separated".into(),
            b' ' => "blank-separated".into(),
            other => format!("{:?}-separated", char::from(other)),
        }
    }

    /// Checks the fields of a line and puts them in order; `None` where the line is skipped.
    pub(super) fn triple<'t>(
        &self,
        line: u64,
        fields: impl Iterator<Item = &'t str>,
        bad: &mut BadLines,
    ) -> Result<Option<[&'t str; 3]>> {
        let mut found = [""; 3];
        let mut count = 0;
        for field in fields {
            if count < 3 {
                found[count] = field;
            }
            count += 1;
        }
        let message = if count == 1 && found[0].is_empty() {
            format!("expected 3 {} columns, found an empty line", self.delimited())
        } else if count != 3 {
            format!("expected 3 {} columns, found {count}", self.delimited())
        } else if let Some(empty) = found.iter().position(|field| field.is_empty()) {
            format!("expected a name in column {}, found nothing", empty + 1)
        } else {
            return Ok(Some(self.arrange(found)));
        };
        bad.report(line, &message)?;
        Ok(None)
    }
}

/// Calls `take(head, relation, tail)` for each line of `block`.
///
/// A line with another number of columns, an empty name or invalid UTF-8 is bad.
pub fn read(
    block: Block,
    format: TripleFormat,
    bad: &mut BadLines,
    mut take: impl FnMut(&str, &str, &str) -> Result<()>,
) -> Result<()> {
    for (number, line) in lines(block) {
        let Some(text) = bad.text(number, line)? else { continue };
        let fields = text.split(char::from(format.delimiter));
        if let Some([head, relation, tail]) = format.triple(number, fields, bad)? {
            take(head, relation, tail)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn read_all(bytes: &[u8], format: TripleFormat, bad: &mut BadLines) -> Result<Vec<String>> {
        let mut triples = Vec::new();
        read(bytes.into(), format, bad, |h, r, t| {
            triples.push(format!("{h}|{r}|{t}"));
            Ok(())
        })?;
        Ok(triples)
    }

    fn error_of(bytes: &[u8]) -> String {
        let mut bad = BadLines::new(Path::new("train.txt"), false);
        read_all(bytes, TripleFormat::default(), &mut bad).unwrap_err().to_string()
    }

    #[test]
    fn both_line_ends_are_read_and_names_stay_as_they_are() {
        let mut bad = BadLines::new(Path::new("train.txt"), false);
        let triples = read_all(b"007\tr 1\t b\r\n/m/0\tr.s\tc", TripleFormat::default(), &mut bad).unwrap();
        assert_eq!(triples, ["007|r 1| b", "/m/0|r.s|c"]);
    }

    #[test]
    fn columns_and_delimiter_may_differ() {
        let columns = [Column::Head, Column::Tail, Column::Relation];
        let mut bad = BadLines::new(Path::new("train.txt"), false);
        let triples = read_all(b"1 2 0\n", TripleFormat { delimiter: b' ', columns }, &mut bad).unwrap();
        assert_eq!(triples, ["1|0|2"]);
    }

    #[test]
    fn errors_name_file_line_expectation_and_finding() {
        let cases: [(&[u8], &str); 5] = [
            (b"a\tb\tc\na\tb\n", "train.txt:2: expected 3 tab-separated columns, found 2"),
            (b"a\tb\tc\td\n", "train.txt:1: expected 3 tab-separated columns, found 4"),
            (b"a\tb\tc\n\n", "train.txt:2: expected 3 tab-separated columns, found an empty line"),
            (b"a\t\tc\n", "train.txt:1: expected a name in column 2, found nothing"),
            (b"a\tb\t\xc3\n", "train.txt:1: expected UTF-8, found byte 0xc3 at byte 5 of the line"),
        ];
        for (bytes, expected) in cases {
            let error = error_of(bytes);
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn skipped_lines_are_counted_and_the_others_read() {
        let mut bad = BadLines::new(Path::new("train.txt"), true);
        let triples =
            read_all(b"a\tb\nx\ty\tz\n\xff\n\nu\tv\tw\n", TripleFormat::default(), &mut bad).unwrap();
        assert_eq!((triples.len(), bad.skipped), (2, 3));
    }
}
