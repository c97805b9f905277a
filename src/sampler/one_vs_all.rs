//! Batches of single-hop training: every pair (head, relation) of the training graph with its tails.
//!
//! With 1vsAll an epoch is a permutation of the triples, and a batch some of them, each read in the directions asked for;
//! triples of a batch that share a pair share a row. With KvsAll an epoch is a permutation of the pairs, and a row has all
//! tails of its pair. The last batch of an epoch holds what is left. A batch depends on (seed, number) alone.

use super::{CHANGED, Direction, OneVsAllBatch};
use crate::error::{Error, Result};
use crate::graph::Csr;
use crate::ids::{EntityId, RelationId, Triple};
use crate::rng::{below, stream};

/// What an epoch goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Every triple, a row of scores for each: 1vsAll.
    Triple,
    /// Every pair (head, relation), a row of scores for each: KvsAll.
    Pair,
}

/// What decides the batches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OneVsAllOptions {
    /// Seed of the permutations.
    pub seed: u64,
    /// What an epoch goes through.
    pub unit: Unit,
    /// Triples of a batch with 1vsAll, pairs with KvsAll.
    pub batch_size: usize,
    /// Whether tails are predicted, heads (tails of inverse relations), or both.
    pub direction: Direction,
}

impl OneVsAllOptions {
    /// Rows of a batch at most.
    pub fn max_rows(&self) -> usize {
        let both = self.unit == Unit::Triple && self.direction == Direction::Both;
        self.batch_size * if both { 2 } else { 1 }
    }

    fn allows(&self, relation: RelationId) -> bool {
        self.direction.allows(relation)
    }

    /// Triples or pairs of an epoch. O(fragments of the graph).
    pub fn units(&self, graph: Csr) -> usize {
        match self.unit {
            Unit::Pair => pairs(&graph).filter(|(_, relation)| self.allows(*relation)).count(),
            Unit::Triple => facts(&graph).count(),
        }
    }

    /// Batches of an epoch of so many units.
    pub fn batches(&self, units: usize) -> u64 {
        units.div_ceil(self.batch_size.max(1)) as u64
    }
}

/// The training triples, each once.
fn facts(graph: &Csr) -> impl Iterator<Item = Triple> {
    graph.triples().filter(|triple| !triple.relation.is_inverse())
}

/// The pairs (head, relation), ascending.
fn pairs(graph: &Csr) -> impl Iterator<Item = (EntityId, RelationId)> {
    let fragments = |head| graph.row(head).iter().map(move |(relation, _)| (head, relation));
    graph.entities_with_edges().flat_map(fragments)
}

/// Makes the batches of a graph.
///
/// Memory: 12 bytes a triple (KvsAll: 8 a pair) and 4 for its place in the permutation. A permutation is made anew at the
/// first batch of an epoch: O(units).
#[derive(Debug)]
pub struct OneVsAllSampler<'g> {
    graph: Csr<'g>,
    options: OneVsAllOptions,
    triples: Vec<Triple>,
    pairs: Vec<(EntityId, RelationId)>,
    order: Vec<u32>,
    /// The epoch whose permutation `order` is.
    epoch: Option<u64>,
    edges: Vec<Triple>,
}

impl<'g> OneVsAllSampler<'g> {
    /// Lists what an epoch goes through.
    ///
    /// # Errors
    ///
    /// Where the graph has none, or more than 2^32 - 1.
    pub fn new(graph: Csr<'g>, options: OneVsAllOptions) -> Result<Self> {
        let (mut triples, mut list) = (Vec::new(), Vec::new());
        match options.unit {
            Unit::Pair => list.extend(pairs(&graph).filter(|(_, r)| options.allows(*r))),
            Unit::Triple => triples.extend(facts(&graph)),
        }
        let units = triples.len().max(list.len());
        if units == 0 || options.batch_size == 0 {
            return Err(Error::invalid(
                "single-hop training needs training edges and a batch size of at least 1",
            ));
        }
        if u32::try_from(units).is_err() {
            return Err(Error::invalid("single-hop training takes at most 4,294,967,295 training triples"));
        }
        Ok(OneVsAllSampler {
            graph,
            options,
            triples,
            pairs: list,
            order: (0..units as u32).collect(),
            epoch: None,
            edges: Vec::new(),
        })
    }

