//! What a pickle has built, as plain values.

use super::*;

#[derive(Clone)]
pub(super) enum Frozen {
    Not,
    /// Being frozen: who meets it again has found a cycle.
    Open,
    Done(Value, u64),
}

/// Turns containers, which may still grow while the pickle is read, into values, each once.
pub(super) struct Freezer {
    pub(super) containers: Vec<Container>,
    pub(super) frozen: Vec<Frozen>,
    pub(super) budget: u64,
}

impl Freezer {
    /// The value and its size with all shared parts written out.
    pub(super) fn value(&mut self, slot: Slot, depth: usize) -> Step<(Value, u64)> {
        let number = match slot {
            Slot::Global(global) => return Err(format!("{global:?} is a type and no value")),
            Slot::Dtype(_) => return Err("a NumPy dtype is a type and no value".into()),
            Slot::Plain(value) => {
                let size = match &value {
                    Value::Str(text) => text.len(),
                    Value::Bytes(bytes) => bytes.len(),
                    _ => 0,
                };
                return Ok((value, 1 + size as u64));
            }
            Slot::Container(number) => number,
        };
        match std::mem::replace(&mut self.frozen[number], Frozen::Open) {
            Frozen::Not => (),
            Frozen::Open => return Err("a container holds itself".into()),
            Frozen::Done(value, size) => {
                self.frozen[number] = Frozen::Done(value.clone(), size);
                return Ok((value, size));
            }
        }
        let depth = depth.checked_sub(1).ok_or_else(|| format!("nested deeper than {MAX_DEPTH}"))?;
        let Container { kind, items } = &mut self.containers[number];
        let (kind, slots) = (*kind, std::mem::take(items));
        let mut size = 1u64;
        let mut items = Vec::with_capacity(slots.len());
        for slot in slots {
            let (value, part) = self.value(slot, depth)?;
            size = size.saturating_add(part);
            if size > self.budget {
                return Err(format!(
                    "its shared parts written out take more than {MAX_EXPANSION} times the file"
                ));
            }
            items.push(value);
        }
        let value = match (kind, items.as_slice()) {
            (Kind::SetOf, [Value::List(all) | Value::Tuple(all) | Value::Set(all)]) => {
                Value::Set(all.clone())
            }
            (Kind::FrozenSetOf, [Value::List(all) | Value::Tuple(all) | Value::Set(all)]) => {
                Value::FrozenSet(all.clone())
            }
            (Kind::SetOf | Kind::FrozenSetOf, _) => return Err("expected a list of a set's items".into()),
            (Kind::List, _) => Value::List(items.into()),
            (Kind::Tuple, _) => Value::Tuple(items.into()),
            (Kind::Set, _) => Value::Set(items.into()),
            (Kind::FrozenSet, _) => Value::FrozenSet(items.into()),
            (Kind::Dict, _) => {
                let mut items = items.into_iter();
                let pair = || Some((items.next()?, items.next()?));
                Value::Dict(std::iter::from_fn(pair).collect())
            }
        };
        self.frozen[number] = Frozen::Done(value.clone(), size);
        Ok((value, size))
    }
}
