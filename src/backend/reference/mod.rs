//! The operations as plain loops in float64: slow, single-threaded, written from their definitions.
//!
//! The parity tests hold every other backend to this one; the finite differences of the gradient
//! tests run whole models on it. Nothing here is shared with the fast code.
//!
//! A file per family of operations ([`ops`](crate::program::ops)); `formulas` has the scores and functions, `special` the
//! functions of Beta distributions.

mod clip;
mod convolution;
mod elementwise;
mod formulas;
mod label_loss;
mod linear;
mod loss;
mod normalise;
mod optimizer;
mod penalty;
mod project;
mod rows;
mod score;
mod segment;
pub(super) mod special;

use super::*;

/// The reference backend.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reference;

type Buffer = Vec<f64>;

impl HostBuffer for Buffer {
    type Scalar = f64;

    fn as_slice(&self) -> &[f64] {
        self
    }

    fn as_mut_slice(&mut self) -> &mut [f64] {
        self
    }
}

impl Length for Buffer {
    fn length(&self) -> usize {
        self.len()
    }
}

/// The rows of a segment.
fn range_of(offsets: &[u32], s: usize) -> std::ops::Range<usize> {
    offsets[s] as usize..offsets[s + 1] as usize
}

impl Backend for Reference {
    type Scalar = f64;
    type Buffer = Buffer;
    type Index = Vec<u32>;
    type Reading = Vec<f64>;

    fn describe(&self) -> String {
        "reference (float64, one thread)".into()
    }

    fn zeros(&self, len: usize) -> Result<Buffer> {
        Ok(vec![0.0; len])
    }

    fn upload(&self, data: &[f64], buffer: &mut Buffer, offset: usize) -> Result<()> {
        buffer[offset..][..data.len()].copy_from_slice(data);
        Ok(())
    }

    fn read(&self, buffer: &Buffer, offset: usize, len: usize) -> Result<Vec<f64>> {
        Ok(buffer.as_slice()[offset..][..len].to_vec())
    }

    fn finish(&self, reading: Vec<f64>) -> Result<Vec<f64>> {
        Ok(reading)
    }

    fn download(&self, buffer: &Buffer, offset: usize, out: &mut [f64]) -> Result<()> {
        out.copy_from_slice(&buffer[offset..][..out.len()]);
        Ok(())
    }

    fn index(&self, data: &[u32]) -> Result<Vec<u32>> {
        Ok(data.to_vec())
    }

    fn set_index(&self, data: &[u32], index: &mut Vec<u32>) -> Result<()> {
        *index = data.to_vec();
        Ok(())
    }

    fn run<'a>(&'a self, op: impl Into<Op<On<'a, Self>>>) {
        let op = op.into();
        op.check();
        match op {
            Op::Rows(op) => rows::run(op),
            Op::Elementwise(op) => elementwise::run(op),
            Op::Projections(op) => project::run(op),
            Op::Layers(op) => linear::run(op),
            Op::Convolution(op) => convolution::run(op),
            Op::Normalisation(op) => normalise::run(op),
            Op::Segment(op) => segment::run(op),
            Op::Score(op) => score::run(op),
            Op::Losses(op) => loss::run(op),
            Op::LabelLosses(op) => label_loss::run(op),
            Op::Penalties(op) => penalty::run(op),
            Op::Clip(op) => clip::run(op),
            Op::Optimizers(op) => optimizer::run(op),
        }
    }

    fn rank(&self, kind: Scoring, task: RankTask<Self>, entities: Mat<Buffer>) -> Result<Vec<RankCount>> {
        let mut counts = Vec::new();
        for q in 0..task.root_offsets.len() - 1 {
            let scores: Vec<f64> = (0..entities.rows)
                .map(|e| {
                    range_of(task.root_offsets, q)
                        .map(|root| formulas::score(kind, task.queries.row(root), entities.row(e)))
                        .fold(f64::NAN, f64::max)
                })
                .collect();
            let filter = &task.filter[range_of(task.filter_offsets, q)];
            for &target in &task.targets[range_of(task.target_offsets, q)] {
                let threshold = scores[target as usize];
                let mut count = RankCount::default();
                for (e, &score) in scores.iter().enumerate() {
                    if e as u32 == target || filter.contains(&(e as u32)) {
                        continue;
                    }
                    count.better += u32::from(score > threshold || threshold.is_nan());
                    count.equal += u32::from(score == threshold);
                }
                counts.push(count);
            }
        }
        Ok(counts)
    }
}
