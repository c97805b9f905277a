//! Maps between ids and names. Ids are 0, 1, 2 and so on without a gap, in any order; where the order is ascending, names
//! are not held in memory.

use super::lines::{Block, lines};
use crate::error::{Error, Result};
use crate::storage::pickle;
use rustc_hash::FxHashMap;
use std::io::Read;
use std::path::Path;

/// How a map between ids and names is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapFormat {
    /// The count, then `name<TAB>id`.
    NameId,
    /// `id<TAB>name`.
    IdName,
    /// A pickled dict from ids to names.
    Pickle,
    /// OGB's CSV with a header: an id (`idx`, `node idx`, `reltype`), a name, maybe a `title`.
    Csv,
}

/// Which column of a map has the ids: those that are 0, 1, 2 and so on, in any order.
#[derive(Debug)]
pub struct MapColumns {
    /// Ids seen in the first and in the last column; `None` once that column has no more ids.
    seen: [Option<Seen>; 2],
    lines: u64,
    alike: bool,
}

/// Ids without a repetition.
#[derive(Debug, Default)]
struct Seen {
    bits: Vec<u64>,
    end: u64,
}

impl Seen {
    /// False where the id was there before, or can be none.
    fn insert(&mut self, id: u32) -> bool {
        let (word, bit) = (id as usize / 64, 1 << (id % 64));
        if word >= self.bits.len() {
            self.bits.resize(word + 1, 0);
        }
        let new = self.bits[word] & bit == 0;
        self.bits[word] |= bit;
        self.end = self.end.max(u64::from(id) + 1);
        new
    }
}

impl Default for MapColumns {
    fn default() -> Self {
        MapColumns { seen: [Some(Seen::default()), Some(Seen::default())], lines: 0, alike: true }
    }
}

impl MapColumns {
    /// Looks at some lines of a map, the count of names in the first line aside.
    pub fn see(&mut self, block: Block) {
        for (number, line) in lines(block) {
            let text = String::from_utf8_lossy(line);
            let Some((first, rest)) = text.split_once('\t') else {
                if number == 1 {
                    continue;
                }
                self.seen = [None, None];
                return;
            };
            let fields = [first.trim(), rest.rsplit('\t').next().unwrap_or(rest).trim()];
            self.lines += 1;
            self.alike &= fields[0] == fields[1];
            for (seen, field) in self.seen.iter_mut().zip(fields) {
                // A map has an id for each line, so that none is far above the number of lines; bounds memory.
                let id = field.parse().ok().filter(|&id: &u32| u64::from(id) < 64 * self.lines + (1 << 20));
                if !id.zip(seen.as_mut()).is_some_and(|(id, seen)| seen.insert(id)) {
                    *seen = None;
                }
            }
        }
    }

    /// The format, where it is not ambiguous.
    pub fn format(&self) -> Option<MapFormat> {
        let whole = |seen: &Option<Seen>| seen.as_ref().is_some_and(|seen| seen.end == self.lines);
        match [whole(&self.seen[0]), whole(&self.seen[1])] {
            [true, true] if !self.alike => None,
            [true, _] => Some(MapFormat::IdName),
            [false, true] => Some(MapFormat::NameId),
            // Neither: what comes next says what is wrong with it.
            [false, false] if self.seen[0].is_some() && self.seen[1].is_none() => Some(MapFormat::IdName),
            [false, false] => Some(MapFormat::NameId),
        }
    }
}

/// Puts the entries of a map in the order of their ids.
pub struct InOrder<F> {
    next: u32,
    early: FxHashMap<u32, String>,
    take: F,
}

impl<F: FnMut(&str) -> Result<()>> InOrder<F> {
    /// `take` gets the names of ids 0, 1, 2 and so on.
    pub fn new(take: F) -> Self {
        InOrder { next: 0, early: FxHashMap::default(), take }
    }

    /// Adds an entry; false where the id was there before.
    fn add(&mut self, id: u32, name: &str) -> Result<bool> {
        if id != self.next {
            return Ok(id > self.next && self.early.insert(id, name.to_owned()).is_none());
        }
        (self.take)(name)?;
        self.next += 1;
        while let Some(name) = self.early.remove(&self.next) {
            (self.take)(&name)?;
            self.next += 1;
        }
        Ok(true)
    }

    /// The number of ids; fails where one is missing.
    pub fn finish(self, path: &Path) -> Result<u32> {
        match self.early.keys().max() {
            None => Ok(self.next),
            Some(largest) => Err(Error::file(
                path,
                format!("has id {largest}, but not {}: ids are 0, 1, 2 and so on without a gap", self.next),
            )),
        }
    }

    /// Reads a block of a map in text. Bad lines are errors: without a name, no later id could be trusted.
    ///
    /// `stated` becomes the count of the first line, where the format has one.
    pub fn lines(
        &mut self,
        block: Block,
        format: MapFormat,
        path: &Path,
        stated: &mut Option<u32>,
    ) -> Result<()> {
        for (number, line) in lines(block) {
            let text = std::str::from_utf8(line).map_err(|_| Error::line(path, number, "expected UTF-8"))?;
            let count = text.trim().parse().ok().filter(|_| number == 1);
            if let Some(count) = count.filter(|_| !text.contains('\t')) {
                *stated = Some(count);
                continue;
            }
            let (fields, expected) = match format {
                MapFormat::NameId => {
                    (text.rsplit_once('\t').map(|(name, id)| (id, name)), "a name, a tab and an id")
                }
                _ => (text.split_once('\t'), "an id, a tab and a name"),
            };
            if fields.is_some_and(|(_, name)| name.contains('\t')) {
                let columns = text.matches('\t').count() + 1;
                let message =
                    format!("expected {expected}, found {columns} columns: keep two (`cut -f 1,2 FILE`)");
                return Err(Error::line(path, number, message));
            }
            let entry = fields.and_then(|(id, name)| Some((id.trim().parse::<u32>().ok()?, name)));
            let Some((id, name)) = entry.filter(|(_, name)| !name.is_empty()) else {
                return Err(Error::line(path, number, format!("expected {expected}")));
            };
            if !self.add(id, name)? {
                return Err(Error::line(path, number, format!("id {id} has a name already")));
            }
        }
        Ok(())
    }

