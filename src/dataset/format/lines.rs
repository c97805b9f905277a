//! Lines of a text file, and the policy for bad ones.

use crate::error::{Error, Result};
use std::path::Path;

/// Bad lines that are kept as examples for the report.
const EXAMPLES: usize = 5;

const REMEDY: &str = "(`smore data import --skip-bad-lines` skips and counts such lines)";

/// Refuses bad lines of one file, or skips and counts them.
#[derive(Debug)]
pub struct BadLines<'p> {
    path: &'p Path,
    skip: bool,
    /// Number of lines skipped so far.
    pub skipped: u64,
    /// Whether the first line is a header.
    pub header: bool,
    /// Lines with blanks around names, which were taken off.
    pub trimmed: u64,
    /// Lines with names that begin or end with a blank, which was kept.
    pub padded: u64,
    /// What else a user should know of the file.
    pub remarks: Vec<String>,
    /// The first few of the bad lines as messages.
    pub examples: Vec<String>,
    /// What to do if the first line is bad: the file is of another format then, and skipping lines would not help.
    advice: Option<String>,
    /// Whether a line was good.
    good: bool,
}

impl<'p> BadLines<'p> {
    /// The policy for `path`.
    pub fn new(path: &'p Path, skip: bool) -> Self {
        BadLines {
            path,
            skip,
            skipped: 0,
            header: false,
            trimmed: 0,
            padded: 0,
            remarks: Vec::new(),
            examples: Vec::new(),
            advice: None,
            good: false,
        }
    }

    /// The same, with what to do if the first line is bad.
    pub fn advised(self, advice: Option<String>) -> Self {
        BadLines { advice, ..self }
    }

    /// What to do if the first line is bad.
    pub fn advice(&self) -> Option<&str> {
        self.advice.as_deref()
    }

    /// A line is good.
    pub fn accept(&mut self) {
        self.good = true;
    }

    /// The file.
    pub fn path(&self) -> &'p Path {
        self.path
    }

    /// Line number `line` (from 1) is bad: an error, or one more skipped line.
    pub fn report(&mut self, line: u64, message: &str) -> Result<()> {
        if let Some(advice) = self.advice.as_ref().filter(|_| !self.good && self.skipped == 0) {
            return Err(Error::line(self.path, line, format!("{message}; {advice}")));
        }
        if !self.skip {
            return Err(Error::line(self.path, line, format!("{message} {REMEDY}")));
        }
        self.skipped += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(Error::line(self.path, line, message).to_string());
        }
        Ok(())
    }

    /// The text of `bytes`; `None` where they are no UTF-8 and the line is skipped.
    pub fn text<'b>(&mut self, line: u64, bytes: &'b [u8]) -> Result<Option<&'b str>> {
        match std::str::from_utf8(bytes) {
            Ok(text) => match memchr::memchr(0, bytes) {
                None => Ok(Some(text)),
                Some(place) => {
                    let message = format!("expected text, found byte 0x00 at byte {} of the line", place + 1);
                    self.report(line, &message)?;
                    Ok(None)
                }
            },
            Err(error) => {
                let place = error.valid_up_to();
                let message = format!(
                    "expected UTF-8, found byte 0x{:02x} at byte {} of the line",
                    bytes[place],
                    place + 1
                );
                self.report(line, &message)?;
                Ok(None)
            }
        }
    }
}

/// Whole lines of a file.
#[derive(Clone, Copy, Debug)]
pub struct Block<'b> {
    /// Number of the first line, from 1.
    pub first_line: u64,
    /// The lines with their ends; that of the file's last may be missing.
    pub bytes: &'b [u8],
}

impl<'b> From<&'b [u8]> for Block<'b> {
    /// A whole file.
    fn from(bytes: &'b [u8]) -> Self {
        Block { first_line: 1, bytes }
    }
}

/// Lines with their numbers, without their ends (LF or CRLF).
pub fn lines(block: Block<'_>) -> impl Iterator<Item = (u64, &[u8])> {
    let mut rest = block.bytes;
    let mut number = block.first_line - 1;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        number += 1;
        Some((number, line.strip_suffix(b"\r").unwrap_or(line)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_taken_off_and_nothing_else() {
        let all: Vec<_> = lines(Block::from(&b"a\r\n\n b \nlast\r"[..])).collect();
        assert_eq!(all, [(1, &b"a"[..]), (2, b""), (3, b" b "), (4, b"last")]);
        assert_eq!(lines(Block::from(&b""[..])).count(), 0);
    }

    #[test]
    fn bad_lines_stop_or_are_counted() {
        let path = Path::new("x.txt");
        let error = BadLines::new(path, false).report(3, "bad").unwrap_err().to_string();
        assert!(error.starts_with("x.txt:3: bad (") && error.contains("--skip-bad-lines"), "{error}");
        let mut bad = BadLines::new(path, true);
        for line in 1..=9 {
            assert_eq!(bad.text(line, b"a\xff").unwrap(), None);
        }
        assert_eq!((bad.skipped, bad.examples.len()), (9, EXAMPLES));
        assert_eq!(bad.examples[0], "x.txt:1: expected UTF-8, found byte 0xff at byte 2 of the line");
    }

    #[test]
    fn a_file_of_another_format_is_not_skipped_line_by_line() {
        let advised =
            |skip| BadLines::new(Path::new("x.txt"), skip).advised(Some("it is no such file".into()));
        for skip in [false, true] {
            let error = advised(skip).report(1, "bad").unwrap_err().to_string();
            assert_eq!(error, "x.txt:1: bad; it is no such file");
        }
        let mut bad = advised(true);
        bad.accept();
        bad.report(2, "bad").unwrap();
        assert_eq!(bad.skipped, 1);
    }
}
