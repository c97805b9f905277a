//! `smore train`, `eval`, `query` and `bench` as a user runs them, on the bundled graph.

#![cfg(feature = "cli")]

use assert_cmd::Command;
use predicates::prelude::*;
use predicates::str::{contains, is_empty};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

mod common;
use common::Folder;

/// A model that is trained in a moment.
const TINY: [&str; 13] = [
    "train",
    "umls",
    "--dim=16",
    "--batch-size=64",
    "--negatives=32",
    "--set",
    "evaluation.queries=40",
    "--set",
    "evaluation.valid_queries=20",
    "--set",
    "training.valid_every=20",
    "--run-dir",
    "run",
];
const STEPS: &str = "--steps=60";

fn smore(folder: &Folder) -> Command {
    let mut command = Command::cargo_bin("smore").unwrap();
    command.env_remove("SMORE_DATA").env_remove("SMORE_CACHE").current_dir(folder.path());
    command.arg("--cache-dir").arg(folder.cache());
    command
}

/// A folder with a finished run in `run`.
fn trained() -> Folder {
    let folder = Folder::in_memory();
    smore(&folder).args(TINY).arg(STEPS).assert().success();
    folder
}

fn json(command: &mut Command) -> Value {
    let output = command.arg("--json").assert().success().get_output().clone();
    serde_json::from_slice(&output.stdout).expect("one JSON document and nothing else")
}

