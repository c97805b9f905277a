//! The driver of NVIDIA GPUs.
//!
//! Reading order: [`probe`] (which GPUs there are), [`library`] (where NVIDIA's libraries are), [`compile`]
//! (kernels to machine code), [`blas`] (matrix products), `memory` (what is given back is kept), [`transfer`] (copies
//! beside the computation), [`readings`] (copies from the GPU), [`clock`] (its time), this file (the device).

pub mod blas;
pub mod clock;
pub mod compile;
pub mod library;
mod memory;
pub mod probe;
pub mod readings;
pub mod transfer;

use super::driver::{Driver, Launch, Product, When};
use crate::backend::{Counters, Math, Moment};
use crate::error::{Error, Result};
use blas::Blas;
use clock::Clock;
use compile::Compiler;
use cudarc::driver::sys::{self, CUcontext, CUdevice, CUfunction, CUmodule, CUresult, CUstream};
use memory::Memory;
use probe::{Gpu, check};
use readings::Readings;
use rustc_hash::FxHashMap;
use std::ffi::{CString, c_void};
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;
use transfer::Transfers;

/// How to open a GPU.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// Its number.
    pub ordinal: i32,
    /// The precision of matrix products.
    pub math: Math,
    /// Folder of compiled kernels.
    pub cache: &'a Path,
}

/// A GPU with our kernels on it.
pub struct Nvidia {
    gpu: Gpu,
    cuda: String,
    compiler: String,
    /// Cleared on drop before the context goes.
    blas: Result<Blas, String>,
    math: Math,
    device: CUdevice,
    context: CUcontext,
    module: CUmodule,
    functions: Mutex<FxHashMap<&'static str, Function>>,
    compute: CUstream,
    workspace: u64,
    memory: Mutex<Memory>,
    transfers: Mutex<Transfers>,
    readings: Mutex<Readings>,
    clock: Mutex<Clock>,
}

#[derive(Clone, Copy)]
struct Function(CUfunction);

// SAFETY: handles of the driver API are not bound to a thread; every method makes the context current on the thread
// that it runs on, and what is changed lies behind mutexes.
unsafe impl Send for Nvidia {}
// SAFETY: as for Send. cuBLAS allows calls from several threads on one handle whose settings do not change.
unsafe impl Sync for Nvidia {}
// SAFETY: a function belongs to its module, not to a thread.
unsafe impl Send for Function {}

impl std::fmt::Debug for Nvidia {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Nvidia({})", self.gpu.name)
    }
}

impl Nvidia {
    /// Opens a GPU and loads the kernels, which are compiled if the cache does not have them.
    ///
    /// # Errors
    ///
    /// No driver, no such GPU, one that is too old; no compiler; memory that does not suffice.
    pub fn open(options: Options) -> Result<Self> {
        let driver = probe::driver()?;
        let count = driver.gpus.len();
        let Some(gpu) = driver.gpus.iter().find(|gpu| gpu.ordinal == options.ordinal).cloned() else {
            let last = count - 1;
            let ordinal = options.ordinal;
            return Err(Error::Device(match count {
                1 => format!("there is no cuda:{ordinal}: the one GPU is cuda:0"),
                _ => format!("there is no cuda:{ordinal}: the {count} GPUs are cuda:0 to cuda:{last}"),
            }));
        };
        gpu.supported()?;
        let compiler = Compiler::find(driver.major())?;
        let program = compiler.program(compiler.target(gpu.capability)?, options.cache)?;

        let mut nvidia = Nvidia {
            cuda: driver.cuda(),
            compiler: format!("{}.{}", compiler.version.0, compiler.version.1),
            blas: Err("it is not loaded yet".into()),
            math: options.math,
            device: 0,
            context: std::ptr::null_mut(),
            module: std::ptr::null_mut(),
            functions: Mutex::default(),
            compute: std::ptr::null_mut(),
            workspace: 0,
            memory: Mutex::new(Memory::new()),
            transfers: Mutex::default(),
            readings: Mutex::default(),
            clock: Mutex::default(),
            gpu,
        };
        // From here on, `Drop` gives back what has been made.
        // SAFETY: cuInit succeeded; all pointers are to fields or locals; the program is a whole module image (PTX
        // ends with NUL), and the context is current for everything after it.
        unsafe {
            check(sys::cuDeviceGet(&mut nvidia.device, options.ordinal), "cannot open the GPU")?;
            let retained = sys::cuDevicePrimaryCtxRetain(&mut nvidia.context, nvidia.device);
            check(retained, &format!("cannot use {}", nvidia.gpu.name))?;
            nvidia.current()?;
            let loaded = sys::cuModuleLoadData(&mut nvidia.module, program.as_ptr().cast());
            check(loaded, &format!("the kernels do not load on {}", nvidia.gpu.name))?;
            let flags = sys::CUstream_flags::CU_STREAM_NON_BLOCKING as u32;
            check(sys::cuStreamCreate(&mut nvidia.compute, flags), "cannot make a stream")?;
            *nvidia.transfers.get_mut().expect("just made") = Transfers::new(nvidia.compute)?;
            nvidia.workspace = nvidia.allocate(blas::WORKSPACE)?;
            nvidia.blas = Blas::new(driver.major(), nvidia.compute.cast(), nvidia.workspace, options.math);
        }
        Ok(nvidia)
    }

