//! Inputs that people stumble over in tools of this kind: each is read right, or refused with the remedy.

#![cfg(feature = "cli")]

use serde_json::Value;
use smore::engine::dataset::open::import_as;
use smore::engine::dataset::{ImportReport, OpenOptions};
use smore::engine::graph::{KnowledgeGraph, Split};

mod common;
use common::Folder;

fn import_with(
    folder: &Folder,
    file: &str,
    change: impl FnOnce(&mut OpenOptions),
) -> smore::Result<(KnowledgeGraph, ImportReport)> {
    let mut options = folder.options();
    change(&mut options);
    let path = if file.is_empty() { folder.data() } else { folder.data().join(file) };
    import_as(&path, None, None, &options)
}

fn import(folder: &Folder, file: &str) -> (KnowledgeGraph, ImportReport) {
    import_with(folder, file, |_| ()).unwrap()
}

/// The error of an import, without the path of the folder.
fn error(folder: &Folder, file: &str) -> String {
    strip(folder, import_with(folder, file, |_| ()).unwrap_err())
}

fn strip(folder: &Folder, error: smore::Error) -> String {
    let data = folder.data().display().to_string();
    error.to_string().replace(&(data.clone() + "/"), "").replace(&data, "data")
}

fn put(folder: &Folder, name: &str, bytes: &[u8]) {
    std::fs::write(folder.data().join(name), bytes).unwrap();
}

/// Names of the triples of a split, forward, in any order.
fn triples(graph: &KnowledgeGraph, split: Split) -> Vec<String> {
    let (entities, relations) = (graph.entities(), graph.relations());
    let forward = graph.split(split).triples().filter(|t| t.relation.0 % 2 == 0);
    let name = |t: smore::engine::ids::Triple| {
        [entities.name(t.head.0), relations.name(t.relation.0 / 2), entities.name(t.tail.0)].join("|")
    };
    let mut named: Vec<String> = forward.map(name).collect();
    named.sort();
    named
}

fn counts(graph: &KnowledgeGraph) -> (usize, usize, [usize; 3]) {
    (
        graph.num_entities(),
        graph.num_relations() / 2,
        Split::ALL.map(|split| graph.split(split).num_edges() / 2),
    )
}

/// Four triples of train, one of valid, one of test.
const SPLITS: [(&str, &str); 3] =
    [("train", "a r b\nb r c\nc r a\nd r a\n"), ("valid", "a r c\n"), ("test", "b r d\n")];

/// A folder with these triples, a header before each file, and `delimiter` for blanks.
fn splits(header: &str, delimiter: &str, ending: &str) -> Folder {
    let folder = Folder::with(&[]);
    for (split, text) in SPLITS {
        put(
            &folder,
            &format!("{split}.{ending}"),
            (header.to_owned() + text).replace(' ', delimiter).as_bytes(),
        );
    }
    folder
}

fn is_whole(graph: &KnowledgeGraph) {
    assert_eq!(counts(graph), (4, 1, [4, 1, 1]));
    assert_eq!(triples(graph, Split::Train), ["a|r|b", "b|r|c", "c|r|a", "d|r|a"]);
    assert_eq!(
        (triples(graph, Split::Valid), triples(graph, Split::Test)),
        (vec!["a|r|c".into()], vec!["b|r|d".into()])
    );
}

#[test]
fn headers_of_any_naming_are_no_triples_and_are_reported() {
    let headers = [
        "e1 rel e2\n",
        "#head relation tail\n",
        "node1 label node2\n",
        ":START_ID :TYPE :END_ID\n",
        "\"head\" \"relation\" \"tail\"\n",
        "Person Knows Other\n",
    ];
    for header in headers {
        let (graph, report) = import(&splits(header, "\t", "tsv"), "");
        is_whole(&graph);
        let expected = ["train", "valid", "test"]
            .map(|split| format!("{split}.tsv: its first line is a header, and no triple"));
        assert_eq!(report.warnings, expected, "{header}");
    }
}

#[test]
fn a_first_line_whose_relation_comes_again_is_a_triple() {
    let folder = splits("", "\t", "tsv");
    for (split, text) in SPLITS {
        put(
            &folder,
            &format!("{split}.tsv"),
            ("e1 rel e2\n".to_owned() + text + "e2 rel e1\n").replace(' ', "\t").as_bytes(),
        );
    }
    assert_eq!(counts(&import(&folder, "").0).0, 6);
    let (graph, _) = import_with(&folder, "", |options| options.reading.header = Some(true)).unwrap();
    assert!(graph.split(Split::Train).num_edges() / 2 == 5);
}

