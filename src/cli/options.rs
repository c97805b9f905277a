//! Flags that several subcommands share: the configuration, the device.

use super::{Global, note};
use crate::api::{Device, Opened};
use crate::backend::Math;
use crate::config::{Config, TableKind};
use crate::error::{Error, Result};
use crate::graph::KnowledgeGraph;
use crate::inference::{Engine, Evidence, Inference};
use crate::model::NAMES;
use crate::train::inference::{self, Prepared};
use crate::train::{Changes, RunFolder};
use clap::ValueEnum;
use std::path::PathBuf;
use std::str::FromStr;

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
    /// Model
    #[arg(long, value_name = "NAME", help = format!("Model: {} [default: query2box]", NAMES.join(", ")))]
    pub model: Option<String>,
    /// Embedding dimension [default: 200]
    #[arg(long, value_name = "N")]
    pub dim: Option<usize>,
    /// Queries per step [default: 512]
    #[arg(long, value_name = "N")]
    pub batch_size: Option<usize>,
    /// Negatives of a query, shared by its batch unless sampling.pool=own [default: 1024]
    #[arg(long, value_name = "N")]
    pub negatives: Option<usize>,
    /// Training structures with weights [default: 1p:4,2p:2,3p:1, and what the model can express of 2i:1,3i:1,2in:1,3in:1,inp:1,pin:1,pni:1]
    #[arg(long, value_name = "MIX")]
    pub structures: Option<String>,
    /// Steps of the run, instead of epochs
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,
    /// Epochs; one is as many queries as there are directed training edges [default: 100]
    #[arg(long, value_name = "N", conflicts_with = "steps", value_parser = parse_number)]
    pub epochs: Option<f64>,
    /// Seed of the start and of every batch [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: Option<u64>,
    /// Entity rows in memory, or in a mapped file of the run folder that may be larger than memory [default: memory]
    #[arg(long, value_enum, value_name = "WHERE", ignore_case = true)]
    pub table: Option<TableKind>,
    /// Precision of matrix products on a GPU; tf32 is faster and less exact [default: fp32]
    #[arg(long, value_enum, value_name = "MATH", ignore_case = true)]
    pub math: Option<Math>,
    /// Any key of the configuration (see `smore train --help-config`); can be given again
    #[arg(long, value_name = "KEY.PATH=VALUE")]
    pub set: Vec<String>,
}

impl ConfigArgs {
    /// The flags as assignments, in the order in which they apply.
    pub fn assignments(&self) -> Vec<String> {
        fn text(key: &str, value: &Option<impl std::fmt::Debug>) -> Option<String> {
            value.as_ref().map(|v| format!("{key}={v:?}"))
        }
        fn choice(key: &str, value: &Option<impl ValueEnum>) -> Option<String> {
            let name = value.as_ref()?.to_possible_value().expect("no choice is skipped");
            Some(format!("{key}={}", name.get_name()))
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
            choice("training.table", &self.table),
            choice("training.math", &self.math),
        ];
        flags.into_iter().flatten().chain(self.set.iter().cloned()).collect()
    }

    /// Whether the file or an option gives `key` a value.
    pub fn sets(&self, key: &str) -> Result<bool> {
        let assigned = |text: &String| text.split('=').next().is_some_and(|path| path.trim() == key);
        Ok(self.assignments().iter().any(assigned)
            || self.config.as_deref().map(|file| Config::file_sets(file, key)).transpose()?.unwrap_or(false))
    }

    /// The resolved configuration.
    pub fn load(&self) -> Result<Config> {
        Config::load(self.config.as_deref(), &self.assignments())
    }
}

/// How a saved run answers queries.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Inference")]
pub struct InferenceArgs {
    /// What answers: the model's own embedding of the query; or reasoning over its scores of single links, along the best
    /// bindings of each variable (beam) or over all of them (exact); auto is exact where that fits, else a beam
    /// [default: the run's inference.engine, which is embedding]
    #[arg(long, value_enum, value_name = "ENGINE")]
    inference: Option<Engine>,
    /// Links that beam and exact inference take as observed [default: the run's inference.evidence, which is train]
    #[arg(long, value_enum, value_name = "SPLITS")]
    evidence: Option<Evidence>,
    /// Any key of the section inference (see `smore train --help-config`); can be given again
    #[arg(long, value_name = "inference.KEY=VALUE")]
    set: Vec<String>,
    /// Memory for rows of truth values, for example 4G; what does not fit is made again [default: a quarter of the machine's]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    memory: Option<u64>,
}

