//! Entity rows in a mapped file, as a user meets them: evaluated in place, refused by name, left by a dead process.

#![cfg(feature = "cli")]

use smore::engine::backend::{Backend, Cpu};
use smore::engine::train::row_file::{self, RowFile, RowLayout};
use smore::engine::train::{Observer, Run, RunFolder, RunPlan};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

mod common;
use common::{Folder, emulator, json, short_run, smore};

struct Silent;
impl Observer for Silent {}

/// A run of [`short_run`] in `folder/run`, from its begin to its end.
fn trained(folder: &Folder) -> PathBuf {
    let (graph, _) = smore::engine::dataset::open("umls", &folder.options()).unwrap();
    let (path, config) = (folder.path().join("run"), short_run("gqe", "file"));
    let run = Run {
        backend: Cpu,
        folder: &RunFolder::create(Some(&path), &config, &graph, true).unwrap(),
        graph: Arc::new(graph),
        config,
        query_cache: &folder.cache(),
        resume: false,
        stop: &AtomicBool::new(false),
    };
    assert!(run.train(&mut Silent).unwrap().report.is_some());
    path
}

/// The shape that the table of a run on UMLS has.
fn layout(cols: usize, folder: &Folder) -> RowLayout {
    let (graph, _) = smore::engine::dataset::open("umls", &folder.options()).unwrap();
    RowLayout { rows: graph.num_entities(), cols, graph: graph.fingerprint(), seed: 0 }
}

#[test]
fn eval_and_query_read_the_table_where_it_is() {
    let folder = Folder::in_memory();
    let arguments =
        ["train", "umls", "--dim=16", "--batch-size=64", "--negatives=32", "--steps=60", "--device=cpu"];
    let run = ["--set", "evaluation.queries=20", "--table=file", "--run-dir=run"];
    let trained = json(smore(&folder).args(arguments).args(run));
    assert!(trained["usage"]["page_faults"]["minor"].as_u64().unwrap() > 0);
    assert!(!folder.path().join("run/entities.tsv").exists());
    assert_eq!(json(smore(&folder).args(["eval", "run", "--device=cpu"])), trained["report"]);
    let query = ["query", "run", "('mammal',('isa',))", "--device=cpu"];
    let answers = json(smore(&folder).args(query));
    assert_eq!(answers["answers"].as_array().unwrap().len(), 10);
    let other = ["train", "--resume", "run", "--table=memory"];
    smore(&folder).args(other).assert().code(1).stderr(predicates::str::contains("--resume goes on with"));
}

#[test]
fn the_plan_tells_the_size_of_the_file_and_what_evaluations_take() {
    let folder = Folder::in_memory();
    let (graph, _) = smore::engine::dataset::open("umls", &folder.options()).unwrap();
    let plan = |table: &str| {
        let config = short_run("gqe", table);
        let model = smore::engine::model::create(&config.model).unwrap();
        RunPlan::new(&Cpu, &*model, &graph, &config).unwrap()
    };
    let (memory, file) = (plan("memory"), plan("file"));
    assert_eq!((memory.table_bytes, file.table_bytes), (0, 2 * 4096 + 135 * 7 * 3 * 4));
    assert_eq!(memory.parameter_bytes - file.parameter_bytes, 135 * 7 * 4);
    assert_eq!(memory.optimizer_bytes - file.optimizer_bytes, 135 * 7 * 8);
    // Nine structures of 5 and of 10 queries, and both directions of every triple of test.
    let cost = file.evaluation;
    assert_eq!((cost.valid_evaluations, cost.valid_scores, cost.test_scores), (5, 6_075.0, 12_150.0));
    let test_edges = graph.split(smore::engine::graph::Split::Test).num_edges() as f64;
    assert_eq!(cost.link_prediction_scores, 135.0 * test_edges);
}

#[test]
fn a_gpu_is_refused() {
    let Some(gpu) = emulator::cuda() else { return };
    let folder = Folder::in_memory();
    let (graph, _) = smore::engine::dataset::open("umls", &folder.options()).unwrap();
    let config = short_run("gqe", "file");
    let model = smore::engine::model::create(&config.model).unwrap();
    let error = RunPlan::new(&gpu, &*model, &graph, &config).unwrap_err().to_string();
    assert!(error.contains("rows in a file are for the CPU") && error.contains("--device cpu"), "{error}");
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, &[0; 64]).unwrap();
    let (_, numbers) = smore::engine::storage::mmap::Region::open(file, 0, true).unwrap();
    assert!(gpu.map(numbers).unwrap_err().to_string().contains("--device cpu"));
}

