//! What a file holds, by how it begins.

use super::format::delimiter::{Delimiter, Found, of_csv, of_text};
use super::format::ntriples::Lines;
use super::inventory::{Format, Input, Role};
use super::source::Source;
use crate::error::Result;

/// Bytes that are looked at.
const LOOK: usize = 1 << 16;

/// Lines that are looked at.
const LINES: usize = 500;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// RDF statements, a line each.
    NTriples,
    /// The same with named graphs.
    NQuads,
    /// RDF with prefixes.
    Turtle,
    /// The same with named graphs.
    TriG,
    /// RDF as XML.
    RdfXml,
    /// A web page.
    Html,
    /// An object a line.
    JsonLines,
    /// One JSON document.
    Json,
    /// PyTorch-BigGraph writes edges so.
    Hdf5,
    /// An archive, an `.npz` too.
    Zip,
    /// An archive, compressed or not.
    Tar,
    /// The place of a file in Git's large file storage.
    LfsPointer,
    /// A NumPy array.
    Npy,
    /// A pickle of Python.
    Pickle,
    /// A graph file of smore.
    Graph,
    /// Bytes that are no text.
    Binary,
    /// Text that is none of these.
    Lines,
}

/// What the others are called, and what to do with them.
const NAMES: &[(Content, &str, &str)] = &[
    (Content::NTriples, "N-Triples", "give it the ending .nt"),
    (Content::NQuads, "N-Quads", "give it the ending .nq"),
    (Content::Turtle, "Turtle", "give it the ending .ttl"),
    (Content::TriG, "TriG", "give it the ending .trig"),
    (
        Content::RdfXml,
        "RDF/XML",
        "convert it to N-Triples (`rapper -o ntriples FILE`, or `riot --output=nt FILE`)",
    ),
    (Content::Html, "a web page", "get the file again: a link to a page was saved, not the file"),
    (
        Content::JsonLines,
        "JSON lines",
        "write head, relation and tail with tabs between them (`jq -r '[.head, .relation, .tail] | @tsv'`)",
    ),
    (Content::Json, "JSON", "write head, relation and tail with tabs between them, a triple a line"),
    (
        Content::Hdf5,
        "HDF5, as PyTorch-BigGraph's edges",
        "write its arrays lhs, rel and rhs as the columns of a .npy file",
    ),
    (Content::Zip, "a zip archive", "unpack it, and import what is in it"),
    (Content::Tar, "a tar archive", "unpack it (`tar -xf FILE`), and import what is in it"),
    (Content::LfsPointer, "a pointer of Git LFS", "get the file itself: `git lfs pull`"),
    (Content::Npy, "a NumPy array", "give it the ending .npy"),
    (
        Content::Pickle,
        "a Python pickle",
        "write head, relation and tail with tabs between them, a triple a line",
    ),
    (Content::Graph, "a graph file of smore", "use it as it is: `smore train FILE`"),
    (Content::Binary, "bytes that are no text", "get the file again, or convert it to UTF-8 text"),
];

