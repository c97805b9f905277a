//! Compressed sparse rows: entity -> relation fragments (ascending) -> tails (ascending, unique).
//!
//! A *fragment* is the set of tails of one (entity, relation). Because every fact is stored in both
//! directions (relation `2r` and its inverse `2r + 1`), this one index answers heads as well as tails.
//!
//! Memory per directed edge: 4 bytes for the tail, 8 per fragment, 16 per source entity.

use crate::ids::{EntityId, RelationId, Triple};
use crate::rng::{Rng, below};
use bytemuck::{Pod, Zeroable};

/// Where a source entity's fragments and tails start.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct RowStart {
    /// Index of the first fragment.
    pub fragment: u64,
    /// Index of the first tail.
    pub tail: u64,
}

/// One relation of a source entity.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Fragment {
    /// The directed relation.
    pub relation: RelationId,
    /// First tail, relative to the entity's first tail (an entity has fewer than 2^32 edges).
    pub begin: u32,
}

/// A borrowed index; copying it copies five pointers.
///
/// Two forms: *direct* (`sources` empty, one row per entity) and *sparse* (rows only for the
/// ascending `sources`, for splits that touch few entities).
#[derive(Clone, Copy, Debug)]
pub struct Csr<'a> {
    num_entities: usize,
    sources: &'a [EntityId],
    rows: &'a [RowStart],
    fragments: &'a [Fragment],
    tails: &'a [EntityId],
}

impl<'a> Csr<'a> {
    /// Assembles an index from its arrays.
    ///
    /// Checks in O(1) that lengths and end offsets fit together; [`Csr::check`] checks every entry.
    /// `rows` has one entry per source plus one that closes the last row.
    pub fn from_parts(
        num_entities: usize,
        sources: &'a [EntityId],
        rows: &'a [RowStart],
        fragments: &'a [Fragment],
        tails: &'a [EntityId],
    ) -> Result<Self, String> {
        let sparse = rows.len() == sources.len() + 1;
        let direct = sources.is_empty() && rows.len() == num_entities + 1;
        if !sparse && !direct {
            return Err(format!(
                "{} row offsets for {} sources and {num_entities} entities",
                rows.len(),
                sources.len()
            ));
        }
        let end = rows[rows.len() - 1];
        let expected = (fragments.len() as u64, tails.len() as u64);
        if (end.fragment, end.tail) != expected {
            return Err(format!(
                "rows end at fragment {} and tail {}, but there are {} and {}",
                end.fragment, end.tail, expected.0, expected.1
            ));
        }
        Ok(Csr { num_entities, sources, rows, fragments, tails })
    }

    /// Checks every offset, id and order; O(edges). For files of unknown origin.
    pub fn check(&self, num_relations: usize) -> Result<(), String> {
        if !self.sources.is_sorted_by(|a, b| a < b) {
            return Err("sources are not ascending".into());
        }
        if self.sources.last().is_some_and(|e| e.index() >= self.num_entities) {
            return Err("a source is not an entity".into());
        }
        for (index, pair) in self.rows.windows(2).enumerate() {
            let (row, next) = (pair[0], pair[1]);
            let fits = row.fragment <= next.fragment
                && row.tail <= next.tail
                && next.fragment <= self.fragments.len() as u64
                && next.tail <= self.tails.len() as u64;
            if !fits {
                return Err(format!("row {index} has descending offsets"));
            }
            let fragments = &self.fragments[row.fragment as usize..next.fragment as usize];
            let edges = (next.tail - row.tail) as usize;
            if fragments.is_empty() != (edges == 0) || fragments.first().is_some_and(|f| f.begin != 0) {
                return Err(format!("row {index} has tails outside its fragments"));
            }
            for (i, fragment) in fragments.iter().enumerate() {
                let end = fragments.get(i + 1).map_or(edges, |f| f.begin as usize);
                let ordered = i == 0 || fragments[i - 1].relation < fragment.relation;
                if !ordered
                    || fragment.relation.index() >= num_relations
                    || fragment.begin as usize >= end
                    || end > edges
                {
                    return Err(format!("row {index} has a bad fragment {i}"));
                }
                let tails = &self.tails[row.tail as usize + fragment.begin as usize..row.tail as usize + end];
                if !tails.is_sorted_by(|a, b| a < b) || tails[tails.len() - 1].index() >= self.num_entities {
                    return Err(format!("row {index}, fragment {i}: tails are not ascending entities"));
                }
            }
        }
        Ok(())
    }

