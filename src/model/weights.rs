//! A model's tables: entity rows, relation rows, dense parameters, each with its optimizer's moments.

use super::Model;
pub use crate::backend::Weights;
use crate::backend::{Backend, Number, Optimizer, Parameters};
use crate::config::Start;
use crate::error::Result;
use crate::rng::{self, Rng};

/// Rows that share a stream of random numbers when they are filled.
pub const ROWS_PER_STREAM: usize = 256;

impl<B: Backend> Weights<B> {
    /// Tables of zeros; with room for the state of the optimizer that is going to train the model.
    pub fn zeros(
        backend: &B,
        model: &dyn Model,
        num_entities: usize,
        num_relations: usize,
        trained: Option<Optimizer>,
    ) -> Result<Self> {
        let entities = zeros(backend, num_entities, model.spec().widths.entity, trained)?;
        Self::beside(backend, model, entities, num_relations, trained)
    }

    /// Tables of zeros beside entity rows that are already there, in a file.
    pub fn beside(
        backend: &B,
        model: &dyn Model,
        entities: Parameters<B>,
        num_relations: usize,
        trained: Option<Optimizer>,
    ) -> Result<Self> {
        let table = |rows, cols| zeros(backend, rows, cols, trained);
        Ok(Weights {
            entities,
            relations: table(num_relations, model.spec().widths.relation)?,
            dense: model.spec().parameters.iter().map(|s| table(s.rows, s.cols)).collect::<Result<_>>()?,
        })
    }

    /// Random start, rows as the model says; the same for a seed on every machine. Entity rows in a file were made with
    /// theirs.
    pub fn start(&mut self, backend: &B, model: &dyn Model, seed: u64) -> Result<()> {
        self.start_as(backend, model, Start::Uniform, seed)
    }

    /// As [`Weights::start`], with rows as `start` says.
    pub fn start_as(&mut self, backend: &B, model: &dyn Model, start: Start, seed: u64) -> Result<()> {
        if !self.entities.interleaved {
            let rows = self.entities.rows;
            fill(backend, &mut self.entities, seed, ENTITIES, |row, rng| {
                start_row(start, rows, row, rng, |row, rng| model.start_entity(row, rng));
            })?;
        }
        let rows = self.relations.rows;
        fill(backend, &mut self.relations, seed, "start relations", |row, rng| {
            start_row(start, rows, row, rng, |row, rng| model.start_relation(row, rng));
        })?;
        for (table, shape) in self.dense.iter_mut().zip(&model.spec().parameters) {
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
    pub fn named<'a>(&'a self, model: &dyn Model) -> Vec<(String, &'a Parameters<B>)> {
        let dense = model.spec().parameters.iter().map(|s| s.name.clone()).zip(&self.dense);
        [("entities".to_string(), &self.entities), ("relations".to_string(), &self.relations)]
            .into_iter()
            .chain(dense)
            .collect()
    }

    /// All tables with their names in saved models, to be changed.
    pub fn named_mut<'a>(&'a mut self, model: &dyn Model) -> Vec<(String, &'a mut Parameters<B>)> {
        let dense = model.spec().parameters.iter().map(|s| s.name.clone()).zip(&mut self.dense);
        [("entities".to_string(), &mut self.entities), ("relations".to_string(), &mut self.relations)]
            .into_iter()
            .chain(dense)
            .collect()
    }
}

/// The purpose of the streams of entity rows.
const ENTITIES: &str = "start entities";

/// Entity rows `first..` of a table of `rows` as [`Weights::start_as`] makes them; `first` is a multiple of
/// [`ROWS_PER_STREAM`] and `values` has at most as many rows.
pub fn start_entities(
    model: &dyn Model,
    start: Start,
    seed: u64,
    rows: usize,
    first: usize,
    values: &mut [f32],
) {
    let cols = model.spec().widths.entity;
    fill_stream(seed, ENTITIES, first, cols, values, |row, rng| {
        start_row(start, rows, row, rng, |row, rng| model.start_entity(row, rng));
    });
}

/// Fills a row of a table of `rows`.
fn start_row(
    start: Start,
    rows: usize,
    row: &mut [f32],
    rng: &mut Rng,
    model: impl Fn(&mut [f32], &mut Rng),
) {
    use rand::RngExt as _;
    let variance = 2.0 / (rows + row.len()) as f32;
    match start {
        Start::Uniform => model(row, rng),
        Start::XavierUniform => {
            let range = (3.0 * variance).sqrt();
            super::uniform(row, -range, range, rng);
        }
        Start::XavierNormal => {
            let normal =
                |x: &mut f32| *x = variance.sqrt() * rng.sample::<f32, _>(rand_distr::StandardNormal);
            row.iter_mut().for_each(normal);
        }
    }
}

fn zeros<B: Backend>(
    backend: &B,
    rows: usize,
    cols: usize,
    trained: Option<Optimizer>,
) -> Result<Parameters<B>> {
    let state = trained.map_or([0; 2], |optimizer| optimizer.state(cols));
    Ok(Parameters {
        rows,
        cols,
        values: backend.zeros(rows * cols)?,
        first: backend.zeros(rows * state[0])?,
        second: backend.zeros(rows * state[1])?,
        state,
        interleaved: false,
    })
}

/// The rows of one stream.
fn fill_stream(
    seed: u64,
    purpose: &str,
    first: usize,
    cols: usize,
    values: &mut [f32],
    start: impl Fn(&mut [f32], &mut Rng),
) {
    assert!(first.is_multiple_of(ROWS_PER_STREAM) && values.len() <= ROWS_PER_STREAM * cols);
    let mut rng = rng::stream(seed, purpose, (first / ROWS_PER_STREAM) as u64);
    values.chunks_mut(cols).for_each(|row| start(row, &mut rng));
}

fn fill<B: Backend>(
    backend: &B,
    table: &mut Parameters<B>,
    seed: u64,
    purpose: &str,
    start: impl Fn(&mut [f32], &mut Rng),
) -> Result<()> {
    let mut block = vec![0f32; ROWS_PER_STREAM * table.cols];
    for first in (0..table.rows).step_by(ROWS_PER_STREAM) {
        let rows = ROWS_PER_STREAM.min(table.rows - first);
        let block = &mut block[..rows * table.cols];
        fill_stream(seed, purpose, first, table.cols, block, &start);
        let scalars: Vec<B::Scalar> = block.iter().map(|&x| B::Scalar::of(f64::from(x))).collect();
        backend.upload(&scalars, &mut table.values, first * table.cols)?;
    }
    Ok(())
}
