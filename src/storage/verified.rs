//! Which files were found whole on this machine, so that they are read as a whole only once.
//!
//! A folder with one small file for each verified file. Its name is a hash of device and inode, which hard links
//! share; its content is the length and the time of the last change. A file that was changed in place differs in the
//! time, one that was replaced in the inode. What changes the bytes alone, as a failing disk does, goes unnoticed here:
//! that is what `smore data verify` is for.

use super::{atomic, checksum};
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Raised when more is checked than before, so that files are read again.
const VERSION: u32 = 1;

/// A file changed so recently may be changed once more without its time showing it.
const YOUNG: Duration = Duration::from_secs(2);

/// A memory of verified files.
#[derive(Clone, Debug)]
pub struct Verified {
    folder: PathBuf,
}

impl Verified {
    /// The memory in `folder`, which is made when there is something to remember.
    pub fn new(folder: &Path) -> Self {
        Verified { folder: folder.to_path_buf() }
    }

    /// Whether this very file was verified, and has not been changed since. O(1).
    pub fn contains(&self, path: &Path, file: &Metadata) -> bool {
        let known = std::fs::read(self.entry(path, file));
        known.is_ok_and(|known| Some(known) == state(file).map(String::into_bytes))
    }

    /// Remembers that the file was found whole. `file` is from before it was read. A failure to write is none: the file
    /// is verified again next time, as is one that was changed a moment ago.
    pub fn remember(&self, path: &Path, file: &Metadata) {
        let age = file.modified().ok().and_then(|time| SystemTime::now().duration_since(time).ok());
        if let Some(state) = state(file).filter(|_| age.is_some_and(|age| age > YOUNG)) {
            let _ = atomic::write_bytes(&self.entry(path, file), state.as_bytes());
        }
    }

    /// Forgets a file, if it was known.
    pub fn forget(&self, path: &Path, file: &Metadata) {
        let _ = std::fs::remove_file(self.entry(path, file));
    }

    fn entry(&self, path: &Path, file: &Metadata) -> PathBuf {
        self.folder.join(format!("{:016x}", checksum::section(identity(path, file).as_bytes())))
    }
}

/// Tells a file from others.
#[cfg(unix)]
fn identity(_: &Path, file: &Metadata) -> String {
    use std::os::unix::fs::MetadataExt;
    format!("{} {}", file.dev(), file.ino())
}

#[cfg(not(unix))]
fn identity(path: &Path, _: &Metadata) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()).to_string_lossy().into_owned()
}

/// Tells a file from what it was before; `None` where the system does not know.
fn state(file: &Metadata) -> Option<String> {
    let changed = file.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(format!("smore verified {VERSION}: {} bytes, changed {}\n", file.len(), changed.as_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    fn file(folder: &Path, age: Duration) -> (PathBuf, Metadata) {
        let path = folder.join("file");
        std::fs::write(&path, b"content").unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(SystemTime::now() - age).unwrap();
        let metadata = std::fs::metadata(&path).unwrap();
        (path, metadata)
    }

    #[test]
    fn a_file_is_known_until_it_is_changed_or_replaced_or_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let verified = Verified::new(&folder.path().join("verified"));
        let (path, old) = file(folder.path(), Duration::from_secs(60));
        assert!(!verified.contains(&path, &old));
        verified.remember(&path, &old);
        assert!(verified.contains(&path, &old));
        let link = folder.path().join("link");
        std::fs::hard_link(&path, &link).unwrap();
        assert_eq!(verified.contains(&link, &std::fs::metadata(&link).unwrap()), cfg!(unix));
        let (path, changed) = file(folder.path(), Duration::from_secs(59));
        assert!(!verified.contains(&path, &changed));
        verified.forget(&path, &old);
        assert!(!verified.contains(&path, &old));
    }

    #[test]
    fn a_file_that_was_just_changed_is_not_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let verified = Verified::new(&folder.path().join("verified"));
        let (path, young) = file(folder.path(), Duration::ZERO);
        verified.remember(&path, &young);
        assert!(!verified.contains(&path, &young));
    }

    #[test]
    fn a_folder_that_cannot_be_written_to_is_no_failure() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = file(folder.path(), Duration::from_secs(60));
        let verified = Verified::new(&path);
        verified.remember(&path, &old);
        assert!(!verified.contains(&path, &old));
    }
}
