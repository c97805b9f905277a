//! The library's error: what went wrong, where, and what to do about it.

use std::path::{Path, PathBuf};

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Every way in which the library can fail.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused a file operation.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A line of an input file is not what its format demands.
    #[error("{}:{line}: {message}", path.display())]
    Line {
        /// The input file.
        path: PathBuf,
        /// Line number, from 1.
        line: u64,
        /// What was expected and what was found.
        message: String,
    },
    /// A file as a whole is not usable.
    #[error("{}: {message}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong and what to do.
        message: String,
    },
    /// A name, query, structure or option that the user gave cannot be used.
    #[error("{0}")]
    Invalid(String),
    /// A structure cannot be drawn on this graph.
    #[error("{0}")]
    Sampling(String),
    /// A GPU or one of its libraries is missing, unfit, out of memory or failed.
    #[error("{0}")]
    Device(String),
    /// Training cannot go on (not-a-number, divergence).
    #[error("{0}")]
    Training(String),
    /// The user asked for an end.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// Attaches a path to an I/O error: `.map_err(Error::io(path))`.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.as_ref().to_path_buf();
        move |source| Error::Io { path, source }
    }

    /// A file that cannot be used, with the reason and the remedy.
    pub fn file(path: impl AsRef<Path>, message: impl Into<String>) -> Error {
        Error::File { path: path.as_ref().to_path_buf(), message: message.into() }
    }

    /// A bad line of an input file.
    pub fn line(path: impl AsRef<Path>, line: u64, message: impl Into<String>) -> Error {
        Error::Line { path: path.as_ref().to_path_buf(), line, message: message.into() }
    }

    /// Something that the user gave and that cannot be used.
    pub fn invalid(message: impl Into<String>) -> Error {
        Error::Invalid(message.into())
    }
}
