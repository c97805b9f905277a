//! `smore data import | generate | list | info | verify | remove | export`.

use super::data_export::{self, ExportArgs};
use super::data_generate::{self, GenerateArgs};
use super::data_info::{self, InfoArgs};
use super::options::parse_bytes;
use super::{Global, note, note_warnings, print, print_json, progress, shown};
use crate::dataset::format::columns::Columns;
use crate::dataset::format::delimiter::Delimiter;
use crate::dataset::format::maps::MapFormat;
use crate::dataset::inventory::{Reading, missing_splits};
use crate::dataset::open::{Place, Reuse, import_as, locate_known, missing_data_dir};
use crate::dataset::registry::{self, Counts, Manifest};
use crate::dataset::{ImportReport, OpenOptions, open};
use crate::graph::{KnowledgeGraph, Split};
use crate::table::{Table, bytes, count};
use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Arguments of `smore data`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: DataCommand,
}

#[derive(Debug, Subcommand)]
enum DataCommand {
    /// Make a graph file of a folder of triples and remember it under a name
    Import(ImportArgs),
    /// Make a synthetic graph, with Zipf degrees, and remember it under a name
    Generate(GenerateArgs),
    /// Show which datasets are known and which are here
    List,
    /// Describe a dataset: counts, degrees, relations, labels, memory
    Info(InfoArgs),
    /// Check every byte of a graph file, and a known dataset against what was published
    Verify(VerifyArgs),
    /// Remove a dataset's graph files from the cache; its sources and runs stay
    Remove(RemoveArgs),
    /// Write a dataset as a folder that DGL-KE reads
    Export(ExportArgs),
}

/// Arguments of `smore data import`.
#[derive(Debug, clap::Args)]
struct ImportArgs {
    /// Folder with train, valid and test as .txt, .tsv, .csv, .nt, .nq, .ttl or .trig (also .gz, .zst, .bz2, .xz); or a
    /// folder of RDF; or one file, all of it train; or a CoDEx checkout
    path: PathBuf,
    /// The dataset's name from now on [default: the folder's name]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Skip and count bad lines instead of stopping at the first
    #[arg(long)]
    skip_bad_lines: bool,
    /// Language of the labels to show [default: en, or the first there is]
    #[arg(long, value_name = "LANGUAGE")]
    lang: Option<String>,
    /// What the columns of triples hold: h, r and t, and - for each that is passed over, as weights are [default: hrt;
    /// htr for DGL-KE's Freebase]
    #[arg(long, value_name = "ORDER", value_parser = parse_columns, allow_hyphen_values = true)]
    columns: Option<Columns>,
    /// What stands between the columns of triples: a character, \t for a tab, or `blanks` for as many as there are
    /// [default: detected from the first lines]
    #[arg(long, value_name = "CHARACTER", value_parser = parse_delimiter)]
    delimiter: Option<Delimiter>,
    /// Whether the first line of the files of triples is a header [default: detected from the first lines]
    #[arg(long)]
    header: Option<Answer>,
    /// Files with the names of ids, a name and an id a line, where triples are numbers
    #[arg(long, num_args = 2, value_names = ["ENTITIES", "RELATIONS"])]
    maps: Option<Vec<PathBuf>>,
    /// Which column of these has the ids [default: the one with 0, 1, 2 and so on]
    #[arg(long)]
    map_columns: Option<MapColumns>,
    /// Keep IRIs of RDF that are none by their grammar, as real dumps have
    #[arg(long)]
    lenient: bool,
    /// Hold out this share of train for valid, and as much for test, where there is no file of them
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = parse_share)]
    hold_out: f64,
    /// Memory to build the graph in, for example 4G; what does not fit is sorted on disk, beside the graph
    /// file [default: a quarter of the machine's]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    memory: Option<u64>,
    /// Write the graph file here instead of into the cache
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Import again even where the cache has a whole graph of these very files
    #[arg(long)]
    force: bool,
}

fn parse_columns(text: &str) -> Result<Columns, String> {
    Columns::parse(text).ok_or_else(|| "expected each of h, r and t once, as in htr or hrt-".into())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Answer {
    Yes,
    No,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum MapColumns {
    IdName,
    NameId,
}

fn parse_delimiter(text: &str) -> Result<Delimiter, String> {
    Delimiter::parse(text).ok_or_else(|| "expected one ASCII character, \\t or blanks".into())
}

fn parse_share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..0.5).contains(share));
    share.ok_or_else(|| "expected a share from 0 to below 0.5".into())
}

/// Arguments of `smore data verify`.
#[derive(Debug, clap::Args)]
struct VerifyArgs {
    /// Name of a dataset, folder, or graph file
    dataset: String,
}

/// Arguments of `smore data remove`.
#[derive(Debug, clap::Args)]
struct RemoveArgs {
    /// Name of the dataset, as `smore data list` shows it
    name: String,
}

