//! TensorBoard event files: scalars, written by hand.
//!
//! An event file is a row of records, each framed by its length and two checksums, and each the protocol buffer `Event` of
//! TensorFlow's `event.proto`. Scalars need five of its fields, which is less to write than a dependency to follow.

use std::io::{self, Write};

/// What is in front of the first event, so that readers know the format.
const FILE_VERSION: &str = "brain.Event:2";

/// Wire types of protocol buffers.
const FIXED64: u8 = 1;
const BYTES: u8 = 2;
const FIXED32: u8 = 5;

/// Writes the event that every file starts with. `time` is in seconds since 1970.
pub fn write_version(out: &mut impl Write, time: f64) -> io::Result<()> {
    let mut event = Vec::new();
    field(&mut event, 1, FIXED64, &time.to_le_bytes());
    field(&mut event, 3, BYTES, FILE_VERSION.as_bytes());
    write_record(out, &event)
}

/// Writes the scalars of one step. `time` is in seconds since 1970.
pub fn write_scalars(
    out: &mut impl Write,
    time: f64,
    step: u64,
    scalars: &[(String, f64)],
) -> io::Result<()> {
    let mut summary = Vec::new();
    for (tag, value) in scalars {
        let mut scalar = Vec::new();
        field(&mut scalar, 1, BYTES, tag.as_bytes());
        field(&mut scalar, 2, FIXED32, &(*value as f32).to_le_bytes());
        field(&mut summary, 1, BYTES, &scalar);
    }
    let mut event = Vec::new();
    field(&mut event, 1, FIXED64, &time.to_le_bytes());
    event.push(2 << 3);
    varint(&mut event, step);
    field(&mut event, 5, BYTES, &summary);
    write_record(out, &event)
}

/// A field of a message; `bytes` of a [`BYTES`] field get their length in front.
fn field(message: &mut Vec<u8>, number: u8, wire_type: u8, bytes: &[u8]) {
    message.push(number << 3 | wire_type);
    if wire_type == BYTES {
        varint(message, bytes.len() as u64);
    }
    message.extend_from_slice(bytes);
}

fn varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

fn write_record(out: &mut impl Write, data: &[u8]) -> io::Result<()> {
    let length = (data.len() as u64).to_le_bytes();
    out.write_all(&length)?;
    out.write_all(&masked(crc32c(&length)).to_le_bytes())?;
    out.write_all(data)?;
    out.write_all(&masked(crc32c(data)).to_le_bytes())
}

/// A checksum of bytes that hold checksums is weak, so the format stores them rotated and shifted.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32 with Castagnoli's polynomial, bit-reversed.
fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    !bytes.iter().fold(!0, |crc, &byte| crc >> 8 ^ TABLE[usize::from(crc as u8 ^ byte)])
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = (byte as u32, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standard() {
        // RFC 3720, appendix B.4.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46dd_794e);
    }

    #[test]
    fn records_are_the_bytes_that_tensorboard_wrote() {
        let mut bytes = Vec::new();
        write_version(&mut bytes, 1.5).unwrap();
        write_scalars(&mut bytes, 2.5, 300, &[("train/loss".into(), 0.25), ("valid_mrr/2p".into(), 0.5)])
            .unwrap();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, GOLDEN);
    }

    /// Made by `tensorboard.summary.writer.record_writer` of tensorboard 2.21 from the same two events.
    const GOLDEN: &str = "1800000000000000a37f4b2209000000000000f83f1a0d627261696e2e4576656e743a322a28646c36000000000000004f578cef09000000000000044010ac022a280a110a0a747261696e2f6c6f7373150000803e0a130a0c76616c69645f6d72722f3270150000003fab3f9e8d";
}
