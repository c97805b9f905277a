//! Finds NVIDIA's libraries: the run-time compiler (NVRTC) and cuBLAS.
//!
//! They are looked for in the folders that `SMORE_CUDA_LIBS` names, then where the system's loader looks, then
//! in toolkits and in Python packages, at last in those of the `python3` on the PATH. A library is taken only if its CUDA
//! is not newer than the driver's.

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

/// The variable with folders to search first, separated by colons.
pub const FOLDERS_VARIABLE: &str = "SMORE_CUDA_LIBS";

/// The oldest CUDA whose libraries are taken.
const OLDEST: u32 = 12;

/// A library that is loaded when it is first needed.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Its name without `lib` and `.so`.
    pub name: &'static str,
    /// A library that it loads by name, which lies beside it.
    pub companion: &'static str,
    /// The Python package that has it for the newest CUDA; with `-cu12` at its end for CUDA 12.
    pub package: &'static str,
}

/// The compiler of the kernels.
pub const NVRTC: Wanted = Wanted { name: "nvrtc", companion: "nvrtc-builtins", package: "nvidia-cuda-nvrtc" };

/// Matrix products.
pub const CUBLAS: Wanted = Wanted { name: "cublas", companion: "cublasLt", package: "nvidia-cublas" };

impl Wanted {
    /// Loads it, for a driver that runs CUDA `major`. Errors say how to get it.
    pub fn open(&self, major: u32) -> Result<Library, String> {
        let versions = || (OLDEST..=major).rev();
        let named: Vec<PathBuf> = std::env::var_os(FOLDERS_VARIABLE)
            .map(|folders| std::env::split_paths(&folders).collect())
            .unwrap_or_default();
        let by_loader = || versions().find_map(|v| load(Path::new(&self.file(v))));
        let found = self.open_in(&named, versions()).or_else(by_loader);
        let found = found.or_else(|| self.open_in(&search_folders(), versions()));
        if let Some(library) = found.or_else(|| self.open_in(python_folders(), versions())) {
            return Ok(library);
        }
        let suffix = if major == OLDEST { "-cu12" } else { "" };
        Err(format!(
            "lib{}.so for CUDA {major} was not found: install a CUDA toolkit, or run `pip install {}{suffix}`, or name \
             its folder in {FOLDERS_VARIABLE}",
            self.name, self.package
        ))
    }

    fn file(&self, version: u32) -> String {
        format!("lib{}.so.{version}", self.name)
    }

    fn open_in(&self, folders: &[PathBuf], mut versions: impl Iterator<Item = u32>) -> Option<Library> {
        versions.find_map(|version| {
            folders
                .iter()
                .map(|folder| folder.join(self.file(version)))
                .filter(|path| path.is_file())
                .find_map(|path| {
                    let folder = path.parent().expect("a folder and a name");
                    // One that does not load is left for the loader to find.
                    for companion in entries(folder, &format!("lib{}.so.", self.companion)) {
                        load(&companion).into_iter().for_each(std::mem::forget);
                    }
                    load(&path)
                })
        })
    }
}

/// The driver's own library, which cudarc has loaded already.
pub(super) fn driver() -> Option<Library> {
    ["libcuda.so.1", "libcuda.so"].iter().find_map(|name| load(Path::new(name)))
}

/// Loads a library; its name is then known to the loader.
fn load(path: &Path) -> Option<Library> {
    // SAFETY: NVIDIA's libraries run only their own initialisation when they are loaded.
    unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) }.ok()
}

/// Folders of toolkits and of Python packages.
fn search_folders() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    let toolkits = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(std::env::var_os).map(PathBuf::from);
    for toolkit in toolkits.chain(entries(Path::new("/usr/local"), "cuda")) {
        folders.extend(["lib64", "lib", "targets/x86_64-linux/lib"].map(|lib| toolkit.join(lib)));
    }
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local"));
    let environments = ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(std::env::var_os);
    for place in environments.map(PathBuf::from).chain(home).chain(["/usr/local".into(), "/usr".into()]) {
        for python in entries(&place.join("lib"), "python3") {
            let packages = ["site-packages", "dist-packages"].map(|packages| python.join(packages));
            folders.extend(packages.iter().flat_map(|packages| packaged(packages)));
        }
    }
    folders
}

/// Folders of NVIDIA's libraries in a folder of Python packages: `nvidia/cu13/lib`, or `nvidia/cublas/lib` and so on.
fn packaged(packages: &Path) -> Vec<PathBuf> {
    entries(&packages.join("nvidia"), "cu").into_iter().map(|package| package.join("lib")).collect()
}

/// Folders in the packages of `python3`, asked once: a virtual environment is on the PATH where PyTorch is used, also
/// where no variable names it.
fn python_folders() -> &'static [PathBuf] {
    static FOLDERS: OnceLock<Vec<PathBuf>> = OnceLock::new();
    FOLDERS.get_or_init(|| {
        let search_path = python_search_path().unwrap_or_default();
        // One that is not absolute is the folder that Python was started in.
        let folders = search_path.lines().map(Path::new).filter(|folder| folder.is_absolute());
        folders.flat_map(packaged).collect()
    })
}

/// Where Python looks for packages, a line each; nothing where it does not tell in time.
fn python_search_path() -> Option<String> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let mut python = Command::new("python3")
        .args(["-c", r"import sys; print(*sys.path, sep='\n')"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut output = python.stdout.take().expect("it is piped");
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        // Nobody receives it where time is up.
        let _ = output.read_to_string(&mut text).map(|_| send.send(text));
    });
    let text = receive.recv_timeout(PATIENCE).ok();
    // After its output is closed it has nothing left to do.
    let _ = python.kill();
    let _ = python.wait();
    text
}

/// What in a folder starts with a prefix, the last name first.
fn entries(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let there = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = there
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path())
        .collect();
    found.sort_unstable();
    found.reverse();
    found
}

/// A table of C functions that return a status, looked up in a library once.
macro_rules! functions {
    ($(#[$doc:meta])* $name:ident { $($function:ident: fn($($parameter:ty),*);)* }) => {
        $(#[$doc])*
        #[allow(non_snake_case)]
        pub(super) struct $name {
            $(pub(super) $function: unsafe extern "C" fn($($parameter),*) -> std::ffi::c_int,)*
            _library: libloading::os::unix::Library,
        }

        impl $name {
            /// Errors where the library lacks one of them.
            ///
            /// # Safety
            /// The library's functions have these parameters.
            pub(super) unsafe fn bind(library: libloading::os::unix::Library) -> Result<Self, String> {
                Ok($name {
                    $($function: {
                        let name = concat!(stringify!($function), "\0");
                        // SAFETY: by this function's contract.
                        *unsafe { library.get(name.as_bytes()) }.map_err(|error| error.to_string())?
                    },)*
                    _library: library,
                })
            }
        }
    };
}
pub(super) use functions;