/// Runs `smore data`.
pub fn run(args: Args, global: &Global) -> anyhow::Result<()> {
    match args.command {
        DataCommand::Import(args) => import(args, global),
        DataCommand::Generate(args) => data_generate::run(args, global),
        DataCommand::List => list(global),
        DataCommand::Info(args) => data_info::run(args, global),
        DataCommand::Verify(args) => verify(args, global),
        DataCommand::Remove(args) => remove(args, global),
        DataCommand::Export(args) => data_export::run(args, global),
    }
}

fn import(args: ImportArgs, global: &Global) -> anyhow::Result<()> {
    let options = OpenOptions {
        skip_bad_lines: args.skip_bad_lines,
        language: args.lang,
        reading: Reading {
            columns: args.columns,
            delimiter: args.delimiter,
            header: args.header.map(|answer| answer == Answer::Yes),
            map_columns: args.map_columns.map(|order| match order {
                MapColumns::IdName => MapFormat::IdName,
                MapColumns::NameId => MapFormat::NameId,
            }),
            lenient: args.lenient,
            maps: args.maps.and_then(|maps| maps.try_into().ok()),
            hold_out: args.hold_out,
        },
        memory: args.memory,
        progress: progress::printer(),
        reuse: if args.force { Reuse::Never } else { Reuse::Verified },
        ..global.open_options()
    };
    super::memory::advise("give a smaller --memory");
    let wants_labels = options.language.is_some();
    let start = Instant::now();
    let (graph, report) = import_as(&args.path, args.name.as_deref(), args.output.as_deref(), &options)?;
    // Takes the line of progress off the screen.
    drop(options);
    let empty = |split: &Split| graph.split(*split).num_edges() == 0;
    let empty: Vec<&str> =
        [Split::Valid, Split::Test].iter().filter(|s| empty(s)).map(|s| s.name()).collect();
    if args.hold_out > 0.0 && !empty.is_empty() {
        note(format_args!(
            "warning: --hold-out {} of these triples leaves {} empty: give a larger share",
            args.hold_out,
            empty.join(" and ")
        ));
    }
    if wants_labels && graph.metadata().languages.is_empty() {
        note(format_args!(
            "warning: {} has no labels in any language: --lang chooses nothing",
            graph.dataset()
        ));
    }
    show_made(&graph, &report, start.elapsed().as_secs_f64(), global)
}

/// Prints what an import or a generation made, in `seconds`.
pub(super) fn show_made(
    graph: &KnowledgeGraph,
    report: &ImportReport,
    seconds: f64,
    global: &Global,
) -> anyhow::Result<()> {
    note_warnings(report);
    let counts = Counts::of(graph);
    let skipped: u64 = graph.metadata().sources.iter().map(|source| source.skipped_lines).sum();
    if global.json {
        return print_json(&json!({
            "dataset": graph.dataset(),
            "source": shown(&report.source),
            "graph": shown(&report.graph),
            "cached": report.cached,
            "seconds": seconds,
            "counts": counts,
            "hard_negatives": {
                "valid": graph.hard_negatives(Split::Valid).len(),
                "test": graph.hard_negatives(Split::Test).len(),
            },
            "skipped_lines": skipped,
            "skipped_statements": graph.metadata().skipped_statements(),
            "findings": graph.metadata().findings,
            "generated": graph.metadata().generated,
            "warnings": report.warnings,
        }));
    }
    let state = match (report.cached, graph.metadata().generated.is_some()) {
        (true, true) => "was generated before",
        (true, false) => "unchanged since an earlier import",
        (false, true) => "generated",
        (false, false) => "imported",
    };
    note(format_args!("{state}, {seconds:.2} s"));
    let mut table = Table::new().left("dataset").left(graph.dataset());
    let mut row = |what: &str, value: String| table.row([what.into(), value]);
    row("from", report.source.display().to_string());
    row("graph file", format!("{} ({})", report.graph.display(), bytes(graph.size_in_bytes())));
    row("entities", count(counts.entities));
    row("relations", count(counts.relations));
    row("triples", splits(&counts));
    for (reason, statements) in graph.metadata().skipped_statements() {
        row("skipped statements", format!("{} ({reason})", count(statements)));
    }
    print(table)
}

/// `5,216 train, 652 valid, 661 test`.
fn splits(counts: &Counts) -> String {
    format!("{} train, {} valid, {} test", count(counts.train), count(counts.valid), count(counts.test))
}

/// Where a known dataset is, and which splits it lacks there.
fn presence(manifest: &'static Manifest, global: &Global) -> Option<(String, Vec<&'static str>)> {
    match locate_known(manifest, global.data_dir.as_deref())? {
        Place::Folder(folder, _) => {
            let missing = missing_splits(&folder).iter().map(|split| split.name()).collect();
            Some((folder.display().to_string(), missing))
        }
        _ => Some(("ships with smore".into(), Vec::new())),
    }
}

