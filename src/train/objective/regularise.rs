//! What large numbers of rows cost.

use crate::config::{Config, RegulariseBy};
use crate::program::ops::penalty::{Penalty, Regularise};
use crate::program::{Program, Var};
use crate::sampler::OneVsAllBatch;

/// Regularises the rows of a batch of queries: of entities, then of relations, each with its gradient and its weight, which
/// counts over the number of queries. Where their weights are to stand, and these.
pub fn of_batch(
    program: &mut Program,
    penalty: Penalty,
    parts: [(Var, Var, f32); 2],
    queries: usize,
    penalties: Var,
) -> (Var, Vec<f64>) {
    let row_weights = program.kept("weights of the regulariser", penalties.rows(), 1);
    let mut weights = Vec::new();
    for (x, grads, weight) in parts {
        let (first, rows) = (weights.len(), x.rows().max());
        weights.resize(first + rows, f64::from(weight) / queries as f64);
        let (row_weights, penalties) = (row_weights.part(first, rows), penalties.part(first, rows));
        program.push(Regularise { penalty, row_weights, x, grads, penalties });
    }
    (row_weights, weights)
}

/// The regulariser of single-hop training: every entity and relation with a weight of its own.
pub struct OfTables {
    by: RegulariseBy,
    /// Of entities and of relations.
    scales: [f64; 2],
    entities: usize,
    relations: usize,
    /// The weight of each entity, then of each relation.
    pub row_weights: Var,
}

impl OfTables {
    /// Writes it down behind the gradients of both tables.
    pub fn write(
        program: &mut Program,
        penalty: Penalty,
        gradients: [Var; 2],
        penalties: Var,
        config: &Config,
    ) -> Self {
        let row_weights = program.kept("weights of the regulariser", penalties.rows(), 1);
        let mut first = 0;
        for (table, grads) in gradients.into_iter().enumerate() {
            let x = program.values(table);
            let rows = x.rows().max();
            let (row_weights, penalties) = (row_weights.part(first, rows), penalties.part(first, rows));
            program.push(Regularise { penalty, row_weights, x, grads, penalties });
            first += rows;
        }
        OfTables {
            by: config.model.regularise_by,
            scales: [config.model.regularise_entities, config.model.regularise_relations].map(f64::from),
            entities: gradients[0].rows().max(),
            relations: gradients[1].rows().max(),
            row_weights,
        }
    }

    /// The row weights of all batches; `None` where each has its own.
    pub fn of_all(&self) -> Option<Vec<f64>> {
        (self.by == RegulariseBy::Table).then(|| self.scaled(|_| 1.0))
    }

    /// The row weights of a batch: what share of its edges a row stands in, entities as head and as tail. `None` where all
    /// batches have the same.
    pub fn of_batch(&self, batch: &OneVsAllBatch) -> Option<Vec<f64>> {
        if self.by == RegulariseBy::Table {
            return None;
        }
        let mut counts = vec![0u32; self.entities + self.relations];
        for (row, bounds) in batch.label_offsets.windows(2).enumerate() {
            let edges = bounds[1] - bounds[0];
            counts[batch.heads[row] as usize] += edges;
            counts[self.entities + batch.relations[row] as usize] += edges;
        }
        batch.labels.iter().for_each(|&tail| counts[tail as usize] += 1);
        let edges = batch.labels.len() as f64;
        Some(self.scaled(|row| f64::from(counts[row]) / edges))
    }

    fn scaled(&self, frequency: impl Fn(usize) -> f64) -> Vec<f64> {
        let scale = |row: usize| self.scales[usize::from(row >= self.entities)];
        (0..self.entities + self.relations).map(|row| scale(row) * frequency(row)).collect()
    }
}
