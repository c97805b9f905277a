//! The sections of a graph file: which there are, where they lie, how they are read.
//!
//! | kind | tag | elements |
//! | --- | --- | --- |
//! | metadata | 0 | JSON ([`Metadata`](super::Metadata)) |
//! | sizes, sources, starts, rows | split | the arrays of its [`Csr`] |
//! | hard negatives | split | [`Triple`], forward relations, in the order of the source |
//! | text owners, places, order, texts | table | the arrays of a [`StringTable`] |
//!
//! A split's tag is its number (train 0, valid 1, test 2). A table's tag is 0 for entity names, 1 for
//! relation names, and `2 l + 2` and `2 l + 3` for the entity and relation labels of language `l`.
//! Owners are left out where a table is dense. Kinds that are not known are passed over.

use super::csr::Sizes;
use super::string_table::StringTable;
use super::{Csr, Split};
use crate::ids::{EntityId, RelationId, Triple};
use crate::storage::container::{Directory, Section};
use std::ops::Range;

/// First bytes of a graph file.
pub const MAGIC: [u8; 8] = *b"SMOREKG\0";
/// The format that this version of the program reads and writes.
pub const VERSION: u32 = 2;

/// What a section holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[allow(missing_docs, reason = "the table of the module explains them")]
pub enum Kind {
    Metadata = 1,
    Sizes = 2,
    Sources = 3,
    Starts = 4,
    Rows = 5,
    HardNegatives = 6,
    TextOwners = 7,
    TextPlaces = 8,
    TextOrder = 9,
    Texts = 10,
}

/// Entities or relations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Entities.
    Entity,
    /// Relations of the dataset (undirected).
    Relation,
}

impl Subject {
    /// Tag of the table of names.
    pub fn names(self) -> u32 {
        self as u32
    }

    /// Tag of the table of labels of language number `language`.
    pub fn labels(self, language: usize) -> u32 {
        2 * language as u32 + 2 + self as u32
    }
}

/// Where the arrays of a split lie.
#[derive(Clone, Debug)]
pub struct SplitRanges {
    sizes: Range<usize>,
    sources: Range<usize>,
    starts: Range<usize>,
    rows: Range<usize>,
    hard_negatives: Range<usize>,
}

/// Where the arrays of a text table lie.
#[derive(Clone, Debug)]
pub struct StringRanges {
    owners: Option<Range<usize>>,
    places: Range<usize>,
    order: Range<usize>,
    texts: Range<usize>,
}

fn cast<'a, T: bytemuck::Pod>(bytes: &'a [u8], range: &Range<usize>) -> Result<&'a [T], String> {
    bytemuck::try_cast_slice(&bytes[range.clone()])
        .map_err(|e| format!("a section does not hold whole {}: {e}", std::any::type_name::<T>()))
}

fn need(directory: &Directory, kind: Kind, tag: u32) -> Result<Range<usize>, String> {
    directory.find(kind as u32, tag).ok_or_else(|| format!("section {kind:?} {tag} is missing"))
}

impl SplitRanges {
    /// Finds the sections of `split`.
    pub fn find(directory: &Directory, split: Split) -> Result<Self, String> {
        let tag = split as u32;
        Ok(SplitRanges {
            sizes: need(directory, Kind::Sizes, tag)?,
            sources: need(directory, Kind::Sources, tag)?,
            starts: need(directory, Kind::Starts, tag)?,
            rows: need(directory, Kind::Rows, tag)?,
            hard_negatives: directory.find(Kind::HardNegatives as u32, tag).unwrap_or(0..0),
        })
    }

    /// The index; O(1).
    pub fn csr<'a>(&self, bytes: &'a [u8], num_entities: usize) -> Result<Csr<'a>, String> {
        let &[sizes] = cast::<Sizes>(bytes, &self.sizes)? else {
            return Err("a split does not state its sizes".into());
        };
        let starts = cast(bytes, &self.starts)?;
        if starts.is_empty() {
            return Err("a split has no row offsets".into());
        }
        Csr::from_parts(num_entities, sizes, cast(bytes, &self.sources)?, starts, cast(bytes, &self.rows)?)
    }

    /// The hard negatives; O(1).
    pub fn hard_negatives<'a>(&self, bytes: &'a [u8]) -> Result<&'a [Triple], String> {
        cast(bytes, &self.hard_negatives)
    }

    /// Checks every entry. O(edges).
    pub fn check(&self, bytes: &[u8], num_entities: usize, num_relations: usize) -> Result<(), String> {
        self.csr(bytes, num_entities)?.check(num_relations)?;
        let entity = |e: EntityId| e.index() < num_entities;
        let relation = |r: RelationId| r.index() < num_relations && !r.is_inverse();
        let good = |t: &Triple| entity(t.head) && relation(t.relation) && entity(t.tail);
        match self.hard_negatives(bytes)?.iter().position(|t| !good(t)) {
            Some(index) => Err(format!("hard negative {index} has an id out of range")),
            None => Ok(()),
        }
    }
}

impl StringRanges {
    /// Finds the sections of a table; `None` where it is absent.
    pub fn find(directory: &Directory, tag: u32) -> Result<Option<Self>, String> {
        let Some(places) = directory.find(Kind::TextPlaces as u32, tag) else { return Ok(None) };
        Ok(Some(StringRanges {
            owners: directory.find(Kind::TextOwners as u32, tag),
            places,
            order: need(directory, Kind::TextOrder, tag)?,
            texts: need(directory, Kind::Texts, tag)?,
        }))
    }

    /// The table; O(1).
    pub fn table<'a>(&self, bytes: &'a [u8]) -> Result<StringTable<'a>, String> {
        let owners = self.owners.as_ref().map(|range| cast(bytes, range)).transpose()?;
        let (places, order) = (cast(bytes, &self.places)?, cast(bytes, &self.order)?);
        StringTable::from_parts(owners, places, order, &bytes[self.texts.clone()])
    }
}

/// What a section is called in messages and tables, for example `train rows`.
pub fn describe(section: &Section, languages: &[String]) -> String {
    let split = || Split::ALL.get(section.tag as usize).map_or("unknown split's", |s| s.name());
    let table = || {
        let subject = if section.tag.is_multiple_of(2) { "entity" } else { "relation" };
        match (section.tag as usize / 2).checked_sub(1) {
            None => format!("{subject} names"),
            Some(l) => format!("{subject} labels {}", languages.get(l).map_or("?", String::as_str)),
        }
    };
    match section.kind {
        k if k == Kind::Metadata as u32 => "metadata".into(),
        k if k == Kind::Sizes as u32 => format!("{} sizes", split()),
        k if k == Kind::Sources as u32 => format!("{} sources", split()),
        k if k == Kind::Starts as u32 => format!("{} starts", split()),
        k if k == Kind::Rows as u32 => format!("{} rows", split()),
        k if k == Kind::HardNegatives as u32 => format!("{} hard negatives", split()),
        k if k == Kind::TextOwners as u32 => format!("{} owners", table()),
        k if k == Kind::TextPlaces as u32 => format!("{} places", table()),
        k if k == Kind::TextOrder as u32 => format!("{} order", table()),
        k if k == Kind::Texts as u32 => format!("{} text", table()),
        k => format!("unknown section {k}"),
    }
}
