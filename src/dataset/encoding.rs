//! Texts as UTF-8 with line feeds.
//!
//! | found | recognised by | read as |
//! | --- | --- | --- |
//! | UTF-8 with a byte order mark | `EF BB BF` | without it |
//! | UTF-16 | a byte order mark, or every other of the first bytes being 0 | UTF-8; what is no UTF-16 is an error |
//! | carriage returns alone, as on old Macs | no line feed in the first 64 KiB | line feeds |
//!
//! Everything else passes as it is.

use std::fmt;
use std::io::{self, Read};

/// Bytes that tell how a text is written.
const LOOK: u64 = 1 << 16;

/// The text that `from` holds.
pub fn text(from: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
    let (first, from) = look(from)?;
    let utf8 = match first.as_slice() {
        [0xef, 0xbb, 0xbf, ..] => skip(from, 3)?,
        [0xff, 0xfe, ..] => Box::new(Utf16::new(skip(from, 2)?, false)),
        [0xfe, 0xff, ..] => Box::new(Utf16::new(skip(from, 2)?, true)),
        _ if every_other_is_zero(&first, 1) => Box::new(Utf16::new(from, false)),
        _ if every_other_is_zero(&first, 0) => Box::new(Utf16::new(from, true)),
        _ => from,
    };
    let (first, utf8) = look(utf8)?;
    let alone = first.contains(&b'\r') && !first.contains(&b'\n');
    Ok(if alone { Box::new(LineFeeds(utf8)) } else { utf8 })
}

/// What a failure to read a text means; `None` where it is another one.
pub fn explain(error: &io::Error) -> Option<String> {
    let NoUtf16 { place } = error.get_ref()?.downcast_ref()?;
    Some(format!(
        "is UTF-16, but not at byte {place}: get the file again, or convert it to UTF-8 (`iconv -f UTF-16 -t UTF-8`)"
    ))
}

/// The first bytes, and everything.
fn look(mut from: Box<dyn Read + Send>) -> io::Result<(Vec<u8>, Box<dyn Read + Send>)> {
    let mut first = Vec::new();
    from.by_ref().take(LOOK).read_to_end(&mut first)?;
    Ok((first.clone(), Box::new(io::Cursor::new(first).chain(from))))
}

fn skip(mut from: Box<dyn Read + Send>, bytes: u64) -> io::Result<Box<dyn Read + Send>> {
    io::copy(&mut from.by_ref().take(bytes), &mut io::sink())?;
    Ok(from)
}

/// Whether, of the first four pairs of bytes, the byte at `zero` is 0 and the other is not.
fn every_other_is_zero(first: &[u8], zero: usize) -> bool {
    first.len() >= 8 && first[..8].chunks_exact(2).all(|pair| pair[zero] == 0 && pair[1 - zero] != 0)
}

/// Bytes that are no UTF-16.
#[derive(Debug)]
struct NoUtf16 {
    /// From 0, after the byte order mark.
    place: u64,
}

impl fmt::Display for NoUtf16 {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "byte {} is no UTF-16", self.place)
    }
}

impl std::error::Error for NoUtf16 {}

/// UTF-16 as UTF-8.
struct Utf16<R> {
    from: R,
    big: bool,
    /// Bytes that are not translated yet: half a character at most.
    rest: Vec<u8>,
    /// Bytes before `rest`.
    place: u64,
    /// What is translated, of which `given` bytes were asked for.
    text: Vec<u8>,
    given: usize,
}

impl<R: Read> Utf16<R> {
    fn new(from: R, big: bool) -> Self {
        Utf16 { from, big, rest: Vec::new(), place: 0, text: Vec::new(), given: 0 }
    }

