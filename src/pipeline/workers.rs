//! Worker threads that draw batches ahead of the trainer and hand them over in order.

use super::lane::{Lane, Maker};
use crate::error::{Error, Result};
use crate::graph::{Csr, CsrBuf, KnowledgeGraph, Split};
use crate::query::{Mix, Plan, Structure};
use crate::sampler::{Batch, Prepared, Sampler, SamplerOptions, StructureStats};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// A graph that worker threads share.
pub trait GraphSource: Send + Sync + 'static {
    /// The training edges, both directions.
    fn train(&self) -> Csr<'_>;
}

impl GraphSource for CsrBuf {
    fn train(&self) -> Csr<'_> {
        self.view()
    }
}

impl GraphSource for KnowledgeGraph {
    fn train(&self) -> Csr<'_> {
        self.split(Split::Train)
    }
}

/// How batches are made ahead of time. None of it changes what is in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PipelineOptions {
    /// Worker threads.
    pub workers: usize,
    /// Batches that each worker may have ready; more memory against a less even load.
    pub ahead: usize,
    /// Number of the first batch: where a resumed run goes on.
    pub first: u64,
}

impl Default for PipelineOptions {
    fn default() -> Self {
        PipelineOptions { workers: 1, ahead: 4, first: 0 }
    }
}

/// Running workers. Batch `first + i` is made by worker `i % workers` and waits in that worker's own
/// [`Lane`], so batches come in order and do not depend on the number of workers.
///
/// Dropping the pipeline stops the workers at once, also in the middle of a batch.
pub struct Pipeline {
    workers: Vec<Worker>,
    structures: Vec<Structure>,
    first: u64,
    next: u64,
    /// What ended the pipeline.
    failure: Option<String>,
}

/// One worker as the pipeline sees it.
struct Worker {
    lane: Lane<Batch>,
    shared: Arc<Shared>,
}

/// What a worker shares with the pipeline besides batches.
struct Shared {
    stop: AtomicBool,
    stats: Mutex<Vec<StructureStats>>,
}

impl Pipeline {
    /// Starts the workers: each fills batches by [`Sampler::fill`] and indexes them for `plan`.
    ///
    /// `plan` must be compiled from the same `mix`.
    ///
    /// # Errors
    ///
    /// As [`Sampler::new`], and [`Error::Invalid`] where a thread cannot be started.
    pub fn start<G: GraphSource>(
        graph: Arc<G>,
        mix: &Mix,
        plan: Arc<Plan>,
        sampler: SamplerOptions,
        options: PipelineOptions,
    ) -> Result<Self> {
        // Here once for its errors, so that they come now and not with the first batch.
        let prepared = Arc::new(Prepared::new(graph.train(), &sampler)?);
        Sampler::sharing(graph.train(), mix, sampler.clone(), prepared.clone())?;
        let workers = options.workers.max(1);
        let mut pipeline = Pipeline {
            workers: Vec::with_capacity(workers),
            structures: mix.parts.iter().map(|(structure, _)| structure.clone()).collect(),
            first: options.first,
            next: options.first,
            failure: None,
        };
        for worker in 0..workers as u64 {
            let shared = Arc::new(Shared {
                stop: AtomicBool::new(false),
                stats: Mutex::new(vec![StructureStats::default(); mix.parts.len()]),
            });
            let (graph, mix, plan, sampler) = (graph.clone(), mix.clone(), plan.clone(), sampler.clone());
            let (mine, prepared) = (shared.clone(), prepared.clone());
            let numbers = (options.first + worker..).step_by(workers);
            let make = move |maker: Maker<Batch>| {
                let sampler = Sampler::sharing(graph.train(), &mix, sampler, prepared);
                work(sampler, &plan, numbers, &mine, &maker);
            };
            let lane = Lane::start(format!("sampler-{worker}"), options.ahead, make).map_err(|e| {
                Error::invalid(format!(
                    "sampler worker {worker} of {workers} cannot be started ({e}): use fewer"
                ))
            })?;
            // A pipeline that is dropped half-made stops the workers it has.
            pipeline.workers.push(Worker { lane, shared });
        }
        Ok(pipeline)
    }

