//! Read-only memory maps: the only place of the crate that maps a file.

use crate::error::{Error, Result};
use std::fs::File;
use std::path::Path;

/// A whole file, mapped for reading. Any number of processes share its pages.
#[derive(Debug)]
pub struct Mapped {
    map: memmap2::Mmap,
}

impl Mapped {
    /// Maps `path`. O(1): pages are read when they are touched.
    ///
    /// Fails where the file cannot be opened or is no regular file.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io(path))?;
        if !file.metadata().map_err(Error::io(path))?.is_file() {
            return Err(Error::file(path, "is not a regular file"));
        }
        // SAFETY: the map is private to this type and only ever read. Files of this crate are written
        // under a temporary name and renamed, never changed in place, so the bytes behind the map stay
        // what they are even if the name is given to a newer file. Whoever truncates the file by other
        // means gets a bus error, as with every memory map; ids and offsets read from the map are
        // bounds-checked where they are used, so changed bytes cannot break memory safety elsewhere.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(Error::io(path))?;
        Ok(Mapped { map })
    }

    /// The file's bytes, page-aligned.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(directory.contains("not a regular file"), "{directory}");
    }
}
