//! A model's tables: entity rows, relation rows, dense parameters, each with its optimizer's moments.

use super::Model;
use crate::backend::{Backend, Mat, Parameters};
use crate::error::Result;
use crate::rng::{self, Rng};

/// All trained numbers of a model.
#[derive(Debug)]
pub struct Weights<B: Backend> {
    /// One row per entity.
    pub entities: Parameters<B>,
    /// One row per directed relation.
    pub relations: Parameters<B>,
    /// Parameters of the networks, in the model's order.
    pub dense: Vec<Parameters<B>>,
}

/// Rows that share a stream of random numbers when they are filled.
const ROWS_PER_STREAM: usize = 256;

impl<B: Backend> Weights<B> {
    /// Tables of zeros; with room for the moments where the model is going to be trained.
    pub fn zeros(
        backend: &B,
        model: &dyn Model<B>,
        num_entities: usize,
        num_relations: usize,
        trained: bool,
    ) -> Result<Self> {
        let table = |rows: usize, cols: usize| -> Result<Parameters<B>> {
            let moments = if trained { rows * cols } else { 0 };
            Ok(Parameters {
                rows,
                cols,
                values: backend.zeros(rows * cols)?,
                first: backend.zeros(moments)?,
                second: backend.zeros(moments)?,
            })
        };
        let widths = model.widths();
        Ok(Weights {
            entities: table(num_entities, widths.entity)?,
            relations: table(num_relations, widths.relation)?,
            dense: model.dense().iter().map(|s| table(s.rows, s.cols)).collect::<Result<_>>()?,
        })
    }

    /// Random start; the same for a seed on every machine.
    pub fn start(&mut self, backend: &B, model: &dyn Model<B>, seed: u64) -> Result<()> {
        fill(backend, &mut self.entities, seed, "start entities", |row, rng| model.start_entity(row, rng))?;
        fill(backend, &mut self.relations, seed, "start relations", |row, rng| {
            model.start_relation(row, rng)
        })?;
        for (table, shape) in self.dense.iter_mut().zip(model.dense()) {
            let purpose = format!("start {}", shape.name);
            if shape.range > 0.0 {
                fill(backend, table, seed, &purpose, |row, rng| {
                    super::uniform(row, -shape.range, shape.range, rng);
                })?;
            }
        }
        Ok(())
    }

    /// All tables with their names in saved models.
    pub fn named<'a>(&'a self, model: &dyn Model<B>) -> Vec<(String, &'a Parameters<B>)> {
        let dense = model.dense().into_iter().map(|s| s.name).zip(&self.dense);
        [("entities".to_string(), &self.entities), ("relations".to_string(), &self.relations)]
            .into_iter()
            .chain(dense)
            .collect()
    }

    /// All tables with their names in saved models, to be changed.
    pub fn named_mut<'a>(&'a mut self, model: &dyn Model<B>) -> Vec<(String, &'a mut Parameters<B>)> {
        let dense = model.dense().into_iter().map(|s| s.name).zip(&mut self.dense);
        [("entities".to_string(), &mut self.entities), ("relations".to_string(), &mut self.relations)]
            .into_iter()
            .chain(dense)
            .collect()
    }

    /// The dense parameters as matrices.
    pub fn dense_mats(&self) -> Vec<Mat<'_, B::Buffer>> {
        self.dense.iter().map(Parameters::mat).collect()
    }
}

fn fill<B: Backend>(
    backend: &B,
    table: &mut Parameters<B>,
    seed: u64,
    purpose: &str,
    start: impl Fn(&mut [f32], &mut Rng),
) -> Result<()> {
    let mut block = vec![0f32; ROWS_PER_STREAM * table.cols];
    for (number, first) in (0..table.rows).step_by(ROWS_PER_STREAM).enumerate() {
        let rows = ROWS_PER_STREAM.min(table.rows - first);
        let mut rng = rng::stream(seed, purpose, number as u64);
        let block = &mut block[..rows * table.cols];
        for row in block.chunks_mut(table.cols) {
            start(row, &mut rng);
        }
        let scalars: Vec<B::Scalar> = block.iter().map(|&x| B::scalar(f64::from(x))).collect();
        backend.upload(&scalars, &mut table.values, first * table.cols)?;
    }
    Ok(())
}
