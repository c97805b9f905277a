//! Limits of memory, signals, and inputs that are no plain files.

#![cfg(feature = "cli")]
#![cfg(target_os = "linux")]

mod common;

use common::{Folder, smore};
use predicates::prelude::*;
use predicates::str::contains;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// `smore` by a shell, after `before`.
fn after(folder: &Folder, before: &str, arguments: &str) -> assert_cmd::Command {
    let mut command = assert_cmd::Command::new("sh");
    let program = assert_cmd::cargo::cargo_bin!("smore");
    command.arg("-c").arg(format!("{before}; exec '{}' {arguments}", program.display()));
    command.env_remove("SMORE_DATA").env("SMORE_CACHE", folder.cache()).current_dir(folder.path());
    command
}

/// `smore` with its lines on standard error to be read one by one.
fn started(
    folder: &Folder,
    arguments: &[&str],
    prepare: fn(),
) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("smore"));
    command.env_remove("SMORE_DATA").env("SMORE_CACHE", folder.cache()).current_dir(folder.path());
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::piped());
    // SAFETY: the callers' functions only change what a signal does, which is safe between fork and exec.
    let mut child = unsafe {
        command.pre_exec(move || {
            prepare();
            Ok(())
        })
    }
    .spawn()
    .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    (child, lines)
}

fn signal(child: &Child, signal: i32) {
    // SAFETY: the process is a child that has not been waited for, so its id is not another's.
    assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
}

const LONG: [&str; 12] = [
    "train",
    "umls",
    "--run-dir",
    "run",
    "--dim=8",
    "--batch-size=16",
    "--negatives=16",
    "--steps=100000000",
    "--set=training.valid_every=200",
    "--set=evaluation.queries=5",
    "--set=evaluation.valid_queries=5",
    "--device=cpu",
];

#[test]
fn a_run_that_does_not_fit_into_a_limit_of_the_process_is_refused_with_the_limit_and_the_remedy() {
    let folder = Folder::in_memory();
    let big = "train umls --dim 8 --negatives 1000000 --device cpu --run-dir run";
    for (option, by) in [("-v", "ulimit -v 6000000 leaves "), ("-d", "ulimit -d 6000000 leaves ")] {
        let output =
            after(&folder, &format!("ulimit {option} 6000000"), big).assert().code(1).get_output().clone();
        let text = String::from_utf8(output.stderr).unwrap();
        let error = text.lines().last().unwrap();
        assert!(error.starts_with("error: this run needs 7."), "{text}");
        assert!(error.contains(&format!(" GB of memory, and {by}")), "{text}");
        assert!(
            error.ends_with(&format!(
                " GB: lower model.dim, training.batch_size or sampling.negatives, keep the entity rows in a file with \
                 --table file, or lift the limit with ulimit {option} unlimited"
            )),
            "{text}"
        );
        assert!(!folder.path().join("run").exists());
    }
}

#[test]
fn memory_that_ends_against_the_plan_is_an_error_and_no_abort() {
    let folder = Folder::in_memory();
    smore(&folder).args(["data", "info", "umls"]).assert().success();
    // Little enough for a table of a million relations' names, and more than the program itself takes.
    let options = "data generate --name big --entities 30000000 --relations 10 --edges 1000 --memory 1G";
    after(&folder, "ulimit -d 60000", options)
        .assert()
        .code(1)
        .stderr(contains("error: out of memory: ").and(contains("lift the limit with ulimit -d unlimited")))
        .stderr(contains("stack backtrace").not());
}

