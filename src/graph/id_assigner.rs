//! Entities' names to ids, in bounded memory.
//!
//! Ids follow the order of first appearance. The names met first live in a [`Vocabulary`] and have their
//! ids at once. When it is full, every occurrence of another name is put aside with its *position*, a number
//! that grows with the input. In the end the occurrences are sorted by name, which finds the first position
//! of each; then by first position, which gives the ids; then by position, which brings them back.

use super::string_writer::StringSpool;
use super::vocabulary::Vocabulary;
use crate::error::{Error, Result};
use crate::storage::scratch::Scratch;
use crate::storage::sort::{Sorted, Sorter};
use crate::storage::sort_records::RecordSorter;
use std::sync::Arc;

/// Names that are being numbered.
#[derive(Debug)]
pub struct IdAssigner {
    scratch: Arc<Scratch>,
    memory: usize,
    vocabulary: Vocabulary,
    /// Positions of names that the vocabulary had no room for.
    aside: Option<RecordSorter>,
}

impl IdAssigner {
    /// No names; takes `memory` bytes.
    pub fn new(scratch: &Arc<Scratch>, memory: usize) -> Self {
        IdAssigner { scratch: scratch.clone(), memory, vocabulary: Vocabulary::default(), aside: None }
    }

    /// The id of `name`, if it is known already.
    pub fn get(&self, name: &str) -> Option<u32> {
        self.vocabulary.get(name)
    }

    /// Number of names that have their ids.
    pub fn num_known(&self) -> usize {
        self.vocabulary.len()
    }

    /// Whether some names will have their ids only in the end.
    pub fn is_open(&self) -> bool {
        self.aside.is_some()
    }

    /// The id of `name` at `position`, or `None` where it is known at the end only. Positions ascend.
    pub fn intern(&mut self, name: &str, position: u64) -> Result<Option<u32>> {
        if self.aside.is_none() && self.vocabulary.size_in_bytes() <= self.memory / 2 {
            return self.vocabulary.intern(name).map(Some);
        }
        if let Some(id) = self.vocabulary.get(name) {
            return Ok(Some(id));
        }
        let aside = self.aside.get_or_insert_with(|| RecordSorter::new(&self.scratch, self.memory / 2));
        aside.push(name.as_bytes(), position, &[])?;
        Ok(None)
    }

    /// All names, and the ids of those put aside as `[position, id]` in the order of positions.
    pub fn finish(self) -> Result<(AllNames, Sorted<[u64; 2]>)> {
        let IdAssigner { scratch, memory, vocabulary, aside } = self;
        let share = memory / 4;
        let mut rest = StringSpool::new(&scratch, share.min(1 << 20));
        let mut by_position = Sorter::new(&scratch, share);
        if let Some(aside) = aside {
            let mut by_first = Sorter::new(&scratch, share);
            let mut names = RecordSorter::new(&scratch, share);
            let (mut current, mut first) = (None, 0);
            for record in aside.finish()?.iter()? {
                let record = record?;
                if current.as_deref() != Some(record.key()) {
                    first = record.number;
                    names.push(&first.to_be_bytes(), 0, record.key())?;
                    current = Some(record.key().to_vec());
                }
                by_first.push([first, record.number])?;
            }
            names.finish()?.iter()?.try_for_each(|record| rest.push(record?.payload()))?;
            let (mut id, mut last) = (vocabulary.len() as u64, None);
            for entry in by_first.finish()?.iter()? {
                let [first, position] = entry?;
                id += u64::from(last.is_some_and(|last| last != first));
                last = Some(first);
                by_position.push([position, id])?;
            }
            if id >= 1 << 31 {
                return Err(Error::invalid("more than 2^31 distinct names"));
            }
        }
        Ok((AllNames { vocabulary, rest }, by_position.finish()?))
    }
}

/// Names by id.
#[derive(Debug)]
pub struct AllNames {
    vocabulary: Vocabulary,
    rest: StringSpool,
}

impl AllNames {
    /// Calls `take` with each name, by id.
    pub fn for_each(&self, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.vocabulary.iter().try_for_each(|name| take(name.as_bytes()))?;
        self.rest.for_each(take)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ids_follow_first_appearance_whatever_fits_into_memory(
            texts in proptest::collection::vec("[a-d]{0,4}", 1..400),
            memory in prop_oneof![Just(0usize), 100usize..20_000, Just(1 << 20)],
        ) {
            let folder = tempfile::tempdir().unwrap();
            let mut assigner = IdAssigner::new(&Scratch::new(folder.path()), memory);
            let met: Vec<Option<u32>> =
                (0..).zip(&texts).map(|(at, text)| assigner.intern(text, at).unwrap()).collect();
            let (names, aside) = assigner.finish().unwrap();
            let mut ids: Vec<Option<u64>> = met.iter().map(|id| id.map(u64::from)).collect();
            for entry in aside.iter().unwrap() {
                let [position, id] = entry.unwrap();
                prop_assert_eq!(ids[position as usize].replace(id), None);
            }
            let mut oracle = Vocabulary::default();
            let expected: Vec<Option<u64>> =
                texts.iter().map(|text| Some(u64::from(oracle.intern(text).unwrap()))).collect();
            prop_assert_eq!(ids, expected);
            let mut all = Vec::new();
            names.for_each(|name| {
                all.push(String::from_utf8(name.to_vec()).unwrap());
                Ok(())
            }).unwrap();
            prop_assert_eq!(all, oracle.iter().map(str::to_owned).collect::<Vec<_>>());
        }
    }
}
