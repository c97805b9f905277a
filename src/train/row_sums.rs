//! Checksums of a table of rows, block by block, for rows that change in place.
//!
//! They stand between the table's header and its rows: the step they are of, an XXH3-64 of them, and one XXH3-64 for
//! each block of rows. A flush works out those of the blocks that were touched since the last one, which it has just
//! written. A table whose rows are of one step has the sums of that step; one that training was cut off in has none.

use crate::storage::checksum;
use rayon::prelude::*;
use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::ops::Range;

/// Bytes of rows in a block, about.
const BLOCK: usize = 1 << 20;

/// Bytes before the sums of blocks.
const HEAD: usize = 16;

/// The checksums of a table that is open.
#[derive(Debug)]
pub struct Sums {
    /// Rows of the table, of a block, and bytes of a row.
    rows: usize,
    block: usize,
    row_bytes: usize,
    /// Where the rows begin in the file.
    first: u64,
    sums: Vec<u64>,
    /// Blocks that were touched since their sum was worked out.
    touched: Vec<bool>,
}

/// The rows that are summed: how many, and the bytes of each.
#[derive(Clone, Copy, Debug)]
pub struct Rows {
    /// Their number.
    pub count: usize,
    /// Bytes of a row.
    pub bytes: usize,
}

impl Sums {
    /// Bytes that they take on the disk: whole pages.
    pub fn bytes(rows: Rows, page: usize) -> usize {
        let blocks = rows.count.div_ceil(Self::block(rows));
        (HEAD + 8 * blocks).next_multiple_of(page)
    }

    fn block(rows: Rows) -> usize {
        (BLOCK / rows.bytes.max(1)).max(1)
    }

    /// Of a table whose rows begin at byte `first` of its file; none was worked out.
    pub fn new(rows: Rows, first: usize) -> Self {
        let (block, row_bytes, rows) = (Self::block(rows), rows.bytes, rows.count);
        let blocks = rows.div_ceil(block);
        Sums {
            rows,
            block,
            row_bytes,
            first: first as u64,
            sums: vec![0; blocks],
            touched: vec![true; blocks],
        }
    }

    /// Reads those of `step` from their bytes in the file; an error in words where they are not whole.
    pub fn read(&mut self, bytes: &[u8], step: u64) -> std::result::Result<(), &'static str> {
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let sums: Vec<u64> = (0..self.sums.len()).map(|block| number(HEAD + 8 * block)).collect();
        if number(8) != sum_of(step, &sums) {
            return Err("has damaged checksums");
        }
        if number(0) != step {
            return Err("has checksums of another step than its rows");
        }
        self.sums = sums;
        self.touched.fill(false);
        Ok(())
    }

    /// As [`Sums::read`] reads them.
    pub fn to_bytes(&self, step: u64) -> Vec<u8> {
        let head = [step, sum_of(step, &self.sums)];
        head.iter().chain(&self.sums).flat_map(|number| number.to_le_bytes()).collect()
    }

    /// Notes that rows are going to be changed.
    pub fn touch(&mut self, rows: &[u32]) {
        rows.iter().for_each(|&row| self.touched[row as usize / self.block] = true);
    }

    /// Notes that any row may have been changed.
    pub fn touch_all(&mut self) {
        self.touched.fill(true);
    }

    /// Works out the sums of all blocks that were touched, from the file; how many there were.
    pub fn renew(&mut self, file: &File) -> Result<usize> {
        let touched: Vec<usize> = (0..self.touched.len()).filter(|&block| self.touched[block]).collect();
        let found: Vec<u64> = touched
            .par_iter()
            .map_init(Vec::new, |buffer, &block| self.sum(file, block, buffer))
            .collect::<Result<_>>()?;
        touched.iter().zip(found).for_each(|(&block, sum)| self.sums[block] = sum);
        self.touched.fill(false);
        Ok(touched.len())
    }

    /// Reads all rows: those of the first block that is not what its sum says.
    pub fn difference(&self, file: &File) -> Result<Option<Range<usize>>> {
        let differs = |buffer: &mut Vec<u8>, block: usize| {
            let found = self.sum(file, block, buffer);
            (!matches!(found, Ok(sum) if sum == self.sums[block])).then_some((block, found))
        };
        let first = (0..self.sums.len())
            .into_par_iter()
            .map_init(Vec::new, differs)
            .flatten()
            .min_by_key(|(block, _)| *block);
        first.map(|(block, found)| found.map(|_| self.rows_of(block))).transpose()
    }

    fn rows_of(&self, block: usize) -> Range<usize> {
        block * self.block..((block + 1) * self.block).min(self.rows)
    }

    fn sum(&self, file: &File, block: usize, buffer: &mut Vec<u8>) -> Result<u64> {
        let rows = self.rows_of(block);
        buffer.resize(rows.len() * self.row_bytes, 0);
        read_at(file, buffer, self.first + (rows.start * self.row_bytes) as u64)?;
        Ok(checksum::section(buffer))
    }
}

