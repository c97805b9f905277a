//! `smore sample`: the queries of an evaluation, to look at or to use elsewhere.

use super::eval::parse_split;
use super::{Global, note, print, print_json};
use crate::config::EvaluationConfig;
use crate::dataset::Cache;
use crate::error::Error;
use crate::eval::export::{count_answers, write_json_lines};
use crate::eval::{QueryOptions, QuerySet, cache};
use crate::graph::Split;
use crate::query::{Structure, parse_structures, structure};
use crate::storage::atomic;
use crate::table::{Table, count};
use anyhow::Context;
use serde_json::{Map, Value, json};
use std::io::BufWriter;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// Arguments of `smore sample`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A line:
  {\"structure\":\"2i\",\"query\":\"(('a',('r',)),('b',('^s',)))\",\"easy\":[\"c\"],\"hard\":[\"d\",\"e\"],\"missing\":[1,2],\"observed\":[1,0]}

Easy answers follow from the observed graph (valid: train; test: train and valid), hard ones need an edge of the split; \
missing and observed count the edges of the proof of each hard answer that misses the fewest. \
`smore query` takes the query as it stands. The same options give the queries that `smore eval` ranks.")]
pub struct Args {
    /// Dataset: a name (see `smore data list`), a folder, or a graph file
    dataset: String,
    /// Split whose edges the hard answers need: valid or test
    #[arg(long, default_value = "test", value_parser = parse_split)]
    split: Split,
    /// Structures, by name or as tuples, 1p.2p.2i; "all" are the 14 named ones
    #[arg(long, value_name = "STRUCTURES", default_value = "all")]
    structures: String,
    /// At most so many queries of a structure [default: as `smore eval`: test 1000, valid 200]
    #[arg(long, value_name = "N")]
    queries: Option<NonZeroUsize>,
    /// Queries with more hard answers are left out
    #[arg(long, value_name = "N", default_value_t = EvaluationConfig::default().max_answers)]
    max_answers: usize,
    /// Seed of the queries
    #[arg(long, value_name = "N", default_value_t = EvaluationConfig::default().seed)]
    seed: u64,
    /// Write the lines here, and a table to standard output, instead of the lines to standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Runs `smore sample`.
pub fn run(args: Args, global: &Global) -> anyhow::Result<()> {
    let defaults = EvaluationConfig::default();
    let default = if args.split == Split::Valid { defaults.valid_queries } else { defaults.queries };
    let options = QueryOptions {
        structures: structures(&args.structures)?,
        max_queries: args.queries.map_or(default, NonZeroUsize::get),
        max_answers: args.max_answers,
        seed: args.seed,
    };
    let graph = global.open(&args.dataset)?;
    let folder = Cache::new(global.cache_dir.as_deref())?.derived(graph.fingerprint());
    let (set, warning) = cache::load_or_generate(&graph, args.split, &options, &folder);
    warning.iter().chain(&set.notes).for_each(|text| note(format_args!("note: {text}")));
    match &args.output {
        None => {
            let mut out = BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
            write_json_lines(&set, &graph, &mut out).context("cannot write to standard output")?;
            note(format_args!("{} {} queries", count(set.num_queries() as u64), args.split.name()));
            Ok(())
        }
        Some(path) => {
            atomic::write(path, |file| write_json_lines(&set, &graph, file).map_err(Error::io(path)))?;
            summary(&set, args.split, path, global)
        }
    }
}

/// Structures of a list without weights, or all named ones.
fn structures(text: &str) -> crate::Result<Vec<Structure>> {
    Ok(match text {
        "all" => structure::named().iter().map(|(_, structure)| structure.clone()).collect(),
        _ => parse_structures(text)?.into_iter().map(|(structure, _)| structure).collect(),
    })
}

/// What is in the file.
fn summary(set: &QuerySet, split: Split, path: &Path, global: &Global) -> anyhow::Result<()> {
    if global.json {
        let structures: Map<String, Value> = set
            .groups
            .iter()
            .map(|group| {
                let [easy, hard] = count_answers(group);
                let counts = json!({ "queries": group.len(), "easy": easy, "hard": hard });
                (group.structure.to_string(), counts)
            })
            .collect();
        let document = json!({
            "output": path, "split": split.name(), "structures": structures, "notes": set.notes,
        });
        return print_json(&document);
    }
    let mut table =
        Table::new().left(split.name()).right("queries").right("easy answers").right("hard answers");
    for group in &set.groups {
        let [easy, hard] = count_answers(group).map(|n| count(n as u64));
        table.row([group.structure.to_string(), count(group.len() as u64), easy, hard]);
    }
    note(format_args!("written to {}", path.display()));
    print(table)
}
