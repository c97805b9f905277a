//! `smore data generate`: a synthetic graph.

use super::data::show_made;
use super::{Global, note};
use crate::dataset::generate::{Synthetic, memory};
use crate::dataset::resolve::generate_as;
use crate::table::{bytes, count};
use std::path::PathBuf;
use std::time::Instant;

/// Arguments of `smore data generate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Heads and tails are drawn by Zipf popularity (rank k in proportion to 1 / k^exponent) over a random order of the \
entities, relations likewise. Triples are all different, and none leads from an entity to itself. The same options give \
the same graph.

Everything is held in memory: up to 64 bytes an edge and an entity, 2.9 GB for 5 million entities and 40 million edges.")]
pub struct GenerateArgs {
    /// The dataset's name from now on
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Number of entities, e0 and so on; with fewer edges than this, the unpopular ones do not occur
    #[arg(long, value_name = "N", default_value_t = Synthetic::default().entities)]
    entities: u32,
    /// Number of relations, r0 (the most frequent) and so on
    #[arg(long, value_name = "R", default_value_t = Synthetic::default().relations)]
    relations: u32,
    /// Number of different triples, of all splits
    #[arg(long, value_name = "E", default_value_t = Synthetic::default().triples)]
    edges: u32,
    /// Zipf exponent of the popularity of entities; 0 makes all alike
    #[arg(long, value_name = "X", default_value_t = Synthetic::default().exponent, allow_negative_numbers = true)]
    exponent: f64,
    /// Zipf exponent of the frequency of relations
    #[arg(long, value_name = "X", default_value_t = Synthetic::default().relation_exponent, allow_negative_numbers = true)]
    relation_exponent: f64,
    /// Share of triples in valid; their entities and relations stay in train where possible
    #[arg(long, value_name = "SHARE", default_value_t = Synthetic::default().valid, allow_negative_numbers = true)]
    valid: f64,
    /// Share of triples in test
    #[arg(long, value_name = "SHARE", default_value_t = Synthetic::default().test, allow_negative_numbers = true)]
    test: f64,
    /// Seed of everything that is drawn
    #[arg(long, value_name = "N", default_value_t = Synthetic::default().seed)]
    seed: u64,
    /// Write the graph file here instead of into the cache
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Graphs with more triples than this take a while.
const LARGE: u32 = 1_000_000;

/// Runs `smore data generate`.
pub fn run(args: GenerateArgs, global: &Global) -> anyhow::Result<()> {
    let options = Synthetic {
        entities: args.entities,
        relations: args.relations,
        triples: args.edges,
        exponent: args.exponent,
        relation_exponent: args.relation_exponent,
        valid: args.valid,
        test: args.test,
        seed: args.seed,
    };
    if options.triples > LARGE {
        note(format_args!(
            "{} triples take up to {} of memory",
            count(options.triples),
            bytes(memory(&options))
        ));
    }
    let start = Instant::now();
    let (graph, report) =
        generate_as(&options, &args.name, args.output.as_deref(), global.cache_dir.as_deref())?;
    show_made(&graph, &report, start.elapsed().as_secs_f64(), global)
}
