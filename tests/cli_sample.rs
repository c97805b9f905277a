//! `smore sample` as a user runs it: what it writes is held to the exact executor and to `smore eval`.

#![cfg(feature = "cli")]

use predicates::prelude::*;
use predicates::str::{contains, is_empty};
use serde_json::{Value, json};
use smore::engine::dataset::open;
use smore::engine::graph::{KnowledgeGraph, Split};
use smore::engine::query::execute::answers;
use smore::engine::query::{parse_query, structure};
use std::collections::{BTreeMap, BTreeSet};

mod common;
use common::{Folder, json, smore};

/// The lines that `smore sample` with these arguments prints.
fn sample(folder: &Folder, arguments: &[&str]) -> Vec<Value> {
    let output = smore(folder).arg("sample").args(arguments).assert().success().get_output().clone();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).expect("a line is a JSON document")).collect()
}

fn names(line: &Value, key: &str) -> BTreeSet<String> {
    let list = line[key].as_array().unwrap();
    let names: BTreeSet<_> = list.iter().map(|name| name.as_str().unwrap().to_owned()).collect();
    assert_eq!(names.len(), list.len(), "an answer stands once");
    names
}

/// Checks easy and hard answers of a line by the executor.
fn check(graph: &KnowledgeGraph, line: &Value, [observed, full]: [Split; 2]) {
    let query =
        smore::engine::query::ground(&parse_query(line["query"].as_str().unwrap()).unwrap(), graph).unwrap();
    assert_eq!(line["structure"], query.structure().to_string());
    let on = |split| -> BTreeSet<String> {
        answers(&graph.view(split), &query).iter().map(|id| graph.entities().name(id.0)).collect()
    };
    let (observed, full) = (on(observed), on(full));
    let (easy, hard) = (names(line, "easy"), names(line, "hard"));
    assert_eq!(hard, &full - &observed, "{line}");
    assert_eq!(easy, &full & &observed, "{line}");
    assert!(!hard.is_empty());
    let edges = query.flatten().1.len() as u64;
    let counts = |key: &str| -> Vec<u64> {
        line[key].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect()
    };
    let (missing, known) = (counts("missing"), counts("observed"));
    assert_eq!([missing.len(), known.len()], [hard.len(); 2], "{line}");
    for (missing, known) in missing.iter().zip(&known) {
        assert!(*missing > 0 && missing + known <= edges, "{line}");
        assert!(query.has_negation() || query.has_union() || missing + known == edges, "{line}");
    }
}

#[test]
fn every_line_has_a_query_whose_answers_are_those_of_the_executor() {
    let folder = Folder::in_memory();
    let generate = ["data", "generate", "--name=toy", "--entities=300", "--relations=8", "--edges=4000"];
    smore(&folder).args(generate).assert().success();
    for dataset in ["toy", "umls"] {
        let (graph, _) = open(dataset, &folder.options()).unwrap();
        for (split, graphs) in
            [("valid", [Split::Train, Split::Valid]), ("test", [Split::Valid, Split::Test])]
        {
            let lines = sample(&folder, &[dataset, "--split", split, "--queries=15"]);
            lines.iter().for_each(|line| check(&graph, line, graphs));
            let structures: BTreeSet<&str> = lines.iter().map(|l| l["structure"].as_str().unwrap()).collect();
            let all: BTreeSet<&str> = structure::NAMED.iter().map(|(name, _)| *name).collect();
            assert_eq!(structures, all, "{dataset}");
            assert_eq!(lines.len(), 14 * 15, "{dataset}");
        }
    }
}

#[test]
fn names_that_need_quotes_come_back_from_the_text_of_a_query() {
    let folder = Folder::with(&[
        ("train.txt", "it's\tn\ta \"b\"\na \"b\"\t^u\t(c,d)\nit's\tu\t\\e\n\\e\tn\tit's\n"),
        ("valid.txt", "a \"b\"\tn\tit's\n"),
        ("test.txt", "(c,d)\tn\t\\e\n(c,d)\t^u\tit's\n\\e\tu\ta \"b\"\n"),
    ]);
    let (graph, _) = open(folder.data().to_str().unwrap(), &folder.options()).unwrap();
    let lines = sample(&folder, &["./data", "--structures=1p.2p.2u.('e',('r','r','r','r'))"]);
    lines.iter().for_each(|line| check(&graph, line, [Split::Valid, Split::Test]));
    assert!(lines.len() > 12, "{lines:?}");
}

