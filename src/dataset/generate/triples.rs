//! Draws triples until enough are different, chooses among them, and adds what has all names occur.

use super::{CHUNK, CHUNKS, DRAWS, Generator, Triples, choose, has_all_names};
use crate::error::{Error, Result};
use crate::graph::edges::merge;
use crate::graph::metadata::Synthetic;
use crate::ids::{EntityId, RelationId, Triple};
use crate::rng::{Rng, below, stream};
use crate::storage::scratch::Spool;
use crate::storage::sort::{Sorted, Sorter};
use crate::table::count;
use rayon::prelude::*;

impl Generator {
    pub(super) fn memory(&self, share: u64) -> usize {
        usize::try_from(self.resources.memory / share).unwrap_or(usize::MAX)
    }

    pub(super) fn report(&self, stage: &str, done: u64, of: u64) {
        self.resources.progress.report(stage, done, of);
    }

    fn draw_one(&self, rng: &mut Rng) -> Triple {
        let [entities, relations] = &self.popularities;
        let (head, tail) = (entities.draw(rng), entities.draw(rng));
        let relation = RelationId(2 * relations.draw(rng));
        Triple { head: EntityId(head), relation, tail: EntityId(tail) }
    }

    /// At least as many different triples as are wanted, sorted, and their number.
    fn draw(&self) -> Result<(Spool, u64)> {
        let wanted = u64::from(self.options.triples);
        let limit = DRAWS[0] * wanted + DRAWS[1];
        let (mut found, mut number) = (Spool::new(&self.scratch, 1 << 20), 0);
        let (mut chunk, mut round) = (0, wanted + wanted / 16);
        while number < wanted {
            if chunk * CHUNK >= limit {
                return Err(Error::invalid(format!(
                    "only {} of {} different triples were found in {} draws: what is popular is exhausted; lower \
                     --edges, --exponent or --relation-exponent, or raise --entities or --relations",
                    count(number),
                    count(wanted),
                    count(chunk * CHUNK)
                )));
            }
            let mut sorter = Sorter::new(&self.scratch, self.memory(4));
            let end = chunk + round.min(limit - chunk * CHUNK).div_ceil(CHUNK);
            let begin = chunk;
            while chunk < end {
                self.report("drawing triples", (chunk - begin) * CHUNK, (end - begin) * CHUNK);
                let until = end.min(chunk + CHUNKS);
                let drawn: Vec<Vec<Triple>> = (chunk..until)
                    .into_par_iter()
                    .map(|chunk| {
                        let mut rng = stream(self.options.seed, "generate: triples", chunk);
                        let drawn = (0..CHUNK).map(|_| self.draw_one(&mut rng));
                        drawn.filter(|triple| triple.head != triple.tail).collect()
                    })
                    .collect();
                drawn.iter().flatten().try_for_each(|&triple| sorter.push(triple))?;
                chunk = until;
            }
            self.report("sorting triples", 0, 0);
            let (drawn, before) = (sorter.finish()?, number);
            let mut all = Spool::new(&self.scratch, 1 << 20);
            let mut last = None;
            for triple in merge(found.values::<Triple>(1 << 20), drawn.iter()?) {
                let triple = triple?;
                if last.replace(triple) != Some(triple) {
                    all.push(triple)?;
                    number = all.len() / size_of::<Triple>() as u64;
                }
            }
            found = all;
            // So many more as this round's yield asks for, and a little.
            let draws_each = ((end - begin) * CHUNK) as f64 / (number - before).max(1) as f64;
            round = (wanted.saturating_sub(number) as f64 * draws_each * 1.1) as u64 + CHUNK;
        }
        Ok((found, number))
    }

    /// Chooses among the drawn triples and adds those of names that do not occur.
    pub(super) fn triples(&self) -> Result<Triples> {
        let Synthetic { entities, relations, triples, seed, .. } = self.options;
        let (drawn, num_drawn) = self.draw()?;
        let mut added = 0;
        for _ in 0..ATTEMPTS {
            let num_chosen = u64::from(triples) - added;
            let mut uses = [vec![0u32; entities as usize], vec![0; relations as usize]];
            self.report("counting names", 0, 0);
            for triple in choose(&drawn, num_drawn, num_chosen, seed) {
                mark(&mut uses, triple?);
            }
            let missing = |uses: &[u32]| uses.iter().filter(|&&uses| uses == 0).count() as u64;
            let missing = [missing(&uses[0]), missing(&uses[1])];
            // An added triple has one or two missing entities, or a missing relation: so it is new.
            let fits = missing[1].max(missing[0].div_ceil(2)) <= added && added <= missing[0].max(missing[1]);
            if fits || !has_all_names(&self.options) {
                let added = self.add(&mut uses, added, missing[0])?;
                return Ok(Triples { drawn, num_drawn, num_chosen, seed, added, uses });
            }
            // Choosing fewer loses a few more names, which the middle between one and two leaves room for.
            added = missing[1].max((missing[0] * 3).div_ceil(4)).min(triples.into());
        }
        Err(Error::invalid(
            "no choice of triples has every name: raise --edges, or lower --entities, --relations or --exponent",
        ))
    }

    /// `number` triples of entities and relations that were not used.
    fn add(&self, uses: &mut [Vec<u32>; 2], number: u64, missing: u64) -> Result<Sorted<Triple>> {
        let mut sorter = Sorter::new(&self.scratch, self.memory(16));
        let mut rng = stream(self.options.seed, "generate: names that are left", 0);
        let [mut entity, mut relation] = [0, 0];
        let pairs = missing.saturating_sub(number);
        for index in 0..number {
            let mut triple = self.draw_one(&mut rng);
            if let Some(new) = next_unused(&uses[0], &mut entity) {
                entity += 1;
                let other = match next_unused(&uses[0], &mut entity).filter(|_| index < pairs) {
                    Some(other) => {
                        entity += 1;
                        other
                    }
                    None => self.used_entity(&uses[0], &mut rng, new),
                };
                let ends = if below(&mut rng, 2) == 0 { [new, other] } else { [other, new] };
                (triple.head, triple.tail) = (EntityId(ends[0]), EntityId(ends[1]));
            } else if triple.head == triple.tail {
                triple.tail = EntityId(self.used_entity(&uses[0], &mut rng, triple.head.0));
            }
            if let Some(new) = next_unused(&uses[1], &mut relation) {
                triple.relation = RelationId(2 * new);
            }
            mark(uses, triple);
            sorter.push(triple)?;
        }
        sorter.finish()
    }

    /// An entity that occurs and is not `other`, by popularity; another one where none is found.
    fn used_entity(&self, uses: &[u32], rng: &mut Rng, other: u32) -> u32 {
        let mut draws = (0..1_000).map(|_| self.popularities[0].draw(rng));
        let found = draws.find(|&id| id != other && uses[id as usize] > 0);
        found.unwrap_or((other + 1) % self.options.entities)
    }
}

/// Choices that are tried before a graph is given up.
const ATTEMPTS: usize = 50;

/// Counts the names of a triple.
pub(super) fn mark(uses: &mut [Vec<u32>; 2], Triple { head, relation, tail }: Triple) {
    uses[0][head.index()] += 1;
    uses[0][tail.index()] += 1;
    uses[1][relation.index() / 2] += 1;
}

/// The first id from `from` on that is not used; `from` moves there.
fn next_unused(uses: &[u32], from: &mut usize) -> Option<u32> {
    while *uses.get(*from)? > 0 {
        *from += 1;
    }
    Some(*from as u32)
}
