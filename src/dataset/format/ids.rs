//! Datasets with ids of their own: triples of numbers, and the maps between ids and names.
//!
//! | folder | maps | triples |
//! | --- | --- | --- |
//! | DGL-KE's Freebase | `entity2id.txt`, `relation2id.txt`: the count, then `name<TAB>id` | numbers: head, tail, relation |
//! | OpenKE | the same | `train2id.txt` and so on: the count, then the same |
//! | LibKGE | `entity_ids.del`, `relation_ids.del`: `id<TAB>name` | `train.del` and so on: numbers |
//! | DGL-KE's other sets | `entities.dict`, `relations.dict`: `id<TAB>name` | names |
//! | DGL-KE's `udd` sets | any two files: `name<TAB>id` or `id<TAB>name` | numbers or names, in any order |
//! | KGReasoning, BetaE | `id2ent.pkl`, `id2rel.pkl`: a dict from ids to names | numbers, inverses among them |
//! | SMORE, BetaE without maps | `stats.txt`: the numbers of ids, which are the names then | the same |
//!
//! Ids are kept. They are 0, 1, 2 and so on without a gap, in any order; where the order is ascending, names
//! are not held in memory.

use super::delimiter::Delimiter;
use super::lines::{BadLines, Block, lines};
use super::triples::TripleFormat;
use crate::error::{Error, Result};
use crate::storage::pickle;
use rustc_hash::FxHashMap;
use std::io::Read;
use std::path::Path;
use xxhash_rust::xxh3::xxh3_64;

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

