//! Graph files that were damaged: an error before anything is used, never a panic, never a result.

#![cfg(feature = "cli")]

use predicates::prelude::*;
use predicates::str::contains;
use rand::RngExt;
use smore::engine::graph::{KnowledgeGraph, Split};
use smore::engine::ids::{EntityId, RelationId};
use smore::engine::rng::{Rng, stream};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

mod common;
use common::{Folder, json, smore};

const REMEDY: &str = "import the dataset again with `smore data import`";

const FILES: [(&str, &str); 3] =
    [("train.txt", "a\tr\tb\nb\tr\tc\nc\tr\ta\n"), ("valid.txt", "a\tr\tc\n"), ("test.txt", "b\tr\ta\n")];

/// UMLS as a graph file.
fn umls(folder: &Folder) -> PathBuf {
    smore::engine::dataset::open("umls", &folder.options()).unwrap().1.graph
}

/// Of every place what can be asked of a graph.
fn use_all(graph: &KnowledgeGraph) {
    for split in Split::ALL {
        let csr = graph.split(split);
        let _ = (csr.triples().count(), csr.entities_with_edges().count(), graph.hard_negatives(split).len());
        for id in 0..graph.num_entities() as u32 + 2 {
            let _ = (csr.degree(EntityId(id)), csr.tails(EntityId(id), RelationId(id)).len());
        }
        smore::engine::graph::stats::relations(csr, graph.num_relations());
    }
    smore::engine::eval::FrequencyBaseline::new(&graph.split(Split::Train), graph.num_relations());
    for id in 0..graph.num_entities() as u32 + 2 {
        let (entities, relations) = (graph.entities(), graph.relations());
        let _ = (entities.display(id), relations.display(id), entities.find(&entities.name(id)));
    }
}

/// What happens to a file by accident; 200 kinds and places.
fn damage(bytes: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut bad = bytes.to_vec();
    let place = rng.random_range(0..bad.len());
    match rng.random_range(0..5) {
        0 | 1 => bad[place] ^= 1 << rng.random_range(0..8),
        2 => {
            let page = place / 4096 * 4096;
            let end = bad.len().min(page + 4096);
            bad[page..end].fill(0);
        }
        3 => bad.truncate(place),
        _ => bad.extend((0..rng.random_range(1..5000)).map(|_| rng.random::<u8>())),
    }
    bad
}

#[test]
fn two_hundred_damaged_files_are_all_refused_with_place_and_remedy() {
    let folder = Folder::with(&[]);
    let bytes = std::fs::read(umls(&folder)).unwrap();
    let path = folder.path().join("bad.smore");
    let folder_path = format!("{}/", folder.path().display());
    let mut rng = stream(1, "damaged graph files", 0);
    let mut refused = 0;
    for number in 0..200 {
        let bad = damage(&bytes, &mut rng);
        if bad == bytes {
            continue;
        }
        std::fs::write(&path, &bad).unwrap();
        let error = KnowledgeGraph::open(&path).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}: is ", path.display())), "{number}: {error}");
        let foreign = "is not a smore graph file (its first bytes are not the format's)";
        assert!(error.ends_with(REMEDY) || error.ends_with(foreign), "{number}: {error}");
        refused += 1;
        // As a process, which costs more: a quarter of them.
        if number % 4 == 0 {
            let commands: [&[&str]; 3] = [
                &["data", "info", "bad.smore"],
                &["data", "verify", "bad.smore"],
                &["train", "bad.smore", "--steps", "1", "--device", "cpu", "--run-dir", "run"],
            ];
            for command in commands {
                smore(&folder)
                    .args(command)
                    .assert()
                    .code(1)
                    .stderr(contains(error.replace(&folder_path, "")));
            }
            assert!(!folder.path().join("run").exists());
        }
    }
    assert!(refused > 190, "{refused}");
}

#[test]
fn a_flipped_bit_and_a_zeroed_page_are_found_by_their_sections() {
    let folder = Folder::with(&[]);
    let bytes = std::fs::read(umls(&folder)).unwrap();
    let mut flip = bytes.clone();
    flip[58_883] ^= 0x40;
    let mut zero = bytes;
    zero[25_211..25_211 + 4096].fill(0);
    for (name, bad, section) in [("flip.smore", flip, "valid rows"), ("zero.smore", zero, "train rows")] {
        std::fs::write(folder.path().join(name), bad).unwrap();
        let error =
            format!("error: {name}: is damaged: the checksum of its {section} does not match; {REMEDY}\n");
        for command in
            [&["data", "info", name][..], &["data", "verify", name], &["train", name, "--device", "cpu"]]
        {
            smore(&folder).args(command).assert().code(1).stdout("").stderr(error.clone());
        }
    }
}

