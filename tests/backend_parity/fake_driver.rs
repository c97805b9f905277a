//! The code for NVIDIA's driver, with a driver that stands in for it: the tests of the module `cuda`, several at a time on
//! one device. Work that is not ordered by streams and events is done in the wrong order (see
//! `tests/fake_cuda/driver.cpp`).

use crate::common::emulator;
use std::process::Command;

fn check(order: &str) {
    let Some(libraries) = emulator::fake_driver() else { return };
    let mut tests = Command::new(std::env::current_exe().unwrap());
    tests.args(["cuda::", "--test-threads", "4"]).env("FAKE_CUDA", order).env("SMORE_TEST_SIZES", "small");
    tests.env_remove("SMORE_CUDA_LIBS");
    let output = tests.env("LD_LIBRARY_PATH", std::env::join_paths(libraries).unwrap()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!told.contains("skipped"), "{told}");
}

#[test]
fn operations_agree_where_copies_run_as_early_as_they_may() {
    check("early");
}

#[test]
fn operations_agree_where_copies_run_as_late_as_they_may() {
    check("late");
}