    /// The next batch in order, waiting for it where necessary. Give it back by [`Pipeline::recycle`].
    ///
    /// # Errors
    ///
    /// What the batch's worker met, with the number of the batch: [`Error::Sampling`], also for a panic.
    /// Batches before it still come; after it every call fails.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Batch> {
        if let Some(failure) = &self.failure {
            return Err(Error::Sampling(format!("the sampler has stopped: {failure}")));
        }
        let worker = self.worker(self.next);
        let result = self.workers[worker].lane.next().unwrap_or_else(|| {
            Err(Error::Sampling(format!("batch {}: worker {worker} ended without a word", self.next)))
        });
        match &result {
            Ok(batch) => {
                debug_assert_eq!(batch.number, self.next);
                self.next += 1;
            }
            Err(error) => self.failure = Some(error.to_string()),
        }
        result
    }

    /// Takes back a batch's buffers for reuse.
    pub fn recycle(&self, batch: Batch) {
        self.workers[self.worker(batch.number)].lane.recycle(batch);
    }

    /// Number of the batch that [`Pipeline::next`] returns next.
    pub fn position(&self) -> u64 {
        self.next
    }

    /// Seconds spent in [`Pipeline::next`] so far.
    pub fn waited_seconds(&self) -> f64 {
        self.workers.iter().map(|worker| worker.lane.waited_seconds()).sum()
    }

    /// CPU time of all workers so far, in seconds, up to their last finished batch.
    pub fn cpu_seconds(&self) -> f64 {
        self.workers.iter().map(|worker| worker.lane.cpu_seconds()).sum()
    }

    /// Structures of the mix with what all workers drew of them, up to their last finished batches.
    pub fn stats(&self) -> Vec<(Structure, StructureStats)> {
        let mut sums = vec![StructureStats::default(); self.structures.len()];
        for worker in &self.workers {
            let stats = worker.shared.stats.lock().unwrap_or_else(|e| e.into_inner());
            for (sum, stats) in sums.iter_mut().zip(stats.iter()) {
                sum.merge(stats);
            }
        }
        self.structures.iter().cloned().zip(sums).collect()
    }

    fn worker(&self, number: u64) -> usize {
        ((number.wrapping_sub(self.first)) % self.workers.len() as u64) as usize
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        // All at once, before each is waited for.
        for worker in &self.workers {
            worker.shared.stop.store(true, Ordering::Relaxed);
        }
    }
}

/// A worker's life: fill, index, hand over, until nobody takes a batch or something goes wrong.
fn work(
    sampler: Result<Sampler>,
    plan: &Plan,
    numbers: impl Iterator<Item = u64>,
    shared: &Shared,
    maker: &Maker<Batch>,
) {
    let mut sampler = match sampler {
        Ok(sampler) => sampler,
        Err(error) => {
            maker.hand_over(Err(error));
            return;
        }
    };
    for number in numbers {
        let mut batch = maker.buffers();
        // A sampler that has panicked is not used again.
        let filled = catch_unwind(AssertUnwindSafe(|| {
            sampler.fill_unless(number, &mut batch, &shared.stop)?;
            batch.index(plan);
            Ok::<(), Error>(())
        }));
        let result = match filled {
            Ok(Ok(())) => Ok(batch),
            Ok(Err(error)) => Err(Error::Sampling(format!("batch {number}: {error}"))),
            Err(panic) => {
                Err(Error::Sampling(format!("batch {number}: the sampler panicked: {}", message(&*panic))))
            }
        };
        for (mine, (_, stats)) in
            shared.stats.lock().unwrap_or_else(|e| e.into_inner()).iter_mut().zip(sampler.stats())
        {
            mine.clone_from(stats);
        }
        let failed = result.is_err();
        if !maker.hand_over(result) || failed || shared.stop.load(Ordering::Relaxed) {
            break;
        }
    }
}

