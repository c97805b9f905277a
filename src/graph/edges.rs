//! A split's edges on their way into a graph file, in bounded memory: the arrays of a [`Csr`](super::Csr)
//! from a stream of sorted directed edges.

use super::csr::{Fragment, RowStart};
use super::layout::Kind;
use crate::error::{Error, Result};
use crate::ids::{EntityId, Triple};
use crate::storage::container::Writer;
use crate::storage::scratch::{Scratch, Spool};
use std::iter::Peekable;
use std::sync::Arc;

/// The arrays of an index that is being written, in the sparse form.
#[derive(Debug)]
pub struct EdgeWriter {
    sources: Spool,
    rows: Spool,
    fragments: Spool,
    tails: Spool,
    last: Option<Triple>,
    row: RowStart,
    end: RowStart,
}

impl EdgeWriter {
    /// No edges.
    pub fn new(scratch: &Arc<Scratch>, memory: usize) -> Self {
        let spool = || Spool::new(scratch, (memory / 4).min(1 << 20));
        EdgeWriter {
            sources: spool(),
            rows: spool(),
            fragments: spool(),
            tails: spool(),
            last: None,
            row: RowStart::default(),
            end: RowStart::default(),
        }
    }

    /// Appends a directed edge; edges ascend.
    pub fn push(&mut self, edge: Triple) -> Result<()> {
        let last = self.last.replace(edge);
        debug_assert!(last.is_none_or(|last| last < edge));
        let same_head = last.is_some_and(|last| last.head == edge.head);
        if !same_head {
            self.row = self.end;
            self.sources.push(edge.head)?;
            self.rows.push(self.end)?;
        }
        if !same_head || last.is_some_and(|last| last.relation != edge.relation) {
            let begin = u32::try_from(self.end.tail - self.row.tail)
                .map_err(|_| Error::invalid(format!("entity {} has more than 2^32 edges", edge.head.0)))?;
            self.fragments.push(Fragment { relation: edge.relation, begin })?;
            self.end.fragment += 1;
        }
        self.tails.push(edge.tail)?;
        self.end.tail += 1;
        Ok(())
    }

    /// Writes the sections of split `tag`: direct where at least an eighth of the entities have edges, as
    /// [`CsrBuf::from_triples`](super::CsrBuf::from_triples) does.
    pub fn write(self, writer: &mut Writer, tag: u32, num_entities: usize) -> Result<()> {
        let EdgeWriter { sources, mut rows, fragments, tails, end, .. } = self;
        let num_sources = sources.len() / size_of::<EntityId>() as u64;
        if num_sources * 8 >= num_entities as u64 {
            writer.section(Kind::Sources as u32, tag, &[])?;
            writer.stream(Kind::Rows as u32, tag, |section| {
                let mut block: Vec<RowStart> = Vec::with_capacity(BLOCK);
                let mut fill = |row: RowStart, up_to: usize, done: &mut usize| -> Result<()> {
                    while *done < up_to {
                        let part = (up_to - *done).min(BLOCK - block.len());
                        block.resize(block.len() + part, row);
                        *done += part;
                        if block.len() == BLOCK {
                            section.append(bytemuck::cast_slice(&block))?;
                            block.clear();
                        }
                    }
                    Ok(())
                };
                let mut done = 0;
                for (source, row) in sources.values::<EntityId>(1 << 18).zip(rows.values::<RowStart>(1 << 20))
                {
                    fill(row?, source?.index() + 1, &mut done)?;
                }
                fill(end, num_entities + 1, &mut done)?;
                section.append(bytemuck::cast_slice(&block))
            })?;
        } else {
            rows.push(end)?;
            copy(writer, Kind::Sources, tag, &sources)?;
            copy(writer, Kind::Rows, tag, &rows)?;
        }
        drop((sources, rows));
        copy(writer, Kind::Fragments, tag, &fragments)?;
        drop(fragments);
        copy(writer, Kind::Tails, tag, &tails)
    }
}

/// Rows that are written at once.
const BLOCK: usize = 1 << 14;

fn copy(writer: &mut Writer, kind: Kind, tag: u32, spool: &Spool) -> Result<()> {
    writer.stream(kind as u32, tag, |section| spool.for_each_block(|block| section.append(block)))
}

