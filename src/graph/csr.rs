//! Compressed sparse rows: entity -> relation fragments (ascending) -> tails (ascending, unique).
//!
//! A *fragment* is the set of tails of one (entity, relation). Because every fact is stored in both
//! directions (relation `2r` and its inverse `2r + 1`), this one index answers heads as well as tails.
//!
//! A *row* is all that is known of one entity, in one place, as words of 32 bits: its fragments, then its tails.
//!
//! | row | a fragment | used where |
//! | --- | --- | --- |
//! | narrow | one word: `relation << 16`, with `begin` | relations fit 16 bits, and the row has fewer than 2^16 words |
//! | wide | two words: `relation`, `begin` | elsewhere |
//!
//! `begin` is the position of the fragment's first tail among the row's. That of the first fragment is 0 anyway, so
//! the number of fragments stands there instead. An entity without edges has a row of no words.
//!
//! Memory per directed edge: 4 bytes for the tail, 4 per fragment, 8 per entity.

use crate::ids::{EntityId, RelationId, Triple};
use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

/// What the arrays of an index do not tell by their lengths.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Sizes {
    /// Number of directed edges.
    pub edges: u64,
    /// Number of (entity, relation) pairs that have tails.
    pub fragments: u64,
    /// Number of directed relations; above 2^16 all rows are wide.
    pub relations: u64,
}

/// Rows of this many words or more are wide.
const WIDE: usize = 1 << 16;

impl Sizes {
    /// Whether no row is narrow.
    pub(super) fn all_wide(&self) -> bool {
        self.relations > WIDE as u64
    }
}

/// Rows that one thread checks at once.
const BLOCK: usize = 1 << 12;

/// Whether rows for `sources` only are worth a search per look-up: they then take half of the memory.
pub(super) fn is_sparse(num_sources: usize, num_entities: usize) -> bool {
    3 * num_sources < num_entities
}

/// A borrowed index; copying it copies the pointers.
///
/// Two forms: *direct* (`sources` empty, one row per entity) and *sparse* (rows only for the
/// ascending `sources`, for splits that touch few entities).
#[derive(Clone, Copy, Debug)]
pub struct Csr<'a> {
    num_entities: usize,
    sizes: Sizes,
    sources: &'a [EntityId],
    starts: &'a [u64],
    rows: &'a [u32],
}

impl<'a> Csr<'a> {
    /// Assembles an index from its arrays.
    ///
    /// Checks in O(1) that lengths and end offsets fit together; [`Csr::check`] checks every entry.
    /// `starts` has one entry per row plus one that closes the last.
    pub fn from_parts(
        num_entities: usize,
        sizes: Sizes,
        sources: &'a [EntityId],
        starts: &'a [u64],
        rows: &'a [u32],
    ) -> Result<Self, String> {
        let sparse = starts.len() == sources.len() + 1;
        let direct = sources.is_empty() && starts.len() == num_entities + 1;
        if !sparse && !direct {
            return Err(format!(
                "{} row offsets for {} sources and {num_entities} entities",
                starts.len(),
                sources.len()
            ));
        }
        let end = starts[starts.len() - 1];
        if end != rows.len() as u64 {
            return Err(format!("rows end at word {end}, but there are {}", rows.len()));
        }
        Ok(Csr { num_entities, sizes, sources, starts, rows })
    }

    /// An index without edges.
    pub fn empty(num_entities: usize) -> Self {
        Csr { num_entities, sizes: Sizes::default(), sources: &[], starts: &[0], rows: &[] }
    }

    /// Checks every offset, id and order; O(edges), in parallel. For files of unknown origin.
    pub fn check(&self, num_relations: usize) -> Result<(), String> {
        if !self.sources.is_sorted_by(|a, b| a < b) {
            return Err("sources are not ascending".into());
        }
        if self.sources.last().is_some_and(|e| e.index() >= self.num_entities) {
            return Err("a source is not an entity".into());
        }
        if self.sizes.relations > num_relations as u64 {
            return Err(format!(
                "{} relations are stated, but there are {num_relations}",
                self.sizes.relations
            ));
        }
        let num_rows = self.starts.len() - 1;
        let blocks = (0..num_rows.div_ceil(BLOCK)).into_par_iter();
        let checked = blocks.map(|block| {
            let rows = block * BLOCK..num_rows.min((block + 1) * BLOCK);
            rows.map(|index| self.check_row(index, num_relations))
                .try_fold([0, 0], |sum, row| row.map(|row| [sum[0] + row[0], sum[1] + row[1]]))
        });
        // In the order of rows, so that the error is that of the first bad one.
        let blocks: Vec<Result<[u64; 2], String>> = checked.collect();
        let (mut edges, mut fragments) = (0, 0);
        for block in blocks {
            let [more_edges, more_fragments] = block?;
            edges += more_edges;
            fragments += more_fragments;
        }
        if (edges, fragments) != (self.sizes.edges, self.sizes.fragments) {
            return Err(format!(
                "{edges} edges in {fragments} fragments, but {} in {} are stated",
                self.sizes.edges, self.sizes.fragments
            ));
        }
        Ok(())
    }

