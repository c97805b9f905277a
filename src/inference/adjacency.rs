//! The truth of every link in a mapped file: rows that need no model any more.
//!
//! A container of checksummed sections ([`crate::storage::container`]):
//!
//! | kind | tag | content |
//! | --- | --- | --- |
//! | 1 | 0 | [`Origin`] as JSON |
//! | 2 | relation x blocks + block | the rows of 1,024 heads: where each begins (32 bits, one more than there are), tails (32 bits), codes (16 bits) |

use super::rows::{Pair, Rows};
use super::truth::{Code, OwnedRow, Row};
use crate::error::{Error, Result};
use crate::ids::{EntityId, RelationId};
use crate::storage::container::{Directory, Writer};
use crate::storage::mmap::Mapped;
use crate::storage::verified::Verified;
use crate::storage::{atomic, space};
use serde::{Deserialize, Serialize};
use std::io::{ErrorKind, Seek, SeekFrom};
use std::path::{Path, PathBuf};

const MAGIC: [u8; 8] = *b"SMOREADJ";
const VERSION: u32 = 1;
const ORIGIN: u32 = 1;
const ROWS: u32 = 2;

/// Heads whose rows are one section.
const HEADS: usize = 1024;

/// Rows that are made to estimate how long all are.
const SAMPLE: usize = 512;

/// What rows are made of: others are other rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// Checksum of the model's file.
    pub model: String,
    /// Fingerprint of the graph.
    pub graph: String,
    /// Links that count as observed.
    pub evidence: super::Evidence,
    /// Truth below which a link is cut.
    pub row_threshold: f32,
    /// What scores are divided by.
    pub temperature: f32,
}

/// The name of the file in a run folder.
pub fn file_name(evidence: super::Evidence) -> String {
    format!("adjacency-{}.smore", evidence.name())
}

/// What a file is going to take.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// Rows: one for each entity and directed relation.
    pub rows: u64,
    /// Links that are not false, by rows drawn at random.
    pub links: u64,
    /// Bytes of the file, by the same rows.
    pub bytes: u64,
    /// Standard error of `bytes`.
    pub plus_or_minus: u64,
}

impl Plan {
    /// By some rows, always the same ones.
    ///
    /// # Errors
    ///
    /// As [`Rows::get`].
    pub fn new(rows: &Rows, num_relations: usize) -> Result<Self> {
        let entities = rows.links.num_entities();
        let all = (entities * num_relations) as u64;
        let mut rng = crate::rng::stream(0, "rows of an adjacency", 0);
        let mut pairs: Vec<Pair> = (0..SAMPLE.min(all as usize))
            .map(|_| crate::rng::below(&mut rng, all))
            .map(|n| (RelationId((n / entities as u64) as u32), EntityId((n % entities as u64) as u32)))
            .collect();
        pairs.sort_unstable();
        pairs.dedup();
        let lengths: Vec<f64> = rows.make(&pairs)?.iter().map(|row| row.tails.len() as f64).collect();
        let count = lengths.len() as f64;
        let mean = lengths.iter().sum::<f64>() / count;
        let variance = lengths.iter().map(|l| (l - mean) * (l - mean)).sum::<f64>() / (count - 1.0).max(1.0);
        let (links, each) = (mean * all as f64, (size_of::<EntityId>() + size_of::<Code>()) as f64);
        Ok(Plan {
            rows: all,
            links: links as u64,
            bytes: (links * each) as u64 + 4 * all,
            plus_or_minus: ((variance / count).sqrt() * all as f64 * each) as u64,
        })
    }
}

