//! Triples as NumPy arrays of whole numbers, read as streams.
//!
//! | file | holds |
//! | --- | --- |
//! | `.npy` | head, relation and tail in three columns; or two columns, with the tails in a second file |
//! | `.npz` | one such array, or the arrays `head`, `relation` and `tail`, as in OGB's splits of wikikg2 |
//! | OGB's `edge.csv` and `edge_reltype.csv` | `head,tail` and `relation`, line by line |

use super::columns::Columns;
use crate::error::{Error, Result};
use crate::table::count;
use npyz::{DType, Endianness, NpyHeader, Order, TypeChar};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use zip::ZipArchive;

/// Rows that are read at once.
const ROWS: usize = 1 << 15;

/// An array of one or two dimensions, row by row.
pub struct Array<R> {
    from: R,
    path: PathBuf,
    rows: u64,
    width: usize,
    /// Bytes of a number, whether it is signed, and whether its first byte is the largest.
    item: (usize, bool, bool),
    /// Rows read so far.
    done: u64,
    bytes: Vec<u8>,
}

/// The longest header that is read: that of an array of numbers has some hundred bytes.
const LONGEST_HEADER: usize = 1 << 16;

/// The deepest brackets that are read in one: a parser of Python's literals tries each in several ways.
const DEEPEST: usize = 8;

/// The bytes of a header. Whoever reads it makes room for as many bytes as it says it has, and takes time that doubles with
/// each bracket in a bracket, so both are bounded first.
fn header_bytes(mut from: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; 10];
    from.read_exact(&mut bytes)?;
    let mut length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    if bytes[6] > 1 {
        bytes.resize(12, 0);
        from.read_exact(&mut bytes[10..])?;
        length |= usize::from(u16::from_le_bytes([bytes[10], bytes[11]])) << 16;
    }
    if length > LONGEST_HEADER {
        return Err(std::io::Error::other(format!("its header has {} bytes", count(length))));
    }
    let start = bytes.len();
    bytes.resize(start + length, 0);
    from.read_exact(&mut bytes[start..])?;
    let opened = |depth: usize, &byte: &u8| match byte {
        b'[' | b'(' | b'{' => depth + 1,
        b']' | b')' | b'}' => depth.saturating_sub(1),
        _ => depth,
    };
    let depths = bytes[start..].iter().scan(0, |depth, byte| {
        *depth = opened(*depth, byte);
        Some(*depth)
    });
    match depths.max() > Some(DEEPEST) {
        true => Err(std::io::Error::other("its header has brackets in brackets")),
        false => Ok(bytes),
    }
}

impl<R: Read> Array<R> {
    /// Reads the header of an array that begins at `from`. `path` is for messages.
    pub fn open(mut from: R, path: &Path) -> Result<Self> {
        let wrong = |message: String| Error::file(path, message);
        let header = header_bytes(&mut from)
            .and_then(|bytes| NpyHeader::from_reader(bytes.as_slice()))
            .map_err(|e| wrong(format!("is no NumPy array: {e}; write it with numpy.save")))?;
        let shape = header.shape();
        let width = match shape {
            [_] => 1,
            [_, width @ 1..=255] => *width as usize,
            _ => {
                return Err(wrong(format!("expected an array of columns, found the shape {shape:?}")));
            }
        };
        if header.order() == Order::Fortran && width > 1 {
            return Err(wrong("is in Fortran order; save numpy.ascontiguousarray of it".into()));
        }
        let dtype = header.dtype();
        let item = match &dtype {
            DType::Plain(t) if matches!(t.type_char(), TypeChar::Int | TypeChar::Uint) => {
                let signed = t.type_char() == TypeChar::Int;
                Some((t.size_field() as usize, signed, t.endianness() == Endianness::Big))
            }
            _ => None,
        };
        let item = item.filter(|(bytes, ..)| matches!(bytes, 1 | 2 | 4 | 8)).ok_or_else(|| {
            wrong(format!("expected whole numbers, found {}; save it as int64", dtype.descr()))
        })?;
        let path = path.to_path_buf();
        Ok(Array { from, path, rows: shape[0], width, item, done: 0, bytes: Vec::new() })
    }