#[test]
fn a_single_file_that_may_have_a_header_is_warned_of_and_can_be_told() {
    let folder = Folder::with(&[("g.tsv", "Person\tKnows\tOther\na\tr\tb\nb\tr\tc\nc\tr\ta\n")]);
    let (graph, report) = import(&folder, "g.tsv");
    assert_eq!(counts(&graph), (5, 2, [4, 0, 0]));
    assert_eq!(
        report.warnings,
        [
            "g.tsv: its first line may be a header: \"Person\", \"Knows\" and \"Other\" do not come again; it is kept as a triple, \
          unless `--header yes` says otherwise"
        ]
    );
    let (graph, report) =
        import_with(&folder, "g.tsv", |options| options.reading.header = Some(true)).unwrap();
    assert_eq!(counts(&graph), (3, 1, [3, 0, 0]));
    assert_eq!(report.warnings, ["g.tsv: its first line is a header, and no triple"]);
    put(&folder, "g.tsv", b"head\trelation\ttail\na\tr\tb\n");
    let (graph, _) = import_with(&folder, "g.tsv", |options| options.reading.header = Some(false)).unwrap();
    assert_eq!(counts(&graph), (4, 2, [2, 0, 0]));
}

#[test]
fn delimiters_are_recognised_by_the_lines_and_named() {
    for (delimiter, ending, warning) in [
        (",", "txt", Some("comma")),
        (", ", "txt", Some("comma")),
        (";", "csv", Some("semicolon")),
        (";", "txt", Some("semicolon")),
        ("\t", "csv", Some("tab")),
        ("\t  ", "txt", None),
        ("  ", "txt", Some("blank")),
        (", ", "csv", None),
        (",", "csv", None),
        ("\t", "txt", None),
    ] {
        let (graph, report) = import(&splits("", delimiter, ending), "");
        if delimiter == "\t  " {
            // Between tabs a blank belongs to the name.
            assert!(graph.entities().find("  b").is_some());
            assert!(report.warnings.contains(
                &"train.txt: names begin or end with a blank on 4 lines; it is part of them".into()
            ));
            continue;
        }
        is_whole(&graph);
        let message: Vec<&String> =
            report.warnings.iter().filter(|w| w.contains("its columns are read as")).collect();
        match warning {
            Some(what) => {
                assert_eq!(*message[0], format!("train.{ending}: its columns are read as {what}-separated"))
            }
            None => assert!(message.is_empty(), "{message:?}"),
        }
        let trimmed = report
            .warnings
            .iter()
            .any(|w| w == &format!("train.{ending}: blanks around names were taken off on 4 lines"));
        assert_eq!(trimmed, delimiter == ", ", "{delimiter:?}: {:?}", report.warnings);
    }
}

#[test]
fn an_ambiguous_delimiter_is_refused_until_it_is_said() {
    let folder = Folder::with(&[("g.txt", "x,y r z,w\na,b s c,d\n")]);
    assert_eq!(
        error(&folder, "g.txt"),
        "g.txt: commas or blanks could separate its columns: say which, `--delimiter ,` or `--delimiter blanks`"
    );
    let report =
        common::json(common::smore(&folder).args(["data", "import", "data/g.txt", "--delimiter", "blanks"]));
    assert_eq!(report["counts"]["entities"], 4);
}

#[test]
fn options_that_a_format_has_no_use_for_are_refused() {
    let folder = Folder::with(&[
        ("g.nt", "<http://e/a> <http://e/p> <http://e/b> .\n"),
        ("g.csv", "a,b,r\nb,c,r\n"),
        ("s.csv", "a;r;b\nb;r;c\n"),
    ]);
    let run = |arguments: &[&str]| {
        let output = common::smore(&folder)
            .args(["data", "import"])
            .args(arguments)
            .assert()
            .code(1)
            .get_output()
            .clone();
        String::from_utf8(output.stderr).unwrap()
    };
    for option in
        [&["--columns", "htr"][..], &["--delimiter", ","], &["--header", "yes"], &["--maps", "a", "b"]]
    {
        assert_eq!(
            run(&[&["data/g.nt"], option].concat()),
            format!(
                "error: data/g.nt: {} has no effect on it: statements of RDF name everything in one order; leave it out\n",
                option[0]
            )
        );
    }
    assert_eq!(
        run(&["data/g.csv", "--lenient"]),
        "error: data/g.csv: --lenient has no effect on it: it is for IRIs in RDF; leave it out\n"
    );
    assert_eq!(
        run(&["data/g.csv", "--map-columns", "id-name"]),
        "error: --map-columns is for the files of --maps: give both or none\n"
    );
    let report =
        common::json(common::smore(&folder).args(["data", "import", "data/g.csv", "--columns", "htr"]));
    assert_eq!((&report["counts"]["entities"], &report["counts"]["relations"]), (&3.into(), &1.into()));
    let report =
        common::json(common::smore(&folder).args(["data", "import", "data/s.csv", "--delimiter", ";"]));
    assert_eq!((&report["counts"]["entities"], &report["counts"]["train"]), (&3.into(), &2.into()));
}

