//! Input files as streams: decompressed by what they begin with, hashed as they lie on disk, cut into blocks
//! of whole lines.
//!
//! gzip (also of several members, as the Freebase dump is) and zstd are known by their first bytes,
//! whatever the file is called.

use super::format::lines::Block;
use super::inventory::Input;
use crate::error::{Error, Result};
use crate::storage::regular;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::Xxh3Default;

/// Endings of compressed files, after the ending of their format.
pub const COMPRESSED: [&str; 3] = ["", ".gz", ".zst"];

const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";

/// Bytes that a decoder asks for at once.
const READ: usize = 1 << 17;

/// Bytes on disk between two reports to who watches.
const WATCH: u64 = 4 << 20;

/// Bytes of a block, where no line is longer.
const BLOCK: usize = 1 << 20;

/// The longest line that is read.
const LONGEST_LINE: usize = 64 << 20;

/// What is on disk or in the binary, hashed and counted while it is read.
struct Raw {
    from: Box<dyn Read + Send>,
    hash: Xxh3Default,
    length: u64,
    /// Is told the length now and then.
    watch: Option<Box<dyn FnMut(u64) + Send>>,
}

impl Read for Raw {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(into)?;
        self.hash.update(&into[..read]);
        let before = self.length;
        self.length += read as u64;
        if let Some(watch) = self.watch.as_mut().filter(|_| before / WATCH != self.length / WATCH) {
            watch(self.length);
        }
        Ok(read)
    }
}

/// The first bytes, then the rest.
type Start = io::Chain<io::Cursor<Vec<u8>>, Raw>;

enum Decoder {
    Plain(Start),
    Gzip(Box<flate2::bufread::MultiGzDecoder<BufReader<Start>>>),
    Zstd(zstd::Decoder<'static, BufReader<Start>>),
}

/// The decompressed bytes of an input.
pub struct Source {
    path: PathBuf,
    decoder: Decoder,
}

impl Source {
    /// Opens `input`.
    pub fn open(input: &Input) -> Result<Self> {
        let path = &input.path;
        let from: Box<dyn Read + Send> = match input.embedded {
            Some(bytes) => Box::new(bytes),
            None => Box::new(regular::open(path)?),
        };
        let mut raw = Raw { from, hash: Xxh3Default::new(), length: 0, watch: None };
        let mut first = Vec::new();
        raw.by_ref().take(4).read_to_end(&mut first).map_err(Error::io(path))?;
        let (gzip, zstd) = (first.starts_with(GZIP), first.starts_with(ZSTD));
        let start = io::Cursor::new(first).chain(raw);
        let decoder = if gzip {
            let start = BufReader::with_capacity(READ, start);
            Decoder::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(start)))
        } else if zstd {
            let start = BufReader::with_capacity(READ, start);
            Decoder::Zstd(zstd::Decoder::with_buffer(start).map_err(Error::io(path))?)
        } else {
            Decoder::Plain(start)
        };
        Ok(Source { path: path.clone(), decoder })
    }

    /// Tells `watch` after every few MiB how many bytes of the file on disk were read.
    pub fn watched(mut self, watch: impl FnMut(u64) + Send + 'static) -> Self {
        let raw = match &mut self.decoder {
            Decoder::Plain(start) => start.get_mut().1,
            Decoder::Gzip(decoder) => decoder.get_mut().get_mut().get_mut().1,
            Decoder::Zstd(decoder) => decoder.get_mut().get_mut().get_mut().1,
        };
        raw.watch = Some(Box::new(watch));
        self
    }

    /// The file, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Fills `into`, which is then shorter only at the end.
    pub fn fill(&mut self, into: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < into.len() {
            match self.read(&mut into[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => (),
                Err(e) => return Err(self.explain(e)),
            }
        }
        Ok(filled)
    }

    /// All bytes that are left.
    pub fn read_all(&mut self) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        self.read_to_end(&mut all).map_err(|e| self.explain(e))?;
        Ok(all)
    }

    /// What a failure to read means.
    pub fn explain(&self, error: io::Error) -> Error {
        let kind = match self.decoder {
            Decoder::Plain(_) => return Error::io(&self.path)(error),
            Decoder::Gzip(_) => "gzip",
            Decoder::Zstd(_) => "zstd",
        };
        let cut = error.kind() == io::ErrorKind::UnexpectedEof;
        let reason = if cut { "it is cut short".to_owned() } else { error.to_string() };
        Error::file(&self.path, format!("cannot be decompressed as {kind}: {reason}; get the file again"))
    }

    /// Reads to the end; length and XXH3-128 of the file on disk.
    pub fn finish(mut self) -> Result<(u64, String)> {
        io::copy(&mut self, &mut io::sink()).map_err(|e| self.explain(e))?;
        let start = match self.decoder {
            Decoder::Plain(start) => start,
            Decoder::Gzip(decoder) => decoder.into_inner().into_inner(),
            Decoder::Zstd(decoder) => decoder.finish().into_inner(),
        };
        let (_, mut raw) = start.into_inner();
        io::copy(&mut raw, &mut io::sink()).map_err(Error::io(&self.path))?;
        Ok((raw.length, format!("{:032x}", raw.hash.digest128())))
    }
}

