//! `smore devices`.

use super::{Global, print, print_json};
use crate::backend::{Backend, Cpu};
use crate::process;
use crate::table::{Table, bytes};
use serde_json::{Value, json};

/// Arguments of `smore devices`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// A device that models can run on.
struct Device {
    name: String,
    what: String,
    memory: Option<u64>,
    capability: Option<String>,
    /// Why it cannot be used.
    unfit: Option<String>,
}

/// What there is besides the CPU: GPUs, and lines about libraries, each with a key for JSON.
#[derive(Default)]
struct Gpus {
    devices: Vec<Device>,
    libraries: Vec<(&'static str, String)>,
}

#[cfg(all(unix, feature = "cuda"))]
fn gpus() -> Gpus {
    use crate::backend::cuda::nvidia::{blas, compile::Compiler, probe};
    let driver = match probe::driver() {
        Ok(driver) => driver,
        Err(why) => return Gpus { libraries: vec![("no_gpu", why.to_string())], ..Gpus::default() },
    };
    let devices = driver.gpus.iter().map(|gpu| Device {
        name: format!("cuda:{}", gpu.ordinal),
        what: format!("{}, {} multiprocessors", gpu.name, gpu.multiprocessors),
        memory: Some(gpu.memory as u64),
        capability: Some(gpu.capability()),
        unfit: gpu.supported().err().map(|why| why.to_string()),
    });
    let release = driver.version.as_ref().map_or(String::new(), |version| format!("{version}, "));
    let version = |(major, minor): (i32, i32)| format!("{major}.{minor}");
    let found = |of: Result<(i32, i32), String>| of.map_or_else(|why| why, version);
    let nvrtc =
        Compiler::find(driver.major()).map(|compiler| compiler.version).map_err(|why| why.to_string());
    let libraries = vec![
        ("driver", format!("{release}runs CUDA {}", driver.cuda())),
        ("nvrtc", found(nvrtc)),
        ("cublas", found(blas::version(driver.major()))),
    ];
    Gpus { devices: devices.collect(), libraries }
}

#[cfg(not(all(unix, feature = "cuda")))]
fn gpus() -> Gpus {
    let why =
        if cfg!(unix) { "this build is without the feature cuda" } else { "GPUs are used on Linux only" };
    Gpus { libraries: vec![("no_gpu", why.into())], ..Gpus::default() }
}

/// Runs `smore devices`.
pub fn run(_: Args, global: &Global) -> anyhow::Result<()> {
    let Gpus { devices, libraries } = gpus();
    let cpu = Device {
        name: "cpu".into(),
        what: Cpu.describe(),
        memory: process::total_memory(),
        capability: None,
        unfit: None,
    };
    let devices: Vec<Device> = std::iter::once(cpu).chain(devices).collect();
    if global.json {
        let list: Vec<Value> = devices
            .iter()
            .map(|d| {
                json!({
                    "name": d.name, "description": d.what, "memory": d.memory, "compute_capability": d.capability,
                    "unfit": d.unfit,
                })
            })
            .collect();
        let libraries: serde_json::Map<String, Value> =
            libraries.into_iter().map(|(name, text)| (name.into(), text.into())).collect();
        return print_json(&json!({ "devices": list, "libraries": libraries }));
    }
    let mut table =
        Table::new().left("device").left("what it is").right("memory").right("compute capability");
    for d in &devices {
        let memory = d.memory.map_or("-".into(), bytes);
        table.row([d.name.clone(), d.what.clone(), memory, d.capability.clone().unwrap_or("-".into())]);
    }
    print(table)?;
    let unfit = devices.into_iter().filter_map(|d| d.unfit);
    let lines = libraries.into_iter().map(|(name, text)| format!("{}: {text}", name.replace('_', " ")));
    print(lines.chain(unfit).fold(String::from("\n"), |all, line| all + &line + "\n"))
}