    /// Appends the next `rows` rows to `out`, which then has that many times the width more.
    fn read(&mut self, rows: usize, out: &mut Vec<u32>) -> Result<()> {
        let (size, signed, big) = self.item;
        self.bytes.resize(rows * self.width * size, 0);
        self.from.read_exact(&mut self.bytes).map_err(|e| match e.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                Error::file(&self.path, format!("is cut short: its header says {} rows", self.rows))
            }
            _ => Error::io(&self.path)(e),
        })?;
        for (index, item) in self.bytes.chunks_exact(size).enumerate() {
            let mut bytes = [0; 8];
            bytes[..size].copy_from_slice(item);
            if big {
                bytes[..size].reverse();
            }
            let number = u64::from_le_bytes(bytes);
            let negative = signed && number >> (8 * size - 1) == 1;
            match u32::try_from(number) {
                Ok(id) if !negative => out.push(id),
                _ => {
                    let row = self.done + (index / self.width) as u64;
                    let found = if negative { "a negative number".into() } else { number.to_string() };
                    return Err(Error::file(&self.path, format!("row {row}: expected an id, found {found}")));
                }
            }
        }
        self.done += rows as u64;
        Ok(())
    }
}

/// Calls `take(row, [head, relation, tail])` for each row of `arrays`, whose columns together are `columns`.
///
/// Fails where they have not as many columns or not the same number of rows. O(1) memory.
pub fn read<R: Read>(
    arrays: &mut [Array<R>],
    columns: Columns,
    mut take: impl FnMut(u64, [u32; 3]) -> Result<()>,
) -> Result<()> {
    let Some(Array { path, rows, .. }) = arrays.first() else { return Ok(()) };
    let (path, rows) = (path.clone(), *rows);
    if let Some(other) = arrays.iter().find(|array| array.rows != rows) {
        let message = format!("has {} rows, but {} has {rows}", other.rows, path.display());
        return Err(Error::file(&other.path, message));
    }
    let width: usize = arrays.iter().map(|array| array.width).sum();
    if width != columns.letters().len() {
        let message = format!(
            "expected the columns {}, found {width} columns: say what they hold, as in `--columns hrt-`",
            columns.letters()
        );
        return Err(Error::file(&path, message));
    }
    let places = columns.places().map(usize::from);
    let mut cells_of: Vec<Vec<u32>> = arrays.iter().map(|_| Vec::new()).collect();
    let mut done = 0;
    while done < rows {
        let now = (rows - done).min(ROWS as u64) as usize;
        for (array, cells) in arrays.iter_mut().zip(&mut cells_of) {
            cells.clear();
            array.read(now, cells)?;
        }
        let mut of_row = Vec::with_capacity(width);
        for row in 0..now {
            of_row.clear();
            for (array, cells) in arrays.iter().zip(&cells_of) {
                of_row.extend_from_slice(&cells[row * array.width..][..array.width]);
            }
            take(done + row as u64, places.map(|place| of_row[place]))?;
        }
        done += now as u64;
    }
    Ok(())
}

