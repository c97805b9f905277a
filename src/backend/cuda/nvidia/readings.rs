//! Copies from the GPU that nobody waits for yet, to pinned memory.

use super::probe::check;
use crate::error::Result;
use cudarc::driver::sys::{self, CUevent, CUevent_flags, CUstream};
use std::ffi::c_void;

/// Pinned memory with a copy to it.
struct Slot {
    memory: *mut c_void,
    bytes: usize,
    /// Recorded after the copy.
    done: CUevent,
    taken: bool,
}

/// The copies. There are as many slots as were ever on their way at once.
#[derive(Default)]
pub struct Readings(Vec<Slot>);

impl Readings {
    /// Puts a copy on a stream; the number of its slot.
    ///
    /// # Safety
    /// The context is current, the stream is its own, and `address` is memory of it with so many bytes.
    pub unsafe fn start(&mut self, address: u64, bytes: usize, stream: CUstream) -> Result<u64> {
        let free = self.0.iter().position(|slot| !slot.taken);
        let number = free.unwrap_or(self.0.len());
        if number == self.0.len() {
            let null: *mut c_void = std::ptr::null_mut();
            self.0.push(Slot { memory: null, bytes: 0, done: null.cast(), taken: false });
        }
        let slot = &mut self.0[number];
        // SAFETY: the slot is not in use, so its memory can be exchanged; all pointers are to its fields; the rest by this
        // function's contract.
        unsafe {
            if slot.done.is_null() {
                let plain = CUevent_flags::CU_EVENT_DISABLE_TIMING as u32;
                check(sys::cuEventCreate(&mut slot.done, plain), "cannot make an event")?;
            }
            if slot.bytes < bytes {
                if !slot.memory.is_null() {
                    let _ = sys::cuMemFreeHost(slot.memory);
                    (slot.memory, slot.bytes) = (std::ptr::null_mut(), 0);
                }
                let size = bytes.next_power_of_two();
                check(sys::cuMemHostAlloc(&mut slot.memory, size, 0), "cannot allocate pinned memory")?;
                slot.bytes = size;
            }
            check(
                sys::cuMemcpyDtoHAsync_v2(slot.memory, address, bytes, stream),
                "cannot copy from the GPU",
            )?;
            // From here on the GPU may write to it.
            slot.taken = true;
            check(sys::cuEventRecord(slot.done, stream), "cannot record an event")?;
        }
        Ok(number as u64)
    }

    /// Waits for a copy and gives its slot up; `out` gets its first bytes.
    pub fn finish(&mut self, number: u64, out: &mut [u8]) -> Result<()> {
        let slot = &mut self.0[number as usize];
        assert!(slot.taken && out.len() <= slot.bytes, "a copy is finished once");
        // SAFETY: the event is alive; when it has happened, the copy has written the slot's memory, which holds more bytes.
        unsafe {
            check(sys::cuEventSynchronize(slot.done), "the GPU failed")?;
            std::ptr::copy_nonoverlapping(slot.memory.cast::<u8>(), out.as_mut_ptr(), out.len());
        }
        slot.taken = false;
        Ok(())
    }

    /// Gives everything back; the GPU must be idle.
    pub fn destroy(&mut self) {
        for slot in self.0.drain(..) {
            // SAFETY: each handle is null or was made by `start`, and is forgotten here.
            unsafe {
                if !slot.memory.is_null() {
                    let _ = sys::cuMemFreeHost(slot.memory);
                }
                if !slot.done.is_null() {
                    let _ = sys::cuEventDestroy_v2(slot.done);
                }
            }
        }
    }
}
