//! Asking for rows of the graph before they are read: on a graph that no cache holds, a look-up is two dependent
//! misses (where the row begins, and the row), and the next look-ups of a loop are known.

use crate::graph::Csr;
use crate::ids::EntityId;

/// Look-ups ahead for where a row begins; the row follows at half the way.
const AHEAD: usize = 8;

/// Calls `body` with the entities in order, the rows of those to come on their way; ends where `body` returns false.
#[inline]
pub fn each_row(graph: Csr, entities: &[EntityId], mut body: impl FnMut(EntityId) -> bool) {
    let (_, sources, starts, rows) = graph.parts();
    // In the sparse form rows are found by a binary search, which is the longer part.
    let direct = sources.is_empty();
    for (i, &entity) in entities.iter().enumerate() {
        if direct {
            if let Some(next) = entities.get(i + AHEAD) {
                line(starts, next.index());
            }
            if let Some(&start) = entities.get(i + AHEAD / 2).and_then(|next| starts.get(next.index())) {
                line(rows, start as usize);
            }
        }
        if !body(entity) {
            break;
        }
    }
}

/// Asks for the cache line of `slice[index]`, if it exists.
#[inline(always)]
pub fn line<T>(slice: &[T], index: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(item) = slice.get(index) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch has no effect but on caches, and the address is that of an item of the slice.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(item).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (slice, index);
}
