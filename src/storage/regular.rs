//! Files that are opened by a name that the user gave.

use crate::error::{Error, Result};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Opens a regular file to read. A named pipe would wait for a writer, for ever; a device has no end.
///
/// # Errors
///
/// Where there is no such file, it cannot be read, or is not a regular file.
pub fn open(path: &Path) -> Result<File> {
    let kind = std::fs::metadata(path).map_err(Error::io(path))?.file_type();
    let what = match () {
        () if kind.is_file() => return File::open(path).map_err(Error::io(path)),
        () if kind.is_dir() => "is a folder, and a file is needed here",
        () if is_pipe(&kind) => {
            "is a named pipe, and files are read more than once: write its bytes to a file first"
        }
        () => "is not a regular file: copy its bytes to a file first",
    };
    Err(Error::file(path, what))
}

/// All bytes of a regular file; see [`open`].
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes).map_err(Error::io(path))?;
    Ok(bytes)
}

#[cfg(unix)]
fn is_pipe(kind: &std::fs::FileType) -> bool {
    std::os::unix::fs::FileTypeExt::is_fifo(kind)
}

#[cfg(not(unix))]
fn is_pipe(_: &std::fs::FileType) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_pipe_a_folder_and_a_device_are_refused_at_once_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("train.txt");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let message = |path: &Path| open(path).unwrap_err().to_string();
        assert_eq!(
            message(&pipe),
            format!(
                "{}: is a named pipe, and files are read more than once: write its bytes to a file first",
                pipe.display()
            )
        );
        assert_eq!(
            message(folder.path()),
            format!("{}: is a folder, and a file is needed here", folder.path().display())
        );
        assert_eq!(
            message(Path::new("/dev/null")),
            "/dev/null: is not a regular file: copy its bytes to a file first"
        );
    }
}
