//! Folders of triples -> graph files, through the library.

use smore::engine::dataset::open::import_as;
use smore::engine::dataset::registry::{self, Counts};
use smore::engine::dataset::{ImportReport, OpenOptions, open};
use smore::engine::graph::{KnowledgeGraph, Split};
use smore::engine::ids::{EntityId, RelationId, Triple};
use std::io::Write;
use std::path::{Path, PathBuf};

mod common;
use common::{Folder, public_data};

fn open_data(folder: &Folder) -> smore::Result<(KnowledgeGraph, ImportReport)> {
    open(folder.data().to_str().unwrap(), &folder.options())
}

fn error(folder: &Folder) -> String {
    open_data(folder).unwrap_err().to_string()
}

const TRAIN: &str = "b\tr\ta\na\ts\tb\n";

#[test]
fn names_are_numbered_by_first_appearance_and_read_both_ways() {
    let folder =
        Folder::with(&[("train.txt", TRAIN), ("valid.txt", "a\tr\tc\n"), ("test.txt", "007\tr\t7\n")]);
    let (graph, report) = open_data(&folder).unwrap();
    graph.verify().unwrap();
    let entities = graph.entities();
    let names: Vec<String> = (0..entities.len() as u32).map(|id| entities.name(id)).collect();
    assert_eq!(names, ["b", "a", "c", "007", "7"]);
    assert_eq!((entities.find("007"), entities.find("07")), (Some(3), None));
    assert_eq!((graph.num_relations(), graph.relations().find("s")), (4, Some(1)));
    assert_eq!(graph.dataset(), "data");

    let triple = |h, r, t| Triple { head: EntityId(h), relation: RelationId(r), tail: EntityId(t) };
    let train: Vec<Triple> = graph.split(Split::Train).triples().collect();
    assert_eq!(train, [triple(0, 0, 1), triple(0, 3, 1), triple(1, 1, 0), triple(1, 2, 0)]);
    assert!(graph.view(Split::Valid).contains(triple(1, 0, 2)));
    assert!(!graph.view(Split::Train).contains(triple(1, 0, 2)));
    assert!(graph.view(Split::Test).contains(triple(4, 1, 3)));

    assert_eq!(
        report.warnings,
        [
            "3 entities and 0 relations do not occur in train and are kept; 1 valid and 1 test triples have one"
        ]
    );
}

#[test]
fn bad_lines_stop_the_import_or_are_counted() {
    let files = [
        ("train.txt", "a\tr\tb\na\tb\n\n"),
        ("valid.txt", "a\tr\tb\tc\nb\tr\ta\n"),
        ("test.txt", "b\tr\tb\n"),
    ];
    let folder = Folder::with(&files);
    assert!(error(&folder).contains("train.txt:2: expected 3 tab-separated columns, found 2"));
    let options = OpenOptions { skip_bad_lines: true, ..folder.options() };
    let (graph, report) = open(folder.data().to_str().unwrap(), &options).unwrap();
    assert_eq!(Counts::of(&graph), Counts { entities: 2, relations: 1, train: 1, valid: 1, test: 1 });
    assert_eq!(report.warnings, ["train.txt: skipped 2 bad lines", "valid.txt: skipped 1 bad line"]);
    assert_eq!(report.bad_lines.len(), 3);
    assert!(
        report.bad_lines[1].ends_with("train.txt:3: expected 3 tab-separated columns, found an empty line")
    );
}

#[test]
fn a_missing_file_an_empty_file_and_invalid_utf8_are_named() {
    let good = [("valid.txt", TRAIN), ("test.txt", TRAIN)];
    let missing = Folder::with(&good);
    assert!(
        error(&missing)
            .contains("train.txt is missing (or .tsv, .csv, .nt); valid.txt and test.txt are here")
    );
    let empty = Folder::with(&[("train.txt", ""), good[0], good[1]]);
    assert!(error(&empty).contains("train.txt: is empty; expected one triple per line"));
    let both = Folder::with(&[("train.txt", TRAIN), ("train.csv", "a,r,b"), good[0], good[1]]);
    assert!(error(&both).contains("has both train.txt and train.csv"));
    let latin = Folder::with(&good);
    std::fs::write(latin.data().join("train.txt"), b"a\tr\tb\nM\xfcller\tr\tb\n").unwrap();
    assert!(error(&latin).contains("train.txt:2: expected UTF-8, found byte 0xfc at byte 2 of the line"));
    let nothing = Folder::with(&[]);
    assert!(
        error(&nothing).contains("train.txt is missing (or .tsv, .csv, .nt); a dataset's folder holds train")
    );
    let absent = open("./no/such/folder", &nothing.options()).unwrap_err().to_string();
    assert_eq!(absent, "./no/such/folder: no such folder or graph file");
}

