//! `smore sample`: the queries of an evaluation, to look at or to use elsewhere.

use super::eval::parse_split;
use super::options::{ChangesArgs, DeviceArgs, InferenceArgs, on};
use super::{Global, note, print, print_json, shown};
use crate::config::EvaluationConfig;
use crate::dataset::Cache;
use crate::error::Error;
use crate::eval::export::{count_answers, write_json_lines};
use crate::eval::{ModelScorer, QueryGroup, QueryOptions, QuerySet, Reasoned, Scorer, cache, export_pickle};
use crate::graph::{KnowledgeGraph, Split};
use crate::model::check_expressible;
use crate::query::structure;
use crate::storage::atomic;
use crate::table::{Table, count, counted};
use crate::train::RunFolder;
use crate::train::evaluate::{Loaded, load_model};
use anyhow::{Context, bail};
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
`smore query` takes the query as it stands. The same options give the queries that `smore eval` ranks, and `smore eval --query-set` reads what is written here.

Pickle files: train, valid and test queries with their answers as KGReasoning (BetaE) reads them, all-valid-data.pkl and \
all-test-data.pkl for SMORE, and the names of the ids.")]
pub struct Args {
    /// Dataset: a name (see `smore data list`), a folder, or a graph file
    dataset: String,
    /// Split whose edges the hard answers need: valid or test [default: test; --format pickle writes all splits]
    #[arg(long, value_parser = parse_split)]
    split: Option<Split>,
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
    /// Write the lines here, and a table to standard output, instead of the lines to standard output; of pickle
    /// files the folder
    #[arg(long, short, value_name = "FILE|FOLDER")]
    output: Option<PathBuf>,
    /// JSON lines with names, or a folder of pickle files for KGReasoning (BetaE) and SMORE
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
    /// Folder of a run on this dataset whose ranks of the hard answers are written beside them, in "ranks"
    #[arg(long, value_name = "RUN", conflicts_with = "format")]
    run: Option<PathBuf>,
    #[command(flatten)]
    inference: InferenceArgs,
    #[command(flatten)]
    changes: ChangesArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// At most so many train queries of a structure, with all their answers, in the pickle files
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    train_queries: usize,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Json,
    Pickle,
}

/// Runs `smore sample`.
pub fn run(args: Args, global: &Global) -> anyhow::Result<()> {
    let structures = structure::all_or_listed(&args.structures)?;
    let graph = global.open(&args.dataset)?;
    let folder = Cache::new(global.cache_dir.as_deref())?.derived(graph.fingerprint());
    let draw = |split: Split| -> anyhow::Result<QuerySet> {
        let defaults = EvaluationConfig::default();
        let default = if split == Split::Valid { defaults.valid_queries } else { defaults.queries };
        let (max_queries, max_answers) = match split {
            Split::Train => (args.train_queries, usize::MAX),
            _ => (args.queries.map_or(default, NonZeroUsize::get), args.max_answers),
        };
        let options =
            QueryOptions { structures: structures.clone(), max_queries, max_answers, seed: args.seed };
        let (set, warning) =
            cache::load_or_generate(&graph, split, &options, &folder, &super::progress::watch())?;
        warning.iter().chain(&set.notes).for_each(|text| note(format_args!("note: {text}")));
        Ok(set)
    };
    if args.format == Format::Pickle {
        let folder = args.output.as_deref().context("pickle files need a folder: --output FOLDER")?;
        if args.split.is_some() {
            bail!("--format pickle writes the queries of all splits: leave --split out");
        }
        export_pickle::check_empty(folder)?;
        let [train, valid, test] = SPLITS.map(draw);
        let sets = [train?, valid?, test?];
        export_pickle::write_folder(folder, &graph, sets.each_ref())?;
        return summary(&SPLITS.into_iter().zip(&sets).collect::<Vec<_>>(), folder, global);
    }
    let split = args.split.unwrap_or(Split::Test);
    let set = draw(split)?;
    let ranks = match &args.run {
        Some(run) => ranks(run, &args, &graph, &set, global)?,
        None => Vec::new(),
    };
    match &args.output {
        None => {
            let mut out = BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
            write_json_lines(&set, &graph, &ranks, &mut out).context("cannot write to standard output")?;
            let (one, many) = (format!("{} query", split.name()), format!("{} queries", split.name()));
            note(counted(set.num_queries(), &one, &many));
            Ok(())
        }
        Some(path) => {
            atomic::write(path, |file| {
                write_json_lines(&set, &graph, &ranks, file).map_err(Error::io(path))
            })?;
            summary(&[(split, &set)], path, global)
        }
    }
}

