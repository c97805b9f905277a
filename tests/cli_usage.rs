//! What a new user stumbles over: options, messages, notes, hints.

#![cfg(feature = "cli")]

mod common;

use common::{Folder, json, smore};
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;

const QUICK: [&str; 6] = [
    "--dim=8",
    "--batch-size=32",
    "--steps=10",
    "--device=cpu",
    "--set=evaluation.queries=5",
    "--set=evaluation.valid_queries=5",
];

fn stderr(command: &mut assert_cmd::Command, code: i32) -> String {
    String::from_utf8(command.assert().code(code).get_output().stderr.clone()).unwrap()
}

#[test]
fn options_that_other_programs_have_lead_to_the_key_of_the_configuration() {
    let folder = Folder::in_memory();
    for (arguments, tip) in [
        (&["train", "umls", "--lr", "0.1"][..], "tip: use --set training.learning_rate=NUMBER\n"),
        (&["train", "umls", "--learning-rate=0.1"], "tip: use --set training.learning_rate=NUMBER\n"),
        (&["train", "umls", "--optimizer", "sgd"], "tip: use --set training.optimizer=NAME\n"),
        (&["bench", "train", "--lr", "1"], "tip: use --set training.learning_rate=NUMBER\n"),
        (
            &["eval", "run", "--dim", "8"],
            "tip: model.dim belongs to the run: it is set by smore train --set model.dim=NUMBER\n",
        ),
    ] {
        let text = stderr(smore(&folder).args(arguments), 2);
        assert!(text.contains(tip), "{arguments:?}: {text}");
    }
    let text = stderr(smore(&folder).args(["train", "umls", "--xyzzy"]), 2);
    assert!(text.contains("unexpected argument '--xyzzy'") && !text.contains("--set"), "{text}");
}

#[test]
fn values_that_are_no_numbers_are_refused_by_the_name_of_their_option_without_words_of_rust() {
    let folder = Folder::in_memory();
    for (arguments, error) in [
        (
            &["train", "umls", "--dim", "x"][..],
            "error: invalid value 'x' for '--dim <N>': expected a whole number\n",
        ),
        (
            &["train", "umls", "--epochs", "nan"],
            "error: invalid value 'nan' for '--epochs <N>': expected a number\n",
        ),
        (
            &["train", "umls", "--epochs=inf"],
            "error: invalid value 'inf' for '--epochs <N>': expected a number\n",
        ),
        (
            &["data", "generate", "--name=x", "--exponent=nan"],
            "error: invalid value 'nan' for '--exponent <X>': expected a number\n",
        ),
        (
            &["data", "info", "umls", "--top="],
            "error: invalid value '' for '--top <N>': expected a whole number\n",
        ),
    ] {
        let text = stderr(smore(&folder).args(arguments), 2);
        assert!(text.starts_with(error), "{arguments:?}: {text}");
    }
    let text = stderr(smore(&folder).args(["train", "umls", "--set", "training.loss=mse"]), 1);
    assert_eq!(
        text,
        "error: configuration: training.loss = \"mse\": expected cross-entropy, logistic or margin\n"
    );
}

#[test]
fn every_key_of_the_configuration_is_listed_with_its_default_values_and_meaning() {
    let folder = Folder::in_memory();
    let list = json(smore(&folder).args(["train", "--help-config"]));
    let list = list.as_array().unwrap();
    let of = |key: &str| list.iter().find(|entry| entry["key"] == key).unwrap();
    assert_eq!(of("model.dim")["default"], "200");
    assert_eq!(of("training.schedule")["allowed"], "linear, cosine, step, plateau or constant");
    let text = smore(&folder).args(["train", "--help-config"]).assert().success();
    let text = String::from_utf8(text.get_output().stdout.clone()).unwrap();
    smore(&folder).args(["train", "umls", "--run-dir=run"]).args(QUICK).assert().success();
    let stored = std::fs::read_to_string(folder.path().join("run/config.toml")).unwrap();
    for (section, fields) in stored.parse::<toml::Table>().unwrap() {
        for field in fields.as_table().unwrap().keys() {
            assert!(text.contains(&format!("\n{section}.{field}")), "{section}.{field}");
        }
    }
}

