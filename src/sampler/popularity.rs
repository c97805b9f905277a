//! Entities drawn at random: all alike, or by a power of their degree.

use crate::error::{Error, Result};
use crate::graph::Csr;
use crate::ids::EntityId;
use crate::rng::{Rng, below};
use rand_distr::Distribution;
use rand_distr::weighted::WeightedAliasIndex;

/// How answers and negatives are drawn; made once for a graph, shared by all workers.
#[derive(Debug)]
pub struct Popularity {
    /// Answers: among the entities that have edges.
    answers: Option<Weighted>,
    /// Negatives: uniform ones among all entities, weighted ones among those that have edges.
    negatives: Option<Weighted>,
}

/// An alias table: 8 bytes an entity, O(1) a draw.
#[derive(Debug)]
struct Weighted {
    table: WeightedAliasIndex<f32>,
    exponent: f32,
    /// Sum of all weights.
    total: f64,
}

impl Weighted {
    /// Weights are `degree^exponent`, and 0 without edges. O(entities).
    fn new(graph: Csr, exponent: f32) -> Result<Self> {
        // A sparse index numbers its own rows.
        let sources = graph.sources();
        let weights: Vec<f32> = match sources.is_empty() {
            true => (0..graph.num_entities() as u32).map(|e| weight(graph, EntityId(e), exponent)).collect(),
            false => sources.iter().map(|&e| weight(graph, e, exponent)).collect(),
        };
        let total = weights.iter().map(|&w| f64::from(w)).sum();
        let table = WeightedAliasIndex::new(weights).map_err(|e| {
            Error::invalid(format!(
                "entities cannot be weighted by their degree to the power of {exponent}: {e}"
            ))
        })?;
        Ok(Weighted { table, exponent, total })
    }

    fn draw(&self, graph: Csr, rng: &mut Rng) -> EntityId {
        let index = self.table.sample(rng);
        graph.sources().get(index).copied().unwrap_or(EntityId(index as u32))
    }
}

fn weight(graph: Csr, entity: EntityId, exponent: f32) -> f32 {
    match graph.degree(entity) {
        0 => 0.0,
        degree => (degree as f32).powf(exponent),
    }
}

impl Popularity {
    /// Answers and negatives by `degree^exponent`; an exponent of 0 is uniform and costs nothing.
    ///
    /// # Errors
    ///
    /// Exponents that are not finite, or so large that weights are not.
    pub fn new(graph: Csr, answer_exponent: f32, negative_exponent: f32) -> Result<Self> {
        let weighted = |exponent| (exponent != 0.0).then(|| Weighted::new(graph, exponent)).transpose();
        Ok(Popularity { answers: weighted(answer_exponent)?, negatives: weighted(negative_exponent)? })
    }

    /// An entity that has edges, or `None` where `tries` uniform draws have found none.
    pub fn answer(&self, graph: Csr, tries: usize, rng: &mut Rng) -> Option<EntityId> {
        if let Some(weighted) = &self.answers {
            return Some(weighted.draw(graph, rng));
        }
        let sources = graph.sources();
        if !sources.is_empty() {
            return Some(sources[below(rng, sources.len() as u64) as usize]);
        }
        let entity = |rng: &mut Rng| EntityId(below(rng, graph.num_entities() as u64) as u32);
        (0..tries).map(|_| entity(rng)).find(|&e| graph.has_edges(e))
    }

    /// A negative.
    pub fn negative(&self, graph: Csr, rng: &mut Rng) -> EntityId {
        match &self.negatives {
            Some(weighted) => weighted.draw(graph, rng),
            None => EntityId(below(rng, graph.num_entities() as u64) as u32),
        }
    }

    /// How many entities a drawn negative stands for: 1 over the chance that a draw gives it.
    pub fn represented(&self, graph: Csr, negative: EntityId) -> f64 {
        match &self.negatives {
            Some(w) => w.total / f64::from(weight(graph, negative, w.exponent)),
            None => graph.num_entities() as f64,
        }
    }
}