    /// Makes the context that of this thread.
    fn current(&self) -> Result<()> {
        // SAFETY: the context was retained in `open` and is released in `drop`.
        check(unsafe { sys::cuCtxSetCurrent(self.context) }, "cannot switch to the GPU")
    }

    fn transfers(&self) -> std::sync::MutexGuard<'_, Transfers> {
        self.transfers.lock().expect("no panic while it is held")
    }

    /// Lets the compute stream wait for copies. While the result is held, no other thread comes between that and
    /// what is launched: neither a copy, nor a mark that would leave the launch out.
    fn before_launch(&self) -> Result<std::sync::MutexGuard<'_, Transfers>> {
        let mut transfers = self.transfers();
        transfers.before_launch()?;
        Ok(transfers)
    }

    fn function(&self, kernel: &'static str) -> Result<CUfunction> {
        let mut functions = self.functions.lock().expect("no panic while it is held");
        if let Some(function) = functions.get(kernel) {
            return Ok(function.0);
        }
        let name = CString::new(kernel).expect("names of kernels have no NUL");
        let mut function = std::ptr::null_mut();
        // SAFETY: the module is loaded; the name is a C string.
        let found = unsafe { sys::cuModuleGetFunction(&mut function, self.module, name.as_ptr()) };
        check(found, &format!("kernel {kernel}"))?;
        functions.insert(kernel, Function(function));
        Ok(function)
    }
}

/// 1.50 GiB, for example.
fn gib(bytes: usize) -> String {
    format!("{:.2} GiB", bytes as f64 / (1u64 << 30) as f64)
}

impl Driver for Nvidia {
    fn describe(&self) -> String {
        let Gpu { ordinal, name, .. } = &self.gpu;
        let blas = match &self.blas {
            Ok(blas) => format!("cuBLAS {}.{}", blas.version.0, blas.version.1),
            Err(_) => "no cuBLAS".into(),
        };
        let tf32 = if self.math == Math::Tf32 { ", TF32" } else { "" };
        let capability = self.gpu.capability();
        format!(
            "{name} (cuda:{ordinal}, compute capability {capability}, driver for CUDA {}, NVRTC {}, {blas}{tf32})",
            self.cuda, self.compiler
        )
    }

    fn allocate(&self, bytes: usize) -> Result<u64> {
        self.current()?;
        let mut memory = self.memory.lock().expect("no panic while it is held");
        // SAFETY: the context is current.
        let result = unsafe { memory.allocate(bytes) };
        if result == Err(CUresult::CUDA_ERROR_OUT_OF_MEMORY) {
            let (mut free, mut total) = (0, 0);
            // SAFETY: as above; the pointers are to locals.
            let _ = unsafe { sys::cuMemGetInfo_v2(&mut free, &mut total) };
            return Err(Error::Device(format!(
                "out of memory on {}: {} are needed at once, {} of {} are free; make --dim smaller, end what else uses \
                 the GPU, or use --device cpu",
                self.gpu.name,
                gib(bytes),
                gib(free),
                gib(total)
            )));
        }
        result.or_else(|error| check(error, "cannot allocate memory of the GPU").map(|()| 0))
    }

    fn free(&self, address: u64) {
        // Where the context is gone, so is its memory.
        if self.current().is_ok() {
            // SAFETY: the context is current.
            unsafe { self.memory.lock().expect("no panic while it is held").give_back(address) };
        }
    }

    fn zero(&self, address: u64, bytes: usize) -> Result<()> {
        self.current()?;
        let _order = self.before_launch()?;
        // SAFETY: the caller keeps to memory that it was given.
        check(
            unsafe { sys::cuMemsetD8Async(address, 0, bytes, self.compute) },
            "cannot clear memory of the GPU",
        )
    }

    fn upload(&self, data: &[u8], address: u64, when: When) -> Result<()> {
        self.current()?;
        // SAFETY: the caller keeps to memory that it was given.
        unsafe { self.transfers().upload(data, address, when) }
    }

    fn mark(&self) -> u64 {
        // A failure shows at the next call that can tell.
        if self.current().is_err() {
            return 0;
        }
        self.transfers().mark().unwrap_or(0)
    }

