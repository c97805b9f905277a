//! Inputs that fuzzers have kept (`fuzz/corpus`): none panics.

use std::path::{Path, PathBuf};
use std::time::Instant;

#[path = "common/fuzz.rs"]
mod fuzz;

fn corpus(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_target_takes_what_its_fuzzer_has_kept_and_parts_of_it() {
    for (name, target) in fuzz::TARGETS {
        let files = corpus(name);
        assert!(files.len() >= 3, "{name} has {} seeds", files.len());
        for path in files {
            let bytes = std::fs::read(&path).unwrap();
            println!("{}", path.display());
            let start = Instant::now();
            target(&bytes);
            target(&bytes[..bytes.len() / 2]);
            let mut flipped = bytes.clone();
            if let Some(byte) = flipped.get_mut(bytes.len() / 3) {
                *byte ^= 4;
            }
            target(&flipped);
            assert!(start.elapsed().as_secs() < 20, "{} takes {:?}", path.display(), start.elapsed());
        }
    }
}

#[test]
fn every_target_has_a_fuzzer() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    for (name, _) in fuzz::TARGETS {
        assert!(folder.join(format!("fuzz_targets/{name}.rs")).is_file(), "{name}");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
}

#[test]
fn seeds_reach_past_the_headers() {
    let read = |target: &str, name: &str| std::fs::read(corpus(target)[0].with_file_name(name)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("graph.smore");
    // With one bit wrong a graph is refused, and with its sums set right it opens.
    let mut bytes = read("graph_file", "v2.smore");
    bytes[70] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    assert!(smore::graph::KnowledgeGraph::open(&path).is_err());
    smore::storage::container::seal(&mut bytes).unwrap();
    std::fs::write(&path, &bytes).unwrap();
    smore::graph::KnowledgeGraph::open(&path).unwrap();
    assert!(smore::storage::pickle::parse(&read("pickle", "protocol4.pkl")).is_ok());
    let query = String::from_utf8(read("query_text", "2in")).unwrap();
    smore::query::parse_query(&query).unwrap();
}
