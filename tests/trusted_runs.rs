//! A run that something goes wrong with: killed, diverging, out of room, not allowed to write, stopped.

#![cfg(feature = "cli")]

use assert_cmd::cargo::cargo_bin;
use serde_json::Value;
use smore::engine::backend::{Cpu, Optimizer};
use smore::engine::train::{RunFolder, checkpoint, evaluate};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

mod common;
use common::Folder;

/// A run whose time goes into evaluating and saving.
const SAVING: [&str; 12] = [
    "train",
    "umls",
    "--model=gqe",
    "--dim=400",
    "--batch-size=16",
    "--negatives=16",
    "--steps=120",
    "--set=training.valid_every=1",
    "--set=evaluation.queries=10",
    "--set=evaluation.valid_queries=2",
    "--run-dir",
    "run",
];

fn smore(folder: &Folder, arguments: &[&str]) -> Command {
    let mut command = Command::new(cargo_bin("smore"));
    command.env_remove("SMORE_DATA").env_remove("SMORE_CACHE").current_dir(folder.path());
    command.args(arguments).arg("--cache-dir").arg(folder.cache());
    command
}

fn run(folder: &Folder, arguments: &[&str]) -> Output {
    smore(folder, arguments).output().unwrap()
}

fn succeeds(folder: &Folder, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}");
    text
}

/// Standard error of a command that fails, without a panic.
fn fails(mut command: Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("error: ") && !text.contains("panicked"), "{text}");
    text
}