    /// Number of entities, with or without edges.
    #[inline]
    pub fn num_entities(&self) -> usize {
        self.num_entities
    }

    /// Number of directed edges (twice the number of facts).
    #[inline]
    pub fn num_edges(&self) -> usize {
        self.tails.len()
    }

    /// Number of (entity, relation) pairs that have tails.
    #[inline]
    pub fn num_fragments(&self) -> usize {
        self.fragments.len()
    }

    /// Bytes of the arrays behind this index.
    pub fn size_in_bytes(&self) -> usize {
        size_of_val(self.sources)
            + size_of_val(self.rows)
            + size_of_val(self.fragments)
            + size_of_val(self.tails)
    }

    /// All edges that leave `entity`. O(1) in the direct form, O(log sources) in the sparse one.
    #[inline]
    pub fn row(&self, entity: EntityId) -> Row<'a> {
        let index = if self.rows.len() == self.num_entities + 1 && self.sources.is_empty() {
            entity.index()
        } else {
            match self.sources.binary_search(&entity) {
                Ok(index) => index,
                Err(_) => return Row { fragments: &[], tails: &[] },
            }
        };
        let (row, next) = (self.rows[index], self.rows[index + 1]);
        Row {
            fragments: &self.fragments[row.fragment as usize..next.fragment as usize],
            tails: &self.tails[row.tail as usize..next.tail as usize],
        }
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
        let (sources, rows) = (self.sources, self.rows);
        (0..rows.len() - 1)
            .filter(move |&i| rows[i].tail < rows[i + 1].tail)
            .map(move |i| if sources.is_empty() { EntityId(i as u32) } else { sources[i] })
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

    /// The arrays, in file order: sources, rows, fragments, tails.
    pub fn parts(&self) -> (&'a [EntityId], &'a [RowStart], &'a [Fragment], &'a [EntityId]) {
        (self.sources, self.rows, self.fragments, self.tails)
    }
}

/// The edges that leave one entity.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    fragments: &'a [Fragment],
    tails: &'a [EntityId],
}

impl<'a> Row<'a> {
    /// Number of distinct relations.
    #[inline]
    pub fn num_fragments(&self) -> usize {
        self.fragments.len()
    }

    /// Relation and tails of fragment `index`.
    #[inline]
    pub fn fragment(&self, index: usize) -> (RelationId, &'a [EntityId]) {
        let begin = self.fragments[index].begin as usize;
        let end = self.fragments.get(index + 1).map_or(self.tails.len(), |f| f.begin as usize);
        (self.fragments[index].relation, &self.tails[begin..end])
    }

