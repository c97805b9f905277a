//! Checksums: XXH3, 64 bits for sections of our own files, 128 bits for source files.
//!
//! They find damage and name content; they are no defence against a forger. The 128-bit text is what
//! `xxh128sum FILE` prints, so that a manifest can be checked by hand.

use crate::error::{Error, Result};
use std::io::Read;
use std::path::Path;
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64, xxh3_128};

/// XXH3-64 of `bytes`.
pub fn section(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// XXH3-128 of `bytes` as 32 hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    format!("{:032x}", xxh3_128(bytes))
}

/// Length and XXH3-128 of a file, read once in blocks.
pub fn file(path: &Path) -> Result<(u64, String)> {
    let mut file = super::regular::open(path)?;
    let mut hash = Xxh3Default::new();
    let mut block = vec![0u8; 1 << 18];
    let mut length = 0;
    loop {
        match file.read(&mut block).map_err(Error::io(path))? {
            0 => return Ok((length, format!("{:032x}", hash.digest128()))),
            read => {
                hash.update(&block[..read]);
                length += read as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_hashes_like_its_bytes_at_every_block_border() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for length in [0, 1, (1 << 18) - 1, 1 << 18, (1 << 18) + 1] {
            let bytes: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(file(&path).unwrap(), (length as u64, hex(&bytes)));
        }
    }

    #[test]
    fn the_text_is_that_of_xxh128sum() {
        assert_eq!(hex(b""), "99aa06d3014798d86001c324468d497f");
    }
}
