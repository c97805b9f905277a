//! The progress of long work, reported to a callback.

use crate::error::{Error, Result};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Called with the stage, the bytes or items done, and all of them (0 where that is not known).
type Listener = dyn Fn(&str, u64, u64) + Send + Sync;

/// Where progress is reported; by default nowhere. Cheap to clone.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<Listener>>);

impl Progress {
    /// Reports to `listener`: the stage, how much is done, and how much there is (0: not known).
    pub fn new(listener: impl Fn(&str, u64, u64) + Send + Sync + 'static) -> Self {
        Progress(Some(Arc::new(listener)))
    }

    /// Reports how far `stage` is.
    pub fn report(&self, stage: &str, done: u64, of: u64) {
        if let Some(listener) = &self.0 {
            listener(stage, done, of);
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Progress(listener)" } else { "Progress(nobody)" })
    }
}

/// The observer of long work: progress is reported to it, and it can stop the work.
#[derive(Clone, Debug)]
pub struct Watch<'a> {
    /// Where progress is reported.
    pub progress: Progress,
    /// Set from outside to end the work with [`Error::Interrupted`].
    pub stop: &'a AtomicBool,
}

impl Watch<'static> {
    /// Nobody, so that the work goes on to its end.
    pub fn nobody() -> Self {
        static NEVER: AtomicBool = AtomicBool::new(false);
        Watch { progress: Progress::default(), stop: &NEVER }
    }
}

impl Watch<'_> {
    /// Whether the work is to end.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// An error where the work is to end.
    pub fn check(&self) -> Result<()> {
        if self.is_stopped() { Err(Error::Interrupted) } else { Ok(()) }
    }
}
