//! Entity rows and their optimizer state in a mapped file, so that the table may be larger than memory.
//!
//! `entities.table` of a run folder, little-endian: a page with a header, checksums ([`row_sums`](super::row_sums)), then
//! the rows. A row is its values, its first and its second moments side by side (`3 * cols` float32). A step touches rows at random, values and
//! moments of each: side by side they cost one page read and one page written, apart they would cost three of
//! each. The price is paid by a full ranking, which reads three times the bytes of the values; it reads them in
//! order, and there are few rankings in the time of many steps.
//!
//! Rows are changed in place. What a crash leaves is a table whose rows are of different steps, and the header says
//! which: all rows are at least of step `flushed`, and none is newer than `newest`. `newest` is on the disk before
//! a newer row can be, `flushed` only after every row is.

use super::row_sums::{Rows, Sums};
use crate::error::{Error, Result};
use crate::storage::checksum;
use crate::storage::mmap::{Access, Numbers, Region};
use crate::storage::space;
use crate::table::count;
use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// Its name in a run folder.
pub const NAME: &str = "entities.table";

const MAGIC: [u8; 8] = *b"SMOREROW";
const VERSION: u32 = 2;

/// Had no checksums of rows.
const WITHOUT_SUMS: u32 = 1;

/// Bytes of the header: a page.
const PAGE: usize = 4096;

/// Numbers of a row for each of its columns: value, first moment, second moment.
const PARTS: usize = 3;

/// Steps that are announced at once. Each announcement waits for a page to be on the disk.
const ANNOUNCED: u64 = 128;

/// Rows of a batch of which it is looked up whether they are in memory.
const SAMPLE: usize = 16;

/// Bytes of rows that are filled and written at once.
const BLOCK: usize = 16 << 20;

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
struct Header {
    magic: [u8; 8],
    version: u32,
    parts: u32,
    rows: u64,
    cols: u64,
    /// Fingerprint of the graph.
    graph: u64,
    /// Seed of the start.
    seed: u64,
    /// Every row is at least of this step.
    flushed: u64,
    /// No row is newer than this step.
    newest: u64,
    /// XXH3-64 of what stands before.
    checksum: u64,
}

impl Header {
    /// Whether all rows are of one step, and there are checksums of that.
    fn is_of_one_step(&self) -> bool {
        self.flushed == self.newest && self.flushed > 0
    }

    fn sum(&self) -> u64 {
        let bytes = bytemuck::bytes_of(self);
        checksum::section(&bytes[..bytes.len() - 8])
    }
}

/// What a table must be to fit a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowLayout {
    /// Entities.
    pub rows: usize,
    /// Columns of an entity's row.
    pub cols: usize,
    /// Fingerprint of the graph.
    pub graph: u64,
    /// Seed of the start.
    pub seed: u64,
}

impl RowLayout {
    /// Length of the file in bytes.
    pub fn file_bytes(&self) -> u64 {
        self.bytes_of(VERSION)
    }

    fn bytes_of(&self, version: u32) -> u64 {
        self.first_row(version) as u64 + self.rows as u64 * self.row_bytes() as u64
    }

    /// Bytes before the first row.
    fn first_row(&self, version: u32) -> usize {
        PAGE + if version == WITHOUT_SUMS { 0 } else { Sums::bytes(self.summed(), PAGE) }
    }

    /// Bytes of a row.
    pub fn row_bytes(&self) -> usize {
        4 * PARTS * self.cols
    }

    fn summed(&self) -> Rows {
        Rows { count: self.rows, bytes: self.row_bytes() }
    }
}

/// A table in a file, opened to be trained or to be read. Its [`Numbers`] belong to a backend's buffer.
#[derive(Debug)]
pub struct RowFile {
    path: PathBuf,
    file: File,
    region: Region,
    layout: RowLayout,
    header: Header,
    /// None in a file of before there were any.
    sums: Option<Sums>,
}

impl RowFile {
    /// Makes the file anew, for training. `fill` writes the values of consecutive rows, given the number of the first,
    /// and is called by many threads; its first error ends the work. Moments are zeros. The rows are of step 0.
    ///
    /// Writes the whole file once. Errors where the disk has not enough room; then there is no file.
    pub fn create(
        path: &Path,
        layout: RowLayout,
        group: usize,
        fill: impl Fn(usize, &mut [f32]) -> Result<()> + Sync,
    ) -> Result<(Self, Numbers)> {
        let made = write_rows(path, layout, group, fill);
        let file = made.inspect_err(|_| drop(std::fs::remove_file(path)))?;
        let header = Header {
            magic: MAGIC,
            version: VERSION,
            parts: PARTS as u32,
            rows: layout.rows as u64,
            cols: layout.cols as u64,
            graph: layout.graph,
            seed: layout.seed,
            ..Header::zeroed()
        };
        let mut this = Self::map(path, file, layout, header, true)?;
        this.0.write_header(header)?;
        Ok(this)
    }

