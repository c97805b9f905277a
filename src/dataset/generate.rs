//! Synthetic graphs: any size, skewed like real ones, the same from the same options.
//!
//! Each triple draws head and tail by one popularity of entities and its relation by another, both after
//! Zipf: the thing of rank k is drawn in proportion to 1 / k^exponent. Which entity has which rank is a
//! seeded permutation, so that names tell nothing of it; relations are named by rank. Loops and triples
//! that are there already are drawn again. Where there are enough triples, the last of them are kept for
//! names that have not occurred, so that the graph has all entities and relations asked for.

use crate::error::{Error, Result};
use crate::graph::layout::VERSION;
pub use crate::graph::metadata::Synthetic;
use crate::graph::{GraphBuilder, Metadata, Split};
use crate::ids::{EntityId, RelationId, Triple};
use crate::process::total_memory;
use crate::rng::{Rng, below, stream};
use crate::storage::checksum;
use crate::table::{bytes, count};
use hashbrown::HashTable;
use rand_distr::{Distribution, Zipf};
use std::fmt::Write;
use std::ops::Range;
use std::path::Path;
use xxhash_rust::xxh3::xxh3_64;

/// Raised when the same options give another graph.
const GENERATOR: u32 = 1;

/// Draws before a graph is given up: so many for each triple, and so many more that a small graph may
/// have every triple that there can be.
const DRAWS: [u64; 2] = [20, 1_000_000];

/// Names the graph that `options` give: 16 hexadecimal digits.
pub fn key(options: &Synthetic, name: &str) -> String {
    let options = serde_json::to_string(options).expect("plain data");
    format!("{:016x}", checksum::section(format!("{VERSION}\n{GENERATOR}\n{name}\n{options}").as_bytes()))
}

/// Bytes of memory that [`generate`] takes at most, rounded up: mostly the builder's.
pub fn memory(options: &Synthetic) -> u64 {
    64 * (u64::from(options.triples) + u64::from(options.entities) + u64::from(options.relations))
}