/// The words of a panic.
fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{EntityId, RelationId, Triple};
    use crate::query::Tree;
    use crate::rng::{below, stream};
    use std::time::{Duration, Instant};

    fn triple(h: u64, r: u64, t: u64) -> Triple {
        Triple { head: EntityId(h as u32), relation: RelationId(2 * r as u32), tail: EntityId(t as u32) }
    }

    fn graph() -> Arc<CsrBuf> {
        let mut rng = stream(1, "graph", 0);
        let mut id = |n| below(&mut rng, n);
        let triples: Vec<Triple> = (0..400).map(|_| triple(id(80), id(5), id(80))).collect();
        Arc::new(CsrBuf::from_triples(90, &triples))
    }

    fn chain(length: usize) -> Structure {
        (0..length).fold(Tree::Anchor(()), |tree, _| Tree::Projection(Box::new(tree), ()))
    }

    fn mix() -> Mix {
        let and = Tree::Intersection(vec![chain(1), chain(1)]);
        Mix { parts: vec![(chain(1), 6), (chain(2), 6), (and, 4)] }
    }

    fn options() -> SamplerOptions {
        SamplerOptions { seed: 3, negatives: 60, ..Default::default() }
    }

    fn start(graph: Arc<impl GraphSource>, workers: usize, first: u64) -> Pipeline {
        let plan = Arc::new(Plan::new(&mix()).unwrap());
        let ahead = PipelineOptions { workers, ahead: 2, first };
        Pipeline::start(graph, &mix(), plan, options(), ahead).unwrap()
    }

    #[test]
    fn batches_are_the_same_for_any_number_of_workers_and_after_a_resume() {
        let take = |workers, first, count: usize, recycle: bool| {
            let mut pipeline = start(graph(), workers, first);
            let mut batches = Vec::new();
            for _ in 0..count {
                let batch = pipeline.next().unwrap();
                batches.push(batch.clone());
                if recycle {
                    pipeline.recycle(batch);
                }
            }
            assert_eq!(pipeline.position(), first + count as u64);
            batches
        };
        let one = take(1, 0, 24, true);
        assert!(one.iter().enumerate().all(|(i, batch)| batch.number == i as u64));
        assert!(one.iter().all(|batch| !batch.entity_rows.is_empty()), "batches are indexed");
        assert_eq!(one, take(3, 0, 24, true));
        assert_eq!(one, take(2, 0, 24, false));
        assert_eq!(one[10..], take(2, 10, 14, true));
    }

    #[test]
    fn a_dropped_pipeline_stops_its_workers_whatever_they_do() {
        for round in 0..60 {
            let graph = graph();
            let mut pipeline = start(graph.clone(), 1 + round % 3, 0);
            for _ in 0..round % 7 {
                pipeline.next().unwrap();
            }
            if round % 2 == 0 {
                std::thread::sleep(Duration::from_millis(round as u64 % 5));
            }
            drop(pipeline);
            assert_eq!(Arc::strong_count(&graph), 1, "no thread is left that has the graph");
        }
    }

    #[test]
    fn a_worker_that_tries_in_vain_is_stopped_in_the_middle_of_its_batch() {
        let edge = Arc::new(CsrBuf::from_triples(60, &[triple(0, 0, 1)]));
        let plan = Arc::new(Plan::new(&mix()).unwrap());
        let for_ever = SamplerOptions { max_attempts: usize::MAX, ..options() };
        let pipeline =
            Pipeline::start(edge.clone(), &mix(), plan, for_ever, PipelineOptions::default()).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        drop(pipeline);
        assert_eq!(Arc::strong_count(&edge), 1);
    }

    #[test]
    fn a_structure_that_cannot_be_drawn_reaches_the_consumer_as_its_error() {
        let edge = Arc::new(CsrBuf::from_triples(60, &[triple(0, 0, 1)]));
        let mut pipeline = start(edge, 2, 5);
        let error = pipeline.next().unwrap_err().to_string();
        assert!(error.starts_with("batch 5: 2p cannot be drawn on this graph"), "{error}");
        let again = pipeline.next().unwrap_err().to_string();
        assert!(again.starts_with("the sampler has stopped: batch 5: 2p"), "{again}");
    }

    /// A graph whose index was changed after it was checked: tails are no entities.
    struct Damaged(CsrBuf, Vec<u32>);

    impl GraphSource for Damaged {
        fn train(&self) -> Csr<'_> {
            let (sizes, sources, starts, _) = self.0.view().parts();
            Csr::from_parts(2, sizes, sources, starts, &self.1).unwrap()
        }
    }

    #[test]
    fn ids_beyond_the_graph_reach_the_consumer_as_an_error() {
        let whole = CsrBuf::from_triples(2, &[triple(0, 0, 1)]);
        // Each entity: one fragment, one tail.
        let beyond = whole.view().parts().3.chunks(2).flat_map(|row| [row[0], 900]).collect();
        let graph = Arc::new(Damaged(whole, beyond));
        let mix = Mix { parts: vec![(chain(1), 4)] };
        let plan = Arc::new(Plan::new(&mix).unwrap());
        let sampler = SamplerOptions { negatives: 4, ..SamplerOptions::default() };
        let mut pipeline = Pipeline::start(graph, &mix, plan, sampler, PipelineOptions::default()).unwrap();
        let error = pipeline.next().unwrap_err().to_string();
        assert_eq!(error, format!("batch 0: {}", crate::sampler::CHANGED));
    }

    #[test]
    fn a_panic_of_a_worker_reaches_the_consumer_with_its_words() {
        // More queries than the plan was made for.
        let (mix, plan) = (mix(), Arc::new(Plan::new(&Mix { parts: vec![(chain(3), 50_000)] }).unwrap()));
        let mut pipeline =
            Pipeline::start(graph(), &mix, plan, options(), PipelineOptions::default()).unwrap();
        let error = pipeline.next().unwrap_err().to_string();
        assert!(error.starts_with("batch 0: the sampler panicked: "), "{error}");
        assert!(error.contains("out of"), "{error}");
    }

    #[test]
    fn waiting_workers_cost_no_cpu_time() {
        let mut pipeline = start(graph(), 2, 0);
        let batch = pipeline.next().unwrap();
        pipeline.recycle(batch);
        // The queues are full once the CPU time stands still; then it must go on standing still.
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut before = pipeline.cpu_seconds();
        loop {
            std::thread::sleep(Duration::from_millis(50));
            let now = pipeline.cpu_seconds();
            if now == before || Instant::now() > deadline {
                break;
            }
            before = now;
        }
        assert!(before > 0.0, "work was measured");
        let shares: Vec<u64> = pipeline.stats().iter().map(|(_, stats)| stats.drawn).collect();
        assert_eq!(shares[0] % 6 + shares[1] % 6 + shares[2] % 4, 0, "whole batches are counted: {shares:?}");
        // Spinning would show in the worker's clock, which is read again with its next batch.
        std::thread::sleep(Duration::from_millis(300));
        let batch = pipeline.next().unwrap();
        pipeline.recycle(batch);
        std::thread::sleep(Duration::from_millis(100));
        let spent = pipeline.cpu_seconds() - before;
        assert!(spent < 0.1, "300 ms of waiting and one batch cost {spent} s");
    }
}
