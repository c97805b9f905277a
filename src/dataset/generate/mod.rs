//! Synthetic graphs: any size, skewed like real ones, the same from the same options.
//!
//! Each triple draws head and tail by one popularity of entities and its relation by another, both after
//! Zipf: the thing of rank k is drawn in proportion to 1 / k^exponent. Which entity has which rank is a
//! seeded permutation, so that names tell nothing of it; relations are named by rank. Loops and duplicates
//! are dropped, and so many triples kept, chosen at random, as were asked for. Where there are enough
//! triples, some are made for the names that have not occurred, so that the graph has all of them.
//!
//! Draws come in chunks with random streams of their own and are sorted in bounded memory, so the graph
//! depends neither on the threads nor on the memory.
//!
//! `triples.rs` draws and chooses, `hold_out.rs` splits.

mod hold_out;
mod triples;

use crate::error::{Error, Result};
use crate::graph::edges::Probe;
use crate::graph::layout::VERSION;
pub use crate::graph::metadata::Synthetic;
use crate::graph::{GraphBuilder, Metadata, Resources, Split, Subject};
use crate::ids::Triple;
use crate::rng::{Rng, below, stream};
use crate::storage::checksum;
use crate::storage::scratch::{Scratch, Spool};
use crate::storage::sort::Sorted;
use crate::table::count;
use rand_distr::{Distribution, Zipf};
use std::path::Path;
use std::sync::Arc;

/// Raised when the same options give another graph.
const GENERATOR: u32 = 2;

/// Draws before a graph is given up: so many for each triple, and so many more that a small graph may
/// have every triple that there can be.
const DRAWS: [u64; 2] = [20, 1_000_000];

/// Names the graph that `options` give: 16 hexadecimal digits.
pub fn key(options: &Synthetic, name: &str) -> String {
    let options = serde_json::to_string(options).expect("plain data");
    format!("{:016x}", checksum::section(format!("{VERSION}\n{GENERATOR}\n{name}\n{options}").as_bytes()))
}

/// Generates the graph `name` into the file `path`, atomically.
///
/// It has exactly the triples asked for, all different and none from an entity to itself. Held-out
/// triples are a random choice of those whose entities and relation stay in train, as long as there are
/// such. The same options give the same bytes, on one platform (powers are the system's).
/// O(triples log triples) time; 12 bytes an entity of memory besides that of `resources`.
///
/// Fails where the options contradict each other, and where so many different triples do not exist or are
/// not found in a bounded number of draws.
pub fn generate(options: &Synthetic, name: &str, path: &Path, resources: Resources) -> Result<()> {
    let metadata = Metadata { dataset: name.to_owned(), generated: Some(*options), ..Metadata::default() };
    let sizes = sizes(options)?;
    let generator = Generator {
        options: *options,
        popularities: popularities(options)?,
        scratch: Scratch::new(&resources.folder),
        resources: resources.clone(),
    };
    // The triples that were drawn, beside what the builder needs.
    let needed = 60 * u64::from(options.triples) + 40 * u64::from(options.entities);
    generator.scratch.set_needed(needed);
    let triples = generator.triples()?;
    let mut builder = GraphBuilder::with_resources(metadata, resources)?;
    builder.expect_triples(options.triples.into());
    let ids = triples.name(&mut builder, options)?;
    let [valid, test] = generator.hold_out(&triples, sizes)?;
    drop(generator);
    for (split, held_out) in [(Split::Valid, &valid), (Split::Test, &test)] {
        held_out.iter()?.try_for_each(|triple| ids.add(&mut builder, split, triple?))?;
    }
    // Either part is sorted, as are the held-out ones.
    let train = |builder: &mut GraphBuilder, part: &mut dyn Iterator<Item = Result<Triple>>| -> Result<()> {
        let mut held_out = [Probe::new(valid.iter()?), Probe::new(test.iter()?)];
        for triple in part {
            let triple = triple?;
            if !held_out[0].contains(triple)? && !held_out[1].contains(triple)? {
                ids.add(builder, Split::Train, triple)?;
            }
        }
        Ok(())
    };
    train(&mut builder, &mut triples.chosen())?;
    train(&mut builder, &mut triples.added.iter()?)?;
    drop((triples, valid, test));
    builder.write(path, None)
}

