//! A split's edges on their way into a graph file, in bounded memory: the arrays of a [`Csr`](super::Csr)
//! from a stream of sorted directed edges.

use super::csr::{Fragments, Sizes, is_sparse};
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
    scratch: Arc<Scratch>,
    /// Bytes of each of the four lists below.
    memory: usize,
    sizes: Sizes,
    sources: Spool,
    starts: Spool,
    rows: Spool,
    last: Option<Triple>,
    /// The row of `last`: its fragments, and its tails after those in `earlier`.
    fragments: Fragments,
    tails: Vec<EntityId>,
    earlier: Option<Spool>,
    words: Vec<u32>,
}

impl EdgeWriter {
    /// No edges, of `num_relations` directed relations.
    pub fn new(scratch: &Arc<Scratch>, memory: usize, num_relations: usize) -> Self {
        let memory = (memory / 4).min(1 << 20);
        let spool = || Spool::new(scratch, memory);
        EdgeWriter {
            scratch: scratch.clone(),
            memory,
            sizes: Sizes { relations: num_relations as u64, ..Sizes::default() },
            sources: spool(),
            starts: spool(),
            rows: spool(),
            last: None,
            fragments: Fragments::default(),
            tails: Vec::new(),
            earlier: None,
            words: Vec::new(),
        }
    }

    /// Appends a directed edge; edges ascend.
    pub fn push(&mut self, edge: Triple) -> Result<()> {
        let last = self.last.replace(edge);
        debug_assert!(last.is_none_or(|last| last < edge));
        if last.is_none_or(|last| last.head != edge.head) {
            self.end_row()?;
            self.sources.push(edge.head)?;
            self.starts.push(self.rows.len() / 4)?;
        }
        let tail = u32::try_from(self.tails_of_row())
            .map_err(|_| Error::invalid(format!("entity {} has more than 2^32 edges", edge.head.0)))?;
        self.fragments.note(edge.relation, tail);
        if 4 * self.tails.len() > self.memory {
            let earlier = self.earlier.get_or_insert_with(|| Spool::new(&self.scratch, self.memory));
            earlier.append(bytemuck::cast_slice(&self.tails))?;
            self.tails.clear();
        }
        self.tails.push(edge.tail);
        Ok(())
    }

    fn tails_of_row(&self) -> u64 {
        self.earlier.as_ref().map_or(0, |spool| spool.len() / 4) + self.tails.len() as u64
    }

    fn end_row(&mut self) -> Result<()> {
        let tails = self.tails_of_row();
        self.sizes.edges += tails;
        self.sizes.fragments += self.fragments.take(tails, self.sizes.all_wide(), &mut self.words);
        self.rows.append(bytemuck::cast_slice(&self.words))?;
        if let Some(earlier) = self.earlier.take() {
            earlier.for_each_block(|block| self.rows.append(block))?;
        }
        self.rows.append(bytemuck::cast_slice(&self.tails))?;
        self.words.clear();
        self.tails.clear();
        Ok(())
    }

    /// Writes the sections of split `tag`, direct or sparse as [`CsrBuf::from_triples`](super::CsrBuf::from_triples)
    /// chooses.
    pub fn write(mut self, writer: &mut Writer, tag: u32, num_entities: usize) -> Result<()> {
        self.end_row()?;
        let EdgeWriter { sizes, sources, mut starts, rows, .. } = self;
        writer.section(Kind::Sizes as u32, tag, bytemuck::bytes_of(&sizes))?;
        let end = rows.len() / 4;
        if is_sparse(sources.len() as usize / size_of::<EntityId>(), num_entities) {
            starts.push(end)?;
            copy(writer, Kind::Sources, tag, &sources)?;
            copy(writer, Kind::Starts, tag, &starts)?;
        } else {
            writer.section(Kind::Sources as u32, tag, &[])?;
            writer.stream(Kind::Starts as u32, tag, |section| {
                let mut block: Vec<u64> = Vec::with_capacity(BLOCK);
                let mut fill = |start: u64, up_to: usize, done: &mut usize| -> Result<()> {
                    while *done < up_to {
                        let part = (up_to - *done).min(BLOCK - block.len());
                        block.resize(block.len() + part, start);
                        *done += part;
                        if block.len() == BLOCK {
                            section.append(bytemuck::cast_slice(&block))?;
                            block.clear();
                        }
                    }
                    Ok(())
                };
                let mut done = 0;
                for (source, start) in sources.values::<EntityId>(1 << 18).zip(starts.values::<u64>(1 << 19))
                {
                    fill(start?, source?.index() + 1, &mut done)?;
                }
                fill(end, num_entities + 1, &mut done)?;
                section.append(bytemuck::cast_slice(&block))
            })?;
        }
        drop((sources, starts));
        copy(writer, Kind::Rows, tag, &rows)
    }
}

/// Row offsets that are written at once.
const BLOCK: usize = 1 << 15;

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
            triples in proptest::collection::vec((0u32..30, prop_oneof![0u32..3, Just(40_000)], 0u32..30), 0..120),
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
            let num_relations = oracle.view().parts().0.relations as usize;
            let mut edges = EdgeWriter::new(&Scratch::new(folder.path()), memory, num_relations);
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
            let (sizes, sources, starts, rows) = oracle.view().parts();
            prop_assert_eq!(section(Kind::Sizes), bytemuck::bytes_of(&sizes));
            prop_assert_eq!(section(Kind::Sources), bytemuck::cast_slice::<_, u8>(sources));
            prop_assert_eq!(section(Kind::Starts), bytemuck::cast_slice::<_, u8>(starts));
            prop_assert_eq!(section(Kind::Rows), bytemuck::cast_slice::<_, u8>(rows));
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