#[test]
fn duplicates_are_kept_once_in_the_earliest_split_and_counted() {
    let folder = Folder::with(&[
        ("train.txt", "a\tr\tb\nb\tr\ta\na\tr\tb\n"),
        ("valid.txt", "a\tr\ta\na\tr\ta\n"),
        ("test.txt", "b\tr\ta\nb\tr\tb\na\tr\ta\n"),
        ("test_negatives.txt", "a\tr\tb\nb\tr\tb\n"),
    ]);
    let (graph, report) = open_data(&folder).unwrap();
    assert_eq!(Counts::of(&graph), Counts { entities: 2, relations: 1, train: 2, valid: 1, test: 1 });
    assert_eq!(
        report.warnings,
        [
            "train: 1 triple given more than once; each was kept once",
            "valid: 1 triple given more than once; each was kept once",
            "test: 2 triples also in an earlier split, where they were kept",
            "test: 2 triples given as hard negatives although they are facts",
        ]
    );
}

#[test]
fn csv_tsv_and_crlf_give_the_same_graph() {
    let text =
        Folder::with(&[("train.txt", "x y\tr\tb\n"), ("valid.txt", "b\tr\tb\n"), ("test.txt", "b\ts\tb\n")]);
    let other = Folder::with(&[
        ("train.csv", "head,relation,tail\n\"x y\",r,b\n"),
        ("valid.tsv", "b\tr\tb\r\n"),
        ("test.txt", "b\ts\tb"),
    ]);
    assert_eq!(open_data(&text).unwrap().0.fingerprint(), open_data(&other).unwrap().0.fingerprint());
}

#[test]
fn compressed_files_give_the_same_graph() {
    let gzip = |text: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let files = [("train.txt", TRAIN), ("valid.txt", "a\tr\tb\n"), ("test.csv", "\"a\",r,a\n"), TEXTS];
    let plain = Folder::with(&files);
    let other = Folder::with(&[("text/keep", "")]);
    let write = |name: &str, bytes: &[u8]| std::fs::write(other.data().join(name), bytes).unwrap();
    // Compression is detected from content, so a name without the ending is read too.
    write("train.txt", &[gzip(&TRAIN[..3]), gzip(&TRAIN[3..])].concat());
    write("valid.txt.zst", &zstd::encode_all(files[1].1.as_bytes(), 0).unwrap());
    write("test.csv.gz", &gzip(files[2].1));
    write("text/entity2text.txt.gz", &gzip(TEXTS.1));
    let graph = open_data(&other).unwrap().0;
    assert_eq!(graph.fingerprint(), open_data(&plain).unwrap().0.fingerprint());
    assert_eq!(graph.entities().label(1).as_deref(), Some("Apple"));
    let source = &graph.metadata().sources[1];
    let stored = std::fs::read(other.data().join("valid.txt.zst")).unwrap();
    assert_eq!((source.bytes, source.name.as_str()), (stored.len() as u64, "valid.txt.zst"));

    write("train.txt", &gzip(TRAIN)[..10]);
    assert!(error(&other).contains("train.txt: cannot be decompressed as gzip: it is cut short"));
}

const TEXTS: (&str, &str) = ("text/entity2text.txt", "a\tApple\n");

#[test]
fn a_data_folder_is_not_written_to_and_its_graph_is_cached_by_content() {
    let folder = Folder::with(&[("train.txt", TRAIN), ("valid.txt", TRAIN), ("test.txt", TRAIN)]);
    let files = |path: PathBuf| std::fs::read_dir(path).unwrap().count();
    let (first, report) = open_data(&folder).unwrap();
    assert!(!report.cached);
    let (again, report) = open_data(&folder).unwrap();
    assert!(report.cached);
    assert_eq!(first.path(), again.path());
    assert_eq!((files(folder.data()), files(folder.cache().join("graphs"))), (3, 1));

    std::fs::write(folder.data().join("train.txt"), "a\tr\ta\n").unwrap();
    let (changed, report) = open_data(&folder).unwrap();
    assert!(!report.cached && changed.fingerprint() != first.fingerprint());

    // A damaged cached file is made again.
    std::fs::write(changed.path(), b"SMORE").unwrap();
    assert!(!open_data(&folder).unwrap().1.cached);
    assert!(open_data(&folder).unwrap().1.cached);
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let write = || {
        let folder = Folder::with(&[("train.txt", TRAIN), ("valid.txt", TRAIN), ("test.txt", TRAIN)]);
        std::fs::read(open_data(&folder).unwrap().0.path()).unwrap()
    };
    assert_eq!(write(), write());
}