    /// Checks row number `index`; returns its edges and fragments.
    fn check_row(&self, index: usize, num_relations: usize) -> Result<[u64; 2], String> {
        let (begin, end) = (self.starts[index], self.starts[index + 1]);
        let words = usize::try_from(begin).ok().zip(usize::try_from(end).ok());
        let words = words.and_then(|(begin, end)| self.rows.get(begin..end));
        let Some(words) = words else { return Err(format!("row {index} has descending offsets")) };
        let Some(row) = Row::checked(words, self.sizes.all_wide()) else {
            return Err(format!("row {index} has more fragments than words"));
        };
        for i in 0..row.num_fragments() {
            let (relation, begin) = row.head(i);
            let end = row.end(i);
            let ordered = i == 0 || row.head(i - 1).0 < relation;
            if !ordered || relation.index() >= num_relations || begin >= end || end > row.tails.len() {
                return Err(format!("row {index} has a bad fragment {i}"));
            }
            let tails = &row.tails[begin..end];
            if !tails.is_sorted_by(|a, b| a < b) || tails[tails.len() - 1].index() >= self.num_entities {
                return Err(format!("row {index}, fragment {i}: tails are not ascending entities"));
            }
        }
        Ok([row.tails.len() as u64, row.num_fragments() as u64])
    }

    /// Number of entities, with or without edges.
    #[inline]
    pub fn num_entities(&self) -> usize {
        self.num_entities
    }

    /// Number of directed edges (twice the number of facts).
    #[inline]
    pub fn num_edges(&self) -> usize {
        self.sizes.edges as usize
    }

    /// Number of (entity, relation) pairs that have tails.
    #[inline]
    pub fn num_fragments(&self) -> usize {
        self.sizes.fragments as usize
    }

    /// Bound of the ids of directed relations.
    #[inline]
    pub fn num_relations(&self) -> usize {
        self.sizes.relations as usize
    }

    /// Bytes of the arrays behind this index.
    pub fn size_in_bytes(&self) -> usize {
        size_of_val(self.sources) + size_of_val(self.starts) + size_of_val(self.rows)
    }

