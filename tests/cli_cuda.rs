//! `smore` on a GPU that is not there: the whole program, from the command line down to the driver's functions, on
//! a driver that runs the kernels on the CPU (see `tests/fake_cuda/driver.cpp`).

#![cfg(feature = "cli")]
#![cfg(target_os = "linux")]

mod common;

use assert_cmd::Command;
use common::emulator;
use predicates::prelude::*;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A machine with a fake GPU, and a cache folder.
struct Machine {
    folder: common::Folder,
    libraries: Vec<PathBuf>,
}

impl Machine {
    fn new() -> Option<Self> {
        let libraries = emulator::fake_driver()?;
        Some(Machine { folder: common::Folder::in_memory(), libraries: libraries.into() })
    }

    /// The same machine with the driver and this many of the other libraries: the compiler of kernels, then cuBLAS.
    fn with_libraries(mut self, others: usize) -> Self {
        self.libraries.truncate(1 + others);
        self
    }

    fn smore(&self, arguments: &[&str]) -> Command {
        let mut command = self.program(&assert_cmd::cargo::cargo_bin("smore"));
        command.args(arguments);
        command
    }

    fn program(&self, path: &Path) -> Command {
        let mut command = Command::new(path);
        command.current_dir(self.folder.path());
        command.env("LD_LIBRARY_PATH", std::env::join_paths(&self.libraries).unwrap());
        for variable in ["SMORE_CUDA_LIBS", "CUDA_HOME", "CUDA_PATH", "VIRTUAL_ENV", "CONDA_PREFIX"] {
            command.env_remove(variable);
        }
        command.env("HOME", self.folder.path()).env("CRITERION_HOME", self.folder.path().join("criterion"));
        command.env("SMORE_CACHE", self.folder.path().join("cache"));
        // Nothing of this machine's Python.
        command.env("PATH", self.path("bin"));
        command
    }

