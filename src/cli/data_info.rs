//! `smore data info`: a graph in numbers.

use super::{Global, print, print_json};
use crate::dataset::registry::Counts;
use crate::graph::metadata::Synthetic;
use crate::graph::stats::{self, Cardinality, Degrees, RelationStats};
use crate::graph::{KnowledgeGraph, Split};
use crate::table::{Table, bytes, count, counted};
use serde_json::{Value, json};

/// Arguments of `smore data info`.
#[derive(Debug, clap::Args)]
pub struct InfoArgs {
    /// Name of a dataset, folder, or graph file
    dataset: String,
    /// Number of entities with the most facts to show
    #[arg(long, default_value_t = 5, value_name = "N")]
    top: usize,
    /// Number of relations to show, the most frequent first; --json has all of them
    #[arg(long, default_value_t = 20, value_name = "N")]
    relations: usize,
}

/// What is printed in either form.
struct Info<'g> {
    graph: &'g KnowledgeGraph,
    counts: Counts,
    degrees: Degrees,
    relations: Vec<RelationStats>,
}

/// Runs `smore data info`.
pub fn run(args: InfoArgs, global: &Global) -> anyhow::Result<()> {
    let graph = global.open(&args.dataset)?;
    let train = graph.split(Split::Train);
    let info = Info {
        graph: &graph,
        counts: Counts::of(&graph),
        degrees: stats::degrees(train, args.top),
        relations: stats::relations(train, graph.num_relations()),
    };
    if global.json { print_json(&info.json()) } else { print(info.text(args.relations)) }
}

