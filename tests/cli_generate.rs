//! `smore data generate` as a user runs it.

#![cfg(feature = "cli")]

use assert_cmd::Command;
use predicates::prelude::*;
use predicates::str::{contains, is_empty, starts_with};
use serde_json::{Value, json};
use smore::engine::graph::{KnowledgeGraph, Split};
use smore::engine::ids::Triple;
use std::collections::HashSet;
use std::path::Path;

mod common;
use common::{Folder, smore};

const SMALL: [&str; 8] = [
    "--name",
    "toy",
    "--entities=500",
    "--relations=20",
    "--edges=5000",
    "--valid=0.04",
    "--test=0.06",
    "--seed=7",
];

fn generate(folder: &Folder, arguments: &[&str]) -> Command {
    let mut command = smore(folder);
    command.args(["data", "generate"]).args(arguments);
    command
}

fn json(command: &mut Command) -> Value {
    let output = command.arg("--json").assert().success().get_output().clone();
    serde_json::from_slice(&output.stdout).expect("one JSON document and nothing else")
}

/// A graph generated with these arguments.
fn graph(arguments: &[&str]) -> KnowledgeGraph {
    let folder = Folder::in_memory();
    let report = json(generate(&folder, &["--name=it"]).args(arguments));
    KnowledgeGraph::open(Path::new(report["graph"].as_str().unwrap())).unwrap()
}

/// The facts of a split, each once.
fn facts(graph: &KnowledgeGraph, split: Split) -> Vec<Triple> {
    graph.split(split).triples().filter(|triple| !triple.relation.is_inverse()).collect()
}

fn all_facts(graph: &KnowledgeGraph) -> Vec<Triple> {
    Split::ALL.into_iter().flat_map(|split| facts(graph, split)).collect()
}

/// How often the entities occur, by the number in their names.
fn degrees(graph: &KnowledgeGraph) -> Vec<f64> {
    let mut degrees = vec![0.0; graph.num_entities()];
    for triple in all_facts(graph) {
        for entity in [triple.head, triple.tail] {
            let number: usize = graph.entities().name(entity.0).strip_prefix('e').unwrap().parse().unwrap();
            degrees[number] += 1.0;
        }
    }
    degrees
}

/// The slope of the logarithm of `values`, descending, over that of their ranks `from..to`.
fn slope(mut values: Vec<f64>, [from, to]: [usize; 2]) -> f64 {
    values.sort_by(|a, b| b.total_cmp(a));
    let points: Vec<[f64; 2]> = (from..to).map(|rank| [(rank as f64).ln(), values[rank - 1].ln()]).collect();
    let mean = |i: usize| points.iter().map(|p| p[i]).sum::<f64>() / points.len() as f64;
    let (x, y) = (mean(0), mean(1));
    let products: f64 = points.iter().map(|p| (p[0] - x) * (p[1] - y)).sum();
    products / points.iter().map(|p| (p[0] - x).powi(2)).sum::<f64>()
}

#[test]
fn a_generated_graph_has_the_counts_asked_for_and_its_name_is_a_dataset_from_then_on() {
    let folder = Folder::in_memory();
    generate(&folder, &SMALL)
        .assert()
        .success()
        .stdout(contains("4,500 train, 200 valid, 300 test").and(contains("(generated)")))
        .stderr(starts_with("generated, ").and(contains("warning").not()));
    let report = json(&mut generate(&folder, &SMALL));
    assert_eq!(report["cached"], true);
    assert_eq!(report["warnings"], json!([]));
    let counts = json!({ "entities": 500, "relations": 20, "train": 4500, "valid": 200, "test": 300 });
    assert_eq!(report["counts"], counts);
    assert_eq!(report["generated"]["seed"], 7);

    let info = json(smore(&folder).args(["data", "info", "toy"]));
    assert_eq!((&info["counts"], &info["generated"]), (&counts, &report["generated"]));
    assert_eq!(info["unseen_entities"], 0);
    smore(&folder).args(["data", "info", "toy"]).assert().success().stdout(contains("generated from seed 7"));
    let verified = json(smore(&folder).args(["data", "verify", "toy"]));
    assert_eq!(verified["intact"], true);
    let listed = json(smore(&folder).args(["data", "list"]));
    assert_eq!(listed["imported"][0]["source"], "(generated)");
}

