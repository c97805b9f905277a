//! The GPU of this machine, where there is one.

use smore::engine::backend::{Cuda, Math};
use std::path::PathBuf;
use std::sync::OnceLock;

/// The first GPU, or `None` with a printed reason. All tests of a process share it.
pub fn cuda() -> Option<Cuda> {
    static GPU: OnceLock<Result<Cuda, String>> = OnceLock::new();
    let open = || Cuda::open(0, Math::Fp32, &kernels()).map_err(|why| why.to_string());
    match GPU.get_or_init(open) {
        Ok(cuda) => Some(cuda.clone()),
        Err(why) => {
            super::skip(super::Missing::Gpu, format_args!("tests on a GPU: {why}"));
            None
        }
    }
}

/// The folder of compiled kernels: the program's, where a machine that did not build the tests runs them.
fn kernels() -> PathBuf {
    let cache = std::env::var_os("SMORE_CACHE").filter(|path| !path.is_empty()).map(PathBuf::from);
    cache.unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into()).join("kernels")
}

/// Whether this machine has a GPU that can be asked for, fit or not.
#[cfg(all(unix, feature = "cuda"))]
pub fn exists() -> bool {
    smore::engine::backend::cuda::nvidia::probe::driver().is_ok()
}

/// A build without GPUs cannot ask for one.
#[cfg(not(all(unix, feature = "cuda")))]
pub fn exists() -> bool {
    false
}

/// Sizes of a test: the first on a GPU, the second on a driver that runs the kernels on the CPU, which sets
/// `SMORE_TEST_SIZES=small`.
pub fn sizes<T>(large: T, small: T) -> T {
    if std::env::var_os("SMORE_TEST_SIZES").is_some_and(|value| value == "small") { small } else { large }
}

/// Runs the tests of this binary whose names contain `filter` on a driver that is not real, with the work of streams as
/// early or as late as events allow (see `tests/fake_cuda/driver.cpp`).
pub fn tests_on_fake_driver(filter: &str, order: &str) {
    let Some(libraries) = super::emulator::fake_driver() else { return };
    let mut tests = std::process::Command::new(std::env::current_exe().unwrap());
    tests.args([filter, "--test-threads", "4"]).env("FAKE_CUDA", order).env("SMORE_TEST_SIZES", "small");
    tests.env_remove("SMORE_CUDA_LIBS").env("SMORE_REQUIRE_GPU", "1");
    let output = tests.env("LD_LIBRARY_PATH", std::env::join_paths(libraries).unwrap()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("test result: ok.") && !text.contains(" 0 passed"), "no test ran:\n{text}");
}
