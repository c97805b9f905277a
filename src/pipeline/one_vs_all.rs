//! Batches of single-hop training and the thread that makes them ahead.

use super::GraphSource;
use super::lane::{Lane, Maker};
use crate::error::{Error, Result};
use crate::sampler::OneVsAllBatch;
use crate::sampler::one_vs_all::{OneVsAllOptions, OneVsAllSampler};
use std::sync::Arc;

/// A thread that makes batches in order. Dropping it stops the thread at its next batch.
pub struct OneVsAllPipeline(Lane<OneVsAllBatch>);

impl OneVsAllPipeline {
    /// Starts the thread, which makes batches from number `first` on, at most `ahead` in advance.
    ///
    /// # Errors
    ///
    /// As [`OneVsAllSampler::new`], and where the thread cannot be started.
    pub fn start<G: GraphSource>(
        graph: Arc<G>,
        options: OneVsAllOptions,
        ahead: usize,
        first: u64,
    ) -> Result<Self> {
        // Here for its errors.
        drop(OneVsAllSampler::new(graph.train(), options)?);
        let make = move |maker: Maker<OneVsAllBatch>| {
            let Ok(mut sampler) = OneVsAllSampler::new(graph.train(), options) else { return };
            for number in first.. {
                let mut batch = maker.buffers();
                sampler.fill(number, &mut batch);
                if !maker.hand_over(Ok(batch)) {
                    break;
                }
            }
        };
        let lane = Lane::start("batches".into(), ahead, make)
            .map_err(|e| Error::invalid(format!("the thread of batches cannot be started: {e}")))?;
        Ok(OneVsAllPipeline(lane))
    }

    /// The next batch, waiting for it where necessary. Give it back by [`OneVsAllPipeline::recycle`].
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<OneVsAllBatch> {
        self.0.next().unwrap_or_else(|| Err(Error::Sampling("the thread of batches panicked".into())))
    }

    /// Seconds spent in [`OneVsAllPipeline::next`] so far.
    pub fn waited_seconds(&self) -> f64 {
        self.0.waited_seconds()
    }

    /// Takes back a batch's buffers for reuse.
    pub fn recycle(&self, batch: OneVsAllBatch) {
        self.0.recycle(batch);
    }

    /// CPU time of the thread so far, in seconds, up to its last finished batch.
    pub fn cpu_seconds(&self) -> f64 {
        self.0.cpu_seconds()
    }
}