    /// Puts a `python3` on the PATH: a script of the shell.
    fn install_python(&self, script: &str) {
        use std::os::unix::fs::PermissionsExt;
        let python = self.path("bin/python3");
        std::fs::create_dir_all(self.path("bin")).unwrap();
        std::fs::write(&python, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&python, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

const SMALL: &str = "training.learning_rate=0.03 training.batch_size=48 sampling.negatives=24 evaluation.queries=30 evaluation.valid_queries=30 \
                     evaluation.structures=1p.2i.2u sampling.structures=1p.2p.2i.2u";

/// Arguments of a short training run.
fn train<'a>(device: &'a str, model: &'a str, run: &'a str) -> Vec<&'a str> {
    let mut arguments = vec!["train", "umls", "--device", device, "--model", model, "--run-dir", run];
    arguments.extend("--dim 12 --steps 40 --json".split(' '));
    SMALL.split_whitespace().for_each(|option| arguments.extend(["--set", option]));
    arguments
}

fn report(output: &[u8]) -> Value {
    serde_json::from_slice(output).unwrap()
}

fn mrr(run: &Value, structure: &str) -> f64 {
    run["report"]["multi_hop"][structure]["mrr"].as_f64().unwrap()
}

#[test]
fn training_evaluation_and_queries_run_on_the_gpu_and_agree_with_the_cpu() {
    let Some(machine) = Machine::new() else { return };
    for model in ["gqe", "query2box", "complex", "rotate"] {
        let run = |device: &str, order: &str| {
            let name = format!("{model}-{device}-{order}");
            let output =
                machine.smore(&train(device, model, &name)).env("FAKE_CUDA", order).assert().success();
            (
                report(&output.get_output().stdout),
                std::fs::read(machine.path(&name).join("model.safetensors")).unwrap(),
            )
        };
        let (early, model_early) = run("cuda", "early");
        let (late, model_late) = run("cuda:0", "late");
        assert_eq!(early["report"], late["report"], "{model}: an order between streams is missing");
        assert!(model_early == model_late, "{model}: an order between streams is missing");
        let (cpu, _) = run("cpu", "-");
        for structure in ["1p", "2i", "2u"] {
            let (gpu, cpu) = (mrr(&early, structure), mrr(&cpu, structure));
            assert!((gpu - cpu).abs() < 0.02, "{model}, {structure}: MRR {gpu} on the GPU, {cpu} on the CPU");
        }
        let folder = format!("{model}-cuda-early");
        machine.smore(&["eval", &folder, "--device", "cuda"]).assert().success();
        let answers = |device: &str| {
            let arguments = ["query", &folder, "('virus',('causes',))", "--device", device, "--json"];
            report(&machine.smore(&arguments).assert().success().get_output().stdout)["answers"].clone()
        };
        let first = |answers: Value| answers[0]["entity"].clone();
        assert_eq!(first(answers("cuda")), first(answers("cpu")), "{model}");
    }
}

#[test]
fn devices_lists_the_gpu_and_what_it_needs() {
    let Some(machine) = Machine::new() else { return };
    let shown = machine.smore(&["devices"]).assert().success();
    shown.stdout(
        predicate::str::contains("cuda:0")
            .and(predicate::str::contains("Emulated GPU"))
            .and(predicate::str::contains("9.0"))
            .and(predicate::str::contains("nvrtc: 13.0"))
            .and(predicate::str::contains("cublas: 13.0")),
    );
    let document = report(&machine.smore(&["devices", "--json"]).assert().success().get_output().stdout);
    assert_eq!(document["devices"][1]["compute_capability"], "9.0");
}

#[test]
fn a_missing_cublas_is_reported_and_training_goes_on() {
    let Some(machine) = Machine::new() else { return };
    let machine = machine.with_libraries(1);
    let missing = predicate::str::contains("pip install nvidia-cublas");
    machine.smore(&["devices"]).assert().success().stdout(missing.clone());
    let steps = ["bench", "steps", "umls", "--dim", "4", "--steps", "2", "--device", "cuda"];
    let warning = predicate::str::contains("warning: matrix products use a kernel of smore's own");
    machine.smore(&steps).assert().success().stderr(warning.and(missing));
    let mut unwanted = machine.smore(&steps);
    unwanted.env("SMORE_CUDA_NO_CUBLAS", "1").assert().success().stderr(predicate::str::contains("is set"));
}

#[test]
fn steps_are_as_many_as_asked_for_and_tables_are_in_memory() {
    let Some(machine) = Machine::new() else { return };
    let steps = |set: &[&str], expected: usize| {
        let arguments =
            ["bench", "steps", "umls", "--dim", "4", "--batch-size", "8", "--device", "cpu", "--json"];
        let mut steps = machine.smore(&arguments);
        let document = report(&steps.args(set).assert().success().get_output().stdout);
        assert_eq!(document["losses"].as_array().unwrap().len(), expected, "{set:?}");
    };
    steps(&[], 20);
    steps(&["--set", "training.steps=3"], 3);
    steps(&["--steps", "2"], 2);
    let mut file = machine.smore(&["bench", "steps", "umls", "--table", "file", "--device", "cpu"]);
    file.assert().failure().stderr(predicate::str::contains("leave out --table file"));
}

#[test]
fn memory_of_exact_sizes_that_ends_when_it_is_given_back_changes_no_bit() {
    let Some(machine) = Machine::new() else { return };
    for order in ["early", "late"] {
        let mut exact = machine.smore(&STEPS);
        exact.env("SMORE_CUDA_EXACT_MEMORY", "1").env("FAKE_CUDA", order);
        let exact = report(&exact.assert().success().get_output().stdout);
        assert_eq!(exact["weights_checksum"].as_str().unwrap(), weights(&machine, &[]));
    }
}

/// Some steps with a network.
const STEPS: [&str; 16] = [
    "bench",
    "steps",
    "umls",
    "--dim",
    "8",
    "--json",
    "--structures",
    "2i",
    "--steps",
    "4",
    "--batch-size",
    "8",
    "--negatives",
    "8",
    "--device",
    "cuda",
];

/// Checksum of the tables after them.
fn weights(machine: &Machine, more: &[&str]) -> String {
    let mut steps = machine.smore(&STEPS);
    report(&steps.args(more).assert().success().get_output().stdout)["weights_checksum"]
        .as_str()
        .unwrap()
        .to_string()
}

#[test]
fn the_precision_of_matrix_products_reaches_the_gpu() {
    let Some(machine) = Machine::new() else { return };
    let fp32 = weights(&machine, &[]);
    let tf32 = weights(&machine, &["--math", "tf32"]);
    assert_ne!(fp32, tf32);
    assert_eq!(tf32, weights(&machine, &["--set", "training.math=tf32"]));
    assert_eq!(fp32, weights(&machine, &["--math", "fp32"]));
    let cpu = ["bench", "steps", "umls", "--dim", "4", "--steps", "1", "--device", "cpu", "--math", "tf32"];
    let note = predicate::str::contains("training.math is for GPUs");
    machine.smore(&cpu).assert().success().stderr(note);
}

#[test]
fn a_run_keeps_its_precision_when_it_is_resumed() {
    let Some(machine) = Machine::new() else { return };
    let mut arguments = train("cuda", "gqe", "run");
    arguments.extend(["--math", "tf32"]);
    machine.smore(&arguments).assert().success();
    let config = std::fs::read_to_string(machine.path("run").join("config.toml")).unwrap();
    assert!(config.contains("math = \"tf32\""), "{config}");
    let resume = ["train", "--resume", "run", "--steps", "44", "--device", "cuda"];
    machine.smore(&resume).assert().success().stderr(predicate::str::contains("TF32"));
    let mut other = machine.smore(&resume);
    other
        .args(["--math", "fp32"])
        .assert()
        .failure()
        .stderr(predicate::str::contains("--resume goes on with"));
}

#[test]
fn libraries_are_found_in_the_packages_of_the_python_on_the_path() {
    let Some(machine) = Machine::new() else { return };
    let compiler = machine.libraries[1].join("libnvrtc.so.13");
    let machine = machine.with_libraries(0);
    let missing = || predicate::str::contains("libnvrtc.so for CUDA 13 was not found");
    machine.smore(&["devices"]).assert().success().stdout(missing());
    for packages in ["venv/lib/python3.11/site-packages/nvidia/cuda_nvrtc", "other/nvidia/cu13"] {
        let folder = machine.path(packages).join("lib");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::copy(&compiler, folder.join("libnvrtc.so.13")).unwrap();
        let parent = machine.path(packages).join("../..").canonicalize().unwrap();
        machine.install_python(&format!("echo; echo /nowhere; echo '{}'", parent.display()));
        let shown = machine.smore(&["devices"]).assert().success();
        shown.stdout(predicate::str::contains("nvrtc: 13.0"));
    }
    // One that fails, and one that waits for something, are done without.
    for script in ["exit 3", "exec /bin/sleep 60"] {
        machine.install_python(script);
        let begin = std::time::Instant::now();
        machine.smore(&["devices"]).assert().success().stdout(missing());
        assert!(begin.elapsed().as_secs() < 30, "{script}");
    }
}

#[test]
fn kernels_are_compiled_once() {
    let Some(machine) = Machine::new() else { return };
    let log = machine.path("compilations");
    let run = || machine.smore(&["bench", "eval", "umls", "--device", "cuda", "--dim", "4", "--json"]);
    let timing = ["--seconds", "0", "--warm-up", "0", "--runs", "1", "--set", "evaluation.queries=5"];
    let compilations = || std::fs::read_to_string(&log).unwrap().lines().count();
    run().args(timing).env("FAKE_NVRTC_LOG", &log).assert().success();
    run().args(timing).env("FAKE_NVRTC_LOG", &log).assert().success();
    assert_eq!(compilations(), 1);
    assert!(std::fs::read_to_string(&log).unwrap().contains("sm_90"));
    // A GPU that is newer than the compiler.
    run().args(timing).env("FAKE_NVRTC_LOG", &log).env("FAKE_CUDA_CAPABILITY", "121").assert().success();
    assert!(std::fs::read_to_string(&log).unwrap().contains("compute_90"));
}

/// Runs on `cuda`, which fails with this message, and on `auto`, which uses the CPU; the plan of a run tells why.
fn check_unfit(machine: &Machine, variables: &[(&str, &str)], message: &str) {
    let arguments =
        |device| ["bench", "eval", "umls", "--dim", "4", "--seconds", "0", "--runs", "1", "--device", device];
    let set = ["--warm-up", "0", "--set", "evaluation.queries=5"];
    let run = |arguments: &[&str]| {
        let mut command = machine.smore(arguments);
        variables.iter().for_each(|(name, value)| {
            command.env(name, value);
        });
        let set = if arguments[0] == "bench" { &set[..] } else { &set[2..] };
        command.args(set).assert()
    };
    run(&arguments("cuda")).failure().code(1).stderr(predicate::str::contains(message));
    run(&arguments("auto")).success().stderr(predicate::str::contains("GPU").not());
    let train = ["train", "umls", "--dim", "4", "--steps", "1", "--set", "evaluation.valid_queries=5"];
    let printed = String::from_utf8(run(&train).success().get_output().stderr.clone()).unwrap();
    let plan = printed.lines().find(|line| line.starts_with("device ")).unwrap();
    assert!(plan.contains("; no GPU is used: ") && plan.contains(message), "{plan}");
}

#[test]
fn what_keeps_a_gpu_from_use_is_reported_and_auto_falls_back_to_the_cpu() {
    let Some(machine) = Machine::new() else { return };
    let old = "the NVIDIA driver is too old: it runs CUDA 11.4";
    check_unfit(&machine, &[("FAKE_CUDA_VERSION", "11040")], old);
    check_unfit(&machine, &[("FAKE_CUDA_DEVICES", "-1")], "no CUDA-capable device is detected");
    check_unfit(&machine, &[("FAKE_CUDA_DEVICES", "0")], "finds no GPU");
    check_unfit(&machine, &[("FAKE_CUDA_CAPABILITY", "61")], "compute capability 6.1");
    check_unfit(&machine, &[("FAKE_CUDA_VERSION", "12040")], "pip install nvidia-cuda-nvrtc-cu12");
    // The workspace of matrix products is 32 MiB.
    check_unfit(
        &machine,
        &[("FAKE_CUDA_MEMORY", "1000000")],
        "out of memory on Emulated GPU: 0.03 GiB are needed",
    );
    let machine = machine.with_libraries(0);
    check_unfit(&machine, &[], "pip install nvidia-cuda-nvrtc");
    let machine = Machine { libraries: vec![Path::new("/nowhere").into()], ..machine };
    check_unfit(&machine, &[], "no NVIDIA driver was found");
}

#[test]
fn a_number_beyond_the_last_gpu_is_refused() {
    let Some(machine) = Machine::new() else { return };
    machine
        .smore(&train("cuda:3", "gqe", "run"))
        .assert()
        .failure()
        .stderr(predicate::str::contains("the one GPU is cuda:0"));
    let mut two = machine.smore(&train("cuda:3", "gqe", "run"));
    two.env("FAKE_CUDA_DEVICES", "2").assert().failure().stderr(predicate::str::contains("cuda:0 to cuda:1"));
    assert!(!machine.path("run").exists());
}

#[test]
fn a_run_that_does_not_fit_the_gpu_is_refused_and_leaves_no_run() {
    let Some(machine) = Machine::new() else { return };
    let run = |memory: usize| {
        let mut run = machine.smore(&train("cuda", "query2box", "run"));
        run.args(["--set", "model.dim=1000"]).env("FAKE_CUDA_MEMORY", (memory << 20).to_string());
        let message = String::from_utf8(run.assert().failure().get_output().stderr.clone()).unwrap();
        assert!(!machine.path("run").exists());
        message
    };
    // By the plan, before anything is allocated.
    let message = run(40);
    assert!(message.contains("of the GPU's memory and it has 41.94 MB"), "{message}");
    // By the driver: the plan does not count the workspace of matrix products.
    let needed = |message: &str| {
        message.split("this run needs ").nth(1).unwrap().split(' ').next().unwrap().to_string()
    };
    let megabytes: f64 = needed(&message).parse().unwrap();
    let needed = megabytes / 1.048_576;
    let message = run(needed.ceil() as usize + 8);
    assert!(message.contains("out of memory on Emulated GPU"), "{message}");
    // With that, and what size classes of memory round up, it is enough.
    let mut steps = machine.smore(&["bench", "steps", "umls", "--model", "query2box", "--steps", "1"]);
    steps.args(SMALL.split_whitespace().flat_map(|option| ["--set", option]));
    let memory = (1.125 * needed).ceil() as usize + 33;
    steps.args(["--dim", "1000", "--device", "cuda"]).env("FAKE_CUDA_MEMORY", (memory << 20).to_string());
    steps.assert().success();
}

#[test]
fn every_kernel_is_timed_against_its_floor() {
    let Some(machine) = Machine::new() else { return };
    let small = ["--queries", "8", "--negatives", "16", "--dim", "16", "--table", "0.0001"];
    let mut bench = machine.program(&common::kernel_benchmarks());
    bench.args(small).args(["--seconds", "0.001", "--samples", "10", "--device", "cuda", "--json"]);
    bench.arg(machine.path("kernels.json")).assert().success();
    let document: Value =
        serde_json::from_slice(&std::fs::read(machine.path("kernels.json")).unwrap()).unwrap();
    let kernels = document["kernels"].as_array().unwrap();
    for kernel in kernels {
        let share = kernel["share_of_roofline"].as_f64().unwrap();
        assert!(share > 0.0 && kernel["seconds"].as_f64().unwrap() > 0.0, "{kernel}");
    }
    assert_eq!(
        kernels.iter().filter(|k| k["kernel"].as_str().unwrap().starts_with("scores backward")).count(),
        7
    );
    let moved = machine.smore(&["bench", "kernels", "--dim", "16"]).assert().failure().get_output().clone();
    let message = String::from_utf8_lossy(&moved.stderr).into_owned();
    assert!(message.contains("cargo bench --bench kernels -- --dim 16"), "{message}");
}
