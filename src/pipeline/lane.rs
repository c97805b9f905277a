//! A thread that makes batches ahead of the one that trains on them.
//!
//! Batches go to the trainer by one bounded channel and come back empty by another (crossbeam's, which are lock-free and
//! park a thread that waits). Who makes them owns a [`Maker`], who takes them a [`Lane`]. Where either is dropped, the other
//! learns of it: a maker's next hand-over is refused, and a lane gives what was handed over before and then nothing. So
//! neither waits for one that is gone, however its thread ended.

use crate::error::Result;
use crate::process::thread_cpu_time;
use crossbeam_channel::{Receiver, Sender, bounded, never};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Where batches come out, in the order in which they were made. Dropping it waits for the thread, which ends at its next
/// hand-over.
pub struct Lane<B> {
    ready: Receiver<Result<B>>,
    spent: Sender<B>,
    cpu_nanoseconds: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
    waited: Duration,
}

/// Where batches go in.
pub struct Maker<B> {
    ready: Sender<Result<B>>,
    spent: Receiver<B>,
    cpu_nanoseconds: Arc<AtomicU64>,
}

impl<B: Default + Send + 'static> Lane<B> {
    /// Starts a thread that makes batches, of which at most `ahead` wait, at least one. Errors as the system does.
    pub fn start(
        name: String,
        ahead: usize,
        work: impl FnOnce(Maker<B>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (to_trainer, ready) = bounded(ahead.max(1));
        // All that can be under way: those that wait, one with the trainer, one in the making.
        let (spent, to_maker) = bounded(ahead.max(1) + 2);
        let cpu_nanoseconds = Arc::new(AtomicU64::new(0));
        let maker = Maker { ready: to_trainer, spent: to_maker, cpu_nanoseconds: cpu_nanoseconds.clone() };
        let thread = std::thread::Builder::new().name(name).spawn(move || work(maker))?;
        Ok(Lane { ready, spent, cpu_nanoseconds, thread: Some(thread), waited: Duration::ZERO })
    }

    /// The next batch, waiting for it where necessary; `None` where the thread has ended.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Option<Result<B>> {
        let asked = Instant::now();
        let next = self.ready.recv().ok();
        self.waited += asked.elapsed();
        next
    }

    /// Takes back a batch's buffers for reuse; drops them where there are enough.
    pub fn recycle(&self, batch: B) {
        let _ = self.spent.try_send(batch);
    }

    /// Seconds spent in [`Lane::next`] so far.
    pub fn waited_seconds(&self) -> f64 {
        self.waited.as_secs_f64()
    }

    /// CPU time of the thread so far, in seconds, up to its last hand-over.
    pub fn cpu_seconds(&self) -> f64 {
        self.cpu_nanoseconds.load(Ordering::Relaxed) as f64 * 1e-9
    }
}

impl<B: Default> Maker<B> {
    /// A batch whose buffers may have been used before.
    pub fn buffers(&self) -> B {
        self.spent.try_recv().unwrap_or_default()
    }

    /// Hands a batch over, waiting while enough of them wait; whether anybody will take the next one.
    pub fn hand_over(&self, batch: Result<B>) -> bool {
        self.cpu_nanoseconds.store(thread_cpu_time().as_nanos() as u64, Ordering::Relaxed);
        self.ready.send(batch).is_ok()
    }
}

impl<B> Drop for Lane<B> {
    fn drop(&mut self) {
        self.ready = never();
        if let Some(thread) = self.thread.take() {
            // Its panic, if it had one, was reported by a batch that did not come.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(ahead: usize, count: u32) -> Lane<u32> {
        let make = move |maker: Maker<u32>| {
            for number in 0..count {
                if !maker.hand_over(Ok(number)) {
                    break;
                }
            }
        };
        Lane::start("numbers".into(), ahead, make).unwrap()
    }

    #[test]
    fn batches_arrive_in_order_through_a_channel_that_is_always_full_or_empty() {
        let mut lane = numbers(2, 100_000);
        for number in 0..100_000 {
            assert_eq!(lane.next().unwrap().unwrap(), number);
        }
        assert!(lane.next().is_none() && lane.next().is_none());
    }

    #[test]
    fn dropping_a_lane_ends_a_thread_that_waits() {
        let lane = numbers(1, u32::MAX);
        std::thread::sleep(Duration::from_millis(20));
        drop(lane);
    }

    #[test]
    fn a_thread_that_panics_is_reported_after_what_it_handed_over() {
        let make = |maker: Maker<u32>| {
            maker.hand_over(Ok(7));
            panic!("on purpose");
        };
        let mut lane = Lane::start("panics".into(), 4, make).unwrap();
        assert_eq!(lane.next().unwrap().unwrap(), 7);
        assert!(lane.next().is_none());
    }

    #[test]
    fn buffers_come_back() {
        let make = |maker: Maker<Vec<u8>>| {
            maker.hand_over(Ok(vec![1; 1000]));
            let mut again = maker.buffers();
            while again.capacity() == 0 {
                std::thread::yield_now();
                again = maker.buffers();
            }
            maker.hand_over(Ok(again));
        };
        let mut lane = Lane::start("buffers".into(), 1, make).unwrap();
        let first = lane.next().unwrap().unwrap();
        let place = first.as_ptr();
        lane.recycle(first);
        let second = lane.next().unwrap().unwrap();
        assert_eq!(second.as_ptr(), place);
    }
}
