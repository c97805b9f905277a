//! `smore devices`.

use super::{Global, print, print_json};
use crate::backend::{Backend, Cpu};
use crate::table::Table;
use serde_json::json;

/// Arguments of `smore devices`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs `smore devices`.
pub fn run(_: Args, global: &Global) -> anyhow::Result<()> {
    let description = Cpu.describe();
    if global.json {
        return print_json(&json!({ "devices": [{ "name": "cpu", "description": description }] }));
    }
    let mut table = Table::new().left("device").left("what it is");
    table.row(["cpu".into(), description]);
    table.row(["cuda".into(), "not in this version: the CUDA backend is still to be written".into()]);
    print(table)
}
