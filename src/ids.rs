//! Identifiers: 32-bit newtypes, so that an entity is never taken for a relation.

use bytemuck::{Pod, Zeroable};

/// An entity: `0..num_entities`, in the order in which the importer met the names.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
pub struct EntityId(pub u32);

/// A directed relation: the dataset's relation `r` is `2r`, its inverse `2r + 1`.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
pub struct RelationId(pub u32);

impl EntityId {
    /// The id as an index into per-entity arrays.
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl RelationId {
    /// The id as an index into per-relation arrays.
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// The same relation in the other direction.
    #[inline]
    pub fn inverse(self) -> Self {
        RelationId(self.0 ^ 1)
    }

    /// Whether this is the inverse of a relation of the dataset.
    #[inline]
    pub fn is_inverse(self) -> bool {
        self.0 & 1 == 1
    }
}

/// A directed edge `head -relation-> tail`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
pub struct Triple {
    /// Where the edge starts.
    pub head: EntityId,
    /// The directed relation.
    pub relation: RelationId,
    /// Where the edge ends.
    pub tail: EntityId,
}

impl Triple {
    /// The same fact read backwards.
    pub fn inverse(self) -> Self {
        Triple { head: self.tail, relation: self.relation.inverse(), tail: self.head }
    }
}