    fn download(&self, address: u64, out: &mut [u8]) -> Result<()> {
        self.current()?;
        let mut transfers = self.before_launch()?;
        let started = Instant::now();
        // SAFETY: the caller keeps to memory that it was given; `out` is not touched before the stream is done.
        unsafe {
            let pointer: *mut c_void = out.as_mut_ptr().cast();
            let copied = sys::cuMemcpyDtoHAsync_v2(pointer, address, out.len(), self.compute);
            let done = sys::cuStreamSynchronize(self.compute);
            transfers.counters.download_wait_seconds += started.elapsed().as_secs_f64();
            check(copied, "cannot copy from the GPU")?;
            check(done, "the GPU failed")
        }
    }

    fn read(&self, address: u64, bytes: usize) -> Result<u64> {
        self.current()?;
        let _order = self.before_launch()?;
        let mut readings = self.readings.lock().expect("no panic while it is held");
        // SAFETY: the context is current; the caller keeps to memory that it was given.
        unsafe { readings.start(address, bytes, self.compute) }
    }

    fn finish(&self, reading: u64, out: &mut [u8]) -> Result<()> {
        self.current()?;
        let started = Instant::now();
        let done = self.readings.lock().expect("no panic while it is held").finish(reading, out);
        self.transfers().counters.download_wait_seconds += started.elapsed().as_secs_f64();
        done
    }

    fn memory(&self) -> u64 {
        self.gpu.memory as u64
    }

    fn counters(&self) -> Counters {
        self.transfers().counters
    }

    fn moment(&self) -> Result<Option<Moment>> {
        self.current()?;
        let _order = self.before_launch()?;
        let mut clock = self.clock.lock().expect("no panic while it is held");
        // SAFETY: the context is current.
        unsafe { clock.moment(self.compute) }.map(Some)
    }

    fn seconds_between(&self, from: Moment, to: Moment) -> Result<f64> {
        self.current()?;
        self.clock.lock().expect("no panic while it is held").seconds_between(from, to)
    }

    fn launch(&self, launch: &Launch) -> Result<()> {
        self.current()?;
        let function = self.function(launch.kernel)?;
        let mut arguments: [*mut c_void; 24] = [std::ptr::null_mut(); 24];
        for (to, from) in arguments.iter_mut().zip(launch.arguments) {
            *to = from.bytes().as_ptr() as *mut c_void;
        }
        assert!(launch.arguments.len() <= arguments.len(), "{}: too many arguments", launch.kernel);
        let mut transfers = self.before_launch()?;
        transfers.counters.launches += 1;
        let [x, y, z] = launch.grid;
        let extra = std::ptr::null_mut();
        // SAFETY: the arguments have the number and sizes that the kernel takes (the tests compare them at every launch
        // on the emulator), and the launchers pass addresses of memory that outlives the work asked for.
        let result = unsafe {
            sys::cuLaunchKernel(
                function,
                x,
                y,
                z,
                launch.threads,
                1,
                1,
                0,
                self.compute,
                arguments.as_mut_ptr(),
                extra,
            )
        };
        check(result, launch.kernel)
    }

    fn slow_products(&self) -> Option<String> {
        let why = self.blas.as_ref().err()?;
        Some(format!(
            "matrix products use a kernel of smore's own, which is 2 to 5 times slower than cuBLAS: {why}"
        ))
    }

    fn matmul(&self, product: &Product) -> Result<bool> {
        let Ok(blas) = &self.blas else { return Ok(false) };
        self.current()?;
        let mut transfers = self.before_launch()?;
        transfers.counters.products += 1;
        // SAFETY: the caller keeps to memory that it was given.
        unsafe { blas.multiply(product) }?;
        Ok(true)
    }
}

impl Drop for Nvidia {
    fn drop(&mut self) {
        if self.context.is_null() || self.current().is_err() {
            return;
        }
        // SAFETY: everything was made by `open`, is destroyed once, and after the work on it.
        unsafe {
            let _ = sys::cuCtxSynchronize();
            self.blas = Err("it was closed".into());
            if self.workspace != 0 {
                self.free(self.workspace);
            }
            self.memory.lock().expect("no panic while it is held").release();
            self.transfers().destroy();
            self.readings.lock().expect("no panic while it is held").destroy();
            self.clock.lock().expect("no panic while it is held").destroy();
            if !self.compute.is_null() {
                let _ = sys::cuStreamDestroy_v2(self.compute);
            }
            if !self.module.is_null() {
                let _ = sys::cuModuleUnload(self.module);
            }
            let _ = sys::cuDevicePrimaryCtxRelease_v2(self.device);
        }
    }
}
