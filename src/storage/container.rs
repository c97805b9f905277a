//! A container of sections: one header, any number of 64-byte aligned sections, one section table.
//!
//! ```text
//! offset 0      header, 128 bytes (Header)
//! 64-aligned    sections, in any order, zero bytes between them
//! header.table  section table, 32 bytes a section (Section)
//! ```
//!
//! All numbers are little-endian. The table stands at the end, so that a writer can stream sections
//! whose lengths it does not know in advance; the header is written last.

use crate::error::{Error, Result};
use crate::storage::checksum;
use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;
use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;
use xxhash_rust::xxh3::Xxh3Default;

/// Sections start at multiples of this: a cache line, and enough for every element type.
pub const ALIGNMENT: u64 = 64;

/// Longest name that a header holds, in bytes.
pub const MAX_NAME: usize = 64;

/// The first 128 bytes of a file. `magic` and `version` keep their places in all versions.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Header {
    /// What kind of file this is.
    pub magic: [u8; 8],
    /// Version of the kind's format.
    pub version: u32,
    /// Number of entries of the section table.
    pub num_sections: u32,
    /// Length of the whole file in bytes.
    pub file_length: u64,
    /// Where the section table starts.
    pub table: u64,
    /// Counts, whose meaning the kind of file defines.
    pub counts: [u64; 3],
    /// UTF-8, padded with zero bytes.
    pub name: [u8; MAX_NAME],
    /// XXH3-64 of the header before this field, followed by the section table.
    pub checksum: u64,
}

/// One entry of the section table.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Section {
    /// What the section holds.
    pub kind: u32,
    /// Which of several sections of a kind this is.
    pub tag: u32,
    /// First byte.
    pub offset: u64,
    /// Length in bytes.
    pub length: u64,
    /// XXH3-64 of the bytes.
    pub checksum: u64,
}

impl Section {
    /// Where the bytes are; [`Directory::parse`] has checked that they lie within the file.
    pub fn range(&self) -> Range<usize> {
        self.offset as usize..(self.offset + self.length) as usize
    }
}

const HEADER: usize = size_of::<Header>();
const ENTRY: usize = size_of::<Section>();

/// A parsed header and section table.
#[derive(Clone, Debug)]
pub struct Directory {
    /// Counts of the header.
    pub counts: [u64; 3],
    /// Name of the header.
    pub name: String,
    /// The section table, by offset.
    pub sections: Vec<Section>,
}

impl Directory {
    /// Reads and checks header and section table: magic, version, length, checksum, and that sections
    /// are aligned, in order and within the file. Touches the first and the last page only.
    ///
    /// The error says what is wrong; `what` ("graph file") and `remedy` ("import ... again") word it.
    pub fn parse(
        bytes: &[u8],
        magic: [u8; 8],
        version: u32,
        what: &str,
        remedy: &str,
    ) -> Result<Self, String> {
        let start = &bytes[..bytes.len().min(8)];
        if start.is_empty() || !magic.starts_with(start) {
            return Err(format!("is not a smore {what} (its first bytes are not the format's)"));
        }
        let truncated = |length: u64| {
            format!("is truncated: {} bytes of {length} are there; copy it again, or {remedy}", bytes.len())
        };
        let Some(first) = bytes.get(..HEADER) else { return Err(truncated(HEADER as u64)) };
        let header: Header = bytemuck::pod_read_unaligned(first);
        if header.version != version {
            return Err(format!(
                "is a {what} of format version {}, but this smore reads version {version}; {remedy}",
                header.version
            ));
        }
        if (bytes.len() as u64) < header.file_length {
            return Err(truncated(header.file_length));
        }
        let damaged = |detail: String| format!("is damaged: {detail}; {remedy}");
        if bytes.len() as u64 != header.file_length {
            return Err(damaged(format!("{} bytes instead of {}", bytes.len(), header.file_length)));
        }
        let table_length = u64::from(header.num_sections) * ENTRY as u64;
        let table = header
            .table
            .checked_add(table_length)
            .filter(|&end| end == header.file_length && header.table >= HEADER as u64)
            .map(|end| &bytes[header.table as usize..end as usize])
            .ok_or_else(|| damaged("the section table is out of place".into()))?;
        if header_checksum(first, table) != header.checksum {
            return Err(damaged("the checksum of its header does not match".into()));
        }
        let sections: Vec<Section> = table.chunks_exact(ENTRY).map(bytemuck::pod_read_unaligned).collect();
        let mut end = HEADER as u64;
        for (index, section) in sections.iter().enumerate() {
            let next = section.offset.checked_add(section.length).filter(|&next| {
                section.offset >= end && next <= header.table && section.offset % ALIGNMENT == 0
            });
            end = next.ok_or_else(|| damaged(format!("section {index} is out of bounds")))?;
        }
        let length = header.name.iter().position(|&b| b == 0).unwrap_or(MAX_NAME);
        let name = std::str::from_utf8(&header.name[..length])
            .map_err(|_| damaged("its name is not UTF-8".into()))?
            .to_owned();
        Ok(Directory { counts: header.counts, name, sections })
    }