#[test]
fn the_queries_are_those_that_eval_ranks() {
    let folder = Folder::in_memory();
    let train =
        ["train", "umls", "--steps=2", "--dim=8", "--batch-size=32", "--negatives=16", "--run-dir=run"];
    smore(&folder).args(train).args(["--set", "evaluation.valid_queries=20"]).assert().success();
    let options = ["--split=valid", "--structures=1p.2i.up", "--queries=40"];
    let report = json(smore(&folder).args(["eval", "run"]).args(options));
    let sets = || {
        let (graph, _) = open("umls", &folder.options()).unwrap();
        let cache = smore::engine::dataset::Cache::new(Some(&folder.cache())).unwrap();
        std::fs::read_dir(cache.derived(graph.fingerprint())).unwrap().count()
    };
    let before = sets();
    let lines = sample(&folder, &[&["umls"], &options[..]].concat());
    assert_eq!(sets(), before, "the set of eval was in the cache");
    let mut counts: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    for line in &lines {
        let [queries, hard] = counts.entry(line["structure"].as_str().unwrap()).or_default();
        *queries += 1;
        *hard += names(line, "hard").len();
    }
    assert_eq!(counts.len(), 3);
    for (structure, [queries, hard]) in counts {
        let metrics = &report["multi_hop"][structure];
        assert_eq!(
            [&metrics["num_queries"], &metrics["num_answers"]],
            [queries, hard],
            "{structure}: {report}"
        );
    }
    for line in lines.iter().step_by(25) {
        let asked = json(smore(&folder).args(["query", "run", line["query"].as_str().unwrap()]));
        assert_eq!((&asked["structure"], &asked["query"]), (&line["structure"], &line["query"]));
    }
}

#[test]
fn a_file_gets_the_same_lines_and_standard_output_a_table_or_one_document() {
    let folder = Folder::in_memory();
    let options = ["umls", "--structures=1p.2i", "--queries=30", "--seed=3"];
    let lines = sample(&folder, &options);
    smore(&folder)
        .arg("sample")
        .args(options)
        .args(["--output", "new/queries.jsonl"])
        .assert()
        .success()
        .stdout(contains("easy answers").and(contains("2i")))
        .stderr(contains("new/queries.jsonl"));
    let text = std::fs::read_to_string(folder.path().join("new/queries.jsonl")).unwrap();
    let read: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((read.len(), read), (60, lines.clone()));
    let keys: Vec<&String> = lines[0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["structure", "query", "easy", "hard", "missing", "observed"]);

    let report = json(smore(&folder).arg("sample").args(options).args(["--output", "queries.jsonl"]));
    let total = |key: &str| lines[30..].iter().map(|line| line[key].as_array().unwrap().len()).sum::<usize>();
    let counts = json!({ "queries": 30, "easy": total("easy"), "hard": total("hard") });
    assert_eq!((&report["split"], &report["structures"]["2i"]), (&json!("test"), &counts));
    assert_ne!(lines, sample(&folder, &["umls", "--structures=1p.2i", "--queries=30", "--seed=4"]));
}

#[test]
fn what_cannot_be_drawn_is_noted_beside_the_lines() {
    let folder =
        Folder::with(&[("train.txt", "a\tr\tb\n"), ("valid.txt", "b\tr\ta\n"), ("test.txt", "a\tr\tb\n")]);
    smore(&folder)
        .args(["sample", "./data", "--structures=2i"])
        .assert()
        .success()
        .stdout(is_empty())
        .stderr(
            contains("note: 2i: no queries: there are no held-out edges").and(contains("0 test queries")),
        );
}

#[test]
fn wrong_arguments_are_refused() {
    let folder = Folder::in_memory();
    let cases: [(&[&str], i32, &str); 7] = [
        (&["umls", "--format=pickle"], 1, "--output FOLDER"),
        (&["umls", "--format=pickle", "--output=x", "--split=test"], 1, "leave --split out"),
        (&["umls", "--structures=4x"], 1, "4x"),
        (&["umlss"], 1, "did you mean umls?"),
        (&["umls", "--split=train"], 2, "expected valid or test"),
        (&["umls", "--queries=0"], 2, "--queries"),
        (&[], 2, "<DATASET>"),
    ];
    for (arguments, code, message) in cases {
        smore(&folder)
            .arg("sample")
            .args(arguments)
            .assert()
            .code(code)
            .stdout(is_empty())
            .stderr(contains(message).and(contains("panicked").not()));
    }
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let folder = Folder::in_memory();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = std::process::Command::new(assert_cmd::cargo::cargo_bin!("smore"))
        .args(["sample", "umls", "--structures=1p"])
        .env("SMORE_CACHE", folder.cache())
        .stdout(writer)
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    assert!(!stderr.contains("error") && !stderr.contains("panicked"), "{stderr}");
}
