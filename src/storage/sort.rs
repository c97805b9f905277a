//! External sorting: more values than memory holds, in order.
//!
//! Values are collected in a buffer; a full buffer is sorted by all threads and appended to a file as a
//! *run*; in the end the runs are merged. What fits into the buffer never touches the disk.
//! Cost: O(n log n) comparisons, and each value is written and read once where there is more than one run.

use super::scratch::{Scratch, Spool, Values};
use crate::error::Result;
use bytemuck::Pod;
use rayon::slice::ParallelSliceMut;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::ops::Range;
use std::sync::Arc;

/// Most bytes that are read from one run at once.
pub(super) const READ: usize = 1 << 20;

/// Collects values of fixed size.
#[derive(Debug)]
pub struct Sorter<T> {
    buffer: Vec<T>,
    capacity: usize,
    runs: Vec<Range<u64>>,
    spool: Spool,
    len: u64,
}

impl<T: Pod + Ord + Send> Sorter<T> {
    /// An empty sorter whose buffer takes at most `memory` bytes.
    pub fn new(scratch: &Arc<Scratch>, memory: usize) -> Self {
        let capacity = (memory / size_of::<T>()).max(2);
        Sorter { buffer: Vec::new(), capacity, runs: Vec::new(), spool: Spool::new(scratch, 0), len: 0 }
    }

    /// Number of values.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a value.
    #[inline]
    pub fn push(&mut self, value: T) -> Result<()> {
        if self.buffer.len() == self.buffer.capacity() {
            self.make_room()?;
        }
        self.buffer.push(value);
        self.len += 1;
        Ok(())
    }

    fn make_room(&mut self) -> Result<()> {
        let len = self.buffer.len();
        if len >= self.capacity {
            return self.spill();
        }
        self.buffer.reserve_exact((len * 2).clamp(1 << 10, self.capacity.max(1 << 10)) - len);
        Ok(())
    }

    fn spill(&mut self) -> Result<()> {
        self.buffer.par_sort_unstable();
        let begin = self.spool.len();
        self.spool.append(bytemuck::cast_slice(&self.buffer))?;
        self.runs.push(begin..self.spool.len());
        self.buffer.clear();
        Ok(())
    }

    /// All values, ready to be read in order. Frees the buffer where there are runs on disk.
    pub fn finish(mut self) -> Result<Sorted<T>> {
        if self.runs.is_empty() {
            self.buffer.par_sort_unstable();
        } else {
            self.spill()?;
            self.buffer = Vec::new();
        }
        let read = (self.capacity * size_of::<T>() / self.runs.len().max(1)).min(READ);
        Ok(Sorted { memory: self.buffer, runs: self.runs, spool: self.spool, read })
    }
}

/// Sorted values: in memory, or as runs.
#[derive(Debug)]
pub struct Sorted<T> {
    memory: Vec<T>,
    runs: Vec<Range<u64>>,
    spool: Spool,
    read: usize,
}

impl<T: Pod + Ord> Sorted<T> {
    /// The values in ascending order, equal ones as often as they were added. O(log runs) a value.
    pub fn iter(&self) -> Result<SortedIter<'_, T>> {
        if self.runs.is_empty() {
            return Ok(SortedIter::Memory(self.memory.iter()));
        }
        let runs = self.runs.iter().map(|run| self.spool.values_in(run.clone(), self.read));
        Ok(SortedIter::Runs(Merge::new(runs)?))
    }

    /// Number of runs on disk; 0 where all is in memory.
    pub fn num_runs(&self) -> usize {
        self.runs.len()
    }
}

/// See [`Sorted::iter`].
#[derive(Debug)]
pub enum SortedIter<'s, T> {
    /// Everything is in memory.
    Memory(std::slice::Iter<'s, T>),
    /// Runs are merged.
    Runs(Merge<Values<'s, T>, T>),
}

impl<T: Pod + Ord> Iterator for SortedIter<'_, T> {
    type Item = Result<T>;

    #[inline]
    fn next(&mut self) -> Option<Result<T>> {
        match self {
            SortedIter::Memory(values) => values.next().copied().map(Ok),
            SortedIter::Runs(merge) => merge.next(),
        }
    }
}

/// Merges sorted streams. After an error the stream that failed is left out.
#[derive(Debug)]
pub struct Merge<R, T> {
    runs: Vec<R>,
    /// The next value of each run that has one.
    heads: BinaryHeap<Reverse<(T, usize)>>,
}

impl<R: Iterator<Item = Result<T>>, T: Ord> Merge<R, T> {
    /// Reads the first value of each run.
    pub fn new(runs: impl Iterator<Item = R>) -> Result<Self> {
        let mut runs: Vec<R> = runs.collect();
        let mut heads = BinaryHeap::with_capacity(runs.len());
        for (index, run) in runs.iter_mut().enumerate() {
            if let Some(value) = run.next() {
                heads.push(Reverse((value?, index)));
            }
        }
        Ok(Merge { runs, heads })
    }
}

impl<R: Iterator<Item = Result<T>>, T: Ord> Iterator for Merge<R, T> {
    type Item = Result<T>;

    #[inline]
    fn next(&mut self) -> Option<Result<T>> {
        let mut head = self.heads.peek_mut()?;
        let run = head.0.1;
        match self.runs[run].next() {
            Some(Ok(value)) => Some(Ok(std::mem::replace(&mut head.0.0, value))),
            None => Some(Ok(PeekMut::pop(head).0.0)),
            Some(Err(error)) => {
                PeekMut::pop(head);
                Some(Err(error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn values_come_in_order_whatever_fits_into_memory(
            values in proptest::collection::vec(0u64..500, 0..4_000),
            memory in prop_oneof![Just(0usize), 8usize..20_000, Just(1 << 20)],
        ) {
            let folder = tempfile::tempdir().unwrap();
            let mut sorter = Sorter::new(&Scratch::new(folder.path()), memory);
            values.iter().try_for_each(|&v| sorter.push(v)).unwrap();
            prop_assert_eq!(sorter.len(), values.len() as u64);
            let sorted = sorter.finish().unwrap();
            let mut expected = values.clone();
            expected.sort_unstable();
            for _ in 0..2 {
                prop_assert_eq!(&sorted.iter().unwrap().collect::<Result<Vec<_>>>().unwrap(), &expected);
            }
        }
    }

    #[test]
    fn a_small_buffer_makes_runs_and_a_large_one_none() {
        let folder = tempfile::tempdir().unwrap();
        let runs = |memory| {
            let mut sorter = Sorter::new(&Scratch::new(folder.path()), memory);
            (0..100_000u32).rev().try_for_each(|v| sorter.push(v)).unwrap();
            sorter.finish().unwrap().num_runs()
        };
        assert_eq!((runs(1 << 20), runs(40_000)), (0, 10));
    }
}
