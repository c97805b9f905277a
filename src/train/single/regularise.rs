//! What the regulariser adds to a step of single-hop training: every entity and relation with a weight of its own.

use super::{At, Gradients, Shape, WINDOW, sums};
use crate::backend::{Backend, Mat, MatMut, Penalty};
use crate::config::{Config, RegulariseBy};
use crate::error::Result;
use crate::model::{Model, penalty};
use crate::pipeline::SingleBatch;

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
    /// A row per step: the penalty of each.
    penalties: B::Buffer,
    host: Vec<B::Scalar>,
}

/// Numbers of its buffers, for so many entities and relations.
pub(super) fn numbers(entities: usize, relations: usize) -> usize {
    (1 + WINDOW) * (entities + relations)
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
            penalties: backend.zeros(WINDOW * rows)?,
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
        backend.upload(&self.host, &mut self.row_weights, 0)
    }

    /// Adds to the gradients of the tables; leaves the penalties in the step's row of the window.
    pub fn add(&mut self, at: At<B>, gradients: &mut Gradients<B>) {
        let row_weights = Mat::new(&self.row_weights, 1, self.rows);
        let tables = [
            (&at.weights.entities, gradients.entities.again()),
            (&at.weights.relations, gradients.relations.again()),
        ];
        let mut first = 0;
        for (table, gradients) in tables {
            let penalties = MatMut::new(&mut self.penalties, WINDOW, self.rows).rows(at.window, 1);
            at.backend.penalise(
                self.penalty,
                row_weights.columns(first, table.rows),
                table.mat(),
                gradients,
                penalties.columns(first, table.rows),
            );
            first += table.rows;
        }
    }

    /// The penalties of each of the first `steps` of the window.
    pub fn sums(&self, backend: &B, steps: usize) -> Result<Vec<f64>> {
        sums(backend, &self.penalties, steps, self.rows)
    }

    /// All that was allocated.
    #[cfg(test)]
    pub fn buffers(&self) -> [&B::Buffer; 2] {
        [&self.row_weights, &self.penalties]
    }
}
