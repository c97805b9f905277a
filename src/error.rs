//! The library's error: what went wrong, where, and what to do about it.

use std::path::{Path, PathBuf};

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Every way in which the library can fail.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused a file operation.
    #[error("{}: {}", path.display(), reason(source))]
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
    /// No entity has this name or label.
    #[error("{message}")]
    NoSuchEntity {
        /// What was given.
        name: String,
        /// That there is none, and which ones may be meant.
        message: String,
    },
    /// No relation has this name or label.
    #[error("{message}")]
    NoSuchRelation {
        /// What was given.
        name: String,
        /// That there is none, and which ones may be meant.
        message: String,
    },
    /// The model has not the operation that a structure needs.
    #[error("{message}")]
    CannotExpress {
        /// The structure.
        structure: String,
        /// What is missing, and what to use instead.
        message: String,
    },
    /// A run needs more memory than there is; reported before anything is allocated.
    #[error("{message}")]
    OutOfMemory {
        /// Bytes that are needed.
        needed: u64,
        /// What to do.
        message: String,
    },
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
        Error::File { path: path.as_ref().to_path_buf(), message: bounded(message.into()) }
    }

    /// A bad line of an input file.
    pub fn line(path: impl AsRef<Path>, line: u64, message: impl Into<String>) -> Error {
        let message = bounded(one_line(message.into()));
        Error::Line { path: path.as_ref().to_path_buf(), line, message }
    }

    /// Something that the user gave and that cannot be used.
    pub fn invalid(message: impl Into<String>) -> Error {
        Error::Invalid(bounded(message.into()))
    }
}

/// What the system says of an error, without its number.
pub fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// Characters of a message that are kept from its beginning and from its end.
const KEPT: usize = 300;

/// A message of bounded length: what it quotes of a file may be as long as the file.
fn bounded(message: String) -> String {
    let length = message.chars().count();
    // The lists of a message are longer than that, and no longer than a screen.
    if length <= 10 * KEPT {
        return message;
    }
    let first: String = message.chars().take(KEPT).collect();
    let last: String = message.chars().skip(length - KEPT).collect();
    format!("{first} [... {} characters ...] {last}", length - 2 * KEPT)
}

/// Control characters as Rust and Python write them.
fn one_line(message: String) -> String {
    if !message.contains(char::is_control) {
        return message;
    }
    let show = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    message.chars().map(show).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_about_a_line_has_one_line_of_bounded_length_with_its_beginning_and_its_end() {
        let error =
            Error::line("train.txt", 1, format!("found \"{}\": take it out", "a\tb\n".repeat(250_000)));
        let text = error.to_string();
        assert!(text.starts_with("train.txt:1: found \"a\\tb\\na"), "{text}");
        assert!(text.ends_with("\\n\": take it out"), "{text}");
        assert!(text.contains(" [... 1499") && text.len() < 700, "{text}");
        assert_eq!(text.lines().count(), 1);
        assert_eq!(Error::line("x", 2, "short\tone").to_string(), "x:2: short\\tone");
    }
}
