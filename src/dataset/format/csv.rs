//! Triples as CSV: a line each, whose fields may be quoted.
//!
//! By RFC 4180, but that a field ends on its line, and that blanks around a quoted field do not belong to it.

use super::delimiter::Delimiter;
use super::lines::{BadLines, Block, lines};
use super::triples::{Objection, TripleFormat};
use crate::error::{Error, Result};

/// Calls `take(head, relation, tail)` for each line of `block`; bad lines as for [`triples`](super::triples::read), but that
/// empty ones are passed over.
///
/// A quote that is not closed on its line is an error even where bad lines are skipped: it would take all lines up to the
/// next quote along.
pub fn read(
    block: Block,
    format: TripleFormat,
    bad: &mut BadLines,
    mut take: impl FnMut(&str, &str, &str) -> Result<Objection>,
) -> Result<()> {
    let Delimiter::Character(delimiter) = format.delimiter else {
        return Err(Error::file(
            bad.path(),
            "columns of CSV are not separated by any blanks: give it the ending .txt",
        ));
    };
    for (number, line) in lines(block) {
        if line.is_empty() {
            continue;
        }
        let Some(text) = bad.text(number, line)? else { continue };
        let quoted;
        let triple = if memchr::memchr(b'"', line).is_none() {
            format.triple(number, format.delimiter.split(text), bad)?
        } else {
            quoted = match fields(text, delimiter) {
                Ok(fields) => fields,
                Err(Unfit::Open) => return Err(Error::line(bad.path(), number, Unfit::Open.message())),
                Err(unfit) => {
                    bad.report(number, unfit.message())?;
                    continue;
                }
            };
            format.triple(number, quoted.iter().map(String::as_str), bad)?
        };
        if let Some([head, relation, tail]) = triple
            && let Some(message) = take(head, relation, tail)?
        {
            bad.report(number, &message)?;
        }
    }
    Ok(())
}

/// Why a line is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// A quote is not closed.
    Open,
    /// Text follows a closing quote.
    After,
}

impl Unfit {
    fn message(self) -> &'static str {
        match self {
            Unfit::Open => {
                "a quote is opened on this line and not closed on it: close it, or double it (\"\") where it belongs \
                 to a name; names with line breaks are not read"
            }
            Unfit::After => {
                "text follows a closing quote: double the quote (\"\") where it belongs to a name"
            }
        }
    }
}

/// The fields of a line.
pub fn fields(line: &str, delimiter: u8) -> std::result::Result<Vec<String>, Unfit> {
    Ok(split(line, delimiter)?.into_iter().map(|(field, _)| field).collect())
}

/// The fields of a line, and whether each is quoted.
fn split(line: &str, delimiter: u8) -> std::result::Result<Vec<(String, bool)>, Unfit> {
    let delimiter = char::from(delimiter);
    let blank = |c: char| (c == ' ' || c == '\t') && c != delimiter;
    let (mut fields, mut rest) = (Vec::new(), line);
    loop {
        let Some(mut inside) = rest.trim_start_matches(blank).strip_prefix('"') else {
            let Some((field, after)) = rest.split_once(delimiter) else {
                fields.push((rest.to_owned(), false));
                return Ok(fields);
            };
            fields.push((field.to_owned(), false));
            rest = after;
            continue;
        };
        let mut field = String::new();
        loop {
            let (part, after) = inside.split_once('"').ok_or(Unfit::Open)?;
            field.push_str(part);
            let Some(doubled) = after.strip_prefix('"') else {
                rest = after.trim_start_matches(blank);
                break;
            };
            field.push('"');
            inside = doubled;
        }
        fields.push((field, true));
        if rest.is_empty() {
            return Ok(fields);
        }
        rest = rest.strip_prefix(delimiter).ok_or(Unfit::After)?;
    }
}

