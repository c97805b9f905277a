//! A file given a second name, or a copy that shares its blocks, or a copy.

use super::{atomic, space};
use crate::error::{Error, Result};
use std::fs::File;
use std::path::Path;

/// How a file came to its second place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It is the same file: a hard link.
    Linked,
    /// It is another file that shares blocks of the disk until one of them is changed (a reflink).
    Shared,
    /// It is another file, with bytes of its own.
    Copied,
}

/// Puts the file `from` at `to` as well. Only where `may_link` are both the same file: then whoever changes one
/// changes the other.
///
/// # Errors
///
/// Where `from` cannot be read, or `to` cannot be written or its disk has no room.
pub fn place(from: &Path, to: &Path, may_link: bool) -> Result<Placed> {
    if may_link && std::fs::hard_link(from, to).is_ok() {
        return Ok(Placed::Linked);
    }
    atomic::write_by_path(to, |temporary| {
        let source = File::open(from).map_err(Error::io(from))?;
        let target = File::options().write(true).open(temporary).map_err(Error::io(to))?;
        if share_blocks(&source, &target) {
            return Ok(Placed::Shared);
        }
        let bytes = source.metadata().map_err(Error::io(from))?.len();
        std::fs::copy(from, temporary).map_err(space::full(to, bytes))?;
        Ok(Placed::Copied)
    })
}

/// Makes the empty file `to` share the blocks of `from`; whether the file system can.
#[cfg(target_os = "linux")]
fn share_blocks(from: &File, to: &File) -> bool {
    rustix::fs::ioctl_ficlone(to, from).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn share_blocks(_: &File, _: &File) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_not_be_linked_stays_as_it_is_when_the_first_file_is_changed_in_place() {
        let folder = tempfile::tempdir().unwrap();
        let [from, linked, copied] = ["from", "linked", "copied"].map(|name| folder.path().join(name));
        std::fs::write(&from, b"old").unwrap();
        assert_eq!(place(&from, &linked, true).unwrap(), Placed::Linked);
        assert_ne!(place(&from, &copied, false).unwrap(), Placed::Linked);
        std::fs::write(&from, b"new!").unwrap();
        assert_eq!(std::fs::read(&linked).unwrap(), b"new!");
        assert_eq!(std::fs::read(&copied).unwrap(), b"old");
    }
}
