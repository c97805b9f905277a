//! Input formats as a user meets them: files -> `smore data import` -> a graph.

#![cfg(feature = "cli")]

use assert_cmd::Command;
use predicates::str::contains;
use serde_json::{Value, json};
use smore::engine::dataset::open;
use smore::engine::dataset::open::import_as;
use smore::engine::graph::{KnowledgeGraph, Split};
use std::path::Path;

mod common;
use common::{Folder, public_data};

fn import(folder: &Folder, path: &Path) -> smore::Result<KnowledgeGraph> {
    import_as(path, None, None, &folder.options()).map(|(graph, _)| graph)
}

/// The JSON of a command, with the folder's cache and nothing of the caller's environment.
fn smore(folder: &Folder, arguments: &[&str]) -> Value {
    let mut command = Command::cargo_bin("smore").unwrap();
    command.env_remove("SMORE_DATA").env("SMORE_CACHE", folder.cache()).current_dir(folder.path());
    let output = command.args(arguments).arg("--json").assert().success().get_output().clone();
    serde_json::from_slice(&output.stdout).expect("one JSON document")
}

/// Names of the triples of a split, forward, in any order.
fn triples(graph: &KnowledgeGraph, split: Split) -> Vec<[String; 3]> {
    let (entities, relations) = (graph.entities(), graph.relations());
    let forward = graph.split(split).triples().filter(|t| t.relation.0 % 2 == 0);
    let mut named: Vec<[String; 3]> = forward
        .map(|t| {
            [
                entities.name(t.head.0).to_owned(),
                relations.name(t.relation.0 / 2).to_owned(),
                entities.name(t.tail.0).to_owned(),
            ]
        })
        .collect();
    named.sort();
    named
}

#[test]
fn the_freebase_sample_has_the_published_counts() {
    let Some(data) = public_data() else { return };
    let folder = Folder::with(&[]);
    let file = |name: &str| data.join("freebase-rdf").join(name).display().to_string();
    for name in ["freebase-sample.nt", "freebase-sample.gz"] {
        let report = smore(&folder, &["data", "import", &file(name), "--name", "freebase"]);
        assert_eq!(
            report["counts"],
            json!({ "entities": 25_710, "relations": 99, "train": 25_713, "valid": 0, "test": 0 })
        );
        let info = smore(&folder, &["data", "info", "freebase"]);
        let skipped = json!({
            "object is a literal": 1_385,
            "object is no m. or g. entity": 334,
            "rdfs:label beside type.object.name": 69,
        });
        assert_eq!((&info["skipped_statements"], &report["skipped_statements"]), (&skipped, &skipped));
        let labels = info["labels"]["entities"].as_object().unwrap().values();
        assert_eq!(labels.map(|count| count.as_u64().unwrap()).sum::<u64>(), 73);
        let sources = info["sources"].as_array().unwrap();
        assert_eq!((sources.len(), &sources[0]["name"]), (1, &name.into()));
    }
    let report = smore(&folder, &["data", "import", &file("freebase-subject-obama.gz")]);
    assert_eq!(
        (&report["dataset"], &report["counts"]["train"]),
        (&"freebase-subject-obama".into(), &1952.into())
    );
    let graph = open("freebase-subject-obama", &folder.options()).unwrap().0;
    let obama = graph.entities().find("/m/02mjmr").unwrap();
    assert_eq!(graph.entities().label(obama).as_deref(), Some("Barack Obama"));
    assert!(graph.relations().find("/people/person/nationality").is_some());

    let head = import(&folder, &data.join("freebase-rdf/freebase-rdf-head100.nt")).unwrap_err().to_string();
    assert!(head.starts_with("freebase-rdf-head100: train has no triple; skipped statements: "), "{head}");
}

const NT: &str = "<http://a/x> <http://a/r> <http://a/y> .\n";