fn read(folder: &Folder, file: &str) -> Vec<u8> {
    std::fs::read(folder.path().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// The step of the state in `run`, after the model and the state have been read to the last byte.
fn loads(path: &Path) -> Option<u64> {
    let folder = RunFolder::open(path).unwrap();
    let (config, graph) = (folder.config().unwrap(), folder.graph().unwrap());
    let model = smore::engine::model::create(&config.model).unwrap();
    let weights = || {
        let (entities, relations) = (graph.num_entities(), graph.num_relations());
        smore::engine::model::Weights::zeros(&Cpu, &*model, entities, relations, Some(Optimizer::Adam))
            .unwrap()
    };
    if path.join("model.safetensors").exists() {
        evaluate::load_model(&Cpu, &graph, &config, &folder).unwrap();
    }
    let state = folder.state();
    state.exists().then(|| checkpoint::load(&state, &Cpu, &*model, &mut weights(), true).unwrap().step)
}

#[cfg(unix)]
#[test]
fn a_run_that_is_killed_at_random_moments_is_always_loadable_and_ends_with_the_same_bytes() {
    let folder = Folder::in_memory();
    let whole = SAVING.map(|argument| if argument == "run" { "whole" } else { argument });
    let begin = Instant::now();
    succeeds(&folder, &whole);
    let time = begin.elapsed();
    let path = folder.path().join("run");
    // A fixed sequence of fractions that look like chance; the moments themselves are the clock's.
    let mut fraction = 0.37f64;
    let (mut steps, mut kills) = (Vec::new(), 0);
    let finished = (0..60).any(|_| {
        // Killed before there was a run, it begins again in the same folder.
        let resumed = path.join("config.toml").exists();
        let arguments = if resumed { &["train", "--resume", "run"][..] } else { &SAVING };
        let mut command = smore(&folder, arguments);
        let errors = std::fs::File::create(folder.path().join("errors")).unwrap();
        let mut child = command.stdout(Stdio::null()).stderr(errors).spawn().unwrap();
        fraction = (fraction * 9301.0 + 0.49297).fract();
        let deadline = Instant::now() + Duration::from_millis(15) + time.mul_f64(fraction / 6.0);
        while Instant::now() < deadline {
            if let Some(status) = child.try_wait().unwrap() {
                let errors = std::fs::read_to_string(folder.path().join("errors")).unwrap();
                assert!(status.success(), "{errors}");
                return true;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        if path.join("config.toml").exists() {
            let step = loads(&path);
            assert!(step >= *steps.last().unwrap_or(&None), "it went back from {steps:?} to {step:?}");
            steps.push(step);
        }
        false
    });
    println!("killed {kills} times, the states found were {steps:?}");
    if !finished {
        succeeds(&folder, &["train", "--resume", "run"]);
    }
    assert!(kills > 2, "it was killed only {kills} times");
    for file in ["model.safetensors", "state.safetensors", "test.json"] {
        assert!(read(&folder, &format!("run/{file}")) == read(&folder, &format!("whole/{file}")), "{file}");
    }
    let evaluations = |run: &str| {
        let log = String::from_utf8(read(&folder, &format!("{run}/metrics.jsonl"))).unwrap();
        log.lines().filter(|line| !line.contains(r#""train""#)).map(String::from).collect::<Vec<_>>()
    };
    assert_eq!(evaluations("run"), evaluations("whole"));
    assert_eq!(events(&folder, "run"), events(&folder, "whole"));
}

/// The number of records of a run's event file: one, and one for each line of the log.
fn events(folder: &Folder, run: &str) -> usize {
    let bytes = read(folder, &format!("{run}/tensorboard/events.out.tfevents.smore"));
    let (mut at, mut records) = (0, 0);
    while at < bytes.len() {
        at += 16 + u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
        records += 1;
    }
    assert_eq!(at, bytes.len(), "the last record is whole");
    let log = String::from_utf8(read(folder, &format!("{run}/metrics.jsonl"))).unwrap();
    assert_eq!(records, 1 + log.lines().count());
    records
}

const TINY: [&str; 9] = [
    "train",
    "umls",
    "--model=gqe",
    "--dim=16",
    "--batch-size=64",
    "--negatives=32",
    "--set=evaluation.queries=40",
    "--set=evaluation.valid_queries=20",
    "--run-dir=run",
];

fn tiny<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&TINY[..], more].concat()
}

#[test]
fn a_loss_that_grows_far_above_its_best_stops_the_run_and_keeps_the_last_good_model() {
    let folder = Folder::in_memory();
    let diverging = ["--steps=200", "--set=training.valid_every=1", "--set=training.learning_rate=20"];
    let text = fails(smore(&folder, &tiny(&diverging)));
    assert!(
        text.contains("the loss diverges: at step ") && text.contains("the learning rate (20.0)"),
        "{text}"
    );
    let kept = loads(&folder.path().join("run")).expect("steps before were saved");
    assert!(
        text.contains(&format!("the state of step {kept} and the best model until then are kept")),
        "{text}"
    );
    succeeds(&folder, &["eval", "run"]);
    // Whoever knows better may go on.
    succeeds(&folder, &["train", "--resume", "run", "--set=training.divergence_factor=0"]);
}

#[test]
fn a_loss_that_is_no_number_is_reported_with_its_step_its_structures_and_the_row() {
    let folder = Folder::in_memory();
    let text = fails(smore(&folder, &tiny(&["--steps=200", "--set=training.learning_rate=1e30"])));
    for part in ["the loss of step 2 is NaN; of the queries it is ", " of 2i, ", "row 0 of entities ("] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.contains("nothing had been saved yet") && !folder.path().join("run").exists(), "{text}");
}

#[test]
fn training_ends_when_valid_has_not_become_better_for_as_long_as_one_is_patient() {
    let folder = Folder::in_memory();
    let long = ["--steps=4000", "--set=training.valid_every=20", "--set=training.learning_rate=0.05"];
    let text = succeeds(&folder, &[tiny(&long), vec!["--set=training.patience=3"]].concat());
    assert!(text.contains("training ended early, after step "), "{text}");
    let log = String::from_utf8(read(&folder, "run/metrics.jsonl")).unwrap();
    let records: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let valid: Vec<&Value> = records.iter().filter(|r| r["kind"] == "valid").collect();
    let best = valid.iter().rposition(|r| r["best"] == true).unwrap();
    assert_eq!(valid.len(), best + 1 + 3, "the last three were no better");
    assert!(valid.last().unwrap()["step"].as_u64().unwrap() < 4000);
    let model = checkpoint::read_meta(&folder.path().join("run/model.safetensors")).unwrap();
    assert_eq!(model.step, valid[best]["step"].as_u64().unwrap());

    let before = read(&folder, "run/test.json");
    let text = succeeds(&folder, &["train", "--resume", "run"]);
    assert!(text.contains("only the test is made again"), "{text}");
    assert!(before == read(&folder, "run/test.json"));
    succeeds(&folder, &["train", "--resume", "run", "--set=training.patience=4"]);
    assert!(loads(&folder.path().join("run")).unwrap() > valid.last().unwrap()["step"].as_u64().unwrap());
}

/// A shell's limit on the size of files stands in for a full disk.
#[cfg(unix)]
#[test]
fn a_disk_that_is_full_while_a_state_is_saved_is_an_error_that_says_what_is_kept() {
    let folder = Folder::in_memory();
    succeeds(&folder, &tiny(&["--steps=20", "--set=training.valid_every=10"]));
    let (model, state) = (read(&folder, "run/model.safetensors"), read(&folder, "run/state.safetensors"));
    let blocks = state.len() / 512 - 1;
    assert!(blocks * 512 > model.len() && blocks * 512 > read(&folder, "run/metrics.jsonl").len() + 8192);
    let mut limited = Command::new("sh");
    limited.args(["-c", &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"")]);
    limited.arg(cargo_bin("smore")).args(["train", "--resume", "run", "--steps=40", "--cache-dir"]);
    limited.arg(folder.cache()).current_dir(folder.path());
    let text = fails(limited);
    assert!(text.contains("run/state.safetensors: File too large"), "{text}");
    assert!(text.contains("the state of step 20 and the best model until then are kept"), "{text}");
    assert!(state == read(&folder, "run/state.safetensors"));
    succeeds(&folder, &["train", "--resume", "run"]);
    assert_eq!(loads(&folder.path().join("run")), Some(40));
}

/// As a user who may not write, also where the tests are run by one who may do everything.
#[cfg(unix)]
#[test]
fn a_run_folder_that_may_not_be_written_to_can_be_evaluated_and_not_gone_on_with() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;
    let folder = Folder::in_memory();
    succeeds(&folder, &tiny(&["--steps=20"]));
    let path = folder.path().join("run");
    let mode = |path: &Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(folder.path(), 0o755);
    let root = std::fs::metadata(&path).unwrap().uid() == 0;
    let as_reader = |arguments: &[&str]| {
        let mut command = smore(&folder, arguments);
        if root {
            command.uid(65_534).gid(65_534);
        }
        command
    };
    mode(&path, 0o555);
    mode(&path.join(".lock"), 0o444);
    let evaluated = as_reader(&["eval", "run"]).output();
    match evaluated {
        Err(error) => {
            return common::skip(
                common::Missing::Tool,
                format_args!("the program cannot be run by another user: {error}"),
            );
        }
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
    }
    let before = read(&folder, "run/state.safetensors");
    let text = fails(as_reader(&["train", "--resume", "run", "--steps=40"]));
    assert!(text.contains("run/.lock: Permission denied"), "{text}");
    assert!(text.contains("the run folder cannot be written to"), "{text}");
    let text = fails(as_reader(&["report", "run"]));
    assert!(text.contains("--output"), "{text}");
    assert!(before == read(&folder, "run/state.safetensors"));
    mode(&path, 0o755);
}

#[cfg(unix)]
#[test]
fn one_ctrl_c_stops_the_evaluation_at_the_end_which_can_be_made_later() {
    use std::io::{BufRead, BufReader};
    let folder = Folder::in_memory();
    // Many queries, few steps: the evaluation is what takes time.
    let slow =
        ["train", "umls", "--model=gqe", "--dim=256", "--steps=3", "--batch-size=16", "--negatives=16"];
    let slow = [&slow[..], &["--set=evaluation.valid_queries=1", "--set=evaluation.queries=2000"]].concat();
    let whole = [&slow[..], &["--run-dir=whole"]].concat();
    succeeds(&folder, &whole);
    let mut command = smore(&folder, &[&slow[..], &["--run-dir=run"]].concat());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.by_ref().any(|line| line == "evaluating on test"));
    // SAFETY: the process is a child that has not been waited for, so its id is not another's.
    assert_eq!(unsafe { libc::kill(child.id() as i32, libc::SIGINT) }, 0);
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest:?}");
    assert!(rest.last().unwrap().contains("the evaluation after the last step was stopped"), "{rest:?}");
    assert!(!folder.path().join("run/test.json").exists());
    let text = succeeds(&folder, &["train", "--resume", "run"]);
    assert!(text.contains("all 3 steps are done: only the test is made again"), "{text}");
    assert!(read(&folder, "run/test.json") == read(&folder, "whole/test.json"));
}
