//! `smore data generate`: a synthetic graph.

use super::data::show_made;
use super::data_export::export;
use super::options::{parse_bytes, parse_number};
use super::{Global, progress};
use crate::dataset::OpenOptions;
use crate::dataset::generate::Synthetic;
use crate::dataset::open::generate_as;
use std::path::PathBuf;
use std::time::Instant;

/// Arguments of `smore data generate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Heads and tails are drawn by Zipf popularity (rank k in proportion to 1 / k^exponent) over a random order of the \
entities, relations likewise. Triples are all different, and none leads from an entity to itself. The same options give \
the same graph.

It is built in --memory and 12 bytes an entity; what does not fit is sorted on disk.")]
pub struct GenerateArgs {
    /// The dataset's name from now on
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Sizes of a real graph, for what is not given: freebase (86,054,151 entities, 14,824 relations,
    /// 338,586,276 edges)
    #[arg(long, value_name = "GRAPH")]
    like: Option<Like>,
    /// Number of entities, e0 and so on; with fewer edges than this, the unpopular ones do not occur
    #[arg(long, value_name = "N")]
    entities: Option<u32>,
    /// Number of relations, r0 (the most frequent) and so on
    #[arg(long, value_name = "R")]
    relations: Option<u32>,
    /// Number of different triples, of all splits
    #[arg(long, value_name = "E")]
    edges: Option<u32>,
    /// Zipf exponent of the popularity of entities; 0 makes all alike
    #[arg(long, value_name = "X", default_value_t = Synthetic::default().exponent, allow_negative_numbers = true, value_parser = parse_number)]
    exponent: f64,
    /// Zipf exponent of the frequency of relations
    #[arg(long, value_name = "X", default_value_t = Synthetic::default().relation_exponent, allow_negative_numbers = true, value_parser = parse_number)]
    relation_exponent: f64,
    /// Share of triples in valid; their entities and relations stay in train where possible
    #[arg(long, value_name = "SHARE", default_value_t = Synthetic::default().valid, allow_negative_numbers = true, value_parser = parse_number)]
    valid: f64,
    /// Share of triples in test
    #[arg(long, value_name = "SHARE", default_value_t = Synthetic::default().test, allow_negative_numbers = true, value_parser = parse_number)]
    test: f64,
    /// Seed of everything that is drawn
    #[arg(long, value_name = "N", default_value_t = Synthetic::default().seed)]
    seed: u64,
    /// Memory to build the graph in, for example 4G [default: a quarter of the machine's]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    memory: Option<u64>,
    /// Write the graph file here instead of into the cache
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write the triples and names into this folder too, as `smore data export` does
    #[arg(long, value_name = "FOLDER")]
    write_folder: Option<PathBuf>,
}

/// A graph whose sizes are known.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Like {
    /// The Freebase of DGL-KE.
    Freebase,
}

/// Runs `smore data generate`.
pub fn run(args: GenerateArgs, global: &Global) -> anyhow::Result<()> {
    let sizes = match args.like {
        Some(Like::Freebase) => Synthetic {
            entities: 86_054_151,
            relations: 14_824,
            triples: 338_586_276,
            ..Synthetic::default()
        },
        None => Synthetic::default(),
    };
    let options = Synthetic {
        entities: args.entities.unwrap_or(sizes.entities),
        relations: args.relations.unwrap_or(sizes.relations),
        triples: args.edges.unwrap_or(sizes.triples),
        exponent: args.exponent,
        relation_exponent: args.relation_exponent,
        valid: args.valid,
        test: args.test,
        seed: args.seed,
    };
    let resources =
        OpenOptions { memory: args.memory, progress: progress::printer(), ..global.open_options() };
    let start = Instant::now();
    let (graph, report) = generate_as(&options, &args.name, args.output.as_deref(), &resources)?;
    // Takes the line of progress off the screen.
    drop(resources);
    if let Some(folder) = &args.write_folder {
        export(&graph, folder)?;
    }
    show_made(&graph, &report, start.elapsed().as_secs_f64(), global)
}
