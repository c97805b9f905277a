//! Reads Python pickles that hold nothing but containers, numbers and strings.
//!
//! A pickle is a program for a stack machine. This machine has the instructions that build plain data
//! (protocols 0 to 5) and no way to call anything: of all globals it knows `set`, `frozenset`, `list`, `dict`,
//! `defaultdict` and `OrderedDict`, whose default factories and orders it drops, and NumPy's scalars, which become
//! plain numbers (`numpy`). Everything else is an error that names the byte.
//! `strings` reads text as protocol 0 writes it; `freeze` makes a value of what the machine has built.
//!
//! A hostile file cannot take more than it is worth: nesting is limited to [`MAX_DEPTH`], cycles are
//! errors, memory is proportional to the file, and so is the value with all shared parts written out
//! ([`MAX_EXPANSION`]), so that whoever walks or copies it is safe too.

mod freeze;
mod numpy;
mod strings;

use crate::error::{Error, Result};
use freeze::{Freezer, Frozen};
use numpy::Dtype;
use std::path::Path;
use std::sync::Arc;
use strings::{place, shortened, unescape_unicode, unquote};

/// Deepest nesting of containers. Queries and answers need 8.
pub const MAX_DEPTH: usize = 64;

/// Most values and bytes of text, shared ones counted as often as they are used, per byte of the file.
pub const MAX_EXPANSION: u64 = 256;

/// What a pickle holds. Clones share their parts.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An `int` of 64 bits; a longer one is an error.
    Int(i64),
    /// A `float`.
    Float(f64),
    /// A `str`, and a Python 2 `str` that is UTF-8.
    Str(Arc<str>),
    /// `bytes` or a `bytearray`.
    Bytes(Arc<[u8]>),
    /// A `list`.
    List(Arc<[Value]>),
    /// A `tuple`.
    Tuple(Arc<[Value]>),
    /// A `dict`, `defaultdict` or `OrderedDict` in the order of the file. Of two equal keys Python keeps
    /// the later value; here both are there.
    Dict(Arc<[(Value, Value)]>),
    /// A `set` in the order of the file; equal items are not merged.
    Set(Arc<[Value]>),
    /// A `frozenset`, likewise.
    FrozenSet(Arc<[Value]>),
}

impl Value {
    /// The items of a list, tuple, set or frozenset.
    pub fn items(&self) -> Option<&[Value]> {
        match self {
            Value::List(items) | Value::Tuple(items) | Value::Set(items) | Value::FrozenSet(items) => {
                Some(items)
            }
            _ => None,
        }
    }

    /// The pairs of a dict.
    pub fn pairs(&self) -> Option<&[(Value, Value)]> {
        if let Value::Dict(pairs) = self { Some(pairs) } else { None }
    }

    /// The number, where it is an `int`.
    pub fn int(&self) -> Option<i64> {
        if let Value::Int(number) = self { Some(*number) } else { None }
    }

    /// The text of a `str`.
    pub fn str(&self) -> Option<&str> {
        if let Value::Str(text) = self { Some(text) } else { None }
    }
}

/// Why bytes are no pickle of plain data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}: {message}")]
pub struct PickleError {
    /// Where the instruction begins that cannot be carried out.
    pub offset: usize,
    /// What is wrong with it.
    pub message: String,
}

/// Reads the pickle in `path`. Memory: the file, and up to about 100 bytes for each of its bytes.
pub fn read(path: &Path) -> Result<Value> {
    let bytes = super::regular::read(path)?;
    parse(&bytes)
        .map_err(|e| Error::file(path, format!("is no pickle of plain containers, numbers and strings: {e}")))
}

/// Reads the pickle that `bytes` are, from the first byte to the last. O(bytes).
pub fn parse(bytes: &[u8]) -> Result<Value, PickleError> {
    let mut machine = Machine { bytes, ..Machine::default() };
    loop {
        let start = machine.position;
        let at = |message| PickleError { offset: start, message };
        if machine.step().map_err(at)? {
            let rest = bytes.len() - machine.position;
            if rest > 0 {
                return Err(at(format!("the pickle ends here, but {rest} more bytes follow")));
            }
            return machine.finish().map_err(at);
        }
    }
}