#[test]
fn a_map_of_numbers_is_read_by_its_ids_or_refused() {
    let rels = "7\t0\n8\t1\n";
    let folder = Folder::with(&[
        ("ents.txt", "0\t0\n1\t1\n10\t2\n11\t3\n"),
        ("rels.txt", rels),
        ("train.txt", "2\t0\t1\n1\t1\t3\n"),
        ("both.txt", "1\t0\n0\t1\n3\t2\n2\t3\n"),
    ]);
    let maps = |entities: &str| {
        Some(
            ["ents.txt", "rels.txt"]
                .map(|name| if name == "ents.txt" { entities.into() } else { name.into() }),
        )
    };
    let (graph, _) = import_with(&folder, "train.txt", |o| o.reading.maps = maps("ents.txt")).unwrap();
    assert_eq!(triples(&graph, Split::Train), ["10|7|1", "1|8|11"]);
    let refused = import_with(&folder, "train.txt", |o| o.reading.maps = maps("both.txt")).unwrap_err();
    assert_eq!(
        strip(&folder, refused),
        "both.txt: both columns are the numbers 0, 1, 2 and so on: say which has the ids, `--map-columns id-name` or \
         `--map-columns name-id`"
    );
    let report = common::json(common::smore(&folder).args([
        "data",
        "import",
        "data/train.txt",
        "--maps",
        "both.txt",
        "rels.txt",
        "--map-columns",
        "name-id",
    ]));
    assert_eq!(report["counts"]["entities"], 4);
}

#[test]
fn a_name_without_an_id_is_a_bad_line_with_its_place() {
    let folder = Folder::with(&[
        ("entities.dict", "0\tflu\n1\tfever\n2\trest\n3\tcold\n"),
        ("relations.dict", "0\tcauses\n1\ttreated by\n2\tmeans\n"),
        ("train.txt", "flu\tcauses\tfever\nflu\ttreated by\trest\ncold\tcauses\tcough\nfever\tmeans\tflu\n"),
        ("valid.txt", "cold\tcauses\tfever\n"),
        ("test.txt", "flu\tcauses\tcough\n"),
    ]);
    assert_eq!(
        error(&folder, ""),
        "train.txt:3: \"cough\" has no id: its map lacks it (`smore data import --skip-bad-lines` skips and counts such lines)"
    );
    let (graph, report) = import_with(&folder, "", |o| o.skip_bad_lines = true).unwrap();
    assert_eq!(counts(&graph), (4, 3, [3, 1, 0]));
    assert_eq!(report.warnings[..2], ["train.txt: skipped 1 bad line", "test.txt: skipped 1 bad line"]);
}

