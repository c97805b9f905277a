//! N-Triples and N-Quads by the grammar of RDF 1.1, line by line.
//!
//! Blocks of lines are parsed in parallel and taken in order. A line in the usual form is scanned here; what
//! the scanner is not sure of goes to oxttl, which is also the scanner's oracle in the tests.

use super::lines::{Block, lines};
use super::rdf::{FREEBASE_NAME, LABEL, Parsed, Statement, Term};
use crate::dataset::source::Blocks;
use crate::error::Result;
use memchr::memmem;
use oxttl::{NQuadsParser, NTriplesParser, TurtleSyntaxError};
use rayon::prelude::*;

/// Calls `take` with the parsed blocks in order, `parse` being [`Lines::edges`] or [`Lines::labels`]. Memory: a few MiB a
/// core. While a round of blocks is taken, the next is read and parsed.
pub fn read(
    blocks: &mut Blocks,
    parse: impl Fn(Block) -> Parsed + Sync,
    mut take: impl FnMut(&Parsed) -> Result<()> + Send,
) -> Result<()> {
    let round = 2 * rayon::current_num_threads();
    let mut parse_round = || -> Result<Vec<Parsed>> {
        let mut owned: Vec<(u64, Vec<u8>)> = Vec::with_capacity(round);
        while owned.len() < round {
            let Some(block) = blocks.next()? else { break };
            owned.push((block.first_line, block.bytes.to_vec()));
        }
        let parse = |(first_line, bytes): &(u64, Vec<u8>)| parse(Block { first_line: *first_line, bytes });
        Ok(owned.par_iter().map(parse).collect())
    };
    let mut ready = parse_round()?;
    while !ready.is_empty() {
        let (taken, next) = rayon::join(|| ready.iter().try_for_each(&mut take), &mut parse_round);
        taken?;
        ready = next?;
    }
    Ok(())
}

impl Lines {
    /// The edges of a block; counts what is skipped, except labels, and keeps malformed lines.
    pub fn edges(self, block: Block) -> Parsed {
        let mut parsed = Parsed::default();
        for (number, line) in lines(block) {
            match self.statement(line) {
                Ok(Some(statement)) => parsed.edge(&statement),
                Ok(None) => (),
                Err(message) => parsed.bad.push((number, message)),
            }
        }
        parsed
    }

    /// The labels of a block. Malformed lines are passed over: [`Lines::edges`] reports them.
    pub fn labels(self, block: Block) -> Parsed {
        let mut parsed = Parsed::default();
        // Few lines have one: find their predicates, and then their lines.
        let mut found: Vec<usize> = memmem::find_iter(block.bytes, FREEBASE_NAME).collect();
        found.extend(memmem::find_iter(block.bytes, LABEL));
        found.sort_unstable();
        let mut end = 0;
        for place in found {
            if place < end {
                continue;
            }
            let begin = memchr::memrchr(b'\n', &block.bytes[..place]).map_or(0, |at| at + 1);
            end = memchr::memchr(b'\n', &block.bytes[place..]).map_or(block.bytes.len(), |at| place + at);
            let first_line = if begin == 0 { block.first_line } else { 2 };
            for (_, line) in lines(Block { first_line, bytes: &block.bytes[begin..end] }) {
                if let Ok(Some(statement)) = self.statement(line) {
                    parsed.label(&statement);
                }
            }
        }
        parsed
    }
}

/// How lines are read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lines {
    /// Statements may name a graph: N-Quads.
    pub quads: bool,
    /// Keep IRIs that are none by their grammar, as real dumps have.
    pub lenient: bool,
}

impl Lines {
    /// Whether a line is a statement, blank or a comment.
    pub fn reads(self, line: &[u8]) -> bool {
        self.statement(line).is_ok()
    }

    /// The statement of a line; `None` where it is blank or a comment.
    fn statement(self, line: &[u8]) -> Result<Option<Statement<'_>>, String> {
        match plain(line) {
            Some(statement) => Ok(Some(statement)),
            None if self.quads => {
                let parser = NQuadsParser::new();
                only(if self.lenient { parser.lenient() } else { parser }.for_slice(line), "N-Quads")
            }
            None => {
                let parser = NTriplesParser::new();
                only(if self.lenient { parser.lenient() } else { parser }.for_slice(line), "N-Triples")
            }
        }
    }
}

