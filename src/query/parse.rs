//! Text -> structures and queries.
//!
//! Structures are written by name (`2p`), as lists (`1p.2p.3i`, or with weights `1p:2,2p:2,3i:1`) or
//! as the nested tuples of KGReasoning. Queries are nested tuples with names in them:
//!
//! | text | meaning |
//! | --- | --- |
//! | `('Q1',('P1','P2'))` | from anchor Q1 along P1, then along P2 |
//! | `('Q1',('P1','n'))` | what P1 does not lead to |
//! | `(branch,branch)` | intersection of two or more branches |
//! | `(branch,branch,('u',))` | union of two or more branches |
//! | `((branch,branch),('P1',))` | a projection (or `('n',)`, a negation) after a set operation |
//! | `('Q1',())` | the anchor itself |
//! | `^P1` | the inverse of P1 |
//!
//! Names stand in single or double quotes, where a backslash takes the next character as it is: a
//! relation that is really called `n` is `'\n'`. Quotes may be left out around names without
//! parentheses, commas and quotes. In a tuple of one name the last comma may be left out.

use super::structure::{NAMED, Structure, named};
use super::tree::Tree;
use crate::error::{Error, Result};

/// A query with the names that its author typed, not yet looked up.
pub type NamedQuery = Tree<String, RelationName>;

/// A relation by name, in one of its directions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelationName {
    /// The dataset's name or label of the relation.
    pub name: String,
    /// Whether it is walked from tail to head (`^P1`).
    pub inverse: bool,
}

/// The deepest tree that text may describe: every later step walks trees recursively.
pub const MAX_DEPTH: usize = 64;

/// The most disjuncts that the text of a query or structure may expand to; see [`Tree::num_disjuncts`].
pub const MAX_DISJUNCTS: usize = 1_024;

/// Parses a grounded query. Errors show the place with a caret and what was expected there.
pub fn parse_query(text: &str) -> Result<NamedQuery> {
    let parser = Parser::new(text);
    let tree = parser.whole(0, text.len(), "('Q1',('P1','P2'))")?;
    tree.try_map(&mut |anchor| parser.anchor_name(anchor), &mut |relation| parser.relation_name(relation))
}

/// Parses one structure: a name of [`NAMED`] or a nested tuple.
///
/// A tuple that is one of the named structures up to the order of branches becomes that structure.
pub fn parse_structure(text: &str) -> Result<Structure> {
    structure_at(&Parser::new(text), 0, text.len())
}

/// Parses a list of structures with their weights (1 where none is given), for example
/// `1p.2p.3p.2i.3i` or `1p:2,2p:2,3i:1`. Weighted structures are separated by commas only, because a
/// weight may have a point. A structure must not occur twice.
pub fn parse_structures(text: &str) -> Result<Vec<(Structure, f64)>> {
    let parser = Parser::new(text);
    let mut list: Vec<(Structure, f64)> = Vec::new();
    for (start, colon, end) in split_list(text) {
        let structure = structure_at(&parser, start, colon.unwrap_or(end))?;
        let weight = match colon {
            None => 1.0,
            Some(colon) => {
                let weight = text[colon + 1..end].trim();
                let parsed = weight.parse().ok().filter(|w: &f64| w.is_finite() && *w > 0.0);
                parsed.ok_or_else(|| {
                    let message = "expected a weight above 0, then a comma before the next structure";
                    parser.fail(colon + 1, message)
                })?
            }
        };
        if list.iter().any(|(other, _)| other.canonical() == structure.canonical()) {
            return Err(parser.fail(start, format!("the structure {structure} is in the list already")));
        }
        list.push((structure, weight));
    }
    Ok(list)
}

/// The items of a list as (start, position of the colon before the weight, end).
fn split_list(text: &str) -> Vec<(usize, Option<usize>, usize)> {
    let mut items = Vec::new();
    let (mut depth, mut quote, mut escaped) = (0usize, None, false);
    let (mut start, mut colon) = (0, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(q), c) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') if depth > 0 => quote = Some(c),
            (None, '(') => depth += 1,
            (None, ')') => depth = depth.saturating_sub(1),
            (None, ':') if depth == 0 && colon.is_none() => colon = Some(at),
            (None, ',' | '.') if depth == 0 && (c == ',' || colon.is_none()) => {
                items.push((start, colon, at));
                (start, colon) = (at + 1, None);
            }
            _ => {}
        }
    }
    items.push((start, colon, text.len()));
    items
}

