//! Whether triples of numbers hold each fact in both directions, so that relations 2k and 2k + 1 are each other's inverses.

use rustc_hash::FxHashMap;
use xxhash_rust::xxh3::xxh3_64;

/// Finds out whether triples hold each fact twice, as `(h, 2k, t)` and `(t, 2k + 1, h)`, in any order.
///
/// Compares sums of hashes, so that it needs no memory.
#[derive(Debug, Default)]
pub struct Mirror {
    sums: [u64; 2],
    counts: [u64; 2],
}

impl Mirror {
    /// Looks at a triple.
    pub fn see(&mut self, triple: [u32; 3]) {
        let side = (triple[1] % 2) as usize;
        self.sums[side] = self.sums[side].wrapping_add(hash_of_fact(triple));
        self.counts[side] += 1;
    }

    /// Whether each fact was seen in both directions.
    pub fn is_whole(&self) -> bool {
        self.counts[0] > 0 && self.counts[0] == self.counts[1] && self.sums[0] == self.sums[1]
    }

    /// Triples that were seen.
    pub fn triples(&self) -> u64 {
        self.counts[0] + self.counts[1]
    }
}

/// The share of facts that must be there in both directions for relations 2k and 2k + 1 to be each other's inverses.
pub const DOUBLED: f64 = 0.95;

/// Facts of a sample that an inexact mirror is judged by.
const SAMPLE: u64 = 1 << 23;

/// Counts, by the facts themselves, how many triples hold in both directions. Memory: some 24 bytes a fact, of at most 8 million.
#[derive(Debug)]
pub struct Pairs {
    /// Every how many-eth fact is looked at, by its hash.
    every: u64,
    facts: FxHashMap<u64, Seen>,
}

/// What was seen of a fact.
#[derive(Debug)]
struct Seen {
    /// Its relation over 2.
    pair: u32,
    /// Whether the first triple with it had the inverse relation.
    first_inverse: bool,
    /// Whether it was seen in both directions.
    both: bool,
}

impl Pairs {
    /// For so many triples.
    pub fn new(triples: u64) -> Self {
        Pairs { every: triples.div_ceil(SAMPLE).max(1), facts: FxHashMap::default() }
    }

    /// Looks at a triple. Returns whether it has the direction in which its fact was seen first: of the sample, each fact counts
    /// once then, and its repetitions as often as they are ones.
    pub fn see(&mut self, triple: [u32; 3]) -> bool {
        let hash = hash_of_fact(triple);
        if !hash.is_multiple_of(self.every) {
            return false;
        }
        let (pair, inverse) = (triple[1] / 2, triple[1] % 2 == 1);
        let seen = self.facts.entry(hash).or_insert(Seen { pair, first_inverse: inverse, both: false });
        seen.both |= inverse != seen.first_inverse;
        inverse == seen.first_inverse
    }

    /// Facts that were seen in both directions, and all.
    pub fn counts(&self) -> (u64, u64) {
        let both = self.facts.values().filter(|seen| seen.both).count();
        (both as u64, self.facts.len() as u64)
    }

    /// The same, of each pair of relations: its number, then the counts.
    pub fn by_relation(&self) -> Vec<(u32, u64, u64)> {
        let mut counts: FxHashMap<u32, (u64, u64)> = FxHashMap::default();
        for seen in self.facts.values() {
            let (both, all) = counts.entry(seen.pair).or_default();
            *both += u64::from(seen.both);
            *all += 1;
        }
        let mut counts: Vec<_> = counts.into_iter().map(|(pair, (both, all))| (pair, both, all)).collect();
        counts.sort_unstable();
        counts
    }
}

/// The same of a fact in either direction.
fn hash_of_fact(triple: [u32; 3]) -> u64 {
    let [head, relation, tail] = undirected(triple).map(u32::to_le_bytes);
    xxh3_64(&[head, relation, tail].concat())
}

/// The fact that a triple of doubled relations states: `(h, k, t)` for `(h, 2k, t)` and `(t, 2k + 1, h)`.
pub fn undirected([head, relation, tail]: [u32; 3]) -> [u32; 3] {
    if relation % 2 == 0 { [head, relation / 2, tail] } else { [tail, relation / 2, head] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubled_triples_are_distinguished_from_others() {
        let whole = |triples: &[[u32; 3]]| {
            let mut mirror = Mirror::default();
            triples.iter().for_each(|&triple| mirror.see(triple));
            mirror.is_whole()
        };
        assert!(whole(&[[1, 0, 2], [3, 3, 4], [2, 1, 1], [4, 2, 3]]));
        assert!(!whole(&[[1, 0, 2], [3, 2, 4], [2, 1, 1]]));
        assert!(!whole(&[[1, 0, 2], [1, 1, 2]]));
        assert!(!whole(&[[1, 0, 2]]) && !whole(&[]));
    }

    #[test]
    fn facts_in_one_direction_alone_are_counted() {
        let mut pairs = Pairs::new(7);
        let new = [[1, 0, 2], [2, 1, 1], [3, 3, 4], [3, 3, 4], [4, 2, 3], [5, 4, 5]]
            .map(|triple| pairs.see(triple));
        assert_eq!(new, [true, false, true, true, false, true]);
        assert_eq!(pairs.counts(), (2, 3));
        // A fact that is given twice in both directions is one repetition.
        assert!(pairs.see([1, 0, 2]) && !pairs.see([2, 1, 1]));
        assert_eq!(pairs.by_relation(), [(0, 1, 1), (1, 1, 1), (2, 0, 1)]);
    }
}
