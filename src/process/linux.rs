//! Figures of this process and of the machine, from `/proc`. Where it is not mounted they are not known.

use super::PageFaults;
use procfs::process::{Process, Status};
use procfs::{CpuInfo, Current};
use rustix::system::sysinfo;

/// Most memory that was ever resident, in bytes, mapped files included; `None` where it is not known.
pub fn peak_resident_bytes() -> Option<u64> {
    status()?.vmhwm.map(kilobytes)
}

/// Resident anonymous memory now, in bytes: what the process allocated, without mapped files; `None` where it is not known.
pub fn anonymous_bytes() -> Option<u64> {
    status()?.rssanon.map(kilobytes)
}

/// Resident pages of mapped files now, in bytes: the system can take them back; `None` where they are not known.
pub fn mapped_bytes() -> Option<u64> {
    let status = status()?;
    Some(kilobytes(status.rssfile? + status.rssshmem.unwrap_or(0)))
}

/// Page faults of all threads so far; none where they are not counted.
pub fn page_faults() -> PageFaults {
    let stat = Process::myself().and_then(|process| process.stat());
    stat.map_or(PageFaults::default(), |stat| PageFaults { minor: stat.minflt, major: stat.majflt })
}

/// Memory of the machine in bytes, swap included.
pub fn total_memory() -> Option<u64> {
    let machine = sysinfo();
    Some((machine.totalram + machine.totalswap) * u64::from(machine.mem_unit))
}

/// Swap of the machine in bytes.
pub(super) fn swap() -> u64 {
    let machine = sysinfo();
    machine.totalswap * u64::from(machine.mem_unit)
}

/// Name of the processor; `None` where it is not known.
pub fn processor() -> Option<String> {
    CpuInfo::current().ok()?.model_name(0).map(str::to_string)
}

pub(super) fn status() -> Option<Status> {
    Process::myself().and_then(|process| process.status()).ok()
}

pub(super) fn kilobytes(number: u64) -> u64 {
    number * 1024
}
