//! Every training edge once an epoch, in an order that is never stored.
//!
//! A list of the edges and a permutation of it would take 16 bytes an edge, in each worker, and a pass over all of them
//! at each epoch. Here a number becomes another by a keyed permutation ([`Order`]), and that one an edge by an index with
//! 8 bytes for every 16 entities ([`EdgeIndex`]): any batch of any epoch is found at once.

use super::Direction;
use crate::graph::Csr;
use crate::graph::csr::Row;
use crate::ids::{EntityId, Triple};
use crate::rng::stream;
use rand::Rng as _;

/// Rows between two entries of an index.
const BLOCK: usize = 16;

/// The edges of a graph whose relations have a direction, by number.
#[derive(Debug)]
pub struct EdgeIndex {
    direction: Direction,
    /// Edges in the blocks before each, and at last in all.
    before: Vec<u64>,
}

impl EdgeIndex {
    /// Counts the edges. O(entities), and where one direction is left out O(fragments).
    pub fn new(graph: Csr, direction: Direction) -> Self {
        let mut before = vec![0];
        let mut sum = 0;
        let rows = num_rows(graph);
        for first in (0..rows).step_by(BLOCK) {
            sum += (first..rows.min(first + BLOCK))
                .map(|i| num_edges(graph.row(source(graph, i)), direction) as u64)
                .sum::<u64>();
            before.push(sum);
        }
        EdgeIndex { direction, before }
    }

    /// Number of edges.
    pub fn len(&self) -> u64 {
        self.before[self.before.len() - 1]
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of an index of so many entities.
    pub fn bytes(num_entities: usize) -> usize {
        8 * (num_entities.div_ceil(BLOCK) + 1)
    }

    /// Edge `number` of the graph of which this is the index, in the order of head, relation, tail. O(log entities), and
    /// a look at up to 16 rows.
    ///
    /// # Panics
    ///
    /// Where `number` is not below [`EdgeIndex::len`].
    pub fn edge(&self, graph: Csr, number: u64) -> Triple {
        assert!(number < self.len(), "edge {number} of {}", self.len());
        let block = self.before.partition_point(|&before| before <= number) - 1;
        let mut rest = (number - self.before[block]) as usize;
        for i in block * BLOCK..(block + 1) * BLOCK {
            let head = source(graph, i);
            let row = graph.row(head);
            let here = num_edges(row, self.direction);
            if rest >= here {
                rest -= here;
                continue;
            }
            for (relation, tails) in row.iter().filter(|(relation, _)| self.direction.allows(*relation)) {
                match tails.get(rest) {
                    Some(&tail) => return Triple { head, relation, tail },
                    None => rest -= tails.len(),
                }
            }
        }
        panic!("the graph's file was changed while it is used: a block has fewer edges than were counted")
    }
}

/// Rows of the graph: one per entity, or in its sparse form per source.
fn num_rows(graph: Csr) -> usize {
    if graph.sources().is_empty() { graph.num_entities() } else { graph.sources().len() }
}

fn source(graph: Csr, row: usize) -> EntityId {
    graph.sources().get(row).copied().unwrap_or(EntityId(row as u32))
}

fn num_edges(row: Row, direction: Direction) -> usize {
    match direction {
        Direction::Both => row.tails().len(),
        one => row.iter().filter(|(relation, _)| one.allows(*relation)).map(|(_, tails)| tails.len()).sum(),
    }
}

/// A permutation of `0..n` that is worked out, number by number: eight rounds of a Feistel network on the smallest even
/// number of bits that holds them, repeated until the result is below `n`, fewer than four times on average (Black and
/// Rogaway 2002).
#[derive(Clone, Debug)]
pub struct Order {
    n: u64,
    /// Bits of each half.
    half: u32,
    keys: [u64; 8],
}

impl Order {
    /// The order of an epoch.
    pub fn new(n: u64, seed: u64, epoch: u64) -> Self {
        let mut rng = stream(seed, "epoch", epoch);
        let bits = u64::BITS - n.saturating_sub(1).leading_zeros();
        Order { n, half: bits.div_ceil(2).max(1), keys: std::array::from_fn(|_| rng.next_u64()) }
    }

    /// The number at a place.
    pub fn at(&self, place: u64) -> u64 {
        assert!(place < self.n, "place {place} of {}", self.n);
        let mask = (1 << self.half) - 1;
        let mut x = place;
        loop {
            let (mut left, mut right) = (x >> self.half, x & mask);
            for key in self.keys {
                (left, right) = (right, left ^ (mix(right ^ key) & mask));
            }
            x = left << self.half | right;
            if x < self.n {
                return x;
            }
        }
    }
}

/// Spreads every bit over all others (the finalizer of MurmurHash3).
fn mix(mut x: u64) -> u64 {
    x = (x ^ x >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    x = (x ^ x >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ x >> 33
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::CsrBuf;
    use crate::ids::RelationId;
    use crate::rng::below;

    #[test]
    fn edges_have_the_numbers_of_their_order_in_every_direction() {
        for (entities, facts) in [(5, 1), (40, 300), (500, 40), (33, 900)] {
            let mut rng = stream(1, "graph", entities);
            let mut id = |n| below(&mut rng, n) as u32;
            let triples: Vec<Triple> = (0..facts)
                .map(|_| Triple {
                    head: EntityId(id(entities)),
                    relation: RelationId(2 * id(4)),
                    tail: EntityId(id(entities)),
                })
                .collect();
            let buf = CsrBuf::from_triples(entities as usize, &triples);
            let graph = buf.view();
            for direction in [Direction::Both, Direction::Forward, Direction::Inverse] {
                let index = EdgeIndex::new(graph, direction);
                let edges: Vec<Triple> = (0..index.len()).map(|number| index.edge(graph, number)).collect();
                let wanted: Vec<Triple> = graph.triples().filter(|t| direction.allows(t.relation)).collect();
                assert_eq!(edges, wanted, "{entities} entities, {direction:?}");
            }
        }
    }

    #[test]
    fn an_order_is_a_permutation_of_any_size() {
        for n in (1..70).chain([255, 256, 257, 1_000, 4_096, 5_000]) {
            let order = Order::new(n, 3, n);
            let mut seen: Vec<u64> = (0..n).map(|place| order.at(place)).collect();
            seen.sort_unstable();
            assert!(seen.into_iter().eq(0..n), "{n}");
        }
    }

    #[test]
    fn orders_of_epochs_and_seeds_differ_and_no_place_is_preferred() {
        let order = |seed, epoch| {
            let order = Order::new(100, seed, epoch);
            (0..100).map(|place| order.at(place)).collect::<Vec<u64>>()
        };
        assert_eq!(order(1, 5), order(1, 5));
        assert_ne!(order(1, 5), order(1, 6));
        assert_ne!(order(1, 5), order(2, 5));
        // Numbers at the first place, and differences of neighbours: each evenly, within five deviations.
        let epochs = 20_000;
        let (mut first, mut steps) = ([0u32; 100], [0u32; 100]);
        for epoch in 0..epochs {
            let order = Order::new(100, 7, epoch);
            let (a, b) = (order.at(0), order.at(1));
            first[a as usize] += 1;
            steps[((b + 100 - a) % 100) as usize] += 1;
        }
        let even = |counts: &[u32], expected: f64| {
            counts.iter().all(|&c| (f64::from(c) - expected).abs() < 5.0 * expected.sqrt())
        };
        assert!(even(&first, epochs as f64 / 100.0), "{first:?}");
        assert_eq!(steps[0], 0);
        assert!(even(&steps[1..], epochs as f64 / 99.0), "{steps:?}");
    }
}