impl Info<'_> {
    /// Relations and facts of train of each cardinality.
    fn cardinalities(&self) -> impl Iterator<Item = (&'static str, usize, usize)> {
        Cardinality::ALL.into_iter().map(|kind| {
            let of_kind = self.relations.iter().filter(move |r| r.cardinality == Some(kind));
            (kind.name(), of_kind.clone().count(), of_kind.map(|r| r.facts).sum())
        })
    }

    /// Bytes of the file by what they hold, in file order.
    fn memory(&self) -> Vec<(String, u64)> {
        let mut parts: Vec<(String, u64)> = Vec::new();
        for (section, length) in self.graph.sections() {
            let part = match section.rsplit_once(' ') {
                Some((split, "sizes" | "sources" | "starts" | "rows")) => format!("{split} edges"),
                Some((table, "owners" | "places" | "order" | "text")) => table.to_owned(),
                _ => section,
            };
            match parts.iter_mut().find(|(name, _)| *name == part) {
                Some((_, total)) => *total += length,
                None => parts.push((part, length)),
            }
        }
        parts
    }

    fn json(&self) -> Value {
        let Info { graph, counts, degrees, relations } = self;
        let (entities, names) = (graph.entities(), graph.relations());
        let findings = &graph.metadata().findings;
        let languages = |names: &crate::graph::Names| -> serde_json::Map<String, Value> {
            names.languages().map(|(language, labels)| (language.to_owned(), labels.into())).collect()
        };
        let by_split = |split: Split| {
            let i = split as usize;
            json!({
                "triples": graph.split(split).num_edges() / 2,
                "hard_negatives": graph.hard_negatives(split).len(),
                "unseen_triples": findings.unseen_triples[i],
                "duplicates": findings.duplicates[i],
                "duplicates_of_earlier_splits": findings.duplicates_of_earlier_splits[i],
            })
        };
        let top = degrees.top.iter().map(|&(entity, degree)| {
            json!({ "entity": entities.name(entity.0), "label": entities.label(entity.0), "degree": degree })
        });
        let relation = |r: &RelationStats| {
            let id = r.relation.0 / 2;
            json!({
                "relation": names.name(id),
                "label": names.label(id),
                "train_triples": r.facts,
                "tails_per_head": r.tails_per_head,
                "heads_per_tail": r.heads_per_tail,
                "cardinality": r.cardinality.map(Cardinality::name),
            })
        };
        let pairs = |pairs: Vec<(String, u64)>| -> serde_json::Map<String, Value> {
            pairs.into_iter().map(|(name, length)| (name, length.into())).collect()
        };
        json!({
            "dataset": graph.dataset(),
            "graph": super::shown(graph.path()),
            "fingerprint": format!("{:016x}", graph.fingerprint()),
            "counts": counts,
            "splits": {
                "train": by_split(Split::Train),
                "valid": by_split(Split::Valid),
                "test": by_split(Split::Test),
            },
            "unseen_entities": findings.unseen_entities,
            "unseen_relations": findings.unseen_relations,
            "train_degree": {
                "min": degrees.min,
                "median": degrees.median,
                "mean": degrees.mean,
                "max": degrees.max,
                "entities_without_triples": degrees.isolated,
                "top": top.collect::<Vec<_>>(),
            },
            "cardinality_rule": RULE,
            "cardinalities": self.cardinalities().map(|(kind, relations, triples)| {
                json!({ "cardinality": kind, "relations": relations, "train_triples": triples })
            }).collect::<Vec<_>>(),
            "relations": relations.iter().map(relation).collect::<Vec<_>>(),
            "language": graph.language(),
            "labels": { "entities": languages(&entities), "relations": languages(&names) },
            "file_bytes": graph.size_in_bytes(),
            "section_bytes": pairs(graph.sections().collect()),
            "sources": graph.metadata().sources,
            "skipped_statements": graph.metadata().skipped_statements(),
            "generated": graph.metadata().generated,
        })
    }

    /// The most frequent relations of train, `shown` of them.
    fn most_frequent(&self, shown: usize) -> String {
        let mut relations: Vec<&RelationStats> = self.relations.iter().collect();
        relations.sort_by_key(|r| (std::cmp::Reverse(r.facts), r.relation.0));
        let names = self.graph.relations();
        let mut table = Table::new().left("relation").right("triples in train").left("cardinality");
        for r in relations.iter().take(shown) {
            let id = r.relation.0 / 2;
            let label = names.label(id).map_or(String::new(), |label| format!(" ({label})"));
            let kind = r.cardinality.map_or("-", Cardinality::name);
            table.row([names.name(id) + &label, count(r.facts), kind.into()]);
        }
        let more = relations.len().saturating_sub(shown);
        let more = match more {
            0 => String::new(),
            _ => format!("and {}: --relations N shows more\n", counted(more, "other", "others")),
        };
        format!("{table}{more}\n")
    }

    fn text(&self, shown: usize) -> String {
        let Info { graph, counts, degrees, .. } = self;
        let (entities, relations) = (graph.entities(), graph.relations());
        let findings = &graph.metadata().findings;
        let mut text = format!(
            "{}: {}, {}\n{}\n",
            graph.dataset(),
            counted(counts.entities, "entity", "entities"),
            counted(counts.relations, "relation", "relations"),
            graph.path().display()
        );
        if let Some(Synthetic { exponent, relation_exponent, seed, .. }) = graph.metadata().generated {
            text += &format!(
                "generated from seed {seed}, Zipf exponents {exponent} (entities) and {relation_exponent} \
                 (relations)\n"
            );
        }
        text.push('\n');

        let mut table =
            Table::new().left("split").right("triples").right("with unseen names").right("hard negatives");
        for split in Split::ALL {
            table.row([
                split.name().into(),
                count(graph.split(split).num_edges() / 2),
                count(findings.unseen_triples[split as usize]),
                count(graph.hard_negatives(split).len()),
            ]);
        }
        text += &format!(
            "{table}{} entities and {} relations do not occur in train\n\n",
            count(findings.unseen_entities),
            count(findings.unseen_relations)
        );

        let mut table = Table::new().left("degree in train").right("triples as head or tail");
        table.row(["smallest".into(), count(degrees.min)]);
        table.row(["median".into(), format!("{:.1}", degrees.median)]);
        table.row(["mean".into(), format!("{:.1}", degrees.mean)]);
        table.row(["largest".into(), count(degrees.max)]);
        for &(entity, degree) in &degrees.top {
            let name = entities.name(entity.0);
            let label = entities.label(entity.0).map_or(String::new(), |label| format!(" ({label})"));
            table.row([format!("  {name}{label}"), count(degree)]);
        }
        text += &format!("{table}\n");

        let mut table = Table::new().left("relations in train").right("relations").right("triples");
        for (kind, relations, triples) in self.cardinalities() {
            table.row([kind.into(), count(relations), count(triples)]);
        }
        text += &format!("{table}{RULE}\n\n");
        if shown > 0 {
            text += &self.most_frequent(shown);
        }

        let mut table = Table::new().left("labels").right("entities").right("relations");
        for language in &graph.metadata().languages {
            let number = |names: &crate::graph::Names| {
                count(names.languages().find(|(l, _)| l == language).map_or(0, |(_, labels)| labels))
            };
            table.row([language.clone(), number(&entities), number(&relations)]);
        }
        if !table.is_empty() {
            text += &format!("{table}\n");
        }

        let mut table = Table::new().left("skipped statements").right("number");
        for (reason, number) in graph.metadata().skipped_statements() {
            table.row([reason.into(), count(number)]);
        }
        if !table.is_empty() {
            text += &format!("{table}\n");
        }

        let mut table = Table::new().left("file and memory").right("size").right("bytes a directed edge");
        for (part, length) in self.memory() {
            let split = Split::ALL.into_iter().find(|split| part == format!("{} edges", split.name()));
            let each = split.map(|split| graph.split(split).num_edges()).filter(|&edges| edges > 0);
            let each = each.map(|edges| format!("{:.2}", length as f64 / edges as f64));
            table.row([part, bytes(length), each.unwrap_or_default()]);
        }
        table.row(["whole file, mapped and shared".into(), bytes(graph.size_in_bytes()), String::new()]);
        text + &table.to_string()
    }
}

/// How [`Cardinality`] is decided, in one line.
const RULE: &str = "a side is N where it has on average 1.5 or more entities for one at the other side";