#[test]
fn shells_get_completions() {
    let folder = Folder::in_memory();
    for (shell, part) in
        [("bash", "complete -F _smore"), ("zsh", "#compdef smore"), ("fish", "complete -c smore")]
    {
        smore(&folder)
            .args(["completions", shell])
            .assert()
            .success()
            .stdout(contains(part).and(contains("train")));
    }
}

#[test]
fn a_dataset_shows_its_most_frequent_relations() {
    let folder = Folder::in_memory();
    let text = smore(&folder).args(["data", "info", "umls", "--relations", "2"]).assert().success();
    let text = String::from_utf8(text.get_output().stdout.clone()).unwrap();
    let table = text.split("relation  ").nth(1).unwrap();
    let lines: Vec<&str> = table.lines().take(5).collect();
    let facts = |line: &str| line.split_whitespace().nth(1).unwrap().parse::<u32>().unwrap();
    assert!(lines[2].starts_with("affects") && facts(lines[2]) >= facts(lines[3]), "{lines:?}");
    assert_eq!(lines[4], "and 44 others: --relations N shows more");
    let all = json(smore(&folder).args(["data", "info", "umls", "--relations", "2"]));
    assert_eq!(all["relations"].as_array().unwrap().len(), 46);
}

#[test]
fn a_missing_gpu_is_reported_once_in_the_plan_and_nowhere_else() {
    let folder = Folder::in_memory();
    let auto: Vec<&str> = QUICK.into_iter().filter(|option| !option.contains("device")).collect();
    // Whatever GPU there is: none that is visible.
    let run = |arguments: &[&str], code: i32| {
        stderr(smore(&folder).env("CUDA_VISIBLE_DEVICES", "").args(arguments), code)
    };
    let text = run(&[&["train", "umls", "--run-dir=run"], &auto[..]].concat(), 0);
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("no GPU is used")).collect();
    assert!(lines.len() == 1 && lines[0].starts_with("device "), "{text}");
    for arguments in [&["eval", "run"][..], &["query", "run", "('fish',('isa',))"]] {
        let text = run(arguments, 0);
        assert!(!text.contains("GPU"), "{text}");
    }
    assert!(!run(&["train", "nothing-of-that-name"], 1).contains("GPU"));
    assert!(!run(&["train", "umls", "--set", "model.dim=x"], 1).contains("GPU"));
    assert!(run(&["eval", "run", "--device", "cuda"], 1).starts_with("error: "));
}

#[test]
fn a_small_graph_leaves_structures_out_of_the_default_mix_that_it_does_not_have() {
    let train = "a\tr\tb\nb\tr\tc\nc\ts\ta\n";
    let folder = Folder::with(&[("train.txt", train), ("valid.txt", "a\ts\tb\n"), ("test.txt", "b\ts\tb\n")]);
    let text = stderr(smore(&folder).args(["train", "./data", "--run-dir=run"]).args(QUICK), 0);
    let note = "note: 3i cannot be drawn on this graph and is left out of training (sampling.structures = \
                1p:4,2p:2,3p:1,2i:1)\n";
    assert!(text.contains(note), "{text}");
    let stored = std::fs::read_to_string(folder.path().join("run/config.toml")).unwrap();
    assert!(stored.contains("structures = \"1p:4,2p:2,3p:1,2i:1\""), "{stored}");
    let explicit = ["train", "./data", "--run-dir=other", "--structures=1p:4,3i:1"];
    assert!(
        stderr(smore(&folder).args(explicit).args(QUICK), 1).contains("3i cannot be drawn on this graph")
    );
}

