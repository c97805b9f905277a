//! A set of entities that is filled and emptied thousands of times per batch.
//!
//! An open-addressing table over a list of members: its size follows the set, never the graph, so that
//! it stays in the cache on a graph of any size, and clearing costs only what was inserted.

use crate::ids::EntityId;

/// Members in the order of insertion, with constant-time look-up. Keeps its memory when cleared.
#[derive(Clone, Debug)]
pub struct EntitySet {
    /// Index of a member plus one, or 0 where the slot is free. Length is a power of two.
    slots: Vec<u32>,
    members: Vec<EntityId>,
    /// The slot of each member, for clearing.
    used: Vec<u32>,
    /// The hash's upper bits are the slot: 32 - log2(slots).
    shift: u32,
}

const FIRST_SLOTS: usize = 256;

impl Default for EntitySet {
    fn default() -> Self {
        EntitySet {
            slots: vec![0; FIRST_SLOTS],
            members: Vec::new(),
            used: Vec::new(),
            shift: 32 - FIRST_SLOTS.ilog2(),
        }
    }
}

impl EntitySet {
    /// Adds `entity`; whether it is new.
    #[inline]
    pub fn insert(&mut self, entity: EntityId) -> bool {
        let Err(slot) = self.find(entity) else { return false };
        self.members.push(entity);
        self.used.push(slot as u32);
        self.slots[slot] = self.members.len() as u32;
        if self.members.len() * 4 > self.slots.len() {
            self.grow();
        }
        true
    }

    /// Whether `entity` is a member.
    #[inline]
    pub fn contains(&self, entity: EntityId) -> bool {
        self.find(entity).is_ok()
    }

    /// Position of `entity` in [`EntitySet::members`].
    #[inline]
    pub fn position(&self, entity: EntityId) -> Option<usize> {
        self.find(entity).ok()
    }

    /// Members in the order in which they were inserted.
    #[inline]
    pub fn members(&self) -> &[EntityId] {
        &self.members
    }

    /// Number of members.
    #[inline]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are no members.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Removes all members. O(members).
    pub fn clear(&mut self) {
        for &slot in &self.used {
            self.slots[slot as usize] = 0;
        }
        self.used.clear();
        self.members.clear();
    }

    /// The member's position, or the free slot where it belongs. A quarter of the slots at most is
    /// taken, so nearly every miss ends at the first one.
    #[inline]
    fn find(&self, entity: EntityId) -> Result<usize, usize> {
        let last = self.slots.len() - 1;
        let mut slot = self.home(entity);
        loop {
            match self.slots[slot] {
                0 => return Err(slot),
                index if self.members[index as usize - 1] == entity => return Ok(index as usize - 1),
                _ => slot = (slot + 1) & last,
            }
        }
    }

    /// The first slot that is tried: multiplicative (Fibonacci) hashing.
    #[inline]
    fn home(&self, entity: EntityId) -> usize {
        (entity.0.wrapping_mul(0x9E37_79B1) >> self.shift) as usize & (self.slots.len() - 1)
    }

    #[cold]
    fn grow(&mut self) {
        let slots = self.slots.len() * 2;
        self.slots.clear();
        self.slots.resize(slots, 0);
        self.shift -= 1;
        self.used.clear();
        for index in 0..self.members.len() {
            // Members are distinct: the first free slot is the one that a look-up will reach.
            let mut slot = self.home(self.members[index]);
            while self.slots[slot] != 0 {
                slot = (slot + 1) & (slots - 1);
            }
            self.used.push(slot as u32);
            self.slots[slot] = index as u32 + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{below, stream};
    use std::collections::BTreeSet;

    #[test]
    fn it_agrees_with_a_plain_set_through_growth_and_reuse() {
        let mut set = EntitySet::default();
        let mut rng = stream(1, "set", 0);
        for round in 0..40 {
            let mut plain = BTreeSet::new();
            for _ in 0..below(&mut rng, 900) {
                // Multiples of a power of two would collide under a weaker hash.
                let entity = EntityId((below(&mut rng, 600) as u32) << (round % 20));
                assert_eq!(set.insert(entity), plain.insert(entity));
            }
            assert_eq!(set.len(), plain.len());
            assert_eq!(set.is_empty(), plain.is_empty());
            for entity in (0..600).map(|e| EntityId(e << (round % 20))) {
                assert_eq!(set.contains(entity), plain.contains(&entity));
                assert_eq!(set.position(entity).map(|i| set.members()[i]), plain.get(&entity).copied());
            }
            set.clear();
            assert!(set.slots.iter().all(|&slot| slot == 0), "nothing is left behind");
        }
    }
}
