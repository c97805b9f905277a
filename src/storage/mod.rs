//! Files: memory maps, atomic writes, and a container of checksummed sections.
//!
//! Reading order: [`mmap`] (the only call that maps memory), [`atomic`] (a file is there whole or not
//! at all), [`checksum`] (one hash for everything), [`container`] (header and section table), [`scratch`]
//! (temporary bytes), [`space`] (room on a disk), [`sort`] and [`sort_records`] (more than memory holds, in order), [`pickle`] (plain data
//! written by Python), [`pickle_write`] (and for it), [`verified`] (which files were found whole), [`regular`] (files that a user
//! names), [`place`] (links and copies of files).

pub mod atomic;
pub mod checksum;
pub mod container;
pub mod mmap;
pub mod pickle;
pub mod pickle_write;
pub mod place;
pub mod regular;
pub mod scratch;
pub mod sort;
pub mod sort_records;
pub mod space;
pub mod verified;

#[cfg(target_endian = "big")]
compile_error!(
    "smore maps little-endian files straight into memory: big-endian hosts need a converting reader, \
     which does not exist yet"
);

#[cfg(not(target_pointer_width = "64"))]
compile_error!("smore maps whole graphs into memory and needs a 64-bit host");
