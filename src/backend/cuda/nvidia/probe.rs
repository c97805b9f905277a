//! Which GPUs there are.

use crate::error::{Error, Result};
use cudarc::driver::sys::{self, CUdevice_attribute, CUresult};
use std::ffi::{CStr, c_int};

/// The oldest CUDA whose driver is good enough.
const OLDEST_DRIVER: i32 = 12_000;
/// The oldest GPUs that the kernels are compiled and tested for, as 10 times their compute capability.
const OLDEST_GPU: i32 = 75;

/// A GPU, as its driver describes it.
#[derive(Clone, Debug)]
pub struct Gpu {
    /// Its number: `cuda:ordinal`.
    pub ordinal: i32,
    /// What it is sold as.
    pub name: String,
    /// Bytes of its memory.
    pub memory: usize,
    /// 10 times its compute capability: 90 is 9.0.
    pub capability: i32,
    /// Multiprocessors.
    pub multiprocessors: i32,
}

impl Gpu {
    /// Errors where the kernels do not run on it.
    pub fn supported(&self) -> Result<()> {
        if self.capability >= OLDEST_GPU {
            return Ok(());
        }
        Err(Error::Device(format!(
            "{} has compute capability {}: the kernels need {} or newer; use --device cpu",
            self.name,
            capability(self.capability),
            capability(OLDEST_GPU)
        )))
    }

    /// 9.0, for example.
    pub fn capability(&self) -> String {
        capability(self.capability)
    }
}

/// The driver and its GPUs.
#[derive(Clone, Debug)]
pub struct Driver {
    /// The newest CUDA that it can run: 13000 is 13.0.
    pub cuda: i32,
    /// The version of the driver itself, where the system reports it.
    pub version: Option<String>,
    /// At least one GPU.
    pub gpus: Vec<Gpu>,
}

impl Driver {
    /// 13.0, for example.
    pub fn cuda(&self) -> String {
        version(self.cuda)
    }

    /// 13, for example.
    pub fn major(&self) -> u32 {
        (self.cuda / 1000) as u32
    }
}

/// The version of a CUDA such as 12040.
fn version(cuda: i32) -> String {
    format!("{}.{}", cuda / 1000, cuda % 1000 / 10)
}

/// The compute capability of a number such as 90.
fn capability(number: i32) -> String {
    format!("{}.{}", number / 10, number % 10)
}

/// Turns a driver's answer into an error with its name and its text.
pub fn check(result: CUresult, what: &str) -> Result<()> {
    if result == CUresult::CUDA_SUCCESS {
        return Ok(());
    }
    let error = cudarc::driver::DriverError(result);
    let text = |s: Result<&CStr, _>| s.map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let (name, text) = (text(error.error_name().map_err(drop)), text(error.error_string().map_err(drop)));
    Err(Error::Device(format!("{what}: {text} ({name})")))
}

/// Asks the driver. Errors say why there is no GPU to use.
pub fn driver() -> Result<Driver> {
    // SAFETY: only tries to load the library.
    if !unsafe { sys::is_culib_present() } {
        return Err(Error::Device(
            "no NVIDIA driver was found (libcuda.so.1; in a container, pass the GPU through)".into(),
        ));
    }
    // SAFETY: the library is there, and all pointers are to live locals.
    unsafe {
        let mut cuda = 0;
        check(sys::cuDriverGetVersion(&mut cuda), "cannot ask for the driver's version")?;
        if cuda < OLDEST_DRIVER {
            return Err(Error::Device(format!(
                "the NVIDIA driver is too old: it runs CUDA {}, and {} is needed; update the driver",
                version(cuda),
                version(OLDEST_DRIVER)
            )));
        }
        check(sys::cuInit(0), "the NVIDIA driver does not start")?;
        let mut count = 0;
        check(sys::cuDeviceGetCount(&mut count), "cannot count the GPUs")?;
        if count == 0 {
            return Err(Error::Device("the NVIDIA driver finds no GPU".into()));
        }
        let gpus = (0..count).map(|ordinal| gpu(ordinal)).collect::<Result<_>>()?;
        Ok(Driver { cuda, version: kernel_driver(), gpus })
    }
}

/// The version of the driver's kernel module.
fn kernel_driver() -> Option<String> {
    let text = std::fs::read_to_string("/proc/driver/nvidia/version").ok()?;
    let is_version = |word: &&str| word.contains('.') && word.split('.').all(|n| n.parse::<u32>().is_ok());
    text.split_whitespace().find(is_version).map(String::from)
}

/// # Safety
/// The driver has been started and has a GPU of this number.
unsafe fn gpu(ordinal: c_int) -> Result<Gpu> {
    use CUdevice_attribute::*;
    let mut device = 0;
    let mut name = [0 as std::ffi::c_char; 256];
    let mut memory = 0;
    // SAFETY: the pointers are to live locals; the name's length is passed with it.
    unsafe {
        check(sys::cuDeviceGet(&mut device, ordinal), "cannot open the GPU")?;
        check(sys::cuDeviceGetName(name.as_mut_ptr(), 255, device), "cannot ask for the GPU's name")?;
        check(sys::cuDeviceTotalMem_v2(&mut memory, device), "cannot ask for the GPU's memory")?;
        let attribute = |attribute| {
            let mut value = 0;
            check(sys::cuDeviceGetAttribute(&mut value, attribute, device), "cannot ask what the GPU is")?;
            Ok(value)
        };
        Ok(Gpu {
            ordinal,
            name: CStr::from_ptr(name.as_ptr()).to_string_lossy().into_owned(),
            memory,
            capability: 10 * attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?
                + attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
            multiprocessors: attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_reported_as_people_write_them() {
        assert_eq!(["13.0", "12.4"], [13_000, 12_040].map(version));
        assert_eq!(["7.5", "12.1"], [75, 121].map(capability));
    }
}
