//! Where there is no `/proc`, figures of the process are not known.

use super::PageFaults;

/// Most memory that was ever resident: not known here.
pub fn peak_resident_bytes() -> Option<u64> {
    None
}

/// Resident anonymous memory: not known here.
pub fn anonymous_bytes() -> Option<u64> {
    None
}

/// Resident pages of mapped files: not known here.
pub fn mapped_bytes() -> Option<u64> {
    None
}

/// Page faults: not counted here.
pub fn page_faults() -> PageFaults {
    PageFaults::default()
}

/// Memory of the machine: not known here.
pub fn total_memory() -> Option<u64> {
    None
}

/// Name of the processor: not known here.
pub fn processor() -> Option<String> {
    None
}
