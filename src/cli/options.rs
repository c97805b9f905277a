//! Flags that several subcommands share: the configuration, the device.

use crate::backend::Cpu;
use crate::config::Config;
use crate::error::Result;
use std::path::PathBuf;

/// The configuration: a file, flags for what is set most, `--set` for everything.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Configuration")]
pub struct ConfigArgs {
    /// Dataset: a name (see `smore data list`), a folder, or a graph file [default: umls]
    #[arg(value_name = "DATASET", help_heading = "Arguments")]
    pub dataset: Option<String>,
    /// The same as the positional DATASET
    #[arg(long = "dataset", value_name = "DATASET", conflicts_with = "dataset")]
    pub dataset_flag: Option<String>,
    /// TOML file with options, for example a run's config.toml; flags override it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Model: gqe, query2box or complex [default: query2box]
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// Embedding dimension [default: 200]
    #[arg(long, value_name = "N")]
    pub dim: Option<usize>,
    /// Queries per step [default: 512]
    #[arg(long, value_name = "N")]
    pub batch_size: Option<usize>,
    /// Negatives that a batch shares [default: 1024]
    #[arg(long, value_name = "N")]
    pub negatives: Option<usize>,
    /// Training structures with weights [default: 1p:4,2p:2,3p:1,2i:1,3i:1]
    #[arg(long, value_name = "MIX")]
    pub structures: Option<String>,
    /// Steps of the run, instead of epochs
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,
    /// Epochs; one is as many queries as there are directed training edges [default: 100]
    #[arg(long, value_name = "N", conflicts_with = "steps")]
    pub epochs: Option<f64>,
    /// Seed of the start and of every batch [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: Option<u64>,
    /// Any option of the configuration; can be given again
    #[arg(long, value_name = "KEY.PATH=VALUE")]
    pub set: Vec<String>,
}

impl ConfigArgs {
    /// The flags as assignments, in the order in which they apply.
    pub fn assignments(&self) -> Vec<String> {
        fn text(key: &str, value: &Option<impl std::fmt::Debug>) -> Option<String> {
            value.as_ref().map(|v| format!("{key}={v:?}"))
        }
        let dataset = self.dataset.as_ref().or(self.dataset_flag.as_ref()).cloned();
        let flags = [
            text("data.dataset", &dataset),
            text("model.name", &self.model),
            text("model.dim", &self.dim),
            text("training.batch_size", &self.batch_size),
            text("sampling.negatives", &self.negatives),
            text("sampling.structures", &self.structures),
            text("training.steps", &self.steps),
            text("training.epochs", &self.epochs),
            text("training.seed", &self.seed),
        ];
        flags.into_iter().flatten().chain(self.set.iter().cloned()).collect()
    }

    /// The resolved configuration.
    pub fn resolve(&self) -> Result<Config> {
        Config::resolve(self.config.as_deref(), &self.assignments())
    }
}

/// Where the numbers are crunched.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Options")]
pub struct DeviceArgs {
    /// Device: auto or cpu
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = parse_device)]
    pub device: Device,
}

/// A device that this build has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// All cores.
    #[default]
    Cpu,
}

impl Device {
    /// The backend.
    pub fn backend(self) -> Cpu {
        match self {
            Device::Cpu => Cpu,
        }
    }
}

fn parse_device(text: &str) -> Result<Device, String> {
    match text {
        "auto" | "cpu" => Ok(Device::Cpu),
        _ if text == "cuda" || text.starts_with("cuda:") => {
            Err("this version of smore has no CUDA backend yet: use --device cpu".into())
        }
        _ => Err("expected auto or cpu".into()),
    }
}
