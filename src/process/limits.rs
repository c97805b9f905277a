//! How much memory this process may use: the machine's, or less by a limit of the process or of its control group.

use std::fmt;
#[cfg(target_os = "linux")]
use std::path::Path;
use std::path::PathBuf;

/// The memory that there is for this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryLimit {
    /// Bytes that can still be allocated; of the machine and of a control group all of them, because what others use
    /// can be taken back or swapped out.
    pub bytes: u64,
    /// Who sets the limit.
    pub by: LimitedBy,
}

/// Who limits the memory of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitedBy {
    /// What the machine has, swap included.
    Machine,
    /// A control group, by this file.
    Group(PathBuf),
    /// The size of the address space (`ulimit -v`), of so many bytes.
    AddressSpace(u64),
    /// The size of allocated memory (`ulimit -d`), of so many bytes.
    Data(u64),
}

impl fmt::Display for MemoryLimit {
    /// Completes "it needs 5 GB of memory, and ...".
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let show = crate::table::bytes;
        let left = show(self.bytes);
        match &self.by {
            LimitedBy::Machine => write!(f, "the machine has {left}"),
            LimitedBy::Group(file) => write!(f, "its control group has {left} ({})", file.display()),
            LimitedBy::AddressSpace(all) => write!(f, "ulimit -v {} leaves {left}", all / 1024),
            LimitedBy::Data(all) => write!(f, "ulimit -d {} leaves {left}", all / 1024),
        }
    }
}

impl MemoryLimit {
    /// What lifts the limit, to go into a list of remedies.
    pub fn remedy(&self) -> &'static str {
        match self.by {
            LimitedBy::Machine => "use a machine with more memory",
            LimitedBy::Group(_) => "raise the memory limit of the container or service",
            LimitedBy::AddressSpace(_) => "lift the limit with ulimit -v unlimited",
            LimitedBy::Data(_) => "lift the limit with ulimit -d unlimited",
        }
    }
}

/// The smallest of the limits that hold for this process; `None` where the system has none.
pub fn memory_limit() -> Option<MemoryLimit> {
    let machine = super::total_memory().map(|bytes| MemoryLimit { bytes, by: LimitedBy::Machine });
    let mut limits: Vec<MemoryLimit> = machine.into_iter().collect();
    #[cfg(target_os = "linux")]
    {
        let groups = procfs::process::Process::myself().and_then(|process| process.cgroups());
        if let Ok(groups) = groups {
            limits.extend(linux::of_groups(&groups, Path::new("/sys/fs/cgroup"), super::system::swap()));
        }
        limits.extend(linux::of_process());
    }
    limits.into_iter().min_by_key(|limit| limit.bytes)
}

#[cfg(target_os = "linux")]
mod linux {
    use super::super::system::{kilobytes, status};
    use super::*;
    use procfs::ProcessCGroups;
    use rustix::process::{Resource, getrlimit};

    /// Address space that a thread takes besides what it allocates: its stack, and the reserve of its allocator.
    const THREAD: u64 = (2 << 20) + (64 << 20);

