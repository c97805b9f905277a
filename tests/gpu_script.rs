//! `benches/gpu.sh contact` where parts hang, crash, are missing and skip, and where there is no GPU: on the fake driver (see
//! `tests/fake_cuda/`), in a folder as `gpu.sh pack` makes it, with scripts in place of the packed tests.

#![cfg(feature = "cli")]
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use common::{Folder, emulator};
use serde_json::Value;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// A folder as it is unpacked on a machine with a GPU.
struct Packed {
    folder: Folder,
    libraries: Vec<PathBuf>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

impl Packed {
    fn new() -> Option<Self> {
        if ["bash", "python3"].iter().any(|tool| Command::new(tool).arg("--version").output().is_err()) {
            common::skip(common::Missing::Tool, "benches/gpu.sh needs bash and python3");
            return None;
        }
        let libraries = emulator::fake_driver()?.to_vec();
        let packed = Packed { folder: Folder::in_memory(), libraries };
        let path = |name: &str| packed.folder.path().join(name);
        for name in ["gpu.sh", "gpu_summary.py"] {
            symlink(root().join("benches").join(name), path(name)).unwrap();
        }
        symlink(root().join("benches"), path("benches")).unwrap();
        symlink(root().join("configs"), path("configs")).unwrap();
        symlink(assert_cmd::cargo::cargo_bin("smore"), path("smore")).unwrap();
        symlink(common::kernel_benchmarks(), path("kernels")).unwrap();
        std::fs::create_dir(path("tests")).unwrap();
        std::fs::write(path("commit"), "test\n").unwrap();
        common::smore(&packed.folder).args(["data", "info", "umls"]).assert().success();
        let graphs = std::fs::read_dir(packed.folder.cache().join("graphs")).unwrap();
        let graph = graphs.map(|entry| entry.unwrap().path()).find(|p| p.extension().is_some()).unwrap();
        // Speed is not asked for here.
        for name in ["umls", "fb15k-237", "codex-s"] {
            std::fs::copy(&graph, path(&format!("{name}.smore"))).unwrap();
        }
        Some(packed)
    }

    /// A script in place of packed tests.
    fn stand_in(&self, name: &str, script: &str) {
        let path = self.folder.path().join("tests").join(name);
        std::fs::write(&path, format!("#!/bin/bash\n{script}\n")).unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    }

    /// The script with these arguments, on the fake driver.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("bash");
        command.arg("gpu.sh").args(arguments).current_dir(self.folder.path());
        let libraries = std::env::join_paths(&self.libraries).unwrap();
        let tools =
            format!("{}:{}", root().join("tests/fake_cuda/bin").display(), std::env::var("PATH").unwrap());
        command.env("LD_LIBRARY_PATH", &libraries).env("SMORE_CUDA_LIBS", libraries).env("PATH", tools);
        command.env("SMORE_CACHE", self.folder.cache()).env("CONTACT_SMALL", "1");
        command
    }

    fn contact(&self, variables: &[(&str, &str)], parts: &[&str]) -> Contact {
        let (out, start) = (self.folder.path().join("out"), Instant::now());
        let arguments = [&["contact", "out"], parts].concat();
        let output = self.command(&arguments).envs(variables.iter().copied()).output().unwrap();
        let text = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
        let lines = text("gpu.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let mut files: Vec<String> =
            std::fs::read_dir(&out).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
        files.sort_unstable();
        Contact { output, summary: text("summary.txt"), lines, files, took: start.elapsed() }
    }
}

/// What a visit left.
struct Contact {
    output: Output,
    summary: String,
    lines: Vec<Value>,
    files: Vec<String>,
    took: Duration,
}

impl Contact {
    /// The line of a part in the summary.
    #[track_caller]
    fn part(&self, name: &str) -> &str {
        let line = self.summary.lines().find(|line| line.split(' ').next() == Some(name));
        line.unwrap_or_else(|| panic!("no {name} in\n{}", self.summary))
    }

