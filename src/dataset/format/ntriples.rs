//! N-Triples by the grammar of RDF 1.1, with the rules of the Freebase dump.
//!
//! An edge is a statement whose subject and object are IRIs; they and the predicate are its names. Where the
//! subject is one of Freebase's (`http://rdf.freebase.com/ns/`), both ends must be entities, `ns/m.` or
//! `ns/g.`, and names are written as Freebase's own: `/m/02mjmr`, `/people/person/profession`.
//!
//! Labels are the literals of `rdfs:label`, for Freebase's subjects of `type.object.name` (there `rdfs:label`
//! repeats them), in the language of their tag in lower case, `und` without one. Every other statement is skipped for a
//! [`Reason`] that is counted.
//!
//! Blocks of lines are parsed in parallel and taken in order. A line in the usual form is scanned here; what
//! the scanner is not sure of goes to oxttl, which is also the scanner's oracle in the tests.

use super::lines::{BadLines, Block, lines};
use crate::dataset::source::Blocks;
use crate::error::Result;
use memchr::memmem;
use oxttl::NTriplesParser;
use oxttl::ntriples::SliceNTriplesParser;
use rayon::prelude::*;
use std::borrow::Cow;

const FREEBASE: &str = "http://rdf.freebase.com/ns/";
const FREEBASE_NAME: &str = "http://rdf.freebase.com/ns/type.object.name";
const LABEL: &str = "http://www.w3.org/2000/01/rdf-schema#label";

/// Why a statement is neither an edge nor a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A Freebase subject that is no `m.` or `g.` entity.
    Subject,
    /// A Freebase statement whose object is an IRI, but no entity.
    Object,
    /// A literal that is no label.
    Literal,
    /// A Freebase entity's `rdfs:label`.
    RepeatedName,
    /// A blank node at either end.
    BlankNode,
    /// A label of what has no edge, or one more in its language.
    UnusedLabel,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Reason; 6] = [
        Reason::Subject,
        Reason::Object,
        Reason::Literal,
        Reason::RepeatedName,
        Reason::BlankNode,
        Reason::UnusedLabel,
    ];

    /// The reason in words.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Subject => "subject is no m. or g. entity",
            Reason::Object => "object is no m. or g. entity",
            Reason::Literal => "object is a literal",
            Reason::RepeatedName => "rdfs:label beside type.object.name",
            Reason::BlankNode => "blank node",
            Reason::UnusedLabel => "label without an edge, or a second one in its language",
        }
    }
}

/// What the lines of a block hold that is of use.
#[derive(Debug, Default)]
pub struct Parsed {
    /// All texts, one after the other.
    text: String,
    /// Where the texts of each item end.
    items: Vec<[u32; 3]>,
    /// Statements by [`Reason`].
    pub skipped: [u64; Reason::ALL.len()],
    /// Number and message of each malformed line.
    bad: Vec<(u64, String)>,
}

impl Parsed {
    fn push(&mut self, texts: [&str; 3]) {
        self.items.push(texts.map(|text| {
            self.text += text;
            // A block is at most one line of 64 MiB, or a few MiB of lines.
            u32::try_from(self.text.len()).expect("a block is smaller than 4 GiB")
        }));
    }

    fn skip(&mut self, reason: Reason) {
        self.skipped[reason as usize] += 1;
    }

    /// `[head, relation, tail]` of each edge, or `[name, language, label]` of each label.
    pub fn items(&self) -> impl Iterator<Item = [&str; 3]> {
        let mut begin = 0;
        self.items.iter().map(move |ends| {
            ends.map(|end| {
                let text = &self.text[begin as usize..end as usize];
                begin = end;
                text
            })
        })
    }

    /// Reports the malformed lines.
    pub fn report(&self, bad: &mut BadLines) -> Result<()> {
        self.bad.iter().try_for_each(|(line, message)| bad.report(*line, message))
    }
}

/// The end of a statement.
#[derive(Debug, PartialEq)]
enum Term<'t> {
    Iri(Cow<'t, str>),
    Blank,
    Literal { text: Cow<'t, str>, language: Option<Cow<'t, str>> },
}

#[derive(Debug, PartialEq)]
struct Statement<'t> {
    subject: Term<'t>,
    predicate: Cow<'t, str>,
    object: Term<'t>,
}