#[test]
fn texts_in_utf_16_with_a_mark_or_with_carriage_returns_are_read() {
    let utf16 = |text: &str| -> Vec<u8> {
        [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
    };
    type Encode<'e> = &'e dyn Fn(&str) -> Vec<u8>;
    let encodings: [Encode; 3] = [&utf16, &|text| ["\u{feff}", text].concat().into_bytes(), &|text| {
        text.replace('\n', "\r").into_bytes()
    }];
    for encode in encodings {
        for ending in ["txt", "csv"] {
            let folder = Folder::with(&[]);
            for (split, text) in SPLITS {
                let text = text.replace(' ', if ending == "csv" { "," } else { "\t" });
                put(&folder, &format!("{split}.{ending}"), &encode(&text));
            }
            let (graph, report) = import(&folder, "");
            is_whole(&graph);
            assert!(report.warnings.is_empty(), "{:?}", report.warnings);
        }
    }
    let folder = Folder::with(&[]);
    put(&folder, "train.txt", &utf16("caf\u{e9}\tr\tb\n"));
    assert_eq!(triples(&import(&folder, "").0, Split::Train), ["caf\u{e9}|r|b"]);
}

#[test]
fn rdf_in_files_called_texts_is_read_as_rdf() {
    let train = "<http://e/a> <http://e/p> <http://e/b> .\n<http://e/b> <http://e/p> <http://e/c> .\n\
                 <http://e/c> <http://e/q> <http://e/a> .\n<http://e/a> <http://e/label> \"A\"@en .\n";
    let (valid, test) =
        ("<http://e/a> <http://e/p> <http://e/c> .\n", "<http://e/c> <http://e/p> <http://e/b> .\n");
    for delimiter in [" ", "\t"] {
        let text = |text: &str| text.replace(' ', delimiter);
        let folder = Folder::with(&[
            ("train.txt", &text(train)),
            ("valid.txt", &text(valid)),
            ("test.txt", &text(test)),
        ]);
        assert_eq!(counts(&import(&folder, "").0), (3, 2, [3, 1, 1]));
    }
    let turtle = "@prefix e: <http://e/> .\n@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .\n\
                  e:a e:p e:b, e:c ; rdfs:label \"A\"@en .\ne:c e:q [ e:p e:a ] .\n";
    let quads = "<http://e/a> <http://e/p> <http://e/b> <http://e/g1> .\n<http://e/a> <http://e/p> <http://e/c> <http://e/g2> .\n";
    let trig = "@prefix e: <http://e/> .\ne:g1 {\n e:a e:p e:b .\n}\ne:g2 { e:a e:p e:c . }\n";
    for (ending, text, graphs) in [
        ("ttl", turtle, None),
        ("nq", quads, Some("2")),
        ("trig", trig, Some("2")),
        ("txt", turtle, None),
        ("txt", quads, Some("2")),
        ("txt", trig, Some("2")),
    ] {
        let name = format!("g.{ending}");
        let folder = Folder::with(&[(&name, text)]);
        let (graph, report) = import(&folder, &name);
        assert_eq!(
            triples(&graph, Split::Train),
            ["http://e/a|http://e/p|http://e/b", "http://e/a|http://e/p|http://e/c"],
            "{text}"
        );
        match graphs {
            Some(count) => assert_eq!(
                report.warnings,
                [format!("{name}: the statements of {count} named graphs are read as those of one")]
            ),
            None => {
                let a = graph.entities().find("http://e/a").unwrap();
                assert_eq!(graph.entities().label(a).as_deref(), Some("A"));
                assert_eq!(graph.metadata().skipped_statements()["blank node"], 2);
            }
        }
    }
    let bad = Folder::with(&[("g.ttl", "@prefix e: <http://e/> .\ne:a e:p e:b .\ne:a e:p oops .\n")]);
    let message = error(&bad, "g.ttl");
    assert!(
        message.starts_with("g.ttl:3: expected a statement of Turtle: ")
            && message.contains("--skip-bad-lines"),
        "{message}"
    );
    assert_eq!(counts(&import_with(&bad, "g.ttl", |o| o.skip_bad_lines = true).unwrap().0).2, [1, 0, 0]);
}

#[test]
fn iris_that_are_none_are_kept_where_that_is_asked_for() {
    let statement = "<http://e/a b> <http://e/p> <http://e/c> .\n";
    for (ending, what) in [("nt", "N-Triples"), ("nq", "N-Quads"), ("ttl", "Turtle")] {
        let name = format!("g.{ending}");
        let folder =
            Folder::with(&[(&name, &("<http://e/c> <http://e/p> <http://e/d> .\n".to_owned() + statement))]);
        let message = error(&folder, &name);
        assert!(
            message.starts_with(&format!("{name}:2: expected a statement of {what}: "))
                && message.contains("; --lenient keeps such IRIs"),
            "{message}"
        );
        let (graph, _) = import_with(&folder, &name, |o| o.reading.lenient = true).unwrap();
        assert!(graph.entities().find("http://e/a b").is_some(), "{ending}");
    }
}

#[test]
fn folders_of_openke_and_libkge_are_read() {
    let maps = [
        ("entity2id.txt", "5\nparis\t0\nfrance\t1\nberlin\t2\ngermany\t3\neurope\t4\n"),
        ("relation2id.txt", "2\ncapital_of\t0\nlocated_in\t1\n"),
    ];
    let train = "4\n0 1 0\n2 3 0\n4 0 1\n1 4 1\n";
    for (suffix, delimiter) in [("2id", " "), ("", " "), ("", "\t")] {
        let folder = Folder::with(&maps);
        for (split, text) in [("train", train), ("valid", "1\n4 1 0\n"), ("test", "1\n3 1 1\n")] {
            put(&folder, &format!("{split}{suffix}.txt"), text.replace(' ', delimiter).as_bytes());
        }
        let (graph, _) = import(&folder, "");
        assert_eq!(counts(&graph), (5, 2, [4, 1, 1]));
        assert_eq!(triples(&graph, Split::Train)[3], "paris|capital_of|france");
        put(&folder, &format!("train{suffix}.txt"), b"5\n0 1 0\n2 3 0\n");
        assert_eq!(
            error(&folder, ""),
            format!("train{suffix}.txt: its first line says 5 triples, found 2; get the file again")
        );
    }
    let folder = Folder::with(&[
        ("entity_ids.del", "0\tparis\n1\tfrance\n"),
        ("relation_ids.del", "0\tcapital_of\n"),
        ("train.del", "0\t0\t1\n"),
        ("valid.del", "0\t0\t0\n"),
        ("test.del", "1\t0\t1\n"),
    ]);
    let (graph, _) = import(&folder, "");
    assert_eq!(triples(&graph, Split::Train), ["paris|capital_of|france"]);
    assert_eq!(counts(&graph), (2, 1, [1, 1, 1]));
}

/// The beginning of an archive with one file.
const TAR: &[u8] = &{
    let mut bytes = [0u8; 520];
    let name = b"train.txt";
    let mut i = 0;
    while i < name.len() {
        bytes[i] = name[i];
        i += 1;
    }
    let magic = b"ustar";
    i = 0;
    while i < magic.len() {
        bytes[257 + i] = magic[i];
        i += 1;
    }
    bytes
};

#[test]
fn a_header_of_csv_takes_no_triple_with_it_whatever_ends_lines() {
    for (name, header, delimiter) in [
        ("train.csv", "head,relation,tail", ","),
        ("train.csv", "head;relation;tail", ";"),
        ("train.tsv", "head\trelation\ttail", "\t"),
    ] {
        for end in ["\n", "\r\n", "\r"] {
            let lines = ["a,r,b", "b,r,c", "c,r,a"].map(|line| line.replace(',', delimiter));
            let text = format!("{header}{end}{}{end}", lines.join(end));
            let folder = Folder::with(&[(name, &text)]);
            let (graph, report) = import(&folder, "");
            assert_eq!(triples(&graph, Split::Train), ["a|r|b", "b|r|c", "c|r|a"], "{name} {end:?}");
            let header = format!("{name}: its first line is a header, and no triple");
            assert!(report.warnings.contains(&header), "{:?}", report.warnings);
        }
    }
}

#[test]
fn quoted_names_lose_their_quotes_in_texts_too() {
    let note =
        |name: &str, what: &str| format!("{name}: its columns are read as quoted and {what}-separated");
    for (name, text, what) in [
        ("train.csv", "\"a\", \"r\", \"b\"\n\"b, x\", r ,\"a\"\n", None),
        ("train.txt", "\"a\",\"r\",\"b\"\n\"b, x\",\"r\",\"a\"\n", Some("comma")),
        ("train.txt", "\"a\";\"r\";\"b\"\n\"b, x\";\"r\";\"a\"\n", Some("semicolon")),
        ("train.tsv", "\"a\"\t\"r\"\t\"b\"\n\"b, x\"\t\"r\"\t\"a\"\n", Some("tab")),
        ("train.txt", "\"a\" \"r\" \"b\"\n\"b, x\" \"r\" \"a\"\n", Some("blank")),
    ] {
        let folder = Folder::with(&[(name, text)]);
        let (graph, report) = import(&folder, "");
        assert_eq!(triples(&graph, Split::Train), ["a|r|b", "b, x|r|a"], "{text}");
        assert_eq!(report.warnings.iter().any(|w| w.contains("as quoted")), what.is_some());
        assert!(what.is_none_or(|what| report.warnings.contains(&note(name, what))), "{:?}", report.warnings);
    }
    let both = Folder::with(&[("train.csv", "1,5;r;2,5\n2,5;r;3,5\n")]);
    assert_eq!(
        error(&both, ""),
        "train.csv: commas or semicolons could separate its columns: say which, `--delimiter ,` or `--delimiter ';'`"
    );
}

#[test]
fn rdf_with_graphs_is_read_whatever_it_is_called_and_one_bad_line_does_not_make_it_another_format() {
    let graphs = "@prefix e: <http://e/> .\ne:a e:p e:z .\ne:g { e:a e:p e:b . e:b e:p e:c }\nGRAPH e:h { e:c e:p e:d . }\n";
    for name in ["train.ttl", "train.trig", "train.txt"] {
        let folder = Folder::with(&[(name, graphs)]);
        let (graph, report) = import(&folder, "");
        assert_eq!(counts(&graph), (5, 1, [4, 0, 0]), "{name}");
        let note = format!("{name}: the statements of 2 named graphs are read as those of one");
        assert!(report.warnings.contains(&note), "{:?}", report.warnings);
    }
    let bare = Folder::with(&[("train.txt", "{ <http://e/a> <http://e/p> <http://e/b> . }\n")]);
    assert_eq!(counts(&import(&bare, "").0), (2, 1, [1, 0, 0]));
    let bad = "<http://e/a> <http://e/p> \"x\"@en_US .\n<http://e/a> <http://e/p> <http://e/b> .\n";
    let folder = Folder::with(&[("train.nt", bad)]);
    let message = error(&folder, "");
    assert!(
        message.ends_with("(`smore data import --skip-bad-lines` skips and counts such lines)"),
        "{message}"
    );
    let (graph, _) = import_with(&folder, "", |o| o.skip_bad_lines = true).unwrap();
    assert_eq!(counts(&graph), (2, 1, [1, 0, 0]));
    let dots = Folder::with(&[("train.nt", "<http://e/a> <http://e/p> <http://e/b>\n")]);
    let message = error(&dots, "");
    assert!(
        message.ends_with("; its statements lack the dot at their end: add it (`sed 's/$/ ./' FILE`)"),
        "{message}"
    );
}

#[test]
fn relations_that_share_no_fact_are_no_inverses_however_few_their_facts_are() {
    let mut train = String::new();
    for i in 0..400 {
        let (h, t) = (i % 40, (i * 7 + 1 + i / 40) % 40);
        train += &format!("{h} 0 {t}\n{t} 1 {h}\n");
    }
    train += "1 2 5\n6 2 7\n8 2 9\n1 3 6\n20 3 21\n30 3 31\n31 3 32\n";
    for relations in [3, 4] {
        let train: String = train
            .lines()
            .filter(|line| relations == 4 || !line.contains(" 3 "))
            .map(|line| format!("{line}\n"))
            .collect();
        let stats = format!("numentity: 40\nnumrelations: {relations}\n");
        let folder = Folder::with(&[("train.txt", &train), ("stats.txt", &stats)]);
        let (graph, report) = import(&folder, "");
        assert_eq!(graph.num_relations(), 2 * relations);
        let facts = if relations == 4 { 7 } else { 3 };
        assert_eq!(
            report.warnings[0],
            format!(
                "stats.txt: relations 0 and 1 (400 of 400 facts) look like each other's inverses, but relations 2 and 3 \
                 (0 of {facts} facts) do not: every relation is kept as one of its own, and each gets an inverse besides"
            )
        );
    }
}

#[test]
fn a_map_with_a_third_column_is_refused() {
    let folder =
        Folder::with(&[("train.txt", "0\t0\t1\n"), ("e.txt", "0\ta\tx\n1\tb\ty\n"), ("r.txt", "0\tr\n")]);
    let failed = import_with(&folder, "", |o| {
        o.reading.maps = Some(["e.txt", "r.txt"].map(|name| folder.data().join(name)));
    });
    assert_eq!(
        strip(&folder, failed.unwrap_err()),
        "e.txt:1: expected an id, a tab and a name, found 3 columns: keep two (`cut -f 1,2 FILE`)"
    );
}

#[test]
fn files_of_other_formats_are_named_with_what_to_do_and_are_not_skipped_line_by_line() {
    let cases: [(&str, &[u8], &str); 14] = [
        (
            "train.txt",
            b"<?xml version=\"1.0\"?>\n<rdf:RDF>\n",
            "train.txt:1: expected 3 tab-separated columns, found 1; the file looks like RDF/XML: convert it to N-Triples (`rapper -o ntriples FILE`, or `riot --output=nt FILE`)",
        ),
        (
            "train.txt",
            b"PK\x03\x04abc\xff",
            "train.txt:1: expected UTF-8, found byte 0xff at byte 8 of the line; the file looks like a zip archive: unpack it, and import what is in it",
        ),
        (
            "train.txt",
            b"{\"head\": \"a\", \"tail\": \"b\"}\n",
            "train.txt: the file looks like JSON lines: write head, relation and tail with tabs between them (`jq -r '[.head, .relation, .tail] | @tsv'`)",
        ),
        (
            // Three members have the commas of three columns.
            "train.txt",
            b"{\"head\": \"a\", \"relation\": \"r\", \"tail\": \"b\"}\n",
            "train.txt: the file looks like JSON lines: write head, relation and tail with tabs between them (`jq -r '[.head, .relation, .tail] | @tsv'`)",
        ),
        (
            "train.csv",
            b"{\"head\": \"a\", \"relation\": \"r\", \"tail\": \"b\"}\n",
            "train.csv: the file looks like JSON lines: write head, relation and tail with tabs between them (`jq -r '[.head, .relation, .tail] | @tsv'`)",
        ),
        (
            "train.txt",
            b"[\"a\", \"r\", \"b\"]\n",
            "train.txt: the file looks like JSON: write head, relation and tail with tabs between them, a triple a line",
        ),
        (
            "train.txt",
            b"a,r,b,1\nb,r,c,2\n",
            "train.txt:1: expected 3 tab-separated columns, found 1; its lines have 4 columns with commas between them: give `--delimiter , --columns hrt-` (the letters in the order of the columns)",
        ),
        (
            "train.txt",
            b"4\n0 1 0\n2 3 0\n",
            "train.txt:1: expected 3 tab-separated columns, found 1; the file looks like OpenKE's: a count, then numbers of head, tail and relation; keep its entity2id.txt and relation2id.txt beside it, or name the files with their names by --maps",
        ),
        (
            "train.txt",
            TAR,
            "train.txt: the file looks like a tar archive: unpack it (`tar -xf FILE`), and import what is in it",
        ),
        (
            "train.txt",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
            "train.txt: the file looks like a pointer of Git LFS: get the file itself: `git lfs pull`",
        ),
        (
            "train.txt",
            b"M\xfcller\tr\tb\nb\tr\tc\n",
            "train.txt:1: expected UTF-8, found byte 0xfc at byte 2 of the line; the file is not in UTF-8: convert it, from Latin-1 by `iconv -f latin1 -t utf-8 FILE`",
        ),
        (
            "train.txt",
            b"<http://e/a> <http://e/p> <http://e/b>\n<http://e/b> <http://e/p> <http://e/c>\n",
            "train.txt: its lines look like N-Triples without the dot at their end: add it (`sed 's/$/ ./' FILE`), or give `--delimiter blanks` where brackets belong to the names",
        ),
        (
            // What stands between the bars is no column.
            "train.txt",
            b"a ||| r ||| b\nb ||| r ||| c\n",
            "train.txt:1: expected 3 tab-separated columns, found 1; `|||` stands between its columns: put tabs there (`sed 's/ *||| */\\t/g' FILE`)",
        ),
        ("train.nt", b"a\tr\tb\n", "train.nt:1: expected a statement of N-Triples: "),
    ];
    for (name, bytes, expected) in cases {
        let folder = Folder::with(&[]);
        put(&folder, name, bytes);
        for skip in [false, true] {
            let failed = import_with(&folder, "", |o| o.skip_bad_lines = skip).unwrap_err();
            let message = strip(&folder, failed);
            if name == "train.nt" {
                assert!(
                    message.starts_with(expected)
                        && message.ends_with(
                            "; the file looks like no RDF: if it has columns, give it the ending .txt or .csv"
                        ),
                    "{message}"
                );
            } else {
                assert_eq!(message, expected);
            }
        }
    }
}

#[test]
fn splits_may_be_called_otherwise_be_empty_or_be_missing() {
    let train = "a\tr\tb\nb\tr\tc\nc\tr\ta\nd\tr\ta\n";
    for name in ["dev.txt", "val.txt", "validation.txt"] {
        let folder = Folder::with(&[("train.txt", train), (name, "a\tr\tc\n"), ("test.txt", "b\tr\td\n")]);
        is_whole(&import(&folder, "").0);
    }
    let both = Folder::with(&[("train.txt", train), ("dev.txt", "a\tr\tc\n"), ("valid.txt", "a\tr\tc\n")]);
    assert_eq!(error(&both, ""), "data: has both valid.txt and dev.txt; keep one of them");
    for valid in [Some(""), Some("head\trelation\ttail\n"), None] {
        let folder = Folder::with(&[("train.txt", train), ("test.txt", "b\tr\td\n")]);
        valid.into_iter().for_each(|text| put(&folder, "valid.txt", text.as_bytes()));
        let (graph, report) = import(&folder, "");
        assert_eq!(counts(&graph), (4, 1, [4, 0, 1]));
        let expected = "there is no file of valid: the split is empty; `smore data import --hold-out 0.05` takes a share of train for it";
        assert_eq!(report.warnings.iter().any(|warning| warning == expected), valid.is_none());
    }
    // A share of train for the split that is missing, and for no other.
    let many: String = (0..1000).map(|i| format!("{i}\tr\t{}\n", i * 7 % 100)).collect();
    let folder = Folder::with(&[("train.txt", &many), ("test.txt", "1\tr\t2\n")]);
    let (graph, _) = import_with(&folder, "", |o| o.reading.hold_out = 0.1).unwrap();
    let (_, _, [train, valid, test]) = counts(&graph);
    assert_eq!((train + valid, test), (1000, 1));
    assert!((60..140).contains(&valid), "{valid}");
}

#[test]
fn compressed_files_may_be_bzip2_or_xz() {
    use std::io::Write;
    let train = "a\tr\tb\nb\tr\tc\nc\tr\ta\nd\tr\ta\n";
    let folder = Folder::with(&[("valid.txt", "a\tr\tc\n")]);
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(train.as_bytes()).unwrap();
    put(&folder, "train.txt.bz2", &encoder.finish().unwrap());
    let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1)).unwrap();
    encoder.write_all(b"b\tr\td\n").unwrap();
    put(&folder, "test.txt.xz", &encoder.finish().unwrap());
    is_whole(&import(&folder, "").0);
}