    #[track_caller]
    fn check_files(&self) {
        assert_eq!(self.files, ["gpu.jsonl", "logs.tar.xz", "summary.txt"], "{}", self.summary);
    }
}

#[test]
fn parts_that_hang_crash_skip_or_are_missing_are_reported_and_the_others_run() {
    let Some(packed) = Packed::new() else { return };
    packed.stand_in("backend_parity", "echo a line before it hangs; sleep 1000");
    packed.stand_in("model_gradients", "echo 'test result: ok. 3 passed; 0 failed'; kill -SEGV $$");
    let limits = [("CONTACT_LIMIT", "35"), ("CONTACT_SECONDS", "160")];
    let contact = packed.contact(&limits, &["parity", "models", "kernels", "memcheck"]);
    assert_eq!(contact.output.status.code(), Some(1), "{}", contact.summary);
    contact.check_files();
    assert!(contact.part("environment").contains("passed") && contact.summary.contains("Emulated GPU"));
    assert!(contact.part("parity").contains("stopped after 35 s"), "{}", contact.summary);
    assert!(contact.summary.contains("a line before it hangs"), "the end of its log is shown");
    let models = contact.part("models");
    assert!(models.contains("FAILED") && models.contains("missing: tests/one_vs_all"), "{models}");
    for part in ["kernels", "memcheck"] {
        assert!(contact.part(part).contains("passed"), "{}", contact.summary);
    }
    assert!(contact.took < Duration::from_secs(140), "{:?}", contact.took);
    let message = String::from_utf8_lossy(&contact.output.stdout);
    assert!(message.contains("FAILED: parity models"), "{message}");
    let rows: Vec<&Value> = contact.lines.iter().map(|line| &line["benchmark"]).collect();
    assert_eq!(rows, ["environment", "kernels"]);
    assert_eq!(contact.lines[0]["commit"], "test");
    assert!(contact.lines[0]["gpu"].as_str().unwrap().starts_with("Emulated GPU"));
}

#[test]
fn a_run_in_which_no_test_or_not_every_test_ran_on_the_gpu_fails() {
    let Some(packed) = Packed::new() else { return };
    packed.stand_in("backend_parity", "echo 'test result: ok. 0 passed; 0 failed; 0 ignored'");
    packed.stand_in(
        "model_gradients",
        "echo 'skipped: a test: no GPU'; echo 'test result: ok. 2 passed; 0 failed'",
    );
    packed.stand_in(
        "one_vs_all",
        "[[ $SMORE_REQUIRE_GPU == 1 ]] && echo 'test result: ok. 2 passed; 0 failed'",
    );
    let contact = packed.contact(&[], &["parity", "models"]);
    assert_eq!(contact.output.status.code(), Some(1));
    assert!(contact.part("parity").contains("FAILED"), "{}", contact.summary);
    let models = contact.part("models");
    assert!(models.contains("FAILED") && models.contains("one_vs_all: 2 tests passed"), "{models}");
    packed.stand_in("backend_parity", "echo 'test result: ok. 7 passed; 0 failed; 0 ignored'");
    packed.stand_in("model_gradients", "echo 'test result: ok. 2 passed; 0 failed'");
    let contact = packed.contact(&[], &["parity", "models"]);
    assert!(contact.output.status.success(), "{}", contact.summary);
    assert!(contact.part("parity").contains("backend_parity: 7 tests passed on the GPU"));
    assert_eq!(contact.lines.len(), 2, "parts by name add to the lines of an earlier call");
}

#[test]
fn what_a_sanitizer_finds_is_reported() {
    let Some(packed) = Packed::new() else { return };
    let finding = "Invalid __global__ read of size 4 bytes";
    let contact = packed.contact(&[("FAKE_SANITIZER_FINDS", finding)], &["racecheck"]);
    assert_eq!(contact.output.status.code(), Some(1));
    let part = contact.part("racecheck");
    assert!(
        part.contains(&format!("kernels: FAILED: {finding}")) && part.contains("conve: FAILED"),
        "{part}"
    );
}

#[test]
fn a_failed_test_is_run_again_alone_with_each_launch_waited_for() {
    let Some(packed) = Packed::new() else { return };
    packed.stand_in(
        "backend_parity",
        "[[ $1 == --exact ]] && echo \"again: $*, blocking: $CUDA_LAUNCH_BLOCKING\" && exit 0\n\
         printf 'failures:\\n\\n---- cuda::scores_agree stdout ----\\n\\nfailures:\\n    cuda::scores_agree\\n\\n'\n\
         echo 'test result: FAILED. 6 passed; 1 failed; 0 ignored'; exit 101",
    );
    let contact = packed.contact(&[], &["parity"]);
    let part = contact.part("parity");
    assert!(part.contains("FAILED cuda::scores_agree, alone and blocking passed"), "{part}");
    assert!(contact.summary.contains("again: --exact cuda::scores_agree --test-threads 1, blocking: 1"));
}

#[test]
fn steps_training_sampling_profiles_and_evaluation_are_measured_and_summed_up() {
    let Some(packed) = Packed::new() else { return };
    let contact = packed.contact(&[], &["steps", "train", "sampler", "profile", "eval"]);
    assert!(
        contact.output.status.success(),
        "{}\n{}",
        contact.summary,
        String::from_utf8_lossy(&contact.output.stdout)
    );
    contact.check_files();
    let of =
        |benchmark: &str| contact.lines.iter().filter(|l| l["benchmark"] == benchmark).collect::<Vec<_>>();
    assert_eq!(
        (of("steps").len(), of("train").len(), of("sample").len(), of("profile").len()),
        (10, 8, 1, 2)
    );
    for line in of("steps") {
        assert_eq!(line["repeats"], true, "{line}");
    }
    for line in of("train") {
        let step = &line["step"];
        assert!(
            step["launches"].as_f64().unwrap() > 10.0 && step["products"].as_f64().unwrap() > 0.0,
            "{step}"
        );
        assert!(
            step["enqueue_us"].as_f64().unwrap() > 0.0 && step["uploaded_bytes"].as_f64().unwrap() > 100.0
        );
        assert!(line["device"].as_str().unwrap().starts_with("Emulated GPU"));
    }
    assert!(
        contact.summary.contains("betae-tf32") && contact.summary.contains("profile of gqe"),
        "{}",
        contact.summary
    );
}

#[test]
fn without_a_gpu_or_a_library_it_stops_at_once_and_says_what_is_missing() {
    let Some(mut packed) = Packed::new() else { return };
    packed.stand_in("backend_parity", "echo it must not run; exit 0");
    packed.libraries.pop();
    let contact = packed.contact(&[], &[]);
    assert_eq!(contact.output.status.code(), Some(1));
    assert!(contact.part("environment").contains("missing: libcublas.so for CUDA 13"), "{}", contact.summary);
    assert!(!contact.summary.contains("parity"), "{}", contact.summary);
    packed.libraries = vec!["/nowhere".into()];
    let contact = packed.contact(&[], &[]);
    assert_eq!(contact.output.status.code(), Some(1));
    assert!(contact.part("environment").contains("no NVIDIA driver was found"), "{}", contact.summary);
    contact.check_files();
    assert!(contact.lines.is_empty() && contact.took < Duration::from_secs(60));
}

#[test]
fn when_the_time_is_over_the_rest_is_named() {
    let Some(packed) = Packed::new() else { return };
    packed.stand_in("backend_parity", "sleep 1000");
    let contact = packed.contact(&[("CONTACT_SECONDS", "16")], &["parity", "kernels", "train"]);
    assert!(contact.part("parity").contains("stopped after"), "{}", contact.summary);
    assert!(
        contact.part("kernels").contains("not run") && contact.part("train").contains("no time was left")
    );
    assert!(contact.took < Duration::from_secs(30), "{:?}", contact.took);
}

#[test]
fn what_is_done_is_there_when_the_script_is_killed() {
    let Some(packed) = Packed::new() else { return };
    packed.stand_in("backend_parity", "echo 'test result: ok. 7 passed; 0 failed'");
    packed.stand_in("model_gradients", "echo under way; sleep 20");
    let out = packed.folder.path().join("out");
    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap_or_default();
    let mut script = packed
        .command(&["contact", "out", "parity", "models"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while !read("current.log").contains("under way") && start.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(50));
    }
    script.kill().unwrap();
    script.wait().unwrap();
    let summary = read("summary.txt");
    assert!(summary.contains("backend_parity: 7 tests passed on the GPU"), "{summary}");
    assert!(read("gpu.jsonl").contains("environment") && out.join("logs.tar.xz").is_file());
    assert!(read("current.log").contains("under way"));
}

#[test]
fn a_recipe_goes_on_where_it_was_stopped() {
    let Some(packed) = Packed::new() else { return };
    let out = packed.folder.path().join("out");
    let train = || {
        let output = packed.command(&["recipes", "out", "12", "gqe"]).output().unwrap();
        let text = std::fs::read_to_string(out.join("recipes.jsonl")).unwrap_or_default();
        let last =
            text.lines().last().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stdout)));
        let line: Value = serde_json::from_str(last).unwrap();
        assert_eq!(
            (&line["recipe"], &line["done"], &line["commit"]),
            (&"gqe".into(), &false.into(), &"test".into())
        );
        assert!(line["report"]["multi_hop"]["2i"]["mrr"].as_f64().unwrap() > 0.0, "{line}");
        line["step"].as_u64().unwrap()
    };
    let first = train();
    let second = train();
    let log = std::fs::read_to_string(packed.folder.path().join("runs/gqe.log")).unwrap();
    assert!(second > first && first > 0, "{first}, then {second}:\n{log}");
    assert!(std::fs::read_to_string(out.join("gqe.txt")).unwrap().contains("MRR"));
    assert!(out.join("recipes.tar.xz").is_file());
}

#[test]
fn a_part_that_there_is_not_is_refused() {
    let output = Command::new("bash")
        .arg(root().join("benches/gpu.sh"))
        .args(["contact", "/nowhere", "parrity"])
        .output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no part parrity"));
}
