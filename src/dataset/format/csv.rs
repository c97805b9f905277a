//! Triples as CSV: quoted fields, doubled quotes, commas.
//!
//! Blank lines are no records.

use super::delimiter::Delimiter;
use super::lines::BadLines;
use super::triples::{Objection, TripleFormat};
use crate::error::{Error, Result};
use std::io::Read;

/// Calls `take(head, relation, tail)` for each record of `text`; bad lines as for
/// [`triples`](super::triples::read). Returns whether there was a record, be it a bad one.
///
/// A quote that is not closed on its line is an error even where bad lines are skipped: it would take all lines up to the
/// next quote along.
pub fn read(
    text: impl Read,
    format: TripleFormat,
    bad: &mut BadLines,
    mut take: impl FnMut(&str, &str, &str) -> Result<Objection>,
) -> Result<bool> {
    let Delimiter::Character(delimiter) = format.delimiter else {
        return Err(Error::file(
            bad.path(),
            "columns of CSV are not separated by any blanks: give it the ending .txt",
        ));
    };
    let mut reader =
        ::csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(text);
    let mut record = ::csv::ByteRecord::new();
    let mut first = true;
    while reader.read_byte_record(&mut record).map_err(|e| Error::file(bad.path(), e.to_string()))? {
        let line = record.position().map_or(0, |p| p.line());
        // The record's bytes are its fields, one after the other. A character cut in two by a comma
        // passes here, but its halves are then read as empty names, which are refused too.
        first = false;
        if record.as_slice().contains(&b'\n') {
            return Err(Error::line(
                bad.path(),
                line,
                "a quote is opened on this line and not closed on it: close it, or double it (\"\") where it belongs \
                 to a name; names with line breaks are not read",
            ));
        }
        let Some(_) = bad.text(line, record.as_slice())? else { continue };
        let fields = record.iter().map(|field| std::str::from_utf8(field).unwrap_or_default());
        if let Some([head, relation, tail]) = format.triple(line, fields, bad)?
            && let Some(message) = take(head, relation, tail)?
        {
            bad.report(line, &message)?;
        }
    }
    Ok(!first)
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
        read(bytes, format, &mut bad, |h, r, t| {
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