/// Generates the graph `name` into the file `path`, atomically.
///
/// It has exactly the triples asked for, all different and none from an entity to itself. Held-out
/// triples are a random choice of those whose entities and relation stay in train, as long as there are
/// such. The same options give the same bytes, on one platform (powers are the system's).
/// O(triples + entities) expected draws and look-ups; [`memory`] tells the memory.
///
/// Fails where the options contradict each other, where so many different triples do not exist or are
/// not found in a bounded number of draws, and where the machine has not the memory.
pub fn generate(options: &Synthetic, name: &str, path: &Path) -> Result<()> {
    let mut builder = GraphBuilder::new(Metadata {
        dataset: name.to_owned(),
        generated: Some(*options),
        ..Metadata::default()
    })?;
    let sizes = sizes(options)?;
    let mut triples = draw(options)?;
    let splits = hold_out(options, sizes, &mut triples);
    let [mut head, mut relation, mut tail] = [const { String::new() }; 3];
    for (split, range) in Split::ALL.into_iter().zip(splits) {
        for triple in &triples[range] {
            let texts = [
                (&mut head, 'e', triple.head.0),
                (&mut relation, 'r', triple.relation.0 / 2),
                (&mut tail, 'e', triple.tail.0),
            ];
            for (text, kind, number) in texts {
                text.clear();
                write!(text, "{kind}{number}").expect("writing to a string cannot fail");
            }
            builder.add(split, &head, &relation, &tail)?;
        }
    }
    drop(triples);
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
    let (needed, present) = (memory(options), total_memory());
    if let Some(present) = present.filter(|&present| needed > present) {
        return Err(Error::invalid(format!(
            "this graph needs {} of memory and the machine has {}: lower --edges or --entities",
            bytes(needed),
            bytes(present)
        )));
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

/// Which ids have not occurred yet.
struct Missing {
    occurred: Vec<bool>,
    number: usize,
    /// No id below it is missing.
    first: usize,
}

impl Missing {
    fn new(n: u32) -> Self {
        Missing { occurred: vec![false; n as usize], number: n as usize, first: 0 }
    }

    fn first(&mut self) -> Option<u32> {
        while *self.occurred.get(self.first)? {
            self.first += 1;
        }
        Some(self.first as u32)
    }

    fn remove(&mut self, id: u32) {
        self.number -= usize::from(!std::mem::replace(&mut self.occurred[id as usize], true));
    }
}

/// Different triples in the order of their insertion, and their positions by hash.
struct Triples {
    list: Vec<Triple>,
    positions: HashTable<u32>,
}

impl Triples {
    fn hash(triple: &Triple) -> u64 {
        xxh3_64(bytemuck::bytes_of(triple))
    }

    /// Whether the triple was not there yet.
    fn insert(&mut self, triple: Triple) -> bool {
        let Triples { list, positions } = self;
        let hash = Self::hash(&triple);
        if positions.find(hash, |&p| list[p as usize] == triple).is_some() {
            return false;
        }
        let position = u32::try_from(list.len()).expect("options count triples in 32 bits");
        positions.insert_unique(hash, position, |&p| Self::hash(&list[p as usize]));
        list.push(triple);
        true
    }
}

/// The triples, with forward relations.
fn draw(options: &Synthetic) -> Result<Vec<Triple>> {
    let &Synthetic { entities: n, relations: r, seed, .. } = options;
    let wanted = options.triples as usize;
    let mut order: Vec<u32> = (0..n).collect();
    shuffle(&mut order, &mut stream(seed, "generate: order of entities", 0));
    let entities = Popularity::new(n, options.exponent, Some(order))?;
    let relations = Popularity::new(r, options.relation_exponent, None)?;
    let mut missing = [Missing::new(n), Missing::new(r)];
    let enough = wanted >= n.max(r) as usize;
    let mut triples =
        Triples { list: Vec::with_capacity(wanted), positions: HashTable::with_capacity(wanted) };
    let mut rng = stream(seed, "generate: triples", 0);
    let limit = DRAWS[0] * wanted as u64 + DRAWS[1];
    for _ in 0..limit {
        let left = wanted - triples.list.len();
        if left == 0 {
            return Ok(triples.list);
        }
        let (mut head, mut tail) = (entities.draw(&mut rng), entities.draw(&mut rng));
        let mut relation = relations.draw(&mut rng);
        // There are never fewer triples left than names missing, because each of the last ones takes
        // one of either kind.
        if enough && left <= missing[0].number.max(missing[1].number) {
            if let Some(entity) = missing[0].first() {
                *(if below(&mut rng, 2) == 0 { &mut head } else { &mut tail }) = entity;
            }
            relation = missing[1].first().unwrap_or(relation);
        }
        let triple =
            Triple { head: EntityId(head), relation: RelationId(2 * relation), tail: EntityId(tail) };
        if head != tail && triples.insert(triple) {
            missing[0].remove(head);
            missing[0].remove(tail);
            missing[1].remove(relation);
        }
    }
    Err(Error::invalid(format!(
        "only {} of {} different triples were found in {} draws: what is popular is exhausted; lower --edges, \
         --exponent or --relation-exponent, or raise --entities or --relations",
        count(triples.list.len() as u64),
        count(wanted as u64),
        count(limit)
    )))
}

/// Puts the triples in a random order that begins with test and valid; returns the ranges of
/// `[train, valid, test]`.
fn hold_out(options: &Synthetic, [_, valid, test]: [usize; 3], triples: &mut [Triple]) -> [Range<usize>; 3] {
    shuffle(triples, &mut stream(options.seed, "generate: splits", 0));
    let mut degrees = vec![0u32; options.entities as usize];
    let mut uses = vec![0u32; options.relations as usize];
    for triple in triples.iter() {
        degrees[triple.head.index()] += 1;
        degrees[triple.tail.index()] += 1;
        uses[triple.relation.index() / 2] += 1;
    }
    let mut held_out = 0;
    for i in 0..triples.len() {
        if held_out == valid + test {
            break;
        }
        let Triple { head, relation, tail } = triples[i];
        let (ends, relation) = ([head.index(), tail.index()], relation.index() / 2);
        if uses[relation] > 1 && ends.iter().all(|&entity| degrees[entity] > 1) {
            uses[relation] -= 1;
            ends.iter().for_each(|&entity| degrees[entity] -= 1);
            triples.swap(held_out, i);
            held_out += 1;
        }
    }
    [valid + test..triples.len(), test..valid + test, 0..test]
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

    #[test]
    fn triples_are_held_out_against_the_rule_only_where_nothing_else_is_left() {
        let star = |leaf: u32| Triple { head: EntityId(0), relation: RelationId(0), tail: EntityId(leaf) };
        let mut triples: Vec<Triple> = (1..=4).map(star).chain([star(4).inverse()]).collect();
        triples[4].relation = RelationId(0);
        let options = Synthetic { entities: 5, relations: 1, ..Synthetic::default() };
        for held_out in 1..=3 {
            let [train, valid, test] = hold_out(&options, [0, held_out - 1, 1], &mut triples);
            assert_eq!((train.len(), valid.len(), test.len()), (5 - held_out, held_out - 1, 1));
            let is_between_0_and_4 = |t: &Triple| t.head.0.max(t.tail.0) == 4;
            assert!(is_between_0_and_4(&triples[0]), "the only two triples that may go are these");
        }
    }
}
