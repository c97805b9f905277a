//! In place of the emulator of CUDA kernels, which switches stacks in the way of Linux on x86-64.

use smore::engine::backend::Cuda;
use std::path::PathBuf;

const WHY: &str = "the emulator of CUDA kernels runs on Linux on x86-64 only";

pub fn cuda() -> Option<Cuda> {
    super::skip(super::Missing::Tool, WHY);
    None
}

pub fn fake_driver() -> Option<[PathBuf; 3]> {
    super::skip(super::Missing::Tool, WHY);
    None
}