    /// Limits of `setrlimit` less what is used already and what the threads of a run are going to reserve.
    pub fn of_process() -> Vec<MemoryLimit> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        // Where it is not known, nothing counts as used.
        let status = status();
        let mut limits = Vec::new();
        if let Some(all) = getrlimit(Resource::As).current {
            let used = status.as_ref().and_then(|s| s.vmsize).map_or(0, kilobytes) + threads.min(16) * THREAD;
            limits.push(MemoryLimit { bytes: all.saturating_sub(used), by: LimitedBy::AddressSpace(all) });
        }
        if let Some(all) = getrlimit(Resource::Data).current {
            let used = status.as_ref().and_then(|s| s.vmdata).map_or(0, kilobytes);
            limits.push(MemoryLimit { bytes: all.saturating_sub(used), by: LimitedBy::Data(all) });
        }
        limits
    }

    /// The limits of a process's control groups, of both versions, and of those above them. In a container its own group
    /// is mounted at `root`, whatever the list calls it.
    pub fn of_groups(groups: &ProcessCGroups, root: &Path, swap: u64) -> Vec<MemoryLimit> {
        let mut limits = Vec::new();
        for group in groups {
            // Of version 2 there is one hierarchy, and no controller is named.
            let unified = group.controllers.iter().all(String::is_empty);
            let (mount, memory, with_swap) = match unified {
                true => (root.to_path_buf(), "memory.max", "memory.swap.max"),
                false if group.controllers.iter().any(|name| name == "memory") => {
                    (root.join("memory"), "memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
                }
                false => continue,
            };
            for group in Path::new(group.pathname.trim_start_matches('/')).ancestors() {
                let file = mount.join(group).join(memory);
                let Some(limit) = number(&file) else { continue };
                let swap = match (unified, number(&mount.join(group).join(with_swap))) {
                    (_, None) => swap,
                    (true, Some(most)) => swap.min(most),
                    (false, Some(both)) => swap.min(both.saturating_sub(limit)),
                };
                limits.push(MemoryLimit { bytes: limit.saturating_add(swap), by: LimitedBy::Group(file) });
            }
        }
        limits
    }

    /// The number in a file; `None` where there is none, or `max`.
    fn number(file: &Path) -> Option<u64> {
        std::fs::read_to_string(file).ok()?.trim().parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with these files.
    #[cfg(target_os = "linux")]
    fn groups(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    #[cfg(target_os = "linux")]
    fn least(list: &str, root: &Path, swap: u64) -> Option<(u64, PathBuf)> {
        use procfs::FromRead;
        let groups = procfs::ProcessCGroups::from_read(list.as_bytes()).unwrap();
        let limit = linux::of_groups(&groups, root, swap).into_iter().min_by_key(|limit| limit.bytes)?;
        let LimitedBy::Group(file) = limit.by else { panic!("not of a group") };
        Some((limit.bytes, file.strip_prefix(root).unwrap().to_path_buf()))
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_smallest_limit_of_a_control_group_and_those_above_it_holds() {
        let root = groups(&[
            ("a/memory.max", "3000\n"),
            ("a/b/memory.max", "max\n"),
            ("a/memory.swap.max", "500\n"),
            ("memory/x/memory.limit_in_bytes", "2000\n"),
            ("memory/x/memory.memsw.limit_in_bytes", "2400\n"),
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ]);
        let found = |list, swap| least(list, root.path(), swap);
        assert_eq!(found("0::/a/b", 0), Some((3000, "a/memory.max".into())));
        assert_eq!(found("0::/a/b", 10_000), Some((3500, "a/memory.max".into())));
        let first = "4:cpu,memory:/x\n0::/";
        assert_eq!(found(first, 0), Some((2000, "memory/x/memory.limit_in_bytes".into())));
        assert_eq!(found(first, 10_000), Some((2400, "memory/x/memory.limit_in_bytes".into())));
        assert_eq!(found("3:cpu:/a\n0::/c", 0), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn in_a_container_the_group_at_the_root_counts_whatever_its_name_outside() {
        let root = groups(&[("memory.max", "7000")]);
        assert_eq!(least("0::/docker/abc", root.path(), 0), Some((7000, "memory.max".into())));
    }

    #[test]
    fn who_sets_a_limit_is_reported_with_what_lifts_it() {
        let message = |by| {
            let limit = MemoryLimit { bytes: 2_000_000_000, by };
            format!("{limit}: {}", limit.remedy())
        };
        let texts = [
            LimitedBy::Machine,
            LimitedBy::Group("/sys/fs/cgroup/memory.max".into()),
            LimitedBy::AddressSpace(6_144_000_000),
            LimitedBy::Data(4_096_000_000),
        ]
        .map(message);
        assert_eq!(
            texts,
            [
                "the machine has 2.00 GB: use a machine with more memory",
                "its control group has 2.00 GB (/sys/fs/cgroup/memory.max): raise the memory limit of the container or service",
                "ulimit -v 6000000 leaves 2.00 GB: lift the limit with ulimit -v unlimited",
                "ulimit -d 4000000 leaves 2.00 GB: lift the limit with ulimit -d unlimited",
            ]
        );
    }
}