    /// Words of the row of `entity`; none where a file that is changed while it is mapped leads outside.
    #[inline]
    fn words(&self, entity: EntityId) -> &'a [u32] {
        let index = if self.sources.is_empty() && self.starts.len() == self.num_entities + 1 {
            entity.index()
        } else {
            match self.sources.binary_search(&entity) {
                Ok(index) => index,
                Err(_) => return &[],
            }
        };
        match self.starts.get(index..).and_then(|starts| starts.first_chunk()) {
            Some(&[begin, end]) => self.rows.get(begin as usize..end as usize).unwrap_or_default(),
            None => &[],
        }
    }

    /// Whether any edge leaves `entity`; reads no row.
    #[inline]
    pub fn has_edges(&self, entity: EntityId) -> bool {
        !self.words(entity).is_empty()
    }

    /// All edges that leave `entity`. O(1) in the direct form, O(log sources) in the sparse one.
    #[inline]
    pub fn row(&self, entity: EntityId) -> Row<'a> {
        Row::new(self.words(entity), self.sizes.all_wide())
    }

    /// Tails of `(head, relation)`, ascending, unique. O(log r), r = relations at `head`.
    #[inline]
    pub fn tails(&self, head: EntityId, relation: RelationId) -> &'a [EntityId] {
        self.row(head).tails_of(relation)
    }

    /// Number of directed edges that leave `entity`.
    #[inline]
    pub fn degree(&self, entity: EntityId) -> usize {
        self.row(entity).tails.len()
    }

    /// Whether the edge exists. Two binary searches.
    pub fn contains(&self, triple: Triple) -> bool {
        self.tails(triple.head, triple.relation).binary_search(&triple.tail).is_ok()
    }

    /// Number of relations that leave `entity`.
    #[inline]
    pub fn num_relations_at(&self, entity: EntityId) -> usize {
        self.row(entity).num_fragments()
    }

    /// Entities that have at least one edge, ascending. O(entities).
    pub fn entities_with_edges(&self) -> impl Iterator<Item = EntityId> + 'a {
        let (sources, starts) = (self.sources, self.starts);
        (0..starts.len() - 1)
            .filter(move |&i| starts[i] < starts[i + 1])
            .map(move |i| sources.get(i).copied().unwrap_or(EntityId(i as u32)))
    }

    /// The entities that have rows, ascending; empty where all have.
    pub fn sources(&self) -> &'a [EntityId] {
        self.sources
    }

    /// All directed edges, by head, relation, tail.
    pub fn triples(&self) -> impl Iterator<Item = Triple> + 'a {
        let csr = *self;
        self.entities_with_edges().flat_map(move |head| {
            csr.row(head).iter().flat_map(move |(relation, tails)| {
                tails.iter().map(move |&tail| Triple { head, relation, tail })
            })
        })
    }

    /// The arrays, in file order: sizes, sources, starts, rows.
    pub fn parts(&self) -> (Sizes, &'a [EntityId], &'a [u64], &'a [u32]) {
        (self.sizes, self.sources, self.starts, self.rows)
    }
}

/// The edges that leave one entity.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The words of the fragments.
    fragments: &'a [u32],
    tails: &'a [EntityId],
    wide: bool,
}

impl<'a> Row<'a> {
    /// A row of these words; one without edges where they do not hold the fragments that they state.
    #[inline]
    fn new(words: &'a [u32], all_wide: bool) -> Self {
        let wide = all_wide || words.len() >= WIDE;
        let num_words = match words.first() {
            None => 0,
            Some(_) if wide => 2 * words.get(1).copied().unwrap_or_default() as usize,
            Some(first) => (first & 0xffff) as usize,
        };
        let (fragments, tails) = words.split_at_checked(num_words).unwrap_or_default();
        Row { fragments, tails: bytemuck::cast_slice(tails), wide }
    }

    /// As [`Row::new`], of words of unknown origin.
    fn checked(words: &'a [u32], all_wide: bool) -> Option<Self> {
        let wide = all_wide || words.len() >= WIDE;
        let stated = match (words, wide) {
            ([], _) => return Some(Row { fragments: &[], tails: &[], wide }),
            ([_, count, ..], true) => 2 * *count as usize,
            ([first, ..], false) => (first & 0xffff) as usize,
            _ => return None,
        };
        (0 < stated && stated < words.len()).then(|| Row::new(words, all_wide))
    }

    /// Relation and begin of fragment `index`.
    #[inline]
    fn head(&self, index: usize) -> (RelationId, usize) {
        let (relation, begin) = match self.wide {
            true => (self.fragments[2 * index], self.fragments[2 * index + 1]),
            false => (self.fragments[index] >> 16, self.fragments[index] & 0xffff),
        };
        (RelationId(relation), if index == 0 { 0 } else { begin as usize })
    }

    /// Where the tails of fragment `index` end.
    #[inline]
    fn end(&self, index: usize) -> usize {
        if index + 1 < self.num_fragments() { self.head(index + 1).1 } else { self.tails.len() }
    }

    /// Number of distinct relations.
    #[inline]
    pub fn num_fragments(&self) -> usize {
        if self.wide { self.fragments.len() / 2 } else { self.fragments.len() }
    }

    /// Relation and tails of fragment `index`; panics where there is no such fragment.
    #[inline]
    pub fn fragment(&self, index: usize) -> (RelationId, &'a [EntityId]) {
        let (relation, begin) = self.head(index);
        (relation, self.tails.get(begin..self.end(index)).unwrap_or_default())
    }

