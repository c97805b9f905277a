//! Labels from a second copy of the triples, line by line, with readable names (WN18RR's synsets).

use super::lines::{BadLines, lines};
use super::triples::TripleFormat;
use crate::error::{Error, Result};
use std::path::Path;

/// Calls `take(triple, labels)` for each line, both as `[head, relation, tail]`.
///
/// Lines that are no triple in the first file are passed over (its own import reports them); in the
/// second they are bad. Fails where the numbers of lines differ.
pub fn read(
    triples: (&Path, &[u8]),
    labels: &[u8],
    format: TripleFormat,
    bad: &mut BadLines,
    mut take: impl FnMut([&str; 3], [&str; 3]),
) -> Result<()> {
    let (here, there) = (lines(labels.into()).count(), lines(triples.1.into()).count());
    if here != there {
        let message =
            format!("expected a line for each line of {}: {there}, found {here}", triples.0.display());
        return Err(Error::file(bad.path(), message));
    }
    let mut passed_over = BadLines::new(triples.0, true);
    for ((number, triple), (_, label)) in lines(triples.1.into()).zip(lines(labels.into())) {
        let triple = split(number, triple, format, &mut passed_over)?;
        let label = split(number, label, format, bad)?;
        if let (Some(triple), Some(label)) = (triple, label) {
            take(triple, label);
        }
    }
    Ok(())
}

fn split<'b>(
    number: u64,
    line: &'b [u8],
    format: TripleFormat,
    bad: &mut BadLines,
) -> Result<Option<[&'b str; 3]>> {
    match bad.text(number, line)? {
        Some(text) => format.triple(number, format.delimiter.split(text), bad),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(triples: &[u8], labels: &[u8]) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let mut bad = BadLines::new(Path::new("text/train.txt"), false);
        let triples = (Path::new("train.txt"), triples);
        read(triples, labels, TripleFormat::default(), &mut bad, |t, l| {
            found.push(format!("{}={}", t[0], l[0]));
        })?;
        Ok(found)
    }

    #[test]
    fn names_are_paired_by_line() {
        assert_eq!(
            read_all(b"01\tr\t02\nx\n03\tr\t04\n", b"a\tr\tb\na\tr\tb\nc\tr\td\n").unwrap(),
            ["01=a", "03=c"]
        );
    }

    #[test]
    fn another_number_of_lines_is_an_error() {
        let error = read_all(b"1\tr\t2\n", b"a\tr\tb\na\tr\tb\n").unwrap_err().to_string();
        assert_eq!(error, "text/train.txt: expected a line for each line of train.txt: 1, found 2");
    }
}