#[test]
fn the_same_options_give_the_same_bytes_and_other_options_another_graph() {
    let folder = Folder::in_memory();
    let bytes = |file: &str, more: &[&str]| {
        generate(&folder, &SMALL[..7]).args(["--output", file]).args(more).assert().success();
        std::fs::read(folder.path().join(file)).unwrap()
    };
    let first = bytes("a.smore", &["--seed=7"]);
    assert!(first == bytes("b.smore", &["--seed=7", "--threads=1"]));
    assert!(first == bytes("e.smore", &["--seed=7", "--memory=20k"]));
    assert!(first != bytes("c.smore", &["--seed=8"]));
    assert!(first != bytes("d.smore", &["--seed=7", "--exponent=0.7"]));
    json(smore(&folder).args(["data", "verify", "a.smore"]));
}

#[test]
fn triples_are_distinct_without_loops_and_held_out_names_occur_in_train() {
    // Most draws of so dense a graph repeat a triple.
    let graph = graph(&["--entities=60", "--relations=3", "--edges=3000", "--valid=0.1", "--test=0.1"]);
    let facts_of = |split| facts(&graph, split);
    let all = all_facts(&graph);
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), 3000);
    assert!(all.iter().all(|triple| triple.head != triple.tail));
    let train = facts_of(Split::Train);
    let entities: HashSet<_> = train.iter().flat_map(|t| [t.head, t.tail]).collect();
    let relations: HashSet<_> = train.iter().map(|t| t.relation).collect();
    assert_eq!((entities.len(), relations.len(), train.len()), (60, 3, 2400));
    assert_eq!((facts_of(Split::Valid).len(), facts_of(Split::Test).len()), (300, 300));
    graph.verify().unwrap();
}

#[test]
fn a_graph_can_have_every_triple_that_there_is() {
    let graph = graph(&["--entities=12", "--relations=2", "--edges=264", "--valid=0", "--test=0"]);
    assert_eq!(all_facts(&graph).len(), 12 * 11 * 2);
}

#[test]
fn every_name_occurs_even_where_popularity_alone_would_leave_most_out() {
    let graph = graph(&[
        "--entities=2000",
        "--relations=500",
        "--edges=2000",
        "--exponent=1.5",
        "--test=0",
        "--valid=0",
    ]);
    assert_eq!((graph.num_entities(), graph.num_relations()), (2000, 2 * 500));
}

#[test]
fn with_fewer_edges_than_entities_the_counts_of_triples_still_hold_and_the_report_says_what_is_unseen() {
    let folder = Folder::in_memory();
    let sparse = [
        "--name=sparse",
        "--entities=1000",
        "--relations=5",
        "--edges=200",
        "--valid=0.2",
        "--test=0.2",
        "--exponent=0",
    ];
    let report = json(&mut generate(&folder, &sparse));
    let counts = &report["counts"];
    assert_eq!([&counts["train"], &counts["valid"], &counts["test"]], [120, 40, 40]);
    assert!(counts["entities"].as_u64().unwrap() < 400);
    assert!(report["warnings"][0].as_str().unwrap().contains("do not occur in train"), "{report}");
}