#[test]
fn a_codex_checkout_gives_labels_in_its_languages_and_hard_negatives() {
    let json = |label: &str| {
        format!("{{\"Q1\": {{\"label\": \"{label}\", \"wiki\": \"\"}}, \"Q9\": {{\"label\": \"x\"}}}}")
    };
    let folder = Folder::with(&[
        ("data/triples/codex-s/train.txt", "Q1\tP1\tQ2\n"),
        ("data/triples/codex-s/valid.txt", "Q2\tP1\tQ1\n"),
        ("data/triples/codex-s/test.txt", "Q2\tP1\tQ2\n"),
        ("data/triples/codex-s/test_negatives.txt", "Q1\tP1\tQ1\n"),
        ("data/entities/en/entities.json", &json("house")),
        ("data/entities/de/entities.json", &json("Haus")),
        ("data/relations/de/relations.json", "{\"P1\": {\"label\": \"gr\\u00fcn\"}}"),
        ("data/relations/es/relations.json", "{\"P1\": {\"label\": \"\"}}"),
    ]);
    let options = folder.options();
    let (graph, report) = import_as(&folder.data(), Some("codex-s"), None, &options).unwrap();
    graph.verify().unwrap();
    assert!(report.warnings.iter().any(|w| w.contains("CoDEx-S has 2034 entities, this graph 2")));
    assert!(report.warnings.iter().any(|w| w.contains("train.txt is not the published file of CoDEx-S")));
    assert_eq!((graph.language(), graph.entities().label(0).as_deref()), (Some("en"), Some("house")));
    assert_eq!((graph.entities().label(1).as_deref(), graph.entities().display(1)), (None, "Q2".into()));
    assert_eq!(graph.entities().find_label("Haus"), [0]);
    assert_eq!(graph.relations().label(0).as_deref(), Some("gr\u{fc}n"));
    assert_eq!(graph.entities().suggestions("huose", 1), ["house"]);
    let negative = Triple { head: EntityId(0), relation: RelationId(0), tail: EntityId(0) };
    assert_eq!(graph.hard_negatives(Split::Test), [negative]);
    assert!(graph.hard_negatives(Split::Valid).is_empty());

    let german = OpenOptions { language: Some("de".into()), ..options.clone() };
    let (graph, _) = import_as(&folder.data(), Some("codex-s"), None, &german).unwrap();
    assert_eq!(graph.entities().label(0).as_deref(), Some("Haus"));
    // The name now means this graph, wherever the data folder is.
    let (named, _) = open("codex-s", &options).unwrap();
    assert_eq!(named.entities().label(0).as_deref(), Some("Haus"));

    let french = OpenOptions { language: Some("fr".into()), ..options.clone() };
    let error = import_as(&folder.data(), Some("codex-s"), None, &french).unwrap_err().to_string();
    assert_eq!(error, "no labels in language \"fr\"; codex-s has de, en");
    let error = import_as(&folder.data(), Some("mine"), None, &options).unwrap_err().to_string();
    assert!(error.contains("looks like a CoDEx checkout"), "{error}");
}

#[test]
fn a_truncated_file_another_version_and_foreign_bytes_are_distinguished() {
    let folder = Folder::with(&[("train.txt", TRAIN), ("valid.txt", TRAIN), ("test.txt", TRAIN)]);
    let bytes = std::fs::read(open_data(&folder).unwrap().0.path()).unwrap();
    let path = folder.path().join("graph.smore");
    let open_bytes = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        KnowledgeGraph::open(&path).map(|graph| graph.verify().map_err(|e| e.to_string()))
    };
    let refused = |bytes: &[u8]| open_bytes(bytes).unwrap_err().to_string();
    open_bytes(&bytes).unwrap().unwrap();
    assert!(refused(&bytes[..bytes.len() - 1]).contains("is truncated"));
    let mut newer = bytes.clone();
    newer[8] = 9;
    let newer = refused(&newer);
    assert!(
        newer.contains("format version 9, but this smore reads version 2; import the dataset again"),
        "{newer}"
    );
    assert!(refused(b"PK\x03\x04 something else").contains("is not a smore graph file"));
    assert!(refused(b"").contains("is not a smore graph file"));

    // Whatever byte changes, padding too: opening refuses. Nothing panics.
    for position in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[position] ^= 1 << (position % 8);
        let error = refused(&bad);
        assert!(error.contains("graph.smore: is "), "byte {position}: {error}");
    }
    let rows = "is damaged: the checksum of its train rows does not match; import the dataset again with";
    assert!((0..bytes.len()).any(|position| {
        let mut bad = bytes.clone();
        bad[position] ^= 1;
        refused(&bad).contains(rows)
    }));
    assert!(refused(&[&bytes[..], b"\0"].concat()).contains("bytes instead of"));
}

