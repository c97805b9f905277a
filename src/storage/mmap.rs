//! Memory maps: the only place of the crate that maps a file.
//!
//! Almost everything is [`Mapped`]: finished files, read-only. A table of rows that is trained in place is
//! [`Numbers`], which may be written, beside a [`Region`] for what is asked of the system.

use crate::error::{Error, Result};
use memmap2::{Advice, MmapOptions, MmapRaw};
use std::fs::{File, Metadata, TryLockError};
use std::io::ErrorKind;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A whole file, mapped for reading. Any number of processes share its pages.
#[derive(Debug)]
pub struct Mapped {
    map: memmap2::Mmap,
    metadata: Metadata,
}

impl Mapped {
    /// Maps `path`. O(1): pages are read when they are touched.
    ///
    /// Fails where the file cannot be opened or is no regular file.
    pub fn open(path: &Path) -> Result<Self> {
        let file = super::regular::open(path)?;
        // Before the map: a later change of the file differs from it.
        let metadata = file.metadata().map_err(Error::io(path))?;
        // SAFETY: the map is private to this type and only ever read. Files of this crate are written
        // under a temporary name and renamed, never changed in place, so the bytes behind the map stay
        // what they are even if the name is given to a newer file. Whoever truncates the file by other
        // means gets a bus error, as with every memory map; ids and offsets read from the map are
        // bounds-checked where they are used, so changed bytes cannot break memory safety elsewhere.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(Error::io(path))?;
        Ok(Mapped { map, metadata })
    }

    /// What the system reported of the file when it was opened.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The file's bytes, page-aligned.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }
}

/// Bytes that no page is smaller than, of which pages begin at multiples.
#[cfg(target_os = "linux")]
const PAGE: usize = 4096;

/// How long another's lock is waited for.
const PATIENCE: Duration = Duration::from_millis(200);

/// How the pages of a [`Region`] are going to be touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Here and there: reading ahead would only read what nobody asked for.
    Random,
    /// One after the other: the system reads ahead, and lets go first of what was read.
    Sequential,
}

/// A mapped file in which numbers are changed in place, for what is asked of the system: write it out,
/// read ahead. The numbers themselves are behind the one [`Numbers`] that is made with it.
#[derive(Clone, Debug)]
pub struct Region(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    map: MmapRaw,
    /// Held for its lock, which lasts as long as the map.
    _file: File,
}

impl Region {
    /// Locks and maps the whole of `file`, shared: what is written to the map is seen in the file. The numbers
    /// are those from byte `header` to the end; they can be written where `writable`.
    ///
    /// The lock is exclusive where `writable`, so that no other smore changes what this one reads. Errors with
    /// [`ErrorKind::WouldBlock`] where another holds it. Panics unless `header` is a multiple of 64 within the file.
    pub fn open(file: File, header: usize, writable: bool) -> std::io::Result<(Self, Numbers)> {
        let lock = || if writable { file.try_lock() } else { file.try_lock_shared() };
        let start = Instant::now();
        loop {
            match lock() {
                // A lock outlives its owner for a moment where that has just started another program.
                Err(TryLockError::WouldBlock) if start.elapsed() < PATIENCE => {
                    std::thread::sleep(PATIENCE / 20)
                }
                Err(TryLockError::WouldBlock) => return Err(ErrorKind::WouldBlock.into()),
                // Some file systems have no locks: then nothing guards against a second process.
                Ok(()) | Err(TryLockError::Error(_)) => break,
            }
        }
        let options = MmapOptions::new();
        let map = if writable { options.map_raw(&file)? } else { options.map_raw_read_only(&file)? };
        assert!(header.is_multiple_of(64) && header <= map.len());
        let shared = Arc::new(Shared { map, _file: file });
        let len = (shared.map.len() - header) / size_of::<f32>();
        Ok((Region(shared.clone()), Numbers { shared, header, len, writable }))
    }

    /// Writes every changed page to the disk and waits for it.
    pub fn flush(&self) -> std::io::Result<()> {
        self.0.map.flush()
    }

    /// As [`Region::flush`], of a range of bytes.
    pub fn flush_range(&self, bytes: Range<usize>) -> std::io::Result<()> {
        self.0.map.flush_range(bytes.start, bytes.len())
    }

    /// Says how the pages are going to be touched. A system that does not want to know is no failure.
    pub fn advise(&self, access: Access) {
        let advice = match access {
            Access::Random => Advice::Random,
            Access::Sequential => Advice::Sequential,
        };
        let _ = self.0.map.advise(advice);
    }

