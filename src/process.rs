//! What this process has used so far, CPU time and memory, and what there is for it.
//!
//! `linux` reads `/proc`, `elsewhere` stands in where there is none; `limits` finds how much memory the process may use.

mod limits;
#[cfg_attr(target_os = "linux", path = "process/linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "process/elsewhere.rs")]
mod system;

pub use limits::{LimitedBy, MemoryLimit, memory_limit};
pub use system::{anonymous_bytes, mapped_bytes, page_faults, peak_resident_bytes, processor, total_memory};

use std::time::Duration;

/// CPU time of the calling thread, which does not count while it waits; zero where it is not measured.
pub fn thread_cpu_time() -> Duration {
    #[cfg(unix)]
    return clock(rustix::time::ClockId::ThreadCPUTime);
    #[cfg(not(unix))]
    Duration::ZERO
}

/// CPU time of all threads of this process, those that have ended included; zero where it is not measured.
pub fn cpu_time() -> Duration {
    #[cfg(unix)]
    return clock(rustix::time::ClockId::ProcessCPUTime);
    #[cfg(not(unix))]
    Duration::ZERO
}

#[cfg(unix)]
fn clock(id: rustix::time::ClockId) -> Duration {
    Duration::try_from(rustix::time::clock_gettime(id)).unwrap_or_default()
}

/// Page faults of this process so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PageFaults {
    /// The page was in memory and only had to be mapped.
    pub minor: u64,
    /// The page had to be read from the disk.
    pub major: u64,
}

impl std::ops::Sub for PageFaults {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        PageFaults { minor: self.minor - earlier.minor, major: self.major - earlier.major }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn work_and_memory_are_seen() {
        let before = (thread_cpu_time(), cpu_time());
        let block = std::hint::black_box(vec![1u8; 64 << 20]);
        let sum: u64 = std::hint::black_box(&block).iter().map(|&x| u64::from(x)).sum();
        assert_eq!(sum, 64 << 20);
        assert!(thread_cpu_time() > before.0 && cpu_time() > before.1);
        assert!(peak_resident_bytes().unwrap() >= 64 << 20);
        assert!(anonymous_bytes().unwrap() >= 64 << 20);
        assert!(total_memory().unwrap() >= anonymous_bytes().unwrap());
        // The test's own code is mapped, and 64 MB of memory were touched for the first time.
        assert!(mapped_bytes().unwrap() > 1 << 16);
        assert!(page_faults().minor > 32);
    }
}
