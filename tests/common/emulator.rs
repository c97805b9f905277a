//! The CUDA backend without a GPU: the same launchers and the same `kernels/*.cu`, compiled as C++, with
//! every thread of a block as a fiber (see `kernels/emulator.h`).
//!
//! Device memory is host memory between pages that cannot be touched, filled with NaN when it is given out:
//! a kernel that reads or writes beyond a buffer is stopped, and one that reads what nothing wrote gives NaN.

use smore::engine::backend::Cuda;
use smore::engine::backend::cuda::driver::{Driver, Launch, Product, When};
use smore::engine::backend::cuda::source;
use smore::engine::error::{Error, Result};
use std::collections::HashMap;
use std::ffi::{CString, c_char, c_int, c_void};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};

/// The backend, or `None`, with a printed reason, where there is no C++ compiler.
pub fn cuda() -> Option<Cuda> {
    static KERNELS: OnceLock<std::result::Result<Arc<libloading::Library>, String>> = OnceLock::new();
    let load = || {
        let path = build("kernels.so", &[("main.cpp", "#include \"kernels.cpp\"\n")])?;
        // SAFETY: loading runs the kernels' registration, which only fills a map.
        Ok(Arc::new(unsafe { libloading::Library::new(path) }.unwrap()))
    };
    let library = or_skip(KERNELS.get_or_init(load).clone())?;
    // SAFETY: the symbol is defined with this signature in kernels/emulator.h.
    let launch = unsafe { *library.get::<LaunchFn>(b"smore_launch\0").unwrap() };
    Some(Cuda::on(Arc::new(Emulator {
        launch,
        memory: Mutex::default(),
        readings: Mutex::default(),
        _library: library,
    })))
}

/// Folders with a driver, a compiler of kernels and a cuBLAS that stand in for NVIDIA's, for `LD_LIBRARY_PATH`.
pub fn fake_driver() -> Option<[PathBuf; 3]> {
    let libraries = [
        ("libcuda.so", "driver.cpp", include_str!("../fake_cuda/driver.cpp")),
        ("libnvrtc.so.13", "nvrtc.cpp", include_str!("../fake_cuda/nvrtc.cpp")),
        ("libcublas.so.13", "cublas.cpp", include_str!("../fake_cuda/cublas.cpp")),
    ];
    let mut folders = Vec::new();
    for (library, file, text) in libraries {
        let path = or_skip(build(library, &[(file, text)]))?;
        folders.push(path.parent().expect("in a folder").to_path_buf());
    }
    Some(folders.try_into().expect("three libraries"))
}

/// What was built, or a skipped test where there is no compiler.
fn or_skip<T>(built: std::result::Result<T, String>) -> Option<T> {
    built.map_err(|why| super::skip(super::Missing::Compiler, why)).ok()
}

/// Compiles C++ to a shared library `name`, unless that was done for the same sources before; its path. The first
/// file is the one that is compiled; `kernels.cpp`, with all kernels, can be included. Errors where there is no compiler.
fn build(name: &str, files: &[(&str, &str)]) -> std::result::Result<PathBuf, String> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let flags = "-std=c++17 -O2 -g1 -march=native -ffp-contract=off -fPIC -shared -fvisibility=hidden -Wall -Wextra \
                 -Wno-unknown-pragmas -Wno-unused-parameter -DSMORE_EMULATED";
    let header = std::fs::read_to_string(root.join("kernels/emulator.h")).unwrap();
    let texts: String = source::FILES.iter().chain(files).map(|(_, text)| *text).collect();
    let key = xxhash_rust::xxh3::xxh3_64(format!("{flags}{header}{texts}").as_bytes());
    let tmp = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let folder = tmp.join(format!("emulated-{key:016x}"));
    let library = folder.join(name);
    if library.is_file() {
        return Ok(library);
    }
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
    let work = tempfile::tempdir_in(&tmp).unwrap();
    let built = work.path().join(name);
    std::fs::write(work.path().join("kernels.cpp"), source::root()).unwrap();
    files.iter().for_each(|(name, text)| std::fs::write(work.path().join(name), text).unwrap());
    let include = format!("-I{}", root.join("kernels").display());
    let mut command = Command::new(&compiler);
    command
        .args(flags.split_whitespace())
        .arg(include)
        .arg("-o")
        .arg(&built)
        .arg(work.path().join(files[0].0));
    match command.output() {
        Err(error) => {
            return Err(format!("no C++ compiler runs the CUDA kernels on the CPU ({compiler}: {error})"));
        }
        Ok(output) => {
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "the kernels do not compile as C++:\n{errors}");
            assert!(errors.is_empty(), "the kernels compile as C++ with warnings:\n{errors}");
        }
    }
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::rename(built, &library).unwrap();
    Ok(library)
}

