//! Names and labels on their way into a graph file: any number of them, in bounded memory.

use super::layout::Kind;
use crate::error::{Error, Result};
use crate::storage::container::Writer;
use crate::storage::scratch::{Scratch, Spool};
use crate::storage::sort_records::{RecordSorter, SortedRecords};
use std::io::{BufReader, Read};
use std::sync::Arc;

/// Texts in the order in which they came.
#[derive(Debug)]
pub struct TextSpool {
    spool: Spool,
    len: u32,
}

impl TextSpool {
    /// An empty list that keeps at most `memory` bytes in memory.
    pub fn new(scratch: &Arc<Scratch>, memory: usize) -> Self {
        TextSpool { spool: Spool::new(scratch, memory), len: 0 }
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

/// The arrays of a [`TextTable`](super::text::TextTable) that is being written.
#[derive(Debug)]
pub struct TextWriter {
    /// Empty where the table is dense.
    owners: Spool,
    dense: bool,
    offsets: Spool,
    bytes: Spool,
    order: Spool,
    by_text: Option<RecordSorter>,
    len: u32,
}

impl TextWriter {
    /// An empty table. `memory` bytes are taken by the texts until [`TextWriter::sort`].
    pub fn new(scratch: &Arc<Scratch>, dense: bool, memory: usize) -> Result<Self> {
        let spool = || Spool::new(scratch, (memory / 16).min(1 << 20));
        let mut writer = TextWriter {
            owners: spool(),
            dense,
            offsets: spool(),
            bytes: spool(),
            order: spool(),
            by_text: Some(RecordSorter::new(scratch, memory / 4 * 3)),
            len: 0,
        };
        writer.offsets.push(0u64)?;
        Ok(writer)
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
        self.bytes.append(text)?;
        self.offsets.push(self.bytes.len())?;
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
        for record in sorted.iter()? {
            self.order.push(record?.number as u32)?;
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
        section(Kind::TextOffsets, self.offsets)?;
        section(Kind::TextBytes, self.bytes)?;
        section(Kind::TextOrder, self.order)
    }
}
