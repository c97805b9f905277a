//! Text tables: the one form of names and labels, memory-mapped, readable both ways.
//!
//! A table holds texts, each owned by an id. Names are *dense* (the text at position `i` is owned by
//! `i`) and unique; labels are *sparse* (an id may have none) and need not be unique. The way back,
//! text -> ids, is a binary search over the positions in the order of their texts.
//!
//! Memory: the texts, 12 bytes a text, and 4 more in a sparse table.

/// A borrowed table.
#[derive(Clone, Copy, Debug)]
pub struct TextTable<'a> {
    /// Owner of each text, ascending; `None` where the table is dense.
    owners: Option<&'a [u32]>,
    /// Text `i` is `bytes[offsets[i]..offsets[i + 1]]`.
    offsets: &'a [u64],
    bytes: &'a [u8],
    /// Positions in the order of their texts (as bytes), then of their owners.
    order: &'a [u32],
}

/// Shown where a damaged file holds no UTF-8; [`TextTable::check`] reports it.
const UNREADABLE: &str = "\u{fffd}";

impl<'a> TextTable<'a> {
    /// Assembles a table; checks in O(1) that the lengths fit together. `offsets` has one entry per
    /// text plus one that closes the last.
    pub fn from_parts(
        owners: Option<&'a [u32]>,
        offsets: &'a [u64],
        bytes: &'a [u8],
        order: &'a [u32],
    ) -> Result<Self, String> {
        let fits = offsets.len() == order.len() + 1
            && owners.is_none_or(|o| o.len() == order.len())
            && offsets[0] == 0
            && offsets[order.len()] == bytes.len() as u64;
        if !fits {
            return Err("its arrays do not fit together".into());
        }
        Ok(TextTable { owners, offsets, bytes, order })
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
        self.owners.map_or(position as u32, |owners| owners[position])
    }

    fn raw(&self, position: usize) -> &'a [u8] {
        let range = self.offsets[position] as usize..self.offsets[position + 1] as usize;
        self.bytes.get(range).unwrap_or_default()
    }

    /// Text `position`.
    #[inline]
    pub fn text(&self, position: usize) -> &'a str {
        std::str::from_utf8(self.raw(position)).unwrap_or(UNREADABLE)
    }

    /// The text that `id` owns. O(1) in a dense table, O(log n) in a sparse one.
    pub fn get(&self, id: u32) -> Option<&'a str> {
        let position = match self.owners {
            None => Some(id as usize).filter(|&p| p < self.len()),
            Some(owners) => owners.binary_search(&id).ok(),
        };
        position.map(|p| self.text(p))
    }

    /// The ids that own exactly `text`, ascending. O(log n) comparisons.
    pub fn find(&self, text: &str) -> impl Iterator<Item = u32> + 'a {
        let table = *self;
        // Positions of a damaged file may lie outside; they compare as empty and own nothing.
        let at = move |p: &u32| if (*p as usize) < table.len() { table.raw(*p as usize) } else { &[] };
        let begin = self.order.partition_point(|p| at(p) < text.as_bytes());
        let rest = &self.order[begin..];
        let found = &rest[..rest.partition_point(|p| at(p) == text.as_bytes())];
        found.iter().map(|&p| p as usize).filter(move |&p| p < table.len()).map(move |p| table.owner(p))
    }

    /// All texts with their owners, by owner.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &'a str)> + use<'a> {
        let table = *self;
        (0..self.len()).map(move |position| (table.owner(position), table.text(position)))
    }

    /// Checks every offset, text and the order, and that owners are below `num_ids`. O(bytes).
    /// `unique` demands that no text occurs twice.
    pub fn check(&self, num_ids: usize, unique: bool) -> Result<(), String> {
        if !self.offsets.is_sorted() {
            return Err("offsets descend".into());
        }
        for position in 0..self.len() {
            if std::str::from_utf8(self.raw(position)).is_err() {
                return Err(format!("text {position} is not UTF-8"));
            }
        }
        let owned = match self.owners {
            None => self.len() == num_ids,
            Some(owners) => {
                owners.is_sorted_by(|a, b| a < b) && owners.last().is_none_or(|&o| (o as usize) < num_ids)
            }
        };
        if !owned {
            return Err(format!("its texts are not those of {num_ids} ids"));
        }
        if self.order.iter().any(|&p| p as usize >= self.len()) {
            return Err("its order names a text that is not there".into());
        }
        let key = |p: u32| (self.raw(p as usize), p);
        // Strictly ascending keys are distinct positions, so the order is a permutation.
        if !self.order.is_sorted_by(|&a, &b| key(a) < key(b)) {
            return Err("its order is not that of its texts".into());
        }
        if unique && self.order.windows(2).any(|w| key(w[0]).0 == key(w[1]).0) {
            return Err("a text occurs twice".into());
        }
        Ok(())
    }
}

