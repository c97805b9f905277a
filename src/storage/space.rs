//! Room on a disk, taken before it is used.
//!
//! A file with holes can be mapped and written on a full disk, and then the process is killed by a bus error in
//! the middle of a store. So a file that is going to be mapped gets all its room first.

use crate::error::{Error, Result};
use crate::table::bytes as show;
use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

/// Takes room for `bytes` bytes of a new file, where the system can do that at once. Its length becomes `bytes`.
///
/// Errors, where there is not so much, with how much it takes.
pub fn reserve(file: &File, path: &Path, bytes: u64) -> Result<()> {
    match allocate(file, bytes) {
        Ok(()) => Ok(()),
        Err(error) => match error.kind() {
            // The bytes are written one after the other later on: a full disk is found out then.
            ErrorKind::Unsupported => Ok(()),
            _ => Err(full(path, bytes)(error)),
        },
    }
}

/// The error of a write to a file that is going to have `bytes` bytes; of a full disk it says how much it takes.
pub fn full(path: &Path, bytes: u64) -> impl FnOnce(std::io::Error) -> Error {
    move |source| match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => Error::file(
            path,
            format!(
                "takes {} of disk, and there is not so much: make room, or choose another folder",
                show(bytes)
            ),
        ),
        _ => Error::io(path)(source),
    }
}

#[cfg(target_os = "linux")]
fn allocate(file: &File, bytes: u64) -> std::io::Result<()> {
    rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes).map_err(|error| match error {
        // An offset that the system cannot count.
        rustix::io::Errno::INVAL if bytes > i64::MAX as u64 => ErrorKind::FileTooLarge.into(),
        other => other.into(),
    })
}

#[cfg(not(target_os = "linux"))]
fn allocate(_: &File, _: u64) -> std::io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_reserved_and_what_does_not_is_reported_with_its_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let file = File::create(&path).unwrap();
        reserve(&file, &path, 1 << 20).unwrap();
        // An exabyte: no disk has it. A system that cannot reserve finds out when it writes.
        match reserve(&file, &path, 1 << 60) {
            Ok(()) => assert!(cfg!(not(target_os = "linux")) || allocate(&file, 1).is_err()),
            Err(error) => assert!(error.to_string().contains("takes 1.15 EB of disk"), "{error}"),
        }
    }
}