    /// Bytes of the one section of this kind and tag, if it is there. O(sections).
    pub fn find(&self, kind: u32, tag: u32) -> Option<Range<usize>> {
        self.sections.iter().find(|s| (s.kind, s.tag) == (kind, tag)).map(Section::range)
    }

    /// Hash of the content of all sections but those of kind `except`, wherever they stand.
    pub fn fingerprint(&self, except: u32) -> u64 {
        let mut content: Vec<[u64; 4]> = self
            .sections
            .iter()
            .filter(|s| s.kind != except)
            .map(|s| [u64::from(s.kind), u64::from(s.tag), s.length, s.checksum])
            .collect();
        content.sort_unstable();
        checksum::section(bytemuck::cast_slice(&content))
    }

    /// The sections whose bytes do not match their checksum, by offset. Reads all sections, each in a thread.
    pub fn damaged(&self, bytes: &[u8]) -> Vec<Section> {
        let bad = |s: &&Section| checksum::section(&bytes[s.range()]) != s.checksum;
        self.sections.par_iter().filter(bad).copied().collect()
    }

    /// The first byte outside of header, sections and table that is not zero: no checksum covers those bytes.
    pub fn damaged_padding(&self, bytes: &[u8]) -> Option<usize> {
        let table = bytes.len().checked_sub(self.sections.len() * ENTRY)?;
        let mut start = HEADER;
        let ends = self.sections.iter().map(Section::range).chain(std::iter::once(table..table));
        for section in ends {
            let gap = &bytes[start..section.start];
            if let Some(place) = gap.iter().position(|&byte| byte != 0) {
                return Some(start + place);
            }
            start = section.end;
        }
        None
    }
}

fn header_checksum(header: &[u8], table: &[u8]) -> u64 {
    checksum::section(&[&header[..HEADER - 8], table].concat())
}

/// Sets all checksums of a container right, whatever its bytes are; `None` where its table of sections is out of place.
///
/// For tests and fuzzers, which thus reach what stands behind the checksums.
pub fn seal(bytes: &mut [u8]) -> Option<()> {
    let mut header: Header = bytemuck::pod_read_unaligned(bytes.get(..HEADER)?);
    let begin = usize::try_from(header.table).ok()?;
    let table = begin..begin.checked_add(header.num_sections as usize * ENTRY)?;
    for entry in table.clone().step_by(ENTRY) {
        let mut section: Section = bytemuck::pod_read_unaligned(bytes.get(entry..entry + ENTRY)?);
        let end = section.offset.checked_add(section.length)?;
        section.checksum = checksum::section(bytes.get(section.offset as usize..end as usize)?);
        bytes[entry..entry + ENTRY].copy_from_slice(bytemuck::bytes_of(&section));
    }
    header.checksum = header_checksum(bytes.get(..HEADER)?, bytes.get(table)?);
    bytes[..HEADER].copy_from_slice(bytemuck::bytes_of(&header));
    Some(())
}

/// Writes sections one after the other; [`Writer::finish`] adds the table and the header.
#[derive(Debug)]
pub struct Writer<'f> {
    file: &'f mut BufWriter<File>,
    path: &'f Path,
    position: u64,
    sections: Vec<Section>,
}

impl<'f> Writer<'f> {
    /// Starts an empty container; `path` is for messages.
    pub fn new(file: &'f mut BufWriter<File>, path: &'f Path) -> Result<Self> {
        let mut writer = Writer { file, path, position: 0, sections: Vec::new() };
        writer.append(&[0; HEADER])?;
        Ok(writer)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(Error::io(self.path))?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn align(&mut self) -> Result<()> {
        let gap = self.position.next_multiple_of(ALIGNMENT) - self.position;
        self.append(&[0; ALIGNMENT as usize][..gap as usize])
    }

    /// Adds a section.
    pub fn section(&mut self, kind: u32, tag: u32, bytes: &[u8]) -> Result<()> {
        self.stream(kind, tag, |section| section.append(bytes))
    }

    /// Adds a section that `fill` appends piece by piece.
    pub fn stream(
        &mut self,
        kind: u32,
        tag: u32,
        fill: impl FnOnce(&mut Stream<'_, 'f>) -> Result<()>,
    ) -> Result<()> {
        self.align()?;
        let offset = self.position;
        let mut stream = Stream { writer: self, hash: Xxh3Default::new() };
        fill(&mut stream)?;
        let checksum = stream.hash.digest();
        let length = self.position - offset;
        self.sections.push(Section { kind, tag, offset, length, checksum });
        Ok(())
    }

    /// Completes the file. `name` has at most [`MAX_NAME`] bytes.
    pub fn finish(mut self, magic: [u8; 8], version: u32, counts: [u64; 3], name: &str) -> Result<()> {
        if name.len() > MAX_NAME {
            return Err(Error::invalid(format!("name {name:?} is longer than {MAX_NAME} bytes")));
        }
        self.align()?;
        let mut header = Header {
            magic,
            version,
            num_sections: self.sections.len() as u32,
            file_length: self.position + (self.sections.len() * ENTRY) as u64,
            table: self.position,
            counts,
            name: [0; MAX_NAME],
            checksum: 0,
        };
        header.name[..name.len()].copy_from_slice(name.as_bytes());
        let table = std::mem::take(&mut self.sections);
        let table: &[u8] = bytemuck::cast_slice(&table);
        header.checksum = header_checksum(bytemuck::bytes_of(&header), table);
        self.append(table)?;
        self.file.seek(SeekFrom::Start(0)).map_err(Error::io(self.path))?;
        self.file.write_all(bytemuck::bytes_of(&header)).map_err(Error::io(self.path))
    }
}

/// A section that is being written.
pub struct Stream<'w, 'f> {
    writer: &'w mut Writer<'f>,
    hash: Xxh3Default,
}

impl Stream<'_, '_> {
    /// Appends bytes to the section.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.hash.update(bytes);
        self.writer.append(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::atomic;

    const MAGIC: [u8; 8] = *b"SMORETST";

    fn example() -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        atomic::write(&path, |file| {
            let mut writer = Writer::new(file, &path)?;
            writer.section(1, 0, b"first")?;
            writer.section(2, 7, &[])?;
            writer.section(3, 0, &[9; 100])?;
            writer.finish(MAGIC, 3, [1, 2, 3], "example")
        })
        .unwrap();
        std::fs::read(&path).unwrap()
    }