#[test]
fn a_folder_of_statements_is_one_graph_and_named_splits_are_kept_apart() {
    let second = "<http://a/y> <http://a/r> <http://a/x> .\n\
                  <http://a/x> <http://www.w3.org/2000/01/rdf-schema#label> \"X\"@en .\n\
                  <http://a/r> <http://www.w3.org/2000/01/rdf-schema#label> \"R\"@en .\n\
                  <http://a/z> <http://www.w3.org/2000/01/rdf-schema#label> \"no edge\"@en .\n";
    let dump = Folder::with(&[("b.nt", second), ("a.nt", NT), ("readme.md", "")]);
    let graph = import(&dump, &dump.data()).unwrap();
    assert_eq!(triples(&graph, Split::Train).len(), 2);
    assert_eq!(
        (graph.entities().label(0).as_deref(), graph.relations().label(0).as_deref()),
        (Some("X"), Some("R"))
    );
    let skipped = graph.metadata().skipped_statements();
    assert_eq!(
        skipped.into_iter().collect::<Vec<_>>(),
        [("label without an edge, or a second one in its language", 1)]
    );

    let splits = Folder::with(&[("train.nt", NT), ("valid.nt", second), ("test.txt", "http://a/x\tr\tq\n")]);
    let graph = import(&splits, &splits.data()).unwrap();
    assert_eq!(Split::ALL.map(|split| triples(&graph, split).len()), [1, 1, 1]);
    let partly = Folder::with(&[("train.nt", NT), ("other.nt", NT)]);
    let (_, report) = import_as(&partly.data(), None, None, &partly.options()).unwrap();
    assert_eq!(
        report.warnings,
        [
            "other.nt is not read: where there are files of splits, no other file of triples is",
            "there is no file of valid, nor of test: the splits are empty; `smore data import --hold-out 0.05` takes a share \
             of train for each"
        ]
    );
}

#[test]
fn malformed_statements_stop_the_import_or_are_counted() {
    // The bad line lies beyond the first block.
    let text = NT.repeat(60_000) + "<http://a/x> <http://a/r> oops .\n" + NT;
    let folder = Folder::with(&[("dump.nt", &text)]);
    let error = import(&folder, &folder.data()).unwrap_err().to_string();
    assert!(error.contains("dump.nt:60001: expected a statement of N-Triples: "), "{error}");
    let report = smore(&folder, &["data", "import", "data", "--skip-bad-lines"]);
    assert_eq!((&report["skipped_lines"], &report["counts"]["train"]), (&1.into(), &1.into()));
    assert_eq!(report["findings"]["duplicates"][0], 60_000);
    Command::cargo_bin("smore")
        .unwrap()
        .env("SMORE_CACHE", folder.cache())
        .args(["data", "import"])
        .arg(folder.data())
        .assert()
        .code(1)
        .stderr(contains("--skip-bad-lines"));
}

fn put(folder: &Folder, name: &str, bytes: &[u8]) {
    std::fs::write(folder.data().join(name), bytes).unwrap();
}

fn named(triples: &[[&str; 3]]) -> Vec<[String; 3]> {
    triples.iter().map(|triple| triple.map(str::to_owned)).collect()
}

#[test]
fn dgl_kes_freebase_has_head_tail_relation_and_keeps_its_ids() {
    let folder = Folder::with(&[
        ("entity2id.txt", "3\n/m/c\t2\n/m/a\t0\n/m/b\t1\n"),
        ("relation2id.txt", "2\nr\t0\ns\t1\n"),
        ("train.txt", "2\t0\t1\n0\t1\t0\n"),
        ("valid.txt", "1\t2\t0\n"),
        ("test.txt", "1\t1\t1\n"),
    ]);
    let graph = import(&folder, &folder.data()).unwrap();
    let entities = graph.entities();
    assert_eq!([0, 1, 2].map(|id| entities.name(id)), ["/m/a", "/m/b", "/m/c"]);
    assert_eq!(triples(&graph, Split::Train), named(&[["/m/a", "r", "/m/b"], ["/m/c", "s", "/m/a"]]));
    assert_eq!(triples(&graph, Split::Valid), named(&[["/m/b", "r", "/m/c"]]));
    graph.verify().unwrap();

    put(&folder, "valid.txt", b"1\t2\t0\n1\t3\t0\n");
    let error = import(&folder, &folder.data()).unwrap_err().to_string();
    assert!(error.contains("valid.txt:2: id 3 has no name: there are 3 entities"), "{error}");
    put(&folder, "entity2id.txt", b"4\n/m/c\t2\n/m/a\t0\n/m/b\t1\n");
    let error = import(&folder, &folder.data()).unwrap_err().to_string();
    assert!(error.contains("entity2id.txt: its first line says 4 names, found 3"), "{error}");
}

