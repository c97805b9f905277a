//! Moments on the GPU's clock: events on the compute stream.

use super::library::{self, functions};
use super::probe::check;
use crate::backend::Moment;
use crate::error::{Error, Result};
use cudarc::driver::sys::{self, CUevent, CUevent_flags, CUstream};
use std::ffi::c_void;

functions! {
    /// What cudarc binds by a name that drivers before 12.8 do not have.
    Elapsed {
        cuEventElapsedTime: fn(*mut f32, *mut c_void, *mut c_void);
    }
}

/// Events; those that nobody holds are used again.
#[derive(Default)]
pub struct Clock {
    events: Vec<CUevent>,
    free: Vec<u64>,
    elapsed: Option<Elapsed>,
}

impl Clock {
    /// The moment at which the stream is done with what is on it now.
    ///
    /// # Safety
    /// The context is current, and the stream is its own.
    pub unsafe fn moment(&mut self, stream: CUstream) -> Result<Moment> {
        let number = match self.free.pop() {
            Some(number) => number,
            None => {
                let mut event = std::ptr::null_mut();
                let flags = CUevent_flags::CU_EVENT_DEFAULT as u32;
                // SAFETY: by this function's contract; the pointer is to a local.
                check(unsafe { sys::cuEventCreate(&mut event, flags) }, "cannot make an event")?;
                self.events.push(event);
                self.events.len() as u64 - 1
            }
        };
        // SAFETY: the event is alive; the stream by this function's contract.
        let recorded = unsafe { sys::cuEventRecord(self.events[number as usize], stream) };
        check(recorded, "cannot record an event").map(|()| Moment(number))
    }

    /// Seconds between two moments; waits for the second.
    pub fn seconds_between(&mut self, from: Moment, to: Moment) -> Result<f64> {
        let [first, second] = [&from, &to].map(|moment| self.events[moment.0 as usize]);
        self.free.extend([from.0, to.0]);
        // SAFETY: the event is alive.
        check(unsafe { sys::cuEventSynchronize(second) }, "the GPU failed")?;
        let mut milliseconds = 0f32;
        let function = self.elapsed()?.cuEventElapsedTime;
        // SAFETY: both events are alive and were recorded; the pointer is to a local.
        match unsafe { function(&mut milliseconds, first.cast(), second.cast()) } {
            0 => Ok(f64::from(milliseconds) / 1e3),
            error => Err(Error::Device(format!("cannot read the GPU's clock: error {error}"))),
        }
    }

    fn elapsed(&mut self) -> Result<&Elapsed> {
        if self.elapsed.is_none() {
            let missing = |why: String| Error::Device(format!("cannot read the GPU's clock: {why}"));
            let driver = library::driver().ok_or_else(|| missing("the driver's library is gone".into()))?;
            // SAFETY: the parameters are those of cuda.h, which has had the function since CUDA 2.
            self.elapsed = Some(unsafe { Elapsed::bind(driver) }.map_err(missing)?);
        }
        Ok(self.elapsed.as_ref().expect("bound above"))
    }

    /// Gives everything back.
    pub fn destroy(&mut self) {
        for event in self.events.drain(..) {
            // SAFETY: made by `moment`, forgotten here.
            let _ = unsafe { sys::cuEventDestroy_v2(event) };
        }
        self.free.clear();
    }
}