    /// Translates what comes next. Nothing comes after the end.
    fn next(&mut self) -> io::Result<()> {
        let before = self.rest.len();
        (&mut self.from).take(LOOK).read_to_end(&mut self.rest)?;
        let at_end = ((self.rest.len() - before) as u64) < LOOK;
        let unit = |pair: &[u8]| {
            let pair = [pair[0], pair[1]];
            if self.big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
        };
        let mut units: Vec<u16> = self.rest.chunks_exact(2).map(unit).collect();
        // The second half of the last character may come later.
        if !at_end && units.last().is_some_and(|unit| (0xd800..0xdc00).contains(unit)) {
            units.pop();
        }
        let (mut text, mut used) = (String::with_capacity(2 * units.len()), 0);
        for character in char::decode_utf16(units) {
            let character = character.map_err(|_| self.error(used))?;
            text.push(character);
            used += 2 * character.len_utf16();
        }
        if at_end && used < self.rest.len() {
            return Err(self.error(used));
        }
        self.rest.drain(..used);
        self.place += used as u64;
        (self.text, self.given) = (text.into_bytes(), 0);
        Ok(())
    }

    fn error(&self, used: usize) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, NoUtf16 { place: self.place + used as u64 })
    }
}

impl<R: Read> Read for Utf16<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.given == self.text.len() {
            self.next()?;
        }
        let read = (&self.text[self.given..]).read(into)?;
        self.given += read;
        Ok(read)
    }
}

/// Line feeds for carriage returns.
struct LineFeeds<R>(R);

impl<R: Read> Read for LineFeeds<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(into)?;
        into[..read].iter_mut().filter(|byte| **byte == b'\r').for_each(|byte| *byte = b'\n');
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        text(Box::new(io::Cursor::new(bytes.to_vec())))?.read_to_end(&mut all)?;
        Ok(all)
    }

    fn utf16(text: &str, big: bool) -> Vec<u8> {
        text.encode_utf16()
            .flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() })
            .collect()
    }

    #[test]
    fn texts_in_any_encoding_are_the_same_utf_8() {
        let long: String = (0..50_000).map(|i| format!("caf\u{e9} {i}\t\u{1f600}\r\n")).collect();
        for plain in ["a\tr\tb\n", "caf\u{e9}\tr\t\u{1f600}\n", &long, ""] {
            let marked = |mark: &[u8], bytes: Vec<u8>| read(&[mark.to_vec(), bytes].concat()).unwrap();
            assert!(read(plain.as_bytes()).unwrap() == plain.as_bytes());
            assert!(marked(b"\xef\xbb\xbf", plain.into()) == plain.as_bytes());
            assert!(marked(b"\xff\xfe", utf16(plain, false)) == plain.as_bytes());
            assert!(marked(b"\xfe\xff", utf16(plain, true)) == plain.as_bytes());
        }
        for big in [false, true] {
            assert!(read(&utf16("a\tr\tb\n", big)).unwrap() == b"a\tr\tb\n", "without a mark");
        }
    }

    #[test]
    fn carriage_returns_alone_end_lines() {
        assert_eq!(read(b"a\rb\r").unwrap(), b"a\nb\n");
        assert_eq!(read(b"a\r\nb\rc\r\n").unwrap(), b"a\r\nb\rc\r\n");
        assert_eq!(read(&[b"\xff\xfe".to_vec(), utf16("a\rb\r", false)].concat()).unwrap(), b"a\nb\n");
    }

    #[test]
    fn what_is_no_utf_16_is_an_error_with_its_place() {
        let long =
            [b"\xff\xfe".to_vec(), utf16(&"x".repeat(40_000), false), b"\x00\xd8a\0".to_vec()].concat();
        for (bytes, place) in [(&b"\xff\xfea\0b"[..], 2), (b"\xff\xfe\x00\xd8", 0), (&long, 80_000)] {
            let error = read(bytes).unwrap_err();
            let expected = format!(
                "is UTF-16, but not at byte {place}: get the file again, or convert it to UTF-8 (`iconv -f UTF-16 -t UTF-8`)"
            );
            assert_eq!(explain(&error), Some(expected));
        }
        assert_eq!(explain(&io::Error::other("x")), None);
    }
}
