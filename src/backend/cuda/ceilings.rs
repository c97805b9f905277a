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
const BLOCKS: usize = 4096;

/// The rates of a GPU: medians of seven runs of some milliseconds. `rounds` of instructions a thread.
pub fn measure(cuda: &Cuda, rounds: u32) -> Result<Ceilings> {
    let mut buffer = cuda.zeros(1)?;
    let grid = [BLOCKS, 1, 1];
    let rate = |buffer: &mut Buffer, kernel: &str| -> Result<f64> {
        let mut times = Vec::new();
        for _ in 0..8 {
            let out = mat_mut(&mut ViewMut::new(buffer, 1, 1));
            let start = Instant::now();
            match kernel {
                "fp32" => cuda.launch("ceiling_fp32", grid, THREADS, &[&rounds, &1f32, &out]),
                "logic" => cuda.launch("ceiling_logic", grid, THREADS, &[&rounds, &7u32, &out]),
                _ => cuda.launch("ceiling_mixed", grid, THREADS, &[&rounds, &1f32, &7u32, &out]),
            }
            cuda.download(buffer, 0, &mut [0.0])?;
            times.push(start.elapsed().as_secs_f64());
        }
        times.remove(0);
        times.sort_by(f64::total_cmp);
        Ok(CHAINS * f64::from(rounds) * f64::from(THREADS) * BLOCKS as f64 / times[times.len() / 2])
    };
    Ok(Ceilings {
        fp32: rate(&mut buffer, "fp32")?,
        logic: rate(&mut buffer, "logic")?,
        mixed: rate(&mut buffer, "mixed")?,
    })
}
