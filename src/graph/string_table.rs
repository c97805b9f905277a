//! String tables: the one form of names and labels, memory-mapped, readable both ways.
//!
//! A table holds texts, each owned by an id. Names are *dense* (the text at position `i` is owned by
//! `i`) and unique; labels are *sparse* (an id may have none) and need not be unique.
//!
//! The distinct texts are a finite state transducer, which shares their beginnings and ends (3 bytes a name where
//! names are numbers; crate `fst`). Sorted by text, then by owner, every position has a *place*; the transducer maps
//! a text to the first of its places, and back.
//!
//! Memory: the transducer, 8 bytes a text, and 4 more in a sparse table. Both ways take microseconds.

use fst::automaton::Levenshtein;
use fst::{IntoStreamer, Map, Streamer};
use rayon::prelude::*;

/// A borrowed table.
#[derive(Clone, Debug)]
pub struct StringTable<'a> {
    /// Owner of each text, ascending; `None` where the table is dense.
    owners: Option<&'a [u32]>,
    /// By position: the first place of its text.
    places: &'a [u32],
    /// By place: the position.
    order: &'a [u32],
    /// Text to its first place.
    texts: Map<&'a [u8]>,
}

/// Shown where a damaged file holds no UTF-8; [`StringTable::check`] reports it.
const UNREADABLE: &str = "\u{fffd}";

impl<'a> StringTable<'a> {
    /// Assembles a table; checks in O(1) that the lengths fit together.
    pub fn from_parts(
        owners: Option<&'a [u32]>,
        places: &'a [u32],
        order: &'a [u32],
        texts: &'a [u8],
    ) -> Result<Self, String> {
        let texts = Map::new(texts).map_err(|e| format!("its texts are unreadable: {e}"))?;
        let fits = places.len() == order.len()
            && owners.is_none_or(|o| o.len() == order.len())
            && texts.len() <= order.len()
            && texts.is_empty() == order.is_empty();
        if !fits {
            return Err("its arrays do not fit together".into());
        }
        Ok(StringTable { owners, places, order, texts })
    }

    /// Number of texts.
    #[inline]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The id that owns text `position`.
    #[inline]
    pub fn owner(&self, position: usize) -> u32 {
        // A file that is changed while it is mapped may lead outside.
        self.owners.map_or(position as u32, |owners| owners.get(position).copied().unwrap_or_default())
    }

    /// Text `position`; a replacement character where there is none.
    pub fn text(&self, position: usize) -> String {
        let place = self.places.get(position);
        let found = place.and_then(|&place| self.texts.as_fst().get_key(u64::from(place)));
        found.and_then(|text| String::from_utf8(text).ok()).unwrap_or_else(|| UNREADABLE.into())
    }

    /// The text that `id` owns.
    pub fn get(&self, id: u32) -> Option<String> {
        let position = match self.owners {
            None => Some(id as usize).filter(|&p| p < self.len()),
            Some(owners) => owners.binary_search(&id).ok(),
        };
        position.map(|p| self.text(p))
    }

    /// The ids that own exactly `text`, ascending.
    pub fn find(&self, text: &str) -> impl Iterator<Item = u32> {
        let place = self.texts.get(text).and_then(|place| u32::try_from(place).ok());
        let positions = place.and_then(|place| self.order.get(place as usize..)).unwrap_or_default();
        // Positions of a damaged file may lie outside.
        let same = move |p: &usize| self.places.get(*p).copied() == place;
        positions.iter().map(|&p| p as usize).take_while(same).map(|p| self.owner(p))
    }

    /// Calls `take` with the first `limit` texts, in their order.
    pub fn for_each(&self, limit: usize, mut take: impl FnMut(&str)) {
        let mut texts = self.texts.keys();
        for _ in 0..limit {
            let Some(text) = texts.next() else { return };
            take(std::str::from_utf8(text).unwrap_or(UNREADABLE));
        }
    }