#[test]
fn dict_folders_keep_their_ids() {
    let folder = Folder::with(&[
        ("entities.dict", "0\tz\n1\ty\n2\tlonely\n"),
        ("relations.dict", "0\ts\n1\tr\n"),
        ("train.txt", "y\tr\tz\n"),
        ("valid.txt", "y\ts\tz\n"),
        ("test.txt", "z\tr\ty\n"),
    ]);
    let graph = import(&folder, &folder.data()).unwrap();
    assert_eq!(
        (graph.entities().find("z"), graph.relations().find("r"), graph.num_entities()),
        (Some(0), Some(1), 3)
    );
    assert_eq!(triples(&graph, Split::Train), named(&[["y", "r", "z"]]));
    put(&folder, "test.txt", b"z\tr\tx\n");
    let error = import(&folder, &folder.data()).unwrap_err().to_string();
    assert!(error.contains("\"x\""), "{error}");
}

/// `pickle.dumps(dict(enumerate(names)), 2)`, by hand.
fn pickled(names: &[&str]) -> Vec<u8> {
    let mut bytes = b"\x80\x02}(".to_vec();
    for (id, name) in (0u8..).zip(names) {
        bytes.extend([b"K", &[id][..], b"X", &(name.len() as u32).to_le_bytes(), name.as_bytes()].concat());
    }
    bytes.extend(b"u.");
    bytes
}

#[test]
fn triples_that_hold_their_inverses_are_not_doubled_again() {
    let folder = Folder::with(&[
        ("train.txt", "0\t0\t1\n1\t1\t0\n2\t3\t1\n1\t2\t2\n"),
        ("valid.txt", "2\t0\t0\n0\t1\t2\n"),
        ("test.txt", "0\t2\t0\n0\t3\t0\n"),
    ]);
    put(&folder, "id2ent.pkl", &pickled(&["a", "b", "c"]));
    put(&folder, "id2rel.pkl", &pickled(&["+r", "-r", "s", "s_reverse"]));
    let graph = import(&folder, &folder.data()).unwrap();
    assert_eq!(
        (graph.num_relations(), graph.relations().find("r"), graph.relations().find("s")),
        (4, Some(0), Some(1))
    );
    assert_eq!(triples(&graph, Split::Train), named(&[["a", "r", "b"], ["b", "s", "c"]]));
    assert_eq!(Split::ALL.map(|split| triples(&graph, split).len()), [2, 1, 1]);

    // A fact may be given in one direction alone, in either.
    for valid in [&b"2\t0\t0\n"[..], b"0\t1\t2\n"] {
        put(&folder, "valid.txt", valid);
        let (graph, report) = import_as(&folder.data(), None, None, &folder.options()).unwrap();
        assert_eq!(triples(&graph, Split::Valid), named(&[["c", "r", "a"]]));
        assert_eq!(
            report.warnings[0],
            "valid.txt: 1 of 1 facts are given in one direction only, and were taken from it"
        );
    }

    // One fact of two that is not doubled: four relations of their own.
    put(&folder, "train.txt", b"0\t0\t1\n1\t1\t0\n2\t3\t1\n");
    let (graph, report) = import_as(&folder.data(), None, None, &folder.options()).unwrap();
    assert_eq!((graph.num_relations(), graph.relations().find("-r")), (8, Some(1)));
    assert_eq!(
        report.warnings[0],
        "id2rel.pkl: relations 0 and 1 (1 of 1 facts) look like each other's inverses, but only 50.00 % of all facts of \
         train are given in both directions, less than 95 %: every relation is kept as one of its own, and each gets an inverse besides"
    );

    put(&folder, "id2ent.pkl", b"cos\nsystem\n(S'id'\ntR.");
    let error = import(&folder, &folder.data()).unwrap_err().to_string();
    assert!(error.contains("id2ent.pkl: ") && error.contains("refuses the global os.system"), "{error}");
}

