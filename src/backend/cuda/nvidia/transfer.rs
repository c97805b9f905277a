//! Copies to the GPU, on a stream of their own, from pinned memory.
//!
//! The data of a copy is put into a pinned slab first, so that the caller may go on at once. The copy stream and the
//! compute stream wait for each other only where they must: launches wait for the copies asked for before them
//! (one event for all of them), and a copy waits for a mark, which is an event on the compute stream. Slabs are
//! used in turn, each again when its copies are done: that bounds how far the host runs ahead.

use super::super::driver::When;
use super::probe::check;
use crate::backend::Counters;
use crate::error::Result;
use cudarc::driver::sys::{self, CUevent, CUevent_flags, CUstream, CUstream_flags};
use std::ffi::c_void;
use std::time::Instant;

/// Slabs of pinned memory, and bytes of each.
const SLABS: usize = 4;
const SLAB: usize = 8 << 20;
/// Events for marks, used in turn. A wait for an older mark waits for the oldest that is left.
const MARKS: u64 = 16;
/// Data starts at multiples of this in a slab.
const ALIGNMENT: usize = 256;

/// Pinned memory with the copies that read from it.
#[derive(Clone, Copy)]
struct Slab {
    memory: *mut c_void,
    used: usize,
    /// Recorded after the last copy.
    done: CUevent,
    in_flight: bool,
}

/// The copy stream of a device.
pub struct Transfers {
    compute: CUstream,
    copies: CUstream,
    marks: [CUevent; MARKS as usize],
    /// The number of the last mark; marks count from 1.
    last_mark: u64,
    /// Whether something was launched since.
    launched: bool,
    /// The last mark that the copy stream waits for.
    waited: u64,
    slabs: [Slab; SLABS],
    slab: usize,
    /// Whether there are copies that launches do not wait for yet.
    pending: bool,
    /// What was asked of the device.
    pub counters: Counters,
}

impl Default for Transfers {
    fn default() -> Self {
        let null: *mut c_void = std::ptr::null_mut();
        Transfers {
            compute: null.cast(),
            copies: null.cast(),
            marks: [null.cast(); MARKS as usize],
            last_mark: 0,
            launched: false,
            waited: 0,
            slabs: [Slab { memory: null, used: 0, done: null.cast(), in_flight: false }; SLABS],
            slab: 0,
            pending: false,
            counters: Counters::default(),
        }
    }
}

impl Transfers {
    /// Copies for a compute stream of the current context.
    pub fn new(compute: CUstream) -> Result<Self> {
        let mut transfers = Transfers { compute, ..Self::default() };
        let made = transfers.make();
        if made.is_err() {
            transfers.destroy();
        }
        made.map(|()| transfers)
    }

    fn make(&mut self) -> Result<()> {
        let plain = CUevent_flags::CU_EVENT_DISABLE_TIMING as u32;
        let flags = CUstream_flags::CU_STREAM_NON_BLOCKING as u32;
        // SAFETY: the context is current; all pointers are to fields.
        unsafe {
            check(sys::cuStreamCreate(&mut self.copies, flags), "cannot make a stream")?;
            for event in self.marks.iter_mut().chain(self.slabs.iter_mut().map(|slab| &mut slab.done)) {
                check(sys::cuEventCreate(event, plain), "cannot make an event")?;
            }
            for slab in &mut self.slabs {
                check(sys::cuMemHostAlloc(&mut slab.memory, SLAB, 0), "cannot allocate pinned memory")?;
            }
        }
        Ok(())
    }

    /// Gives everything back; the streams must be idle.
    pub fn destroy(&mut self) {
        // SAFETY: each handle is null or was made by `make`, and is cleared by the assignment below.
        unsafe {
            for slab in self.slabs.iter().filter(|slab| !slab.memory.is_null()) {
                let _ = sys::cuMemFreeHost(slab.memory);
            }
            for &event in self.marks.iter().chain(self.slabs.iter().map(|slab| &slab.done)) {
                if !event.is_null() {
                    let _ = sys::cuEventDestroy_v2(event);
                }
            }
            if !self.copies.is_null() {
                let _ = sys::cuStreamDestroy_v2(self.copies);
            }
        }
        *self = Self::default();
    }

