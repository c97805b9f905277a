//! `smore data` as a user runs it.

#![cfg(feature = "cli")]

use predicates::prelude::*;
use predicates::str::{contains, is_empty, starts_with};
use serde_json::Value;

mod common;
use common::{Folder, json, public_data, smore};

const FILES: [(&str, &str); 4] = [
    ("train.txt", "a\tr\tb\nb\tr\tc\nc\ts\ta\n"),
    ("valid.txt", "a\ts\tb\n"),
    ("test.txt", "c\tr\td\n"),
    ("text/entity2text.txt", "a\tApple\nd\tDate\n"),
];

#[test]
fn an_import_is_shown_and_its_name_is_a_dataset_from_then_on() {
    let folder = Folder::with(&FILES);
    smore(&folder)
        .args(["data", "import", "data", "--name", "fruit"])
        .assert()
        .success()
        .stdout(contains("3 train, 1 valid, 1 test").and(contains("fruit")))
        .stderr(contains("warning: 1 entity and 0 relations do not occur in train"));
    let info = json(smore(&folder).args(["data", "info", "fruit"]));
    assert_eq!(info["dataset"], "fruit");
    assert_eq!(info["counts"]["entities"], 4);
    assert_eq!(info["labels"]["entities"]["en"], 2);
    let listed = json(smore(&folder).args(["data", "list"]));
    assert_eq!(listed["imported"][0]["name"], "fruit");
    smore(&folder).args(["data", "list"]).assert().success().stdout(contains("fruit"));
}

#[test]
fn an_import_can_go_to_a_file_that_is_a_dataset_too() {
    let folder = Folder::with(&FILES);
    let import = ["data", "import", "data", "--name", "fruit", "--output", "out/fruit.smore"];
    let report = json(smore(&folder).args(import));
    assert_eq!((&report["graph"], &report["cached"]), (&"out/fruit.smore".into(), &false.into()));
    assert_eq!(report["counts"]["train"], 3);
    for dataset in ["out/fruit.smore", "fruit"] {
        let verified = json(smore(&folder).args(["data", "verify", dataset]));
        assert_eq!((&verified["intact"], &verified["as_published"]), (&true.into(), &Value::Null));
    }
}

#[test]
fn bad_lines_fail_with_their_place_unless_they_are_skipped() {
    let folder = Folder::with(&FILES);
    std::fs::write(folder.data().join("valid.txt"), "a\ts\tb\na b c\n").unwrap();
    smore(&folder)
        .args(["data", "import", "data"])
        .assert()
        .code(1)
        .stdout(is_empty())
        .stderr(
            starts_with("error: ").and(contains("valid.txt:2: expected 3 tab-separated columns, found 1")),
        )
        .stderr(contains("--skip-bad-lines"));
    let report = json(smore(&folder).args(["data", "import", "data", "--skip-bad-lines"]));
    assert_eq!((&report["skipped_lines"], &report["dataset"]), (&1.into(), &"data".into()));
}

#[test]
fn info_tells_degrees_cardinalities_and_memory() {
    let folder = Folder::with(&[]);
    let info = json(smore(&folder).args(["data", "info", "umls", "--top", "2"]));
    assert_eq!(info["counts"]["entities"], 135);
    assert_eq!(info["counts"]["relations"], 46);
    assert_eq!(info["splits"]["train"]["triples"], 5216);
    assert_eq!(info["train_degree"]["top"].as_array().unwrap().len(), 2);
    assert_eq!(info["train_degree"]["mean"], 2.0 * 5216.0 / 135.0);
    let total = |key: &str| -> u64 {
        info["cardinalities"].as_array().unwrap().iter().map(|c| c[key].as_u64().unwrap()).sum()
    };
    assert_eq!((total("relations"), total("train_triples")), (46, 5216));
    let sections: u64 =
        info["section_bytes"].as_object().unwrap().values().map(|v| v.as_u64().unwrap()).sum();
    let file = info["file_bytes"].as_u64().unwrap();
    assert!(sections < file && sections > file / 2);
    smore(&folder)
        .args(["data", "info", "umls"])
        .assert()
        .success()
        .stdout(contains("135 entities, 46 relations").and(contains("N-N")).and(contains("train edges")));
}

#[test]
fn verify_finds_a_changed_byte() {
    let folder = Folder::with(&[]);
    let path = json(smore(&folder).args(["data", "verify", "umls"]))["graph"].as_str().unwrap().to_owned();
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    smore(&folder)
        .args(["data", "verify", &path])
        .assert()
        .code(1)
        .stderr(contains("is damaged: the checksum of its").and(contains("import the dataset again")));
}

#[test]
fn verify_tells_a_changed_dataset_from_the_published_one() {
    let folder = Folder::with(&FILES);
    std::fs::rename(folder.data(), folder.path().join("nations")).unwrap();
    smore(&folder)
        .args(["data", "verify", "nations", "--data-dir", "."])
        .assert()
        .code(1)
        .stderr(contains("the file is intact, but the dataset is not as published"))
        .stderr(contains("Nations has 14 entities, this graph 4"));
}