fn sum_of(step: u64, sums: &[u64]) -> u64 {
    checksum::section(bytemuck::cast_slice(&[&[step], sums].concat()))
}

/// Reads bytes of a file at a place, whatever other threads read meanwhile.
fn read_at(file: &File, mut into: &mut [u8], mut from: u64) -> Result<()> {
    while !into.is_empty() {
        #[cfg(unix)]
        let read = std::os::unix::fs::FileExt::read_at(file, into, from);
        #[cfg(windows)]
        let read = std::os::windows::fs::FileExt::seek_read(file, into, from);
        match read {
            Ok(0) => return Err(Error::from(ErrorKind::UnexpectedEof)),
            Ok(read) => (into, from) = (&mut into[read..], from + read as u64),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, SeekFrom, Write};

    #[test]
    fn a_changed_byte_is_found_in_its_block() {
        // Three blocks of 1,024 rows and one of five.
        let shape = Rows { count: 3 * 1024 + 5, bytes: 3 * 4 * 85 };
        assert_eq!(Sums::block(shape), BLOCK / (3 * 4 * 85));
        let block = Sums::block(shape);
        let bytes: Vec<u8> = (0..shape.count * shape.bytes).map(|i| (i % 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[0; 4096]).unwrap();
        file.write_all(&bytes).unwrap();
        let mut sums = Sums::new(shape, 4096);
        assert_eq!(sums.renew(&file).unwrap(), 3);
        assert_eq!(sums.difference(&file).unwrap(), None);
        let mut change = |row: usize, byte: u8| {
            file.seek(SeekFrom::Start((4096 + row * shape.bytes) as u64)).unwrap();
            file.write_all(&[byte]).unwrap();
            file.try_clone().unwrap()
        };
        let last = shape.count - 1;
        change(block + 1, 255);
        let file = change(last, 255);
        assert_eq!(sums.difference(&file).unwrap(), Some(block..2 * block));
        sums.touch(&[block as u32]);
        assert_eq!(sums.renew(&file).unwrap(), 1);
        assert_eq!(sums.difference(&file).unwrap(), Some(2 * block..shape.count));
        sums.touch_all();
        assert_eq!(sums.renew(&file).unwrap(), 3);
        assert_eq!(sums.difference(&file).unwrap(), None);
    }

    #[test]
    fn sums_are_those_of_a_step_or_an_error() {
        let shape = Rows { count: 10, bytes: 3 * 4 * 2 };
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 240]).unwrap();
        let mut sums = Sums::new(shape, 0);
        sums.renew(&file).unwrap();
        let bytes = sums.to_bytes(5);
        assert!(bytes.len() <= Sums::bytes(shape, 4096));
        let mut again = Sums::new(shape, 0);
        assert_eq!(again.read(&bytes, 5), Ok(()));
        assert_eq!((again.sums.clone(), again.renew(&file).unwrap()), (sums.sums.clone(), 0));
        assert_eq!(again.read(&sums.to_bytes(6), 5), Err("has damaged checksums"));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 16;
            assert!(again.read(&changed, 5).is_err(), "byte {at}");
        }
    }
}
