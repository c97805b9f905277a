//! Memory of a GPU, kept when it is given back: the driver would wait for the GPU at every allocation.
//!
//! Sizes are rounded up to a few per octave, so that buffers whose size changes with every batch share the memory of
//! earlier ones. For compute-sanitizer, which sees accesses beyond an allocation and after its end only, both are left out
//! where [`EXACT_VARIABLE`] is set.

use cudarc::driver::sys::{self, CUresult};
use rustc_hash::FxHashMap;

/// The variable by which every allocation has the size that was asked for, and ends when it is given back.
pub const EXACT_VARIABLE: &str = "SMORE_CUDA_EXACT_MEMORY";
/// Every size is a multiple of this.
const GRANULE: usize = 512;
/// Sizes of this and more are rounded by no more than an eighth of it: tables of embeddings are allocated once and fill
/// most of a GPU.
const LARGE: usize = 512 << 20;

/// What is allocated where `bytes` are needed: eight sizes per octave, at most an eighth more than needed or the next
/// multiple of [`GRANULE`].
fn size_class(bytes: usize) -> usize {
    let octave = 1 << bytes.clamp(1, LARGE).ilog2();
    bytes.max(1).next_multiple_of((octave / 8).max(GRANULE))
}

/// Memory of the current context.
#[derive(Default)]
pub struct Memory {
    sizes: FxHashMap<u64, usize>,
    unused: FxHashMap<usize, Vec<u64>>,
    exact: bool,
}

impl Memory {
    /// Nothing allocated.
    pub fn new() -> Self {
        Memory { exact: std::env::var_os(EXACT_VARIABLE).is_some(), ..Self::default() }
    }

    /// Memory for `bytes`: unused one of that size class, or new one.
    ///
    /// # Safety
    /// The context is current.
    pub unsafe fn allocate(&mut self, bytes: usize) -> Result<u64, CUresult> {
        let size = if self.exact { bytes.max(1) } else { size_class(bytes) };
        if let Some(address) = self.unused.get_mut(&size).and_then(Vec::pop) {
            return Ok(address);
        }
        let mut address = 0;
        // SAFETY: by this function's contract; the pointer is to a local.
        let mut result = unsafe { sys::cuMemAlloc_v2(&mut address, size) };
        if result == CUresult::CUDA_ERROR_OUT_OF_MEMORY {
            // SAFETY: as above.
            result = unsafe {
                self.release();
                sys::cuMemAlloc_v2(&mut address, size)
            };
        }
        if result != CUresult::CUDA_SUCCESS {
            return Err(result);
        }
        self.sizes.insert(address, size);
        Ok(address)
    }

    /// Keeps memory for the next allocation of its size class.
    ///
    /// # Safety
    /// The context is current.
    pub unsafe fn give_back(&mut self, address: u64) {
        let size = self.sizes[&address];
        self.unused.entry(size).or_default().push(address);
        if self.exact {
            // SAFETY: by this function's contract.
            unsafe { self.release() };
        }
    }

    /// Gives what is unused back to the driver, when the GPU is done.
    ///
    /// # Safety
    /// The context is current.
    pub unsafe fn release(&mut self) {
        // SAFETY: by this function's contract; each address came from the driver and is freed once. After an error of
        // the GPU there is nothing left to save.
        unsafe {
            let _ = sys::cuCtxSynchronize();
            for address in self.unused.drain().flat_map(|(_, addresses)| addresses) {
                self.sizes.remove(&address);
                let _ = sys::cuMemFree_v2(address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Sizes of every magnitude up to a TiB.
    fn sizes() -> impl Strategy<Value = usize> {
        (0..=40u32, any::<u64>()).prop_map(|(bits, random)| (random & ((1 << bits) - 1)) as usize)
    }

    proptest! {
        #[test]
        fn a_size_class_holds_what_is_asked_for_and_wastes_little(bytes in sizes()) {
            let size = size_class(bytes);
            prop_assert!(size >= bytes && size > 0);
            prop_assert_eq!(size % GRANULE, 0);
            prop_assert!(size - bytes <= (bytes / 8).clamp(GRANULE, LARGE / 8));
            prop_assert_eq!(size_class(size), size);
        }

        #[test]
        fn size_classes_grow_with_the_size(a in sizes(), b in sizes()) {
            prop_assert!(size_class(a.min(b)) <= size_class(a.max(b)));
        }
    }

    #[test]
    fn sizes_that_vary_with_the_batch_share_a_few_classes() {
        let mut classes: Vec<usize> = (1 << 20..2 << 20).step_by(1000).map(size_class).collect();
        classes.dedup();
        assert!(classes.len() <= 9, "{classes:?}");
        assert_eq!([1, 512, 513, 4096, 4097, 8193].map(size_class), [512, 512, 1024, 4096, 4608, 9216]);
    }
}