#[test]
fn inverse_pairs_with_a_fact_too_many_or_too_few_are_still_inverse_pairs() {
    let mut train = String::new();
    for i in 0..40 {
        let (h, t) = (i % 20, (i * 7 + 1 + i / 20) % 20);
        let relation = 2 * (i % 2);
        train += &format!("{h} {relation} {t}\n{t} {} {h}\n", relation + 1);
    }
    let stats = ("stats.txt", "numentity: 20\nnumrelations: 4\n");
    let exact = Folder::with(&[("train.txt", &train), stats]);
    let expected = triples(&import(&exact, "").0, Split::Train);
    // A line twice, one more fact in its inverse direction alone.
    let odd = Folder::with(&[
        ("train.txt", &format!("{train}{}7 3 7\n", train.lines().next().unwrap().to_owned() + "\n")),
        stats,
    ]);
    let (graph, report) = import(&odd, "");
    assert_eq!(graph.num_relations(), 4);
    let mut with_one_more = expected.clone();
    with_one_more.push("7|1|7".into());
    with_one_more.sort();
    assert_eq!(triples(&graph, Split::Train), with_one_more);
    assert!(
        report.warnings[0].starts_with("train.txt: 1 of ")
            && report.warnings[0].ends_with(" facts are given in one direction only, and were taken from it"),
        "{:?}",
        report.warnings
    );
    let duplicates: &Value = &serde_json::to_value(&graph.metadata().findings).unwrap()["duplicates"][0];
    assert!(duplicates.as_u64().unwrap() >= 1, "the repeated line is counted: {duplicates}");
}

