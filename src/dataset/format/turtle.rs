//! Turtle and TriG by the grammar of RDF 1.1, as streams of statements (oxttl).

use super::lines::BadLines;
use super::ntriples::remedy;
use super::rdf::{Parsed, Statement};
use crate::dataset::source::Source;
use crate::error::{Error, Result};
use oxttl::{TriGParser, TurtleParseError};

/// Statements that are parsed before they are taken.
const ROUND: usize = 1 << 14;

/// How a document is read.
#[derive(Clone, Copy, Debug)]
pub struct Document {
    /// Whether messages call it TriG.
    pub graphs: bool,
    /// Keep IRIs that are none by their grammar.
    pub lenient: bool,
    /// Look for labels, not for edges.
    pub labels: bool,
}

/// Calls `take` with the edges, or the labels, of `source` in order, some at a time. A statement that is none is a bad line.
pub fn read(
    source: &mut Source,
    Document { graphs, lenient, labels }: Document,
    bad: &mut BadLines,
    take: impl FnMut(&Parsed) -> Result<()>,
) -> Result<()> {
    let keep = if labels { Parsed::label } else { Parsed::edge };
    let what = if graphs { "TriG" } else { "Turtle" };
    // All of Turtle is TriG, and files called Turtle have graphs now and then.
    let parser = if lenient { TriGParser::new().lenient() } else { TriGParser::new() };
    statements(parser.for_reader(source), what, bad, keep, take)
}

fn statements<'s, S: Into<Statement<'s>>>(
    mut from: impl Iterator<Item = Result<S, TurtleParseError>>,
    what: &str,
    bad: &mut BadLines,
    keep: fn(&mut Parsed, &Statement),
    mut take: impl FnMut(&Parsed) -> Result<()>,
) -> Result<()> {
    loop {
        let mut parsed = Parsed::default();
        let mut read = 0;
        for statement in from.by_ref().take(ROUND) {
            read += 1;
            match statement {
                Ok(statement) => keep(&mut parsed, &statement.into()),
                Err(TurtleParseError::Syntax(e)) => {
                    let message = format!("expected a statement of {what}: {}{}", e.message(), remedy(&e));
                    bad.report(e.location().start.line + 1, &message)?;
                }
                Err(TurtleParseError::Io(e)) => return Err(Error::io(bad.path())(e)),
            }
        }
        if read == 0 {
            if bad.skipped > 0 {
                bad.remarks.push(
                    "what stands between a bad statement and the next dot that ends one was skipped with it"
                        .into(),
                );
            }
            return Ok(());
        }
        take(&parsed)?;
    }
}