/// The numbers of entities and directed relations in SMORE's `stats.txt`, where `text` is one.
pub fn stated_counts(text: &[u8]) -> Option<[u32; 2]> {
    let text = std::str::from_utf8(text).ok()?;
    let entries = || text.lines().filter_map(|line| line.split_once(':'));
    let value = |names: [&str; 2]| {
        let (_, value) = entries().find(|(name, _)| names.contains(&name.trim()))?;
        value.trim().parse().ok()
    };
    Some([value(["numentity", "num_entities"])?, value(["numrelations", "num_relations"])?])
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

/// Calls `take([head, relation, tail])` for each line of `block`: three numbers in the columns of `format`,
/// separated by blanks or tabs where its delimiter is a tab. A number that is no id of `counts` (entities, relations) is bad.
///
/// `stated` becomes the number of triples that the first line tells, as in OpenKE's files.
pub fn triples(
    block: Block,
    format: TripleFormat,
    counts: [u32; 2],
    bad: &mut BadLines,
    stated: &mut Option<u64>,
    mut take: impl FnMut([u32; 3]) -> Result<()>,
) -> Result<()> {
    let [entities, relations] = counts;
    let format = match format.delimiter {
        Delimiter::TAB => TripleFormat { delimiter: Delimiter::Blanks, ..format },
        _ => format,
    };
    let limits = [(entities, "entities"), (relations, "relations"), (entities, "entities")];
    for (number, line) in lines(block) {
        let Some(text) = bad.text(number, line)? else { continue };
        if let Some(count) = text.trim().parse().ok().filter(|_| number == 1) {
            *stated = Some(count);
            continue;
        }
        let fields = format.delimiter.split(text).map(str::trim);
        let Some(fields) = format.triple(number, fields, bad)? else { continue };
        let mut triple = [0; 3];
        let wrong =
            fields.iter().zip(limits).zip(&mut triple).find_map(
                |((field, (limit, what)), place)| match field.parse::<u32>() {
                    Ok(id) if id < limit => {
                        *place = id;
                        None
                    }
                    Ok(id) => Some(format!("id {id} has no name: there are {limit} {what}")),
                    Err(_) => Some(format!("expected an id, found {field:?}")),
                },
            );
        match wrong {
            Some(message) => bad.report(number, &message)?,
            None => take(triple)?,
        }
    }
    Ok(())
}

/// Whether at least three fields of `line` are numbers, as in a triple of ids, be there a weight or not.
pub fn are_ids(line: &str, delimiter: Delimiter) -> bool {
    let delimiter = if delimiter == Delimiter::TAB { Delimiter::Blanks } else { delimiter };
    let number = |field: &str| !field.is_empty() && field.bytes().all(|byte| byte.is_ascii_digit());
    delimiter.split(line).filter(|field| number(field.trim())).count() >= 3
}

/// Finds out whether triples hold each fact twice, as `(h, 2k, t)` and `(t, 2k + 1, h)`, in any order.
///
/// Compares sums of hashes, so that it needs no memory.
#[derive(Debug, Default)]
pub struct Mirror {
    sums: [u64; 2],
    counts: [u64; 2],
}

impl Mirror {
    /// Looks at a triple.
    pub fn see(&mut self, triple: [u32; 3]) {
        let side = (triple[1] % 2) as usize;
        self.sums[side] = self.sums[side].wrapping_add(hash_of_fact(triple));
        self.counts[side] += 1;
    }

    /// Whether each fact was seen in both directions.
    pub fn is_whole(&self) -> bool {
        self.counts[0] > 0 && self.counts[0] == self.counts[1] && self.sums[0] == self.sums[1]
    }

    /// Triples that were seen.
    pub fn triples(&self) -> u64 {
        self.counts[0] + self.counts[1]
    }
}

/// The share of facts that must be there in both directions for relations 2k and 2k + 1 to be each other's inverses.
pub const DOUBLED: f64 = 0.95;

/// Facts of a sample that an inexact mirror is judged by.
const SAMPLE: u64 = 1 << 23;

/// Counts, by the facts themselves, how many triples hold in both directions. Memory: some 24 bytes a fact, of at most 8 million.
#[derive(Debug)]
pub struct Pairs {
    /// Every how many-eth fact is looked at, by its hash.
    every: u64,
    /// Directions in which a fact was seen, as bits, and its relation over 2.
    facts: FxHashMap<u64, (u8, u32)>,
}

impl Pairs {
    /// For so many triples.
    pub fn new(triples: u64) -> Self {
        Pairs { every: triples.div_ceil(SAMPLE).max(1), facts: FxHashMap::default() }
    }

    /// Looks at a triple. Returns whether its fact is new, or this direction of it was seen before (every fact of the
    /// sample).
    pub fn see(&mut self, triple: [u32; 3]) -> bool {
        let hash = hash_of_fact(triple);
        if !hash.is_multiple_of(self.every) {
            return false;
        }
        let direction = 1 << (triple[1] % 2);
        let (seen, _) = self.facts.entry(hash).or_insert((0, triple[1] / 2));
        let other_only = *seen == 3 - direction;
        *seen |= direction;
        !other_only
    }

    /// Facts that were seen in both directions, and all.
    pub fn counts(&self) -> (u64, u64) {
        let both = self.facts.values().filter(|(seen, _)| *seen == 3).count();
        (both as u64, self.facts.len() as u64)
    }

    /// The same, of each pair of relations: its number, then the counts.
    pub fn by_relation(&self) -> Vec<(u32, u64, u64)> {
        let mut counts: FxHashMap<u32, (u64, u64)> = FxHashMap::default();
        for (seen, pair) in self.facts.values() {
            let (both, all) = counts.entry(*pair).or_default();
            *both += u64::from(*seen == 3);
            *all += 1;
        }
        let mut counts: Vec<_> = counts.into_iter().map(|(pair, (both, all))| (pair, both, all)).collect();
        counts.sort_unstable();
        counts
    }
}

/// The same of a fact in either direction.
fn hash_of_fact(triple: [u32; 3]) -> u64 {
    let [head, relation, tail] = undirected(triple).map(u32::to_le_bytes);
    xxh3_64(&[head, relation, tail].concat())
}

/// The fact that a triple of doubled relations states: `(h, k, t)` for `(h, 2k, t)` and `(t, 2k + 1, h)`.
pub fn undirected([head, relation, tail]: [u32; 3]) -> [u32; 3] {
    if relation % 2 == 0 { [head, relation / 2, tail] } else { [tail, relation / 2, head] }
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
        assert_eq!(names("0\ta\tb\n1\tc", MapFormat::IdName).unwrap(), ["a\tb", "c"]);
        let cases = [
            ("0\ta\n2\tc\n", "map: has id 2, but not 1"),
            ("0\ta\n0\tb\n", "map:2: id 0 has a name already"),
            ("1\ta\n1\tb\n", "map:2: id 1 has a name already"),
            ("0\ta\nb\n", "map:2: expected an id, a tab and a name"),
            ("0\t\n", "map:1: expected an id, a tab and a name"),
            ("-1\ta\n", "map:1: expected an id"),
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

    #[test]
    fn the_count_of_a_first_line_is_no_triple() {
        let mut bad = BadLines::new(Path::new("train2id.txt"), false);
        let (mut stated, mut found) = (None, 0);
        triples(
            b"2\n0 1 2\n1 2 0\n"[..].into(),
            TripleFormat::default(),
            [3, 3],
            &mut bad,
            &mut stated,
            |_| {
                found += 1;
                Ok(())
            },
        )
        .unwrap();
        assert_eq!((stated, found), (Some(2), 2));
    }

    #[test]
    fn numbers_are_checked_against_the_maps() {
        let read = |text: &str| {
            let mut bad = BadLines::new(Path::new("train.txt"), false);
            let mut found = Vec::new();
            let format = TripleFormat::default();
            triples(text.as_bytes().into(), format, [3, 2], &mut bad, &mut None, |triple| {
                found.push(triple);
                Ok(())
            })
            .map(|()| found)
        };
        assert_eq!(read("0\t1\t2\n2 0  0\r\n").unwrap(), [[0, 1, 2], [2, 0, 0]]);
        for (text, expected) in [
            ("0 1 3\n", "train.txt:1: id 3 has no name: there are 3 entities"),
            ("0 1 2\n0 2 1\n", "train.txt:2: id 2 has no name: there are 2 relations"),
            ("0 x 1\n", "train.txt:1: expected an id, found \"x\""),
            ("0 1\n", "train.txt:1: expected 3 blank-separated columns, found 2"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn doubled_triples_are_told_from_others() {
        let whole = |triples: &[[u32; 3]]| {
            let mut mirror = Mirror::default();
            triples.iter().for_each(|&triple| mirror.see(triple));
            mirror.is_whole()
        };
        assert!(whole(&[[1, 0, 2], [3, 3, 4], [2, 1, 1], [4, 2, 3]]));
        assert!(!whole(&[[1, 0, 2], [3, 2, 4], [2, 1, 1]]));
        assert!(!whole(&[[1, 0, 2], [1, 1, 2]]));
        assert!(!whole(&[[1, 0, 2]]) && !whole(&[]));
    }

    #[test]
    fn facts_in_one_direction_alone_are_counted() {
        let mut pairs = Pairs::new(7);
        let new = [[1, 0, 2], [2, 1, 1], [3, 3, 4], [3, 3, 4], [4, 2, 3], [5, 4, 5]]
            .map(|triple| pairs.see(triple));
        assert_eq!(new, [true, false, true, true, false, true]);
        assert_eq!(pairs.counts(), (2, 3));
        assert_eq!(pairs.by_relation(), [(0, 1, 1), (1, 1, 1), (2, 0, 1)]);
    }
}
