//! Kernels to machine code: NVRTC, and a cache of what it made.

use super::library::{NVRTC, functions};
use crate::backend::cuda::source;
use crate::error::{Error, Result};
use crate::storage::{atomic, checksum};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;

type Program = *mut c_void;
type Strings = *const *const c_char;

functions! {
    /// What is used of NVRTC (nvrtc.h).
    Nvrtc {
        nvrtcVersion: fn(*mut c_int, *mut c_int);
        nvrtcGetNumSupportedArchs: fn(*mut c_int);
        nvrtcGetSupportedArchs: fn(*mut c_int);
        nvrtcCreateProgram: fn(*mut Program, *const c_char, *const c_char, c_int, Strings, Strings);
        nvrtcCompileProgram: fn(Program, c_int, Strings);
        nvrtcGetProgramLogSize: fn(Program, *mut usize);
        nvrtcGetProgramLog: fn(Program, *mut c_char);
        nvrtcGetCUBINSize: fn(Program, *mut usize);
        nvrtcGetCUBIN: fn(Program, *mut c_char);
        nvrtcGetPTXSize: fn(Program, *mut usize);
        nvrtcGetPTX: fn(Program, *mut c_char);
        nvrtcDestroyProgram: fn(*mut Program);
    }
}

/// First bytes of a cached program; the checksum of the rest follows.
const MAGIC: &[u8; 8] = b"smoregpu";

/// Options besides the architecture. Lambdas belong to the device. No fast math: results are held to float64.
const OPTIONS: [&str; 3] = ["--std=c++17", "-lineinfo", "--device-as-default-execution-space"];

/// The run-time compiler.
pub struct Compiler {
    nvrtc: Nvrtc,
    /// Its version.
    pub version: (i32, i32),
    /// Compute capabilities that it knows: 90 is 9.0.
    architectures: Vec<i32>,
}

impl Compiler {
    /// Looks for one of CUDA `major` or older. Errors say how to get it.
    pub fn find(major: u32) -> Result<Self> {
        let missing = |why: String| Error::Device(format!("no compiler for the kernels: {why}"));
        let library = NVRTC.open(major).map_err(missing)?;
        // SAFETY: the parameters are those of nvrtc.h, which has not changed them since CUDA 11.
        let nvrtc = unsafe { Nvrtc::bind(library) }.map_err(missing)?;
        let mut version = (0, 0);
        let mut count = 0;
        // SAFETY: all pointers are to live locals of the sizes asked for.
        let architectures = unsafe {
            check((nvrtc.nvrtcVersion)(&mut version.0, &mut version.1), "nvrtcVersion")?;
            check((nvrtc.nvrtcGetNumSupportedArchs)(&mut count), "nvrtcGetNumSupportedArchs")?;
            let mut all = vec![0; count.max(0) as usize];
            check((nvrtc.nvrtcGetSupportedArchs)(all.as_mut_ptr()), "nvrtcGetSupportedArchs")?;
            all
        };
        Ok(Compiler { nvrtc, version, architectures })
    }

    /// What to compile for on a GPU of this compute capability: machine code, or for a GPU that is newer than the
    /// compiler PTX, which the driver translates.
    pub fn target(&self, capability: i32) -> Result<Target> {
        let (major, minor) = self.version;
        target(&self.architectures, capability).ok_or_else(|| {
            let (gpu, revision) = (capability / 10, capability % 10);
            let what = "does not compile for GPUs of compute capability";
            Error::Device(format!("libnvrtc {major}.{minor} {what} {gpu}.{revision}: use --device cpu"))
        })
    }

    /// The kernels for a target: from the cache where it has them whole, else compiled and cached.
    pub fn program(&self, target: Target, cache: &Path) -> Result<Vec<u8>> {
        let mut key = format!("{target:?} {:?} {OPTIONS:?} {}", self.version, env!("CARGO_PKG_VERSION"));
        source::FILES.iter().for_each(|(name, text)| key += &format!("\n{name}\n{text}"));
        let path = cache.join(format!("kernels-{:016x}.bin", checksum::section(key.as_bytes())));
        if let Some(program) = std::fs::read(&path).ok().and_then(|file| unseal(&file)) {
            return Ok(program);
        }
        // On all cores; older compilers have no use for the option, some complain of it.
        let threads: &[&str] = if self.version >= (13, 0) { &["--split-compile=0"] } else { &[] };
        let program = self.compile(&source::root(), source::FILES, target, threads)?.program;
        // A cache that cannot be written costs some seconds at the next start, no more.
        let _ = std::fs::create_dir_all(cache).map(|()| atomic::write_bytes(&path, &seal(&program)));
        Ok(program)
    }

