//! The end of memory as an error message, where Rust would abort the process.
//!
//! Plans and limits are checked before a run starts; this is for what they do not foresee.

use crate::process::{MemoryLimit, memory_limit};
use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The system's allocator; where it has no memory left, the process ends with an error and exit code 1.
pub struct Allocator;

// SAFETY: every call goes to the system's allocator with the same arguments; a null pointer never reaches the caller,
// which the contract allows.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc`.
        checked(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above, of `alloc_zeroed`.
        checked(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: as above, of `realloc`.
        checked(unsafe { System.realloc(pointer, layout, new_size) }, new_size)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above, of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[inline]
fn checked(pointer: *mut u8, size: usize) -> *mut u8 {
    if pointer.is_null() {
        exhausted(size)
    }
    pointer
}

/// The limit at the start: when memory has ended, nothing can be asked for any more.
static LIMIT: OnceLock<Option<MemoryLimit>> = OnceLock::new();

/// Remembers the limit of memory for the message.
pub fn remember_limit() {
    LIMIT.get_or_init(memory_limit);
}

const TRAINING: &str = "lower model.dim, training.batch_size or sampling.negatives";

/// What takes less memory, where it is another command than training.
static ADVICE: OnceLock<&'static str> = OnceLock::new();

/// Says what takes less memory.
pub fn advise(what: &'static str) {
    ADVICE.get_or_init(|| what);
}

#[cold]
fn exhausted(size: usize) -> ! {
    static REPORTED: AtomicBool = AtomicBool::new(false);
    let mut text = Fixed { bytes: [0; 512], length: 0 };
    // One thread tells it and ends the process, the others wait for that.
    if REPORTED.swap(true, Ordering::Relaxed) {
        std::thread::sleep(Duration::from_secs(10));
    } else {
        let limit = LIMIT.get().and_then(Option::as_ref);
        // That the message is cut is no failure.
        let _ = text.message(size, limit);
    }
    text.end()
}

/// Text without an allocation.
struct Fixed {
    bytes: [u8; 512],
    length: usize,
}

impl Fixed {
    fn message(&mut self, size: usize, limit: Option<&MemoryLimit>) -> fmt::Result {
        write!(self, "error: out of memory: {} MB more cannot be allocated", size.div_ceil(1_000_000))?;
        if let Some(limit) = limit {
            // The formatting of sizes allocates; whole megabytes do not.
            write!(self, " (of {} MB at the start)", limit.bytes / 1_000_000)?;
        }
        write!(self, ": {}", ADVICE.get().unwrap_or(&TRAINING))?;
        if let Some(limit) = limit {
            write!(self, ", or {}", limit.remedy())?;
        }
        writeln!(self)
    }

    #[cfg(unix)]
    fn end(&self) -> ! {
        // SAFETY: the bytes are initialised and live for the call; `_exit` runs no destructors, which could allocate.
        unsafe {
            libc::write(2, self.bytes.as_ptr().cast(), self.length);
            libc::_exit(1)
        }
    }

    #[cfg(not(unix))]
    fn end(&self) -> ! {
        use std::io::Write as _;
        let _ = std::io::stderr().write_all(&self.bytes[..self.length]);
        std::process::exit(1)
    }
}

impl fmt::Write for Fixed {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = &mut self.bytes[self.length..];
        let count = text.len().min(room.len());
        room[..count].copy_from_slice(&text.as_bytes()[..count]);
        self.length += count;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::LimitedBy;

    #[test]
    fn the_end_of_memory_is_reported_with_the_limit_and_the_remedy() {
        let message = |limit: Option<&MemoryLimit>| {
            let mut text = Fixed { bytes: [0; 512], length: 0 };
            text.message(2_048_000_000, limit).unwrap();
            String::from_utf8(text.bytes[..text.length].to_vec()).unwrap()
        };
        let limit = MemoryLimit { bytes: 5_900_000_000, by: LimitedBy::AddressSpace(6_144_000_000) };
        assert_eq!(
            message(Some(&limit)),
            "error: out of memory: 2048 MB more cannot be allocated (of 5900 MB at the start): lower \
             model.dim, training.batch_size or sampling.negatives, or lift the limit with ulimit -v unlimited\n"
        );
        assert_eq!(
            message(None),
            "error: out of memory: 2048 MB more cannot be allocated: lower model.dim, training.batch_size or \
             sampling.negatives\n"
        );
    }
}
