//! What the regulariser adds to a step of single-hop training: every entity and relation with a weight of its own.

use super::{At, Gradients, Shape};
use crate::backend::{Backend, Mat, MatMut, Penalty};
use crate::config::{Config, RegulariseBy};
use crate::error::Result;
use crate::model::{Model, penalty};
use crate::sampler::SingleBatch;

/// The regulariser, with its buffers.
pub(super) struct Regulariser<B: Backend> {
    penalty: Penalty,
    by: RegulariseBy,
    /// Of entities and of relations.
    scales: [f64; 2],
    entities: usize,
    rows: usize,
    /// The weight of each entity, then of each relation.
    row_weights: B::Buffer,
    host: Vec<B::Scalar>,
}

impl<B: Backend> Regulariser<B> {
    /// `None` where nothing is regularised. Errors where the model has not what is asked for.
    pub fn new(backend: &B, model: &dyn Model<B>, shape: &Shape, config: &Config) -> Result<Option<Self>> {
        let Some(penalty) = penalty(model, config.regulariser())? else { return Ok(None) };
        let rows = shape.entities + shape.relations;
        let mut regulariser = Regulariser {
            penalty,
            by: config.model.regularise_by,
            scales: [config.model.regularise_entities, config.model.regularise_relations].map(f64::from),
            entities: shape.entities,
            rows,
            row_weights: backend.zeros(rows)?,
            host: Vec::new(),
        };
        if regulariser.by == RegulariseBy::Table {
            regulariser.set(backend, |_| 1.0)?;
        }
        Ok(Some(regulariser))
    }

    /// The row weights of a batch: what share of its edges a row stands in, entities as head and as tail.
    pub fn upload(&mut self, backend: &B, batch: &SingleBatch) -> Result<()> {
        if self.by == RegulariseBy::Table {
            return Ok(());
        }
        let mut counts = vec![0u32; self.rows];
        for (row, bounds) in batch.label_offsets.windows(2).enumerate() {
            let edges = bounds[1] - bounds[0];
            counts[batch.heads[row] as usize] += edges;
            counts[self.entities + batch.relations[row] as usize] += edges;
        }
        batch.labels.iter().for_each(|&tail| counts[tail as usize] += 1);
        let edges = batch.labels.len() as f64;
        self.set(backend, |row| f64::from(counts[row]) / edges)
    }

    fn set(&mut self, backend: &B, frequency: impl Fn(usize) -> f64) -> Result<()> {
        let scale = |row: usize| self.scales[usize::from(row >= self.entities)];
        self.host.clear();
        self.host.extend((0..self.rows).map(|row| B::scalar(scale(row) * frequency(row))));
        backend.replace(&self.host, &mut self.row_weights)
    }

    /// Adds to the gradients of the tables; writes the penalties.
    pub fn add(&self, at: At<B>, gradients: &mut Gradients<B>, mut penalties: MatMut<B::Buffer>) {
        let row_weights = Mat::new(&self.row_weights, 1, self.rows);
        let tables = [
            (&at.weights.entities, gradients.entities.again()),
            (&at.weights.relations, gradients.relations.again()),
        ];
        let mut first = 0;
        for (table, gradients) in tables {
            at.backend.penalise(
                self.penalty,
                row_weights.columns(first, table.rows),
                table.mat(),
                gradients,
                penalties.again().columns(first, table.rows),
            );
            first += table.rows;
        }
    }

    /// All that was allocated.
    #[cfg(test)]
    pub fn buffers(&self) -> [&B::Buffer; 1] {
        [&self.row_weights]
    }
}
