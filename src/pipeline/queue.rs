//! A bounded lock-free queue between two threads that sleep instead of spinning.

use crossbeam_queue::ArrayQueue;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::thread::Thread;
use std::time::Duration;

/// A queue from one producer to one consumer.
///
/// Items go through an [`ArrayQueue`]; only a thread that must wait takes a lock, to leave its handle,
/// and then parks, so that waiting costs no CPU time. Closing wakes both ends: the producer's items are
/// refused from then on, the consumer still gets what is in the queue.
#[derive(Debug)]
pub struct Queue<T> {
    items: ArrayQueue<T>,
    closed: AtomicBool,
    not_empty: Waiter,
    not_full: Waiter,
}

impl<T> Queue<T> {
    /// A queue of at most `capacity` items, at least one.
    pub fn new(capacity: usize) -> Self {
        Queue {
            items: ArrayQueue::new(capacity.max(1)),
            closed: AtomicBool::new(false),
            not_empty: Waiter::default(),
            not_full: Waiter::default(),
        }
    }

    /// Appends an item, waiting while the queue is full; gives it back where the queue is closed.
    pub fn push(&self, item: T) -> Result<(), T> {
        let mut item = Some(item);
        self.not_full.wait(|| {
            let next = item.take().expect("taken back when it was refused");
            if self.is_closed() {
                return Some(Err(next));
            }
            match self.items.push(next) {
                Ok(()) => {
                    self.not_empty.wake();
                    Some(Ok(()))
                }
                Err(refused) => {
                    item = Some(refused);
                    None
                }
            }
        })
    }

    /// Appends an item where there is room at once; gives it back where there is none.
    pub fn try_push(&self, item: T) -> Result<(), T> {
        self.items.push(item)?;
        self.not_empty.wake();
        Ok(())
    }

    /// Removes the first item, waiting while there is none; `None` where the queue is closed and empty.
    pub fn pop(&self) -> Option<T> {
        self.not_empty.wait(|| {
            // Closing comes after the last push: what is seen as closed first is then seen as complete.
            let closed = self.is_closed();
            match self.try_pop() {
                Some(item) => Some(Some(item)),
                None => closed.then_some(None),
            }
        })
    }

    /// Removes the first item where there is one.
    pub fn try_pop(&self) -> Option<T> {
        let item = self.items.pop()?;
        self.not_full.wake();
        Some(item)
    }

    /// Refuses further items and wakes whoever waits.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.not_empty.wake();
        self.not_full.wake();
    }

    /// Whether the queue was closed.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }
}

/// Where one thread waits for a condition that another one brings about.
#[derive(Debug, Default)]
struct Waiter {
    waiting: AtomicBool,
    thread: Mutex<Option<Thread>>,
}

/// A waiting thread looks again after this time even if nobody woke it.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

impl Waiter {
    /// Calls `attempt` until it returns something, parked in between.
    fn wait<R>(&self, mut attempt: impl FnMut() -> Option<R>) -> R {
        loop {
            if let Some(result) = attempt() {
                return result;
            }
            *self.thread.lock().unwrap_or_else(|e| e.into_inner()) = Some(std::thread::current());
            self.waiting.store(true, Ordering::SeqCst);
            // Pairs with the fence of `wake`: either this attempt sees the change, or the waker sees
            // that we wait. A token that is left over makes one later park return early, no more.
            fence(Ordering::SeqCst);
            if let Some(result) = attempt() {
                self.waiting.store(false, Ordering::SeqCst);
                return result;
            }
            std::thread::park_timeout(LOOK_AGAIN);
        }
    }

    /// Wakes the thread that waits, if one does. Without one: a fence and a load.
    fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst)
            && self.waiting.swap(false, Ordering::SeqCst)
            && let Some(thread) = self.thread.lock().unwrap_or_else(|e| e.into_inner()).as_ref()
        {
            thread.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn items_arrive_in_order_through_a_queue_that_is_always_full_or_empty() {
        let queue = Arc::new(Queue::new(2));
        let producer = std::thread::spawn({
            let queue = queue.clone();
            move || {
                for i in 0..100_000 {
                    queue.push(i).unwrap();
                }
                queue.close();
            }
        });
        let started = std::time::Instant::now();
        for i in 0..100_000 {
            assert_eq!(queue.pop(), Some(i));
        }
        assert_eq!(queue.pop(), None);
        producer.join().unwrap();
        // A lost wake-up would cost half a second each.
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn closing_wakes_a_producer_that_waits_and_gives_its_item_back() {
        let queue = Arc::new(Queue::new(1));
        queue.push(1).unwrap();
        let producer = std::thread::spawn({
            let queue = queue.clone();
            move || queue.push(2)
        });
        std::thread::sleep(Duration::from_millis(20));
        queue.close();
        assert_eq!(producer.join().unwrap(), Err(2));
        assert_eq!((queue.pop(), queue.pop()), (Some(1), None));
        assert_eq!(queue.push(3), Err(3));
    }

    #[test]
    fn closing_wakes_a_consumer_that_waits() {
        let queue = Arc::new(Queue::<u32>::new(1));
        let consumer = std::thread::spawn({
            let queue = queue.clone();
            move || queue.pop()
        });
        std::thread::sleep(Duration::from_millis(20));
        queue.close();
        assert_eq!(consumer.join().unwrap(), None);
    }
}
