//! The kernels compile for every generation of GPUs, without a GPU: where NVRTC is found (see `smore devices`).

#![cfg(feature = "cuda")]
#![cfg(unix)]

mod common;

use smore::engine::backend::cuda::nvidia::compile::{Compiler, Target};
use smore::engine::backend::cuda::source;

/// The newest CUDA whose compiler is taken: no driver limits it here.
const NEWEST: u32 = 20;

/// Lets the assembler print what each kernel takes of a multiprocessor.
const VERBOSE: &str = "--ptxas-options=-v";

fn compiler() -> Option<Compiler> {
    match Compiler::find(NEWEST) {
        Ok(compiler) => Some(compiler),
        Err(why) => {
            common::skip(common::Missing::Compiler, why);
            None
        }
    }
}

/// What a thread of a kernel takes: registers, and bytes of local memory, which is as slow as global memory.
#[derive(Debug)]
struct Resources {
    kernel: String,
    registers: u32,
    /// Local memory of any kind.
    stack: u32,
    /// Bytes of registers that are stored to it, and loaded again, because there are too few.
    spills: [u32; 2],
}

/// What the log of a compilation says of each kernel.
fn resources(log: &str) -> Vec<Resources> {
    let begin = "Compiling entry function '";
    let number_before = |text: &str, what: &str| -> u32 {
        let end = text.find(what).unwrap_or_else(|| panic!("no {what:?} in {text:?}"));
        text[..end].split_ascii_whitespace().next_back().unwrap().parse().unwrap()
    };
    let of = |text: &str| Resources {
        kernel: text.split('\'').next().unwrap().into(),
        registers: number_before(text, " registers"),
        stack: number_before(text, " bytes stack frame"),
        spills: [" bytes spill stores", " bytes spill loads"].map(|what| number_before(text, what)),
    };
    log.split(begin).skip(1).map(of).collect()
}

/// Kernels that may have local memory, with the most bytes of it and why.
const STACKS: [(&str, u32, &str); 1] = [(
    "project_rotate",
    32,
    "sincosf reduces angles above 105,615 by a table in local memory; phases never get there",
)];

/// A line for each kernel whose registers do not suffice, or that has local memory without a reason.
fn complaints(all: &[Resources]) -> Vec<String> {
    let mut lines = Vec::new();
    for kernel in all {
        let known = STACKS.iter().find(|(name, ..)| kernel.kernel.starts_with(name));
        if kernel.spills != [0, 0] || kernel.stack > known.map_or(0, |known| known.1) {
            lines.push(format!("{kernel:?}"));
        }
    }
    lines
}

#[test]
fn the_kernels_compile_for_every_generation_of_gpus_and_spill_no_register() {
    let Some(compiler) = compiler() else { return };
    let names: Vec<&str> =
        source::FILES.iter().flat_map(|(_, text)| text.split("\nKERNEL(").skip(1)).collect();
    for capability in [75, 80, 86, 89, 90, 100, 120] {
        // NVRTC 12.0 does not know the newest ones.
        let target = compiler.target(capability).unwrap();
        let compiled = compiler.compile(&source::root(), source::FILES, target, &[VERBOSE]).unwrap();
        assert!(compiled.program.len() > 10_000, "{target:?}: {} bytes", compiled.program.len());
        if let Target::Machine(_) = target {
            let all = resources(&compiled.log);
            // Macros make more kernels than stand in the files.
            assert!(all.len() > names.len(), "{} of more than {} kernels", all.len(), names.len());
            let greatest = all.iter().max_by_key(|kernel| kernel.registers).expect("there are kernels");
            println!("{target:?}: {} kernels, most registers: {greatest:?}", all.len());
            assert_eq!(complaints(&all), [""; 0], "{target:?}");
        }
    }
    let ptx = compiler.compile(&source::root(), source::FILES, Target::Ptx(75), &[]).unwrap().program;
    assert!(ptx.ends_with(b"\0"), "PTX is a C string");
}

#[test]
fn a_kernel_that_spills_is_found() {
    let Some(compiler) = compiler() else { return };
    let target = Target::Machine(80);
    let kernel = |name: &str, threads: u32| {
        format!(
            "extern \"C\" __global__ void __launch_bounds__({threads}, 1) {name}(float* x) {{
                 float all[128];
                 #pragma unroll
                 for (int i = 0; i < 128; i++) all[i] = x[i * 1024 + threadIdx.x];
                 __syncthreads();
                 #pragma unroll
                 for (int i = 0; i < 128; i++) x[i * 1024 + threadIdx.x] = all[i] * all[(i + 77) % 128];
             }}\n"
        )
    };
    // 1,024 threads have 64 registers each.
    let root = kernel("roomy", 128) + &kernel("crowded", 1024);
    let all = resources(&compiler.compile(&root, &[], target, &[VERBOSE]).unwrap().log);
    let (roomy, crowded): (Vec<_>, Vec<_>) = all.into_iter().partition(|kernel| kernel.kernel == "roomy");
    assert!(roomy[0].registers > 64 && crowded[0].registers == 64, "{roomy:?}, {crowded:?}");
    assert_eq!(complaints(&roomy), [""; 0]);
    let [complaint] = &complaints(&crowded)[..] else { panic!("a complaint about {crowded:?}") };
    assert!(complaint.contains("crowded"), "{complaint}");
}

#[test]
fn an_error_in_a_kernel_is_reported_with_file_and_line() {
    let Some(compiler) = compiler() else { return };
    let files = [("one.cu", "\n\nthis is no kernel;\n")];
    let error =
        compiler.compile("#include \"one.cu\"\n", &files, Target::Machine(80), &[]).unwrap_err().to_string();
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
