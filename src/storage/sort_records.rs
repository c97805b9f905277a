//! External sorting of byte strings: as [`sort`](super::sort), for values of any length.

use super::scratch::{Scratch, Spool, SpoolReader};
use super::sort::{Merge, READ};
use crate::error::{Error, Result};
use rayon::slice::ParallelSliceMut;
use std::io::{BufReader, Read};
use std::ops::Range;
use std::sync::Arc;

/// A key, a number and further bytes; ordered by key (as bytes), then by number.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Second in the order.
    pub number: u64,
    key_len: usize,
    bytes: Vec<u8>,
}

impl Record {
    /// First in the order.
    pub fn key(&self) -> &[u8] {
        &self.bytes[..self.key_len]
    }

    /// What the key and the number stand for; not part of the order.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[self.key_len..]
    }
}

impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Record {}

impl PartialOrd for Record {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Record {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.key(), self.number).cmp(&(other.key(), other.number))
    }
}

/// `number`, lengths of key and payload; key and payload follow.
const HEAD: usize = 16;

fn head(number: u64, key: usize, payload: usize) -> Result<[u8; HEAD]> {
    let (Ok(key), Ok(payload)) = (u32::try_from(key), u32::try_from(payload)) else {
        return Err(Error::invalid("a text is longer than 4 GiB"));
    };
    let mut head = [0; HEAD];
    head[..8].copy_from_slice(&number.to_le_bytes());
    head[8..12].copy_from_slice(&key.to_le_bytes());
    head[12..].copy_from_slice(&payload.to_le_bytes());
    Ok(head)
}

fn parse(head: &[u8]) -> (u64, usize, usize) {
    let word = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes")) as usize;
    (u64::from_le_bytes(head[..8].try_into().expect("eight bytes")), word(8), word(12))
}

/// The first eight bytes of a key as a number of the same order.
fn prefix(key: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let n = key.len().min(8);
    bytes[..n].copy_from_slice(&key[..n]);
    u64::from_be_bytes(bytes)
}

/// Collects records; a record takes 32 bytes of the buffer besides its own.
#[derive(Debug)]
pub struct RecordSorter {
    arena: Vec<u8>,
    /// Prefix of the key, and where in the arena the record begins.
    index: Vec<(u64, usize)>,
    memory: usize,
    runs: Vec<Range<u64>>,
    spool: Spool,
    len: u64,
}

impl RecordSorter {
    /// An empty sorter whose buffer takes at most about `memory` bytes.
    pub fn new(scratch: &Arc<Scratch>, memory: usize) -> Self {
        let spool = Spool::new(scratch, memory.min(READ));
        RecordSorter { arena: Vec::new(), index: Vec::new(), memory, runs: Vec::new(), spool, len: 0 }
    }

    /// Number of records.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a record.
    pub fn push(&mut self, key: &[u8], number: u64, payload: &[u8]) -> Result<()> {
        let head = head(number, key.len(), payload.len())?;
        let taken = self.arena.len() + 16 * self.index.len();
        if taken > 0 && taken + 2 * HEAD + key.len() + payload.len() > self.memory {
            self.spill()?;
        }
        self.index.push((prefix(key), self.arena.len()));
        self.arena.extend_from_slice(&head);
        self.arena.extend_from_slice(key);
        self.arena.extend_from_slice(payload);
        self.len += 1;
        Ok(())
    }

    fn sort(&mut self) {
        let arena = &self.arena;
        let rest = |at: usize| {
            let (number, key, _) = parse(&arena[at..at + HEAD]);
            (&arena[at + HEAD..at + HEAD + key], number)
        };
        self.index.par_sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| rest(a.1).cmp(&rest(b.1))));
    }

    fn spill(&mut self) -> Result<()> {
        self.sort();
        let begin = self.spool.len();
        for &(_, at) in &self.index {
            let (_, key, payload) = parse(&self.arena[at..at + HEAD]);
            self.spool.append(&self.arena[at..at + HEAD + key + payload])?;
        }
        self.runs.push(begin..self.spool.len());
        self.arena.clear();
        self.index.clear();
        Ok(())
    }

    /// All records, ready to be read in order. Frees the buffer where there are runs on disk.
    pub fn finish(mut self) -> Result<SortedRecords> {
        if self.runs.is_empty() {
            self.sort();
        } else {
            self.spill()?;
            (self.arena, self.index) = (Vec::new(), Vec::new());
        }
        Ok(SortedRecords(self))
    }
}

/// Sorted records: in memory, or as runs.
#[derive(Debug)]
pub struct SortedRecords(RecordSorter);

impl SortedRecords {
    /// The records in order, equal ones as often as they were added. O(log runs) comparisons a record.
    pub fn iter(&self) -> Result<impl Iterator<Item = Result<Record>> + '_> {
        let RecordSorter { arena, index, runs, spool, memory, .. } = &self.0;
        let in_memory = index.iter().map(|&(_, at)| {
            let (number, key_len, payload) = parse(&arena[at..at + HEAD]);
            let bytes = arena[at + HEAD..at + HEAD + key_len + payload].to_vec();
            Ok(Record { number, key_len, bytes })
        });
        let buffer = (memory / runs.len().max(1)).clamp(64, READ);
        let merge = Merge::new(runs.iter().map(|run| Run {
            left: run.end - run.start,
            reader: BufReader::with_capacity(buffer, spool.read(run.clone())),
        }))?;
        Ok(in_memory.chain(merge))
    }

    /// Number of records.
    pub fn len(&self) -> u64 {
        self.0.len
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.0.len == 0
    }
}

/// The records of one run.
struct Run<'s> {
    left: u64,
    reader: BufReader<SpoolReader<'s>>,
}

impl Iterator for Run<'_> {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Result<Record>> {
        if self.left == 0 {
            return None;
        }
        let mut read = || {
            let mut head = [0; HEAD];
            self.reader.read_exact(&mut head)?;
            let (number, key_len, payload) = parse(&head);
            let mut bytes = vec![0; key_len + payload];
            self.reader.read_exact(&mut bytes)?;
            self.left -= (HEAD + bytes.len()) as u64;
            Ok(Record { number, key_len, bytes })
        };
        let record = read();
        Some(record.map_err(|e| self.reader.get_ref().error(e)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn records_come_by_key_then_number_with_their_payload(
            keys in proptest::collection::vec(("[ab\0é]{0,12}", 0u64..4), 0..300),
            memory in prop_oneof![Just(0usize), 40usize..6_000, Just(1 << 20)],
        ) {
            let folder = tempfile::tempdir().unwrap();
            let mut sorter = RecordSorter::new(&Scratch::new(folder.path()), memory);
            for (key, number) in &keys {
                sorter.push(key.as_bytes(), *number, format!("{number}{key}").as_bytes()).unwrap();
            }
            let sorted = sorter.finish().unwrap();
            let mut expected = keys.clone();
            expected.sort();
            let found: Vec<Record> = sorted.iter().unwrap().collect::<Result<_>>().unwrap();
            prop_assert_eq!(found.len(), expected.len());
            for (record, (key, number)) in found.iter().zip(&expected) {
                prop_assert_eq!((record.key(), record.number), (key.as_bytes(), *number));
                let payload = format!("{number}{key}");
                prop_assert_eq!(record.payload(), payload.as_bytes());
            }
        }
    }
}
