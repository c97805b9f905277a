//! Run folders that were damaged: an error that names the file, or the very same results, never a panic.

#![cfg(feature = "cli")]

use predicates::prelude::*;
use predicates::str::contains;
use rand::RngExt;
use smore::engine::backend::Cpu;
use smore::engine::eval::ask::Answerer;
use smore::engine::eval::{LinkPrediction, ModelScorer, link_prediction};
use smore::engine::graph::Split;
use smore::engine::query::{ground::ground, parse_query};
use smore::engine::rng::{Rng, stream};
use smore::engine::train::{Observer, Run, RunFolder, evaluate};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

mod common;
use common::{Folder, short_run, smore};

struct Silent;
impl Observer for Silent {}

/// A finished run of two steps in `run`, whose results a step more would change.
fn trained() -> Folder {
    let folder = Folder::in_memory();
    let set = ["training.steps=2".to_owned(), "evaluation.link_prediction=false".to_owned()];
    let config = short_run("query2box", "memory").with(&set).unwrap();
    let (graph, _) = smore::engine::dataset::open("umls", &folder.options()).unwrap();
    let run = RunFolder::create(Some(&folder.path().join("run")), &config, &graph, true).unwrap();
    train(&folder, &run, config).unwrap();
    folder
}

fn train(folder: &Folder, run: &RunFolder, config: smore::engine::config::Config) -> smore::Result<()> {
    let run = Run {
        backend: Cpu,
        graph: Arc::new(run.graph()?),
        config,
        resume: run.state().exists(),
        folder: run,
        query_cache: &folder.cache(),
        stop: &AtomicBool::new(false),
    };
    run.train(&mut Silent).map(drop)
}

/// What `smore eval` does, in short.
fn eval(path: &Path) -> smore::Result<String> {
    let run = RunFolder::open(path)?;
    let (config, graph) = (run.config()?, run.graph()?);
    let loaded = evaluate::load_model(&Cpu, &graph, &config, &run)?;
    let queries = link_prediction::queries(&graph.split(Split::Valid), &graph.view(Split::Test));
    let scorer = ModelScorer::new(&Cpu, &*loaded.model, &loaded.weights);
    let results = LinkPrediction::evaluate(&scorer, &queries, &mut |_| {})?;
    Ok(format!("{results:?} {:?} {:?}", config.evaluation, run.info()?.steps))
}

/// What `smore query` does.
fn query(path: &Path) -> smore::Result<String> {
    let run = RunFolder::open(path)?;
    let (config, graph) = (run.config()?, run.graph()?);
    let query = ground(&parse_query("(('mammal',('isa',)),('fish',('^isa',)))")?, &graph)?;
    let loaded = evaluate::load_model(&Cpu, &graph, &config, &run)?;
    let best = ModelScorer::new(&Cpu, &*loaded.model, &loaded.weights)
        .best_of_each(&query.structure(), &[&query], 7, &|_, _| true)?
        .swap_remove(0);
    let named = best.into_iter().map(|(entity, score)| (graph.entities().display(entity.0), score));
    Ok(format!("{:?}", named.collect::<Vec<_>>()))
}

/// What `smore train --resume --steps 3` does.
fn resume(folder: &Folder, path: &Path) -> smore::Result<String> {
    let run = RunFolder::resume(path)?;
    let config = run.config()?.with(&["training.steps=3".into()])?;
    train(folder, &run, config)?;
    let files = ["config.toml", "model.safetensors", "state.safetensors", "test.json"];
    let sum = |name: &str| smore::engine::storage::checksum::file(&run.file(name)).unwrap();
    Ok(format!("{:?}", files.map(sum)))
}

fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir(to).unwrap();
    for file in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(file.file_name());
        match file.file_type().unwrap().is_dir() {
            true => copy(&file.path(), &target),
            false => drop(std::fs::copy(file.path(), target).unwrap()),
        }
    }
}

/// Flips a bit of a file, cuts it, zeroes a part, or removes it. Tells of it.
fn damage(path: &Path, rng: &mut Rng) -> String {
    let bytes = std::fs::read(path).unwrap();
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let place = rng.random_range(0..bytes.len().max(1));
    let mut bad = bytes.clone();
    let what = match rng.random_range(0..8) {
        0 => {
            std::fs::remove_file(path).unwrap();
            return format!("{name} removed");
        }
        1 | 2 => {
            bad.truncate(place);
            format!("{name} cut at {place}")
        }
        3 => {
            let end = bad.len().min(place + 512);
            bad[place.min(end)..end].fill(0);
            format!("{name} zeroed from {place}")
        }
        _ => {
            if let Some(byte) = bad.get_mut(place) {
                *byte ^= 1 << rng.random_range(0..8);
            }
            format!("{name} flipped at {place}")
        }
    };
    std::fs::write(path, bad).unwrap();
    what
}