    /// The texts that at most two insertions, deletions or replacements of letters turn into `text`, in their
    /// order; none where `text` is too long for that (some hundred letters).
    pub fn near(&self, text: &str) -> Vec<String> {
        match Levenshtein::new(text, 2) {
            Ok(automaton) => self.texts.search(automaton).into_stream().into_str_keys().unwrap_or_default(),
            Err(_) => Vec::new(),
        }
    }

    /// Checks every text and place, and that owners are below `num_ids`. O(bytes).
    /// `unique` demands that no text occurs twice.
    pub fn check(&self, num_ids: usize, unique: bool) -> Result<(), String> {
        self.check_arrays(num_ids)?;
        let mut starts = Vec::with_capacity(2);
        let mut stream = self.texts.stream();
        let mut number = 0;
        while let Some((text, place)) = stream.next() {
            if std::str::from_utf8(text).is_err() {
                return Err(format!("text {number} is not UTF-8"));
            }
            starts.push(place);
            if let [from, to] = starts[..] {
                self.check_places(from, to)?;
                starts.remove(0);
            }
            number += 1;
        }
        self.check_places(starts.first().copied().unwrap_or(0), self.len() as u64)?;
        if unique && number < self.len() {
            return Err("a text occurs twice".into());
        }
        Ok(())
    }

    /// Checks the table but for what each text is: that owners ascend and are below `num_ids`, that places and
    /// positions are there, the checksum of the texts. O(bytes).
    pub fn check_arrays(&self, num_ids: usize) -> Result<(), String> {
        let owned = match self.owners {
            None => self.len() == num_ids,
            Some(owners) => {
                owners.is_sorted_by(|a, b| a < b) && owners.last().is_none_or(|&o| (o as usize) < num_ids)
            }
        };
        if !owned {
            return Err(format!("its texts are not those of {num_ids} ids"));
        }
        // The transducer has a checksum of its own, without which reading it may panic.
        self.texts.as_fst().verify().map_err(|e| format!("its texts are unreadable: {e}"))?;
        let inside = |list: &[u32]| list.par_iter().with_min_len(1 << 16).all(|&x| (x as usize) < self.len());
        match inside(self.places) && inside(self.order) {
            true => Ok(()),
            false => Err("its order is not that of its texts".into()),
        }
    }

    /// Checks the places of one text. No position can be at two places then, so all places together are a permutation.
    fn check_places(&self, from: u64, to: u64) -> Result<(), String> {
        let places = (from <= to && to <= self.len() as u64).then(|| &self.order[from as usize..to as usize]);
        let Some(places) = places else { return Err("its texts have places that are not there".into()) };
        let here = |&p: &u32| self.places.get(p as usize).is_some_and(|&place| u64::from(place) == from);
        match places.is_sorted_by(|a, b| a < b) && places.iter().all(here) {
            true => Ok(()),
            false => Err("its order is not that of its texts".into()),
        }
    }
}

/// A table that owns its arrays.
#[derive(Clone, Debug)]
pub struct StringTableBuf {
    owners: Option<Vec<u32>>,
    places: Vec<u32>,
    order: Vec<u32>,
    texts: Vec<u8>,
}