#[test]
fn names_that_a_reader_may_take_for_one_are_reported() {
    let folder = Folder::with(&[("g.tsv", "Paris\tr\tb\nparis\tr\tc\nb\tR\tc\nb\tr\tc \n")]);
    let (graph, report) = import(&folder, "g.tsv");
    assert_eq!(counts(&graph).0, 5);
    assert_eq!(
        report.warnings,
        [
            "g.tsv: names begin or end with a blank on 1 line; it is part of them",
            "names of entities that differ in case, blanks or Unicode form alone are kept apart: 2, as \"c\" and \"c \"",
            "names of relations that differ in case, blanks or Unicode form alone are kept apart: 1, as \"r\" and \"R\""
        ]
    );
}

#[test]
fn a_pickled_map_may_have_the_numbers_of_numpy() {
    let entities = b"\x80\x04\x95\x89\0\0\0\0\0\0\0}\x94(\x8c\x16numpy._core.multiarray\x94\x8c\x06scalar\x94\x93\x94\x8c\x05numpy\x94\
        \x8c\x05dtype\x94\x93\x94\x8c\x02i8\x94\x89\x88\x87\x94R\x94(K\x03\x8c\x01<\x94NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0t\x94bC\x08\
        \0\0\0\0\0\0\0\0\x94\x86\x94R\x94\x8c\x01a\x94h\x03h\x09C\x08\x01\0\0\0\0\0\0\0\x94\x86\x94R\x94\x8c\x01b\x94u.";
    let relations = b"\x80\x02}(K\0X\x01\0\0\0ru.";
    let folder = Folder::with(&[("train.txt", "0\t0\t1\n")]);
    put(&folder, "id2ent.pkl", entities);
    put(&folder, "id2rel.pkl", relations);
    assert_eq!(triples(&import(&folder, "").0, Split::Train), ["a|r|b"]);
}

#[test]
fn a_folder_of_another_program_is_named_by_what_lies_in_it() {
    let folder = Folder::with(&[("notes.md", "# notes\n")]);
    put(&folder, "edges_0_0.h5", b"\x89HDF\r\n\x1a\n");
    assert_eq!(
        error(&folder, ""),
        "data: train.txt is missing (or .tsv, .csv, .nt); edges_0_0.h5 is here: the file looks like HDF5, as PyTorch-BigGraph's \
         edges: write its arrays lhs, rel and rhs as the columns of a .npy file; a dataset's folder holds train, and maybe valid \
         and test triples"
    );
}