    /// Opens a file that is there, to train it (`writable`) or to read it. O(1): rows are read when they are touched.
    ///
    /// Errors where it is no such file, is not whole, is of another run, or is in use: being trained, or, to be
    /// trained, being read.
    pub fn open(path: &Path, layout: RowLayout, writable: bool) -> Result<(Self, Numbers)> {
        let mut file = File::options().read(true).write(writable).open(path).map_err(|e| match e.kind() {
            ErrorKind::NotFound => {
                Error::file(path, "is missing: without its entity rows a run is of no use; train again")
            }
            _ => Error::io(path)(e),
        })?;
        let broken = |what: String| Error::file(path, format!("{what}: train again, or use another run"));
        let mut page = [0u8; size_of::<Header>()];
        file.read_exact(&mut page).map_err(|e| match e.kind() {
            ErrorKind::UnexpectedEof => broken("is no table of entity rows (it is too short)".into()),
            _ => Error::io(path)(e),
        })?;
        let header: Header = bytemuck::pod_read_unaligned(&page);
        if header.magic != MAGIC {
            return Err(broken("is no table of entity rows, or one whose making was interrupted".into()));
        }
        if !(WITHOUT_SUMS..=VERSION).contains(&header.version) || header.parts != PARTS as u32 {
            return Err(broken(format!(
                "has version {}, and this smore reads version {VERSION}",
                header.version
            )));
        }
        if header.checksum != header.sum() {
            return Err(broken("has a damaged header".into()));
        }
        if (header.rows, header.cols) != (layout.rows as u64, layout.cols as u64) {
            return Err(broken(format!(
                "has {} rows of {} numbers, but configuration and graph ask for {} of {}",
                count(header.rows),
                header.cols,
                count(layout.rows as u64),
                layout.cols
            )));
        }
        if (header.graph, header.seed) != (layout.graph, layout.seed) {
            return Err(broken("belongs to another graph or to a run with another seed".into()));
        }
        let length = file.metadata().map_err(Error::io(path))?.len();
        let expected = layout.bytes_of(header.version);
        if length != expected {
            return Err(broken(format!("is {} bytes long instead of {}", count(length), count(expected))));
        }
        let (mut this, numbers) = Self::map(path, file, layout, header, writable)?;
        if let Some(sums) = this.sums.as_mut().filter(|_| header.is_of_one_step()) {
            let mut bytes = vec![0; Sums::bytes(layout.summed(), PAGE)];
            let read =
                this.file.seek(SeekFrom::Start(PAGE as u64)).and_then(|_| this.file.read_exact(&mut bytes));
            read.map_err(Error::io(path))?;
            sums.read(&bytes, header.flushed).map_err(|what| broken(what.into()))?;
        }
        Ok((this, numbers))
    }

    fn map(
        path: &Path,
        file: File,
        layout: RowLayout,
        header: Header,
        writable: bool,
    ) -> Result<(Self, Numbers)> {
        let second = file.try_clone().map_err(Error::io(path))?;
        let first = layout.first_row(header.version);
        let (region, numbers) = Region::open(second, first, writable).map_err(|e| match e.kind() {
            ErrorKind::WouldBlock if writable => Error::file(path, "is in use by another smore: wait for it to end"),
            ErrorKind::WouldBlock => Error::file(
                path,
                "is being trained, and its rows change while they would be read: stop the training (Ctrl-C saves) or \
                 wait for its end",
            ),
            _ => Error::io(path)(e),
        })?;
        let sums = (header.version != WITHOUT_SUMS).then(|| Sums::new(layout.summed(), first));
        let this = RowFile { path: path.to_path_buf(), file, region, layout, header, sums };
        this.advise(if writable { Access::Random } else { Access::Sequential });
        Ok((this, numbers))
    }

    /// The steps that rows are of. One step, unless training was cut off.
    pub fn steps(&self) -> RangeInclusive<u64> {
        self.header.flushed..=self.header.newest
    }

    /// What differs from the checksums, in words: `None` where nothing does, or where there are none, as after training was
    /// cut off. Reads all rows.
    pub fn difference(&self) -> Result<Option<String>> {
        let Some(sums) = self.sums.as_ref().filter(|_| self.header.is_of_one_step()) else {
            return Ok(None);
        };
        let rows = sums.difference(&self.file).map_err(Error::io(&self.path))?;
        Ok(rows.map(|rows| {
            let (first, last) = (count(rows.start), count(rows.end - 1));
            format!("{NAME} was changed since the run wrote it: among rows {first} to {last}")
        }))
    }

    /// Takes the rows as they are, whatever their checksums say.
    pub fn accept(&mut self) {
        self.sums.iter_mut().for_each(Sums::touch_all);
    }

