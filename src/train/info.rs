//! `run.json` of a run folder: what ran, where, and what it took.

use super::pace::Usage;
use crate::process;
use serde::{Deserialize, Serialize};

/// `run.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// Version of smore.
    pub version: String,
    /// Name of the dataset.
    pub dataset: String,
    /// Fingerprint of the graph, in hexadecimal.
    pub graph: String,
    /// Device and instruction set.
    pub device: String,
    /// Steps of the whole run.
    pub steps: u64,
    /// Where it was trained last.
    #[serde(default)]
    pub machine: Machine,
    /// Trained numbers.
    #[serde(default)]
    pub num_parameters: usize,
    /// What training took since the run was begun or taken up again, once that has ended.
    #[serde(default)]
    pub usage: Option<Usage>,
}

/// A machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Name of the processor, where the system reports it.
    pub processor: Option<String>,
    /// Cores that this process may use.
    pub cores: usize,
    /// Memory in bytes, swap included, where the system reports it.
    pub memory_bytes: Option<u64>,
    /// Operating system and architecture.
    pub system: String,
}

impl Machine {
    /// This one.
    pub fn this() -> Self {
        Machine {
            processor: process::processor(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: process::total_memory(),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        }
    }
}
