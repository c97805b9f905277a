use super::super::lines::BadLines;
use super::super::rdf::Reason;
use super::*;
use proptest::prelude::*;
use std::path::Path;

fn edges_of(text: &str) -> (Vec<String>, Parsed) {
    let parsed = Lines::default().edges(text.as_bytes().into());
    (parsed.items().map(|item| item.join("|")).collect(), parsed)
}

fn labels_of(text: &str) -> Vec<String> {
    Lines::default().labels(text.as_bytes().into()).items().map(|item| item.join("|")).collect()
}

const NS: &str = "http://rdf.freebase.com/ns/";

#[test]
fn freebase_keeps_edges_between_entities_and_counts_the_rest() {
    let text = format!(
        "<{NS}m.1>\t<{NS}people.person.parents>\t<{NS}g.2>\t.\n\
         <{NS}m.1>\t<{NS}type.object.type>\t<{NS}people.person>\t.\n\
         <{NS}people.person>\t<{NS}type.type.instance>\t<{NS}m.1>\t.\n\
         <{NS}m.1>\t<{NS}common.topic.official_website>\t<http://a.b/%7Ec?d=e>\t.\n\
         <{NS}m.1>\t<{NS}type.object.name>\t\"Ann\"@en\t.\n\
         <{NS}m.1>\t<{LABEL}>\t\"Ann\"@en\t.\n\
         <{NS}m.1>\t<http://rdf.freebase.com/key/en>\t\"ann\"\t.\n"
    );
    let (found, parsed) = edges_of(&text);
    assert_eq!(found, ["/m/1|/people/person/parents|/g/2"]);
    let skipped: Vec<(Reason, u64)> = Reason::ALL.into_iter().zip(parsed.skipped).collect();
    assert_eq!(skipped.iter().map(|(_, count)| count).sum::<u64>(), 5);
    assert_eq!(
        skipped[..4],
        [(Reason::Subject, 1), (Reason::Object, 2), (Reason::Literal, 1), (Reason::RepeatedName, 1)]
    );
    assert_eq!(labels_of(&text), ["/m/1|en|Ann"]);
}

#[test]
fn other_files_keep_all_edges_between_iris_and_their_labels() {
    let text = format!(
        "# a comment\n\n<http://a/x> <http://a/r> <http://a/\\u00e9> . # more\r\n\
         <http://a/x> <{LABEL}> \"a \\\"b\\\"\\n\\u00E9\\U0001F600\"@zh-Hant .\n\
         <http://a/x><{LABEL}>\"plain\".\n\
         _:b1 <http://a/r> <http://a/y> .\n\
         <http://a/x> <http://a/n> \"1\"^^<http://www.w3.org/2001/XMLSchema#integer> .\n\
         <http://a/x> <http://www.w3.org/2002/07/owl#sameAs> <{NS}m.1> ."
    );
    let (found, parsed) = edges_of(&text);
    assert_eq!(
        found,
        ["http://a/x|http://a/r|http://a/é", "http://a/x|http://www.w3.org/2002/07/owl#sameAs|/m/1"]
    );
    assert_eq!(parsed.skipped[Reason::BlankNode as usize], 1);
    assert_eq!(parsed.skipped[Reason::Literal as usize], 1);
    assert!(parsed.bad.is_empty());
    assert_eq!(labels_of(&text), ["http://a/x|zh-hant|a \"b\"\né😀", "http://a/x|und|plain"]);
}

#[test]
fn malformed_lines_are_reported_with_their_number() {
    let good = "<http://a/x> <http://a/r> <http://a/y> .";
    let bad = [
        "<http://a/x> <http://a/r> <http://a/y>",
        "<http://a/x> <http://a/r> .",
        "<x> <http://a/r> <http://a/y> .",
        "<http://a/x> \"r\" <http://a/y> .",
        "<http://a/x> <http://a/r> \"open .",
        "<http://a/x> <http://a/r> \"\\q\" .",
        "<http://a/x y> <http://a/r> <http://a/y> .",
        "<http://a/x> <http://a/r> <http://a/y> . <http://a/x> <http://a/r> <http://a/y> .",
        "a\tb\tc",
    ];
    let text = bad.map(|line| format!("{good}\n{line}\n")).concat();
    let (found, parsed) = edges_of(&text);
    assert_eq!(found.len(), bad.len());
    let lines: Vec<u64> = parsed.bad.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, (1..=bad.len() as u64).map(|i| 2 * i).collect::<Vec<_>>(), "{:?}", parsed.bad);
    let mut policy = BadLines::new(Path::new("train.nt"), false);
    let error = parsed.report(&mut policy).unwrap_err().to_string();
    assert!(error.starts_with("train.nt:2: expected a statement of N-Triples: "), "{error}");
    let parsed = Lines::default().edges(b"<http://a/x> <http://a/r> \"\xff\" .\n"[..].into());
    assert_eq!(parsed.bad.len(), 1);
}

/// Holds the scanner to oxttl, where it claims to know a line; returns whether it does.
fn agree(line: &[u8]) -> bool {
    let Some(scanned) = plain(line) else { return false };
    assert_eq!(
        Ok(Some(scanned)),
        only(NTriplesParser::new().for_slice(line), "N-Triples"),
        "{}",
        String::from_utf8_lossy(line)
    );
    true
}

#[test]
fn the_scanner_knows_most_lines_of_freebase_and_reads_them_as_oxttl_does() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let folder = std::env::var_os("SMORE_DATA").map_or(beside, Into::into).join("freebase-rdf");
    let Ok(text) = std::fs::read(folder.join("freebase-sample.nt")) else { return };
    let known = lines(text[..].into()).filter(|(_, line)| agree(line)).count();
    assert!(known > 26_000, "{known}");
}

/// Pieces of lines, right and wrong ones.
const PIECES: [&str; 32] = [
    "<http://a/b>",
    "<http://a#b>",
    "<http://a#b#c>",
    "<http:///a>",
    "<http://>",
    "<http://a/%41>",
    "<https://a>",
    "<http://a/é>",
    "<http://a/b",
    "\"a\"",
    "\"é \t'\"",
    "\"\\n\"",
    "\"a",
    "@en",
    "@e",
    "@english",
    "@zh-Hant",
    "@EN",
    "^^<http://www.w3.org/2001/XMLSchema#date>",
    "^^<http://a/b>",
    "_:b",
    " ",
    "\t",
    "  ",
    ".",
    " .",
    "\t.",
    "#",
    "\r",
    "\u{0}",
    "<http://a/-._~>",
    "\u{85}",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn the_scanner_agrees_with_oxttl(pieces in prop::collection::vec(0..PIECES.len(), 1..9), cut: prop::sample::Index) {
        let line = pieces.iter().map(|&piece| PIECES[piece]).collect::<String>();
        agree(line.as_bytes());
        agree(&line.as_bytes()[..cut.index(line.len())]);
    }

    #[test]
    fn the_scanner_agrees_with_oxttl_near_right_lines(
        object in 9..PIECES.len(),
        tag in 0..PIECES.len(),
        place: prop::sample::Index,
        byte: u8,
    ) {
        let (object, tag) = (PIECES[object], PIECES[tag]);
        let mut line = format!("<http://a/b>\t<http://a#c>\t{object}{tag}\t.").into_bytes();
        agree(&line);
        let place = place.index(line.len());
        line[place] = byte;
        agree(&line);
    }
}