fn read(folder: &Folder, file: &str) -> Vec<u8> {
    std::fs::read(folder.path().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

fn files(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// `(step, loss)` of every line about training.
fn losses(folder: &Folder, run: &str) -> Vec<(u64, f64)> {
    let text = String::from_utf8(read(folder, &format!("{run}/metrics.jsonl"))).unwrap();
    let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let train = records.filter(|record| record["kind"] == "train");
    train.map(|record| (record["step"].as_u64().unwrap(), record["loss"].as_f64().unwrap())).collect()
}

/// Fails with a message on standard error, nothing on standard output, and no panic.
fn fails(command: &mut Command, code: i32, expected: &str) {
    let output = command.assert().code(code).stdout(is_empty()).get_output().clone();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("error: ") && text.contains(expected), "{text}");
    assert!(!text.contains("panicked") && !text.contains("backtrace"), "{text}");
}

#[test]
fn a_run_tells_its_plan_and_progress_and_leaves_every_file_of_a_run_folder() {
    let folder = Folder::in_memory();
    smore(&folder)
        .args(TINY)
        .arg(STEPS)
        .assert()
        .success()
        .stdout(
            contains("query2box on test, in percent").and(contains("link prediction")).and(contains("3i")),
        )
        .stderr(contains("135 entities, 46 relations, 10,432 directed edges"))
        .stderr(contains("valid  step 20  MRR").and(contains("valid  step 60  MRR")))
        .stderr(contains("step 60/60  loss").and(contains("smore eval run")).and(contains("finished in ")))
        .stderr(contains("\u{1b}").not());
    let expected = [
        ".lock",
        "config.toml",
        "entities.tsv",
        "examples.json",
        "graph.smore",
        "manifest.json",
        "metrics.jsonl",
        "model.safetensors",
        "relations.tsv",
        "report.html",
        "run.json",
        "state.safetensors",
        "tensorboard",
        "test.json",
    ];
    assert_eq!(files(&folder.path().join("run")), expected.map(String::from).into());
    assert_eq!(losses(&folder, "run").last().unwrap().0, 60);
    let entities = String::from_utf8(read(&folder, "run/entities.tsv")).unwrap();
    assert_eq!(entities.lines().count(), 135);
    assert_eq!(entities.lines().next().unwrap().split('\t').count(), 3);
}

#[cfg(unix)]
#[test]
fn other_users_may_read_a_model_as_they_may_read_its_configuration() {
    use std::os::unix::fs::PermissionsExt;
    let folder = trained();
    let mode = |file: &str| std::fs::metadata(folder.path().join(file)).unwrap().permissions().mode();
    assert_eq!(mode("run/model.safetensors"), mode("run/config.toml"));
}

#[test]
fn eval_gives_the_numbers_of_training_bit_for_bit() {
    let folder = Folder::in_memory();
    let trained = json(smore(&folder).args(TINY).arg(STEPS));
    assert_eq!((&trained["run"], &trained["step"]), (&"run".into(), &60.into()));
    let evaluated = json(smore(&folder).args(["eval", "run"]));
    assert_eq!(trained["report"], evaluated);
    assert_eq!(serde_json::from_slice::<Value>(&read(&folder, "run/test.json")).unwrap(), evaluated);
    assert!(evaluated["multi_hop"]["2i"]["mrr"].as_f64().unwrap() > 0.0);
    assert!(evaluated["link_prediction"]["mrr"].as_f64().unwrap() > 0.0);
    let cell = format!("{:.1}", 100.0 * evaluated["multi_hop"]["2i"]["mrr"].as_f64().unwrap());
    smore(&folder).args(["eval", "run"]).assert().success().stdout(contains(cell));
}

#[test]
fn eval_takes_the_split_and_the_structures_that_it_is_given() {
    let folder = trained();
    let valid = json(smore(&folder).args(["eval", "run", "--split", "valid"]));
    assert_eq!((&valid["split"], valid["multi_hop"].get("3p").is_some()), (&"valid".into(), true));
    let some = json(smore(&folder).args(["eval", "run", "--structures", "2i.2u", "--queries", "10"]));
    let structures: Vec<&String> = some["multi_hop"].as_object().unwrap().keys().collect();
    assert_eq!(structures, ["2i", "2u"]);
    assert_eq!(some["multi_hop"]["2u"]["num_queries"], 10);
    fails(smore(&folder).args(["eval", "run", "--split", "train"]), 2, "expected valid or test");
    fails(smore(&folder).args(["eval", "run", "--structures", "2in"]), 1, "query2box has no negation");
    fails(smore(&folder).args(["eval", "run", "--structures", "9z"]), 1, "9z");
}

#[test]
fn a_run_folder_needs_neither_its_data_nor_the_cache() {
    let folder = Folder::in_memory();
    std::fs::create_dir(folder.data()).unwrap();
    for split in ["train.txt", "valid.txt", "test.txt"] {
        let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets/umls").join(split);
        std::fs::copy(bundled, folder.data().join(split)).unwrap();
    }
    let trained = json(smore(&folder).args(TINY).args([STEPS, "--set", "data.dataset=data"]));
    std::fs::remove_dir_all(folder.data()).unwrap();
    std::fs::remove_dir_all(folder.cache()).unwrap();
    std::fs::rename(folder.path().join("run"), folder.path().join("moved")).unwrap();
    assert_eq!(json(smore(&folder).args(["eval", "moved"])), trained["report"]);
    smore(&folder).args(["query", "moved", "('mammal',('isa',))"]).assert().success();
    smore(&folder).args(["train", "--resume", "moved", "--steps", "70"]).assert().success();
}

#[test]
fn the_seed_decides_the_numbers_and_threads_do_not() {
    let folder = Folder::in_memory();
    let train = |run: &str, more: &[&str]| {
        smore(&folder)
            .args(TINY.map(|a| if a == "run" { run } else { a }))
            .arg(STEPS)
            .args(more)
            .assert()
            .success();
    };
    train("one", &["--threads=1"]);
    train("two", &["--threads=2", "--set", "sampling.workers=3"]);
    train("seed", &["--seed=1"]);
    assert_eq!(losses(&folder, "one"), losses(&folder, "two"));
    assert_ne!(losses(&folder, "one"), losses(&folder, "seed"));
    for file in ["model.safetensors", "state.safetensors", "test.json"] {
        let of = |run: &str| read(&folder, &format!("{run}/{file}"));
        assert!(of("one") == of("two"), "{file} depends on threads");
        assert!(of("one") != of("seed"), "{file} does not depend on the seed");
    }
}

#[test]
fn the_configuration_of_a_run_makes_the_run_again() {
    let folder = trained();
    smore(&folder).args(["train", "--config", "run/config.toml", "--run-dir", "again"]).assert().success();
    for file in ["config.toml", "model.safetensors", "test.json"] {
        let of = |run: &str| read(&folder, &format!("{run}/{file}"));
        assert!(of("run") == of("again"), "{file}");
    }
}

#[cfg(unix)]
mod interrupted {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command as Process, Stdio};

    const LONG: [&str; 3] = ["--steps=1500", "--set", "training.valid_every=300"];

    /// A training process after its first evaluation, and the lines that are still to come.
    fn started(folder: &Folder) -> (Child, impl Iterator<Item = String>) {
        let mut child = Process::new(assert_cmd::cargo::cargo_bin!("smore"))
            .args(TINY)
            .args(LONG)
            .arg("--cache-dir")
            .arg(folder.cache())
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let valid = lines.by_ref().find(|line| line.starts_with("valid  step"));
        assert!(valid.is_some(), "it ended before its first evaluation");
        (child, lines)
    }

    fn signal(child: &Child, signal: i32) {
        // SAFETY: the process is a child that has not been waited for, so its id is not another's.
        assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
    }

    fn assert_same_as_uninterrupted(folder: &Folder) {
        let whole = TINY.map(|argument| if argument == "run" { "whole" } else { argument });
        smore(folder).args(whole).args(LONG).assert().success();
        for file in ["model.safetensors", "state.safetensors", "test.json"] {
            let of = |run: &str| read(folder, &format!("{run}/{file}"));
            assert!(of("run") == of("whole"), "{file}");
        }
        let evaluations = |run: &str| {
            let text = String::from_utf8(read(folder, &format!("{run}/metrics.jsonl"))).unwrap();
            text.lines().filter(|line| !line.contains(r#""train""#)).map(String::from).collect::<Vec<_>>()
        };
        assert_eq!(evaluations("run"), evaluations("whole"));
    }

    #[test]
    fn by_ctrl_c_it_exits_with_130_and_goes_on_to_the_same_bytes() {
        let folder = Folder::in_memory();
        let (mut child, lines) = started(&folder);
        signal(&child, libc::SIGINT);
        let rest: Vec<String> = lines.collect();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{rest:?}");
        assert!(rest.iter().any(|line| line.contains("once more stops at once")), "{rest:?}");
        assert!(rest.last().unwrap().ends_with("go on with: smore train --resume run"), "{rest:?}");
        assert!(!folder.path().join("run/test.json").exists());
        smore(&folder).args(["eval", "run"]).assert().success();
        smore(&folder)
            .args(["train", "--resume", "run"])
            .assert()
            .success()
            .stdout(contains("query2box on test"))
            .stderr(contains("note: going on after step "));
        assert_same_as_uninterrupted(&folder);
    }

    #[test]
    fn by_kill_it_goes_on_from_its_last_evaluation_to_the_same_bytes() {
        let folder = Folder::in_memory();
        let (mut child, _) = started(&folder);
        child.kill().unwrap();
        child.wait().unwrap();
        std::fs::write(folder.path().join("run/.smore-abc.tmp"), "half a file").unwrap();
        smore(&folder).args(["train", "--resume", "run"]).assert().success();
        assert!(!folder.path().join("run/.smore-abc.tmp").exists());
        assert_same_as_uninterrupted(&folder);
    }
}

#[test]
fn a_run_folder_takes_one_process_at_a_time() {
    let folder = trained();
    let held = smore::engine::train::RunFolder::resume(&folder.path().join("run")).unwrap();
    fails(
        smore(&folder).args(["train", "--resume", "run"]),
        1,
        "another smore is training in this run folder",
    );
    smore(&folder).args(["eval", "run"]).assert().success();
    drop(held);
    smore(&folder).args(["train", "--resume", "run"]).assert().success();
}

#[test]
fn a_finished_run_is_tested_again_or_made_longer_and_never_shorter() {
    let folder = trained();
    let (model, test) = (read(&folder, "run/model.safetensors"), read(&folder, "run/test.json"));
    let log = read(&folder, "run/metrics.jsonl");
    smore(&folder)
        .args(["train", "--resume", "run"])
        .assert()
        .success()
        .stderr(contains("note: all 60 steps are done: only the test is made again"));
    assert!(model == read(&folder, "run/model.safetensors"));
    assert!(test == read(&folder, "run/test.json"));
    assert!(log == read(&folder, "run/metrics.jsonl"));
    let config = read(&folder, "run/config.toml");
    fails(
        smore(&folder).args(["train", "--resume", "run", "--steps", "40"]),
        1,
        "60 steps are done already, more than the 40 asked for",
    );
    assert!(config == read(&folder, "run/config.toml"), "what is refused changes nothing");
    let longer = json(smore(&folder).args(["train", "--resume", "run", "--steps", "80"]));
    assert_eq!(longer["step"], 80);
    assert_eq!(losses(&folder, "run").last().unwrap().0, 80);
}

#[test]
fn a_run_goes_on_with_its_own_model_and_data() {
    let folder = trained();
    let config = read(&folder, "run/config.toml");
    let refused = "only training.steps, training.epochs";
    for change in [&["--dim=8"][..], &["--seed=3"], &["--model=complex"], &["--set", "model.gamma=3"]] {
        fails(smore(&folder).args(["train", "--resume", "run"]).args(change), 1, refused);
    }
    let negation = ["train", "--resume", "run", "--set", "evaluation.structures=2in"];
    fails(smore(&folder).args(negation), 1, "query2box has no negation");
    fails(smore(&folder).args(["train", "umls", "--resume", "run"]), 2, "--resume");
    assert!(config == read(&folder, "run/config.toml"), "what is refused changes nothing");
}

/// Tails of the training triples of a head and a relation.
fn tails(head: &str, relation: &str) -> BTreeSet<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets/umls/train.txt");
    let text = std::fs::read_to_string(file).unwrap();
    let triples = text.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    triples.filter(|t| t[0] == head && t[1] == relation).map(|t| t[2].to_string()).collect()
}

#[test]
fn a_query_ranks_answers_and_knows_those_of_the_training_graph() {
    let folder = trained();
    let ask = |query: &str, k: &str| json(smore(&folder).args(["query", "run", query, "-k", k]));
    let all = ask("('mammal',('isa',))", "100000");
    let answers = all["answers"].as_array().unwrap();
    assert_eq!(answers.len(), 135);
    assert!(answers.windows(2).all(|a| a[0]["score"].as_f64() >= a[1]["score"].as_f64()));
    let known = |document: &Value| -> BTreeSet<String> {
        let answers = document["answers"].as_array().unwrap().iter();
        answers.filter(|a| a["status"] == "known").map(|a| a["entity"].as_str().unwrap().into()).collect()
    };
    assert_eq!(known(&all), tails("mammal", "isa"));
    assert_eq!(all["known_answers"].as_u64().unwrap() as usize, tails("mammal", "isa").len());
    assert!(answers[0].get("label").is_some());

    let inverse = ask("('vertebrate',('^isa',))", "200");
    assert!(known(&inverse).contains("mammal") && known(&inverse).contains("fish"));
    let both = ask("(('mammal',('isa',)),('fish',('isa',)))", "200");
    let expected: BTreeSet<String> =
        tails("mammal", "isa").intersection(&tails("fish", "isa")).cloned().collect();
    assert_eq!((known(&both), &both["structure"]), (expected, &"2i".into()));
    let either = ask("(('mammal',('isa',)),('fish',('isa',)),('u',))", "200");
    assert_eq!(known(&either), tails("mammal", "isa").union(&tails("fish", "isa")).cloned().collect());

    smore(&folder)
        .args(["query", "run", "('mammal',('isa',))", "-k", "3"])
        .assert()
        .success()
        .stdout(contains("entity").and(contains("status")))
        .stderr(contains(
            "1p query, answered by the model's embedding of it; the training graph implies 4 answers",
        ));
}

#[test]
fn a_query_that_cannot_be_answered_is_refused_with_a_hint() {
    let folder = trained();
    for (query, hint) in [
        ("('mamal',('isa',))", "no entity has the name or label \"mamal\"; did you mean mammal"),
        ("('mammal',('isaa',))", "no relation has the name or label \"isaa\"; did you mean isa?"),
        ("('mammal',('isa',)", "\n  ^"),
        ("('mammal',('isa',)))", "^"),
        ("mammal", "expected a nested tuple"),
        ("", "expected"),
        (
            "(('mammal',('isa',)),('fish',('isa','n')))",
            "query2box has no negation, so it cannot express the structure 2in",
        ),
    ] {
        fails(smore(&folder).args(["query", "run", query]), 1, hint);
    }
    for k in ["-1", "0", "x"] {
        fails(
            smore(&folder).args(["query", "run", "('mammal',('isa',))", "-k", k]),
            2,
            &format!("invalid value '{k}' for '--top"),
        );
    }
}

#[test]
fn a_closed_pipe_ends_quietly_and_a_full_one_does_not() {
    let folder = trained();
    for arguments in [&["query", "run", "('mammal',('isa',))", "-k", "500"][..], &["eval", "run", "--json"]] {
        let with_output = |output: std::process::Stdio| {
            let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin!("smore"));
            command.args(arguments).arg("--cache-dir").arg(folder.cache()).current_dir(folder.path());
            command.stdout(output).output().unwrap()
        };
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = with_output(writer.into());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && !stderr.contains("error"), "{arguments:?}: {stderr}");
        if let Ok(full) = std::fs::File::options().write(true).open("/dev/full") {
            let output = with_output(full.into());
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{arguments:?}: {stderr}");
            assert!(stderr.contains("error: cannot write to standard output"), "{stderr}");
        }
    }
}