#[test]
fn a_file_that_is_larger_than_the_limit_of_the_process_is_an_error_with_its_name() {
    let folder = Folder::with(&[]);
    // Blocks of 512 bytes.
    let import = after(&folder, "ulimit -f 20", "data info umls").assert().code(1).get_output().clone();
    let text = String::from_utf8(import.stderr).unwrap();
    assert!(text.contains("error: ") && text.contains("umls") && !text.contains("os error"), "{text}");
    let train = "train umls --dim 64 --steps 5 --batch-size 16 --negatives 16 --device cpu --run-dir run";
    smore(&folder).args(["data", "info", "umls"]).assert().success();
    let train = after(&folder, "ulimit -f 100", train).assert().code(1).get_output().clone();
    let text = String::from_utf8(train.stderr).unwrap();
    assert!(text.lines().last().unwrap().starts_with("error: run/"), "{text}");
}

#[test]
fn a_share_that_holds_nothing_out_is_reported() {
    let folder = Folder::with(&[("train.txt", "a\tr\tb\nb\tr\tc\nc\tr\ta\n")]);
    let import = ["data", "import", "data", "--name", "x", "--hold-out", "0.001"];
    smore(&folder).args(import).assert().success().stderr(contains(
        "warning: --hold-out 0.001 of these triples leaves valid and test empty: give a larger share",
    ));
}