/// A table that owns its arrays.
#[derive(Clone, Debug)]
pub struct TextTableBuf {
    owners: Option<Vec<u32>>,
    offsets: Vec<u64>,
    bytes: Vec<u8>,
    order: Vec<u32>,
}

impl TextTableBuf {
    /// The table in which text `i` is owned by `i`.
    pub fn dense<'t>(texts: impl IntoIterator<Item = &'t str>) -> Self {
        Self::new(None, texts)
    }

    /// The table of `(owner, text)`, owners ascending and distinct.
    pub fn sparse<'t>(entries: impl IntoIterator<Item = (u32, &'t str)>) -> Self {
        let (owners, texts): (Vec<u32>, Vec<&str>) = entries.into_iter().unzip();
        debug_assert!(owners.is_sorted_by(|a, b| a < b));
        Self::new(Some(owners), texts)
    }

    fn new<'t>(owners: Option<Vec<u32>>, texts: impl IntoIterator<Item = &'t str>) -> Self {
        let (mut offsets, mut bytes) = (vec![0], Vec::new());
        for text in texts {
            bytes.extend_from_slice(text.as_bytes());
            offsets.push(bytes.len() as u64);
        }
        let mut order: Vec<u32> = (0..offsets.len() as u32 - 1).collect();
        let text = |p: u32| &bytes[offsets[p as usize] as usize..offsets[p as usize + 1] as usize];
        order.sort_unstable_by(|&a, &b| (text(a), a).cmp(&(text(b), b)));
        TextTableBuf { owners, offsets, bytes, order }
    }

    /// The borrowed table.
    pub fn view(&self) -> TextTable<'_> {
        TextTable {
            owners: self.owners.as_deref(),
            offsets: &self.offsets,
            bytes: &self.bytes,
            order: &self.order,
        }
    }

    /// The arrays, in file order: owners, offsets, bytes, order.
    pub fn parts(&self) -> (Option<&[u32]>, &[u64], &[u8], &[u32]) {
        (self.owners.as_deref(), &self.offsets, &self.bytes, &self.order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_dense_table_reads_both_ways(texts in proptest::collection::vec(".{0,6}", 0..40)) {
            let buf = TextTableBuf::dense(texts.iter().map(String::as_str));
            let table = buf.view();
            table.check(texts.len(), false).unwrap();
            for (id, text) in texts.iter().enumerate() {
                prop_assert_eq!(table.get(id as u32), Some(text.as_str()));
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
        let buf = TextTableBuf::sparse([(1, "b"), (4, "a"), (9, "b")]);
        let table = buf.view();
        table.check(10, false).unwrap();
        assert!(table.check(9, false).is_err() && table.check(10, true).is_err());
        assert_eq!((table.get(4), table.get(5)), (Some("a"), None));
        assert_eq!(table.find("b").collect::<Vec<_>>(), [1, 9]);
    }

    #[test]
    fn damage_is_reported_and_never_panics() {
        let (offsets, order) = ([0, 1, 2], [0, 1]);
        assert!(TextTable::from_parts(None, &offsets, b"abc", &order).is_err());
        assert!(TextTable::from_parts(None, &[], b"", &[]).is_err());
        let cases: [(&[u64], &[u8], &[u32], &str); 4] = [
            (&[0, 9, 2], b"ab", &order, "descend"),
            (&offsets, b"a\xff", &order, "UTF-8"),
            (&offsets, b"ab", &[1, 0], "order"),
            (&offsets, b"ab", &[0, 7], "not there"),
        ];
        for (offsets, bytes, order, expected) in cases {
            let table = TextTable::from_parts(None, offsets, bytes, order).unwrap();
            let error = table.check(2, true).unwrap_err();
            assert!(error.contains(expected), "{error}");
            table.iter().for_each(drop);
            table.find("b").for_each(drop);
        }
    }
}
