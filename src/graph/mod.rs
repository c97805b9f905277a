//! The graph: compressed sparse rows over directed relations, and the file that holds them.
//!
//! Reading order: [`csr`] (the index everything else walks).

pub mod csr;

pub use csr::{Csr, CsrBuf, View};