#[test]
fn what_cannot_be_trained_is_refused_before_anything_is_left_behind() {
    let folder = Folder::in_memory();
    let chain = "('e',('r','r','q'))";
    std::fs::write(folder.path().join("key.toml"), "[model]\ndimn = 3\n").unwrap();
    std::fs::write(folder.path().join("syntax.toml"), "[model\ndim = 3\n").unwrap();
    let cases: [(&[&str], &str); 23] = [
        (
            &["--model=gpe"],
            "model.name = \"gpe\": expected gqe, query2box, betae, cone, complex, distmult, rotate, transe, rescal, tucker or conve",
        ),
        (&["--set", "model.dimension=3"], "unknown key model.dimension (did you mean model.dim?)"),
        (&["--set", "model.relation_dim=3"], "model.relation_dim is for tucker"),
        (&["--set", "model.dim"], "expected key.path=value"),
        (&["--set", "model.dim=x"], "model.dim"),
        (&["--config=key.toml"], "key.toml: unknown key model.dimn (did you mean model.dim?)"),
        (&["--config=syntax.toml"], "syntax.toml: TOML parse error at line 1"),
        (&["--config=none.toml"], "none.toml: No such file"),
        (&["--set", "data.dataset=ulms"], "unknown dataset \"ulms\" (did you mean umls?)"),
        (&["--structures=2in"], "query2box has no negation, so it cannot express the structure 2in"),
        (
            &["--model=transe", "--structures=1p.2i"],
            "transe has no intersection, so it cannot express the structure 2i: use chains and unions",
        ),
        (&["--model=transe", "--set", "evaluation.structures=1p.pi"], "cannot express the structure pi"),
        (&["--structures=1p.9z"], "9z"),
        (&["--structures", chain], "'q'"),
        (&["--set", "evaluation.structures=2in"], "query2box has no negation"),
        (&["--batch-size=3"], "a batch of 3 queries cannot hold 5 structures: use a larger --batch-size"),
        (&["--batch-size=0"], "training.batch_size = 0: expected a whole number from 1 to 16,777,216"),
        (&["--dim=0"], "model.dim = 0: expected a whole number from 1 to 1,048,576"),
        (&["--dim=100000000000"], "model.dim = 100000000000: expected a whole number from 1 to 1,048,576"),
        (
            &["--negatives=100000000000"],
            "sampling.negatives = 100000000000: expected a whole number from 1 to",
        ),
        (&["--set", "training.epochs=2"], "either training.steps or training.epochs, not both"),
        (&["--set", "training.learning_rate=0"], "training.learning_rate = 0: expected a number above 0"),
        (
            &["--set", "training.learning_rate=1e30"],
            "the loss of step 2 is NaN; of the queries it is 7 of 7 of ",
        ),
    ];
    for (arguments, message) in cases {
        // The last of a flag given twice would be an error: keep the tiny model's own out of the way.
        let own = |flag: &&&str| {
            !arguments.iter().any(|a| a.split_once('=').is_some_and(|(f, _)| flag.starts_with(f)))
        };
        let tiny: Vec<&&str> = TINY.iter().filter(own).collect();
        fails(smore(&folder).args(tiny).arg(STEPS).args(arguments), 1, message);
        assert!(!folder.path().join("run").exists(), "{arguments:?}");
    }
    for (arguments, message) in [
        (&["--device=cuda:x"][..], "expected auto, cpu, cuda or cuda:N"),
        (&["--device=tpu"], "expected auto, cpu, cuda or cuda:N"),
        (&["--epochs=3"], "cannot be used with"),
        (&["--seed=-1"], "-1"),
        (&["--seed=18446744073709551615"], "18446744073709551615"),
    ] {
        fails(smore(&folder).args(TINY).arg(STEPS).args(arguments), 2, message);
    }
    assert_eq!(files(folder.path()), ["cache", "key.toml", "syntax.toml"].map(String::from).into());
}