type Step<T> = Result<T, String>;

/// What is on the stack: a value without parts, or the number of a container.
#[derive(Clone, Debug)]
enum Slot {
    Plain(Value),
    Container(usize),
    Global(Global),
    /// A number of [`Machine::dtypes`].
    Dtype(usize),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Global {
    Set,
    FrozenSet,
    Dict,
    List,
    /// NumPy's `dtype`.
    Dtype,
    /// NumPy's `scalar`: a dtype and the bytes of a number.
    Scalar,
    /// `_codecs.encode`, which makes bytes of text up to protocol 2.
    Encode,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    List,
    Tuple,
    /// Keys and values in turn.
    Dict,
    Set,
    FrozenSet,
    /// Has one item: the container whose items are its own.
    SetOf,
    FrozenSetOf,
}

#[derive(Debug)]
struct Container {
    kind: Kind,
    items: Vec<Slot>,
}

#[derive(Debug, Default)]
struct Machine<'b> {
    bytes: &'b [u8],
    position: usize,
    stack: Vec<Slot>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: Vec<Option<Slot>>,
    containers: Vec<Container>,
    dtypes: Vec<Dtype>,
}

impl<'b> Machine<'b> {
    fn take(&mut self, count: usize) -> Step<&'b [u8]> {
        let rest = &self.bytes[self.position..];
        let found =
            rest.get(..count).ok_or_else(|| format!("needs {count} more bytes, found {}", rest.len()))?;
        self.position += count;
        Ok(found)
    }

    /// An unsigned little-endian number of `width` bytes, at most 8.
    fn number(&mut self, width: usize) -> Step<u64> {
        Ok(self.take(width)?.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    /// What a length of `width` bytes is followed by.
    fn counted(&mut self, width: usize) -> Step<&'b [u8]> {
        let length = self.number(width)?;
        self.take(usize::try_from(length).map_err(|_| format!("needs {length} more bytes"))?)
    }

    fn raw_line(&mut self) -> Step<&'b [u8]> {
        let rest = &self.bytes[self.position..];
        let end = memchr::memchr(b'\n', rest).ok_or("the line does not end")?;
        self.position += end + 1;
        Ok(&rest[..end])
    }

    fn line(&mut self) -> Step<&'b str> {
        std::str::from_utf8(self.raw_line()?).map_err(|_| "the line is no UTF-8".into())
    }

    fn push(&mut self, value: Value) -> Step<()> {
        self.stack.push(Slot::Plain(value));
        Ok(())
    }

    fn push_container(&mut self, kind: Kind, items: Vec<Slot>) -> Step<()> {
        self.stack.push(Slot::Container(self.containers.len()));
        self.containers.push(Container { kind, items });
        Ok(())
    }

    fn push_int(&mut self, text: &str) -> Step<()> {
        let number = text.parse().map_err(|_| format!("{:?} is no integer of 64 bits", shortened(text)))?;
        self.push(Value::Int(number))
    }

    /// A little-endian number in two's complement.
    fn push_long(&mut self, bytes: &[u8]) -> Step<()> {
        let negative = bytes.last().is_some_and(|last| last & 0x80 != 0);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        let place = wide.get_mut(..bytes.len()).ok_or("an integer of more than 64 bits")?;
        place.copy_from_slice(bytes);
        self.push(Value::Int(i64::from_le_bytes(wide)))
    }

    fn push_text(&mut self, bytes: &[u8]) -> Step<()> {
        let text = std::str::from_utf8(bytes).map_err(|_| "a text is no UTF-8")?;
        self.push(Value::Str(text.into()))
    }

    /// A `str` of Python 2: text where it is UTF-8.
    fn push_old_text(&mut self, bytes: &[u8]) -> Step<()> {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.push(Value::Str(text.into())),
            Err(_) => self.push(Value::Bytes(bytes.into())),
        }
    }

    fn pop(&mut self) -> Step<Slot> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err("the stack is empty".into());
        }
        self.stack.pop().ok_or_else(|| "the stack is empty".into())
    }

    fn top(&self) -> Step<&Slot> {
        self.stack.last().ok_or_else(|| "the stack is empty".into())
    }

    fn pop_many(&mut self, count: usize) -> Step<Vec<Slot>> {
        let mut items = (0..count).map(|_| self.pop()).collect::<Step<Vec<Slot>>>()?;
        items.reverse();
        Ok(items)
    }

    fn pop_to_mark(&mut self) -> Step<Vec<Slot>> {
        let mark = self.marks.pop().ok_or("there is no mark on the stack")?;
        Ok(self.stack.split_off(mark))
    }

    /// Appends `items` to the container on top of the stack, which has one of the `kinds`.
    fn extend(&mut self, kinds: &[Kind], mut items: Vec<Slot>) -> Step<()> {
        let Slot::Container(number) = *self.top()? else { return Err("expected a container".into()) };
        let container = &mut self.containers[number];
        if !kinds.contains(&container.kind) {
            return Err(format!("expected {kinds:?}, found {:?}", container.kind));
        }
        if container.kind == Kind::Dict && items.len() % 2 == 1 {
            return Err("a key without a value".into());
        }
        container.items.append(&mut items);
        Ok(())
    }

    fn remember(&mut self, place: u64) -> Step<()> {
        let slot = self.top()?.clone();
        // Python numbers them from 0, and each takes at least a byte.
        let place = usize::try_from(place).ok().filter(|&place| place <= self.bytes.len());
        let place = place.ok_or("the number of a memo is larger than the file")?;
        if self.memo.len() <= place {
            self.memo.resize(place + 1, None);
        }
        self.memo[place] = Some(slot);
        Ok(())
    }

    fn recall(&mut self, place: u64) -> Step<()> {
        let slot = usize::try_from(place).ok().and_then(|place| self.memo.get(place)?.clone());
        self.stack.push(slot.ok_or_else(|| format!("memo {place} is not there"))?);
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Step<()> {
        let global = match (module, name) {
            ("builtins" | "__builtin__", "set") => Global::Set,
            ("builtins" | "__builtin__", "frozenset") => Global::FrozenSet,
            ("builtins" | "__builtin__", "list") => Global::List,
            ("builtins" | "__builtin__", "dict") => Global::Dict,
            ("collections", "defaultdict" | "OrderedDict") => Global::Dict,
            ("numpy", "dtype") => Global::Dtype,
            ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Global::Scalar,
            ("_codecs", "encode") => Global::Encode,
            _ => {
                return Err(format!(
                    "refuses the global {}.{}: it is no plain container",
                    shortened(module),
                    shortened(name)
                ));
            }
        };
        self.stack.push(Slot::Global(global));
        Ok(())
    }

    /// Sets the state of a dtype, of which the order of bytes counts.
    fn build(&mut self) -> Step<()> {
        let (Slot::Container(state), Slot::Dtype(dtype)) = (self.pop()?, self.top()?.clone()) else {
            return Err("refuses instruction 0x62: it builds no plain data".into());
        };
        let order = match self.containers[state].items.get(1) {
            Some(Slot::Plain(Value::Str(order))) => order.clone(),
            _ => return Err("expected the order of bytes of a NumPy number".into()),
        };
        self.dtypes[dtype].big = &*order == ">";
        Ok(())
    }

    /// Calls a constructor.
    fn reduce(&mut self) -> Step<()> {
        let (Slot::Container(arguments), Slot::Global(global)) = (self.pop()?, self.pop()?) else {
            return Err("expected a container's constructor and its arguments".into());
        };
        let Container { kind: Kind::Tuple, items } = &self.containers[arguments] else {
            return Err("expected a tuple of arguments".into());
        };
        let (kind, items) = match (global, items.as_slice()) {
            (Global::Dtype, [Slot::Plain(Value::Str(text)), ..]) => {
                let dtype = Dtype::parse(text);
                let dtype =
                    dtype.ok_or_else(|| format!("refuses NumPy's {:?}: it is no number", shortened(text)))?;
                self.dtypes.push(dtype);
                self.stack.push(Slot::Dtype(self.dtypes.len() - 1));
                return Ok(());
            }
            (Global::Scalar, [Slot::Dtype(dtype), Slot::Plain(Value::Bytes(bytes))]) => {
                let number = self.dtypes[*dtype].read(bytes);
                let number = number.ok_or("a NumPy number is none, or does not fit 64 bits")?;
                return self.push(number);
            }
            (Global::Encode, [Slot::Plain(Value::Str(text)), Slot::Plain(Value::Str(codec))])
                if &**codec == "latin1" =>
            {
                let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
                let bytes = bytes.ok_or("expected Latin-1")?;
                return self.push(Value::Bytes(bytes.into()));
            }
            (Global::Set, []) => (Kind::Set, Vec::new()),
            (Global::FrozenSet, []) => (Kind::FrozenSet, Vec::new()),
            (Global::List, []) => (Kind::List, Vec::new()),
            // A defaultdict's factory, which only matters to who adds to it.
            (Global::Dict, [] | [Slot::Global(_) | Slot::Plain(Value::None)]) => (Kind::Dict, Vec::new()),
            (Global::Set, [Slot::Container(_)]) => (Kind::SetOf, items.clone()),
            (Global::FrozenSet, [Slot::Container(_)]) => (Kind::FrozenSetOf, items.clone()),
            _ => return Err(format!("refuses these arguments of {global:?}")),
        };
        self.push_container(kind, items)
    }

    /// Carries out one instruction; true at the last.
    fn step(&mut self) -> Step<bool> {
        let [instruction] = *self.take(1)? else { return Err("the file ends before the pickle does".into()) };
        match instruction {
            b'.' => return Ok(true),
            0x80 => {
                let protocol = self.number(1)?;
                return if protocol <= 5 {
                    Ok(false)
                } else {
                    Err(format!("protocol {protocol} is unknown"))
                };
            }
            0x95 => self.take(8).map(|_| ())?,
            b'N' => self.push(Value::None)?,
            0x88 => self.push(Value::Bool(true))?,
            0x89 => self.push(Value::Bool(false))?,
            b'I' => match self.line()? {
                "00" => self.push(Value::Bool(false))?,
                "01" => self.push(Value::Bool(true))?,
                text => self.push_int(text)?,
            },
            b'L' => self.line().and_then(|text| self.push_int(text.trim_end_matches('L')))?,
            b'J' => self.take(4).and_then(|bytes| self.push_long(bytes))?,
            b'K' => self.number(1).and_then(|n| self.push(Value::Int(n as i64)))?,
            b'M' => self.number(2).and_then(|n| self.push(Value::Int(n as i64)))?,
            0x8a => self.counted(1).and_then(|bytes| self.push_long(bytes))?,
            0x8b => self.counted(4).and_then(|bytes| self.push_long(bytes))?,
            b'F' => {
                let text = self.line()?;
                let number = text.parse().map_err(|_| format!("{:?} is no number", shortened(text)))?;
                self.push(Value::Float(number))?;
            }
            b'G' => self.number(8).and_then(|n| self.push(Value::Float(f64::from_bits(n.swap_bytes()))))?,
            0x8c => self.counted(1).and_then(|bytes| self.push_text(bytes))?,
            b'X' => self.counted(4).and_then(|bytes| self.push_text(bytes))?,
            0x8d => self.counted(8).and_then(|bytes| self.push_text(bytes))?,
            b'V' => {
                self.raw_line().and_then(unescape_unicode).and_then(|text| self.push_text(text.as_bytes()))?
            }
            b'S' => self.line().and_then(unquote).and_then(|bytes| self.push_old_text(&bytes))?,
            b'U' => self.counted(1).and_then(|bytes| self.push_old_text(bytes))?,
            b'T' => self.counted(4).and_then(|bytes| self.push_old_text(bytes))?,
            b'C' => self.counted(1).and_then(|bytes| self.push(Value::Bytes(bytes.into())))?,
            b'B' => self.counted(4).and_then(|bytes| self.push(Value::Bytes(bytes.into())))?,
            0x8e | 0x96 => self.counted(8).and_then(|bytes| self.push(Value::Bytes(bytes.into())))?,
            b'(' => self.marks.push(self.stack.len()),
            b'0' if self.marks.last() == Some(&self.stack.len()) => self.marks.truncate(self.marks.len() - 1),
            b'0' => self.pop().map(|_| ())?,
            b'1' => self.pop_to_mark().map(|_| ())?,
            b'2' => self.stack.push(self.top()?.clone()),
            b')' => self.push_container(Kind::Tuple, Vec::new())?,
            0x85..=0x87 => {
                self.pop_many(usize::from(instruction - 0x84))
                    .and_then(|i| self.push_container(Kind::Tuple, i))?;
            }
            b't' => self.pop_to_mark().and_then(|items| self.push_container(Kind::Tuple, items))?,
            b']' => self.push_container(Kind::List, Vec::new())?,
            b'l' => self.pop_to_mark().and_then(|items| self.push_container(Kind::List, items))?,
            b'}' => self.push_container(Kind::Dict, Vec::new())?,
            b'd' => {
                let items = self.pop_to_mark()?;
                self.push_container(Kind::Dict, Vec::new())?;
                self.extend(&[Kind::Dict], items)?;
            }
            0x8f => self.push_container(Kind::Set, Vec::new())?,
            0x91 => self.pop_to_mark().and_then(|items| self.push_container(Kind::FrozenSet, items))?,
            b'a' => self.pop_many(1).and_then(|items| self.extend(&[Kind::List], items))?,
            b'e' => self.pop_to_mark().and_then(|items| self.extend(&[Kind::List], items))?,
            b's' => self.pop_many(2).and_then(|items| self.extend(&[Kind::Dict], items))?,
            b'u' => self.pop_to_mark().and_then(|items| self.extend(&[Kind::Dict], items))?,
            0x90 => self.pop_to_mark().and_then(|items| self.extend(&[Kind::Set], items))?,
            b'q' => self.number(1).and_then(|place| self.remember(place))?,
            b'r' => self.number(4).and_then(|place| self.remember(place))?,
            b'p' => self.line().and_then(place).and_then(|place| self.remember(place))?,
            0x94 => self.remember(self.memo.len() as u64)?,
            b'h' => self.number(1).and_then(|place| self.recall(place))?,
            b'j' => self.number(4).and_then(|place| self.recall(place))?,
            b'g' => self.line().and_then(place).and_then(|place| self.recall(place))?,
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)?;
            }
            0x93 => match (self.pop()?, self.pop()?) {
                (Slot::Plain(Value::Str(name)), Slot::Plain(Value::Str(module))) => {
                    self.global(&module, &name)?
                }
                _ => return Err("expected the names of a module and a global".into()),
            },
            b'R' => self.reduce()?,
            b'b' => self.build()?,
            other => return Err(format!("refuses instruction 0x{other:02x}: it builds no plain data")),
        }
        Ok(false)
    }

    fn finish(mut self) -> Step<Value> {
        let result = self.pop()?;
        if !self.stack.is_empty() || !self.marks.is_empty() {
            return Err("the pickle ends with more than one value".into());
        }
        let budget = MAX_EXPANSION * self.bytes.len() as u64;
        let frozen = vec![Frozen::Not; self.containers.len()];
        Freezer { containers: self.containers, frozen, budget }
            .value(result, MAX_DEPTH)
            .map(|(value, _)| value)
    }
}
