//! Writes pickles (protocol 4, Python 3.4 and later) of containers, integers and strings, as they come.

use std::io::{self, Write};

/// Items that a reader puts on its stack at once, as CPython writes them.
const BATCH: usize = 1_000;

/// A pickle that is being written: one value, then [`PickleWriter::finish`].
///
/// Nothing is kept: memory does not grow with what is written. Containers take their items from an
/// iterator and write each by a closure, so that any nesting is possible. Python's own rules are the
/// caller's: what a set or the keys of a dict hold must be hashable there.
pub struct PickleWriter<W: Write> {
    out: W,
}

impl<W: Write> PickleWriter<W> {
    /// Begins a pickle.
    pub fn new(mut out: W) -> io::Result<Self> {
        out.write_all(b"\x80\x04")?;
        Ok(PickleWriter { out })
    }

    /// Ends the pickle and gives the stream back, not flushed.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.write_all(b".")?;
        Ok(self.out)
    }

    /// An `int`.
    pub fn int(&mut self, number: i64) -> io::Result<()> {
        if let Ok(byte) = u8::try_from(number) {
            self.out.write_all(&[b'K', byte])
        } else if let Ok(short) = u16::try_from(number) {
            self.op(b'M', &short.to_le_bytes())
        } else if let Ok(word) = i32::try_from(number) {
            self.op(b'J', &word.to_le_bytes())
        } else {
            self.out.write_all(b"\x8a\x08")?;
            self.out.write_all(&number.to_le_bytes())
        }
    }

    /// A `str`.
    pub fn str(&mut self, text: &str) -> io::Result<()> {
        let length = text.len();
        if let Ok(byte) = u8::try_from(length) {
            self.out.write_all(&[0x8c, byte])?;
        } else if let Ok(word) = u32::try_from(length) {
            self.op(b'X', &word.to_le_bytes())?;
        } else {
            self.op(0x8d, &(length as u64).to_le_bytes())?;
        }
        self.out.write_all(text.as_bytes())
    }

    /// A `tuple` whose items are written by `item`.
    pub fn tuple<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut item: impl FnMut(&mut Self, T) -> io::Result<()>,
    ) -> io::Result<()> {
        self.out.write_all(b"(")?;
        for value in items {
            item(self, value)?;
        }
        self.out.write_all(b"t")
    }

    /// A `list` whose items are written by `item`.
    pub fn list<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        item: impl FnMut(&mut Self, T) -> io::Result<()>,
    ) -> io::Result<()> {
        self.batches([b']', b'e'], items, item)
    }

    /// A `set` whose items are written by `item`.
    pub fn set<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        item: impl FnMut(&mut Self, T) -> io::Result<()>,
    ) -> io::Result<()> {
        self.batches([0x8f, 0x90], items, item)
    }

    /// A `dict`; `pair` writes two values, the key and then what it leads to.
    pub fn dict<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        pair: impl FnMut(&mut Self, T) -> io::Result<()>,
    ) -> io::Result<()> {
        self.batches([b'}', b'u'], items, pair)
    }

    /// An empty container, then marks, items and the instruction that adds them.
    fn batches<T>(
        &mut self,
        [empty, add]: [u8; 2],
        items: impl IntoIterator<Item = T>,
        mut item: impl FnMut(&mut Self, T) -> io::Result<()>,
    ) -> io::Result<()> {
        self.out.write_all(&[empty])?;
        let mut items = items.into_iter().peekable();
        while items.peek().is_some() {
            self.out.write_all(b"(")?;
            for value in items.by_ref().take(BATCH) {
                item(self, value)?;
            }
            self.out.write_all(&[add])?;
        }
        Ok(())
    }

    fn op(&mut self, code: u8, argument: &[u8]) -> io::Result<()> {
        self.out.write_all(&[code])?;
        self.out.write_all(argument)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    /// What Python makes of a pickle, as `repr` writes it; `None` with a line where there is no Python.
    fn python(pickle: &[u8]) -> Option<String> {
        let script = "import pickle, sys; print(pickle.load(sys.stdin.buffer))";
        let child =
            Command::new("python3").args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let Ok(mut child) = child else {
            let _ = writeln!(std::io::stderr(), "skipped: no python3 to read a pickle with");
            return None;
        };
        child.stdin.take().unwrap().write_all(pickle).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        Some(String::from_utf8(output.stdout).unwrap().trim().to_string())
    }

    #[test]
    fn python_reads_every_kind_of_value_and_batches() {
        let mut writer = PickleWriter::new(Vec::new()).unwrap();
        let ints = [0, 255, 256, 65_535, 65_536, -1, -2, i64::from(i32::MAX) + 1, i64::MIN, i64::MAX];
        let long = "é".repeat(200);
        writer
            .dict(0..4, |w, key| {
                w.int(key)?;
                match key {
                    0 => w.list(ints, |w, n| w.int(n)),
                    1 => w.tuple(["", "a\n'", &long], |w, s| w.str(s)),
                    2 => w.set([7], |w, n| w.tuple([n, n], |w, n| w.int(n))),
                    _ => w.tuple(0..0, |w, n| w.int(n)),
                }
            })
            .unwrap();
        if let Some(text) = python(&writer.finish().unwrap()) {
            let list = format!("{ints:?}");
            assert_eq!(text, format!("{{0: {list}, 1: ('', \"a\\n'\", '{long}'), 2: {{(7, 7)}}, 3: ()}}"));
        }
        let mut writer = PickleWriter::new(Vec::new()).unwrap();
        writer.list(0..2 * BATCH as i64 + 1, |w, n| w.int(n)).unwrap();
        if let Some(text) = python(&writer.finish().unwrap()) {
            assert_eq!(text, format!("{:?}", (0..2 * BATCH as i64 + 1).collect::<Vec<_>>()));
        }
    }
}