#[test]
fn wikidata5m_is_read_with_the_first_alias_as_label() {
    let folder = Folder::with(&[
        ("wikidata5m_transductive_train.txt", "Q1\tP1\tQ2\n"),
        ("wikidata5m_transductive_valid.txt", "Q2\tP1\tQ1\n"),
        ("wikidata5m_transductive_test.txt", "Q2\tP1\tQ2\n"),
        ("wikidata5m_alias/wikidata5m_entity.txt", "Q1\tfirst alias\tsecond\nQ9\tunknown\n"),
        ("wikidata5m_relation.txt", "P1\tknows\n"),
    ]);
    let graph = import(&folder, &folder.data()).unwrap();
    assert_eq!(Split::ALL.map(|split| triples(&graph, split).len()), [1, 1, 1]);
    assert_eq!(
        (graph.entities().label(0).as_deref(), graph.relations().label(0).as_deref()),
        (Some("first alias"), Some("knows"))
    );
    put(&folder, "wikidata5m_inductive_train.txt", b"Q1\tP1\tQ2\n");
    let error = import(&folder, &folder.data()).unwrap_err().to_string();
    assert!(
        error.contains("has both wikidata5m_transductive_train.txt and wikidata5m_inductive_train.txt"),
        "{error}"
    );
}

#[test]
fn order_and_delimiter_of_columns_can_be_given() {
    let folder = Folder::with(&[("train.txt", "b|a|r\n"), ("valid.txt", "a|b|r\n"), ("test.txt", "a|a|r\n")]);
    let arguments = ["data", "import", "data", "--columns", "thr", "--delimiter", "|"];
    let report = smore(&folder, &arguments);
    let counts = json!({ "entities": 2, "relations": 1, "train": 1, "valid": 1, "test": 1 });
    assert_eq!(report["counts"], counts);
    let graph = open("data", &folder.options()).unwrap().0;
    assert_eq!(triples(&graph, Split::Train), named(&[["a", "r", "b"]]));
    for wrong in [["--columns", "hrr"], ["--columns", "hr"], ["--delimiter", "ab"], ["--hold-out", "0.5"]] {
        let mut command = Command::cargo_bin("smore").unwrap();
        command.args(["data", "import", "data"]).args(wrong).assert().code(2);
    }
}

#[test]
fn a_share_of_one_file_can_be_held_out() {
    let text: String = (0..20_000).map(|i| format!("{}\tr{}\t{}\n", i % 500, i % 7, i % 499)).collect();
    let folder = Folder::with(&[("all.tsv", &text)]);
    let report = smore(&folder, &["data", "import", "data/all.tsv", "--hold-out", "0.1"]);
    let count = |split: &str| report["counts"][split].as_u64().unwrap();
    assert_eq!(count("train") + count("valid") + count("test"), 20_000);
    assert!([count("valid"), count("test")].iter().all(|share| (1_800..2_200).contains(share)), "{report}");
    // Neither the order of lines nor duplicates matter.
    let turned: String = text.lines().rev().chain(text.lines()).map(|line| format!("{line}\n")).collect();
    put(&folder, "turned.tsv", turned.as_bytes());
    let again = smore(&folder, &["data", "import", "data/turned.tsv", "--hold-out", "0.1"]);
    assert_eq!(again["counts"], report["counts"]);

    let split =
        Folder::with(&[("train.txt", "a\tr\tb\n"), ("valid.txt", "a\tr\ta\n"), ("test.txt", "b\tr\tb\n")]);
    let reading = smore::engine::dataset::inventory::Reading { hold_out: 0.1, ..Default::default() };
    let options = smore::engine::dataset::OpenOptions { reading, ..split.options() };
    let error = import_as(&split.data(), None, None, &options).unwrap_err().to_string();
    assert!(error.contains("only where there is none"), "{error}");
}