    /// To be called before `rows` are changed by a step: announces it in the file.
    pub fn before(&mut self, step: u64, rows: &[u32]) -> Result<()> {
        self.sums.iter_mut().for_each(|sums| sums.touch(rows));
        if step <= self.header.newest {
            return Ok(());
        }
        self.write_header(Header { newest: step + ANNOUNCED - 1, ..self.header })
    }

    /// Waits until all rows are on the disk with their checksums, and then writes into the header that they are of `step`.
    pub fn flush(&mut self, step: u64) -> Result<()> {
        self.region.flush().map_err(Error::io(&self.path))?;
        if let Some(sums) = &mut self.sums {
            let write = sums.renew(&self.file).and_then(|_| self.file.seek(SeekFrom::Start(PAGE as u64)));
            let write = write.and_then(|_| self.file.write_all(&sums.to_bytes(step)));
            write.and_then(|()| self.file.sync_data()).map_err(Error::io(&self.path))?;
        }
        self.write_header(Header { flushed: step, newest: step, ..self.header })
    }

    fn write_header(&mut self, mut header: Header) -> Result<()> {
        header.checksum = header.sum();
        let write = self.file.seek(SeekFrom::Start(0));
        let write = write.and_then(|_| self.file.write_all(bytemuck::bytes_of(&header)));
        write.and_then(|()| self.region.flush_range(0..PAGE)).map_err(Error::io(&self.path))?;
        self.header = header;
        Ok(())
    }

    /// Says how the rows are going to be touched.
    pub fn advise(&self, access: Access) {
        self.region.advise(access);
    }

    /// Has the pages of rows read without waiting for them, unless a sample of them is in memory: then probably almost
    /// all are, and asking for each would cost more than the few that are not. `rows` ascend.
    pub fn prefetch(&self, rows: &[u32]) {
        let (bytes, first) = (self.layout.row_bytes(), self.layout.first_row(self.header.version));
        let end = first + self.layout.rows * bytes;
        let mut sample = rows.iter().step_by(rows.len().div_ceil(SAMPLE).max(1));
        if sample.all(|&row| self.region.is_resident(first + row as usize * bytes)) {
            return;
        }
        let pages = rows.iter().map(|&row| {
            let begin = first + row as usize * bytes;
            begin / PAGE * PAGE..(begin + bytes).next_multiple_of(PAGE).min(end)
        });
        let mut run = 0..0;
        for next in pages {
            if next.start > run.end {
                self.region.prefetch(run);
                run = next;
            } else {
                run.end = next.end;
            }
        }
        self.region.prefetch(run);
    }
}

/// A new file with all rows and an empty header, on the disk.
fn write_rows(
    path: &Path,
    layout: RowLayout,
    group: usize,
    fill: impl Fn(usize, &mut [f32]) -> Result<()> + Sync,
) -> Result<File> {
    // What an earlier attempt left goes by its name: cut short it would take the pages from under one who reads it.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(Error::io(path)(error)),
        _ => {}
    }
    let file = File::options().read(true).write(true).create_new(true).open(path);
    let mut file = file.map_err(Error::io(path))?;
    let bytes = layout.file_bytes();
    space::reserve(&file, path, bytes)?;
    file.write_all(&vec![0; layout.first_row(VERSION)]).map_err(space::full(path, bytes))?;
    let (cols, stride) = (layout.cols, PARTS * layout.cols);
    let at_once = (BLOCK / (group * layout.row_bytes())).max(rayon::current_num_threads()) * group;
    let mut block = vec![0f32; at_once.min(layout.rows) * stride];
    for first in (0..layout.rows).step_by(at_once) {
        let rows = at_once.min(layout.rows - first);
        let block = &mut block[..rows * stride];
        block.par_chunks_mut(group * stride).enumerate().try_for_each(|(i, rows)| {
            let mut values = vec![0f32; rows.len() / PARTS];
            fill(first + i * group, &mut values)?;
            for (row, values) in rows.chunks_mut(stride).zip(values.chunks(cols)) {
                row[..cols].copy_from_slice(values);
            }
            Ok(())
        })?;
        file.write_all(bytemuck::cast_slice(block)).map_err(space::full(path, bytes))?;
    }
    file.sync_all().map_err(space::full(path, bytes))?;
    Ok(file)
}

/// What to tell of entity rows of `rows` beside everything else of step `rest`; `None` where all is of one step.
pub fn age(rows: &RangeInclusive<u64>, rest: u64) -> Option<String> {
    let (first, last) = (*rows.start(), *rows.end());
    if (first, last) == (rest, rest) {
        return None;
    }
    let rows = match first == last {
        true => format!("from step {}", count(first)),
        false => format!("from step {} to at most {}", count(first), count(last)),
    };
    Some(format!(
        "training was cut off: the entity rows are {rows}, everything else is from step {}",
        count(rest)
    ))
}
