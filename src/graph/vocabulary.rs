//! Names to ids while a graph is built.

use crate::error::{Error, Result};
use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

/// Distinct names, numbered in the order in which they were met. One string holds them all.
#[derive(Clone, Debug, Default)]
pub struct Vocabulary {
    texts: String,
    /// Where each name ends.
    ends: Vec<usize>,
    /// Ids by the hash of their names.
    ids: HashTable<u32>,
}

impl Vocabulary {
    /// Number of names.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no name.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of memory that the names take, about.
    pub fn size_in_bytes(&self) -> usize {
        self.texts.len() + 8 * self.ends.len() + 5 * self.ids.capacity()
    }

    /// The name of `id`; panics where there is none.
    pub fn name(&self, id: u32) -> &str {
        name(&self.texts, &self.ends, id)
    }

    /// The id of `text`, if it was met.
    pub fn get(&self, text: &str) -> Option<u32> {
        self.ids.find(xxh3_64(text.as_bytes()), |&id| self.name(id) == text).copied()
    }

    /// The id of `text`, a new one if it was not met before. Fails at 2^31 names, so that directed
    /// relations fit 32 bits too.
    pub fn intern(&mut self, text: &str) -> Result<u32> {
        let hash = xxh3_64(text.as_bytes());
        let Vocabulary { texts, ends, ids } = self;
        if let Some(&id) = ids.find(hash, |&id| name(texts, ends, id) == text) {
            return Ok(id);
        }
        let id = u32::try_from(ends.len())
            .ok()
            .filter(|&id| id < 1 << 31)
            .ok_or_else(|| Error::invalid("more than 2^31 distinct names"))?;
        texts.push_str(text);
        ends.push(texts.len());
        ids.insert_unique(hash, id, |&id| xxh3_64(name(texts, ends, id).as_bytes()));
        Ok(id)
    }

    /// All names by id.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len() as u32).map(|id| self.name(id))
    }
}

fn name<'t>(texts: &'t str, ends: &[usize], id: u32) -> &'t str {
    let id = id as usize;
    let begin = if id == 0 { 0 } else { ends[id - 1] };
    &texts[begin..ends[id]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_the_order_of_first_appearance_and_stay_text() {
        let mut names = Vocabulary::default();
        let ids: Vec<u32> =
            ["007", "7", "007", "é", ""].iter().map(|name| names.intern(name).unwrap()).collect();
        assert_eq!(ids, [0, 1, 0, 2, 3]);
        assert_eq!(names.iter().collect::<Vec<_>>(), ["007", "7", "é", ""]);
        assert_eq!((names.get("é"), names.get("e")), (Some(2), None));
    }

    #[test]
    fn ids_survive_growth() {
        let mut names = Vocabulary::default();
        for i in 0..10_000u32 {
            assert_eq!(names.intern(&format!("n{i}")).unwrap(), i);
        }
        assert!((0..10_000u32).all(|i| names.get(&format!("n{i}")) == Some(i)));
    }
}