#[test]
fn an_exported_folder_imports_as_the_same_graph() {
    let folder = Folder::with(&[]);
    let sizes = ["--entities=400", "--relations=12", "--edges=6000", "--valid=0.05", "--test=0.05"];
    let generate = ["data", "generate", "--name=made", "--write-folder=data/made"];
    let made = smore(&folder, &[&generate[..], &sizes[..]].concat());
    let read = smore(&folder, &["data", "import", "data/made", "--name=read", "--memory=20k"]);
    assert_eq!((&made["counts"], &made["findings"]), (&read["counts"], &read["findings"]));
    let open = |name| open(name, &folder.options()).unwrap().0;
    let (made, read) = (open("made"), open("read"));
    for split in Split::ALL {
        assert!(made.split(split).triples().eq(read.split(split).triples()), "{}", split.name());
    }
    let names = |names: smore::engine::graph::Names| {
        (0..names.len() as u32).map(|id| names.name(id).to_owned()).collect()
    };
    let (made_names, read_names): (Vec<String>, Vec<String>) =
        (names(made.entities()), names(read.entities()));
    assert!(made_names == read_names && made_names.len() == 400);
    let (made_names, read_names): (Vec<String>, Vec<String>) =
        (names(made.relations()), names(read.relations()));
    assert!(made_names == read_names && made_names.len() == 12);

    // Any dataset can be exported, and nothing is written over.
    let report = smore(&folder, &["data", "export", "umls", "data/mine"]);
    let files = std::fs::read_dir(folder.data().join("mine")).unwrap().map(|file| file.unwrap());
    let bytes: u64 = files.map(|file| file.metadata().unwrap().len()).sum();
    assert_eq!(report["bytes"], bytes);
    let umls = import(&folder, &folder.data().join("mine")).unwrap();
    let bundled = open("umls");
    assert_eq!(Split::ALL.map(|s| triples(&umls, s)), Split::ALL.map(|s| triples(&bundled, s)));
    let again =
        smore::engine::dataset::export::dgl_ke(&umls, &folder.data().join("mine"), &Default::default());
    assert!(again.unwrap_err().to_string().contains("has triples of train already"));
}

#[test]
fn weights_and_other_columns_are_passed_over_when_asked_for() {
    let folder = Folder::with(&[("all.tsv", "a\tr\tb\t0.5\nb\tr\tc\t2\n")]);
    let error = import(&folder, &folder.data().join("all.tsv")).unwrap_err().to_string();
    assert!(error.contains("all.tsv:1: ") && error.contains("`--columns hrt-`"), "{error}");
    let report = smore(&folder, &["data", "import", "data/all.tsv", "--columns", "hrt-"]);
    assert_eq!((&report["counts"]["train"], &report["counts"]["entities"]), (&2.into(), &3.into()));

    let ids = Folder::with(&[
        ("entity2id.txt", "2\na\t0\nb\t1\n"),
        ("relation2id.txt", "1\nr\t0\n"),
        ("train.txt", "0\t1\t0\t0.5\n1\t0\t0\t1\n"),
        ("valid.txt", "1\t1\t0\t1\n"),
        ("test.txt", "0\t0\t0\t1\n"),
    ]);
    let error = import(&ids, &ids.data()).unwrap_err().to_string();
    assert!(error.contains("`--columns htr-`"), "{error}");
    let report = smore(&ids, &["data", "import", "data", "--columns", "htr-"]);
    assert_eq!(report["counts"]["train"], 2);
}

#[test]
fn the_maps_of_user_defined_sets_are_given_by_name_and_read_in_either_order() {
    let files =
        [("edges.tsv", "0|1|0\n2|0|1\n"), ("ent.map", "0\tz\n1\ty\n2\tx\n"), ("rel.map", "s\t0\nr\t1\n")];
    let folder = Folder::with(&files);
    let import = ["data", "import", "data/edges.tsv", "--maps", "ent.map", "data/rel.map"];
    smore(&folder, &[&import[..], &["--columns=htr", "--delimiter=|"]].concat());
    let graph = open("edges", &folder.options()).unwrap().0;
    assert_eq!(triples(&graph, Split::Train), named(&[["x", "r", "z"], ["z", "s", "y"]]));
    // Triples of names keep the ids of the maps as well.
    put(&folder, "edges.tsv", b"y\ts\tx\n");
    smore(&folder, &import);
    let graph = open("edges", &folder.options()).unwrap().0;
    assert_eq!((graph.entities().find("y"), graph.num_entities()), (Some(1), 3));
    assert_eq!(triples(&graph, Split::Train), named(&[["y", "s", "x"]]));
    let mut command = Command::cargo_bin("smore").unwrap();
    command.current_dir(folder.path()).env("SMORE_CACHE", folder.cache());
    command.args(["data", "import", "data/edges.tsv", "--maps", "ent.map", "none.map"]);
    command.assert().code(1).stderr(contains("none.map: no such file, nor one in data"));
}