impl Read for Source {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.decoder {
            Decoder::Plain(start) => start.read(into),
            Decoder::Gzip(decoder) => decoder.read(into),
            Decoder::Zstd(decoder) => decoder.read(into),
        }
    }
}

/// A source as blocks of whole lines of about a mebibyte.
pub struct Blocks {
    source: Source,
    /// What was read; the block before ended at `taken`.
    bytes: Vec<u8>,
    taken: usize,
    next_line: u64,
    at_end: bool,
}

impl Blocks {
    /// The blocks of `source`, which nothing was read of.
    pub fn new(source: Source) -> Self {
        Blocks { source, bytes: Vec::new(), taken: 0, next_line: 1, at_end: false }
    }

    /// The source, to be finished.
    pub fn into_source(self) -> Source {
        self.source
    }

    /// The next block; `None` at the end.
    ///
    /// Fails where the file cannot be read or decompressed and at a line of more than 64 MiB.
    #[allow(clippy::should_implement_trait, reason = "it lends")]
    pub fn next(&mut self) -> Result<Option<Block<'_>>> {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        loop {
            let old = self.bytes.len();
            if !self.at_end {
                self.bytes.resize(old + BLOCK, 0);
                let read = self.source.fill(&mut self.bytes[old..])?;
                self.bytes.truncate(old + read);
                self.at_end = read < BLOCK;
            }
            let end = match memchr::memrchr(b'\n', &self.bytes[old..]) {
                _ if self.at_end => self.bytes.len(),
                Some(last) => old + last + 1,
                None if self.bytes.len() > LONGEST_LINE => {
                    let message = "the line is longer than 64 MiB: this is no file of lines";
                    return Err(Error::line(&self.source.path, self.next_line, message));
                }
                None => continue,
            };
            if end == 0 {
                return Ok(None);
            }
            let block = Block { first_line: self.next_line, bytes: &self.bytes[..end] };
            self.taken = end;
            self.next_line += memchr::memchr_iter(b'\n', block.bytes).count() as u64;
            return Ok(Some(block));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::format::lines::lines;
    use crate::dataset::inventory::Role;
    use crate::graph::Split;
    use crate::storage::checksum;
    use std::io::Write;

    fn input(folder: &Path, bytes: &[u8]) -> Input {
        let path = folder.join("train.txt");
        std::fs::write(&path, bytes).unwrap();
        Input::new(Role::Triples(Split::Train), "train.txt".into(), path)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn compression_is_told_by_content_and_checksums_are_those_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let text: Vec<u8> = (0..200_000u32).flat_map(|i| format!("{i}\tr\tb\n").into_bytes()).collect();
        let (a, b) = text.split_at(1_000_003);
        let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
        for stored in
            [text.clone(), gzip(&text), [gzip(a), gzip(b)].concat(), zstd(&text), [zstd(a), zstd(b)].concat()]
        {
            let input = input(folder.path(), &stored);
            let mut source = Source::open(&input).unwrap();
            assert!(source.read_all().unwrap() == text);
            let expected = (stored.len() as u64, checksum::hex(&stored));
            assert_eq!(source.finish().unwrap(), expected);
            assert_eq!(Source::open(&input).unwrap().finish().unwrap(), expected);
        }
        for empty in [&b""[..], b"\x1f", b"ab"] {
            assert_eq!(Source::open(&input(folder.path(), empty)).unwrap().read_all().unwrap(), empty);
        }
    }

    #[test]
    fn blocks_are_the_lines_of_the_file_with_their_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let long = "x".repeat(BLOCK + 7);
        let line = |i: usize| if i == 100_000 { long.clone() } else { format!("line {i}") };
        let text = (1..300_000).map(line).collect::<Vec<_>>().join("\n");
        for text in [text.clone(), text + "\n"] {
            let mut blocks = Blocks::new(Source::open(&input(folder.path(), text.as_bytes())).unwrap());
            let mut expected = 1;
            while let Some(block) = blocks.next().unwrap() {
                assert_eq!(block.first_line, expected as u64);
                for (number, found) in lines(block) {
                    assert!(number == expected as u64 && found == line(expected).as_bytes(), "{number}");
                    expected += 1;
                }
            }
            assert_eq!(expected, 300_000);
        }
    }

    #[test]
    fn damaged_files_say_so() {
        let folder = tempfile::tempdir().unwrap();
        let text = b"a\tr\tb\n".repeat(1000);
        for (stored, kind) in [(gzip(&text), "gzip"), (zstd::encode_all(&text[..], 1).unwrap(), "zstd")] {
            let cut = input(folder.path(), &stored[..stored.len() - 5]);
            let error = Source::open(&cut).unwrap().read_all().unwrap_err().to_string();
            assert!(error.contains(kind) && error.contains("cut short"), "{error}");
        }
        let mut wrong = gzip(&text);
        let checksum = wrong.len() - 8;
        wrong[checksum] ^= 1;
        let error = Source::open(&input(folder.path(), &wrong)).unwrap().finish().unwrap_err().to_string();
        assert!(error.contains("as gzip: ") && error.contains("get the file again"), "{error}");
    }
}