#[test]
fn the_bundled_graph_needs_no_files() {
    let folder = Folder::with(&[]);
    let (graph, report) = open("umls", &folder.options()).unwrap();
    graph.verify().unwrap();
    assert_eq!(Counts::of(&graph), registry::find("umls").unwrap().counts);
    assert!(report.warnings.is_empty(), "{:?}", report.warnings);
}

#[test]
fn an_unknown_name_lists_what_is_known_and_what_is_near() {
    let folder = Folder::with(&[]);
    let error = open("FB15k-273", &folder.options()).unwrap_err().to_string();
    assert!(
        error.starts_with("unknown dataset \"FB15k-273\" (did you mean fb15k-237?): known are codex-s"),
        "{error}"
    );
    let error = open("wn18rr", &folder.options()).unwrap_err().to_string();
    assert!(error.contains("--data-dir") && error.contains("TimDettmers/ConvE"), "{error}");
    let options = OpenOptions { data_dir: Some(folder.data()), ..folder.options() };
    let error = open("wn18rr", &options).unwrap_err().to_string();
    assert!(error.contains("looked for WN18RR, wn18rr"), "{error}");
}

#[test]
fn a_folder_in_the_data_folder_is_known_by_its_name() {
    let files = [("mine/train.txt", TRAIN), ("mine/valid.txt", TRAIN), ("mine/test.txt", TRAIN)];
    let folder = Folder::with(&files);
    let options = OpenOptions { data_dir: Some(folder.data()), ..folder.options() };
    assert_eq!(open("mine", &options).unwrap().0.dataset(), "mine");
}

#[test]
fn every_public_dataset_imports_as_published() {
    let Some(data) = public_data() else { return };
    let folder = Folder::with(&[]);
    let options = OpenOptions { data_dir: Some(data.clone()), ..folder.options() };
    for manifest in registry::all().iter().filter(|manifest| manifest.name != "codex-l") {
        let (graph, report) = open(&manifest.name, &options).unwrap();
        graph.verify().unwrap();
        assert_eq!(Counts::of(&graph), manifest.counts, "{}", manifest.name);
        assert_eq!(manifest.differences(&graph), [""; 0], "{}", manifest.name);
        let unseen = report.warnings.len();
        assert_eq!(
            unseen,
            usize::from(["fb15k-237", "wn18rr"].contains(&manifest.name.as_str())),
            "{report:?}"
        );
        // The same dataset, given by its folder, is recognised.
        let (again, report) = open(report.source.to_str().unwrap(), &options).unwrap();
        assert_eq!((again.dataset(), again.path()), (manifest.name.as_str(), graph.path()));
        assert!(manifest.bundled().is_some() || report.cached);
    }
}

#[test]
fn public_labels_and_negatives_are_those_of_the_files() {
    let Some(data) = public_data() else { return };
    let folder = Folder::with(&[]);
    let options = OpenOptions { data_dir: Some(data.clone()), ..folder.options() };
    let open = |name: &str| open(name, &options).unwrap().0;

    let codex = open("codex-s");
    let languages: Vec<&str> = codex.relations().languages().map(|(language, _)| language).collect();
    assert_eq!(languages, ["en", "ar", "de", "es", "ru", "zh"]);
    assert_eq!(codex.hard_negatives(Split::Valid).len(), 1827);
    assert_eq!(codex.hard_negatives(Split::Test).len(), 1828);
    let euler = codex.entities().find("Q7604").unwrap();
    assert_eq!(codex.entities().label(euler).as_deref(), Some("Leonhard Euler"));
    assert_eq!(codex.entities().find_label("Leonhard Euler"), [euler]);
    assert_eq!(codex.entities().languages().next(), Some(("en", 2034)));

    let freebase = open("fb15k-237");
    let id = freebase.entities().find("/m/06rf7").unwrap();
    assert_eq!(freebase.entities().label(id).as_deref(), Some("Schleswig-Holstein"));
    assert_eq!(freebase.metadata().findings.unseen_entities, 36);
    assert_eq!(freebase.metadata().findings.unseen_triples, [0, 9, 28]);

    let wordnet = open("wn18rr");
    let id = wordnet.entities().find("00260881").unwrap();
    assert_eq!(wordnet.entities().label(id).as_deref(), Some("land_reform.n.01"));
    assert_eq!(wordnet.metadata().findings.unseen_entities, 384);
}

