//! Sorted lists of entities: look-ups and intersections without copies.

use crate::ids::EntityId;

/// From this ratio of lengths on, galloping through the longer list beats merging.
const GALLOP_RATIO: usize = 8;

/// Whether `list` (ascending) holds `entity`. O(log n).
#[inline]
pub fn contains(list: &[EntityId], entity: EntityId) -> bool {
    list.binary_search(&entity).is_ok()
}

/// Whether two ascending lists share an entity.
///
/// O(s log(l / s)) for lengths s << l by galloping, O(s + l) by merging where they are alike; ends at
/// the first common entity.
#[inline]
pub fn intersects(a: &[EntityId], b: &[EntityId]) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    match short {
        [] => false,
        [one] => contains(long, *one),
        _ if short.len() * GALLOP_RATIO <= long.len() => {
            let mut rest = long;
            for &entity in short {
                rest = &rest[lower_bound(rest, entity)..];
                match rest.first() {
                    None => return false,
                    Some(&found) if found == entity => return true,
                    Some(_) => {}
                }
            }
            false
        }
        _ => {
            let (mut i, mut j) = (0, 0);
            while i < short.len() && j < long.len() {
                let (x, y) = (short[i], long[j]);
                if x == y {
                    return true;
                }
                i += usize::from(x < y);
                j += usize::from(y < x);
            }
            false
        }
    }
}

/// Index of the first entry that is not below `entity`; doubling steps, then a binary search.
///
/// O(log k), k = the index returned: cheap where the entry is near the front.
#[inline]
pub fn lower_bound(list: &[EntityId], entity: EntityId) -> usize {
    let mut bound = 1;
    while bound <= list.len() && list[bound - 1] < entity {
        bound *= 2;
    }
    let begin = bound / 2;
    let end = bound.min(list.len());
    begin + list[begin..end].partition_point(|&e| e < entity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{below, stream};

    fn list(rng: &mut crate::rng::Rng, len: u64, of: u64) -> Vec<EntityId> {
        let mut list: Vec<EntityId> = (0..len).map(|_| EntityId(below(rng, of) as u32)).collect();
        list.sort_unstable();
        list.dedup();
        list
    }

    #[test]
    fn intersections_agree_with_a_plain_search_at_every_ratio_of_lengths() {
        let mut rng = stream(1, "sorted", 0);
        let mut met = 0;
        for round in 0..3_000 {
            let (a_len, b_len) = (below(&mut rng, 12), below(&mut rng, [12, 300][round % 2]));
            let a = list(&mut rng, a_len, 400);
            let b = list(&mut rng, b_len, 400);
            let plain = a.iter().any(|e| b.contains(e));
            assert_eq!(intersects(&a, &b), plain, "{a:?} {b:?}");
            assert_eq!(intersects(&b, &a), plain, "{b:?} {a:?}");
            met += u32::from(plain);
        }
        assert!((300..2_700).contains(&met), "both outcomes occur: {met}");
    }

    #[test]
    fn the_lower_bound_is_the_first_entry_not_below() {
        let mut rng = stream(2, "sorted", 0);
        for _ in 0..300 {
            let len = below(&mut rng, 40);
            let list = list(&mut rng, len, 60);
            for entity in (0..62).map(EntityId) {
                let plain = list.iter().take_while(|&&e| e < entity).count();
                assert_eq!(lower_bound(&list, entity), plain);
                assert_eq!(contains(&list, entity), list.get(plain) == Some(&entity));
            }
        }
    }
}