    /// Reads CSV.
    pub fn csv(&mut self, path: &Path, text: impl Read) -> Result<()> {
        csv_map(path, text, |line, id, name, _| match self.add(id, name)? {
            true => Ok(()),
            false => Err(Error::line(path, line, format!("id {id} has a name already"))),
        })
    }

    /// Reads a pickled dict.
    pub fn pickle(&mut self, path: &Path, bytes: &[u8]) -> Result<()> {
        let wrong = |message: String| Error::file(path, message);
        let value = pickle::parse(bytes).map_err(|e| wrong(format!("is no pickle of plain data: {e}")))?;
        let pairs = value.pairs().ok_or_else(|| wrong("expected a dict from ids to names".into()))?;
        for (id, name) in pairs {
            let id = id.int().and_then(|id| u32::try_from(id).ok());
            let (Some(id), Some(name)) = (id, name.str().filter(|name| !name.is_empty())) else {
                return Err(wrong("expected a dict from ids to names, found another key or value".into()));
            };
            if !self.add(id, name)? {
                return Err(wrong(format!("id {id} has a name already")));
            }
        }
        Ok(())
    }
}

/// Calls `take(line, id, name, title)` for each record of OGB's maps; the title is empty where there is none.
pub fn csv_map(
    path: &Path,
    text: impl Read,
    mut take: impl FnMut(u64, u32, &str, &str) -> Result<()>,
) -> Result<()> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text);
    let wrong = |e: csv::Error| Error::file(path, format!("is no CSV of ids and names: {e}"));
    let header = reader.headers().map_err(wrong)?.clone();
    let place = |names: &[&str]| header.iter().position(|field| names.contains(&field.trim()));
    let id = place(&["idx", "node idx", "reltype", "rel idx"]).unwrap_or(0);
    let name = place(&["entity", "entity id", "relation", "rel id"]).unwrap_or(1);
    let title = place(&["title"]);
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(wrong)? {
        let line = record.position().map_or(0, |position| position.line());
        let number = record.get(id).and_then(|field| field.trim().parse().ok());
        let (Some(id), Some(name)) = (number, record.get(name).filter(|name| !name.is_empty())) else {
            return Err(Error::line(path, line, "expected an id and a name"));
        };
        take(line, id, name, title.and_then(|title| record.get(title)).unwrap_or(""))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str, format: MapFormat) -> Result<Vec<String>> {
        let path = Path::new("map");
        let mut found = Vec::new();
        let mut in_order = InOrder::new(|name: &str| {
            found.push(name.to_owned());
            Ok(())
        });
        let mut stated = None;
        in_order.lines(text.as_bytes().into(), format, path, &mut stated)?;
        let count = in_order.finish(path)?;
        assert_eq!(count as usize, found.len());
        assert!(stated.is_none_or(|stated| stated == count));
        Ok(found)
    }

    #[test]
    fn maps_are_read_in_any_order_and_must_be_whole() {
        assert_eq!(names("3\nb\t1\na b\t0\r\nc\t2\n", MapFormat::NameId).unwrap(), ["a b", "b", "c"]);
        assert_eq!(names("0\ta b\n1\tc", MapFormat::IdName).unwrap(), ["a b", "c"]);
        let cases = [
            ("0\ta\n2\tc\n", "map: has id 2, but not 1"),
            ("0\ta\n0\tb\n", "map:2: id 0 has a name already"),
            ("1\ta\n1\tb\n", "map:2: id 1 has a name already"),
            ("0\ta\nb\n", "map:2: expected an id, a tab and a name"),
            ("0\t\n", "map:1: expected an id, a tab and a name"),
            ("-1\ta\n", "map:1: expected an id"),
            ("0\ta\tb\n1\tc", "map:1: expected an id, a tab and a name, found 3 columns: keep two"),
        ];
        for (text, expected) in cases {
            let error = names(text, MapFormat::IdName).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn the_column_of_ids_is_the_one_without_gaps() {
        let format = |text: &str| {
            let mut columns = MapColumns::default();
            columns.see(text.as_bytes().into());
            columns.format()
        };
        assert_eq!(format("0\ta\n1\tb\n"), Some(MapFormat::IdName));
        assert_eq!(format("2\na\t1\nb\t0\n"), Some(MapFormat::NameId));
        assert_eq!(format("0\t0\n10\t1\n1\t2\n"), Some(MapFormat::NameId), "names that are numbers");
        assert_eq!(format("0\t7\n1\t0\n"), Some(MapFormat::IdName));
        assert_eq!(format("0\t1\n1\t0\n"), None);
        assert_eq!(format("0\t0\n1\t1\n"), Some(MapFormat::IdName), "either reading is the same");
        assert_eq!(format("0\ta\n2\tb\n"), Some(MapFormat::IdName), "for the error to say that 1 is missing");
    }
}