    fn parse(bytes: &[u8]) -> Result<Directory, String> {
        Directory::parse(bytes, MAGIC, 3, "test file", "make it again")
    }

    #[test]
    fn what_was_written_is_read() {
        let bytes = example();
        let directory = parse(&bytes).unwrap();
        assert_eq!((directory.counts, directory.name.as_str()), ([1, 2, 3], "example"));
        assert_eq!(&bytes[directory.find(1, 0).unwrap()], b"first");
        assert_eq!(&bytes[directory.find(2, 7).unwrap()], b"");
        assert_eq!(&bytes[directory.find(3, 0).unwrap()], [9; 100]);
        assert_eq!(directory.find(3, 1), None);
        assert!(directory.sections.iter().all(|s| s.offset % ALIGNMENT == 0));
        assert!(directory.damaged(&bytes).is_empty());
    }

    #[test]
    fn a_streamed_section_is_like_one_of_a_piece() {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..1_000u32).map(|i| (i % 251) as u8).collect();
        let write = |piece: usize| {
            let path = folder.path().join("file");
            atomic::write(&path, |file| {
                let mut writer = Writer::new(file, &path)?;
                writer.stream(1, 0, |s| bytes.chunks(piece).try_for_each(|p| s.append(p)))?;
                writer.section(2, 0, b"next")?;
                writer.finish(MAGIC, 3, [0; 3], "example")
            })
            .unwrap();
            std::fs::read(&path).unwrap()
        };
        let whole = write(1_000);
        assert!(parse(&whole).unwrap().damaged(&whole).is_empty());
        assert!([1, 7, 256].iter().all(|&piece| write(piece) == whole));
    }

    #[test]
    fn every_shorter_file_is_refused() {
        let bytes = example();
        for length in 0..bytes.len() {
            let error = parse(&bytes[..length]).unwrap_err();
            let expected = if length == 0 { "is not a smore test file" } else { "is truncated" };
            assert!(error.contains(expected), "{length}: {error}");
        }
    }

    #[test]
    fn every_flipped_bit_of_header_and_table_is_noticed() {
        let bytes = example();
        let table = bytes.len() - 3 * ENTRY..bytes.len();
        for position in (0..HEADER).chain(table) {
            for bit in 0..8 {
                let mut bad = bytes.clone();
                bad[position] ^= 1 << bit;
                assert!(parse(&bad).is_err(), "byte {position}, bit {bit}");
            }
        }
    }

    #[test]
    fn a_damaged_section_is_found_by_its_checksum() {
        let mut bytes = example();
        let place = parse(&bytes).unwrap().find(3, 0).unwrap().start;
        bytes[place] ^= 1;
        let damaged = parse(&bytes).unwrap().damaged(&bytes);
        assert_eq!(damaged.iter().map(|s| s.kind).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn every_flipped_bit_of_a_file_is_found() {
        let bytes = example();
        for position in 0..bytes.len() {
            for bit in 0..8 {
                let mut bad = bytes.clone();
                bad[position] ^= 1 << bit;
                let found = parse(&bad).map_or(true, |d| {
                    !d.damaged(&bad).is_empty() || d.damaged_padding(&bad) == Some(position)
                });
                assert!(found, "byte {position}, bit {bit}");
            }
        }
        assert_eq!(parse(&bytes).unwrap().damaged_padding(&bytes), None);
        let longer = [&bytes[..], &[0]].concat();
        assert!(parse(&longer).unwrap_err().contains("bytes instead of"));
    }

    #[test]
    fn another_version_says_which_and_what_to_do() {
        let error = Directory::parse(&example(), MAGIC, 4, "test file", "make it again").unwrap_err();
        assert_eq!(
            error,
            "is a test file of format version 3, but this smore reads version 4; make it again"
        );
    }
}
