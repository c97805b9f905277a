//! What this process has used so far: CPU time and memory.

mod limits;

pub use limits::{LimitedBy, MemoryLimit, memory_limit};

use std::time::Duration;

/// CPU time of the calling thread, which does not count while it waits; zero where it is not measured.
pub fn thread_cpu_time() -> Duration {
    clock(Clock::Thread)
}

/// CPU time of all threads of this process, those that have ended included.
pub fn cpu_time() -> Duration {
    clock(Clock::Process)
}

/// Which time is asked for.
enum Clock {
    Thread,
    Process,
}

#[cfg(unix)]
fn clock(clock: Clock) -> Duration {
    let id = match clock {
        Clock::Thread => libc::CLOCK_THREAD_CPUTIME_ID,
        Clock::Process => libc::CLOCK_PROCESS_CPUTIME_ID,
    };
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec that the call writes and nobody else has.
    let status = unsafe { libc::clock_gettime(id, &mut time) };
    if status == 0 { Duration::new(time.tv_sec as u64, time.tv_nsec as u32) } else { Duration::ZERO }
}

#[cfg(not(unix))]
fn clock(_: Clock) -> Duration {
    Duration::ZERO
}

/// Most memory that was ever resident, in bytes, mapped files included; `None` where the system has no
/// `/proc`.
pub fn peak_resident_bytes() -> Option<u64> {
    status("VmHWM:")
}

/// Resident anonymous memory now, in bytes: what the process allocated, without mapped files.
pub fn anonymous_bytes() -> Option<u64> {
    status("RssAnon:")
}

/// Resident pages of mapped files now, in bytes: the system can take them back.
pub fn mapped_bytes() -> Option<u64> {
    Some(status("RssFile:")? + status("RssShmem:").unwrap_or(0))
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

/// Page faults of all threads so far; none where they are not counted.
pub fn page_faults() -> PageFaults {
    #[cfg(unix)]
    {
        // SAFETY: all-zero bytes are a valid rusage, which has numbers only.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: `usage` is a valid rusage that the call writes and nobody else has.
        if unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) } == 0 {
            return PageFaults { minor: usage.ru_minflt as u64, major: usage.ru_majflt as u64 };
        }
    }
    PageFaults::default()
}

/// Memory of the machine in bytes, swap included; `None` where the system has no `/proc`.
pub fn total_memory() -> Option<u64> {
    Some(field("/proc/meminfo", "MemTotal:")? + field("/proc/meminfo", "SwapTotal:").unwrap_or(0))
}

/// Name of the processor; `None` where the system has no `/proc`, or does not tell it there.
pub fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

fn status(name: &str) -> Option<u64> {
    field("/proc/self/status", name)
}

/// A line `FIELD  N kB` of a file of the system, in bytes.
fn field(file: &str, field: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
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