    /// Makes batch `number`, counted from 0 over all epochs.
    pub fn fill(&mut self, number: u64, batch: &mut OneVsAllBatch) {
        let (units, per_epoch) = (self.order.len(), self.options.batches(self.order.len()));
        let (epoch, position) = (number / per_epoch, (number % per_epoch) as usize);
        if self.epoch != Some(epoch) {
            self.order.iter_mut().zip(0..).for_each(|(to, i)| *to = i);
            let mut rng = stream(self.options.seed, "single-hop epoch", epoch);
            for i in (1..units).rev() {
                self.order.swap(i, below(&mut rng, i as u64 + 1) as usize);
            }
            self.epoch = Some(epoch);
        }
        let begin = position * self.options.batch_size;
        let chosen = &self.order[begin..units.min(begin + self.options.batch_size)];
        self.edges.clear();
        for &unit in chosen {
            if let Some(&triple) = self.triples.get(unit as usize) {
                let both = [triple, triple.inverse()];
                self.edges.extend(both.iter().filter(|edge| self.options.allows(edge.relation)));
            } else {
                let (head, relation) = self.pairs[unit as usize];
                let tails = self.graph.tails(head, relation);
                self.edges.extend(tails.iter().map(|&tail| Triple { head, relation, tail }));
            }
        }
        let known = |id: EntityId| id.index() < self.graph.num_entities();
        let known =
            self.edges.iter().all(|e| known(e.tail) && e.relation.index() < self.graph.num_relations());
        assert!(known, "{CHANGED}");
        // Rows in the order of ids: those of a head are neighbours.
        self.edges.sort_unstable();
        batch.assign(number, &self.edges);
        batch.units = chosen.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::CsrBuf;
    use std::collections::BTreeSet;

    fn graph() -> CsrBuf {
        let mut rng = stream(1, "graph", 0);
        let mut id = |n| below(&mut rng, n) as u32;
        let triples: Vec<Triple> = (0..150)
            .map(|_| Triple {
                head: EntityId(id(20)),
                relation: RelationId(2 * id(4)),
                tail: EntityId(id(20)),
            })
            .collect();
        CsrBuf::from_triples(20, &triples)
    }

    fn options(unit: Unit) -> OneVsAllOptions {
        OneVsAllOptions { seed: 5, unit, batch_size: 16, direction: Direction::Both }
    }

    fn edges(batch: &OneVsAllBatch) -> Vec<Triple> {
        let row = |i: usize| {
            let (head, relation) = (EntityId(batch.heads[i]), RelationId(batch.relations[i]));
            let labels = &batch.labels[batch.label_offsets[i] as usize..batch.label_offsets[i + 1] as usize];
            labels.iter().map(move |&tail| Triple { head, relation, tail: EntityId(tail) })
        };
        (0..batch.rows()).flat_map(row).collect()
    }

    #[test]
    fn an_epoch_has_every_edge_of_its_direction_once() {
        let graph = graph();
        for unit in [Unit::Triple, Unit::Pair] {
            for direction in [Direction::Both, Direction::Forward, Direction::Inverse] {
                let options = OneVsAllOptions { direction, ..options(unit) };
                let mut sampler = OneVsAllSampler::new(graph.view(), options).unwrap();
                let batches = options.batches(options.units(graph.view()));
                let mut batch = OneVsAllBatch::default();
                let (mut seen, mut units) = (Vec::new(), 0);
                for number in 3 * batches..4 * batches {
                    sampler.fill(number, &mut batch);
                    assert!(batch.rows() <= options.max_rows());
                    let rows: BTreeSet<_> = batch.heads.iter().zip(&batch.relations).collect();
                    assert_eq!(rows.len(), batch.rows(), "pairs of a batch share a row");
                    seen.extend(edges(&batch));
                    units += batch.units;
                }
                assert_eq!(units, options.units(graph.view()), "{unit:?}, {direction:?}");
                seen.sort_unstable();
                let wanted: Vec<Triple> =
                    graph.view().triples().filter(|edge| options.allows(edge.relation)).collect();
                assert_eq!(seen, wanted, "{unit:?}, {direction:?}");
            }
        }
    }

    #[test]
    fn kvsall_rows_have_all_tails_of_their_pair() {
        let graph = graph();
        let mut sampler = OneVsAllSampler::new(graph.view(), options(Unit::Pair)).unwrap();
        let mut batch = OneVsAllBatch::default();
        sampler.fill(1, &mut batch);
        assert_eq!(batch.rows(), 16);
        for i in 0..16 {
            let tails = graph.view().tails(EntityId(batch.heads[i]), RelationId(batch.relations[i]));
            let labels = &batch.labels[batch.label_offsets[i] as usize..batch.label_offsets[i + 1] as usize];
            assert!(tails.iter().map(|e| e.0).eq(labels.iter().copied()));
        }
    }

    #[test]
    fn a_batch_depends_on_seed_and_number_alone() {
        let graph = graph();
        let draw = |seed, numbers: &[u64]| {
            let options = OneVsAllOptions { seed, ..options(Unit::Triple) };
            let mut sampler = OneVsAllSampler::new(graph.view(), options).unwrap();
            let mut batch = OneVsAllBatch::default();
            numbers.iter().for_each(|&number| sampler.fill(number, &mut batch));
            batch
        };
        assert_eq!(draw(5, &[25]), draw(5, &[0, 3, 40, 25]));
        assert_ne!(draw(5, &[25]).labels, draw(6, &[25]).labels);
        let per_epoch = options(Unit::Triple).batches(options(Unit::Triple).units(graph.view()));
        assert_ne!(draw(5, &[0]).labels, draw(5, &[per_epoch]).labels, "epochs differ");
    }

    #[test]
    fn a_graph_without_edges_is_refused() {
        let empty = CsrBuf::from_triples(3, &[]);
        let error = OneVsAllSampler::new(empty.view(), options(Unit::Pair)).unwrap_err().to_string();
        assert!(error.contains("training edges"), "{error}");
    }
}
