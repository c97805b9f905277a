//! NumPy's numbers in pickles.

use super::Value;

/// How the bytes of a NumPy number are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dtype {
    /// `i`, `u`, `f` or `b`.
    kind: u8,
    size: usize,
    /// Whether its first byte is the largest.
    pub big: bool,
}

impl Dtype {
    /// Of `i8` and the like.
    pub fn parse(text: &str) -> Option<Self> {
        let &[kind @ (b'i' | b'u' | b'f' | b'b'), size @ b'1'..=b'8'] = text.as_bytes() else { return None };
        Some(Dtype { kind, size: usize::from(size - b'0'), big: false })
    }

    /// The number that `bytes` are; `None` where they are none.
    pub fn read(self, bytes: &[u8]) -> Option<Value> {
        if bytes.len() != self.size {
            return None;
        }
        let mut wide = [0; 8];
        wide[..self.size].copy_from_slice(bytes);
        if self.big {
            wide[..self.size].reverse();
        }
        let number = u64::from_le_bytes(wide);
        let unused = 64 - 8 * self.size as u32;
        match (self.kind, self.size) {
            (b'b', 1) => Some(Value::Bool(number != 0)),
            (b'i', 1 | 2 | 4 | 8) => Some(Value::Int(((number << unused) as i64) >> unused)),
            (b'u', 1 | 2 | 4 | 8) => i64::try_from(number).ok().map(Value::Int),
            (b'f', 4) => Some(Value::Float(f32::from_bits(number as u32).into())),
            (b'f', 8) => Some(Value::Float(f64::from_bits(number))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    /// As NumPy 2.4 writes them, by protocol 0, 2 and 4; before 2.0 the module has another name.
    #[test]
    fn numpy_scalars_are_plain_numbers() {
        let text = |text: &str| Value::Str(text.into());
        let expected = [(Value::Int(0), text("a")), (Value::Int(1), text("b"))];
        let dicts: [&[u8]; 3] = [
            b"(dp0\ncnumpy._core.multiarray\nscalar\np1\n(cnumpy\ndtype\np2\n(Vi8\np3\nI00\nI01\ntp4\nRp5\n(I3\nV<\np6\nNNNI-1\nI-1\nI0\ntp7\nbc_codecs\nencode\np8\n(V\\u0000\\u0000\\u0000\\u0000\\u0000\\u0000\\u0000\\u0000\np9\nVlatin1\np10\ntp11\nRp12\ntp13\nRp14\nVa\np15\nsg1\n(g5\ng8\n(V\x01\\u0000\\u0000\\u0000\\u0000\\u0000\\u0000\\u0000\np16\ng10\ntp17\nRp18\ntp19\nRp20\nVb\np21\ns.",
            b"\x80\x02}q\x00(cnumpy._core.multiarray\nscalar\nq\x01cnumpy\ndtype\nq\x02X\x02\x00\x00\x00i8q\x03\x89\x88\x87q\x04Rq\x05(K\x03X\x01\x00\x00\x00<q\x06NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x07bc_codecs\nencode\nq\x08X\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00q\x09X\x06\x00\x00\x00latin1q\n\x86q\x0bRq\x0c\x86q\x0dRq\x0eX\x01\x00\x00\x00aq\x0fh\x01h\x05h\x08X\x08\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00q\x10h\n\x86q\x11Rq\x12\x86q\x13Rq\x14X\x01\x00\x00\x00bq\x15u.",
            b"\x80\x04\x95\x89\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x16numpy._core.multiarray\x94\x8c\x06scalar\x94\x93\x94\x8c\x05numpy\x94\x8c\x05dtype\x94\x93\x94\x8c\x02i8\x94\x89\x88\x87\x94R\x94(K\x03\x8c\x01<\x94NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t\x94bC\x08\x00\x00\x00\x00\x00\x00\x00\x00\x94\x86\x94R\x94\x8c\x01a\x94h\x03h\x09C\x08\x01\x00\x00\x00\x00\x00\x00\x00\x94\x86\x94R\x94\x8c\x01b\x94u.",
        ];
        for dict in dicts {
            assert_eq!(parse(dict).unwrap().pairs().unwrap(), expected);
        }
        let kinds: &[u8] = b"\x80\x04\x95\xf9\x00\x00\x00\x00\x00\x00\x00]\x94(\x8c\x16numpy._core.multiarray\x94\x8c\x06scalar\x94\x93\x94\x8c\x05numpy\x94\x8c\x05dtype\x94\x93\x94\x8c\x02i4\x94\x89\x88\x87\x94R\x94(K\x03\x8c\x01<\x94NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t\x94bC\x04\xfe\xff\xff\xff\x94\x86\x94R\x94h\x03h\x06\x8c\x02u1\x94\x89\x88\x87\x94R\x94(K\x03\x8c\x01|\x94NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t\x94bC\x01\x07\x94\x86\x94R\x94h\x03h\x06\x8c\x02f4\x94\x89\x88\x87\x94R\x94(K\x03h\nNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t\x94bC\x04\x00\x00\xc0?\x94\x86\x94R\x94h\x03h\x06\x8c\x02b1\x94\x89\x88\x87\x94R\x94(K\x03h\x12NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t\x94bC\x01\x01\x94\x86\x94R\x94e.";
        let expected = [Value::Int(-2), Value::Int(7), Value::Float(1.5), Value::Bool(true)];
        assert_eq!(parse(kinds).unwrap().items().unwrap(), expected);
        let older = String::from_utf8(dicts[0].to_vec()).unwrap().replace("numpy._core", "numpy.core");
        assert_eq!(parse(older.as_bytes()).unwrap().pairs().unwrap().len(), 2);
        let big_endian = String::from_utf8(dicts[0].to_vec()).unwrap().replace("V<", "V>");
        assert_eq!(parse(big_endian.as_bytes()).unwrap().pairs().unwrap()[1].0, Value::Int(1 << 56));
        let too_large: &[u8] = b"\x80\x04\x95j\x00\x00\x00\x00\x00\x00\x00\x8c\x16numpy._core.multiarray\x94\x8c\x06scalar\x94\x93\x94\x8c\x05numpy\x94\x8c\x05dtype\x94\x93\x94\x8c\x02u8\x94\x89\x88\x87\x94R\x94(K\x03\x8c\x01<\x94NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t\x94bC\x08\x00\x00\x00\x00\x00\x00\x00\x80\x94\x86\x94R\x94.";
        let error = parse(too_large).unwrap_err();
        assert_eq!(error.message, "a NumPy number is none, or does not fit 64 bits");
    }
}