/// As [`read`], of an `.npz` file.
pub fn read_npz(path: &Path, take: impl FnMut(u64, [u32; 3]) -> Result<()>) -> Result<()> {
    let wrong = |message: String| Error::file(path, message);
    let open = || -> Result<ZipArchive<BufReader<File>>> {
        let file = File::open(path).map_err(Error::io(path))?;
        ZipArchive::new(BufReader::new(file)).map_err(|e| wrong(format!("is no .npz file: {e}")))
    };
    let archive = open()?;
    let names: Vec<String> = archive.file_names().flatten().map(|name| name.into_owned()).collect();
    let arrays: Vec<&str> = names.iter().filter_map(|name| name.strip_suffix(".npy")).collect();
    let wanted = match arrays.as_slice() {
        [one] => vec![*one],
        several if ["head", "relation", "tail"].iter().all(|name| several.contains(name)) => {
            vec!["head", "relation", "tail"]
        }
        several => {
            let several = several.join(", ");
            return Err(wrong(format!("expected the arrays head, relation and tail, found {several}")));
        }
    };
    // An archive lends one array at a time.
    let mut archives = wanted.iter().map(|_| open()).collect::<Result<Vec<_>>>()?;
    let opened = archives.iter_mut().zip(&wanted).map(|(archive, name)| {
        let array = archive.by_name(&format!("{name}.npy")).map_err(|e| wrong(format!("{name}: {e}")))?;
        Array::open(array, &path.join(name))
    });
    read(&mut opened.collect::<Result<Vec<_>>>()?, Columns::HRT, take)
}