#[cfg(target_os = "linux")]
#[test]
fn a_run_that_needs_more_memory_than_the_machine_has_does_not_start() {
    let folder = Folder::in_memory();
    let huge = ["train", "umls", "--dim=1000000", "--negatives=10000000", "--run-dir", "run"];
    fails(smore(&folder).args(huge), 1, "of memory, and the machine has");
    assert!(!folder.path().join("run").exists());
}

#[test]
fn a_structure_that_the_graph_does_not_have_is_refused_and_leaves_nothing_behind() {
    let folder = Folder::with(&[
        ("train.txt", "a\tr\tb\nb\tr\tc\nc\ts\ta\n"),
        ("valid.txt", "a\ts\tb\n"),
        ("test.txt", "b\ts\tb\n"),
    ]);
    fails(
        smore(&folder).args(TINY).args([STEPS, "--structures=3i", "--set", "data.dataset=data"]),
        1,
        "3i cannot be drawn on this graph",
    );
    assert!(!folder.path().join("run").exists());
}

#[test]
fn a_folder_that_exists_is_never_written_over() {
    let folder = trained();
    let model = read(&folder, "run/model.safetensors");
    fails(
        smore(&folder).args(TINY).args([STEPS, "--seed=4"]),
        1,
        "run: exists already: choose another --run-dir",
    );
    assert!(model == read(&folder, "run/model.safetensors"));
    let default: Vec<&str> = TINY[..11].to_vec();
    for expected in ["runs/umls-query2box", "runs/umls-query2box-2"] {
        let run = json(smore(&folder).args(&default).arg("--steps=2"));
        assert_eq!(run["run"], expected);
    }
}