    /// Whether the page of a byte is in memory, as far as the system reports; it is not touched.
    pub fn is_resident(&self, byte: usize) -> bool {
        assert!(byte < self.0.map.len());
        #[cfg(target_os = "linux")]
        {
            let page = self.0.map.as_mut_ptr().wrapping_add(byte / PAGE * PAGE);
            let mut state = 0u8;
            // SAFETY: the page is part of the map (asserted above), and of one page the call writes one byte.
            let known = unsafe { libc::mincore(page.cast(), 1, &mut state) } == 0;
            known && state & 1 == 1
        }
        #[cfg(not(target_os = "linux"))]
        false
    }

    /// Has the pages of a range of bytes read without waiting for them. May do nothing.
    pub fn prefetch(&self, bytes: Range<usize>) {
        let _ = self.0.map.advise_range(Advice::WillNeed, bytes.start, bytes.len());
    }
}

/// The numbers of a mapped file. There is one such value for a map, so that borrowing it guards them as it
/// does for memory of one's own.
#[derive(Debug)]
pub struct Numbers {
    shared: Arc<Shared>,
    header: usize,
    len: usize,
    writable: bool,
}

impl Numbers {
    /// All numbers.
    #[inline]
    pub fn as_slice(&self) -> &[f32] {
        let start = self.shared.map.as_ptr().wrapping_add(self.header).cast();
        // SAFETY: `header + 4 * len` bytes are mapped and stay so while `shared` lives; the map begins on a
        // page and `header` is a multiple of 64 (asserted in `Region::open`), so `start` is aligned; any bytes
        // are a number. Within the process only this value gives access to them, and `as_mut_slice` borrows it
        // exclusively. Other processes of smore are kept from writing by the file's lock. Should any other
        // program write, numbers change, which breaks no memory safety: no length or index is among them.
        // Should one truncate the file, a touch of what is gone ends the process, as with every map.
        unsafe { std::slice::from_raw_parts(start, self.len) }
    }

    /// All numbers, to be changed. Panics where the file was mapped to be read.
    #[inline]
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        assert!(self.writable, "the file was mapped to be read");
        let start = self.shared.map.as_mut_ptr().wrapping_add(self.header).cast();
        // SAFETY: as in `as_slice`; the pages are writable by the assertion, `self` is borrowed exclusively, and
        // every byte has its place on the disk since the file was made, so that a store has somewhere to go.
        unsafe { std::slice::from_raw_parts_mut(start, self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_changed_are_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, [0u8; 64 + 12]).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let (region, mut numbers) = Region::open(file, 64, true).unwrap();
        region.advise(Access::Random);
        region.prefetch(64..76);
        numbers.as_mut_slice()[1] = 2.5;
        assert!(region.is_resident(64) || cfg!(not(target_os = "linux")));
        region.flush().unwrap();
        region.flush_range(0..64).unwrap();
        let second = Region::open(File::open(&path).unwrap(), 64, false).unwrap_err();
        assert_eq!(second.kind(), ErrorKind::WouldBlock);
        assert_eq!(std::fs::read(&path).unwrap()[64..], *bytemuck::cast_slice::<f32, u8>(&[0.0, 2.5, 0.0]));
        drop((region, numbers));
        let (_, numbers) = Region::open(File::open(&path).unwrap(), 64, false).unwrap();
        assert_eq!(numbers.as_slice(), [0.0, 2.5, 0.0]);
    }

    #[test]
    #[should_panic(expected = "mapped to be read")]
    fn numbers_that_were_mapped_to_be_read_cannot_be_changed() {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, &[0; 64]).unwrap();
        Region::open(file, 0, false).unwrap().1.as_mut_slice();
    }

    #[test]
    fn a_map_shows_the_bytes_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, b"abc").unwrap();
        assert_eq!(Mapped::open(&path).unwrap().bytes(), b"abc");
        std::fs::write(&path, b"").unwrap();
        assert_eq!(Mapped::open(&path).unwrap().bytes(), b"");
    }

    #[test]
    fn what_is_missing_or_no_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = Mapped::open(&folder.path().join("absent")).unwrap_err().to_string();
        assert!(missing.contains("absent"), "{missing}");
        let directory = Mapped::open(folder.path()).unwrap_err().to_string();
        assert!(directory.contains("is a folder, and a file is needed here"), "{directory}");
    }
}