impl Content {
    /// By the first bytes of a file.
    pub fn of(first: &[u8]) -> Self {
        let magic: [(&[u8], Content); 7] = [
            (b"PK\x03\x04", Content::Zip),
            (b"\x89HDF", Content::Hdf5),
            (b"\x93NUMPY", Content::Npy),
            (&crate::graph::layout::MAGIC, Content::Graph),
            (b"\x80\x03", Content::Pickle),
            (b"\x80\x04", Content::Pickle),
            (b"\x80\x05", Content::Pickle),
        ];
        if let Some((_, content)) = magic.iter().find(|(magic, _)| first.starts_with(magic)) {
            return *content;
        }
        if first.get(257..262) == Some(b"ustar") {
            return Content::Tar;
        }
        if first.iter().take(1 << 12).any(|&byte| byte == 0) {
            return Content::Binary;
        }
        let text = String::from_utf8_lossy(first);
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let Some(line) = lines.next() else { return Content::Lines };
        let lower = line.to_ascii_lowercase();
        let begins = |with: &[&str]| with.iter().any(|start| lower.starts_with(start));
        if begins(&["version https://git-lfs"]) {
            Content::LfsPointer
        } else if begins(&["<!doctype html", "<html"]) {
            Content::Html
        } else if begins(&["<?xml", "<rdf:rdf"]) {
            Content::RdfXml
        } else if begins(&["@prefix", "@base", "prefix ", "base <"]) {
            if has_graphs(&text) { Content::TriG } else { Content::Turtle }
        } else if begins(&["graph <", "graph _:", "{ <", "{<", "{ _:"])
            || line == "{" && has_statements(&text)
        {
            Content::TriG
        } else if begins(&["{\"", "{ \""]) && line.ends_with('}') {
            Content::JsonLines
        } else if line == "{" || line == "[" || begins(&["{\"", "[{", "[[", "[\""]) {
            Content::Json
        } else if begins(&["<", "_:"]) {
            let is_all = |quads| {
                let reader = Lines { quads, lenient: true };
                text.lines()
                    .take(LINES)
                    .take_while(|line| line.ends_with('.'))
                    .all(|line| reader.reads(line.as_bytes()))
            };
            match line.ends_with('.') {
                true if is_all(false) => Content::NTriples,
                true if is_all(true) => Content::NQuads,
                true | false if line.ends_with(['.', ';', ',']) => Content::Turtle,
                _ if has_graphs(&text) && text.contains(" .") => Content::TriG,
                _ => Content::Lines,
            }
        } else {
            Content::Lines
        }
    }

    /// What it is and what to do, for one who expected lines of columns; `None` where it is [`Content::Lines`].
    pub fn advice(self) -> Option<String> {
        let (_, name, remedy) = NAMES.iter().find(|(content, ..)| *content == self)?;
        Some(format!("the file looks like {name}: {remedy}"))
    }
}

/// Whether a document of RDF opens a brace outside of IRIs, literals and comments, as graphs do.
fn has_graphs(text: &str) -> bool {
    let mut rest = text;
    while let Some(place) = rest.find(['{', '<', '"', '\'', '#']) {
        let (mark, after) = (&rest[place..=place], &rest[place + 1..]);
        let end = |end: &str| after.find(end).map_or("", |at| &after[at + end.len()..]);
        rest = match mark {
            "{" => return true,
            "<" => end(">"),
            "#" => end("\n"),
            quote if after.starts_with(&quote.repeat(2)) => {
                let long = quote.repeat(3);
                after[2..].find(&long).map_or("", |at| &after[2 + at + 3..])
            }
            quote => after.find(quote).map_or("", |at| &after[at + 1..]),
        };
    }
    false
}

/// Whether a line after the first begins with an IRI and ends as a statement does.
fn has_statements(text: &str) -> bool {
    text.lines().skip(1).any(|line| line.trim().starts_with('<') && line.trim().ends_with(['.', ';', '}']))
}