#[test]
fn a_folder_that_cannot_be_written_to_is_an_error_with_its_name() {
    let folder = Folder::in_memory();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let train = TINY.map(|argument| if argument == "run" { "file/run" } else { argument });
    fails(smore(&folder).args(train).arg(STEPS), 1, "file");
    assert_eq!(files(folder.path()), ["cache", "file"].map(String::from).into());
}

#[test]
fn a_run_that_diverges_keeps_what_was_good() {
    let folder = Folder::in_memory();
    let diverging = ["--set", "training.valid_every=1", "--set", "training.learning_rate=1e30"];
    fails(
        smore(&folder).args(TINY).arg(STEPS).args(diverging),
        1,
        "the state of step 1 and the best model until then are kept; go on with smore train --resume run",
    );
    smore(&folder).args(["eval", "run"]).assert().success();
    let model = read(&folder, "run/model.safetensors");
    fails(smore(&folder).args(["train", "--resume", "run"]), 1, "the loss of step 2 is NaN");
    assert!(model == read(&folder, "run/model.safetensors"));
}

#[test]
fn a_run_folder_that_was_tampered_with_is_refused_with_the_name_of_the_file() {
    let folder = trained();
    let run = folder.path().join("run");
    // Without it, as a run of before: with it, every change is an error (tests/damaged_run.rs).
    std::fs::remove_file(run.join("manifest.json")).unwrap();
    let (model, config) = (read(&folder, "run/model.safetensors"), read(&folder, "run/config.toml"));
    let query = ["query", "run", "('mammal',('isa',))"];
    let refused = |message: &str| {
        fails(smore(&folder).args(["eval", "run"]), 1, message);
        fails(smore(&folder).args(query), 1, message);
    };
    for length in [0, 7, 100, model.len() / 2, model.len() - 1] {
        std::fs::write(run.join("model.safetensors"), &model[..length]).unwrap();
        fails(smore(&folder).args(["eval", "run"]), 1, "run/model.safetensors: ");
    }
    refused("is not a whole model file of smore");
    std::fs::remove_file(run.join("model.safetensors")).unwrap();
    refused("run: has no model yet: train it further with smore train --resume run");
    std::fs::write(run.join("model.safetensors"), &model).unwrap();

    let text = String::from_utf8(config.clone()).unwrap();
    std::fs::write(run.join("config.toml"), text.replace("dim = 16", "dim = 8")).unwrap();
    refused("the files of this run folder do not belong together");
    fails(smore(&folder).args(["train", "--resume", "run"]), 1, "do not belong together");
    std::fs::write(run.join("config.toml"), text.replace("\"query2box\"", "\"complex\"")).unwrap();
    refused("holds a query2box model, not complex");
    std::fs::write(run.join("config.toml"), &config).unwrap();

    let graph = read(&folder, "run/graph.smore");
    std::fs::remove_file(run.join("graph.smore")).unwrap();
    refused("run/graph.smore: ");
    std::fs::write(run.join("graph.smore"), &graph[..graph.len() / 2]).unwrap();
    refused("run/graph.smore: ");
    std::fs::write(run.join("graph.smore"), &graph).unwrap();
    smore(&folder).args(["eval", "run"]).assert().success();

    std::fs::create_dir(folder.path().join("empty")).unwrap();
    fails(smore(&folder).args(["eval", "empty"]), 1, "empty: is not a run folder");
    fails(smore(&folder).args(["eval", "none"]), 1, "none: no such run folder");
    fails(smore(&folder).args(["train", "--resume", "none"]), 1, "none: no such run folder");
}

