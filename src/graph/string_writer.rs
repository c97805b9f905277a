//! Names and labels on their way into a graph file: any number of them, in bounded memory.

use super::layout::Kind;
use crate::error::{Error, Result};
use crate::storage::container::Writer;
use crate::storage::scratch::{Scratch, Spool};
use crate::storage::sort::Sorter;
use crate::storage::sort_records::{Record, RecordSorter, SortedRecords};
use fst::MapBuilder;
use std::io::{BufReader, Read};
use std::sync::Arc;

/// Texts in the order in which they came.
#[derive(Debug)]
pub struct StringSpool {
    spool: Spool,
    len: u32,
}

impl StringSpool {
    /// An empty list that keeps at most `memory` bytes in memory.
    pub fn new(scratch: &Arc<Scratch>, memory: usize) -> Self {
        StringSpool { spool: Spool::new(scratch, memory), len: 0 }
    }

    /// Appends a text.
    pub fn push(&mut self, text: &[u8]) -> Result<()> {
        let length = u32::try_from(text.len()).map_err(|_| Error::invalid("a text is longer than 4 GiB"))?;
        self.spool.append(&length.to_le_bytes())?;
        self.spool.append(text)?;
        self.len += 1;
        Ok(())
    }

    /// Calls `take` with each text.
    pub fn for_each(&self, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut reader = BufReader::with_capacity(1 << 18, self.spool.read(0..self.spool.len()));
        let (mut length, mut text) = ([0; 4], Vec::new());
        for _ in 0..self.len {
            let read = reader.read_exact(&mut length).and_then(|()| {
                text.resize(u32::from_le_bytes(length) as usize, 0);
                reader.read_exact(&mut text)
            });
            read.map_err(|e| reader.get_ref().error(e))?;
            take(&text)?;
        }
        Ok(())
    }
}

/// The arrays of a [`StringTable`](super::string_table::StringTable) that is being written.
#[derive(Debug)]
pub struct StringWriter {
    scratch: Arc<Scratch>,
    memory: usize,
    /// Empty where the table is dense.
    owners: Spool,
    dense: bool,
    places: Spool,
    order: Spool,
    texts: Spool,
    by_text: Option<RecordSorter>,
    len: u32,
}

impl StringWriter {
    /// An empty table. `memory` bytes are taken by the texts until [`StringWriter::sort`].
    pub fn new(scratch: &Arc<Scratch>, dense: bool, memory: usize) -> Self {
        let spool = || Spool::new(scratch, (memory / 16).min(1 << 20));
        StringWriter {
            scratch: scratch.clone(),
            memory,
            owners: spool(),
            dense,
            places: spool(),
            order: spool(),
            texts: spool(),
            by_text: Some(RecordSorter::new(scratch, memory / 4 * 3)),
            len: 0,
        }
    }

    /// Number of texts.
    pub fn num_texts(&self) -> u32 {
        self.len
    }

    /// Appends the text of `owner`; owners ascend, and are `0, 1, 2...` in a dense table.
    pub fn push(&mut self, owner: u32, text: &[u8]) -> Result<()> {
        debug_assert!(!self.dense || owner == self.len);
        if !self.dense {
            self.owners.push(owner)?;
        }
        if let Some(sorter) = &mut self.by_text {
            sorter.push(text, u64::from(self.len), &[])?;
        }
        self.len += 1;
        Ok(())
    }

    /// Sorts the positions by their texts and returns the sorted texts, numbered by position.
    pub fn sort(&mut self) -> Result<Option<SortedRecords>> {
        let Some(sorter) = self.by_text.take() else { return Ok(None) };
        let sorted = sorter.finish()?;
        let mut texts = MapBuilder::new(&mut self.texts).map_err(failure)?;
        let mut by_position: Sorter<[u32; 2]> = Sorter::new(&self.scratch, self.memory / 8);
        let (mut last, mut first) = (None::<Record>, 0);
        for (place, record) in (0..).zip(sorted.iter()?) {
            let record = record?;
            if last.as_ref().is_none_or(|last| last.key() != record.key()) {
                first = place;
                texts.insert(record.key(), u64::from(first)).map_err(failure)?;
            }
            self.order.push(record.number as u32)?;
            by_position.push([record.number as u32, first])?;
            last = Some(record);
        }
        texts.finish().map_err(failure)?;
        for entry in by_position.finish()?.iter()? {
            let [_, place] = entry?;
            self.places.push(place)?;
        }
        Ok(Some(sorted))
    }

    /// Writes the sections of table `tag`.
    pub fn write(mut self, writer: &mut Writer, tag: u32) -> Result<()> {
        self.sort()?;
        let mut section = |kind: Kind, spool: Spool| {
            writer.stream(kind as u32, tag, |section| spool.for_each_block(|block| section.append(block)))
        };
        if !self.dense {
            section(Kind::TextOwners, self.owners)?;
        }
        section(Kind::TextPlaces, self.places)?;
        section(Kind::TextOrder, self.order)?;
        section(Kind::Texts, self.texts)
    }
}

/// An error of the transducer: of the spool behind it, or of texts out of order.
fn failure(error: fst::Error) -> Error {
    match error {
        fst::Error::Io(error) => match error.downcast::<Error>() {
            Ok(error) => error,
            Err(error) => Error::invalid(format!("texts cannot be written: {error}")),
        },
        fst::Error::Fst(error) => Error::invalid(format!("texts cannot be written: {error}")),
    }
}