/// The ranks of the hard answers of each group by a run; of structures that its model cannot express none, with a note.
fn ranks(
    run: &Path,
    args: &Args,
    graph: &KnowledgeGraph,
    set: &QuerySet,
    global: &Global,
) -> anyhow::Result<Vec<Option<Vec<f64>>>> {
    let folder = global.opened(RunFolder::open_with(run, args.changes.changes())?)?;
    let config = args.inference.applied(folder.config()?)?;
    let of_run = folder.graph()?;
    if of_run.fingerprint() != graph.fingerprint() {
        bail!("{}: was trained on another graph ({}): its ids are others", run.display(), of_run.dataset());
    }
    let prepared = args.inference.prepare(&config, &folder, graph, global)?;
    on!(args.device.open(config.training.math, global)?, backend => {
        let Loaded { model, weights, .. } = load_model(&backend, graph, &config, &folder)?;
        let scorer = ModelScorer::new(&backend, &*model, &weights);
        let watch = super::progress::watch();
        let reasoned =
            prepared.inference.as_ref().map(|by| Reasoned::new(by.over(graph, &scorer, watch.clone()), String::new()));
        let by: &dyn Scorer = match &reasoned {
            Some(reasoned) => reasoned,
            None => &scorer,
        };
        let rank = |group: &QueryGroup| -> anyhow::Result<Option<Vec<f64>>> {
            let name = group.structure.to_string();
            if reasoned.is_none()
                && let Err(error) = check_expressible(&*model, &name, &group.structure)
            {
                note(format_args!("note: no ranks of {name}: {error}"));
                return Ok(None);
            }
            group.check(graph)?;
            let mut ranks = Vec::new();
            if !group.is_empty() {
                ranks.extend(by.rank(&group.all())?.into_iter().map(|counts| counts.rank()));
            }
            Ok(Some(ranks))
        };
        set.groups.iter().map(rank).collect()
    })
}

/// The splits of a folder of pickle files.
const SPLITS: [Split; 3] = [Split::Train, Split::Valid, Split::Test];

/// What was written, by split: tables, or a document of one split, or a list of them.
fn summary(sets: &[(Split, &QuerySet)], path: &Path, global: &Global) -> anyhow::Result<()> {
    if global.json {
        let document = |(split, set): &(Split, &QuerySet)| {
            let counts = |group: &QueryGroup| {
                let [easy, hard] = count_answers(group);
                json!({ "queries": group.len(), "easy": easy, "hard": hard })
            };
            let structures: Map<String, Value> =
                set.groups.iter().map(|group| (group.structure.to_string(), counts(group))).collect();
            json!({ "output": shown(path), "split": split.name(), "structures": structures, "notes": set.notes })
        };
        return match sets {
            [one] => print_json(&document(one)),
            all => print_json(&all.iter().map(document).collect::<Vec<_>>()),
        };
    }
    note(format_args!("written to {}", path.display()));
    for (split, set) in sets {
        let mut table =
            Table::new().left(split.name()).right("queries").right("easy answers").right("hard answers");
        for group in &set.groups {
            let [easy, hard] = count_answers(group).map(|n| count(n as u64));
            table.row([group.structure.to_string(), count(group.len() as u64), easy, hard]);
        }
        print(table)?;
    }
    Ok(())
}
