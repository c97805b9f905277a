//! `smore query` on lines, in its formats, and what it says of what was never trained.

#![cfg(feature = "cli")]

mod common;

use common::{Folder, json, smore};
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

const QUICK: [&str; 7] = [
    "--run-dir=run",
    "--dim=8",
    "--batch-size=32",
    "--steps=20",
    "--device=cpu",
    "--set=evaluation.queries=5",
    "--set=evaluation.valid_queries=5",
];

/// A short run on UMLS.
fn trained(more: &[&str]) -> Folder {
    let folder = Folder::in_memory();
    smore(&folder).args(["train", "umls"]).args(QUICK).args(more).assert().success();
    folder
}

fn entities(document: &Value) -> Vec<String> {
    let answers = document["answers"].as_array().unwrap().iter();
    answers.map(|answer| answer["entity"].as_str().unwrap().to_string()).collect()
}

const QUERIES: [&str; 4] = [
    "('mammal',('isa',))",
    "('fish',('isa','isa'))",
    "(('mammal',('isa',)),('fish',('isa',)))",
    "(('mammal',('isa',)),('fish',('isa',)),('u',))",
];

#[test]
fn a_file_that_is_not_there_is_reported_as_one_and_a_byte_order_mark_is_no_part_of_a_query() {
    let folder = trained(&[]);
    let failed = smore(&folder).args(["query", "run", "missing.txt"]).assert().code(1).get_output().clone();
    assert_eq!(
        String::from_utf8(failed.stderr).unwrap().lines().last().unwrap(),
        "error: missing.txt: is no file, and no query, which begins with a parenthesis: ('ENTITY',('RELATION',))"
    );
    std::fs::write(folder.path().join("queries.txt"), "\u{feff}('mammal',('isa',))\n").unwrap();
    smore(&folder).args(["query", "run", "queries.txt"]).assert().success();
}

#[test]
fn lines_of_a_file_or_of_standard_input_are_answered_as_each_is_alone() {
    let folder = trained(&[]);
    let text = format!("{}\n{}\n\n{}\n{}", QUERIES[0], QUERIES[1], QUERIES[2], QUERIES[3]);
    std::fs::write(folder.path().join("queries.txt"), &text).unwrap();
    let from_file = smore(&folder).args(["query", "run", "queries.txt", "--json"]).assert().success();
    let from_file = from_file.get_output().stdout.clone();
    let from_input =
        smore(&folder).args(["query", "run", "-", "--json"]).write_stdin(text).assert().success();
    assert_eq!(from_file, from_input.get_output().stdout);
    let lines: Vec<Value> = from_file
        .split(|&b| b == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| serde_json::from_slice(l).unwrap())
        .collect();
    let numbers: Vec<u64> = lines.iter().map(|line| line["line"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 4, 5]);
    for (line, query) in lines.iter().zip(QUERIES) {
        let mut alone = json(smore(&folder).args(["query", "run", query]));
        alone.as_object_mut().unwrap().insert("line".into(), line["line"].clone());
        assert_eq!(alone["query"], line["query"]);
        assert_eq!(entities(&alone), entities(line), "{query}");
        assert_eq!(alone["known_answers"], line["known_answers"]);
    }
}

#[test]
fn a_line_that_cannot_be_answered_is_an_error_with_its_number_and_the_others_are_answered() {
    let folder = trained(&[]);
    let text = "('mammal',('isa',))\n('mamal',('isa',))\n\n('fish',('isa',))\n(('fish',('isa',)),('fish',('isa','n')))\nbad\n";
    let output =
        smore(&folder).args(["query", "run", "-", "--tsv", "-k1"]).write_stdin(text).assert().code(1);
    let output = output.get_output();
    let stdout = String::from_utf8(output.stdout.clone()).unwrap();
    let rows: Vec<Vec<&str>> = stdout.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(rows[0], ["line", "rank", "entity", "label", "score", "status", "probability"]);
    assert_eq!(rows[1..].iter().map(|row| row[0]).collect::<Vec<_>>(), ["1", "4"]);
    assert!(rows.iter().all(|row| row.len() == 7), "{stdout}");
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    let (rate, errors): (Vec<&str>, Vec<&str>) = stderr.lines().partition(|line| line.ends_with("/s"));
    assert!(rate.len() == 1 && rate[0].starts_with("2 queries in "), "{stderr}");
    assert_eq!(
        errors,
        [
            "error: standard input:2: no entity has the name or label \"mamal\"; did you mean mammal, animal?",
            "error: standard input:5: query2box has no negation, so it cannot express the structure 2in: use structures \
             without a negation",
            "error: standard input:6: expected a nested tuple such as ('Q1',('P1','P2'))",
            "  bad",
            "  ^",
            "error: 3 queries of 5 could not be answered",
        ]
    );
}

#[test]
fn what_is_shown_can_be_only_what_is_known_or_only_what_is_predicted() {
    let folder = trained(&[]);
    let ask = |show: &str| json(smore(&folder).args(["query", "run", QUERIES[3], "-k1000", "--show", show]));
    let [both, known, predicted] = ["both", "known", "predicted"].map(ask);
    let status = |document: &Value, status: &str| {
        let answers = document["answers"].as_array().unwrap().iter();
        answers.filter(|answer| answer["status"] == status).count()
    };
    let num_known = both["known_answers"].as_u64().unwrap() as usize;
    assert!(num_known > 1);
    assert_eq!((status(&known, "known"), entities(&known).len()), (num_known, num_known));
    assert_eq!((status(&predicted, "known"), entities(&predicted).len()), (0, 135 - num_known));
    let of = |document: &Value| entities(document).into_iter().collect::<BTreeSet<_>>();
    assert_eq!(&of(&known) | &of(&predicted), of(&both));
}

