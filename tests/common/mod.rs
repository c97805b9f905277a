//! What the integration tests share.
//!
//! A test that lacks something (a GPU, a compiler, public data) is skipped: it passes, the first says why, and at the
//! end of its binary the skipped ones are counted. With `CI` set it fails where a compiler or public data are missing, with
//! `SMORE_REQUIRE_GPU` set where anything is, so that a run which is to test a GPU cannot pass without one. (Set is anything but
//! nothing and 0.)
#![allow(dead_code, reason = "each test binary uses a part")]

pub mod cases;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod emulator;
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
#[path = "no_emulator.rs"]
pub mod emulator;
pub mod gpu;
pub mod queries;

use assert_cmd::Command;
use smore::engine::backend::{Backend, Number, Parameters};
use smore::engine::dataset::OpenOptions;
use smore::engine::model::Weights;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// A test of each backend that trains, by a function of it.
#[allow(unused_macros, reason = "each test binary uses a part")]
macro_rules! on_every_backend {
    ($check:ident) => {
        #[test]
        fn the_cpu_trains_like_the_reference() {
            $check(&Cpu);
        }

        #[test]
        fn the_gpu_trains_like_the_reference() {
            if let Some(cuda) = common::gpu::cuda() {
                $check(&cuda);
            }
        }

        #[test]
        fn the_emulated_cuda_kernels_train_like_the_reference() {
            if let Some(cuda) = common::emulator::cuda() {
                $check(&cuda);
            }
        }
    };
}

/// A temporary folder with a dataset's folder and a cache in it.
pub struct Folder(tempfile::TempDir);

impl Folder {
    /// The dataset's folder holds these files.
    pub fn with(files: &[(&str, &str)]) -> Self {
        let folder = Folder(tempfile::tempdir().unwrap());
        std::fs::create_dir(folder.data()).unwrap();
        for (name, text) in files {
            let path = folder.data().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    /// An empty one in memory where the system has that: a run syncs many small files.
    pub fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        Folder(folder.unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    pub fn cache(&self) -> PathBuf {
        self.0.path().join("cache")
    }

    pub fn options(&self) -> OpenOptions {
        OpenOptions { cache_dir: Some(self.cache()), ..OpenOptions::default() }
    }
}

/// `smore` with the folder's cache and nothing of the caller's environment.
pub fn smore(folder: &Folder) -> Command {
    let mut command = Command::cargo_bin("smore").unwrap();
    command.env_remove("SMORE_DATA").env("SMORE_CACHE", folder.cache()).current_dir(folder.path());
    command
}

/// What a command prints with `--json`.
pub fn json(command: &mut Command) -> serde_json::Value {
    let output = command.arg("--json").assert().success().get_output().clone();
    serde_json::from_slice(&output.stdout).expect("one JSON document and nothing else")
}

/// The folder of public datasets: `SMORE_DATA`, else `shared/data` beside the package. Without one the
/// caller's test is skipped, which is printed.
pub fn public_data() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let folder = std::env::var_os("SMORE_DATA").map_or(beside, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    skip(Missing::Data, format_args!("no public data in {} (set SMORE_DATA)", folder.display()));
    None
}

/// The variable with which nothing may be skipped.
pub const REQUIRE_GPU: &str = "SMORE_REQUIRE_GPU";

/// What a test lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    Gpu,
    /// Of C++, or of CUDA.
    Compiler,
    /// The folder of public datasets.
    Data,
    /// A program, a right or a system.
    Tool,
}

/// The thing in the summary.
const NEEDS: [(Missing, &str); 4] = [
    (Missing::Gpu, "a GPU"),
    (Missing::Compiler, "a compiler"),
    (Missing::Data, "public data"),
    (Missing::Tool, "a tool or another system"),
];

/// Tests that were skipped by what they lack.
static SKIPPED: Mutex<Vec<Missing>> = Mutex::new(Vec::new());

/// Counts a skipped test, and says of the first for each reason why, also where the test runner keeps what tests print to itself.
/// Fails where it may not be skipped.
#[track_caller]
pub fn skip(missing: Missing, why: impl std::fmt::Display) {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
    if set(REQUIRE_GPU) {
        panic!("not skipped, because {REQUIRE_GPU} is set: {why}");
    }
    if set("CI") && matches!(missing, Missing::Compiler | Missing::Data) {
        panic!("not skipped, because CI is set: {why}");
    }
    let mut skipped = SKIPPED.lock().unwrap();
    if !skipped.contains(&missing) {
        let thread = std::thread::current();
        let _ = writeln!(std::io::stderr(), "skipped: {}: {why}", thread.name().unwrap_or("test"));
    }
    skipped.push(missing);
    #[cfg(unix)]
    if skipped.len() == 1 {
        extern "C" fn summary() {
            let Ok(skipped) = SKIPPED.lock() else { return };
            for (missing, what) in NEEDS {
                let count = skipped.iter().filter(|kind| **kind == missing).count();
                if count > 0 {
                    let _ = writeln!(std::io::stderr(), "skipped {count} for lack of {what}");
                }
            }
        }
        // SAFETY: the function is one of this process, takes and returns nothing, and does not unwind: nothing in it panics.
        unsafe { libc::atexit(summary) };
    }
}

/// The bits of all tables.
pub fn table_bits<B: Backend>(backend: &B, weights: &Weights<B>) -> Vec<Vec<u64>> {
    let bits = |table: &Parameters<B>| {
        let mut values = vec![B::Scalar::default(); table.rows * table.cols];
        backend.download(&table.values, 0, &mut values).unwrap();
        values.into_iter().map(|x| B::Scalar::value(x).to_bits()).collect()
    };
    [&weights.entities, &weights.relations].into_iter().chain(&weights.dense).map(bits).collect()
}

/// A short run. Rows of 7 or 14 numbers: neither vectors nor pages hold a whole number of them.
pub fn short_run(model: &str, table: &str) -> smore::engine::config::Config {
    let set = [
        &format!("model.name={model}"),
        &format!("training.table={table}"),
        "model.dim=7",
        "training.batch_size=16",
        "training.steps=14",
        "training.valid_every=3",
        "training.learning_rate=0.05",
        "sampling.negatives=16",
        "evaluation.queries=10",
        "evaluation.valid_queries=5",
    ];
    smore::engine::config::Config::load(None, &set.map(String::from)).unwrap()
}

/// The benchmarks of kernels (`benches/kernels`), built as the tests are.
pub fn kernel_benchmarks() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("in the target folder");
    let mut cargo = std::process::Command::new(env!("CARGO"));
    cargo.args(["build", "--locked", "--bench", "kernels", "--message-format", "json", "--target-dir"]);
    let output = cargo.arg(target).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let messages = output.stdout.split(|byte| *byte == b'\n');
    let artifacts = messages.filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok());
    // The program is built, too.
    let of_kernels = artifacts.filter(|artifact| artifact["target"]["name"] == "kernels");
    let mut executables =
        of_kernels.filter_map(|artifact| artifact["executable"].as_str().map(PathBuf::from));
    executables.next().expect("cargo names the benchmark that it has built")
}