/// As [`read`], of lines `head,tail` and of as many lines `relation`. Rows are counted from 0.
pub fn read_ogb(
    [edges, relations]: [(&Path, &mut dyn Read); 2],
    mut take: impl FnMut(u64, [u32; 3]) -> Result<()>,
) -> Result<()> {
    let mut files = [edges, relations].map(|(path, from)| (path, BufReader::with_capacity(1 << 17, from)));
    let mut lines = [String::new(), String::new()];
    for row in 0.. {
        let mut number = |which: usize, fields: usize| -> Result<Option<[u32; 2]>> {
            let ((path, file), line) = (&mut files[which], &mut lines[which]);
            line.clear();
            if file.read_line(line).map_err(Error::io(*path))? == 0 {
                return Ok(None);
            }
            let mut ids = [0; 2];
            let mut found = line.trim().split(',').map(|field| field.trim().parse::<u32>());
            let whole = ids[..fields].iter_mut().all(|id| match found.next() {
                Some(Ok(number)) => {
                    *id = number;
                    true
                }
                _ => false,
            });
            if !whole || found.next().is_some() {
                return Err(Error::line(
                    *path,
                    row + 1,
                    format!("expected {fields} ids, found {:?}", line.trim()),
                ));
            }
            Ok(Some(ids))
        };
        match (number(0, 2)?, number(1, 1)?) {
            (Some([head, tail]), Some([relation, _])) => take(row, [head, relation, tail])?,
            (None, None) => break,
            _ => {
                let message = format!("has not as many lines as {}", files[0].0.display());
                return Err(Error::file(files[1].0, message));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use npyz::WriterBuilder;

    /// The bytes of an array.
    pub fn npy<T: npyz::AutoSerialize + Copy>(shape: &[u64], values: &[T]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let options = npyz::WriteOptions::new().default_dtype().shape(shape).writer(&mut bytes);
        let mut writer = options.begin_nd().unwrap();
        writer.extend(values.iter().copied()).unwrap();
        writer.finish().unwrap();
        bytes
    }

    fn read_all(files: &[&[u8]]) -> Result<Vec<[u32; 3]>> {
        let mut found = Vec::new();
        let open = |file: &&'_ [u8]| Array::open(std::io::Cursor::new(file.to_vec()), Path::new("x.npy"));
        let mut arrays = files.iter().map(open).collect::<Result<Vec<_>>>()?;
        read(&mut arrays, Columns::HRT, |row, triple| {
            assert_eq!(row, found.len() as u64);
            found.push(triple);
            Ok(())
        })
        .map(|()| found)
    }

    #[test]
    fn columns_may_be_spread_over_arrays_of_any_width_of_numbers() {
        let whole = npy(&[2, 3], &[1i64, 2, 3, 4, 5, 6]);
        let expected = [[1, 2, 3], [4, 5, 6]];
        assert_eq!(read_all(&[&whole]).unwrap(), expected);
        let (hr, t) = (npy(&[2, 2], &[1i32, 2, 4, 5]), npy(&[2], &[3u8, 6]));
        assert_eq!(read_all(&[&hr, &t]).unwrap(), expected);
        let many: Vec<u32> = (0..3 * (2 * ROWS as u32 + 5)).collect();
        let read = read_all(&[&npy(&[many.len() as u64 / 3, 3], &many)]).unwrap();
        assert_eq!(read.as_flattened(), many);
    }

    #[test]
    fn columns_are_read_in_the_order_that_is_said() {
        let file = npy(&[2, 4], &[1i64, 2, 3, 9, 4, 5, 6, 9]);
        let mut arrays = [Array::open(&file[..], Path::new("x.npy")).unwrap()];
        let mut found = Vec::new();
        read(&mut arrays, Columns::parse("htr-").unwrap(), |_, triple| {
            found.push(triple);
            Ok(())
        })
        .unwrap();
        assert_eq!(found, [[1, 3, 2], [4, 6, 5]]);
        assert_eq!(
            read_all(&[&file]).unwrap_err().to_string(),
            "x.npy: expected the columns hrt, found 4 columns: say what they hold, as in `--columns hrt-`"
        );
    }

    #[test]
    fn what_is_no_array_of_ids_is_refused_with_its_place() {
        let error = |files: &[&[u8]]| read_all(files).unwrap_err().to_string();
        let whole = npy(&[2, 3], &[1i16, 2, 3, 4, -5, 6]);
        assert_eq!(error(&[&whole]), "x.npy: row 1: expected an id, found a negative number");
        let large = npy(&[1, 3], &[1u64, 1 << 32, 3]);
        assert!(error(&[&large]).contains("row 0: expected an id, found 4294967296"));
        assert!(error(&[&large[..large.len() - 1]]).contains("is cut short: its header says 1 rows"));
        assert!(error(&[&npy(&[1, 3], &[1f32, 2.0, 3.0])]).contains("expected whole numbers"));
        assert!(error(&[&npy(&[1, 2], &[1u8, 2])]).contains("found 2 columns"));
        assert!(error(&[&npy(&[2], &[1u8, 2]), &npy(&[1, 2], &[1u8, 2])]).contains("has 1 rows, but"));
        assert!(error(&[b"text"]).contains("is no NumPy array"));
    }

    #[test]
    fn a_header_that_is_longer_or_deeper_than_any_is_refused_before_it_is_read() {
        let mut bytes = b"\x93NUMPY\x02\0\xff\xff\xff\xff{}".to_vec();
        bytes.resize(200, b' ');
        let error = Array::open(bytes.as_slice(), Path::new("train.npy")).err().unwrap().to_string();
        assert_eq!(
            error,
            "train.npy: is no NumPy array: its header has 4,294,967,295 bytes; write it with numpy.save"
        );
        let mut nested = b"\x93NUMPY\x01\0\x76\0".to_vec();
        nested.extend([b'['; 0x76]);
        let error = Array::open(nested.as_slice(), Path::new("train.npy")).err().unwrap().to_string();
        assert_eq!(
            error,
            "train.npy: is no NumPy array: its header has brackets in brackets; write it with numpy.save"
        );
    }

    #[test]
    fn ogb_lines_are_read_side_by_side() {
        let read = |mut edges: &[u8], mut relations: &[u8]| {
            let mut found = Vec::new();
            let files: [(&Path, &mut dyn Read); 2] =
                [(Path::new("edge.csv"), &mut edges), (Path::new("edge_reltype.csv"), &mut relations)];
            read_ogb(files, |_, triple| {
                found.push(triple);
                Ok(())
            })
            .map(|()| found)
        };
        assert_eq!(read(b"1,2\n3,4\n", b"0\n5").unwrap(), [[1, 0, 2], [3, 5, 4]]);
        assert!(read(b"1,2\n", b"0\n5\n").unwrap_err().to_string().starts_with("edge_reltype.csv: has not"));
        let error = read(b"1,2\nx,4\n", b"0\n5\n").unwrap_err().to_string();
        assert!(error.starts_with("edge.csv:2: expected 2 ids, found \"x,4\""), "{error}");
    }
}
