//! Atomic writes: a reader sees the old file or the new one, never a part.

use crate::error::{Error, Result};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use tempfile::NamedTempFile;

const PREFIX: &str = ".smore-";
const SUFFIX: &str = ".tmp";

/// Whether `path` is named like the temporary files of this module: one that a killed process left.
pub fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX))
}

/// Removes the temporary files of `folder` whose writers are gone.
///
/// A writer holds a lock on its file for as long as it lives, so what can be locked was left behind by a
/// killed process. Where that cannot be told, the file stays.
pub fn sweep(folder: &Path) {
    if cfg!(not(unix)) {
        return;
    }
    let Ok(files) = std::fs::read_dir(folder) else { return };
    for path in files.flatten().map(|file| file.path()).filter(|path| is_temporary(path)) {
        let free = |file: File| file.try_lock().is_ok();
        if File::open(&path).is_ok_and(free) {
            let _ = std::fs::remove_file(&path);
        }
    }
}

/// A new temporary file in `folder`, locked.
fn create(folder: &Path) -> Result<NamedTempFile> {
    let mut options = tempfile::Builder::new();
    options.prefix(PREFIX).suffix(SUFFIX);
    // The default of temporary files is private to the user; graph files are shared. The umask still applies.
    #[cfg(unix)]
    options.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    loop {
        let temporary = options.tempfile_in(folder).map_err(Error::io(folder))?;
        // Elsewhere a lock would keep `write_by_path` from opening the file again. Some file systems know
        // no locks; then leftovers stay.
        #[cfg(unix)]
        let _ = temporary.as_file().lock();
        // Another process may have swept it away before it was locked.
        if temporary.path().exists() {
            return Ok(temporary);
        }
    }
}

/// Writes `path` through `fill`: temporary name in the same folder, sync, rename, sync of the folder.
/// Leftovers of killed processes are removed from the folder first.
///
/// Missing parent folders are created. Where anything fails, or `fill` panics, the temporary file is
/// removed and what `path` was before stays. The file gets the permissions of any new file.
pub fn write<T>(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> Result<T>) -> Result<T> {
    write_by_path(path, |temporary| {
        let file = File::options().write(true).open(temporary).map_err(Error::io(path))?;
        let mut writer = BufWriter::with_capacity(1 << 20, file);
        let value = fill(&mut writer)?;
        writer.flush().map_err(Error::io(path))?;
        Ok(value)
    })
}

/// As [`write()`], for writers that open a file by its name: `fill` gets the temporary one.
pub fn write_by_path<T>(path: &Path, fill: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
    sweep(folder);
    let temporary = create(folder)?;

    let value = fill(temporary.path())?;
    temporary.as_file().sync_all().map_err(Error::io(path))?;
    temporary.persist(path).map_err(|e| Error::io(path)(e.error))?;
    // Without this the rename itself may be lost in a crash. Not every system lets one sync a folder,
    // and the file is complete either way, so a refusal is no failure.
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(value)
}

/// Writes `bytes` to `path`, atomically.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    write(path, |file| file.write_all(bytes).map_err(Error::io(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_write_replaces_the_file_and_creates_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/file");
        write_bytes(&path, b"old").unwrap();
        write_bytes(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(names(path.parent().unwrap()), ["file"]);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write_bytes(&path, b"old").unwrap();
        let error = write(&path, |file| {
            file.write_all(b"half").unwrap();
            Err::<(), _>(Error::invalid("stopped"))
        });
        assert_eq!(error.unwrap_err().to_string(), "stopped");
        let panicked = std::panic::catch_unwind(|| write(&path, |_| -> Result<()> { panic!("stopped") }));
        assert!(panicked.is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["file"]);
    }

    #[cfg(unix)]
    #[test]
    fn leftovers_of_dead_writers_are_swept_and_files_of_living_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(folder.path().join(".smore-dead.tmp"), b"half").unwrap();
        write(&path, |file| {
            file.write_all(b"first").unwrap();
            assert_eq!(names(folder.path()).len(), 1, "the leftover is gone");
            // Another writer, while this one is at work.
            write_bytes(&folder.path().join("other"), b"second")
        })
        .unwrap();
        assert_eq!(names(folder.path()), ["file", "other"]);
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
    }

    #[cfg(unix)]
    #[test]
    fn other_users_may_read_what_the_umask_lets_them() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (ours, plain) = (folder.path().join("ours"), folder.path().join("plain"));
        write_bytes(&ours, b"x").unwrap();
        std::fs::write(&plain, b"x").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }
}
