//! RDF statements -> edges and labels, with the rules of the Freebase dump.
//!
//! An edge is a statement whose subject and object are IRIs; they and the predicate are its names. Where the
//! subject is one of Freebase's (`http://rdf.freebase.com/ns/`), both ends must be entities, `ns/m.` or
//! `ns/g.`, and names are written as Freebase's own: `/m/02mjmr`, `/people/person/profession`.
//!
//! Labels are the literals of `rdfs:label`, for Freebase's subjects of `type.object.name` (there `rdfs:label`
//! repeats them), in the language of their tag in lower case, `und` without one. Every other statement is skipped for a
//! [`Reason`] that is counted. A statement's named graph, in N-Quads and TriG, is counted and dropped.

use super::lines::BadLines;
use crate::error::Result;
use oxrdf::{GraphName, NamedOrBlankNode, Quad, Triple};
use rustc_hash::FxHashSet;
use std::borrow::Cow;
use xxhash_rust::xxh3::xxh3_64;

const FREEBASE: &str = "http://rdf.freebase.com/ns/";
pub(super) const FREEBASE_NAME: &str = "http://rdf.freebase.com/ns/type.object.name";
pub(super) const LABEL: &str = "http://www.w3.org/2000/01/rdf-schema#label";

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
    pub(super) bad: Vec<(u64, String)>,
    /// Hashes of the named graphs.
    pub graphs: FxHashSet<u64>,
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
pub(super) enum Term<'t> {
    Iri(Cow<'t, str>),
    Blank,
    Literal { text: Cow<'t, str>, language: Option<Cow<'t, str>> },
}

#[derive(Debug, PartialEq)]
pub(super) struct Statement<'t> {
    pub(super) subject: Term<'t>,
    pub(super) predicate: Cow<'t, str>,
    pub(super) object: Term<'t>,
    /// The named graph, hashed.
    pub(super) graph: Option<u64>,
}

impl Parsed {
    pub(super) fn edge(&mut self, Statement { subject, predicate, object, graph }: &Statement) {
        self.graphs.extend(graph);
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

    pub(super) fn label(&mut self, Statement { subject, predicate, object, .. }: &Statement) {
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

impl From<Triple> for Statement<'_> {
    fn from(triple: Triple) -> Self {
        triple.in_graph(GraphName::DefaultGraph).into()
    }
}

impl From<Quad> for Statement<'_> {
    fn from(quad: Quad) -> Self {
        let subject = match quad.subject {
            NamedOrBlankNode::NamedNode(node) => Term::Iri(node.into_string().into()),
            NamedOrBlankNode::BlankNode(_) => Term::Blank,
        };
        let object = match quad.object {
            oxrdf::Term::NamedNode(node) => Term::Iri(node.into_string().into()),
            oxrdf::Term::BlankNode(_) => Term::Blank,
            oxrdf::Term::Literal(literal) => Term::Literal {
                text: literal.value().to_owned().into(),
                language: literal.language().map(|language| language.to_owned().into()),
            },
        };
        let graph = match quad.graph_name {
            GraphName::NamedNode(node) => Some(xxh3_64(node.as_str().as_bytes())),
            GraphName::BlankNode(node) => Some(xxh3_64(node.as_str().as_bytes())),
            GraphName::DefaultGraph => None,
        };
        Statement { subject, predicate: quad.predicate.into_string().into(), object, graph }
    }
}