#[test]
fn a_whole_file_with_arrays_that_are_none_is_refused() {
    let folder = Folder::with(&[]);
    let bytes = std::fs::read(umls(&folder)).unwrap();
    let mut rng = stream(1, "wrongly written graph files", 0);
    let path = folder.path().join("wrong.smore");
    let mut refused = 0;
    for _ in 0..100 {
        let mut bad = bytes.clone();
        let place = rng.random_range(128..bad.len());
        bad[place] ^= 1 << rng.random_range(0..8);
        if smore::engine::storage::container::seal(&mut bad).is_none() {
            continue;
        }
        std::fs::write(&path, &bad).unwrap();
        match KnowledgeGraph::open(&path) {
            // The change may make other facts or names.
            Ok(graph) => use_all(&graph),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 30, "{refused}");
}

#[test]
fn a_file_that_changes_while_it_is_open_leads_nowhere() {
    let folder = Folder::with(&[]);
    let original = umls(&folder);
    let bytes = std::fs::read(&original).unwrap();
    let path = folder.path().join("open.smore");
    std::fs::write(&path, &bytes).unwrap();
    let graph = KnowledgeGraph::open(&path).unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    let texts = graph.entities().find("virus").is_some();
    assert!(texts);
    // All arrays of numbers; the names' transducer is not ours.
    let end = bytes.windows(4).position(|w| w == b"viru").unwrap_or(bytes.len()).min(60_000);
    let mut rng = stream(2, "changing graph files", 0);
    for _ in 0..300 {
        let place = rng.random_range(1_000..end);
        file.write_all_at(&[rng.random::<u8>()], place as u64).unwrap();
        use_all(&graph);
    }
    file.write_all_at(&vec![0xff; end - 1_000], 1_000).unwrap();
    use_all(&graph);
}

/// Makes a file look as if it had not been touched for a minute.
fn age(path: &Path) {
    let minute = SystemTime::now() - Duration::from_secs(60);
    std::fs::File::options().write(true).open(path).unwrap().set_modified(minute).unwrap();
}

#[test]
fn a_file_is_read_as_a_whole_once() {
    let folder = Folder::with(&[]);
    let path = umls(&folder);
    age(&path);
    let verified = smore::engine::dataset::Cache::new(Some(&folder.cache())).unwrap().verified();
    let open = || KnowledgeGraph::open_known(&path, &verified).map(drop);
    open().unwrap();
    let known = std::fs::read_dir(folder.cache().join("verified")).unwrap().count();
    assert_eq!(known, 1);
    // A change that leaves the time as it was is not seen: the file is known. One that shows is.
    let time = std::fs::metadata(&path).unwrap().modified().unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.write_all_at(&[0xff; 8], 30_000).unwrap();
    file.set_modified(time).unwrap();
    open().unwrap();
    file.write_all_at(&[0xfe; 8], 30_000).unwrap();
    assert!(open().unwrap_err().to_string().contains("the checksum of its"));
}

#[test]
fn a_damaged_cached_graph_is_an_error_to_verify_and_mended_by_an_import_or_use() {
    let folder = Folder::with(&FILES);
    let import = ["data", "import", "data", "--name", "mine"];
    let made = json(smore(&folder).args(import));
    let path = PathBuf::from(made["graph"].as_str().unwrap());
    let whole = std::fs::read(&path).unwrap();
    let place = KnowledgeGraph::open(&path).unwrap().size_in_bytes() / 2;
    let damage = || {
        age(&path);
        smore(&folder).args(["data", "info", "mine"]).assert().success();
        let time = std::fs::metadata(&path).unwrap().modified().unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.write_all_at(&[whole[place as usize] ^ 1], place).unwrap();
        // As a disk does it: it shows by its bytes alone.
        file.set_modified(time).unwrap();
    };
    damage();
    smore(&folder).args(["data", "verify", "mine"]).assert().code(1).stderr(contains(REMEDY));
    smore(&folder)
        .args(import)
        .assert()
        .success()
        .stderr(contains("warning: the cached graph was replaced: ").and(contains("imported, ")));
    assert_eq!(std::fs::read(&path).unwrap(), whole);
    smore(&folder).args(import).assert().success().stderr(contains("unchanged since an earlier import"));
    smore(&folder).args(import).arg("--force").assert().success().stderr(contains("imported, "));
    smore(&folder).args(["data", "verify", "mine"]).assert().success();
    // What shows is noticed by any use.
    damage();
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(SystemTime::now()).unwrap();
    smore(&folder).args(["data", "verify", "data"]).assert().success();
    smore(&folder).args(["data", "info", "mine"]).assert().code(1).stderr(contains(REMEDY));
}

#[test]
fn remove_says_what_it_removes_and_stays_in_the_cache() {
    let folder = Folder::with(&FILES);
    let graph = umls(&folder);
    let length = std::fs::metadata(&graph).unwrap().len();
    smore(&folder).args(["data", "import", "data", "--name", "mine", "-o", "own.smore"]).assert().success();
    std::fs::write(graph.with_file_name("umls-notes.txt"), "mine").unwrap();
    for unknown in ["uml", "../own", "umls-"] {
        let error = format!("error: no graph of {unknown:?} is in the cache; there are mine, umls\n");
        smore(&folder).args(["data", "remove", unknown]).assert().code(1).stderr(error);
    }
    let removed = json(smore(&folder).args(["data", "remove", "UMLS"]));
    assert_eq!(removed["removed"][0]["bytes"], length);
    assert_eq!(removed["removed"][0]["path"], graph.to_str().unwrap());
    assert!(!graph.exists() && graph.with_file_name("umls-notes.txt").exists());
    let own = folder.path().canonicalize().unwrap().join("own.smore");
    let kept = format!("{} is outside of the cache and stays; its name is forgotten\n", own.display());
    smore(&folder).args(["data", "remove", "mine"]).assert().success().stdout("").stderr(kept);
    assert!(own.exists());
    let error = "error: no graph of \"mine\" is in the cache; there are none\n";
    smore(&folder).args(["data", "remove", "mine"]).assert().code(1).stderr(error);
}