    /// Tails by `relation`, ascending, unique; empty where there are none.
    #[inline]
    pub fn tails_of(&self, relation: RelationId) -> &'a [EntityId] {
        match self.fragments.binary_search_by_key(&relation, |f| f.relation) {
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

/// An index that owns its arrays.
#[derive(Clone, Debug, Default)]
pub struct CsrBuf {
    num_entities: usize,
    sources: Vec<EntityId>,
    rows: Vec<RowStart>,
    fragments: Vec<Fragment>,
    tails: Vec<EntityId>,
}

impl CsrBuf {
    /// Builds the index of `triples` and their inverses; duplicates are dropped.
    ///
    /// `triples` may hold either direction. The form is sparse where fewer than an eighth of the
    /// entities have edges. O(n log n) time, 24 bytes a triple on top of the result.
    pub fn from_triples(num_entities: usize, triples: &[Triple]) -> Self {
        let mut edges: Vec<Triple> = triples.iter().flat_map(|&t| [t, t.inverse()]).collect();
        edges.sort_unstable();
        edges.dedup();
        Self::from_sorted_edges(num_entities, &edges)
    }

    /// Builds the index of directed edges that are sorted, unique and closed under inversion.
    pub fn from_sorted_edges(num_entities: usize, edges: &[Triple]) -> Self {
        let mut csr = CsrBuf { num_entities, ..CsrBuf::default() };
        let mut last: Option<Triple> = None;
        for &edge in edges {
            if last.is_none_or(|l| l.head != edge.head) {
                csr.sources.push(edge.head);
                csr.rows.push(csr.end());
            }
            if last.is_none_or(|l| (l.head, l.relation) != (edge.head, edge.relation)) {
                let first_tail = csr.rows[csr.rows.len() - 1].tail;
                csr.fragments.push(Fragment {
                    relation: edge.relation,
                    begin: (csr.tails.len() as u64 - first_tail) as u32,
                });
            }
            csr.tails.push(edge.tail);
            last = Some(edge);
        }
        csr.rows.push(csr.end());
        if csr.sources.len() * 8 >= num_entities {
            csr.make_direct();
        }
        csr
    }

    fn end(&self) -> RowStart {
        RowStart { fragment: self.fragments.len() as u64, tail: self.tails.len() as u64 }
    }

    /// Gives every entity a row of its own.
    fn make_direct(&mut self) {
        let mut rows = Vec::with_capacity(self.num_entities + 1);
        for (&source, &row) in self.sources.iter().zip(&self.rows) {
            rows.resize(source.index() + 1, row);
        }
        rows.resize(self.num_entities + 1, self.end());
        self.rows = rows;
        self.sources.clear();
    }

    /// The borrowed index.
    pub fn view(&self) -> Csr<'_> {
        Csr {
            num_entities: self.num_entities,
            sources: &self.sources,
            rows: &self.rows,
            fragments: &self.fragments,
            tails: &self.tails,
        }
    }
}

/// Several indexes over the same entities, read as their union: train, train+valid, train+valid+test.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// The layers; their edges may overlap.
    pub layers: Vec<Csr<'a>>,
}

impl<'a> View<'a> {
    /// The union of `layers`.
    pub fn new(layers: impl IntoIterator<Item = Csr<'a>>) -> Self {
        View { layers: layers.into_iter().collect() }
    }

    /// Number of entities.
    pub fn num_entities(&self) -> usize {
        self.layers[0].num_entities()
    }

    /// Appends the tails of `(head, relation)` to `out`, layer by layer: ascending within a layer only.
    pub fn extend_tails(&self, head: EntityId, relation: RelationId, out: &mut Vec<EntityId>) {
        for layer in &self.layers {
            out.extend_from_slice(layer.tails(head, relation));
        }
    }

    /// Whether any layer has the edge.
    pub fn contains(&self, triple: Triple) -> bool {
        self.layers.iter().any(|layer| layer.contains(triple))
    }
}

/// A graph on which one can walk at random.
pub trait Walk {
    /// Number of entities, with or without edges.
    fn num_entities(&self) -> usize;

    /// Whether any edge leaves `entity`.
    fn has_edges(&self, entity: EntityId) -> bool;

    /// An edge that leaves `entity`: a relation uniformly among those it has, then a tail uniformly
    /// among that relation's. `None` where the entity has no edges.
    fn pick_edge(&self, entity: EntityId, rng: &mut Rng) -> Option<(RelationId, EntityId)>;
}

