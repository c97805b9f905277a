//! kill -9 at any moment of an import: what is there verifies, and the next start leaves nothing stray.

#![cfg(feature = "cli")]
#![cfg(unix)]

use assert_cmd::cargo::cargo_bin;
use smore::engine::graph::KnowledgeGraph;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

mod common;
use common::Folder;

/// An import whose builder has to use the disk.
fn import(folder: &Folder) -> Command {
    let mut command = Command::new(cargo_bin("smore"));
    command.args(["data", "import", "--name", "killed", "--memory", "2M"]).arg(folder.data());
    command.arg("--cache-dir").arg(folder.cache()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// All files below `folder`, however deep.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn a_killed_import_leaves_no_broken_graph_and_the_next_one_nothing_stray() {
    let lines = |range: std::ops::Range<u64>| -> String {
        range.map(|i| format!("e{}\tr{}\te{}\n", i * i % 60_013, i % 7, i * 31 % 40_009)).collect()
    };
    let folder = Folder::with(&[
        ("train.txt", &lines(0..200_000)),
        ("valid.txt", &lines(200_000..210_000)),
        ("test.txt", &lines(210_000..220_000)),
    ]);
    let begin = Instant::now();
    assert!(import(&folder).status().unwrap().success());
    let whole = begin.elapsed();
    let made = files(&folder.cache());
    let graph = made.iter().find(|path| path.extension().is_some_and(|e| e == "smore")).unwrap().clone();
    let bytes = std::fs::read(&graph).unwrap();

    const KILLS: u32 = 24;
    let (mut without, mut stray) = (0, 0);
    for kill in 0..KILLS {
        let _ = std::fs::remove_file(&graph);
        let mut child = import(&folder).spawn().unwrap();
        std::thread::sleep(whole * kill / (KILLS - 2) + Duration::from_millis(1));
        child.kill().unwrap();
        child.wait().unwrap();
        match graph.exists() {
            true => KnowledgeGraph::open(&graph).unwrap().verify().unwrap(),
            false => without += 1,
        }
        stray += usize::from(files(&folder.cache()).iter().any(|path| !made.contains(path)));
    }
    assert!(without > KILLS / 4, "{without} of {KILLS} imports were killed before their end");
    println!("{without} of {KILLS} killed before the graph was there, {stray} left a temporary file");

    let _ = std::fs::remove_file(&graph);
    // A leftover for certain, should no kill have hit the moment.
    std::fs::write(graph.with_file_name(".smore-killed.tmp"), b"half a graph").unwrap();
    assert!(import(&folder).status().unwrap().success());
    let mut left = files(&folder.cache());
    let mut expected = made;
    left.sort();
    expected.sort();
    assert_eq!(left, expected);
    assert!(std::fs::read(&graph).unwrap() == bytes);
}
