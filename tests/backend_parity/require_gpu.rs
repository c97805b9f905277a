//! A run that is to test a GPU does not pass without one: see `tests/common/mod.rs`.
#![cfg(unix)]

use crate::common::{REQUIRE_GPU, gpu};
use std::process::{Command, Output};

/// Runs a test that needs a GPU, by itself.
fn run(required: &str) -> Output {
    let mut test = Command::new(std::env::current_exe().unwrap());
    test.args(["--exact", "cuda::add_accumulates"]).env(REQUIRE_GPU, required);
    test.env("LD_LIBRARY_PATH", "").env_remove("SMORE_CUDA_LIBS").output().unwrap()
}

#[test]
fn without_a_gpu_its_tests_pass_only_where_none_is_required() {
    if gpu::exists() {
        return eprintln!("there is a GPU: what happens without one is not tested");
    }
    for free in ["", "0"] {
        let output = run(free);
        assert!(output.status.success(), "{REQUIRE_GPU}={free:?}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
    }
    let output = run("1");
    let message = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && message.contains("1 failed"), "{message}");
    assert!(message.contains(REQUIRE_GPU) && message.contains("no NVIDIA driver was found"), "{message}");
}