#[test]
fn usage_errors_exit_with_2_and_suggest() {
    let folder = Folder::with(&[]);
    let cases: [(&[&str], &str); 5] = [
        (&["dat"], "'data'"),
        (&["data", "improt", "x"], "'import'"),
        (&["data", "import", "x", "--nmae", "y"], "'--name'"),
        (&["data", "list", "--threads", "0"], "--threads"),
        (&["data", "list", "--threads", "100000"], "from 1 to 1,024"),
    ];
    for (arguments, hint) in cases {
        smore(&folder).args(arguments).assert().code(2).stderr(contains(hint));
    }
    smore(&folder).assert().code(2);
    smore(&folder).arg("--version").assert().success().stdout(starts_with("smore "));
}

#[test]
fn an_unknown_dataset_is_an_error_that_says_what_would_do() {
    let folder = Folder::with(&[]);
    smore(&folder).args(["data", "info", "ulms"]).assert().code(1).stderr(
        contains("error: unknown dataset \"ulms\" (did you mean umls?)").and(contains("or give a folder")),
    );
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let folder = Folder::with(&[]);
    for arguments in [&["data", "list"][..], &["data", "info", "umls", "--json"], &["--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = std::process::Command::new(assert_cmd::cargo::cargo_bin!("smore"))
            .args(arguments)
            .env("SMORE_CACHE", folder.cache())
            .stdout(writer)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!stderr.contains("error") && !stderr.contains("panicked"), "{stderr}");
    }
}

#[test]
fn a_checkout_of_codex_imports_by_name_from_its_root_or_its_folder() {
    let Some(data) = public_data() else { return };
    let folder = Folder::with(&[]);
    for path in ["codex", "codex/data/triples/codex-s"] {
        let path = data.join(path);
        let import = ["data", "import", path.to_str().unwrap(), "--name", "codex-s"];
        let report = json(smore(&folder).args(import));
        assert_eq!(report["counts"]["train"], 32_888);
        assert_eq!(report["hard_negatives"]["test"], 1_828);
        assert_eq!(report["warnings"], serde_json::json!([]));
    }
    let verified = json(smore(&folder).args(["data", "verify", "codex-s"]));
    assert_eq!(verified["as_published"], true);
}

#[test]
fn the_list_shows_what_is_in_the_data_folder_and_what_is_incomplete() {
    let Some(data) = public_data() else { return };
    let folder = Folder::with(&[]);
    let listed = json(smore(&folder).args(["data", "list"]).env("SMORE_DATA", &data));
    let known = listed["known"].as_array().unwrap();
    let of = |name: &str| &known.iter().find(|entry| entry["name"] == name).unwrap()["present"];
    assert_eq!(of("wn18rr")["complete"], true);
    assert_eq!(of("codex-l")["missing"], serde_json::json!(["train"]));
    let nothing = json(smore(&folder).args(["data", "list"]));
    let known = nothing["known"].as_array().unwrap();
    assert_eq!(known.iter().filter(|entry| !entry["present"].is_null()).count(), 1);
}

#[test]
fn the_name_of_a_published_dataset_is_not_given_to_other_files() {
    let folder = Folder::with(&FILES);
    let refused = "is the name of UMLS, whose files these are not: choose another --name";
    smore(&folder)
        .args(["data", "import", "data", "--name", "UMLS"])
        .assert()
        .code(1)
        .stderr(contains(refused));
    std::fs::rename(folder.data(), folder.path().join("umls")).unwrap();
    smore(&folder).args(["data", "import", "umls"]).assert().code(1).stderr(contains(refused));
    assert_eq!(json(smore(&folder).args(["data", "info", "umls"]))["counts"]["entities"], 135);
}

#[test]
fn folders_that_are_not_there_or_not_writable_name_their_options() {
    let folder = Folder::with(&FILES);
    let file = folder.data().join("train.txt");
    smore(&folder)
        .args(["data", "import", "data", "--cache-dir"])
        .arg(&file)
        .assert()
        .code(1)
        .stderr(contains("with --cache-dir (or SMORE_CACHE)"));
    for dataset in ["nations", "nothing"] {
        smore(&folder)
            .args(["data", "info", dataset, "--data-dir", "gone"])
            .assert()
            .code(1)
            .stderr(contains("the data folder gone (--data-dir or SMORE_DATA) does not exist"));
    }
    smore(&folder).args(["data", "list", "--data-dir", "gone"]).assert().success().stderr(contains("gone"));
}

#[test]
fn a_language_without_labels_is_reported() {
    let folder = Folder::with(&FILES);
    smore(&folder)
        .args(["data", "import", "data", "--lang", "xx"])
        .assert()
        .code(1)
        .stderr(contains("data has en"));
    std::fs::remove_file(folder.data().join("text/entity2text.txt")).unwrap();
    smore(&folder)
        .args(["data", "import", "data", "--lang", "xx"])
        .assert()
        .success()
        .stderr(contains("data has no labels in any language"));
}