fn structure_at(parser: &Parser, start: usize, end: usize) -> Result<Structure> {
    let text = parser.text[start..end].trim_start();
    let start = end - text.len();
    if !text.starts_with('(') {
        return match named().iter().find(|(name, _)| *name == text.trim_end()) {
            Some((_, structure)) => Ok(structure.clone()),
            None => {
                let names = NAMED.map(|(name, _)| name).join(" ");
                let message = "expected a structure: one of";
                Err(parser
                    .fail(start, format!("{message} {names}, or a nested tuple such as {}", NAMED[3].1)))
            }
        };
    }
    let structure = tuple_structure(parser, start, end)?;
    // Where only the order of branches differs, the named structure stands for it: flat lists of
    // anchors and relations then mean the same thing under the same name.
    let canonical = structure.canonical();
    let known = named().iter().find(|(_, s)| s.canonical() == canonical);
    Ok(known.map_or(structure, |(_, s)| s.clone()))
}

/// The structure of one of the tuples in [`NAMED`].
pub(super) fn plain_structure(tuple: &str) -> Structure {
    tuple_structure(&Parser::new(tuple), 0, tuple.len()).expect("a test parses the whole table")
}

fn tuple_structure(parser: &Parser, start: usize, end: usize) -> Result<Structure> {
    let tree = parser.whole(start, end, NAMED[3].1)?;
    let expect = |word: &Word, found: bool, expected: &str| match found {
        true => Ok(()),
        false => Err(parser.fail(word.at, format!("expected {expected}"))),
    };
    let structure = tree.try_map(
        &mut |anchor| expect(anchor, anchor.is_keyword("e"), "'e', the anchor of a structure"),
        &mut |relation| {
            expect(
                relation,
                relation.is_keyword("r"),
                "'r', the relation of a structure (or 'n', a negation)",
            )
        },
    )?;
    if !structure.any(&|t| matches!(t, Tree::Projection(..))) {
        return Err(parser.fail(start, "a structure needs at least one relation 'r'"));
    }
    Ok(structure)
}

/// A name with its place in the text.
#[derive(Clone, Debug)]
struct Word {
    at: usize,
    text: String,
    /// Whether a `^` stood before the quotes.
    caret: bool,
    /// Whether the first character was escaped, so that the name is no keyword.
    literal: bool,
}

impl Word {
    fn is_keyword(&self, keyword: &str) -> bool {
        !self.literal && !self.caret && self.text == keyword
    }

    fn is_inverse(&self) -> bool {
        self.caret || (!self.literal && self.text.starts_with('^'))
    }

    fn relation_text(&self) -> &str {
        if self.is_inverse() && !self.caret { &self.text[1..] } else { &self.text }
    }
}

/// Nested tuples before they have a meaning.
enum Item {
    Word(Word),
    Tuple { at: usize, items: Vec<Item>, comma: bool },
}

impl Item {
    fn at(&self) -> usize {
        match self {
            Item::Word(word) => word.at,
            Item::Tuple { at, .. } => *at,
        }
    }

    /// The names, where this is a tuple of nothing but names (or an empty one).
    fn path(&self) -> Option<Vec<&Word>> {
        let Item::Tuple { items, .. } = self else { return None };
        items.iter().map(|item| if let Item::Word(word) = item { Some(word) } else { None }).collect()
    }

    fn is_union_mark(&self) -> bool {
        self.path().is_some_and(|path| path.len() == 1 && path[0].is_keyword("u"))
    }
}

