//! Temporary bytes that may be more than memory holds.
//!
//! Temporary files have no name: they are unlinked when they are made, so the system takes them back
//! when the process ends, however it ends. `ls` and `du` do not see them, `df` does.

use crate::error::{Error, Result};
use crate::table::bytes as show;
use bytemuck::Pod;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::marker::PhantomData;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A folder for nameless files, and what was written to them.
#[derive(Debug)]
pub struct Scratch {
    folder: PathBuf,
    written: AtomicU64,
    needed: AtomicU64,
}

impl Scratch {
    /// Files will lie in `folder`, which is created with the first of them.
    pub fn new(folder: &Path) -> Arc<Self> {
        Arc::new(Scratch { folder: folder.to_path_buf(), written: 0.into(), needed: 0.into() })
    }

    /// Bytes written to files so far.
    pub fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    /// States how much free space the whole work takes at least, for the message of a full disk; the most
    /// that was stated counts.
    pub fn set_needed(&self, bytes: u64) {
        self.needed.fetch_max(bytes, Relaxed);
    }

    fn create(&self) -> Result<File> {
        std::fs::create_dir_all(&self.folder).map_err(Error::io(&self.folder))?;
        tempfile::tempfile_in(&self.folder).map_err(|e| self.error(e))
    }

    /// The error of a file in the folder; of a full disk it says how much is needed.
    pub fn error(&self, source: std::io::Error) -> Error {
        if !matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) {
            return Error::io(&self.folder)(source);
        }
        let needed = self.needed.load(Relaxed).max(self.written());
        Error::file(
            &self.folder,
            format!(
                "the disk is full after {} of temporary files; about {} of free space are needed there: make \
                 room, or write the graph to another disk with --output",
                show(self.written()),
                show(needed)
            ),
        )
    }
}

/// Bytes in the order in which they were appended; those above a limit of memory are in a file.
#[derive(Debug)]
pub struct Spool {
    scratch: Arc<Scratch>,
    /// What follows the bytes of the file.
    memory: Vec<u8>,
    limit: usize,
    file: Option<File>,
    in_file: u64,
}

impl Spool {
    /// An empty spool that keeps at most `limit` bytes in memory.
    pub fn new(scratch: &Arc<Scratch>, limit: usize) -> Self {
        Spool { scratch: scratch.clone(), memory: Vec::new(), limit, file: None, in_file: 0 }
    }

    /// Number of bytes.
    pub fn len(&self) -> u64 {
        self.in_file + self.memory.len() as u64
    }

    /// Whether nothing was appended.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends `bytes`.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        if self.memory.len() + bytes.len() > self.limit {
            let memory = std::mem::take(&mut self.memory);
            self.write(&memory)?;
            self.memory = memory;
            self.memory.clear();
            if bytes.len() > self.limit {
                return self.write(bytes);
            }
        }
        self.memory.extend_from_slice(bytes);
        Ok(())
    }

    /// Appends one value.
    pub fn push<T: Pod>(&mut self, value: T) -> Result<()> {
        self.append(bytemuck::bytes_of(&value))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(self.scratch.create()?),
        };
        let write = file.seek(SeekFrom::Start(self.in_file)).and_then(|_| file.write_all(bytes));
        write.map_err(|e| self.scratch.error(e))?;
        self.in_file += bytes.len() as u64;
        self.scratch.written.fetch_add(bytes.len() as u64, Relaxed);
        Ok(())
    }

    /// Reads the bytes of `range`, which lies within the spool.
    pub fn read(&self, range: Range<u64>) -> SpoolReader<'_> {
        debug_assert!(range.start <= range.end && range.end <= self.len());
        SpoolReader { spool: self, range }
    }

    /// Calls `take` with all bytes, block by block.
    pub fn for_each_block(&self, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut block = vec![0; self.len().clamp(1, 1 << 20) as usize];
        let mut reader = self.read(0..self.len());
        loop {
            match reader.read(&mut block).map_err(|e| self.scratch.error(e))? {
                0 => return Ok(()),
                read => take(&block[..read])?,
            }
        }
    }

    /// All values of a spool that holds nothing but `T`, through a buffer of about `buffer` bytes.
    pub fn values<T: Pod>(&self, buffer: usize) -> Values<'_, T> {
        self.values_in(0..self.len(), buffer)
    }

    /// As [`Spool::values`], of a part.
    pub fn values_in<T: Pod>(&self, range: Range<u64>, buffer: usize) -> Values<'_, T> {
        let whole = (range.end - range.start) / size_of::<T>() as u64;
        let block = (buffer / size_of::<T>()).max(1).min(whole as usize);
        Values {
            reader: self.read(range),
            block: vec![T::zeroed(); block],
            filled: 0,
            next: 0,
            of: PhantomData,
        }
    }
}