/// Folders of the data folder that hold triples of no known dataset.
fn other_folders(data_dir: Option<&Path>) -> Vec<PathBuf> {
    let Some(Ok(entries)) = data_dir.map(std::fs::read_dir) else { return Vec::new() };
    let known = |folder: &Path| {
        let places = registry::all().iter().flat_map(|manifest| &manifest.folders);
        places.map(Path::new).any(|place| folder.ends_with(place))
    };
    let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    folders.retain(|folder| missing_splits(folder).is_empty() && !known(folder));
    folders.sort();
    folders
}

fn list(global: &Global) -> anyhow::Result<()> {
    let imported = global.cache()?.named();
    let folders = other_folders(global.data_dir.as_deref());
    if global.json {
        let known = registry::all().iter().map(|manifest| {
            let present = presence(manifest, global).map(|(place, missing)| {
                json!({ "place": place, "complete": missing.is_empty(), "missing": missing })
            });
            json!({
                "name": manifest.name,
                "title": manifest.title,
                "description": manifest.description,
                "source": manifest.source,
                "license": manifest.license,
                "counts": manifest.counts,
                "present": present,
            })
        });
        return print_json(&json!({
            "data_dir": global.data_dir,
            "known": known.collect::<Vec<Value>>(),
            "imported": imported,
            "folders": folders,
        }));
    }
    let mut table =
        Table::new().left("known").right("entities").right("relations").right("triples").left("where");
    for manifest in registry::all() {
        let Counts { entities, relations, train, valid, test } = manifest.counts;
        let place = match presence(manifest, global) {
            None => "-".into(),
            Some((place, missing)) if missing.is_empty() => place,
            Some((place, missing)) => format!("{place} (without {})", missing.join(", ")),
        };
        table.row([
            manifest.name.clone(),
            count(entities),
            count(relations),
            count(train + valid + test),
            place,
        ]);
    }
    let mut text = table.to_string();
    if !imported.is_empty() {
        let mut table = Table::new().left("imported").left("from").left("graph file");
        for entry in imported {
            table.row([entry.name, entry.source.display().to_string(), entry.graph.display().to_string()]);
        }
        text += &format!("\n{table}");
    }
    if !folders.is_empty() {
        let mut table = Table::new().left("other folders");
        folders.iter().for_each(|folder| table.row([folder.display().to_string()]));
        text += &format!("\n{table}");
    }
    print(text)?;
    if global.data_dir.is_none() {
        note("no data folder: name one with --data-dir or SMORE_DATA");
    }
    if let Some(missing) = missing_data_dir(global.data_dir.as_deref()) {
        note(format_args!("warning: {missing}"));
    }
    Ok(())
}

fn verify(args: VerifyArgs, global: &Global) -> anyhow::Result<()> {
    let options = OpenOptions { reuse: Reuse::Always, ..global.open_options() };
    let (graph, report) = open(&args.dataset, &options)?;
    let start = Instant::now();
    graph.verify()?;
    let seconds = start.elapsed().as_secs_f64();
    let manifest = registry::find(graph.dataset());
    let differences = manifest.map_or_else(Vec::new, |manifest| manifest.differences(&graph));
    if global.json {
        print_json(&json!({
            "dataset": graph.dataset(),
            "graph": shown(&report.graph),
            "bytes": graph.size_in_bytes(),
            "seconds": seconds,
            "intact": true,
            "as_published": manifest.map(|_| differences.is_empty()),
            "differences": differences,
        }))?;
    } else if differences.is_empty() {
        let published = if manifest.is_some() { ", and the dataset is as published" } else { "" };
        print(format_args!(
            "{}: {} intact{published}\n",
            report.graph.display(),
            bytes(graph.size_in_bytes())
        ))?;
    }
    if !differences.is_empty() {
        anyhow::bail!(
            "{}: the file is intact, but the dataset is not as published: {}",
            report.graph.display(),
            differences.join("; ")
        );
    }
    Ok(())
}

fn remove(args: RemoveArgs, global: &Global) -> anyhow::Result<()> {
    let removal = global.cache()?.remove(&args.name)?;
    if global.json {
        let files: Vec<Value> =
            removal.files.iter().map(|(path, bytes)| json!({ "path": path, "bytes": bytes })).collect();
        return print_json(&json!({ "removed": files, "kept": removal.kept }));
    }
    for (path, length) in &removal.files {
        print(format_args!("removed {} ({})\n", path.display(), bytes(*length)))?;
    }
    if let Some(kept) = removal.kept {
        note(format_args!("{} is outside of the cache and stays; its name is forgotten", kept.display()));
    }
    Ok(())
}