#[test]
fn a_table_that_is_not_whole_or_not_the_runs_own_is_refused_by_name() {
    let folder = Folder::in_memory();
    let run = trained(&folder);
    let path = run.join(row_file::NAME);
    let whole = std::fs::read(&path).unwrap();
    let fails = |bytes: Option<&[u8]>, expected: &str| {
        match bytes {
            Some(bytes) => std::fs::write(&path, bytes).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        for command in [&["eval", "run", "--device=cpu"][..], &["train", "--resume", "run", "--device=cpu"]] {
            let output = smore(&folder).args(command).assert().code(1).get_output().clone();
            let text = String::from_utf8(output.stderr).unwrap();
            assert!(text.contains("entities.table") && text.contains(expected), "{text}");
            assert!(!text.contains("panicked"), "{text}");
        }
    };
    fails(Some(&whole[..whole.len() - 1]), "bytes long instead of");
    fails(Some(&whole[..50]), "too short");
    fails(Some(&[&[0; 4096], &whole[4096..]].concat()), "making was interrupted");
    // Only the header and the checksums of rows stand in the first two pages.
    assert_eq!(whole.len(), layout(7, &folder).file_bytes() as usize);
    let changed = |at: usize, to: u8| {
        let mut bytes = whole.clone();
        bytes[at] = to;
        bytes
    };
    fails(Some(&changed(8, 9)), "has version 9");
    fails(Some(&changed(48, 77)), "damaged header");
    fails(None, "is missing");
    // A table of another run, whole in itself.
    let shapes =
        [("rows of", layout(8, &folder)), ("another seed", RowLayout { seed: 1, ..layout(7, &folder) })];
    for (expected, shape) in shapes {
        drop(
            RowFile::create(&path, shape, 256, |_, values| {
                values.fill(0.5);
                Ok(())
            })
            .unwrap(),
        );
        let bytes = std::fs::read(&path).unwrap();
        fails(Some(&bytes), expected);
    }
    std::fs::write(&path, &whole).unwrap();
    smore(&folder).args(["eval", "run", "--device=cpu"]).assert().success();
}

#[test]
fn a_changed_row_is_named_until_it_is_accepted() {
    let folder = Folder::in_memory();
    let run = trained(&folder);
    let path = run.join(row_file::NAME);
    let whole = std::fs::read(&path).unwrap();
    let eval = ["eval", "run", "--device=cpu"];
    let report = json(smore(&folder).args(eval));
    let change = |at: usize, by: u8| {
        let mut bytes = whole.clone();
        bytes[at] ^= by;
        std::fs::write(&path, bytes).unwrap();
    };
    let fails = |command: &[&str], error: &str| {
        let output = smore(&folder).args(command).assert().code(1).get_output().clone();
        assert_eq!(String::from_utf8(output.stderr).unwrap().lines().last().unwrap(), error);
    };
    let resume = ["train", "--resume", "run", "--device=cpu"];
    let query = ["query", "run", "('mammal',('isa',))", "--device=cpu"];
    // A moment of the optimizer, which no ranking reads, and a value.
    for (row, by) in [(20, 4), (0, 1)] {
        change(2 * 4096 + (134 * 21 + row) * 4, by);
        let error = "error: run: entities.table was changed since the run wrote it: among rows 0 to 134: restore it, or \
                     use what is there with --accept-changes";
        [&eval[..], &query, &resume].into_iter().for_each(|command| fails(command, error));
    }
    let note = "note: entities.table was changed since the run wrote it: among rows 0 to 134; it is used as it is \
                (--accept-changes)";
    let accepted = smore(&folder).args(eval).arg("--accept-changes").assert().success().get_output().clone();
    let text = String::from_utf8(accepted.stderr).unwrap();
    assert!(text.lines().any(|line| line == note), "{text}");
    std::fs::write(&path, &whole).unwrap();
    assert!(json(smore(&folder).args(eval)) == report, "the rows are what they were");
    // What is accepted for training is the run's from then on.
    change(2 * 4096 + 134 * 21 * 4, 1);
    let resumed = smore(&folder).args(resume).args(["--accept-changes", "--steps=70"]).assert().success();
    let text = String::from_utf8(resumed.get_output().stderr.clone()).unwrap();
    assert!(text.lines().any(|line| line == note), "{text}");
    smore(&folder).args(eval).assert().success();
    // The checksums themselves.
    change(4096 + 9, 1);
    fails(&eval, "error: run/entities.table: has damaged checksums: train again, or use another run");
}

#[test]
fn a_table_of_before_there_were_checksums_is_read_and_trained() {
    let folder = Folder::in_memory();
    let run = trained(&folder);
    let path = run.join(row_file::NAME);
    let report = json(smore(&folder).args(["eval", "run", "--device=cpu"]));
    let whole = std::fs::read(&path).unwrap();
    let mut before = [&whole[..4096], &whole[2 * 4096..]].concat();
    before[8] = 1;
    let sum = xxhash_rust::xxh3::xxh3_64(&before[..64]);
    before[64..72].copy_from_slice(&sum.to_le_bytes());
    std::fs::write(&path, &before).unwrap();
    assert_eq!(json(smore(&folder).args(["eval", "run", "--device=cpu"])), report);
    let longer = ["train", "--resume", "run", "--device=cpu", "--steps=70"];
    smore(&folder).args(longer).assert().success();
    smore(&folder).args(["eval", "run", "--device=cpu"]).assert().success();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), before.len() as u64);
}