/// A shell's limit on the size of files stands in for a full disk.
#[cfg(unix)]
#[test]
fn a_disk_without_room_is_an_error_that_costs_nothing_that_was_there() {
    let folder = trained();
    let (model, state) = (read(&folder, "run/model.safetensors"), read(&folder, "run/state.safetensors"));
    let limited = |arguments: &[&str]| {
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\""]);
        command.arg(assert_cmd::cargo::cargo_bin!("smore")).args(arguments);
        command.arg("--cache-dir").arg(folder.cache()).current_dir(folder.path());
        command
    };
    let new = TINY.map(|argument| if argument == "run" { "new" } else { argument });
    fails(&mut limited(&new), 1, "File too large");
    assert!(!folder.path().join("new").exists());
    let before = files(&folder.path().join("run"));
    fails(&mut limited(&["train", "--resume", "run", "--steps", "80"]), 1, "File too large");
    assert!(model == read(&folder, "run/model.safetensors"));
    assert!(state == read(&folder, "run/state.safetensors"));
    assert_eq!(files(&folder.path().join("run")), before);
}

#[test]
fn negatives_of_their_own_train_a_model_as_well_as_shared_ones() {
    let folder = Folder::in_memory();
    let mrr = |pool: &str| {
        let mut train = smore(&folder);
        train.args([
            "train",
            "umls",
            "--model=gqe",
            "--dim=32",
            "--batch-size=128",
            "--negatives=32",
            "--steps=500",
        ]);
        train.arg("--set=training.learning_rate=0.02");
        train.args(["--set=evaluation.structures=1p.2i", &format!("--set=sampling.pool={pool}")]);
        let report = json(train.args(["--run-dir", pool]));
        assert!(
            std::fs::read_to_string(folder.path().join(pool).join("config.toml")).unwrap().contains(pool)
        );
        report["report"]["multi_hop"]["1p"]["mrr"].as_f64().unwrap()
    };
    let (shared, own) = (mrr("shared"), mrr("own"));
    assert!(shared > 0.3 && own > 0.95 * shared, "shared {shared}, own {own}");
}