#[test]
fn thousands_of_lines_are_answered_in_batches() {
    let folder = trained(&[]);
    let text: String = (0..4000).map(|i| format!("{}\n", QUERIES[i % 4])).collect();
    let mut command = smore(&folder);
    command.args(["query", "run", "-", "--json"]).write_stdin(text).timeout(Duration::from_secs(60));
    let output = command.assert().success().get_output().stdout.clone();
    assert_eq!(output.iter().filter(|&&b| b == b'\n').count(), 4000);
}

/// Train has a and b only; c, d and the relation q come later. h has 150 tails in test.
fn with_unseen() -> Folder {
    let mut test = "c\tr\td\na\tq\tb\n".to_string();
    for i in 0..150 {
        test += &format!("h\tr\tt{i}\n");
    }
    let mut train = "a\tr\tb\nb\tr\ta\nh\tr\ta\n".to_string();
    for i in 0..150 {
        train += &format!("t{i}\tr\ta\n");
    }
    Folder::with(&[("train.txt", &train), ("valid.txt", "a\tr\th\n"), ("test.txt", &test)])
}

#[test]
fn an_entity_or_relation_that_no_training_edge_has_is_reported_in_table_and_json() {
    let folder = with_unseen();
    let train = ["train", "./data", "--structures=1p", "--set=evaluation.structures=1p"];
    let all = "--set=evaluation.queries=1000";
    let trained = smore(&folder).args(train).args(QUICK).arg(all).assert().success();
    let text = String::from_utf8(trained.get_output().stdout.clone()).unwrap();
    let note = "note: no training edge has the anchor or relation of some queries, nor some of the answers; their rows are \
                what they were at the start: 1p 4 and 2; link prediction 4 and 2 (queries, answers)";
    assert!(text.contains(note), "{text}");
    let report = json(smore(&folder).args(["eval", "run"]));
    assert!(report["notes"].to_string().contains(&note[6..]), "{report}");

    let query = "('c',('q','r'))";
    let document = json(smore(&folder).args(["query", "run", query]));
    assert_eq!(document["untrained"], serde_json::json!(["entity \"c\"", "relation \"q\""]));
    let warning = |what| {
        format!(
            "warning: no training edge has the {what}: its row was never trained, and scores say nothing\n"
        )
    };
    smore(&folder)
        .args(["query", "run", query])
        .assert()
        .success()
        .stderr(contains(warning("entity \"c\"")).and(contains(warning("relation \"q\""))));
    let fine = json(smore(&folder).args(["query", "run", "('a',('r',))"]));
    assert_eq!(fine["untrained"], serde_json::json!([]));
}

#[test]
fn queries_with_more_hard_answers_than_the_limit_are_counted() {
    let folder = with_unseen();
    let output = smore(&folder).args(["sample", "./data", "--structures=1p"]).assert().success();
    let note = "note: queries with more than 100 hard answers are left out (evaluation.max_answers): 1p 1; of 1p all are \
                counted, of other structures those that were drawn\n";
    let text = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    assert!(text.contains(note), "{text}");
    smore(&folder)
        .args(["sample", "./data", "--structures=1p", "--max-answers=150"])
        .assert()
        .success()
        .stderr(contains("are left out").not());
}

#[test]
fn networks_for_sets_that_were_never_trained_are_left_out_by_default_and_warned_of_otherwise() {
    let folder = trained(&["--set=training.objective=1vsall"]);
    let left_out = "note: left out, because the networks that combine sets were never trained (training.objective = 1vsall): \
                    2i, 3i, ip, pi; --structures evaluates them all the same\n";
    smore(&folder)
        .args(["eval", "run"])
        .assert()
        .success()
        .stdout(contains(left_out).and(contains("\n2i ").not()));
    let warning = "note: the networks that combine sets were never trained (training.objective = 1vsall): the figures of 2i \
                   are those of random networks\n";
    smore(&folder)
        .args(["eval", "run", "--structures=1p.2i"])
        .assert()
        .success()
        .stdout(contains(warning).and(contains("\n2i ")));
    let query = |text: &str| json(smore(&folder).args(["query", "run", text]));
    assert_eq!(query(QUERIES[2])["untrained_networks"], true);
    assert_eq!(query(QUERIES[0])["untrained_networks"], false);
    smore(&folder).args(["query", "run", QUERIES[2]]).assert().success().stderr(contains(
        "warning: the networks that combine sets were never trained (training.objective = 1vsall): the scores of a 2i query \
         are those of random networks\n",
    ));

    // Also where queries were trained on, but none that combines sets.
    let folder = trained(&["--structures=1p:1"]);
    smore(&folder)
        .args(["eval", "run"])
        .assert()
        .success()
        .stdout(contains("never trained (sampling.structures = 1p:1): 2i, 3i, ip, pi;"));
    let folder = trained(&["--structures=1p:1,2i:1"]);
    smore(&folder)
        .args(["eval", "run"])
        .assert()
        .success()
        .stdout(contains("\n2i ").and(contains("never").not()));
}