/// How many fields a line has that are all quoted; `None` where one is not.
pub fn quoted_fields(line: &str, delimiter: u8) -> Option<usize> {
    let fields = split(line, delimiter).ok()?;
    fields.iter().all(|(_, quoted)| *quoted).then_some(fields.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn read_all(bytes: &[u8], skip: bool) -> Result<(Vec<String>, u64)> {
        let mut bad = BadLines::new(Path::new("train.csv"), skip);
        let mut triples = Vec::new();
        let delimiter = Delimiter::Character(b',');
        let format =
            TripleFormat { delimiter, header: bytes.starts_with(b"Head"), ..TripleFormat::default() };
        read(bytes.into(), format, &mut bad, |h, r, t| {
            triples.push(format!("{h}|{r}|{t}"));
            Ok(None)
        })?;
        Ok((triples, bad.skipped))
    }

    #[test]
    fn quotes_commas_and_line_ends_are_read() {
        let (triples, _) = read_all(b"\"a, b\",r,\"say \"\"c\"\"\"\r\nx,r,y", false).unwrap();
        assert_eq!(triples, ["a, b|r|say \"c\"", "x|r|y"]);
    }

    #[test]
    fn lines_have_their_numbers_whatever_ends_them() {
        for end in ["\n", "\r\n"] {
            let text = |lines: &[&str]| lines.join(end).into_bytes();
            let headed = text(&["Head,Relation,Tail", "a,r,b", "b,r,c", ""]);
            assert_eq!(read_all(&headed, false).unwrap().0, ["a|r|b", "b|r|c"]);
            let bad = read_all(&text(&["a,r,b", "", "b,r", "c,r,d"]), false).unwrap_err().to_string();
            assert!(bad.starts_with("train.csv:3: expected 3"), "{bad}");
            let open = read_all(&text(&["a,r,b", "c,r,\"d", "e\",r,f"]), false).unwrap_err().to_string();
            assert!(open.starts_with("train.csv:2: a quote is opened"), "{open}");
        }
    }

    #[test]
    fn blanks_around_quotes_do_not_belong_to_fields_and_text_after_them_is_bad() {
        let split = |line: &str| fields(line, b',').map(|fields| fields.join("|"));
        assert_eq!(split("\"a, x\", r ,\t\"b\" ").as_deref(), Ok("a, x| r |b"));
        assert_eq!(split("5\" disk,\"\",").as_deref(), Ok("5\" disk||"));
        assert_eq!(split("a,r,\"b\"x"), Err(Unfit::After));
        assert_eq!(split("\"a\\\"b\",r,c"), Err(Unfit::After));
        assert_eq!(split("a,\"b"), Err(Unfit::Open));
        let error = read_all(b"a,r,b\na,r,\"b\"x\n", false).unwrap_err().to_string();
        assert!(
            error.starts_with(
                "train.csv:2: text follows a closing quote: double the quote (\"\") where it belongs to a name ("
            ),
            "{error}"
        );
        assert_eq!(read_all(b"a,r,b\na,r,\"b\"x\n", true).unwrap(), (vec!["a|r|b".into()], 1));
    }

    #[test]
    fn quoted_lines_are_recognised() {
        assert_eq!(quoted_fields("\"a\";\"r\"; \"b\"", b';'), Some(3));
        assert_eq!(quoted_fields("\"a\"", b','), Some(1));
        for line in ["\"a\",r,\"b\"", "\"a\"x,\"b\"", "\""] {
            assert_eq!(quoted_fields(line, b','), None, "{line}");
        }
    }

    #[test]
    fn a_header_is_no_triple() {
        assert_eq!(read_all(b"Head,Relation,Tail\na,r,b\n", false).unwrap().0, ["a|r|b"]);
        assert_eq!(read_all(b"a,r,b\nhead,relation,tail\n", false).unwrap().0.len(), 2);
    }

    #[test]
    fn a_quote_that_is_not_closed_on_its_line_is_an_error_also_where_bad_lines_are_skipped() {
        // Up to the end of the file, and up to a quote of another line.
        let open: [&[u8]; 2] = [b"a,r,b\nc,r,\"d\ne,r,f\ng,r,h\n", b"a,r,b\nc,r,\"d\ne,r,f\ng,r,\"h\"\n"];
        for text in open {
            for skip in [false, true] {
                let error = read_all(text, skip).unwrap_err().to_string();
                assert_eq!(
                    error,
                    "train.csv:2: a quote is opened on this line and not closed on it: close it, or double it (\"\") \
                     where it belongs to a name; names with line breaks are not read"
                );
            }
        }
    }

    #[test]
    fn bad_records_name_their_line() {
        let error = |bytes: &[u8]| read_all(bytes, false).unwrap_err().to_string();
        let columns = error(b"a,r,b\na,b\n");
        assert!(columns.starts_with("train.csv:2: expected 3 comma-separated columns, found 2"), "{columns}");
        assert!(error(b"a,,b\n").starts_with("train.csv:1: expected a name in column 2, found nothing"));
        assert!(error(b"a,r,b\na,r,\xff\n").starts_with("train.csv:2: expected UTF-8, found byte 0xff"));
        assert_eq!(read_all(b"a,b\n\xff,r,c\na,r,b\n", true).unwrap(), (vec!["a|r|b".into()], 2));
    }
}