/// Appends; the error holds one of this crate.
impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.append(bytes).map_err(std::io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Reads a part of a spool, from its begin to its end.
#[derive(Debug)]
pub struct SpoolReader<'s> {
    spool: &'s Spool,
    range: Range<u64>,
}

impl SpoolReader<'_> {
    /// The error of a failed read.
    pub fn error(&self, source: std::io::Error) -> Error {
        self.spool.scratch.error(source)
    }
}

impl Read for SpoolReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let Range { start, end } = self.range;
        let wanted = (out.len() as u64).min(end - start);
        let in_file = self.spool.in_file;
        let read = match &self.spool.file {
            Some(file) if start < in_file => {
                let wanted = wanted.min(in_file - start) as usize;
                let mut file: &File = file;
                file.seek(SeekFrom::Start(start))?;
                file.read_exact(&mut out[..wanted])?;
                wanted
            }
            _ => {
                let begin = (start - in_file) as usize;
                let wanted = wanted as usize;
                out[..wanted].copy_from_slice(&self.spool.memory[begin..begin + wanted]);
                wanted
            }
        };
        self.range.start += read as u64;
        Ok(read)
    }
}

/// Values of a spool, one after the other.
#[derive(Debug)]
pub struct Values<'s, T> {
    reader: SpoolReader<'s>,
    block: Vec<T>,
    filled: usize,
    next: usize,
    of: PhantomData<T>,
}

impl<T: Pod> Values<'_, T> {
    fn fill(&mut self) -> Result<()> {
        let left = ((self.reader.range.end - self.reader.range.start) / size_of::<T>() as u64) as usize;
        self.filled = left.min(self.block.len());
        self.next = 0;
        let bytes = bytemuck::cast_slice_mut(&mut self.block[..self.filled]);
        self.reader.read_exact(bytes).map_err(|e| self.reader.spool.scratch.error(e))
    }
}

impl<T: Pod> Iterator for Values<'_, T> {
    type Item = Result<T>;

    #[inline]
    fn next(&mut self) -> Option<Result<T>> {
        if self.next == self.filled {
            if let Err(error) = self.fill() {
                return Some(Err(error));
            }
            if self.filled == 0 {
                return None;
            }
        }
        self.next += 1;
        Some(Ok(self.block[self.next - 1]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spool_gives_back_what_it_got_whatever_fits_into_memory() {
        let folder = tempfile::tempdir().unwrap();
        let numbers: Vec<u32> = (0..1_000).collect();
        for limit in [0, 1, 7, 64, 3_999, 4_000, 1 << 20] {
            let scratch = Scratch::new(folder.path());
            let mut spool = Spool::new(&scratch, limit);
            for pair in numbers.chunks(3) {
                spool.append(bytemuck::cast_slice(pair)).unwrap();
            }
            assert_eq!(spool.len(), 4_000);
            for buffer in [1, 12, 1 << 16] {
                let all: Vec<u32> = spool.values(buffer).collect::<Result<_>>().unwrap();
                assert_eq!(all, numbers, "limit {limit}, buffer {buffer}");
                let part: Vec<u32> = spool.values_in(400..3_600, buffer).collect::<Result<_>>().unwrap();
                assert_eq!(part, numbers[100..900]);
            }
            let mut bytes = Vec::new();
            spool
                .for_each_block(|block| {
                    bytes.extend_from_slice(block);
                    Ok(())
                })
                .unwrap();
            assert_eq!(bytes, bytemuck::cast_slice::<_, u8>(&numbers));
            assert_eq!(scratch.written() > 0, limit < 4_000);
            // Nobody sees the file: it is gone when the process is.
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_full_disk_says_how_much_is_needed() {
        let scratch = Scratch::new(Path::new("/data"));
        scratch.set_needed(5 << 30);
        let error = scratch.error(ErrorKind::StorageFull.into()).to_string();
        assert!(
            error.starts_with("/data: the disk is full after 0 B") && error.contains("5.37 GB"),
            "{error}"
        );
    }
}
