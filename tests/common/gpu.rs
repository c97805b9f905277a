//! The GPU of this machine, where there is one.

use smore::backend::{Cuda, Math};
use std::path::Path;
use std::sync::OnceLock;

/// The first GPU, or `None` with a printed reason. All tests of a process share it.
pub fn cuda() -> Option<Cuda> {
    static GPU: OnceLock<Option<Cuda>> = OnceLock::new();
    let open = || match Cuda::open(0, Math::Fp32, &Path::new(env!("CARGO_TARGET_TMPDIR")).join("kernels")) {
        Ok(cuda) => Some(cuda),
        Err(why) => {
            super::skip(format_args!("tests on a GPU: {why}"));
            None
        }
    };
    GPU.get_or_init(open).clone()
}