/// Calls `take` with the parsed blocks in order, `parse` being [`edges`] or [`labels`]. Memory: a few MiB a
/// core. While a round of blocks is taken, the next is read and parsed.
pub fn read(
    blocks: &mut Blocks,
    parse: fn(Block) -> Parsed,
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

/// The edges of a block; counts what is skipped, except labels, and keeps malformed lines.
pub fn edges(block: Block) -> Parsed {
    let mut parsed = Parsed::default();
    for (number, line) in lines(block) {
        match statement(line) {
            Ok(Some(statement)) => parsed.edge(&statement),
            Ok(None) => (),
            Err(message) => parsed.bad.push((number, message)),
        }
    }
    parsed
}

/// The labels of a block. Malformed lines are passed over: [`edges`] reports them.
pub fn labels(block: Block) -> Parsed {
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
            if let Ok(Some(statement)) = statement(line) {
                parsed.label(&statement);
            }
        }
    }
    parsed
}

impl Parsed {
    fn edge(&mut self, Statement { subject, predicate, object }: &Statement) {
        let subject = match subject {
            Term::Iri(subject) => subject,
            _ => return self.skip(Reason::BlankNode),
        };
        let freebase = subject.strip_prefix(FREEBASE);
        match object {
            Term::Blank => self.skip(Reason::BlankNode),
            Term::Iri(object) => match freebase.map(|s| (is_entity(s), object.strip_prefix(FREEBASE))) {
                Some((false, _)) => self.skip(Reason::Subject),
                Some((true, Some(o))) if is_entity(o) => self.push_edge(subject, predicate, object),
                Some((true, _)) => self.skip(Reason::Object),
                None => self.push_edge(subject, predicate, object),
            },
            Term::Literal { .. } if **predicate == *label_of(freebase) => (),
            Term::Literal { .. } if predicate == LABEL => self.skip(Reason::RepeatedName),
            Term::Literal { .. } => self.skip(Reason::Literal),
        }
    }

    fn push_edge(&mut self, subject: &str, predicate: &str, object: &str) {
        self.push([&name(subject), &name(predicate), &name(object)]);
    }

    fn label(&mut self, Statement { subject, predicate, object }: &Statement) {
        let (Term::Iri(subject), Term::Literal { text, language }) = (subject, object) else { return };
        if **predicate == *label_of(subject.strip_prefix(FREEBASE)) {
            self.push([&name(subject), language.as_deref().unwrap_or("und"), text]);
        }
    }
}

/// The predicate of labels, given what follows a subject's Freebase prefix.
fn label_of(freebase: Option<&str>) -> &'static str {
    if freebase.is_some() { FREEBASE_NAME } else { LABEL }
}

/// Whether `ns/...` names an entity: `m.` or `g.` and something more.
fn is_entity(name: &str) -> bool {
    name.len() > 2 && (name.starts_with("m.") || name.starts_with("g."))
}

/// The name that an IRI gives: `/m/02mjmr` for Freebase's, else the IRI.
fn name(iri: &str) -> Cow<'_, str> {
    match iri.strip_prefix(FREEBASE) {
        Some(rest) => Cow::Owned(format!("/{}", rest.replace('.', "/"))),
        None => Cow::Borrowed(iri),
    }
}

/// The statement of a line; `None` where it is blank or a comment.
fn statement(line: &[u8]) -> Result<Option<Statement<'_>>, String> {
    match plain(line) {
        Some(statement) => Ok(Some(statement)),
        None => full(line),
    }
}

/// By the whole grammar.
fn full(line: &[u8]) -> Result<Option<Statement<'_>>, String> {
    let mut parser: SliceNTriplesParser = NTriplesParser::new().for_slice(line);
    let mut next = || match parser.next() {
        Some(Err(e)) => Err(format!("expected an N-Triples statement: {}", e.message())),
        Some(Ok(triple)) => Ok(Some(triple)),
        None => Ok(None),
    };
    let Some(triple) = next()? else { return Ok(None) };
    if next()?.is_some() {
        return Err("expected an N-Triples statement, found more than one on the line".into());
    }
    let subject = match triple.subject {
        oxrdf::NamedOrBlankNode::NamedNode(node) => Term::Iri(node.into_string().into()),
        oxrdf::NamedOrBlankNode::BlankNode(_) => Term::Blank,
    };
    let object = match triple.object {
        oxrdf::Term::NamedNode(node) => Term::Iri(node.into_string().into()),
        oxrdf::Term::BlankNode(_) => Term::Blank,
        oxrdf::Term::Literal(literal) => Term::Literal {
            text: literal.value().to_owned().into(),
            language: literal.language().map(|language| language.to_owned().into()),
        },
    };
    Ok(Some(Statement { subject, predicate: triple.predicate.into_string().into(), object }))
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
    Some(Statement { subject: Term::Iri(subject.into()), predicate: predicate.into(), object })
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