type LaunchFn =
    unsafe extern "C" fn(*const c_char, *const u32, u32, *mut *mut c_void, *const usize, usize) -> c_int;

#[derive(Debug)]
struct Emulator {
    launch: LaunchFn,
    /// Mappings by the address that was given out: start and length.
    memory: Mutex<HashMap<u64, (usize, usize)>>,
    /// What was read, by its number.
    readings: Mutex<HashMap<u64, Vec<u8>>>,
    _library: Arc<libloading::Library>,
}

const PAGE: usize = 4096;

impl Driver for Emulator {
    fn describe(&self) -> String {
        "CUDA kernels emulated on the CPU".into()
    }

    fn allocate(&self, bytes: usize) -> Result<u64> {
        // The memory ends where a page that cannot be touched begins, up to the alignment of 16.
        let pages = bytes.next_multiple_of(PAGE);
        let length = pages + 2 * PAGE;
        // SAFETY: a new private mapping; the pointer is checked before use.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(Error::invalid(format!("out of device memory: {bytes} bytes")));
        }
        let start = start as usize;
        // SAFETY: inside of the mapping; the pages are ours and writable after the first call.
        unsafe {
            let usable = (start + PAGE) as *mut c_void;
            assert_eq!(libc::mprotect(usable, pages, libc::PROT_READ | libc::PROT_WRITE), 0);
            libc::memset(usable, 0xff, pages);
        }
        let address = (start + PAGE + pages - bytes.next_multiple_of(16)) as u64;
        self.memory.lock().unwrap().insert(address, (start, length));
        Ok(address)
    }

    fn free(&self, address: u64) {
        let (start, length) =
            self.memory.lock().unwrap().remove(&address).expect("memory that was given out");
        // SAFETY: a mapping of `allocate`, unmapped once.
        unsafe { libc::munmap(start as *mut c_void, length) };
    }

    fn zero(&self, address: u64, bytes: usize) -> Result<()> {
        // SAFETY: the caller keeps to memory that it was given.
        unsafe { std::ptr::write_bytes(address as *mut u8, 0, bytes) };
        Ok(())
    }

    fn upload(&self, data: &[u8], address: u64, _: When) -> Result<()> {
        // SAFETY: as above.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), address as *mut u8, data.len()) };
        Ok(())
    }

    fn mark(&self) -> u64 {
        0
    }

    fn download(&self, address: u64, out: &mut [u8]) -> Result<()> {
        // SAFETY: as above.
        unsafe { std::ptr::copy_nonoverlapping(address as *const u8, out.as_mut_ptr(), out.len()) };
        Ok(())
    }

    fn read(&self, address: u64, bytes: usize) -> Result<u64> {
        let mut data = vec![0; bytes];
        self.download(address, &mut data)?;
        let mut readings = self.readings.lock().unwrap();
        let number = (0..).find(|number| !readings.contains_key(number)).unwrap();
        readings.insert(number, data);
        Ok(number)
    }

    fn finish(&self, reading: u64, out: &mut [u8]) -> Result<()> {
        let data = self.readings.lock().unwrap().remove(&reading).expect("a reading is finished once");
        out.copy_from_slice(&data[..out.len()]);
        Ok(())
    }

    fn memory(&self) -> u64 {
        8 << 30
    }

    fn launch(&self, launch: &Launch) -> Result<()> {
        let name = CString::new(launch.kernel).unwrap();
        // Copies, because kernels take their parameters from aligned memory.
        let values: Vec<Vec<u64>> = launch
            .arguments
            .iter()
            .map(|a| {
                let mut words = vec![0u64; a.bytes().len().div_ceil(8)];
                bytemuck::cast_slice_mut(&mut words)[..a.bytes().len()].copy_from_slice(a.bytes());
                words
            })
            .collect();
        let mut pointers: Vec<*mut c_void> = values.iter().map(|v| v.as_ptr() as *mut c_void).collect();
        let sizes: Vec<usize> = launch.arguments.iter().map(|a| a.bytes().len()).collect();
        // SAFETY: the emulator compares number and sizes of the arguments with the kernel's before it runs.
        let status = unsafe {
            (self.launch)(
                name.as_ptr(),
                launch.grid.as_ptr(),
                launch.threads,
                pointers.as_mut_ptr(),
                sizes.as_ptr(),
                sizes.len(),
            )
        };
        match status {
            0 => Ok(()),
            1 => panic!("there is no kernel {}", launch.kernel),
            2 => panic!("kernel {} takes other arguments than {sizes:?} bytes", launch.kernel),
            _ => panic!("kernel {} takes fewer threads than {}", launch.kernel, launch.threads),
        }
    }

    fn matmul(&self, _: &Product) -> Result<bool> {
        Ok(false)
    }
}