/// Numbers of triples of `[train, valid, test]`, of options that can be met.
fn sizes(options: &Synthetic) -> Result<[usize; 3]> {
    let &Synthetic { entities, relations, triples, exponent, relation_exponent, valid, test, .. } = options;
    let plain = |x: f64| x.is_finite() && x >= 0.0;
    let rules = [
        ((2..=1 << 31).contains(&entities), "--entities must be between 2 and 2,147,483,648"),
        ((1..=1 << 30).contains(&relations), "--relations must be between 1 and 1,073,741,824"),
        (triples > 0, "--edges must be at least 1"),
        (plain(exponent) && plain(relation_exponent), "an exponent must be a number of 0 or more"),
        (plain(valid) && plain(test), "--valid and --test must be shares of 0 or more"),
    ];
    if let Some((_, message)) = rules.iter().find(|(holds, _)| !holds) {
        return Err(Error::invalid(*message));
    }
    let [n, r] = [u128::from(entities), u128::from(relations)];
    let possible = n * (n - 1) * r;
    if u128::from(triples) > possible {
        return Err(Error::invalid(format!(
            "{} different triples do not exist: {} entities and {} relations have {} without those from an entity \
             to itself; raise --entities or --relations",
            count(triples),
            count(entities),
            count(relations),
            count(possible as u64)
        )));
    }
    let share = |share: f64| (share * f64::from(triples)).round() as usize;
    let held_out = share(valid).saturating_add(share(test));
    if held_out >= triples as usize {
        return Err(Error::invalid("--valid and --test leave no triple to train on: lower them"));
    }
    Ok([triples as usize - held_out, share(valid), share(test)])
}

/// Draws ids `0..n`, of which the one at position k of `order` (or k itself) has rank k + 1.
struct Popularity {
    ranks: Zipf<f64>,
    order: Option<Vec<u32>>,
    n: u32,
}

impl Popularity {
    fn new(n: u32, exponent: f64, order: Option<Vec<u32>>) -> Result<Self> {
        let ranks = Zipf::new(f64::from(n), exponent)
            .map_err(|e| Error::invalid(format!("a popularity with exponent {exponent}: {e}")))?;
        Ok(Popularity { ranks, order, n })
    }

    fn draw(&self, rng: &mut Rng) -> u32 {
        // A rank is a whole number from 1; rounding must not lead past the last.
        let rank = (self.ranks.sample(rng) as u32).clamp(1, self.n) - 1;
        self.order.as_ref().map_or(rank, |order| order[rank as usize])
    }
}

/// Popularities of entities and relations.
fn popularities(options: &Synthetic) -> Result<[Popularity; 2]> {
    let &Synthetic { entities: n, relations: r, seed, exponent, relation_exponent, .. } = options;
    let mut order: Vec<u32> = (0..n).collect();
    shuffle(&mut order, &mut stream(seed, "generate: order of entities", 0));
    Ok([Popularity::new(n, exponent, Some(order))?, Popularity::new(r, relation_exponent, None)?])
}

/// Draws of one random stream.
const CHUNK: u64 = 1 << 16;
/// Chunks that are drawn at once.
const CHUNKS: u64 = 32;

struct Generator {
    options: Synthetic,
    popularities: [Popularity; 2],
    scratch: Arc<Scratch>,
    resources: Resources,
}

/// Which triples the graph has.
struct Triples {
    /// Different triples, sorted: so many, of which so many are chosen.
    drawn: Spool,
    num_drawn: u64,
    num_chosen: u64,
    seed: u64,
    /// Triples of names that do not occur in those.
    added: Sorted<Triple>,
    /// How often entities and relations occur.
    uses: [Vec<u32>; 2],
}