/// Two ascending streams as one.
pub fn merge<T: Ord + Copy>(
    a: impl Iterator<Item = Result<T>>,
    b: impl Iterator<Item = Result<T>>,
) -> impl Iterator<Item = Result<T>> {
    let (mut a, mut b) = (a.peekable(), b.peekable());
    std::iter::from_fn(move || match (a.peek(), b.peek()) {
        // An error comes first, whichever stream has it.
        (Some(Err(_)), _) | (_, None) => a.next(),
        (_, Some(Err(_))) | (None, _) => b.next(),
        (Some(Ok(x)), Some(Ok(y))) => {
            if x <= y {
                a.next()
            } else {
                b.next()
            }
        }
    })
}

/// An ascending stream that is asked for ascending values.
pub struct Probe<I: Iterator>(Peekable<I>);

impl<T: Ord + Copy, I: Iterator<Item = Result<T>>> Probe<I> {
    /// A probe of `stream`.
    pub fn new(stream: I) -> Self {
        Probe(stream.peekable())
    }

    /// Whether the stream has `value`, which is not below any value asked for before.
    pub fn contains(&mut self, value: T) -> Result<bool> {
        loop {
            match self.0.peek() {
                None => return Ok(false),
                Some(Ok(next)) if *next >= value => return Ok(*next == value),
                Some(_) => self.0.next().transpose()?,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::CsrBuf;
    use crate::ids::RelationId;
    use crate::storage::atomic;
    use crate::storage::container::Directory;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn streamed_arrays_are_those_of_the_index_in_memory(
            triples in proptest::collection::vec((0u32..30, 0u32..3, 0u32..30), 0..120),
            num_entities in prop_oneof![Just(30usize), Just(1_000)],
            memory in prop_oneof![Just(0usize), Just(1 << 20)],
        ) {
            let triple = |&(h, r, t): &(u32, u32, u32)| {
                Triple { head: EntityId(h), relation: RelationId(2 * r), tail: EntityId(t) }
            };
            let triples: Vec<Triple> = triples.iter().map(triple).collect();
            let oracle = CsrBuf::from_triples(num_entities, &triples);

            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("file");
            let mut edges = EdgeWriter::new(&Scratch::new(folder.path()), memory);
            let (even, odd): (Vec<Triple>, Vec<Triple>) =
                oracle.view().triples().partition(|t| !t.relation.is_inverse());
            let both = merge(even.into_iter().map(Ok), odd.into_iter().map(Ok));
            both.map(Result::unwrap).try_for_each(|edge| edges.push(edge)).unwrap();
            atomic::write(&path, |file| {
                let mut writer = Writer::new(file, &path)?;
                edges.write(&mut writer, 0, num_entities)?;
                writer.finish([7; 8], 1, [0; 3], "test")
            }).unwrap();

            let bytes = std::fs::read(&path).unwrap();
            let directory = Directory::parse(&bytes, [7; 8], 1, "test file", "").unwrap();
            let section = |kind: Kind| &bytes[directory.find(kind as u32, 0).unwrap()];
            let (sources, rows, fragments, tails) = oracle.view().parts();
            prop_assert_eq!(section(Kind::Sources), bytemuck::cast_slice::<_, u8>(sources));
            prop_assert_eq!(section(Kind::Rows), bytemuck::cast_slice::<_, u8>(rows));
            prop_assert_eq!(section(Kind::Fragments), bytemuck::cast_slice::<_, u8>(fragments));
            prop_assert_eq!(section(Kind::Tails), bytemuck::cast_slice::<_, u8>(tails));
        }

        #[test]
        fn a_probe_knows_what_a_sorted_stream_holds(
            mut held in proptest::collection::vec(0u32..50, 0..30),
            mut asked in proptest::collection::vec(0u32..50, 0..30),
        ) {
            held.sort_unstable();
            asked.sort_unstable();
            let mut probe = Probe::new(held.iter().copied().map(Ok));
            for value in asked {
                prop_assert_eq!(probe.contains(value).unwrap(), held.contains(&value));
            }
        }
    }
}
