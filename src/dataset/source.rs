//! Input files as streams: decompressed by what they begin with, hashed as they lie on disk, texts as UTF-8 with line feeds,
//! cut into blocks of whole lines.
//!
//! gzip (also of several members, as the Freebase dump is), zstd, bzip2 and xz are known by their first bytes,
//! whatever the file is called.

use super::encoding;
use super::format::lines::Block;
use super::inventory::Input;
use crate::error::{Error, Result};
use crate::storage::regular;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use xxhash_rust::xxh3::Xxh3Default;

/// Endings of compressed files, after the ending of their format.
pub const COMPRESSED: [&str; 5] = ["", ".gz", ".zst", ".bz2", ".xz"];

/// How a file is compressed: the bytes that it begins with, and its decoder.
struct Compression {
    name: &'static str,
    magic: &'static [u8],
    decoder: fn(Buffered) -> io::Result<Box<dyn Read + Send>>,
}

const COMPRESSIONS: [Compression; 4] = [
    Compression {
        name: "gzip",
        magic: b"\x1f\x8b",
        decoder: |from| Ok(Box::new(flate2::bufread::MultiGzDecoder::new(from))),
    },
    Compression {
        name: "zstd",
        magic: b"\x28\xb5\x2f\xfd",
        decoder: |from| Ok(Box::new(zstd::Decoder::with_buffer(from)?)),
    },
    Compression {
        name: "bzip2",
        magic: b"BZh",
        decoder: |from| Ok(Box::new(bzip2::bufread::MultiBzDecoder::new(from))),
    },
    Compression {
        name: "xz",
        magic: b"\xfd7zXZ\0",
        decoder: |from| Ok(Box::new(lzma_rust2::XzReader::new(from, true))),
    },
];

/// Bytes that tell the compression.
const MAGIC: u64 = 6;

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
    /// Called with the length from time to time.
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

/// A [`Raw`] that the decoders and the source have in common.
#[derive(Clone)]
struct Shared(Arc<Mutex<Raw>>);

impl Shared {
    fn with<T>(&self, f: impl FnOnce(&mut Raw) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Read for Shared {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.with(|raw| raw.read(into))
    }
}

/// The first bytes, then the rest.
type Buffered = BufReader<io::Chain<io::Cursor<Vec<u8>>, Shared>>;

/// The decompressed bytes of an input.
pub struct Source {
    path: PathBuf,
    raw: Shared,
    compression: Option<&'static Compression>,
    decoded: Box<dyn Read + Send>,
}

impl Source {
    /// Opens `input`; a text that is not UTF-8 with line feeds becomes it.
    pub fn open(input: &Input) -> Result<Self> {
        let source = Source::bytes(input)?;
        if !input.is_text() {
            return Ok(source);
        }
        let Source { path, raw, compression, decoded } = source;
        match encoding::text(decoded) {
            Ok(decoded) => Ok(Source { path, raw, compression, decoded }),
            Err(e) => Err(Source { path, raw, compression, decoded: Box::new(io::empty()) }.explain(e)),
        }
    }

    /// Opens `input`, whatever it holds.
    fn bytes(input: &Input) -> Result<Self> {
        let path = &input.path;
        let from: Box<dyn Read + Send> = match input.embedded {
            Some(bytes) => Box::new(bytes),
            None => Box::new(regular::open(path)?),
        };
        let raw =
            Shared(Arc::new(Mutex::new(Raw { from, hash: Xxh3Default::new(), length: 0, watch: None })));
        let mut first = Vec::new();
        raw.clone().take(MAGIC).read_to_end(&mut first).map_err(Error::io(path))?;
        let compression = COMPRESSIONS.iter().find(|c| first.starts_with(c.magic));
        let start = BufReader::with_capacity(READ, io::Cursor::new(first).chain(raw.clone()));
        let decoded = match compression {
            Some(compression) => (compression.decoder)(start).map_err(Error::io(path))?,
            None => Box::new(start),
        };
        Ok(Source { path: path.clone(), raw, compression, decoded })
    }

    /// Tells `watch` after every few MiB how many bytes of the file on disk were read.
    pub fn watched(self, watch: impl FnMut(u64) + Send + 'static) -> Self {
        self.raw.with(|raw| raw.watch = Some(Box::new(watch)));
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
        if let Some(message) = encoding::explain(&error) {
            return Error::file(&self.path, message);
        }
        let Some(Compression { name, .. }) = self.compression else { return Error::io(&self.path)(error) };
        let cut = error.kind() == io::ErrorKind::UnexpectedEof;
        let reason = if cut { "it is cut short".to_owned() } else { error.to_string() };
        Error::file(&self.path, format!("cannot be decompressed as {name}: {reason}; get the file again"))
    }

    /// Reads to the end; length and XXH3-128 of the file on disk.
    pub fn finish(mut self) -> Result<(u64, String)> {
        io::copy(&mut self.decoded, &mut io::sink()).map_err(|e| self.explain(e))?;
        // What follows the compressed bytes.
        io::copy(&mut self.raw, &mut io::sink()).map_err(Error::io(&self.path))?;
        Ok(self.raw.with(|raw| (raw.length, format!("{:032x}", raw.hash.digest128()))))
    }
}

impl Read for Source {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.decoded.read(into)
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

    fn bzip2(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let options = lzma_rust2::XzOptions::with_preset(0);
        let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn compression_is_recognised_by_content_and_checksums_are_those_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let text: Vec<u8> = (0..200_000u32).flat_map(|i| format!("{i}\tr\tb\n").into_bytes()).collect();
        let (a, b) = text.split_at(1_000_003);
        let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
        let stored = [
            text.clone(),
            gzip(&text),
            [gzip(a), gzip(b)].concat(),
            zstd(&text),
            [zstd(a), zstd(b)].concat(),
            bzip2(&text),
            [bzip2(a), bzip2(b)].concat(),
            xz(&text),
            [xz(a), xz(b)].concat(),
        ];
        for stored in stored {
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
        for (stored, kind) in [
            (gzip(&text), "gzip"),
            (zstd::encode_all(&text[..], 1).unwrap(), "zstd"),
            (bzip2(&text), "bzip2"),
            (xz(&text), "xz"),
        ] {
            let cut = input(folder.path(), &stored[..stored.len() - 5]);
            let error = Source::open(&cut).and_then(|mut s| s.read_all()).unwrap_err().to_string();
            assert!(error.contains(kind) && error.contains("cut short"), "{error}");
        }
        let mut wrong = gzip(&text);
        let checksum = wrong.len() - 8;
        wrong[checksum] ^= 1;
        let error =
            Source::open(&input(folder.path(), &wrong)).and_then(Source::finish).unwrap_err().to_string();
        assert!(error.contains("as gzip: ") && error.contains("get the file again"), "{error}");
    }
}