#[test]
fn bench_reports_rates_of_training_evaluation_and_sampling() {
    let folder = Folder::in_memory();
    let timing = ["--seconds=0.02", "--warm-up=0", "--runs=3"];
    let model = ["--dim=16", "--batch-size=64", "--negatives=32", "--structures=1p.2i"];
    let bench = |what: &str, more: &[&str]| {
        json(
            smore(&folder)
                .args(["bench", what, "umls", model[1], model[2], model[3]])
                .args(timing)
                .args(more),
        )
    };
    let positive = |value: &Value| value.as_f64().is_some_and(|x| x > 0.0);
    let train = bench("train", &model[..1]);
    assert_eq!(train["runs"].as_array().unwrap().len(), 3);
    assert!(
        ["queries_per_second", "queries_per_cpu_second", "steps", "loss"].iter().all(|k| positive(&train[k]))
    );
    assert!((0.0..1.0).contains(&train["sampling_share_of_cpu"].as_f64().unwrap()));
    assert_eq!(train["config"]["sampling"]["negatives"], 32);
    let eval = bench("eval", &model[..1]);
    for structure in ["1p", "2i"] {
        assert!(positive(&eval["structures"][structure]["queries_per_second"]), "{eval}");
    }
    let sample = bench("sample", &[]);
    for structure in ["1p", "2i", "mix"] {
        let row = &sample["structures"][structure];
        assert!(
            ["queries_per_second", "bytes_per_query", "drawn"].iter().all(|k| positive(&row[k])),
            "{row}"
        );
        assert!(row["frontier_max"].as_f64() >= row["frontier_mean"].as_f64(), "{row}");
    }
    // Two edges of an answer are the same now and then; one edge is never.
    let equal =
        |structure: &str| sample["structures"][structure]["rejections"]["equal_branches"].as_u64().unwrap();
    assert!(equal("2i") > 0 && equal("mix") > 0 && equal("1p") == 0, "{sample}");
    let alone = ["bench", "sample", "umls", "--structures=2p", "--threads=1"];
    let one = json(smore(&folder).args(alone).args(timing));
    assert_eq!(one["structures"]["mix"], one["structures"]["2p"]);
    assert_eq!(one["threads"], 1);
    smore(&folder)
        .args([
            "bench",
            "sample",
            "--dataset=umls",
            "--batch-size=64",
            "--negatives=32",
            "--structures=1p.2i",
        ])
        .args(timing)
        .assert()
        .success()
        .stdout(contains("bytes").and(contains("drawn again because of").and(contains("equal_branches"))));
    smore(&folder)
        .args(["bench", "train", "umls"])
        .args(model)
        .args(timing)
        .assert()
        .success()
        .stdout(contains("queries per second"));
    for seconds in ["-1", "nan", "1e300", "soon"] {
        fails(smore(&folder).args(["bench", "sample", "--seconds", seconds]), 2, "expected seconds");
    }
}

#[test]
fn devices_are_listed() {
    let folder = Folder::in_memory();
    assert_eq!(json(smore(&folder).arg("devices"))["devices"][0]["name"], "cpu");
}

#[test]
fn a_model_without_intersections_trains_and_is_evaluated_on_what_it_can_express() {
    let folder = Folder::in_memory();
    let report = json(smore(&folder).args(TINY).args([STEPS, "--model=transe"]));
    let evaluated: Vec<&str> =
        report["report"]["multi_hop"].as_object().unwrap().keys().map(String::as_str).collect();
    for structure in ["1p", "2p", "3p", "2u", "up"] {
        assert!(evaluated.contains(&structure), "{structure} is missing in {evaluated:?}");
    }
    for structure in ["2i", "3i", "ip", "pi", "2in"] {
        assert!(!evaluated.contains(&structure), "{structure} cannot be in {evaluated:?}");
    }
    let config = String::from_utf8(read(&folder, "run/config.toml")).unwrap();
    assert!(config.contains("structures = \"1p:4,2p:2,3p:1\""), "{config}");
    let query = "(('mammal',('isa',)),('fish',('isa',)))";
    fails(smore(&folder).args(["query", "run", query]), 1, "transe has no intersection");
    smore(&folder).args(["query", "run", "('mammal',('isa',))"]).assert().success();
}

/// A single-hop run of a moment.
fn single(folder: &Folder, run: &str, more: &[&str]) -> Command {
    let mut command = smore(folder);
    command.args(["train", "umls", "--model=complex", "--dim=16", "--batch-size=256", "--run-dir", run]);
    for assignment in more {
        command.args(["--set", assignment]);
    }
    command
}

#[test]
fn single_hop_training_predicts_links_better_than_the_baseline() {
    let folder = Folder::in_memory();
    for (objective, optimizer, rate) in
        [("1vsall", "adam", "0.02"), ("kvsall", "adagrad", "0.3"), ("1vsall", "rowwise-adagrad", "0.3")]
    {
        let run = format!("{objective}-{optimizer}");
        let set = [
            &format!("training.objective={objective}"),
            &format!("training.optimizer={optimizer}"),
            &format!("training.learning_rate={rate}"),
            "training.epochs=40",
            "model.start=xavier-normal",
            "model.dropout_entity=0.1",
            "evaluation.queries=40",
        ];
        let unit = if objective == "1vsall" { "triples" } else { "pairs" };
        let output = single(&folder, &run, &set.map(|s| s as &str)).arg("--json").assert().success();
        let message = contains(format!("256 {unit}, each against"))
            .and(contains("link prediction").and(contains(format!(" {unit}/s"))));
        let output = output.stderr(message.and(contains("queries/s").not())).get_output().clone();
        let result: Value = serde_json::from_slice(&output.stdout).unwrap();
        let mrr = |report: &Value| report["link_prediction"]["mrr"].as_f64().unwrap();
        let (model, baseline) = (mrr(&result["report"]), mrr(&result["report"]["baseline"]));
        assert!(model > baseline + 0.1, "{run}: MRR {model}, baseline {baseline}");
        let (field, other) = (format!("{unit}_per_second"), "queries_per_second");
        let rates = |value: &Value| value[&field].is_f64() && value.get(other).is_none();
        assert!(rates(&result["usage"]), "{}", result["usage"]);
        let log = String::from_utf8(read(&folder, &format!("{run}/metrics.jsonl"))).unwrap();
        assert!(rates(&serde_json::from_str(log.lines().next().unwrap()).unwrap()), "{log}");
        let page = String::from_utf8(read(&folder, &format!("{run}/report.html"))).unwrap();
        let plot = format!("aria-label=\"trained {unit} per second\"");
        assert!(page.contains(&plot) && !page.contains("queries/s"), "{run}: {plot}");
        let events = read(&folder, &format!("{run}/tensorboard/events.out.tfevents.smore"));
        let tag = format!("train/{field}");
        assert!(events.windows(tag.len()).any(|bytes| bytes == tag.as_bytes()), "{run}: {tag}");
        // The saved model alone gives the same.
        assert_eq!(mrr(&json(smore(&folder).args(["eval", &run]))), model);
    }
}