/// The first bytes of an input, as text where it is one.
pub fn first_bytes(input: &Input) -> Result<Vec<u8>> {
    let mut bytes = vec![0; LOOK];
    let read = Source::open(input)?.fill(&mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// The whole lines of a file's first bytes that are text and not blank.
pub fn first_lines(first: &[u8]) -> Vec<&str> {
    let whole = match memchr::memrchr(b'\n', first) {
        Some(end) if first.len() == LOOK => &first[..end],
        _ => first,
    };
    let lines = whole.split(|&byte| byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    lines
        .map(|line| line.strip_suffix('\r').unwrap_or(line))
        .filter(|line| !line.trim().is_empty())
        .take(LINES)
        .collect()
}

/// What to do where the first line of an input is no triple; `None` where it looks like nothing that is known.
pub fn advice_for(input: &Input) -> Result<Option<String>> {
    let is_triples = matches!(input.role, Role::Triples(_) | Role::HardNegatives(_));
    if !is_triples || input.embedded.is_some() || !input.is_text() || input.format == Format::OgbCsv {
        return Ok(None);
    }
    Ok(advice(&first_bytes(input)?, input.format, &input.layout.columns.letters()))
}

/// As [`advice_for`], for one who reads the file as `format` with `columns`.
fn advice(first: &[u8], format: Format, columns: &str) -> Option<String> {
    let content = Content::of(first);
    let as_it_is = [
        (Content::NTriples, Format::NTriples),
        (Content::NQuads, Format::NQuads),
        (Content::Turtle, Format::Turtle),
        // All of Turtle is TriG.
        (Content::Turtle, Format::TriG),
        (Content::TriG, Format::TriG),
    ];
    if as_it_is.contains(&(content, format)) {
        return None;
    }
    let lines = first_lines(first);
    if matches!(format, Format::NTriples | Format::NQuads) {
        let reader = Lines { quads: true, lenient: true };
        if lines.iter().any(|line| reader.reads(line.as_bytes())) {
            // It is what it is called, and begins with a line that is bad.
            return None;
        }
        if lines.first().is_some_and(|line| reader.reads(format!("{line} .").as_bytes())) {
            return Some("its statements lack the dot at their end: add it (`sed 's/$/ ./' FILE`)".into());
        }
    }
    if let Some(advice) = content.advice() {
        return Some(advice);
    }
    if format.is_rdf() {
        return Some("the file looks like no RDF: if it has columns, give it the ending .txt or .csv".into());
    }
    if let Err(error) = std::str::from_utf8(first)
        && (error.error_len().is_some() || first.len() < LOOK)
    {
        let message = "the file is not in UTF-8: convert it, from Latin-1 by `iconv -f latin1 -t utf-8 FILE`";
        return Some(message.into());
    }
    let is_csv = format == Format::Csv;
    let numbers = |line: &str| line.split_ascii_whitespace().all(|word| word.parse::<u64>().is_ok());
    if let [count, rest @ ..] = lines.as_slice()
        && numbers(count)
        && count.split_ascii_whitespace().count() == 1
        && !rest.is_empty()
        && rest.iter().all(|line| numbers(line))
    {
        let message = "the file looks like OpenKE's: a count, then numbers of head, tail and relation; keep its \
                       entity2id.txt and relation2id.txt beside it, or name the files with their names by --maps";
        return Some(message.into());
    }
    // More columns than three, or fewer.
    let usual = if is_csv { Delimiter::Character(b',') } else { Delimiter::TAB };
    let of = |width| if is_csv { of_csv(&lines, width, Some(usual)) } else { of_text(&lines, width, usual) };
    let found = (3..=8).find_map(|width| match of(width) {
        Found::One(delimiter) => Some((delimiter, width)),
        _ => None,
    });
    let (delimiter, width) = found?;
    // What looks like a column may stand between columns.
    let is_mark = |text: &str| !text.is_empty() && !text.contains(char::is_alphanumeric);
    let column = |line: &str, place| delimiter.split(line).nth(place).unwrap_or_default().trim().to_owned();
    let marks = (0..width).map(|place| column(lines[0], place));
    let mark = marks
        .enumerate()
        .find(|(place, mark)| is_mark(mark) && lines.iter().all(|line| column(line, *place) == *mark));
    if let Some((_, mark)) = mark {
        let message =
            format!("`{mark}` stands between its columns: put tabs there (`sed 's/ *{mark} */\\t/g' FILE`)");
        return Some(message);
    }
    let mut options = Vec::new();
    if delimiter != usual {
        options.push(format!("--delimiter {}", delimiter.option()));
    }
    if width > columns.len() {
        options.push(format!("--columns {columns}{}", "-".repeat(width - columns.len())));
    }
    let options = options.join(" ");
    (!options.is_empty()).then(|| format!("its lines have {width} columns with {} between them: give `{options}` (the letters in the order of the columns)", delimiter.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_recognised_by_how_they_begin() {
        let cases: [(&[u8], Content); 25] = [
            (b"<http://a> <http://r> <http://b> .\n<http://a> <http://r> \"x\"@en .\n", Content::NTriples),
            (b"# a comment\n_:b <http://r> <http://b> .", Content::NTriples),
            (
                b"<http://a> <http://r> <http://b> .\n<http://a> <http://r> <http://b> <http://g> .\n",
                Content::NQuads,
            ),
            (b"@prefix e: <http://e/> .\ne:a e:r e:b .\n", Content::Turtle),
            (b"<http://a> <http://r> <http://b> ;\n  <http://s> <http://c> .\n", Content::Turtle),
            (b"PREFIX e: <http://e/>\ne:g {\n e:a e:r e:b .\n}\n", Content::TriG),
            (b"@prefix e: <http://e/{x}> . # {\ne:a e:r \"{\", \"\"\"\"{\"\"\" .\n", Content::Turtle),
            (b"@prefix e: <http://e/> .\ne:a e:r e:b .\ne:g { e:a e:p e:b }\n", Content::TriG),
            (b"GRAPH <http://g> { <http://a> <http://r> <http://b> . }\n", Content::TriG),
            (b"{ <http://a> <http://r> <http://b> . }\n", Content::TriG),
            (b"<http://g> {\n <http://a> <http://r> <http://b> .\n}\n", Content::TriG),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", Content::LfsPointer),
            (b"<?xml version=\"1.0\"?>\n<rdf:RDF>\n", Content::RdfXml),
            (b"<!DOCTYPE html>\n<html>", Content::Html),
            (b"{\"head\": \"a\", \"tail\": \"b\"}\n{\"head\": \"b\"}\n", Content::JsonLines),
            (b"[\n {\"head\": \"a\"}\n]\n", Content::Json),
            (b"\x89HDF\r\n\x1a\n", Content::Hdf5),
            (b"PK\x03\x04abc", Content::Zip),
            (b"\x93NUMPY\x01\0", Content::Npy),
            (b"\x80\x04\x95", Content::Pickle),
            (b"a\0b", Content::Binary),
            (b"a\tr\tb\n", Content::Lines),
            (b"<unk>\tr\tb\n", Content::Lines),
            (b"[x\tr\t{y}\n", Content::Lines),
            (b"", Content::Lines),
        ];
        for (first, content) in cases {
            assert_eq!(Content::of(first), content, "{}", String::from_utf8_lossy(first));
            let named = NAMES.iter().filter(|(named, ..)| *named == content).count();
            assert_eq!(named, usize::from(content != Content::Lines), "{content:?}");
        }
    }

    #[test]
    fn advice_is_given_in_options_and_endings() {
        let cases: [(&[u8], Option<&str>); 7] = [
            (
                b"<?xml version=\"1.0\"?>\n",
                Some(
                    "the file looks like RDF/XML: convert it to N-Triples (`rapper -o ntriples FILE`, or `riot --output=nt FILE`)",
                ),
            ),
            (
                b"{\"h\": 1}\n",
                Some(
                    "the file looks like JSON lines: write head, relation and tail with tabs between them (`jq -r '[.head, .relation, .tail] | @tsv'`)",
                ),
            ),
            (
                b"4\n0 1 0\n2 3 0\n",
                Some(
                    "the file looks like OpenKE's: a count, then numbers of head, tail and relation; keep its entity2id.txt and relation2id.txt beside it, or name the files with their names by --maps",
                ),
            ),
            (
                b"a,r,b,1\nb,r,c,2\n",
                Some(
                    "its lines have 4 columns with commas between them: give `--delimiter , --columns hrt-` (the letters in the order of the columns)",
                ),
            ),
            (
                b"a\tr\tb\t1\nb\tr\tc\t2\n",
                Some(
                    "its lines have 4 columns with tabs between them: give `--columns hrt-` (the letters in the order of the columns)",
                ),
            ),
            (b"a\tr\tb\n", None),
            (b"a b\n", None),
        ];
        for (first, expected) in cases {
            assert_eq!(advice(first, Format::Delimited, "hrt").as_deref(), expected);
        }
    }
}