    /// See [`Driver::mark`](crate::backend::cuda::driver::Driver::mark).
    pub fn mark(&mut self) -> Result<u64> {
        if self.launched {
            self.last_mark += 1;
            let event = self.marks[(self.last_mark % MARKS) as usize];
            // SAFETY: event and stream are alive.
            check(unsafe { sys::cuEventRecord(event, self.compute) }, "cannot record an event")?;
            self.launched = false;
        }
        Ok(self.last_mark)
    }

    /// To be called before everything that is put on the compute stream: it waits for the copies so far.
    pub fn before_launch(&mut self) -> Result<()> {
        self.launched = true;
        if self.pending { self.join() } else { Ok(()) }
    }

    /// Lets the compute stream wait for the copies so far, and takes the next slab.
    fn join(&mut self) -> Result<()> {
        let slab = &mut self.slabs[self.slab];
        // SAFETY: events and streams are alive.
        unsafe {
            check(sys::cuEventRecord(slab.done, self.copies), "cannot record an event")?;
            slab.in_flight = true;
            check(sys::cuStreamWaitEvent(self.compute, slab.done, 0), "cannot wait for an event")?;
            self.pending = false;
            self.slab = (self.slab + 1) % SLABS;
            let slab = &mut self.slabs[self.slab];
            if slab.in_flight {
                let started = Instant::now();
                check(sys::cuEventSynchronize(slab.done), "a copy to the GPU failed")?;
                self.counters.upload_wait_seconds += started.elapsed().as_secs_f64();
                slab.in_flight = false;
            }
            slab.used = 0;
        }
        Ok(())
    }

    /// Lets the copy stream wait for a mark.
    fn wait_for(&mut self, mark: u64) -> Result<()> {
        if mark <= self.waited {
            return Ok(());
        }
        let mark = mark.max((self.last_mark + 1).saturating_sub(MARKS));
        let event = self.marks[(mark % MARKS) as usize];
        // SAFETY: event and stream are alive.
        check(unsafe { sys::cuStreamWaitEvent(self.copies, event, 0) }, "cannot wait for an event")?;
        self.waited = mark;
        Ok(())
    }

    /// See [`Driver::upload`](crate::backend::cuda::driver::Driver::upload).
    ///
    /// # Safety
    /// `address` is memory of the device with room for `data`.
    pub unsafe fn upload(&mut self, data: &[u8], address: u64, when: When) -> Result<()> {
        let mark = match when {
            When::InOrder => self.mark()?,
            When::After(mark) => mark,
        };
        self.wait_for(mark)?;
        self.counters.uploads += 1;
        self.counters.uploaded_bytes += data.len() as u64;
        let mut address = address;
        for piece in data.chunks(SLAB) {
            if self.slabs[self.slab].used + piece.len() > SLAB {
                self.join()?;
            }
            let slab = &mut self.slabs[self.slab];
            // SAFETY: the piece fits behind what is used of the slab, whose earlier copies are done; nothing else
            // writes there before this copy is done. The address by this function's contract.
            unsafe {
                let staged = slab.memory.byte_add(slab.used);
                std::ptr::copy_nonoverlapping(piece.as_ptr(), staged.cast(), piece.len());
                let copied = sys::cuMemcpyHtoDAsync_v2(address, staged, piece.len(), self.copies);
                check(copied, "cannot copy to the GPU")?;
            }
            slab.used = (slab.used + piece.len()).next_multiple_of(ALIGNMENT);
            self.pending = true;
            address += piece.len() as u64;
        }
        Ok(())
    }
}