#[test]
fn a_share_of_a_dataset_with_ids_of_its_own_can_be_held_out() {
    let train: String = (0..20_000).map(|i| format!("{}\t{}\t{}\n", i % 500, i % 499, i % 7)).collect();
    let map = |letter: &str, n: u32| -> String {
        std::iter::once(format!("{n}\n")).chain((0..n).map(|i| format!("{letter}{i}\t{i}\n"))).collect()
    };
    let (entities, relations) = (map("e", 500), map("r", 7));
    let files =
        [("entity2id.txt", entities.as_str()), ("relation2id.txt", &relations), ("train.txt", &train)];
    let folder = Folder::with(&files);
    let (graph, report) = import_as(&folder.data(), None, None, &folder.options()).unwrap();
    assert_eq!(graph.split(Split::Valid).num_edges(), 0);
    assert_eq!(
        report.warnings.last().unwrap(),
        "there is no file of valid, nor of test: the splits are empty; `smore data import --hold-out 0.05` takes a share of \
         train for each"
    );
    let report = smore(&folder, &["data", "import", "data", "--hold-out", "0.1"]);
    let count = |split: &str| report["counts"][split].as_u64().unwrap();
    assert_eq!(count("train") + count("valid") + count("test"), 20_000);
    assert!([count("valid"), count("test")].iter().all(|share| (1_800..2_200).contains(share)), "{report}");
    let graph = open("data", &folder.options()).unwrap().0;
    assert_eq!((graph.entities().find("e7"), graph.relations().find("r3")), (Some(7), Some(3)));
}

#[test]
fn smores_doubled_triples_are_recognised_and_not_doubled_again() {
    // As SMORE writes them: 2k forward, 2k + 1 back; entity 3 has no edge.
    let train = "0 0 1\n1 1 0\n2 2 1\n1 3 2\n";
    let stats = "numentity: 4\nnumrelations: 4\n";
    for suffix in ["", "_bidir"] {
        let name = |split: &str| format!("{split}{suffix}.txt");
        let [a, b, c] = ["train", "valid", "test"].map(name);
        let folder = Folder::with(&[
            (&a, train),
            (&b, "2 0 0\n0 1 2\n"),
            (&c, "0 2 2\n2 3 0\n"),
            ("stats.txt", stats),
        ]);
        let graph = import(&folder, &folder.data()).unwrap();
        assert_eq!((graph.num_entities(), graph.num_relations()), (4, 4), "{suffix}");
        assert_eq!(triples(&graph, Split::Train), named(&[["0", "0", "1"], ["2", "1", "1"]]));
        assert_eq!(triples(&graph, Split::Test), named(&[["0", "1", "2"]]));
        put(&folder, &a, b"0 0 4\n");
        let error = import(&folder, &folder.data()).unwrap_err().to_string();
        assert!(error.contains("id 4 has no name: there are 4 entities"), "{error}");
    }
}

#[test]
fn a_header_is_no_triple_in_any_format_and_is_reported() {
    let folder =
        Folder::with(&[("train.tsv", "head\trelation\ttail\na\tr\tb\n"), ("x.csv", "from,rel,to\na,r,b\n")]);
    for file in ["data/train.tsv", "data/x.csv"] {
        let report = smore(&folder, &["data", "import", file]);
        assert_eq!((&report["counts"]["train"], &report["counts"]["entities"]), (&1.into(), &2.into()));
        assert!(
            report["warnings"][0].as_str().unwrap().ends_with("its first line is a header, and no triple")
        );
    }
    let ids = Folder::with(&[
        ("entity2id.txt", "2\na\t0\nb\t1\n"),
        ("relation2id.txt", "1\nr\t0\n"),
        ("train.txt", "head\ttail\trelation\n0\t1\t0\n"),
    ]);
    let report = smore(&ids, &["data", "import", "data", "--hold-out=0.01"]);
    assert_eq!((&report["counts"]["train"], &report["counts"]["entities"]), (&1.into(), &2.into()));
}
