//! Which triples are held out for valid and test.

use super::{Generator, Triples};
use crate::error::Result;
use crate::ids::Triple;
use crate::storage::scratch::Spool;
use crate::storage::sort::{Sorted, Sorter};
use bytemuck::{Pod, Zeroable};
use xxhash_rust::xxh3::xxh3_64_with_seed;

impl Generator {
    /// Chooses the triples of valid and test, sorted.
    pub(super) fn hold_out(
        &self,
        triples: &Triples,
        [_, valid, test]: [usize; 3],
    ) -> Result<[Sorted<Triple>; 2]> {
        let wanted = (valid + test) as f64;
        let mut share = 1.5 * wanted / f64::from(self.options.triples) + 1e-4;
        loop {
            let mut candidates = Sorter::new(&self.scratch, self.memory(8));
            self.report("holding out", 0, 0);
            for triple in triples.all()? {
                let triple = triple?;
                let priority = xxh3_64_with_seed(bytemuck::bytes_of(&triple), self.options.seed);
                if share >= 1.0 || (priority as f64) < share * u64::MAX as f64 {
                    candidates.push(Candidate { priority, triple, zero: 0 })?;
                }
            }
            let mut uses = triples.uses.clone();
            let mut taken = [valid, test].map(|_| Sorter::new(&self.scratch, self.memory(16)));
            let mut take = |triple| {
                let to = usize::from(taken[1].len() < test as u64);
                taken[to].push(triple).map(|()| (taken[0].len() + taken[1].len()) as usize == valid + test)
            };
            let mut rest = Spool::new(&self.scratch, 1 << 20);
            let mut full = valid + test == 0;
            for candidate in candidates.finish()?.iter()? {
                if full {
                    break;
                }
                let triple = candidate?.triple;
                if may_go(&mut uses, triple) {
                    full = take(triple)?;
                } else {
                    rest.push(triple)?;
                }
            }
            // Against the rule only where nothing else is left.
            for triple in rest.values::<Triple>(1 << 20).take_while(|_| share >= 1.0) {
                if full {
                    break;
                }
                full = take(triple?)?;
            }
            if full {
                let [valid, test] = taken;
                return Ok([valid.finish()?, test.finish()?]);
            }
            share *= 4.0;
        }
    }
}

/// A triple that may be held out, by its place in a random order.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Pod, Zeroable)]
struct Candidate {
    priority: u64,
    triple: Triple,
    zero: u32,
}

/// Takes a triple out where its names occur in others too.
fn may_go(uses: &mut [Vec<u32>; 2], Triple { head, relation, tail }: Triple) -> bool {
    let [entities, relations] = uses;
    let relation = relation.index() / 2;
    let may = relations[relation] > 1 && entities[head.index()] > 1 && entities[tail.index()] > 1;
    if may {
        relations[relation] -= 1;
        entities[head.index()] -= 1;
        entities[tail.index()] -= 1;
    }
    may
}

#[cfg(test)]
mod tests {
    use super::super::triples::mark;
    use super::super::{Synthetic, popularities};
    use super::*;
    use crate::graph::Resources;
    use crate::ids::{EntityId, RelationId};
    use crate::storage::scratch::Scratch;

    #[test]
    fn triples_are_held_out_against_the_rule_only_where_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let star = |leaf: u32| Triple { head: EntityId(0), relation: RelationId(0), tail: EntityId(leaf) };
        let back = Triple { head: EntityId(4), relation: RelationId(0), tail: EntityId(0) };
        let options = Synthetic { entities: 5, relations: 1, triples: 5, ..Synthetic::default() };
        let resources = Resources::beside(&folder.path().join("graph"), None, Default::default());
        let scratch = Scratch::new(folder.path());
        let generator = Generator {
            options,
            popularities: popularities(&options).unwrap(),
            scratch: scratch.clone(),
            resources,
        };
        for held_out in 1..=3 {
            let mut drawn = Spool::new(&scratch, 1 << 20);
            let mut uses = [vec![0; 5], vec![0; 1]];
            for triple in (1..=4).map(star).chain([back]) {
                drawn.push(triple).unwrap();
                mark(&mut uses, triple);
            }
            let added = Sorter::new(&scratch, 0).finish().unwrap();
            let triples = Triples { drawn, num_drawn: 5, num_chosen: 5, seed: 0, added, uses };
            let [valid, test] = generator.hold_out(&triples, [0, held_out - 1, 1]).unwrap();
            let list = |sorted: Sorted<Triple>| sorted.iter().unwrap().collect::<Result<Vec<_>>>().unwrap();
            let (valid, test) = (list(valid), list(test));
            assert_eq!((valid.len(), test.len()), (held_out - 1, 1));
            let is_between_0_and_4 = |t: &Triple| t.head.0.max(t.tail.0) == 4;
            assert!(is_between_0_and_4(&test[0]), "the only two triples that may go are these");
        }
    }
}
