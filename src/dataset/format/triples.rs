//! Delimited triples: `head<TAB>relation<TAB>tail`, or other columns and another delimiter.
//!
//! Names are opaque: `007` is not `7`, and between tabs nothing is trimmed but the line's end. Blanks around commas and the
//! like do not belong to names; lines that have some are counted.

use super::columns::{Columns, of_header};
use super::delimiter::Delimiter;
use super::lines::{BadLines, Block, lines};
use crate::error::{Error, Result};

/// Order and delimiter of the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TripleFormat {
    /// What stands between columns.
    pub delimiter: Delimiter,
    /// What the columns hold.
    pub columns: Columns,
    /// Whether the first line is a header.
    pub header: bool,
}

impl Default for TripleFormat {
    fn default() -> Self {
        TripleFormat { delimiter: Delimiter::TAB, columns: Columns::HRT, header: false }
    }
}

impl TripleFormat {
    /// Checks the fields of a line and puts them in order; `None` where the line is skipped, as a header
    /// of the file is.
    pub(super) fn triple<'t>(
        &self,
        line: u64,
        fields: impl Iterator<Item = &'t str> + Clone,
        bad: &mut BadLines,
    ) -> Result<Option<[&'t str; 3]>> {
        if line == 1 && self.header {
            self.check_header(fields, bad)?;
            return Ok(None);
        }
        let Columns { places, width } = self.columns;
        let mut found = [""; 3];
        let mut count = 0;
        let mut trimmed = false;
        for mut field in fields {
            if self.delimiter.trims() {
                let plain = field.trim();
                trimmed |= plain.len() < field.len();
                field = plain;
            }
            for (found, &place) in found.iter_mut().zip(&places) {
                if usize::from(place) == count {
                    *found = field;
                }
            }
            count += 1;
        }
        let expected = || format!("expected {width} {}-separated columns", self.delimiter);
        let message = if count <= 1 && found.iter().all(|field| field.is_empty()) {
            format!("{}, found an empty line", expected())
        } else if count > 3 && width == 3 && bad.advice().is_none() {
            let dashes = "-".repeat(count - 3);
            let columns = self.columns.letters();
            format!(
                "{}, found {count}: weights and other columns are passed over with `--columns {columns}{dashes}`",
                expected()
            )
        } else if count != usize::from(width) {
            format!("{}, found {count}", expected())
        } else if let Some(empty) = found.iter().position(|field| field.is_empty()) {
            format!("expected a name in column {}, found nothing", places[empty] + 1)
        } else {
            bad.accept();
            bad.trimmed += u64::from(trimmed);
            bad.padded += u64::from(found.iter().any(|name| name.starts_with(' ') || name.ends_with(' ')));
            return Ok(Some(found));
        };
        bad.report(line, &message)?;
        Ok(None)
    }

    /// The header must not contradict the columns.
    fn check_header<'t>(&self, fields: impl Iterator<Item = &'t str>, bad: &mut BadLines) -> Result<()> {
        bad.header = true;
        match of_header(fields) {
            Some(columns) if columns != self.columns => {
                let (header, read) = (columns.letters(), self.columns.letters());
                let message = format!(
                    "the header says {header}, but columns are read as {read}: give `--columns {header}`"
                );
                Err(Error::line(bad.path(), 1, message))
            }
            _ => Ok(()),
        }
    }
}

/// What is wrong with the names of a triple; `None` where nothing is.
pub type Objection = Option<String>;

/// Calls `take(head, relation, tail)` for each line of `block`.
///
/// A line with another number of columns, an empty name or invalid UTF-8 is bad, and one that `take` objects to.
pub fn read(
    block: Block,
    format: TripleFormat,
    bad: &mut BadLines,
    mut take: impl FnMut(&str, &str, &str) -> Result<Objection>,
) -> Result<()> {
    for (number, line) in lines(block) {
        let Some(text) = bad.text(number, line)? else { continue };
        if let Some([head, relation, tail]) = format.triple(number, format.delimiter.split(text), bad)?
            && let Some(message) = take(head, relation, tail)?
        {
            bad.report(number, &message)?;
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
            Ok((t == "nobody").then(|| "nobody knows them".into()))
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
        let mut bad = BadLines::new(Path::new("train.txt"), false);
        let mut read = |text: &[u8], columns| {
            let columns = Columns::parse(columns).unwrap();
            read_all(
                text,
                TripleFormat { delimiter: Delimiter::Character(b' '), columns, header: false },
                &mut bad,
            )
            .unwrap()
        };
        assert_eq!(read(b"1 2 0\n", "htr"), ["1|0|2"]);
        assert_eq!(read(b"x a r b 0.5\n", "-hrt-"), ["a|r|b"]);
    }

    #[test]
    fn a_header_is_no_triple_and_must_agree_with_the_columns() {
        let mut bad = BadLines::new(Path::new("train.txt"), false);
        let text = b"Subject\tPredicate\tObject\na\tr\tb\nsubject\tpredicate\tobject\n";
        let headed = TripleFormat { header: true, ..TripleFormat::default() };
        let triples = read_all(text, headed, &mut bad).unwrap();
        assert_eq!((triples.len(), bad.header, bad.skipped), (2, true, 0));
        let mut bad = BadLines::new(Path::new("train.txt"), false);
        let error = read_all(b"from\tto\trel\na\tb\tr\n", headed, &mut bad).unwrap_err().to_string();
        assert!(
            error.starts_with("train.txt:1: the header says htr, but") && error.contains("--columns htr")
        );
    }

    #[test]
    fn blanks_around_commas_are_taken_off_and_counted() {
        let mut bad = BadLines::new(Path::new("train.txt"), false);
        let format = TripleFormat { delimiter: Delimiter::Character(b','), ..TripleFormat::default() };
        assert_eq!(read_all(b"a, r , b\nx y,r,z\n", format, &mut bad).unwrap(), ["a|r|b", "x y|r|z"]);
        assert_eq!(bad.trimmed, 1);
        let error = read_all(b"a, ,b\n", format, &mut bad).unwrap_err().to_string();
        assert!(error.starts_with("train.txt:1: expected a name in column 2, found nothing"), "{error}");
    }

    #[test]
    fn a_triple_that_is_objected_to_is_a_bad_line() {
        assert!(error_of(b"a\tr\tb\na\tr\tnobody\n").starts_with("train.txt:2: nobody knows them ("));
    }

    #[test]
    fn errors_name_file_line_expectation_and_finding() {
        let cases: [(&[u8], &str); 5] = [
            (b"a\tb\tc\na\tb\n", "train.txt:2: expected 3 tab-separated columns, found 2"),
            (
                b"a\tb\tc\td\n",
                "train.txt:1: expected 3 tab-separated columns, found 4: weights and other columns are passed over with `--columns hrt-`",
            ),
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