/// Writes the rows of all pairs; returns the bytes of the file. `progress` gets the number of rows done.
///
/// # Errors
///
/// As [`Rows::get`]; where the disk is full, before anything is made if `planned` bytes are not there.
pub fn write(
    path: &Path,
    rows: &Rows,
    num_relations: usize,
    origin: &Origin,
    planned: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<u64> {
    let entities = rows.links.num_entities();
    let mut links = 0;
    atomic::write(path, |file| {
        space::reserve(file.get_ref(), path, planned)?;
        file.get_ref().set_len(0).map_err(Error::io(path))?;
        let mut writer = Writer::new(file, path)?;
        writer.section(ORIGIN, 0, &serde_json::to_vec(origin).expect("plain data"))?;
        let (mut tag, mut done) = (0, 0);
        for relation in (0..num_relations as u32).map(RelationId) {
            for first in (0..entities).step_by(HEADS) {
                let heads = first..entities.min(first + HEADS);
                let pairs: Vec<Pair> = heads.map(|head| (relation, EntityId(head as u32))).collect();
                let made = rows.make(&pairs)?;
                let mut begins = vec![0u32];
                begins.extend(made.iter().scan(0u32, |end, row| {
                    *end += row.tails.len() as u32;
                    Some(*end)
                }));
                links += u64::from(begins[made.len()]);
                writer.stream(ROWS, tag, |section| {
                    section.append(bytemuck::cast_slice(&begins))?;
                    made.iter().try_for_each(|row| section.append(bytemuck::cast_slice(&row.tails)))?;
                    made.iter().try_for_each(|row| section.append(bytemuck::cast_slice(&row.codes)))
                })?;
                tag += 1;
                done += made.len() as u64;
                progress(done);
            }
        }
        writer.finish(MAGIC, VERSION, [entities as u64, num_relations as u64, links], "adjacency")?;
        file.seek(SeekFrom::End(0)).map_err(Error::io(path))
    })
}

/// An opened file.
#[derive(Debug)]
pub struct Adjacency {
    path: PathBuf,
    map: Mapped,
    directory: Directory,
    origin: Origin,
    entities: usize,
}

const REMEDY: &str = "make it again with smore infer";

impl Adjacency {
    /// Opens a file, and reads and checks all of it unless `verified` remembers it; `None` where there is none.
    ///
    /// # Errors
    ///
    /// Where it is damaged.
    pub fn open(path: &Path, verified: Option<&Verified>) -> Result<Option<Self>> {
        let map = match Mapped::open(path) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => return Ok(None),
            map => map?,
        };
        let bad = |message: String| Error::file(path, message);
        let directory = Directory::parse(map.bytes(), MAGIC, VERSION, "adjacency", REMEDY).map_err(bad)?;
        let damaged = |what: &str| bad(format!("is damaged: {what}; {REMEDY}"));
        let origin =
            directory.find(ORIGIN, 0).and_then(|range| serde_json::from_slice(&map.bytes()[range]).ok());
        let origin = origin.ok_or_else(|| damaged("it does not say what it was made of"))?;
        let [entities, relations, _] = directory.counts.map(|count| count as usize);
        let blocks = entities.div_ceil(HEADS) * relations;
        let rows = &directory.sections[1..];
        let in_order = |(tag, section): (usize, &crate::storage::container::Section)| {
            (section.kind, section.tag as usize) == (ROWS, tag)
        };
        if rows.len() != blocks || !rows.iter().enumerate().all(in_order) {
            return Err(damaged("its sections are not those of its entities and relations"));
        }
        let known = verified.is_some_and(|verified| verified.contains(path, map.metadata()));
        if !known {
            if let Some(section) = directory.damaged(map.bytes()).first() {
                return Err(damaged(&format!("the checksum of section {} does not match", section.tag)));
            }
            if let Some(place) = directory.damaged_padding(map.bytes()) {
                return Err(damaged(&format!("byte {place} between its sections is not zero")));
            }
            verified.iter().for_each(|verified| verified.remember(path, map.metadata()));
        }
        let adjacency = Adjacency { path: path.to_path_buf(), map, directory, origin, entities };
        Ok(Some(adjacency))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it was made of.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Links that are not false.
    pub fn num_links(&self) -> u64 {
        self.directory.counts[2]
    }

    /// The row of a pair; an empty one where a file that is changed while it is mapped leads outside.
    pub fn row(&self, pair: Pair) -> Row<'_> {
        self.find(pair).unwrap_or(Row { tails: &[], codes: &[] })
    }

    fn find(&self, (relation, head): Pair) -> Option<Row<'_>> {
        let (block, place) = (head.index() / HEADS, head.index() % HEADS);
        let section = 1 + relation.index() * self.entities.div_ceil(HEADS) + block;
        let bytes = self.map.bytes().get(self.directory.sections.get(section)?.range())?;
        let heads = HEADS.min(self.entities - block * HEADS);
        let (begins, bytes) = bytes.split_at_checked(4 * (heads + 1))?;
        let begins: &[u32] = bytemuck::try_cast_slice(begins).ok()?;
        let (begin, end) = (begins[place] as usize, begins[place + 1] as usize);
        let (tails, codes) = bytes.split_at_checked(4 * *begins.last()? as usize)?;
        let tails: &[EntityId] = bytemuck::try_cast_slice(tails).ok()?;
        let codes: &[Code] = bytemuck::try_cast_slice(codes).ok()?;
        let (tails, codes) = (tails.get(begin..end)?, codes.get(begin..end)?);
        // Ids are used as indexes.
        let fits = tails.last().is_none_or(|last| last.index() < self.entities);
        fits.then_some(Row { tails, codes })
    }
}

/// A row, wherever it comes from.
#[derive(Clone, Debug)]
pub enum AnyRow<'a> {
    /// Made from scores.
    Made(std::sync::Arc<OwnedRow>),
    /// From a file.
    Mapped(Row<'a>),
}

impl AnyRow<'_> {
    /// The arrays.
    pub fn row(&self) -> Row<'_> {
        match self {
            AnyRow::Made(row) => row.row(),
            AnyRow::Mapped(row) => *row,
        }
    }
}