impl InferenceArgs {
    /// The configuration of a run with these options on top.
    pub fn applied(&self, config: Config) -> Result<Config> {
        if let Some(other) = self.set.iter().find(|text| !text.trim_start().starts_with("inference.")) {
            return Err(Error::invalid(format!(
                "--set {other}: the run is trained, only keys of the section inference can be set: inference.KEY=VALUE"
            )));
        }
        let engine = self.inference.map(|engine| format!("inference.engine={:?}", engine.name()));
        let evidence = self.evidence.map(|evidence| format!("inference.evidence={:?}", evidence.name()));
        let assignments: Vec<String> = self.set.iter().cloned().chain(engine).chain(evidence).collect();
        if assignments.is_empty() { Ok(config) } else { config.with(&assignments) }
    }

    /// How queries are answered by the configuration.
    pub fn prepare(
        &self,
        config: &Config,
        folder: &RunFolder,
        graph: &KnowledgeGraph,
        global: &Global,
    ) -> Result<Prepared> {
        self.prepare_engine(config.inference.engine, config, folder, graph, global)
    }

    /// The same with this engine.
    pub fn prepare_engine(
        &self,
        engine: Engine,
        config: &Config,
        folder: &RunFolder,
        graph: &KnowledgeGraph,
        global: &Global,
    ) -> Result<Prepared> {
        let memory = self.memory.unwrap_or_else(Inference::default_memory);
        let prepared =
            inference::prepare(folder, graph, config, engine, memory, &global.cache()?.verified())?;
        prepared.notes.iter().for_each(|text| note(format_args!("note: {text}")));
        Ok(prepared)
    }
}

/// What to do where files of a run folder were changed.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
#[command(next_help_heading = "Options")]
pub struct ChangesArgs {
    /// Use files of the run folder as they are where they are not what the run wrote, with a note
    #[arg(long)]
    accept_changes: bool,
}

impl ChangesArgs {
    /// The choice.
    pub fn changes(self) -> Changes {
        if self.accept_changes { Changes::Accept } else { Changes::Refuse }
    }
}

/// The device that computes.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Options")]
pub struct DeviceArgs {
    /// Device: auto (a GPU where there is one), cpu, cuda or cuda:N (see `smore devices`)
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = Device::from_str)]
    device: Device,
}

impl DeviceArgs {
    /// Makes the device ready. A note says what makes a GPU slower than it could be.
    pub fn open(&self, math: Math, global: &Global) -> Result<Opened> {
        self.open_with_reason(math, global).map(|(device, _)| device)
    }

    /// As [`DeviceArgs::open`], with the reason why `auto` has found no usable GPU.
    pub fn open_with_reason(&self, math: Math, global: &Global) -> Result<(Opened, Option<String>)> {
        let opened = self.device.open(math, &global.cache()?)?;
        match &opened.0 {
            Opened::Cuda(cuda) => {
                if let Some(why) = cuda.slow_products() {
                    note(format_args!("warning: {why}"));
                }
            }
            Opened::Cpu(_) if math != Math::Fp32 => {
                note("note: training.math is for GPUs: the CPU multiplies in fp32");
            }
            Opened::Cpu(_) => {}
        }
        Ok(opened)
    }
}

pub(super) use crate::api::on;

/// `4G`, `500M`, `1.5GB`, `2GiB`, or a plain number of bytes. `K`, `M`, `G`, `T` are powers of 1,000, with `i`
/// of 1,024.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text[digits.len()..].to_ascii_lowercase();
    let (unit, base) = match unit.strip_suffix("ib") {
        Some(unit) => (unit, 1024f64),
        None => (unit.strip_suffix('b').unwrap_or(&unit), 1000f64),
    };
    let power = ["", "k", "m", "g", "t"].iter().position(|known| *known == unit);
    let number = digits.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    match (number, power) {
        (Some(number), Some(power)) => Ok((number * base.powi(power as i32)) as u64),
        _ => Err("expected a size such as 4G, 500M or 2GiB".into()),
    }
}

/// A number; "nan" and "inf" are none.
pub fn parse_number(text: &str) -> Result<f64, String> {
    let number = text.trim().parse().ok().filter(|number: &f64| number.is_finite());
    number.ok_or_else(|| "expected a number".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        let known = ["4G", "500m", "1.5GB", "2GiB", "1024", "0"].map(|text| parse_bytes(text).unwrap());
        assert_eq!(known, [4_000_000_000, 500_000_000, 1_500_000_000, 2 << 30, 1024, 0]);
        for wrong in ["", "G", "4X", "-1G", "4 G", "nanG", "4iG", "1e400"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
    }
}
