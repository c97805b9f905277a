//! How far a long piece of work is, told to whoever wants to know.

use std::fmt;
use std::sync::Arc;

/// Called with the stage, the bytes or items done, and all of them (0 where that is not known).
type Listener = dyn Fn(&str, u64, u64) + Send + Sync;

/// Who is told; by default nobody. Cheap to clone.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<Listener>>);

impl Progress {
    /// Tells `listener`: the stage, how much is done, and how much there is (0: not known).
    pub fn new(listener: impl Fn(&str, u64, u64) + Send + Sync + 'static) -> Self {
        Progress(Some(Arc::new(listener)))
    }

    /// Tells how far `stage` is.
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