struct Parser<'a> {
    text: &'a str,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        Parser { text }
    }

    /// The tree of `text[start..end]`.
    fn whole(&self, start: usize, end: usize, example: &str) -> Result<Tree<Word, Word>> {
        let mut at = start;
        let item = self.item(&mut at, end, 0)?;
        self.skip_space(&mut at, end);
        if at < end {
            return Err(self.fail(at, "expected the end: the parentheses are closed already"));
        }
        let Item::Tuple { .. } = item else {
            return Err(self.fail(item.at(), format!("expected a nested tuple such as {example}")));
        };
        let (tree, _) = self.branch(&item)?;
        if tree.num_disjuncts() > MAX_DISJUNCTS {
            return Err(self.fail(start, format!("its unions expand to more than {MAX_DISJUNCTS} disjuncts")));
        }
        Ok(tree)
    }

    /// An error at byte `at` of the text: the message, the text around it, a caret below.
    fn fail(&self, at: usize, message: impl std::fmt::Display) -> Error {
        const AROUND: usize = 60;
        let before: Vec<char> = self.text[..at].chars().rev().take(AROUND).collect();
        let after = self.text[at..].chars().take(AROUND);
        let shown = before.iter().rev().copied().chain(after);
        let shown: String = shown.map(|c| if c.is_control() { ' ' } else { c }).collect();
        Error::invalid(format!("{message}\n  {shown}\n  {}^", " ".repeat(before.len())))
    }

    fn skip_space(&self, at: &mut usize, end: usize) {
        let rest = &self.text[*at..end];
        *at += rest.len() - rest.trim_start().len();
    }

    fn next(&self, at: usize, end: usize) -> Option<char> {
        self.text[at..end].chars().next()
    }

    fn item(&self, at: &mut usize, end: usize, depth: usize) -> Result<Item> {
        self.skip_space(at, end);
        let start = *at;
        match self.next(start, end) {
            None => Err(self.fail(start, "expected a name or '(', found the end")),
            Some(c @ (')' | ',')) => Err(self.fail(start, format!("expected a name or '(', found '{c}'"))),
            Some('(') if depth == MAX_DEPTH => {
                Err(self.fail(start, format!("more than {MAX_DEPTH} nested parentheses")))
            }
            Some('(') => {
                *at += 1;
                let (mut items, mut comma) = (Vec::new(), false);
                loop {
                    self.skip_space(at, end);
                    match self.next(*at, end) {
                        Some(')') => break,
                        None => {
                            let message = "expected ')', found the end; the caret shows what is still open";
                            return Err(self.fail(start, message));
                        }
                        Some(_) if items.is_empty() || comma => items.push(self.item(at, end, depth + 1)?),
                        Some(_) => return Err(self.fail(*at, "expected ',' or ')'")),
                    }
                    self.skip_space(at, end);
                    comma = self.next(*at, end) == Some(',');
                    *at += usize::from(comma);
                }
                *at += 1;
                Ok(Item::Tuple { at: start, items, comma })
            }
            Some(_) => self.word(at, end).map(Item::Word),
        }
    }

    fn word(&self, at: &mut usize, end: usize) -> Result<Word> {
        let start = *at;
        let caret = self.text[start..end].starts_with(['^'])
            && self.text[start + 1..end].trim_start().starts_with(['\'', '"']);
        if caret {
            *at += 1;
            self.skip_space(at, end);
        }
        let quote = self.next(*at, end).filter(|c| matches!(c, '\'' | '"'));
        let (mut text, mut literal) = (String::new(), false);
        if let Some(quote) = quote {
            let mut chars = self.text[*at + 1..end].char_indices();
            loop {
                match chars.next() {
                    None => return Err(self.fail(*at, "expected the closing quote of this name")),
                    Some((i, c)) if c == quote => {
                        *at += 1 + i + c.len_utf8();
                        break;
                    }
                    Some((_, '\\')) => match chars.next() {
                        None => return Err(self.fail(*at, "expected the closing quote of this name")),
                        Some((_, c)) => {
                            literal |= text.is_empty();
                            text.push(c);
                        }
                    },
                    Some((_, c)) => text.push(c),
                }
            }
        } else {
            let rest = &self.text[*at..end];
            let length = rest.find(['(', ')', ',']).unwrap_or(rest.len());
            text = rest[..length].trim_end().to_string();
            if let Some(i) = text.find(['\'', '"']) {
                let message =
                    "expected ',' or ')' before this quote; a name with a quote in it must be quoted";
                return Err(self.fail(*at + i, message));
            }
            *at += text.len();
        }
        if text.is_empty() {
            return Err(self.fail(start, "expected a name, found an empty one"));
        }
        Ok(Word { at: start, text, caret, literal })
    }

    fn anchor_name(&self, anchor: &Word) -> Result<String> {
        match anchor.caret {
            true => Err(self.fail(anchor.at, "^ marks the inverse of a relation, but this is an anchor")),
            false => Ok(anchor.text.clone()),
        }
    }

    fn relation_name(&self, relation: &Word) -> Result<RelationName> {
        match relation.relation_text() {
            "" => Err(self.fail(relation.at, "expected a name, found an empty one")),
            name => Ok(RelationName { name: name.to_string(), inverse: relation.is_inverse() }),
        }
    }

    /// The tree of a branch and its depth.
    fn branch(&self, item: &Item) -> Result<(Tree<Word, Word>, usize)> {
        let (at, items, comma) = match item {
            Item::Word(word) => {
                return Err(self.fail(word.at, "expected a branch such as ('Q1',('P1',)), found a name"));
            }
            Item::Tuple { at, items, comma } => (*at, items.as_slice(), *comma),
        };
        match items {
            [] => Err(self.fail(at, "expected an anchor or a branch, found an empty tuple")),
            // Plain parentheses around a branch.
            [inner @ Item::Tuple { .. }] if !comma => self.branch(inner),
            [first, last] if last.path().is_some() && !last.is_union_mark() => self.along(first, last),
            [Item::Word(_), last] if last.is_union_mark() => {
                Err(self.fail(last.at(), r"expected relations, found a union (a relation called u is '\u')"))
            }
            [Item::Word(_), Item::Word(relation), ..] => {
                Err(self.fail(relation.at, "expected a tuple of relations such as ('P1','P2')"))
            }
            [Item::Word(word)] => {
                let message =
                    format!("expected an anchor with a tuple of relations: ('{}',('P1',))", word.text);
                Err(self.fail(word.at, message))
            }
            [Item::Word(_), other, rest @ ..] => {
                let at = rest.first().filter(|_| other.path().is_some()).unwrap_or(other).at();
                Err(self.fail(at, "expected one tuple of relations after the anchor and then ')'"))
            }
            _ => self.set(at, items),
        }
    }

    /// `(base, (relation, ...))`.
    fn along(&self, base: &Item, path: &Item) -> Result<(Tree<Word, Word>, usize)> {
        let (mut tree, mut depth) = match base {
            Item::Word(anchor) => (Tree::Anchor(anchor.clone()), 1),
            tuple => self.branch(tuple)?,
        };
        let words = path.path().expect("the caller has seen that it is one");
        depth += words.len();
        if depth > MAX_DEPTH {
            return Err(self.fail(path.at(), format!("a query of more than {MAX_DEPTH} levels")));
        }
        for word in words {
            tree = match word.is_keyword("n") {
                true => Tree::Negation(Box::new(tree)),
                false => Tree::Projection(Box::new(tree), word.clone()),
            };
        }
        Ok((tree, depth))
    }

    /// `(branch, branch, ...)` or, with `('u',)` at the end, a union.
    fn set(&self, at: usize, items: &[Item]) -> Result<(Tree<Word, Word>, usize)> {
        let (last, init) = items.split_last().expect("the caller has seen that it is not empty");
        let union = last.is_union_mark();
        let branches = if union { init } else { items };
        if branches.len() < 2 {
            let what = if union { "a union" } else { "an intersection" };
            let hint = if union { r" (a relation called u is '\u')" } else { "" };
            return Err(self.fail(at, format!("expected at least two branches in {what}{hint}")));
        }
        let (mut trees, mut depth) = (Vec::with_capacity(branches.len()), 0);
        for branch in branches {
            if branch.path().is_some_and(|path| !path.is_empty()) {
                let message = "expected a branch; relations after a set of branches need parentheses around \
                               the set: ((branch,branch),('P1',))";
                return Err(self.fail(branch.at(), message));
            }
            let (tree, below) = self.branch(branch)?;
            trees.push(tree);
            depth = depth.max(below + 1);
        }
        if depth > MAX_DEPTH {
            return Err(self.fail(at, format!("a query of more than {MAX_DEPTH} levels")));
        }
        Ok((if union { Tree::Union(trees) } else { Tree::Intersection(trees) }, depth))
    }
}