#[test]
fn runs_that_were_tested_on_different_structures_are_compared_on_those_they_share_or_not_at_all() {
    let folder = Folder::in_memory();
    let train = |run: &str, more: &[&str]| {
        smore(&folder).args(["train", "umls", "--run-dir", run]).args(QUICK).args(more).assert().success();
    };
    train("multi", &[]);
    train("single", &["--set=training.objective=1vsall"]);
    train("chains", &["--set=evaluation.structures=1p.2p.3p"]);
    let page = |runs: &[&str]| {
        smore(&folder).arg("report").args(runs).args(["--output", "page.html"]).assert().success();
        std::fs::read_to_string(folder.path().join("page.html")).unwrap()
    };
    let row = |page: &str, name: &str| {
        let part = page
            .split("Test MRR in percent")
            .nth(1)
            .unwrap()
            .split(&format!("<th scope=\"row\">{name}</th>"))
            .nth(1);
        part.unwrap_or_else(|| panic!("no row {name}")).split("</tr>").next().unwrap().to_string()
    };
    let html = page(&["multi", "single"]);
    assert_eq!(row(&html, "average"), "<td>–</td><td>–</td><td>–</td>");
    assert!(html.contains("The runs were tested on different structures: no average compares."));
    let html = page(&["multi", "chains"]);
    assert!(
        html.contains("not all runs were tested on the same structures")
            || html.contains("Not all runs were tested")
    );
    let test = |run: &str| -> Value {
        serde_json::from_slice(&std::fs::read(folder.path().join(run).join("test.json")).unwrap()).unwrap()
    };
    let mean = |run: &str| {
        let report = test(run);
        let sum: f64 =
            ["1p", "2p", "3p"].map(|s| report["multi_hop"][s]["mrr"].as_f64().unwrap()).iter().sum();
        format!("{:.1}", 100.0 * sum / 3.0)
    };
    let average = row(&html, "average of 1p, 2p, 3p");
    assert!(average.contains(&mean("multi")) && average.contains(&mean("chains")), "{average}");
}

#[test]
fn figures_below_the_baseline_are_marked_with_a_legend() {
    let folder = Folder::in_memory();
    let output = smore(&folder).args(["train", "umls", "--run-dir=run"]).args(QUICK).assert().success();
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    let report: Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("run/test.json")).unwrap()).unwrap();
    for (structure, metrics) in report["multi_hop"].as_object().unwrap() {
        let line = text.lines().find(|line| line.starts_with(&format!("{structure} "))).unwrap();
        let below = metrics["mrr"].as_f64() < report["baseline"]["multi_hop"][structure]["mrr"].as_f64();
        assert_eq!(line.ends_with("  *"), below, "{line}");
    }
    assert!(text.contains("\n* MRR below the frequency baseline's\n"), "ten steps beat nothing: {text}");
    let html = std::fs::read_to_string(folder.path().join("run/report.html")).unwrap();
    assert!(html.contains("class=\"below\"") && html.contains("▾ stands beside what is below it"));
}

#[test]
fn hints_can_be_pasted_into_a_shell_also_with_blanks_and_quotes_in_names() {
    let folder = Folder::in_memory();
    let run = "my run's";
    let text = stderr(smore(&folder).args(["train", "umls", "--run-dir", run]).args(QUICK), 0);
    let hints: Vec<&str> = text.lines().filter(|line| line.trim_start().starts_with("smore ")).collect();
    assert_eq!(hints.len(), 2, "{text}");
    let program = assert_cmd::cargo::cargo_bin!("smore").display().to_string();
    for hint in hints {
        let command = hint.trim_start().replacen("smore", &program, 1);
        let mut shell = assert_cmd::Command::new("sh");
        shell
            .arg("-c")
            .arg(&command)
            .env("SMORE_CACHE", folder.cache())
            .current_dir(folder.path())
            .assert()
            .success();
    }
}

#[test]
fn one_thread_is_no_threads() {
    let folder = Folder::in_memory();
    let text = stderr(smore(&folder).args(["train", "umls", "--run-dir=run", "--threads=1"]).args(QUICK), 0);
    assert!(text.contains("CPU, 1 thread, "), "{text}");
}