impl Walk for Csr<'_> {
    #[inline]
    fn num_entities(&self) -> usize {
        self.num_entities
    }

    #[inline]
    fn has_edges(&self, entity: EntityId) -> bool {
        self.degree(entity) > 0
    }

    #[inline]
    fn pick_edge(&self, entity: EntityId, rng: &mut Rng) -> Option<(RelationId, EntityId)> {
        let row = self.row(entity);
        if row.num_fragments() == 0 {
            return None;
        }
        let (relation, tails) = row.fragment(below(rng, row.num_fragments() as u64) as usize);
        Some((relation, tails[below(rng, tails.len() as u64) as usize]))
    }
}

/// A layer is chosen first, in proportion to its number of relations at the entity.
impl Walk for View<'_> {
    fn num_entities(&self) -> usize {
        self.layers[0].num_entities
    }

    fn has_edges(&self, entity: EntityId) -> bool {
        self.layers.iter().any(|layer| layer.degree(entity) > 0)
    }

    fn pick_edge(&self, entity: EntityId, rng: &mut Rng) -> Option<(RelationId, EntityId)> {
        let total: usize = self.layers.iter().map(|l| l.num_relations_at(entity)).sum();
        let mut pick = if total == 0 { return None } else { below(rng, total as u64) as usize };
        for layer in &self.layers {
            let here = layer.num_relations_at(entity);
            if pick < here {
                return layer.pick_edge(entity, rng);
            }
            pick -= here;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn triple(h: u32, r: u32, t: u32) -> Triple {
        Triple { head: EntityId(h), relation: RelationId(r), tail: EntityId(t) }
    }

    #[test]
    fn both_directions_are_found_and_duplicates_are_dropped() {
        let csr =
            CsrBuf::from_triples(4, &[triple(0, 0, 2), triple(0, 0, 1), triple(0, 2, 1), triple(0, 0, 2)]);
        let csr = csr.view();
        csr.check(4).unwrap();
        assert_eq!(csr.num_edges(), 6);
        assert_eq!(csr.tails(EntityId(0), RelationId(0)), [EntityId(1), EntityId(2)]);
        assert_eq!(csr.tails(EntityId(1), RelationId(1)), [EntityId(0)]);
        assert_eq!(csr.tails(EntityId(3), RelationId(0)), []);
        assert_eq!(csr.degree(EntityId(1)), 2);
        assert!(csr.contains(triple(1, 3, 0)) && !csr.contains(triple(1, 2, 0)));
    }

    #[test]
    fn the_sparse_form_answers_like_the_direct_one() {
        let triples = [triple(90, 0, 7), triple(7, 2, 50), triple(90, 0, 99)];
        let sparse = CsrBuf::from_triples(100, &triples);
        assert!(!sparse.sources.is_empty());
        let mut direct = sparse.clone();
        direct.make_direct();
        assert!(direct.sources.is_empty());
        let (sparse, direct) = (sparse.view(), direct.view());
        sparse.check(4).unwrap();
        direct.check(4).unwrap();
        assert!(sparse.triples().eq(direct.triples()));
        for entity in (0..100).map(EntityId) {
            assert_eq!(sparse.row(entity).tails(), direct.row(entity).tails());
        }
    }

    #[test]
    fn an_empty_graph_has_no_edges() {
        let csr = CsrBuf::from_triples(3, &[]);
        assert_eq!(csr.view().num_edges(), 0);
        assert_eq!(csr.view().degree(EntityId(2)), 0);
        csr.view().check(0).unwrap();
    }

    #[test]
    fn damaged_parts_are_refused() {
        let csr = CsrBuf::from_triples(3, &[triple(0, 0, 1), triple(1, 0, 2)]);
        let (sources, rows, fragments, tails) = csr.view().parts();
        assert!(Csr::from_parts(3, sources, &rows[1..], fragments, tails).is_err());
        assert!(Csr::from_parts(3, sources, rows, fragments, &tails[1..]).is_err());
        let mut bad = tails.to_vec();
        bad[0] = EntityId(9);
        let damaged = Csr::from_parts(3, sources, rows, fragments, &bad).unwrap();
        assert!(damaged.check(2).unwrap_err().contains("not ascending entities"));
    }
}