    /// Tails by `relation`, ascending, unique; empty where there are none.
    #[inline]
    pub fn tails_of(&self, relation: RelationId) -> &'a [EntityId] {
        let found = match self.wide {
            true => {
                let pairs: &[[u32; 2]] = bytemuck::cast_slice(self.fragments);
                pairs.binary_search_by_key(&relation.0, |pair| pair[0])
            }
            false => self.fragments.binary_search_by_key(&relation.0, |word| word >> 16),
        };
        match found {
            Ok(index) => self.fragment(index).1,
            Err(_) => &[],
        }
    }

    /// All fragments, by relation.
    pub fn iter(self) -> impl Iterator<Item = (RelationId, &'a [EntityId])> {
        (0..self.num_fragments()).map(move |i| self.fragment(i))
    }

    /// Tails of all fragments, fragment by fragment.
    #[inline]
    pub fn tails(&self) -> &'a [EntityId] {
        self.tails
    }
}

/// The fragments of a row that is being put together.
#[derive(Clone, Debug, Default)]
pub(super) struct Fragments(Vec<[u32; 2]>);

impl Fragments {
    /// Notes that the row's tail number `tail` has `relation`; relations ascend.
    pub fn note(&mut self, relation: RelationId, tail: u32) {
        if self.0.last().is_none_or(|last| last[0] != relation.0) {
            self.0.push([relation.0, tail]);
        }
    }

    /// The words of the fragments of a row with `tails` tails, appended to `out`. Empties the list and returns its
    /// length.
    pub fn take(&mut self, tails: u64, all_wide: bool, out: &mut Vec<u32>) -> u64 {
        let count = self.0.len();
        if let Some(first) = self.0.first_mut() {
            first[1] = count as u32;
        }
        if all_wide || count as u64 + tails >= WIDE as u64 {
            out.extend_from_slice(self.0.as_flattened());
        } else {
            out.extend(self.0.iter().map(|[relation, begin]| relation << 16 | begin));
        }
        self.0.clear();
        count as u64
    }
}

/// An index that owns its arrays.
#[derive(Clone, Debug, Default)]
pub struct CsrBuf {
    num_entities: usize,
    sizes: Sizes,
    sources: Vec<EntityId>,
    starts: Vec<u64>,
    rows: Vec<u32>,
}

impl CsrBuf {
    /// Builds the index of `triples` and their inverses; duplicates are dropped.
    ///
    /// `triples` may hold either direction. The form is sparse where fewer than a third of the
    /// entities have edges. O(n log n) time, 24 bytes a triple on top of the result.
    pub fn from_triples(num_entities: usize, triples: &[Triple]) -> Self {
        let mut edges: Vec<Triple> = triples.iter().flat_map(|&t| [t, t.inverse()]).collect();
        edges.sort_unstable();
        edges.dedup();
        Self::from_sorted_edges(num_entities, &edges)
    }

    /// Builds the index of directed edges that are sorted, unique and closed under inversion.
    pub fn from_sorted_edges(num_entities: usize, edges: &[Triple]) -> Self {
        let relations = edges.iter().map(|edge| u64::from(edge.relation.0) + 1).max().unwrap_or(0);
        let sizes = Sizes { edges: edges.len() as u64, fragments: 0, relations };
        let mut csr = CsrBuf { num_entities, sizes, ..CsrBuf::default() };
        let mut fragments = Fragments::default();
        for row in edges.chunk_by(|a, b| a.head == b.head) {
            csr.sources.push(row[0].head);
            csr.starts.push(csr.rows.len() as u64);
            (0..).zip(row).for_each(|(tail, edge)| fragments.note(edge.relation, tail));
            csr.sizes.fragments += fragments.take(row.len() as u64, sizes.all_wide(), &mut csr.rows);
            csr.rows.extend(row.iter().map(|edge| edge.tail.0));
        }
        csr.starts.push(csr.rows.len() as u64);
        if !is_sparse(csr.sources.len(), num_entities) {
            csr.make_direct();
        }
        csr
    }

    /// Gives every entity a row of its own.
    fn make_direct(&mut self) {
        let mut starts = Vec::with_capacity(self.num_entities + 1);
        for (&source, &start) in self.sources.iter().zip(&self.starts) {
            starts.resize(source.index() + 1, start);
        }
        starts.resize(self.num_entities + 1, self.rows.len() as u64);
        self.starts = starts;
        self.sources.clear();
    }

    /// The borrowed index.
    pub fn view(&self) -> Csr<'_> {
        Csr {
            num_entities: self.num_entities,
            sizes: self.sizes,
            sources: &self.sources,
            starts: &self.starts,
            rows: &self.rows,
        }
    }
}

#[cfg(test)]
mod tests;
