//! The kernels compile for every generation of GPUs, without a GPU: where NVRTC is found (see `smore devices`).
#![cfg(unix)]

mod common;

use smore::backend::cuda::nvidia::compile::{Compiler, Target};
use smore::backend::cuda::source;

/// The newest CUDA whose compiler is taken: no driver limits it here.
const NEWEST: u32 = 20;

fn compiler() -> Option<Compiler> {
    match Compiler::find(NEWEST) {
        Ok(compiler) => Some(compiler),
        Err(why) => {
            common::skip(why);
            None
        }
    }
}

#[test]
fn the_kernels_compile_for_every_generation_of_gpus() {
    let Some(compiler) = compiler() else { return };
    for capability in [75, 80, 86, 89, 90, 100, 120] {
        // NVRTC 12.0 does not know the newest ones.
        let target = compiler.target(capability).unwrap();
        let program = compiler.compile(&source::root(), source::FILES, target).unwrap();
        assert!(program.len() > 10_000, "{target:?}: {} bytes", program.len());
    }
    let ptx = compiler.compile(&source::root(), source::FILES, Target::Ptx(75)).unwrap();
    assert!(ptx.ends_with(b"\0"), "PTX is a C string");
}

#[test]
fn an_error_in_a_kernel_is_told_with_file_and_line() {
    let Some(compiler) = compiler() else { return };
    let files = [("one.cu", "\n\nthis is no kernel;\n")];
    let error =
        compiler.compile("#include \"one.cu\"\n", &files, Target::Machine(80)).unwrap_err().to_string();
    assert!(error.contains("one.cu(3)") && error.contains("sm_80"), "{error}");
}

#[test]
fn compiled_kernels_are_cached_and_a_damaged_entry_is_made_anew() {
    let Some(compiler) = compiler() else { return };
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("kernels");
    let program = compiler.program(Target::Machine(80), &cache).unwrap();
    let files = || std::fs::read_dir(&cache).unwrap().map(|f| f.unwrap().path()).collect::<Vec<_>>();
    let [path] = &files()[..] else { panic!("one entry: {:?}", files()) };
    let whole = std::fs::read(path).unwrap();
    std::fs::write(path, &whole[..whole.len() / 2]).unwrap();
    assert!(compiler.program(Target::Machine(80), &cache).unwrap() == program);
    assert!(std::fs::read(path).unwrap() == whole, "the entry is whole again");
    compiler.program(Target::Machine(90), &cache).unwrap();
    assert_eq!(files().len(), 2, "one entry per architecture");
    // A cache that cannot be written is done without.
    assert!(compiler.program(Target::Machine(80), "/proc/no-such-folder".as_ref()).unwrap() == program);
}
