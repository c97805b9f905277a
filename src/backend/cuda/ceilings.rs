//! Measures what the GPU's arithmetic can do at most. Kernels: `kernels/ceilings.cu`.

use super::memory::{Buffer, mat_mut};
use super::{Cuda, ViewMut};
use crate::backend::Backend;
use crate::error::Result;
use std::time::Instant;

/// Instructions of single threads a second, over the whole GPU.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Ceilings {
    /// FP32 additions; multiplications and fused ones are as fast.
    pub fp32: f64,
    /// Bit operations; comparisons and minima take the same units.
    pub logic: f64,
    /// Both in turns.
    pub mixed: f64,
}

impl Ceilings {
    /// Seconds that a kernel needs at least for its instructions.
    pub fn floor(&self, fp32: f64, logic: f64) -> f64 {
        (fp32 / self.fp32).max(logic / self.logic).max((fp32 + logic) / self.mixed)
    }
}

/// Instructions a thread and round, in all three kernels.
const CHAINS: f64 = 8.0;
const THREADS: u32 = 256;
/// Some for each multiprocessor of the largest GPUs, many times over.
const BLOCKS: usize = 4096;

/// The rates of a GPU: medians of seven runs of some milliseconds.
pub fn measure(cuda: &Cuda) -> Result<Ceilings> {
    let mut buffer = cuda.zeros(1)?;
    Ok(Ceilings {
        fp32: rate(cuda, &mut buffer, "ceiling_fp32")?,
        logic: rate(cuda, &mut buffer, "ceiling_logic")?,
        mixed: rate(cuda, &mut buffer, "ceiling_mixed")?,
    })
}

fn rate(cuda: &Cuda, buffer: &mut Buffer, kernel: &'static str) -> Result<f64> {
    const ENOUGH: f64 = 4e-3;
    let mut seconds = |rounds: u32| -> Result<f64> {
        let out = mat_mut(&mut ViewMut::new(buffer, 1, 1));
        let start = Instant::now();
        cuda.launch(kernel, [BLOCKS, 1, 1], THREADS, &[&rounds, &1f32, &7u32, &out]);
        cuda.download(buffer, 0, &mut [0.0])?;
        Ok(start.elapsed().as_secs_f64())
    };
    // The first call loads the kernel.
    seconds(1)?;
    let mut rounds = 16;
    while seconds(rounds)? < ENOUGH {
        rounds *= 2;
    }
    let mut times = (0..7).map(|_| seconds(rounds)).collect::<Result<Vec<f64>>>()?;
    times.sort_by(f64::total_cmp);
    Ok(CHAINS * f64::from(rounds) * f64::from(THREADS) * BLOCKS as f64 / times[times.len() / 2])
}
