//! Input formats, one file each, as parsers of bytes.
//!
//! [`lines`] (lines, and what to do about bad ones), [`columns`] and [`delimiter`] (what columns hold, and what is between them), [`triples`] (delimited text), [`csv`](mod@csv),
//! [`rdf`] (what becomes of RDF statements), [`ntriples`] (N-Triples and N-Quads), [`turtle`] (Turtle and TriG), [`ids`] (numbers), [`maps`] (names of numbers), [`inverses`] (facts given in both directions), [`arrays`] (NumPy's and OGB's), [`entity2text`] (`name<TAB>text`), [`codex`] (CoDEx's JSON labels), [`aligned`] (the same triples written
//! twice, with ids and with readable names).

pub mod aligned;
pub mod arrays;
pub mod codex;
pub mod columns;
pub mod csv;
pub mod delimiter;
pub mod entity2text;
pub mod ids;
pub mod inverses;
pub mod lines;
pub mod maps;
pub mod ntriples;
pub mod rdf;
pub mod triples;
pub mod turtle;
