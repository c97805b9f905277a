//! Which device a model runs on.

use crate::backend::{Cpu, Cuda, Math};
use crate::dataset::cache::Cache;
use crate::error::{Error, Result};
use std::str::FromStr;

/// Where a model runs.
///
/// ```
/// use smore::Device;
/// assert_eq!("cuda:1".parse::<Device>()?, Device::Cuda(1));
/// # Ok::<(), smore::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// The first GPU, else the CPU.
    #[default]
    Auto,
    /// All cores.
    Cpu,
    /// A GPU by its number.
    Cuda(i32),
}

impl FromStr for Device {
    type Err = Error;

    /// `auto`, `cpu`, `cuda` or `cuda:N`, in any case.
    fn from_str(text: &str) -> Result<Self> {
        let text = text.to_lowercase();
        match text.split_once(':') {
            None if text == "auto" => Ok(Device::Auto),
            None if text == "cpu" => Ok(Device::Cpu),
            None if text == "cuda" => Ok(Device::Cuda(0)),
            Some(("cuda", number)) if number.bytes().all(|b| b.is_ascii_digit()) => {
                let number =
                    number.parse().map_err(|_| Error::invalid("expected cuda:N with a small number"))?;
                Ok(Device::Cuda(number))
            }
            _ => Err(Error::invalid("expected auto, cpu, cuda or cuda:N")),
        }
    }
}

/// A device that is ready.
pub enum Opened {
    /// All cores.
    Cpu(Cpu),
    /// A GPU.
    Cuda(Cuda),
}

impl Device {
    /// Makes the device ready; kernels are compiled once for the cache. With the reason why `auto` has found no usable GPU.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] where a GPU that was asked for cannot be used.
    pub(crate) fn open(self, math: Math, cache: &Cache) -> Result<(Opened, Option<String>)> {
        let gpu = |ordinal| Cuda::open(ordinal, math, &cache.kernels()).map(Opened::Cuda);
        Ok(match self {
            Device::Cpu => (Opened::Cpu(Cpu), None),
            Device::Cuda(ordinal) => (gpu(ordinal)?, None),
            Device::Auto => match gpu(0) {
                Ok(device) => (device, None),
                Err(why) => (Opened::Cpu(Cpu), Some(why.to_string())),
            },
        })
    }
}

/// Evaluates an expression with a name for the backend of an [`Opened`] device.
macro_rules! on_device {
    ($opened:expr, $backend:ident => $body:expr) => {
        match $opened {
            $crate::api::Opened::Cpu($backend) => $body,
            $crate::api::Opened::Cuda($backend) => $body,
        }
    };
}
pub(crate) use on_device as on;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_parsed_from_name_and_number() {
        let known = ["auto", "CPU", "cuda", "cuda:0", "Cuda:12"].map(|text| text.parse::<Device>().unwrap());
        assert_eq!(known, [Device::Auto, Device::Cpu, Device::Cuda(0), Device::Cuda(0), Device::Cuda(12)]);
        for wrong in ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:99999999999", "cpu:0"] {
            assert!(wrong.parse::<Device>().is_err(), "{wrong}");
        }
    }
}