#[test]
fn codex_l_without_its_train_file_says_where_to_get_it() {
    let Some(data) = public_data() else { return };
    let folder = Folder::with(&[]);
    let options = OpenOptions { data_dir: Some(data), ..folder.options() };
    let error = open("codex-l", &options).unwrap_err().to_string();
    assert!(error.contains("codex-l: train.txt is missing"), "{error}");
    assert!(
        error.contains("valid.txt and test.txt are here; CoDEx-L comes from repository tsafavi/codex"),
        "{error}"
    );
}

/// Made once with `smore data import tests/data/tiny/triples/tiny --name tiny --output
/// tests/data/graph-v2.smore` and never again: it shows that old files keep opening.
#[test]
fn a_frozen_file_of_version_2_opens() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/graph-v2.smore");
    let graph = KnowledgeGraph::open(&path).unwrap();
    graph.verify().unwrap();
    assert_eq!((graph.dataset(), graph.num_entities(), graph.num_relations()), ("tiny", 4, 4));
    assert_eq!(Counts::of(&graph), Counts { entities: 4, relations: 2, train: 3, valid: 1, test: 1 });
    let entities = graph.entities();
    let names: Vec<String> = (0..4).map(|id| entities.name(id)).collect();
    assert_eq!(names, ["Q1", "Q2", "Q3", "Q4"]);
    assert_eq!((entities.label(0).as_deref(), entities.label(3)), (Some("Ada Lovelace"), None));
    assert_eq!(graph.relations().label(0).as_deref(), Some("knows"));
    assert_eq!(graph.relations().find("P2"), Some(1));
    let triple = |h, r, t| Triple { head: EntityId(h), relation: RelationId(r), tail: EntityId(t) };
    let facts = |split| -> Vec<Triple> {
        graph.split(split).triples().filter(|t| !t.relation.is_inverse()).collect()
    };
    assert_eq!(facts(Split::Train), [triple(0, 0, 1), triple(0, 2, 2), triple(1, 0, 2)]);
    assert_eq!(facts(Split::Valid), [triple(2, 0, 0)]);
    assert_eq!(facts(Split::Test), [triple(3, 2, 0)]);
    assert_eq!(graph.hard_negatives(Split::Test), [triple(3, 2, 1)]);
    assert_eq!(graph.fingerprint(), 0x4c91_23e3_07dd_628c);
}

/// The graph file of `folder`, imported with `memory` bytes.
fn bytes_with(folder: &Path, memory: u64) -> Vec<u8> {
    let scratch = tempfile::tempdir().unwrap();
    let output = scratch.path().join("out").join("graph.smore");
    let options = OpenOptions {
        cache_dir: Some(scratch.path().join("cache")),
        memory: Some(memory),
        ..OpenOptions::default()
    };
    let (graph, _) = import_as(folder, Some("same"), Some(&output), &options).unwrap();
    graph.verify().unwrap();
    let left: Vec<_> = std::fs::read_dir(output.parent().unwrap()).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing but the graph is left: {left:?}");
    std::fs::read(&output).unwrap()
}

#[test]
fn the_file_does_not_depend_on_the_memory_it_was_made_with() {
    let mut files = [
        ("train.txt", String::new()),
        ("valid.txt", String::new()),
        ("test.txt", String::new()),
        ("valid_negatives.txt", String::new()),
        ("test_negatives.txt", String::new()),
    ];
    // Skewed names, duplicates within and across splits, negatives with new names and false ones.
    let mut state = 1u64;
    let mut draw = |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let x = (state >> 33) % (n * n);
        (x as f64).sqrt() as u64
    };
    for (split, lines) in [(0, 3_000), (1, 400), (2, 400), (3, 100), (4, 100)] {
        for _ in 0..lines {
            let line = format!("é{}\tr{}\té{}\n", draw(600), draw(5), draw(600));
            files[split].1 += &line;
            if draw(10) == 3 {
                files[split].1 += &line;
            }
        }
    }
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let folder = Folder::with(&files);
    let whole = bytes_with(&folder.data(), 1 << 30);
    for memory in [0, 1 << 10, 20_000, 100_000] {
        assert!(bytes_with(&folder.data(), memory) == whole, "{memory} bytes of memory");
    }
}

#[test]
fn public_graphs_do_not_depend_on_the_memory_they_were_made_with() {
    let Some(data) = public_data() else { return };
    for name in ["umls", "WN18RR", "FB15k-237", "codex/data/triples/codex-s"] {
        let whole = bytes_with(&data.join(name), 1 << 30);
        assert!(bytes_with(&data.join(name), 300_000) == whole, "{name}");
    }
}