#[test]
fn training_by_sampled_negatives_predicts_links_better_than_the_baseline_with_every_loss() {
    let folder = Folder::in_memory();
    for (loss, pool, rate) in
        [("logistic", "shared", "0.02"), ("cross-entropy", "own", "0.01"), ("margin", "shared", "0.02")]
    {
        let set = [
            "training.objective=negatives",
            &format!("training.loss={loss}"),
            &format!("training.learning_rate={rate}"),
            &format!("sampling.pool={pool}"),
            "sampling.negatives=64",
            "training.clip_norm=1",
            "training.schedule=plateau",
            "training.epochs=10",
            "model.regulariser=none",
            "evaluation.queries=40",
        ];
        let output = single(&folder, loss, &set).arg("--json").assert().success();
        let output =
            output.stderr(contains("1p 256; 64 ").and(contains("link prediction"))).get_output().clone();
        let result: Value = serde_json::from_slice(&output.stdout).unwrap();
        let report = &result["report"];
        let mrr = |report: &Value| report["link_prediction"]["mrr"].as_f64().unwrap();
        let (model, baseline) = (mrr(report), mrr(&report["baseline"]));
        assert!(model > baseline + 0.05, "{loss}: MRR {model}, baseline {baseline}");
        let structures: Vec<&String> = report["multi_hop"].as_object().unwrap().keys().collect();
        assert_eq!(structures, ["1p"], "{loss}: networks for sets were not trained");
    }
}

#[test]
fn a_run_that_gets_no_better_ends_by_its_patience() {
    let folder = Folder::in_memory();
    let set = [
        "training.objective=1vsall",
        "training.epochs=1000",
        "training.valid_every=5",
        "training.patience=2",
        // Too fast to learn, so that valid soon stands still.
        "training.learning_rate=1.0",
        "evaluation.queries=10",
    ];
    single(&folder, "run", &set)
        .assert()
        .success()
        .stderr(contains("valid has not become better in the last 2 evaluations"));
    let steps = losses(&folder, "run").last().map_or(0, |(step, _)| *step);
    assert!(steps < 20_000, "{steps} steps");
    // Taken up again, it is still over.
    smore(&folder)
        .args(["train", "--resume", "run"])
        .assert()
        .success()
        .stderr(contains("only the test is made again"));
}

#[test]
fn single_hop_training_refuses_what_it_does_not_have_before_it_starts() {
    let folder = Folder::in_memory();
    for (set, expected) in [
        (&["training.objective=kvsall", "training.table=file"][..], "training.table"),
        (&["training.objective=1vsall", "training.loss=margin"], "training.objective = queries or negatives"),
        (
            &["training.objective=1vsall", "model.name=rotate", "training.relation_prediction=1"],
            "use complex, distmult, rescal or tucker",
        ),
        (
            &["training.objective=1vsall", "model.name=transe", "model.regulariser=n3"],
            "use model.regulariser = l2 or l3",
        ),
    ] {
        fails(&mut single(&folder, "run", set), 1, expected);
    }
    assert!(!folder.path().join("run").exists());
}

#[test]
fn betae_is_trained_evaluated_and_asked_with_negations() {
    let folder = Folder::in_memory();
    let betae = ["--model=betae", "--dim=8", "--set", "model.hidden=16", "--steps=20"];
    let mut tiny: Vec<&str> = TINY.iter().filter(|a| **a != "--dim=16").copied().collect();
    tiny.extend(betae);
    let report = json(smore(&folder).args(&tiny).args(["--set", "model.union=demorgan"]));
    for structure in ["1p", "2u", "up", "2in", "3in", "inp", "pin", "pni"] {
        assert!(report["report"]["multi_hop"][structure]["mrr"].is_f64(), "{structure}: {report}");
    }
    let query = "(('virus',('causes',)),('bacterium',('causes','n')))";
    let answers = json(smore(&folder).args(["query", "run", query, "-k", "7"]));
    assert_eq!(answers["structure"], "2in");
    assert_eq!(answers["answers"].as_array().unwrap().len(), 7);
    let refused = "model.union = demorgan needs a model with negation, which gqe has not";
    let args = ["train", "umls", "--model=gqe", "--set", "model.union=demorgan", "--run-dir=other"];
    fails(smore(&folder).args(args), 1, refused);
}
