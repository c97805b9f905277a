//! The operations on the CPU: all cores, AVX2 or AVX-512 chosen at run time.
//!
//! Work is split in chunks of fixed size, never by the number of threads, and every sum has a fixed
//! order, so that results repeat bit for bit on one instruction set whatever the number of threads.
//!
//! Reading order: [`memory`] (buffers, parallel rows), then
//! a file per family of operations ([`ops`](crate::program::ops)). [`formulas`] has a functor per score and per function,
//! [`score`] the loops of scores, [`per_query_score`] the same for a query's own candidates, [`beta`] the score of Beta
//! distributions, on the functions of [`special`]; [`matrix`] does projections by shared matrices, [`rank`] rankings.

pub mod beta;
pub mod clip;
pub mod convolution;
pub mod elementwise;
pub mod formulas;
pub mod label_loss;
pub mod linear;
pub mod loss;
pub mod matrix;
pub mod memory;
pub mod normalise;
pub mod optimizer;
pub mod penalty;
pub mod per_query_score;
pub mod project;
pub mod rank;
pub mod rows;
pub mod score;
pub mod segment;
pub mod special;

use super::*;
use crate::storage::mmap::Numbers;
use memory::Buffer;

/// The CPU; threads are rayon's global pool.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu;

type View<'a> = Mat<'a, Buffer>;
type ViewMut<'a> = MatMut<'a, Buffer>;

impl Backend for Cpu {
    type Scalar = f32;
    type Buffer = Buffer;
    type Index = Vec<u32>;
    type Reading = Vec<f32>;

    fn describe(&self) -> String {
        let arch = format!("{:?}", pulp::Arch::new()).to_lowercase();
        let simd = match arch.as_str() {
            a if a.starts_with("v4") => "AVX-512",
            a if a.starts_with("v3") => "AVX2",
            a if a.starts_with("neon") => "NEON",
            _ => "no SIMD",
        };
        format!("CPU, {}, {simd}", crate::table::counted(rayon::current_num_threads(), "thread", "threads"))
    }

    fn zeros(&self, len: usize) -> Result<Buffer> {
        Buffer::zeros(len)
    }

    fn map(&self, numbers: Numbers) -> Result<Buffer> {
        Ok(Buffer::File(numbers))
    }

    fn upload(&self, data: &[f32], buffer: &mut Buffer, offset: usize) -> Result<()> {
        buffer.as_mut_slice()[offset..][..data.len()].copy_from_slice(data);
        Ok(())
    }

    fn read(&self, buffer: &Buffer, offset: usize, len: usize) -> Result<Vec<f32>> {
        Ok(buffer.as_slice()[offset..][..len].to_vec())
    }

    fn finish(&self, reading: Vec<f32>) -> Result<Vec<f32>> {
        Ok(reading)
    }

    fn download(&self, buffer: &Buffer, offset: usize, out: &mut [f32]) -> Result<()> {
        out.copy_from_slice(&buffer.as_slice()[offset..][..out.len()]);
        Ok(())
    }

    fn index(&self, data: &[u32]) -> Result<Vec<u32>> {
        Ok(data.to_vec())
    }

    fn set_index(&self, data: &[u32], index: &mut Vec<u32>) -> Result<()> {
        index.clear();
        index.extend_from_slice(data);
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

    fn rank(&self, kind: Scoring, task: RankTask<Self>, entities: View) -> Result<Vec<RankCount>> {
        Ok(rank::rank(kind, task, entities))
    }
}