    /// Compiles `root` with `files` to include, by these options more. Errors carry the compiler's log.
    pub fn compile(
        &self,
        root: &str,
        files: &[(&str, &str)],
        target: Target,
        more: &[&str],
    ) -> Result<Compiled> {
        let (root, name) = (c_string(root), c_string("kernels.cu"));
        let texts: Vec<CString> = files.iter().map(|(_, text)| c_string(text)).collect();
        let names: Vec<CString> = files.iter().map(|(name, _)| c_string(name)).collect();
        let architecture = match target {
            Target::Machine(capability) => format!("--gpu-architecture=sm_{capability}"),
            Target::Ptx(capability) => format!("--gpu-architecture=compute_{capability}"),
        };
        let options: Vec<CString> =
            OPTIONS.iter().chain(more).copied().chain([&*architecture]).map(c_string).collect();
        let pointers =
            |strings: &[CString]| strings.iter().map(|s| s.as_ptr()).collect::<Vec<*const c_char>>();
        let (texts, names, options_of) = (pointers(&texts), pointers(&names), pointers(&options));
        let mut program = std::ptr::null_mut();
        // SAFETY: the strings and arrays outlive the calls, the counts are theirs, and every output is asked for
        // its size first. The program is destroyed on every way out after it was made.
        unsafe {
            let count = files.len() as i32;
            let made = (self.nvrtc.nvrtcCreateProgram)(
                &mut program,
                root.as_ptr(),
                name.as_ptr(),
                count,
                texts.as_ptr(),
                names.as_ptr(),
            );
            check(made, "nvrtcCreateProgram")?;
            let result =
                (self.nvrtc.nvrtcCompileProgram)(program, options_of.len() as i32, options_of.as_ptr());
            let log = read(program, self.nvrtc.nvrtcGetProgramLogSize, self.nvrtc.nvrtcGetProgramLog)
                .unwrap_or_default();
            let log = CStr::from_bytes_until_nul(&log).unwrap_or_default().to_string_lossy().into_owned();
            let output = if result == SUCCESS {
                match target {
                    Target::Machine(_) => {
                        read(program, self.nvrtc.nvrtcGetCUBINSize, self.nvrtc.nvrtcGetCUBIN)
                    }
                    Target::Ptx(_) => read(program, self.nvrtc.nvrtcGetPTXSize, self.nvrtc.nvrtcGetPTX),
                }
            } else {
                Err(Error::Device(format!(
                    "the kernels do not compile for {architecture}: NVRTC error {result}\n{log}"
                )))
            };
            (self.nvrtc.nvrtcDestroyProgram)(&mut program);
            output.map(|program| Compiled { program, log })
        }
    }
}

/// What a compilation gives.
#[derive(Debug)]
pub struct Compiled {
    /// Machine code or PTX.
    pub program: Vec<u8>,
    /// What the compiler says, such as the registers of each kernel with `--ptxas-options=-v`.
    pub log: String,
}

/// What a program is compiled to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Machine code of a compute capability.
    Machine(i32),
    /// PTX of a compute capability.
    Ptx(i32),
}

fn seal(program: &[u8]) -> Vec<u8> {
    [MAGIC.as_slice(), &checksum::section(program).to_le_bytes(), program].concat()
}

/// The program in a cached file, unless it is damaged.
fn unseal(file: &[u8]) -> Option<Vec<u8>> {
    let rest = file.strip_prefix(MAGIC)?;
    let (sum, program) = rest.split_at_checked(8)?;
    let intact = !program.is_empty() && sum == checksum::section(program).to_le_bytes();
    intact.then(|| program.to_vec())
}

const SUCCESS: c_int = 0;

fn check(result: c_int, what: &str) -> Result<()> {
    if result == SUCCESS { Ok(()) } else { Err(Error::Device(format!("{what}: NVRTC error {result}"))) }
}

/// See [`Compiler::target`].
fn target(architectures: &[i32], capability: i32) -> Option<Target> {
    if architectures.contains(&capability) {
        return Some(Target::Machine(capability));
    }
    architectures.iter().copied().filter(|&a| a < capability).max().map(Target::Ptx)
}

fn c_string(text: &str) -> CString {
    CString::new(text).expect("source and options have no NUL")
}

/// One of a program's outputs.
///
/// # Safety
/// `size` and `get` belong together, and `program` is alive.
unsafe fn read(
    program: Program,
    size: unsafe extern "C" fn(Program, *mut usize) -> c_int,
    get: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
) -> Result<Vec<u8>> {
    let mut bytes = 0;
    // SAFETY: by this function's contract `get` writes as many bytes as `size` said.
    unsafe {
        check(size(program, &mut bytes), "size of a compiled program")?;
        let mut output = vec![0u8; bytes];
        check(get(program, output.as_mut_ptr().cast()), "a compiled program")?;
        Ok(output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_cache_entry_is_not_used() {
        let sealed = seal(b"machine code");
        assert_eq!(unseal(&sealed).unwrap(), b"machine code");
        for cut in 0..sealed.len() {
            assert_eq!(unseal(&sealed[..cut]), None, "{cut} bytes");
        }
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 0x10;
            assert_eq!(unseal(&damaged), None, "byte {at}");
        }
    }

    #[test]
    fn a_gpu_newer_than_the_compiler_gets_ptx_and_one_older_nothing() {
        let known = [75, 80, 90, 120];
        assert_eq!(target(&known, 90), Some(Target::Machine(90)));
        assert_eq!(target(&known, 103), Some(Target::Ptx(90)));
        assert_eq!(target(&known, 130), Some(Target::Ptx(120)));
        assert_eq!(target(&known, 70), None);
    }
}