#[test]
fn four_hundred_damaged_folders_give_errors_or_the_same_results() {
    let folder = trained();
    let (whole, bad) = (folder.path().join("run"), folder.path().join("bad"));
    type Operation<'a> = &'a dyn Fn(&Path) -> smore::Result<String>;
    let operations: [(&str, Operation); 3] =
        [("eval", &eval), ("query", &query), ("resume", &|path: &Path| resume(&folder, path))];
    let expected = operations.map(|(_, operation)| {
        copy(&whole, &bad);
        operation(&bad).unwrap()
    });
    let mut files: Vec<String> = std::fs::read_dir(&whole)
        .unwrap()
        .map(Result::unwrap)
        .filter(|file| file.file_type().unwrap().is_file())
        .map(|file| file.file_name().into_string().unwrap())
        .collect();
    files.sort();
    let mut rng = stream(1, "damaged run folders", 0);
    let (mut refused, mut same) = (0, 0);
    for number in 0..400 {
        copy(&whole, &bad);
        let file = &files[number % files.len()];
        let what = damage(&bad.join(file), &mut rng);
        let which = rng.random_range(0..3);
        let (name, operation) = operations[which];
        let result = catch_unwind(AssertUnwindSafe(|| operation(&bad)));
        match result.unwrap_or_else(|_| panic!("{name} panicked: {what}")) {
            Ok(results) => {
                assert_eq!(results, expected[which], "{name}, {what}");
                same += 1;
            }
            Err(error) => {
                let error = error.to_string();
                assert!(error.starts_with(bad.to_str().unwrap()) && error.contains(file), "{what}: {error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 200 && same > 20, "{refused} refused, {same} with the same results");
}

/// `smore COMMAND` fails with exactly this error.
#[track_caller]
fn fails(folder: &Folder, command: &[&str], error: &str) {
    let assert = smore(folder).args(command).assert().code(1).stdout("");
    let text = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    assert!(text.ends_with(&format!("error: {error}\n")), "{command:?}: {text}");
}

const EVAL: [&str; 2] = ["eval", "run"];
const QUERY: [&str; 3] = ["query", "run", "('mammal',('isa',))"];
const RESUME: [&str; 5] = ["train", "--resume", "run", "--steps", "3"];

#[test]
fn a_configuration_that_was_changed_or_cut_is_named_until_it_is_accepted() {
    let folder = trained();
    let path = folder.path().join("run/config.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let remedy = "restore it, or use what is there with --accept-changes";
    let edited = text.replace("queries = 10", "queries = 11");
    assert_ne!(edited, text);
    std::fs::write(&path, &edited).unwrap();
    let error = format!("run: config.toml was changed since the run wrote it: {remedy}");
    for command in [&EVAL[..], &QUERY, &RESUME, &["report", "run"]] {
        fails(&folder, command, &error);
    }
    let note =
        "note: config.toml was changed since the run wrote it; it is used as it is (--accept-changes)\n";
    for command in [&EVAL[..], &QUERY, &["report", "run"], &RESUME] {
        smore(&folder).args(command).arg("--accept-changes").assert().success().stderr(contains(note));
    }
    // What a resumed run has accepted is its own.
    smore(&folder).args(EVAL).assert().success().stderr(contains(note).not());
    let rewritten = std::fs::read_to_string(&path).unwrap();
    assert!(rewritten.contains("queries = 11"));

    let cut = &rewritten[..rewritten.find("[training]").unwrap()];
    std::fs::write(&path, cut).unwrap();
    let lengths =
        format!("{} bytes instead of {}", cut.len(), smore::engine::table::count(rewritten.len() as u64));
    fails(
        &folder,
        &EVAL,
        &format!("run: config.toml was changed since the run wrote it ({lengths}): {remedy}"),
    );
    std::fs::remove_file(&path).unwrap();
    fails(&folder, &EVAL, &format!("run: config.toml, which the run wrote, is missing: {remedy}"));

    let no_run = "--accept-changes is for the run that --resume names";
    fails(&folder, &["train", "umls", "--accept-changes"], no_run);
}

#[test]
fn numbers_that_were_changed_are_an_error_and_rows_that_are_none_cannot_be_accepted() {
    let folder = trained();
    let path = folder.path().join("run/model.safetensors");
    let whole = std::fs::read(&path).unwrap();
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let write = |number: f32| {
        let mut bad = whole.clone();
        // Dense parameters come first in the order of names; the last tensor is the relations'.
        let last = bad.len() - 4;
        assert!(last > header);
        bad[last..].copy_from_slice(&number.to_le_bytes());
        std::fs::write(&path, bad).unwrap();
    };
    let remedy = "restore it, or use what is there with --accept-changes";
    let error = format!("run: model.safetensors was changed since the run wrote it: {remedy}");
    write(1.5);
    for command in [&EVAL[..], &QUERY, &RESUME] {
        fails(&folder, command, &error);
    }
    smore(&folder).args(QUERY).arg("--accept-changes").assert().success();
    write(f32::NAN);
    for command in [&EVAL[..], &QUERY] {
        fails(&folder, command, &error);
        let command = [command, &["--accept-changes"]].concat();
        let assert = smore(&folder).args(command).assert().code(1).stdout("");
        let text = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
        let message = "error: run/model.safetensors: is not a whole model file of smore (row ";
        assert!(text.contains(message), "{text}");
        assert!(text.ends_with("holds NaN): train again, or use another run\n"), "{text}");
    }
}

#[test]
fn a_folder_of_before_opens_with_a_note_and_has_a_manifest_once_it_is_resumed() {
    let folder = trained();
    let manifest = folder.path().join("run/manifest.json");
    std::fs::remove_file(&manifest).unwrap();
    let note = "note: run has no manifest.json to tell whether its files are what the run wrote\n";
    smore(&folder).args(EVAL).assert().success().stderr(contains(note).count(1));
    smore(&folder).args(RESUME).assert().success().stderr(contains(note).count(1));
    smore(&folder).args(EVAL).assert().success().stderr(contains(note).not());
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("config.toml", "config.tomm")).unwrap();
    let error = "run/manifest.json: is damaged, so that nothing tells whether the run's other files are what it \
                 wrote: restore it, or go on with --accept-changes";
    fails(&folder, &EVAL, error);
    smore(&folder).args(EVAL).arg("--accept-changes").assert().success().stderr(contains(note));
}

#[test]
fn a_graph_that_was_changed_is_named_with_what_to_do() {
    let folder = trained();
    let path = folder.path().join("run/graph.smore");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[30_000] ^= 1;
    // Not through the link: the cached graph stays whole.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, &bytes).unwrap();
    let error = "run/graph.smore: is damaged: the checksum of its train rows does not match; import the dataset \
                 again with `smore data import`, and copy the graph file here";
    for command in [&EVAL[..], &QUERY, &RESUME] {
        fails(&folder, command, error);
    }
    bytes[50] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let remedy = "restore it, or use what is there with --accept-changes";
    fails(&folder, &EVAL, &format!("run: graph.smore was changed since the run wrote it: {remedy}"));
}

#[test]
fn a_run_that_was_killed_at_its_start_is_started_again_in_its_folder() {
    let folder = trained();
    let path = folder.path().join("killed");
    let begin = |path: &Path| {
        std::fs::create_dir(path).unwrap();
        std::fs::write(path.join(".lock"), "").unwrap();
        std::fs::write(path.join(".smore-aLUWXQ.tmp"), "0\tacquired_abnormality").unwrap();
        std::fs::copy(folder.path().join("run/graph.smore"), path.join("graph.smore")).unwrap();
    };
    begin(&path);
    let error = "killed: is the folder of a run that was killed before it began: start it again with smore train \
                 --run-dir killed";
    fails(&folder, &["train", "--resume", "killed"], error);
    fails(&folder, &["eval", "killed"], error);
    let train = ["train", "--config", "run/config.toml", "--run-dir", "killed", "--device", "cpu"];
    smore(&folder).args(train).assert().success();
    for file in ["model.safetensors", "test.json"] {
        let read = |run: &str| std::fs::read(folder.path().join(run).join(file)).unwrap();
        assert!(read("killed") == read("run"), "{file}");
    }
    assert!(!path.join(".smore-aLUWXQ.tmp").exists());
    // With anything else in it, it is not.
    let other = folder.path().join("other");
    begin(&other);
    std::fs::write(other.join("notes.txt"), "mine").unwrap();
    let mut train = train;
    train[4] = "other";
    let exists = "other: exists already: choose another --run-dir, or go on with it by --resume";
    fails(&folder, &train, exists);
    assert_eq!(std::fs::read_to_string(other.join("notes.txt")).unwrap(), "mine");
}