#[test]
fn degrees_and_relations_follow_zipf_and_names_tell_nothing_of_popularity() {
    let graph = graph(&[
        "--entities=5000",
        "--relations=50",
        "--edges=60000",
        "--exponent=0.8",
        "--relation-exponent=1.2",
    ]);
    let degrees = degrees(&graph);
    let found = slope(degrees.clone(), [1, 1000]);
    assert!((found + 0.8).abs() < 0.06, "{found}");
    let mut popular: Vec<usize> = (0..degrees.len()).collect();
    popular.sort_by(|&a, &b| degrees[b].total_cmp(&degrees[a]));
    let mean = popular[..200].iter().sum::<usize>() as f64 / 200.0;
    assert!((2000.0..3000.0).contains(&mean), "{mean}");

    let mut uses = vec![0.0; 50];
    for triple in all_facts(&graph) {
        let name = graph.relations().name(triple.relation.0 / 2);
        uses[name.strip_prefix('r').unwrap().parse::<usize>().unwrap()] += 1.0;
    }
    assert!(uses[..10].is_sorted_by(|a, b| a > b), "{uses:?}");
    let found = slope(uses, [1, 50]);
    assert!((found + 1.2).abs() < 0.06, "{found}");
}

#[test]
fn without_skew_all_entities_are_alike() {
    let graph = graph(&[
        "--entities=1000",
        "--relations=1",
        "--edges=50000",
        "--exponent=0",
        "--relation-exponent=0",
    ]);
    let degrees = degrees(&graph);
    // The mean is 100, the standard deviation 10.
    assert!(degrees.iter().all(|degree| (50.0..150.0).contains(degree)));
}

#[test]
fn impossible_sizes_are_errors_with_a_remedy() {
    let folder = Folder::in_memory();
    let cases: [(&[&str], &str); 10] = [
        (&["--entities=5", "--relations=2", "--edges=41"], "5 entities and 2 relations have 40 without"),
        (&["--entities=1"], "--entities must be between 2"),
        (&["--relations=0"], "--relations must be between 1"),
        (&["--edges=0"], "--edges must be at least 1"),
        (&["--exponent=-1"], "an exponent must be a number of 0 or more"),
        (&["--relation-exponent=-2"], "an exponent must be a number of 0 or more"),
        (&["--valid=0.5", "--test=0.5"], "leave no triple to train on"),
        (&["--valid=-0.5"], "must be shares of 0 or more"),
        (&["--entities=300", "--relations=1", "--edges=80000", "--exponent=4"], "lower --edges, --exponent"),
        (&["--name=a/b"], "cannot name a dataset"),
    ];
    for (arguments, message) in cases {
        let name: &[&str] = if arguments[0].starts_with("--name") { &[] } else { &["--name=toy"] };
        generate(&folder, &[name, arguments].concat())
            .assert()
            .code(1)
            .stdout(is_empty())
            .stderr(starts_with("error: ").and(contains(message)).and(contains("panicked").not()));
    }
    generate(&folder, &["--name=toy", "--relation-exponent=NaN"])
        .assert()
        .code(2)
        .stderr(contains("invalid value 'NaN' for '--relation-exponent <X>': expected a number\n"));
    generate(&folder, &["--name=UMLS"]).assert().code(1).stderr(contains("choose another --name"));
    generate(&folder, &["--name=toy", "--edges=4294967296"]).assert().code(2).stderr(contains("--edges"));
    generate(&folder, &[]).assert().code(2).stderr(contains("--name"));
    assert!(!folder.cache().exists(), "what fails leaves nothing behind");
}

#[test]
fn a_generated_graph_can_be_trained_on() {
    let folder = Folder::in_memory();
    generate(&folder, &SMALL).assert().success();
    let train = ["train", "toy", "--steps=3", "--dim=8", "--batch-size=32", "--negatives=16"];
    let few = ["--set", "evaluation.queries=20", "--set", "evaluation.valid_queries=20", "--run-dir=run"];
    let report = json(smore(&folder).args(train).args(few));
    assert_eq!(report["step"], 3);
    let query = ["query", "run", "('e0',('r0',))"];
    smore(&folder).args(query).assert().success().stdout(contains("entity"));
}