impl Triples {
    /// The triples that are chosen among those drawn, sorted. The same at each call.
    fn chosen(&self) -> impl Iterator<Item = Result<Triple>> {
        choose(&self.drawn, self.num_drawn, self.num_chosen, self.seed)
    }

    fn all(&self) -> Result<impl Iterator<Item = Result<Triple>>> {
        Ok(self.chosen().chain(self.added.iter()?))
    }

    /// Declares the names that occur: all there are, or few where the triples are too few.
    fn name(&self, builder: &mut GraphBuilder, options: &Synthetic) -> Result<Ids> {
        let all = has_all_names(options);
        let mut maps = [Vec::new(), Vec::new()];
        for (subject, letter, uses) in
            [(Subject::Entity, 'e', &self.uses[0]), (Subject::Relation, 'r', &self.uses[1])]
        {
            for (number, &uses) in uses.iter().enumerate() {
                let id = match all || uses > 0 {
                    true => builder.declare(subject, &format!("{letter}{number}"))?,
                    false => u32::MAX,
                };
                if !all {
                    maps[subject as usize].push(id);
                }
            }
        }
        Ok(Ids((!all).then_some(maps)))
    }
}

/// Ids of the builder, where they are not those of the generator.
struct Ids(Option<[Vec<u32>; 2]>);

impl Ids {
    fn add(&self, builder: &mut GraphBuilder, split: Split, triple: Triple) -> Result<()> {
        let [mut head, mut relation, mut tail] = [triple.head.0, triple.relation.0 / 2, triple.tail.0];
        if let Some([entities, relations]) = &self.0 {
            head = entities[head as usize];
            relation = relations[relation as usize];
            tail = entities[tail as usize];
        }
        builder.add_ids(split, head, relation, tail)
    }
}

/// Whether there are triples enough for every name to occur.
fn has_all_names(options: &Synthetic) -> bool {
    options.triples >= options.entities.max(options.relations)
}

/// `chosen` of the `drawn` triples of a spool, at random, in their order.
fn choose(spool: &Spool, drawn: u64, chosen: u64, seed: u64) -> impl Iterator<Item = Result<Triple>> {
    let mut rng = stream(seed, "generate: choice", 0);
    let (mut left, mut wanted) = (drawn, chosen);
    spool.values::<Triple>(1 << 20).filter(move |_| {
        let take = below(&mut rng, left) < wanted;
        left -= 1;
        wanted -= u64::from(take);
        take
    })
}

/// Fisher and Yates.
fn shuffle<T>(items: &mut [T], rng: &mut Rng) {
    for i in (1..items.len()).rev() {
        items.swap(i, below(rng, i as u64 + 1) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_popularity_is_zipf_over_the_given_order() {
        let popularity = Popularity::new(4, 1.0, Some(vec![2, 0, 3, 1])).unwrap();
        let (mut rng, mut counts) = (stream(1, "test", 0), [0f64; 4]);
        const DRAWS: usize = 200_000;
        (0..DRAWS).for_each(|_| counts[popularity.draw(&mut rng) as usize] += 1.0);
        let total = 1.0 + 1.0 / 2.0 + 1.0 / 3.0 + 1.0 / 4.0;
        for (rank, id) in [2usize, 0, 3, 1].into_iter().enumerate() {
            let expected = DRAWS as f64 / (rank + 1) as f64 / total;
            assert!((counts[id] - expected).abs() < 0.02 * DRAWS as f64, "{counts:?}");
        }
    }

    #[test]
    fn a_key_tells_every_option() {
        let options = Synthetic::default();
        let others = [
            Synthetic { entities: 1, ..options },
            Synthetic { relations: 1, ..options },
            Synthetic { triples: 1, ..options },
            Synthetic { exponent: 0.5, ..options },
            Synthetic { relation_exponent: 0.5, ..options },
            Synthetic { valid: 0.5, ..options },
            Synthetic { test: 0.5, ..options },
            Synthetic { seed: 1, ..options },
        ];
        let mut keys: Vec<String> = others.iter().map(|o| key(o, "a")).collect();
        keys.extend([key(&options, "a"), key(&options, "b")]);
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 10);
    }
}
