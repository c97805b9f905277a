//! Inputs that fuzzers have kept (`fuzz/corpus`), as they are and changed at random: none panics.
//!
//! `SMORE_FUZZ_ROUNDS=100000` goes on for longer, without a nightly compiler, but blindly.

use rand::RngExt;
use smore::engine::rng::{Rng, stream};
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

/// Changes bytes as libFuzzer does: flips, replacements, repetitions, cuts, parts of another input.
fn mutate(bytes: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    for _ in 0..rng.random_range(1..5) {
        let place = rng.random_range(0..bytes.len().max(1)).min(bytes.len());
        let end = bytes.len().min(place + rng.random_range(0..16));
        match rng.random_range(0..7) {
            0 | 1 if place < bytes.len() => bytes[place] ^= 1 << rng.random_range(0..8),
            2 if place < bytes.len() => bytes[place] = [0, 1, 0x7f, 0x80, 0xff][rng.random_range(0..5)],
            3 => bytes.truncate(place),
            4 => {
                let part = bytes[place..end].repeat(rng.random_range(1..9));
                bytes.splice(place..place, part);
            }
            5 => drop(bytes.drain(place..end)),
            _ => {
                let from = rng.random_range(0..=other.len());
                let to = other.len().min(from + rng.random_range(0..32));
                bytes.splice(place..end, other[from..to].iter().copied());
            }
        }
    }
}

#[test]
fn every_target_takes_seeds_that_were_changed_at_random() {
    let rounds = std::env::var("SMORE_FUZZ_ROUNDS").map_or(100, |rounds| rounds.parse().unwrap());
    for (name, target) in fuzz::TARGETS {
        let seeds: Vec<Vec<u8>> = corpus(name).iter().map(|path| std::fs::read(path).unwrap()).collect();
        let start = Instant::now();
        for round in 0..rounds {
            let mut rng = stream(1, name, round);
            for seed in &seeds {
                let mut bytes = seed.clone();
                mutate(&mut bytes, &seeds[rng.random_range(0..seeds.len())], &mut rng);
                let result = std::panic::catch_unwind(|| target(&bytes));
                assert!(result.is_ok(), "{name}, round {round}: {:?}", bytes.escape_ascii().to_string());
            }
        }
        println!("{name}: {} inputs in {:?}", rounds as usize * seeds.len(), start.elapsed());
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
    assert!(smore::engine::graph::KnowledgeGraph::open(&path).is_err());
    smore::engine::storage::container::seal(&mut bytes).unwrap();
    std::fs::write(&path, &bytes).unwrap();
    smore::engine::graph::KnowledgeGraph::open(&path).unwrap();
    let imported = corpus("import").into_iter().map(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, fuzz::imported(&std::fs::read(path).unwrap()).unwrap_or(0))
    });
    let refused: Vec<String> = imported.filter(|(_, triples)| *triples == 0).map(|(name, _)| name).collect();
    assert_eq!(refused, ["json-lines", "openke", "rdf-xml"]);
    assert!(smore::engine::storage::pickle::parse(&read("pickle", "protocol4.pkl")).is_ok());
    let query = String::from_utf8(read("query_text", "2in")).unwrap();
    smore::engine::query::parse_query(&query).unwrap();
}