#[test]
fn a_hangup_that_was_ignored_at_the_start_stays_ignored_and_ends_a_run_otherwise() {
    let until_valid = |folder: &Folder, prepare: fn()| {
        let (child, mut lines) = started(folder, &LONG, prepare);
        assert!(lines.any(|line| line.starts_with("valid  step")), "it ended before its first evaluation");
        (child, lines)
    };
    let folder = Folder::in_memory();
    let (mut child, mut lines) = until_valid(&folder, || {
        // SAFETY: a signal is ignored; nothing else is touched.
        unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
    });
    signal(&child, libc::SIGHUP);
    for _ in 0..3 {
        assert!(lines.next().unwrap().starts_with("valid  step"), "it goes on");
    }
    signal(&child, libc::SIGTERM);
    assert!(lines.any(|line| line.starts_with("stopped after step")));
    assert_eq!(child.wait().unwrap().code(), Some(130));

    let folder = Folder::in_memory();
    let (mut child, mut lines) = until_valid(&folder, || {
        // Tests may run under nohup themselves.
        // SAFETY: as above.
        unsafe { libc::signal(libc::SIGHUP, libc::SIG_DFL) };
    });
    signal(&child, libc::SIGHUP);
    assert!(lines.any(|line| line.starts_with("stopped after step")));
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn ctrl_c_ends_the_preparation_of_queries_within_a_second_and_leaves_nothing() {
    let folder = Folder::in_memory();
    let big = "data generate --name big --entities 200000 --relations 50 --edges 2000000".split(' ');
    smore(&folder).args(big).assert().success();
    let options = [
        "train",
        "big",
        "--run-dir=run",
        "--dim=8",
        "--device=cpu",
        "--set=evaluation.valid_queries=1000000",
    ];
    let (mut child, mut lines) = started(&folder, &options, || ());
    assert!(lines.any(|line| line == "preparing valid queries"));
    // In the middle of it.
    assert!(lines.any(|line| line.starts_with("preparing valid queries, ")));
    let start = Instant::now();
    signal(&child, libc::SIGINT);
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(rest.last().unwrap(), "stopped before the first step; nothing was saved", "{rest:?}");
    assert!(!folder.path().join("run").exists());
}

#[test]
fn a_run_on_a_graph_file_of_the_users_own_does_not_depend_on_it_and_the_plan_tells_of_the_copy() {
    use std::os::unix::fs::MetadataExt;
    let folder = Folder::in_memory();
    smore(&folder).args(["data", "export", "umls", "umls-folder"]).assert().success();
    let import = ["data", "import", "umls-folder", "--name", "mine", "--output", "mine.smore"];
    smore(&folder).args(import).assert().success();
    let quick = ["--dim=4", "--steps=1", "--set=evaluation.queries=1", "--set=evaluation.valid_queries=1"];
    let train = |dataset: &str, run: &str| {
        let output = smore(&folder).args(["train", dataset, "--run-dir", run]).args(quick).assert().success();
        let text = String::from_utf8(output.get_output().stderr.clone()).unwrap();
        text.lines().find(|line| line.starts_with("run folder")).unwrap().trim_end().to_string()
    };
    let inode = |path: &str| std::fs::metadata(folder.path().join(path)).unwrap().ino();
    let plan = train("./mine.smore", "own");
    assert!(plan.starts_with("run folder  own, with a copy of the graph"), "{plan}");
    assert_ne!(inode("own/graph.smore"), inode("mine.smore"));
    assert_eq!(train("umls", "cached"), "run folder  cached");
    let links = std::fs::metadata(folder.path().join("cached/graph.smore")).unwrap().nlink();
    assert_eq!(links, 2);
    // Cut short in place: the run has its own.
    std::fs::write(folder.path().join("mine.smore"), b"").unwrap();
    smore(&folder).args(["eval", "own"]).assert().success();
}

#[test]
fn a_pipe_as_input_is_refused_at_once() {
    let folder = Folder::with(&[("valid.txt", "a\tr\tb\n"), ("test.txt", "a\tr\tb\n")]);
    for name in ["data/train.txt", "graph.smore", "queries.jsonl", "options.toml"] {
        assert!(Command::new("mkfifo").arg(folder.path().join(name)).status().unwrap().success());
    }
    let quick = ["--dim=4", "--steps=1", "--set=evaluation.queries=1", "--set=evaluation.valid_queries=1"];
    smore(&folder).args(["train", "umls", "--run-dir=run"]).args(quick).assert().success();
    let pipe = "is a named pipe, and files are read more than once: write its bytes to a file first";
    for arguments in [
        &["data", "info", "./graph.smore"][..],
        &["train", "umls", "--config", "options.toml"],
        &["eval", "run", "--query-set", "queries.jsonl"],
        &["data", "import", "data", "--name", "x"],
    ] {
        let output = smore(&folder).args(arguments).timeout(Duration::from_secs(20)).assert().code(1);
        let text = String::from_utf8(output.get_output().stderr.clone()).unwrap();
        assert!(
            text.contains(pipe) || arguments[2] == "data" && text.contains("train"),
            "{arguments:?}: {text}"
        );
    }
}

#[test]
fn a_first_line_of_a_megabyte_gives_an_error_of_one_short_line() {
    let long = "x".repeat(1 << 20);
    let folder =
        Folder::with(&[("train.txt", long.as_str()), ("valid.txt", "a\tr\tb\n"), ("test.txt", "a\tr\tb\n")]);
    for split in ["", "/train.txt"] {
        let path = format!("data{split}");
        let output = smore(&folder).args(["data", "import", &path, "--name", "x"]).assert().code(1);
        let text = String::from_utf8(output.get_output().stderr.clone()).unwrap();
        assert!(text.lines().count() == 1 && text.len() < 1200, "{} bytes: {text:.300}", text.len());
        assert!(text.contains("train.txt"), "{text}");
    }
}

#[test]
fn paths_that_are_not_utf_8_give_errors_or_work() {
    use std::os::unix::ffi::OsStrExt;
    let folder = Folder::in_memory();
    let strange = folder.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    std::fs::create_dir(&strange).unwrap();
    for split in ["train", "valid", "test"] {
        std::fs::write(strange.join(format!("{split}.txt")), format!("a\tr\t{split}\n")).unwrap();
    }
    smore(&folder)
        .args(["data", "import", "--name", "mine", "--json"])
        .arg(&strange)
        .assert()
        .code(1)
        .stderr(contains(
            "its path is not UTF-8, and smore remembers names as JSON: rename the folder or file",
        ));
    let quick = ["--dim=4", "--steps=1", "--set=evaluation.queries=1", "--set=evaluation.valid_queries=1"];
    let run = strange.join("run");
    smore(&folder)
        .args(["train", "umls", "--json"])
        .args(quick)
        .arg("--run-dir")
        .arg(&run)
        .assert()
        .success();
    smore(&folder).args(["report", "--json"]).arg(&run).assert().success();
}
