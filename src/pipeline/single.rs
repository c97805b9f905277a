//! Batches of single-hop training and the thread that makes them ahead.

use super::queue::Queue;
use super::{GraphSource, Groups};
use crate::error::{Error, Result};
use crate::ids::Triple;
use crate::process::thread_cpu_time;
use crate::sampler::single::{SingleOptions, SingleSampler};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Rows of scores with their labels: each row is a pair (head, relation), distinct in the batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SingleBatch {
    /// Number of the batch: with the seed, it decides the whole content.
    pub number: u64,
    /// Triples (1vsAll) or pairs (KvsAll) of the epoch that it goes through.
    pub units: usize,
    /// Head of each row.
    pub heads: Vec<u32>,
    /// Relation of each row.
    pub relations: Vec<u32>,
    /// Bounds of each row in `labels`.
    pub label_offsets: Vec<u32>,
    /// Tails of each row, ascending: at least one, distinct.
    pub labels: Vec<u32>,
    /// The distinct heads with their rows.
    pub head_groups: Groups,
    /// The distinct relations with their rows.
    pub relation_groups: Groups,
}

impl SingleBatch {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.heads.len()
    }

    /// Makes the rows of distinct edges that ascend by head, relation, tail.
    pub fn assign(&mut self, number: u64, edges: &[Triple]) {
        let SingleBatch { heads, relations, label_offsets, labels, .. } = self;
        for list in [&mut *heads, &mut *relations, &mut *label_offsets, &mut *labels] {
            list.clear();
        }
        label_offsets.push(0);
        for edges in edges.chunk_by(|a, b| (a.head, a.relation) == (b.head, b.relation)) {
            heads.push(edges[0].head.0);
            relations.push(edges[0].relation.0);
            labels.extend(edges.iter().map(|edge| edge.tail.0));
            label_offsets.push(labels.len() as u32);
        }
        self.number = number;
        self.head_groups.assign(&self.heads);
        self.relation_groups.assign(&self.relations);
    }
}

/// A thread that makes batches in order. Dropping it stops the thread at its next batch.
pub struct SinglePipeline {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Time spent waiting for batches.
    waited: Duration,
}

struct Shared {
    ready: Queue<SingleBatch>,
    spent: Queue<SingleBatch>,
    cpu_nanoseconds: AtomicU64,
}

impl SinglePipeline {
    /// Starts the thread, which makes batches from number `first` on, at most `ahead` in advance.
    ///
    /// # Errors
    ///
    /// As [`SingleSampler::new`], and where the thread cannot be started.
    pub fn start<G: GraphSource>(
        graph: Arc<G>,
        options: SingleOptions,
        ahead: usize,
        first: u64,
    ) -> Result<Self> {
        // Here for its errors.
        drop(SingleSampler::new(graph.train(), options)?);
        let shared = Arc::new(Shared {
            ready: Queue::new(ahead),
            spent: Queue::new(ahead + 2),
            cpu_nanoseconds: AtomicU64::new(0),
        });
        let mine = shared.clone();
        let work = move || {
            if let Ok(mut sampler) = SingleSampler::new(graph.train(), options) {
                for number in first.. {
                    let mut batch = mine.spent.try_pop().unwrap_or_default();
                    sampler.fill(number, &mut batch);
                    mine.cpu_nanoseconds.store(thread_cpu_time().as_nanos() as u64, Ordering::Relaxed);
                    if mine.ready.push(batch).is_err() {
                        break;
                    }
                }
            }
        };
        // However it ends, whoever waits is told.
        let guard = Closing(shared.clone());
        let thread = std::thread::Builder::new().name("batches".into()).spawn(move || {
            let _guard = guard;
            work();
        });
        let thread =
            thread.map_err(|e| Error::invalid(format!("the thread of batches cannot be started: {e}")))?;
        Ok(SinglePipeline { shared, thread: Some(thread), waited: Duration::ZERO })
    }

    /// The next batch, waiting for it where necessary. Give it back by [`SinglePipeline::recycle`].
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<SingleBatch> {
        let asked = Instant::now();
        let ready = self.shared.ready.pop();
        self.waited += asked.elapsed();
        ready.ok_or_else(|| Error::Sampling("the thread of batches panicked".into()))
    }

    /// Seconds spent in [`SinglePipeline::next`] so far.
    pub fn waited_seconds(&self) -> f64 {
        self.waited.as_secs_f64()
    }

    /// Takes back a batch's buffers for reuse.
    pub fn recycle(&self, batch: SingleBatch) {
        let _ = self.shared.spent.try_push(batch);
    }

    /// CPU time of the thread so far, in seconds, up to its last finished batch.
    pub fn cpu_seconds(&self) -> f64 {
        self.shared.cpu_nanoseconds.load(Ordering::Relaxed) as f64 * 1e-9
    }
}

struct Closing(Arc<Shared>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.ready.close();
    }
}

impl Drop for SinglePipeline {
    fn drop(&mut self) {
        self.shared.ready.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
