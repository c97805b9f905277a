//! Structures and queries -> text that [`parse`](super::parse) reads back.

use super::nested::{Nested, Spelling};
use super::parse::{NamedQuery, RelationName};
use super::structure::{Structure, named};
use super::tree::Tree;
use std::fmt::{self, Display, Formatter};

/// The name of one of the 14 named structures, in any order of branches; else the nested tuple.
impl Display for Structure {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let canonical = self.canonical();
        match named().iter().find(|(_, s)| s.canonical() == canonical) {
            Some((name, _)) => f.pad(name),
            None => f.pad(&tuple_text(self, &|()| "'e'".into(), &|()| "'r'".into())),
        }
    }
}

/// The nested tuple, in one canonical spelling.
impl Display for NamedQuery {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        f.pad(&tuple_text(self, &|anchor| quoted(anchor, false), &RelationName::to_string))
    }
}

/// The relation as it stands in a nested tuple: `'P1'`, `'^P1'`.
impl Display for RelationName {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let keyword = matches!(self.name.as_str(), "n" | "u") || self.name.starts_with('^');
        match (self.inverse, keyword) {
            (true, _) => f.pad(&quoted(&format!("^{}", self.name), false)),
            (false, literal) => f.pad(&quoted(&self.name, literal)),
        }
    }
}

/// A structure as a nested tuple, even where it has a name.
pub fn structure_tuple(structure: &Structure) -> String {
    tuple_text(structure, &|()| "'e'".into(), &|()| "'r'".into())
}

/// Writes any tree as nested tuples; the functions give anchors and relations with their quotes.
pub fn tuple_text<A, R>(
    tree: &Tree<A, R>,
    anchor: &impl Fn(&A) -> String,
    relation: &impl Fn(&R) -> String,
) -> String {
    let mut out = String::new();
    write_tuple(
        &mut out,
        &Spelling { anchor, relation, negation: "'n'".into(), union: "'u'".into() }.spell(tree),
    );
    out
}

fn write_tuple(out: &mut String, nested: &Nested<String>) {
    match nested {
        Nested::Leaf(text) => out.push_str(text),
        Nested::Tuple(items) => {
            out.push('(');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_tuple(out, item);
            }
            out.push_str(if items.len() == 1 { ",)" } else { ")" });
        }
    }
}

/// The name in quotes; `literal` escapes its first character so that it is no keyword.
fn quoted(name: &str, literal: bool) -> String {
    let quote = if name.contains('\'') && !name.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for (i, c) in name.chars().enumerate() {
        if c == quote || c == '\\' || (literal && i == 0) {
            out.push('\\');
        }
        out.push(c);
    }
    out.push(quote);
    out
}
