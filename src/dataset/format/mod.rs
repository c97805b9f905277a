//! Input formats, one file each, as parsers of bytes.
//!
//! [`lines`] (lines, and what to do about bad ones), [`columns`] (what columns hold), [`triples`] (delimited text), [`csv`](mod@csv),
//! [`ntriples`] (RDF), [`ids`] (numbers and maps of names), [`arrays`] (NumPy's and OGB's), [`texts`] (`name<TAB>text`), [`codex`] (CoDEx's JSON labels), [`aligned`] (the same triples written
//! twice, with ids and with readable names).

pub mod aligned;
pub mod arrays;
pub mod codex;
pub mod columns;
pub mod csv;
pub mod ids;
pub mod lines;
pub mod ntriples;
pub mod texts;
pub mod triples;