#[test]
fn rows_that_change_are_not_read_by_another_process() {
    let folder = Folder::in_memory();
    let run = trained(&folder);
    let held = RowFile::open(&run.join(row_file::NAME), layout(7, &folder), true).unwrap();
    let eval = smore(&folder).args(["eval", "run", "--device=cpu"]).assert().code(1).get_output().clone();
    let text = String::from_utf8(eval.stderr).unwrap();
    assert!(text.contains("entities.table: is being trained"), "{text}");
    drop(held);
    let held = RowFile::open(&run.join(row_file::NAME), layout(7, &folder), false).unwrap();
    smore(&folder).args(["eval", "run", "--device=cpu"]).assert().success();
    let train = smore(&folder).args(["train", "--resume", "run", "--device=cpu"]).assert().code(1);
    train.stderr(predicates::str::contains("in use by another smore"));
    drop(held);
}

#[test]
fn a_full_disk_is_reported_with_what_the_table_takes_and_leaves_no_file() {
    let folder = Folder::in_memory();
    let path = folder.path().join("entities.table");
    // Some petabytes; a sparse file could have them.
    let shape = RowLayout { rows: 1 << 40, cols: 400, graph: 0, seed: 0 };
    let error = RowFile::create(&path, shape, 256, |_, _| panic!("the room is reserved first")).unwrap_err();
    assert!(error.to_string().contains("takes 5.28 PB of disk"), "{error}");
    assert!(!path.exists());
}

#[cfg(unix)]
mod killed {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    const TRAIN: [&str; 9] = [
        "train",
        "umls",
        "--device=cpu",
        "--dim=16",
        "--batch-size=64",
        "--negatives=32",
        "--steps=100000",
        "--table=file",
        "--run-dir=run",
    ];
    const EVALUATION: [&str; 6] = [
        "--set",
        "training.valid_every=150",
        "--set",
        "evaluation.queries=5",
        "--set",
        "evaluation.valid_queries=5",
    ];

    /// Trains until the line of an evaluation and then some, and kills the process.
    fn kill_after(folder: &Folder, arguments: &[&str], evaluations: usize) {
        let mut child = Command::new(assert_cmd::cargo::cargo_bin!("smore"))
            .args(arguments)
            .env("SMORE_CACHE", folder.cache())
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let mut valid = lines.filter(|line| line.starts_with("valid  step"));
        assert!(valid.nth(evaluations - 1).is_some(), "it ended before");
        // The line is reported before the state is saved; the rows of some steps after that are to be half there.
        std::thread::sleep(std::time::Duration::from_millis(60));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_run_says_how_old_its_rows_are_and_can_be_evaluated_queried_and_taken_up() {
        let folder = Folder::in_memory();
        kill_after(&folder, &[&TRAIN[..], &EVALUATION].concat(), 2);
        let (file, _) =
            RowFile::open(&folder.path().join("run/entities.table"), layout(16, &folder), false).unwrap();
        let steps = file.steps();
        assert!(steps.start() < steps.end(), "{steps:?}");
        assert!(steps.start().is_multiple_of(150), "{steps:?}");
        drop(file);
        let count = |step: &u64| smore::engine::table::count(*step);
        let message = format!("from step {} to at most {}", count(steps.start()), count(steps.end()));
        let eval = ["eval", "run", "--device=cpu", "--structures=1p"];
        smore(&folder).args(eval).assert().success().stderr(predicates::str::contains(&message));
        let query = ["query", "run", "('mammal',('isa',))", "--device=cpu"];
        smore(&folder).args(query).assert().success().stderr(predicates::str::contains(&message));
        // It goes on, is killed again, and goes on to its end.
        let again = ["train", "--resume", "run", "--device=cpu"];
        kill_after(&folder, &again, 1);
        let end = (steps.end() + 2_000).to_string();
        let output =
            smore(&folder).args(again).args(["--steps", &end]).assert().success().get_output().clone();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("training was cut off") && text.contains("not to the same bytes"), "{text}");
        // At its end everything is of one step.
        let clean = smore(&folder).args(eval).assert().success().get_output().clone();
        assert!(!String::from_utf8(clean.stderr).unwrap().contains("cut off"));
    }
}