impl StringTableBuf {
    /// The table in which text `i` is owned by `i`.
    pub fn dense<'t>(texts: impl IntoIterator<Item = &'t str>) -> Self {
        Self::new(None, texts.into_iter().collect())
    }

    /// The table of `(owner, text)`, owners ascending and distinct.
    pub fn sparse<'t>(entries: impl IntoIterator<Item = (u32, &'t str)>) -> Self {
        let (owners, texts): (Vec<u32>, Vec<&str>) = entries.into_iter().unzip();
        debug_assert!(owners.is_sorted_by(|a, b| a < b));
        Self::new(Some(owners), texts)
    }

    fn new(owners: Option<Vec<u32>>, texts: Vec<&str>) -> Self {
        let mut order: Vec<u32> = (0..texts.len() as u32).collect();
        order.sort_unstable_by_key(|&p| (texts[p as usize], p));
        let (mut places, mut builder, mut place) = (vec![0; texts.len()], fst::MapBuilder::memory(), 0);
        for same in order.chunk_by(|&a, &b| texts[a as usize] == texts[b as usize]) {
            builder.insert(texts[same[0] as usize], place).expect("memory, in ascending order");
            same.iter().for_each(|&p| places[p as usize] = place as u32);
            place += same.len() as u64;
        }
        let texts = builder.into_inner().expect("memory");
        StringTableBuf { owners, places, order, texts }
    }

    /// The borrowed table.
    pub fn view(&self) -> StringTable<'_> {
        let owners = self.owners.as_deref();
        StringTable::from_parts(owners, &self.places, &self.order, &self.texts).expect("made by the builder")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_dense_table_reads_both_ways(texts in proptest::collection::vec(".{0,6}", 0..40)) {
            let buf = StringTableBuf::dense(texts.iter().map(String::as_str));
            let table = buf.view();
            table.check(texts.len(), false).unwrap();
            for (id, text) in texts.iter().enumerate() {
                prop_assert_eq!(table.get(id as u32), Some(text.clone()));
                let owners: Vec<u32> =
                    (0..texts.len() as u32).filter(|&o| &texts[o as usize] == text).collect();
                prop_assert_eq!(table.find(text).collect::<Vec<_>>(), owners);
            }
            prop_assert_eq!(table.get(texts.len() as u32), None);
            prop_assert_eq!(table.find("longer than any").count(), 0);
        }
    }

    #[test]
    fn a_sparse_table_knows_who_has_no_text() {
        let buf = StringTableBuf::sparse([(1, "b"), (4, "a"), (9, "b")]);
        let table = buf.view();
        table.check(10, false).unwrap();
        assert!(table.check(9, false).is_err() && table.check(10, true).is_err());
        assert_eq!((table.get(4), table.get(5)), (Some("a".into()), None));
        assert_eq!(table.find("b").collect::<Vec<_>>(), [1, 9]);
    }

    #[test]
    fn texts_within_two_edits_are_near() {
        let buf = StringTableBuf::dense(["Berlin", "Bern", "Berlins", "Paris", "brlin"]);
        assert_eq!(buf.view().near("Berlin"), ["Berlin", "Berlins", "Bern", "brlin"]);
        assert!(buf.view().near(&"x".repeat(5_000)).is_empty());
    }

    #[test]
    fn damage_is_reported_without_a_panic() {
        let StringTableBuf { places, order, texts, .. } = StringTableBuf::dense(["b", "a", "b"]);
        let check = |places: &[u32], order: &[u32], texts: &[u8]| {
            StringTable::from_parts(None, places, order, texts)?.check(3, false)
        };
        check(&places, &order, &texts).unwrap();
        assert!(check(&places[1..], &order, &texts).unwrap_err().contains("do not fit"));
        assert!(check(&[], &[], &texts).unwrap_err().contains("do not fit"));
        assert!(check(&places, &order, b"abc").unwrap_err().contains("unreadable"));
        for byte in 0..texts.len() {
            let mut bad = texts.clone();
            bad[byte] ^= 1;
            assert!(check(&places, &order, &bad).is_err(), "byte {byte}");
        }
        assert!(check(&places, &[0, 0, 2], &texts).unwrap_err().contains("order"));
        assert!(check(&places, &[1, 0, 9], &texts).unwrap_err().contains("order"));
        assert!(check(&[1, 0, 7], &order, &texts).unwrap_err().contains("order"));
        let strange = StringTable::from_parts(None, &[1, 0, 7], &[9, 7, 1], &texts).unwrap();
        assert_eq!((strange.text(2), strange.find("b").count()), (UNREADABLE.into(), 0));
    }
}
