//! How fast queries are drawn on a public graph. Not a check but a measurement:
//! `SMORE_GRAPH=FB15k-237 cargo test --release --test sampler_speed -- --ignored --nocapture`
//!
//! Once with the caps of the reference implementation's published settings, once with the defaults.

use smore::graph::CsrBuf;
use smore::ids::{EntityId, RelationId, Triple};
use smore::pipeline::Batch;
use smore::query::{Mix, Plan, Structure, Tree};
use smore::sampler::{Rejection, Sampler, SamplerOptions};
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Instant;

fn p(child: Structure) -> Structure {
    Tree::Projection(Box::new(child), ())
}

fn chain(length: usize) -> Structure {
    (0..length).fold(Tree::Anchor(()), |tree, _| p(tree))
}

fn not(child: Structure) -> Structure {
    Tree::Negation(Box::new(child))
}

fn and(children: &[Structure]) -> Structure {
    Tree::Intersection(children.to_vec())
}

fn or(children: &[Structure]) -> Structure {
    Tree::Union(children.to_vec())
}

fn named() -> Vec<(&'static str, Structure)> {
    let one = || chain(1);
    vec![
        ("1p", one()),
        ("2p", chain(2)),
        ("3p", chain(3)),
        ("2i", and(&[one(), one()])),
        ("3i", and(&[one(), one(), one()])),
        ("ip", p(and(&[one(), one()]))),
        ("pi", and(&[chain(2), one()])),
        ("2u", or(&[one(), one()])),
        ("up", p(or(&[one(), one()]))),
        ("2in", and(&[one(), not(one())])),
        ("3in", and(&[one(), one(), not(one())])),
        ("inp", p(and(&[one(), not(one())]))),
        ("pin", and(&[chain(2), not(one())])),
        ("pni", and(&[not(chain(2)), one()])),
    ]
}

fn training_graph(folder: &str) -> Option<CsrBuf> {
    let data = std::env::var_os("SMORE_DATA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    let text = std::fs::read_to_string(data.join(folder).join("train.txt")).ok()?;
    let (mut entities, mut relations) = (HashMap::new(), HashMap::new());
    let mut triples = Vec::new();
    for line in text.lines() {
        let mut fields = line.trim_end_matches('\r').split('\t');
        let (h, r, t) = (fields.next()?, fields.next()?, fields.next()?);
        let mut entity = |name| {
            let next = entities.len() as u32;
            EntityId(*entities.entry(name).or_insert(next))
        };
        let (head, tail) = (entity(h), entity(t));
        let next = relations.len() as u32;
        let relation = RelationId(2 * *relations.entry(r).or_insert(next));
        triples.push(Triple { head, relation, tail });
    }
    Some(CsrBuf::from_triples(entities.len(), &triples))
}

/// Queries per second of one thread over about a second, the indexing for the trainer included.
fn measure(graph: &CsrBuf, name: &str, mix: &Mix, options: &SamplerOptions) {
    let mut sampler = Sampler::new(graph.view(), mix, options.clone()).unwrap();
    let plan = Plan::new(mix).unwrap();
    let mut batch = Batch::default();
    for number in 0..4 {
        sampler.fill(number, &mut batch).unwrap();
    }
    let (start, mut index, mut batches) = (Instant::now(), 0.0, 0);
    while start.elapsed().as_secs_f64() < 1.0 {
        sampler.fill(4 + batches, &mut batch).unwrap();
        let filled = Instant::now();
        batch.index(&plan);
        index += filled.elapsed().as_secs_f64();
        batches += 1;
    }
    let seconds = start.elapsed().as_secs_f64();
    let queries = (batches * mix.num_queries() as u64) as f64;
    print!(
        "{name:>4}: {:8.0} queries/s ({:8.0} without the index)",
        queries / seconds,
        queries / (seconds - index)
    );
    let (mut drawn, mut enumerated, mut masked, mut frontier, mut rejected) = (0.0, 0.0, 0.0, 0.0, [0.0; 8]);
    for (_, stats) in sampler.stats() {
        drawn += stats.drawn as f64;
        enumerated += stats.enumerated as f64;
        masked += stats.masked_sum as f64;
        frontier += stats.frontier_sum as f64;
        for (sum, count) in rejected.iter_mut().zip(stats.rejections.counts) {
            *sum += count as f64;
        }
    }
    print!(
        " exact {:3.0} %, masked {:4.1}, frontier {:4.1};",
        100.0 * enumerated / drawn,
        masked / drawn,
        frontier / drawn
    );
    for (reason, count) in Rejection::ALL.iter().zip(rejected) {
        if count > 0.0 {
            print!(" {} {:.3}", reason.name(), count / drawn);
        }
    }
    println!();
}

#[test]
#[ignore = "a measurement of about 40 seconds"]
fn queries_per_second_of_every_structure() {
    let folder = std::env::var("SMORE_GRAPH").unwrap_or("FB15k-237".into());
    let Some(graph) = training_graph(&folder) else {
        println!("skipped: no {folder}/train.txt under SMORE_DATA");
        return;
    };
    let weights = [(0, 2.0), (1, 2.0), (2, 2.0), (3, 1.0), (4, 1.0)];
    let mix: Vec<_> = weights.iter().map(|&(i, weight)| (named()[i].1.clone(), weight)).collect();
    let mix = Mix::new(&mix, 512).unwrap();
    let default = SamplerOptions { seed: 1, ..Default::default() };
    let reference = SamplerOptions { relation_bandwidth: 500, answer_cap: 120, ..default.clone() };
    for options in [reference, default] {
        println!("relation bandwidth {}, answer cap {}", options.relation_bandwidth, options.answer_cap);
        for (name, structure) in named() {
            measure(&graph, name, &Mix { parts: vec![(structure, 512)] }, &options);
        }
        measure(&graph, "mix", &mix, &options);
    }
}
