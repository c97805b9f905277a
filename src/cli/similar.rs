//! `smore similar`: the entities that are most alike, by a saved model's geometry.

use super::lines::Lines;
use super::options::{ChangesArgs, DeviceArgs, on};
use super::query::parse_k;
use super::{Global, print, print_json};
use crate::eval::ModelScorer;
use crate::graph::KnowledgeGraph;
use crate::ids::EntityId;
use crate::query::ground::find;
use crate::query::{NameKind, NameLookup};
use crate::table::Table;
use crate::train::RunFolder;
use crate::train::evaluate::{Loaded, load_model};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Arguments of `smore similar`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Alike is what the model's score says of one entity for the embedding of the other: of distances the margin minus the distance, of products the \
cosine. A file, or - for standard input, has one entity a line; --json then prints one JSON document a line.")]
pub struct Args {
    /// Folder of a run
    run: PathBuf,
    /// An entity, by name or label; or a file with one a line, or - for standard input
    #[arg(value_name = "ENTITY|FILE|-")]
    entity: String,
    /// Number of entities
    #[arg(short = 'k', long = "top", value_name = "K", default_value_t = 10, allow_negative_numbers = true, value_parser = parse_k)]
    k: usize,
    /// Language of labels
    #[arg(long, value_name = "LANGUAGE")]
    lang: Option<String>,
    #[command(flatten)]
    changes: ChangesArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Runs `smore similar`.
pub fn run(args: Args, global: &Global) -> anyhow::Result<()> {
    let folder = global.opened(RunFolder::open_with(&args.run, args.changes.changes())?)?;
    let config = folder.config()?;
    let mut graph = folder.graph()?;
    if let Some(language) = &args.lang {
        graph.set_language(language)?;
    }
    let entity = |text: &str| find(&graph, NameKind::Entity, text).map(EntityId);
    // A name that the graph has is no file.
    let one = match entity(&args.entity) {
        Ok(one) => Some(one),
        Err(_) if args.entity == "-" || Path::new(&args.entity).is_file() => None,
        Err(error) => return Err(error.into()),
    };
    on!(args.device.open(config.training.math, global)?, backend => {
        let Loaded { model, weights, .. } = load_model(&backend, &graph, &config, &folder)?;
        let scorer = ModelScorer::new(&backend, &*model, &weights);
        if let Some(one) = one {
            let found = scorer.similar(&[one], args.k)?.remove(0);
            return match global.json {
                true => print_json(&document(&graph, one, &found)),
                false => print(render(&graph, &found)),
            };
        }
        let mut lines = Lines::open(&args.entity)?;
        while let Some(batch) = lines.next(entity)? {
            let entities: Vec<EntityId> = batch.iter().map(|(_, entity)| *entity).collect();
            let found = scorer.similar(&entities, args.k)?;
            let text = entities.iter().zip(&found).map(|(&entity, found)| match global.json {
                true => format!("{}\n", document(&graph, entity, found)),
                false => format!("{}\n{}\n", graph.name(NameKind::Entity, entity.0), render(&graph, found)),
            });
            print(text.collect::<String>())?;
        }
        lines.finish()
    })
}

fn document(graph: &KnowledgeGraph, entity: EntityId, found: &[(EntityId, f32)]) -> Value {
    let named =
        |entity: EntityId| (graph.name(NameKind::Entity, entity.0), graph.label(NameKind::Entity, entity.0));
    let similar = found.iter().map(|&(entity, score)| {
        let (name, label) = named(entity);
        json!({ "entity": name, "label": label, "score": score })
    });
    let (name, label) = named(entity);
    json!({ "entity": name, "label": label, "similar": similar.collect::<Vec<_>>() })
}

fn render(graph: &KnowledgeGraph, found: &[(EntityId, f32)]) -> String {
    let label = |entity: EntityId| graph.label(NameKind::Entity, entity.0);
    let labels = found.iter().any(|(entity, _)| label(*entity).is_some());
    let mut table = Table::new().right("#").left("entity");
    if labels {
        table = table.left("label");
    }
    table = table.right("score");
    for (i, &(entity, score)) in found.iter().enumerate() {
        let mut row = vec![(i + 1).to_string(), graph.name(NameKind::Entity, entity.0)];
        row.extend(labels.then(|| label(entity).unwrap_or_default()));
        row.push(format!("{score:.4}"));
        table.row(row);
    }
    table.to_string()
}