/// The only statement of a line, by the whole grammar.
fn only<'s, S: Into<Statement<'s>>>(
    mut statements: impl Iterator<Item = Result<S, TurtleSyntaxError>>,
    what: &str,
) -> Result<Option<Statement<'s>>, String> {
    let first = match statements.next() {
        None => return Ok(None),
        Some(Err(e)) => return Err(format!("expected a statement of {what}: {}{}", e.message(), remedy(&e))),
        Some(Ok(statement)) => statement.into(),
    };
    match statements.next() {
        None => Ok(Some(first)),
        Some(_) => Err(format!("expected a statement of {what}, found more than one on the line")),
    }
}

/// What to do about an error of syntax, where an option helps.
pub(super) fn remedy(error: &TurtleSyntaxError) -> &'static str {
    if error.message().contains("IRI") { "; --lenient keeps such IRIs" } else { "" }
}

/// The statement of a line in the usual form; `None` where this scanner is not sure, of right lines too.
///
/// The usual form: one tab or blank between terms; IRIs of `http` in the unreserved characters of RFC 3986
/// and slashes, with at most one `#`; literals without escapes, with a language of two or three letters or a type of XML
/// Schema.
fn plain(line: &[u8]) -> Option<Statement<'_>> {
    let (subject, rest) = plain_iri(line)?;
    let (predicate, rest) = plain_iri(blank(rest)?)?;
    let rest = blank(rest)?;
    let (object, rest) = match rest.first()? {
        b'<' => plain_iri(rest).map(|(iri, rest)| (Term::Iri(iri.into()), rest))?,
        b'"' => plain_literal(&rest[1..])?,
        _ => return None,
    };
    if blank(rest).unwrap_or(rest) != b"." {
        return None;
    }
    Some(Statement { subject: Term::Iri(subject.into()), predicate: predicate.into(), object, graph: None })
}

fn blank(rest: &[u8]) -> Option<&[u8]> {
    rest.strip_prefix(b"\t").or_else(|| rest.strip_prefix(b" "))
}

/// What an IRI of the usual form may hold after its scheme.
const IRI: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        let b = byte as u8;
        table[byte] = b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b'/');
        byte += 1;
    }
    table
};

fn plain_iri(rest: &[u8]) -> Option<(&str, &[u8])> {
    let iri = rest.strip_prefix(b"<")?;
    let after = iri.strip_prefix(b"http://")?;
    let usual = |bytes: &[u8]| bytes.iter().position(|&b| !IRI[b as usize]);
    let mut end = usual(after)?;
    if after[end] == b'#' {
        end += 1 + usual(&after[end + 1..])?;
    }
    if after[end] != b'>' {
        return None;
    }
    let iri = std::str::from_utf8(&iri[..b"http://".len() + end]).ok()?;
    Some((iri, &after[end + 1..]))
}

fn plain_literal(rest: &[u8]) -> Option<(Term<'_>, &[u8])> {
    let end = memchr::memchr3(b'"', b'\\', b'\r', rest)?;
    if rest[end] != b'"' {
        return None;
    }
    let text = std::str::from_utf8(&rest[..end]).ok()?.into();
    let rest = &rest[end + 1..];
    if let Some(tag) = rest.strip_prefix(b"@") {
        let end = tag.iter().position(|b| !b.is_ascii_lowercase())?;
        if !(2..=3).contains(&end) || !matches!(tag[end], b'\t' | b' ') {
            return None;
        }
        let language = std::str::from_utf8(&tag[..end]).ok()?;
        return Some((Term::Literal { text, language: Some(language.into()) }, &tag[end..]));
    }
    let rest = match rest.strip_prefix(b"^^") {
        Some(typed) => match plain_iri(typed)? {
            (iri, rest) if iri.starts_with("http://www.w3.org/2001/XMLSchema#") => rest,
            _ => return None,
        },
        None => rest,
    };
    Some((Term::Literal { text, language: None }, rest))
}

#[cfg(test)]
mod tests;
