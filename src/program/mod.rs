//! A step of training, or the embedding of queries, as a list of operations: data that is made once for a run.
//!
//! Reading order: [`ops`] (the vocabulary, an operation with all that is known of it in one place), [`var`] (handles of
//! matrices, indices and tables), this file (a program is written down), [`gradient`] (its gradients, derived),
//! [`memory`] (which arrays share memory, derived), [`print`](mod@print) (for readers). Nothing here knows a backend:
//! [`Workspace`](crate::backend::Workspace) runs a program on one.

#[macro_use]
pub mod ops;
pub mod gradient;
pub mod memory;
pub mod print;
#[cfg(test)]
mod tests;
pub mod var;

pub use gradient::Gradients;
pub use memory::Memory;
pub use ops::{OnPaper, Op, Operand, Operands};
pub use var::{Base, DropoutId, Extent, GroupsId, Idx, Symbol, TableId, Var};

use std::ops::Range;

/// Operations in order, over arrays of their own and tables of parameters.
///
/// It is made of sections, which whoever runs it calls one after the other: between them there is room for what the host
/// has to do, such as the indices of the next tile.
#[derive(Default)]
pub struct Program {
    ops: Vec<Op<OnPaper>>,
    sections: Vec<Section>,
    arrays: Vec<Array>,
    indices: Vec<Index>,
    groups: Vec<Groups>,
    symbols: Vec<Symbol>,
    dropouts: Vec<Dropped>,
    tables: Vec<Table>,
    /// Tables that are running averages, each with what it moves towards.
    averages: Vec<(usize, Var)>,
}

/// Operations that run without a break.
#[derive(Clone, Debug)]
struct Section {
    name: String,
    ops: Range<usize>,
    /// Whether it may run several times in a row.
    repeats: bool,
}

/// A section's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionId(usize);

/// A matrix that a program has for itself.
#[derive(Clone, Debug)]
struct Array {
    name: String,
    rows: Extent,
    cols: usize,
    kind: Kind,
    /// Whether each of its rows is written once and read once.
    is_arena: bool,
}

impl Array {
    fn numbers(&self) -> usize {
        self.rows.max() * self.cols
    }
}

/// How long an array is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// From the operation that writes it to the last that reads it.
    Temporary,
    /// Always: the host writes or reads it.
    Kept,
}

/// A list of row numbers, offsets or mask words.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    pub name: String,
    pub len: Extent,
    /// Its numbers, where they are the same for every batch.
    pub data: Option<Vec<u32>>,
    /// Whether a batch may have more: then `len` is what most have.
    pub grows: bool,
}

/// Groups of at most `members` rows.
#[derive(Clone, Debug)]
struct Groups {
    members: usize,
}

impl Groups {
    /// At worst each row is a group of its own.
    fn numbers(&self) -> usize {
        3 * self.members + 1
    }
}

/// What is dropped of a matrix, in each step anew.
#[derive(Clone, Debug)]
pub(crate) struct Dropped {
    pub probability: f32,
    /// Names the stream of random numbers.
    pub purpose: &'static str,
    /// Another choice of the same stream.
    pub flipped: bool,
}

/// A table of parameters that the program knows.
#[derive(Clone, Debug)]
struct Table {
    name: String,
    rows: usize,
    cols: usize,
}

impl Program {
    /// A program over these tables: name, rows and columns of each.
    pub fn new(tables: impl IntoIterator<Item = (String, usize, usize)>) -> Self {
        let tables = tables.into_iter().map(|(name, rows, cols)| Table { name, rows, cols }).collect();
        Program { tables, ..Program::default() }
    }

    // What a program works on.

    /// A number that is given for each batch, at most `max`.
    pub fn symbol(&mut self, max: usize) -> Symbol {
        let symbol = Symbol { number: self.symbols.len(), max };
        self.symbols.push(symbol);
        symbol
    }

    /// An array that lives from the operation that writes it to the last one that reads it.
    pub fn temporary(&mut self, name: &str, rows: impl Into<Extent>, cols: usize) -> Var {
        self.array(name, rows.into(), cols, Kind::Temporary, false)
    }

    /// An array that the host writes or reads.
    pub fn kept(&mut self, name: &str, rows: impl Into<Extent>, cols: usize) -> Var {
        self.array(name, rows.into(), cols, Kind::Kept, false)
    }

    /// An array whose rows are each written once and read once, in any order.
    pub fn arena(&mut self, name: &str, rows: impl Into<Extent>, cols: usize) -> Var {
        self.array(name, rows.into(), cols, Kind::Temporary, true)
    }

    fn array(&mut self, name: &str, rows: Extent, cols: usize, kind: Kind, is_arena: bool) -> Var {
        self.arrays.push(Array { name: name.into(), rows, cols, kind, is_arena });
        Var::all(Base::Array(self.arrays.len() - 1), rows, cols)
    }

    /// An index that the host fills for each batch.
    pub fn index(&mut self, name: &str, len: impl Into<Extent>) -> Idx {
        self.add_index(name, len.into(), None, false)
    }

    /// An index that the host fills for each batch, with about so many numbers, or more.
    pub fn growing_index(&mut self, name: &str, about: usize) -> Idx {
        self.add_index(name, about.into(), None, true)
    }

    /// An index that is the same for every batch.
    pub fn constant(&mut self, name: &str, data: Vec<u32>) -> Idx {
        self.add_index(name, data.len().into(), Some(data), false)
    }

    fn add_index(&mut self, name: &str, len: Extent, data: Option<Vec<u32>>, grows: bool) -> Idx {
        self.indices.push(Index { name: name.into(), len, data, grows });
        Idx { number: self.indices.len() - 1, len }
    }

    /// Groups of at most `members` rows, which the host fills for each batch.
    pub fn groups(&mut self, members: usize) -> GroupsId {
        self.groups.push(Groups { members });
        GroupsId(self.groups.len() - 1)
    }

    /// What is dropped of a matrix in each step, with this probability; `None` where nothing is.
    pub fn dropout(&mut self, probability: f32, purpose: &'static str, flipped: bool) -> Option<DropoutId> {
        if probability == 0.0 {
            return None;
        }
        self.dropouts.push(Dropped { probability, purpose, flipped });
        Some(DropoutId(self.dropouts.len() - 1))
    }

    /// A table, to be changed by an optimizer.
    pub fn table(&self, number: usize) -> TableId {
        let Table { rows, cols, .. } = self.tables[number];
        TableId { number, rows, cols }
    }

    /// The values of a table.
    pub fn values(&self, number: usize) -> Var {
        let Table { rows, cols, .. } = self.tables[number];
        Var::all(Base::Table(number), rows.into(), cols)
    }

    /// The values of the table of this name: a parameter of a network.
    pub fn parameter(&self, name: &str) -> Var {
        let number = self.tables.iter().position(|table| table.name == name);
        self.values(number.unwrap_or_else(|| panic!("the model has no parameter {name}")))
    }

    /// Says that a table is no parameter but a running average: in an update it moves towards `of`, by a tenth of the
    /// difference or, at first, by one part of as many as there are.
    pub fn average(&mut self, table: Var, of: Var) {
        let Base::Table(number) = table.base else { panic!("{table:?} is no table") };
        self.averages.push((number, of));
    }

    /// The running averages: the number of each, and what it moves towards.
    pub fn averages(&self) -> &[(usize, Var)] {
        &self.averages
    }

    // What it does.

    /// Begins a section.
    pub fn section(&mut self, name: &str) -> SectionId {
        self.begin(name, false)
    }

    /// Begins a section that may run several times in a row.
    pub fn repeated_section(&mut self, name: &str) -> SectionId {
        self.begin(name, true)
    }

    fn begin(&mut self, name: &str, repeats: bool) -> SectionId {
        let start = self.ops.len();
        self.sections.push(Section { name: name.into(), ops: start..start, repeats });
        SectionId(self.sections.len() - 1)
    }

    /// Writes down the next operation of the section.
    pub fn push(&mut self, op: impl Into<Op<OnPaper>>) {
        let op = op.into();
        op.check();
        if self.sections.is_empty() {
            self.section("all");
        }
        self.ops.push(op);
        self.sections.last_mut().expect("there is one").ops.end = self.ops.len();
    }

    /// How many operations there are so far.
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Operation `number`.
    pub fn op(&self, number: usize) -> Op<OnPaper> {
        self.ops[number]
    }

    /// All operations.
    pub fn ops(&self) -> &[Op<OnPaper>] {
        &self.ops
    }

    /// The operations of a section.
    pub fn ops_of(&self, section: SectionId) -> &[Op<OnPaper>] {
        &self.ops[self.sections[section.0].ops.clone()]
    }

    /// The tables that operations read or change: their numbers, ascending.
    pub fn tables_used(&self) -> Vec<usize> {
        let mut used = vec![false; self.tables.len()];
        for op in &self.ops {
            op.operands(&mut |_, operand| match operand {
                Operand::Read(Var { base: Base::Table(table), .. })
                | Operand::Write(Var { base: Base::Table(table), .. }) => used[table] = true,
                Operand::Table(table) => used[table.number] = true,
                _ => {}
            });
        }
        (0..used.len()).filter(|&table| used[table]).collect()
    }

    // What is known of its arrays.

    /// Numbers of all arrays, as if none shared memory.
    pub fn num_numbers(&self) -> usize {
        self.arrays.iter().map(Array::numbers).sum()
    }

    /// Whether a matrix lies in an array whose rows are each written once and read once.
    pub fn is_arena(&self, var: Var) -> bool {
        matches!(var.base, Base::Array(number) if self.arrays[number].is_arena)
    }

    /// All of the array or table in which a matrix lies.
    pub fn whole(&self, var: Var) -> Var {
        match var.base {
            Base::Array(number) => Var::all(var.base, self.arrays[number].rows, self.arrays[number].cols),
            Base::Table(number) => self.values(number),
        }
    }

    /// The name of the array or table in which a matrix lies.
    pub fn name_of(&self, var: Var) -> String {
        match var.base {
            Base::Array(number) => self.arrays[number].name.clone(),
            Base::Table(number) => self.tables[number].name.clone(),
        }
    }

    /// Columns of its array behind those of a matrix.
    pub fn columns_behind(&self, var: Var) -> usize {
        self.whole(var).cols - var.first_col - var.cols
    }

    /// The indices, for who allocates them.
    pub(crate) fn indices(&self) -> &[Index] {
        &self.indices
    }

    /// How many lists of groups there are.
    pub(crate) fn num_groups(&self) -> usize {
        self.groups.len()
    }

    /// The greatest values of all symbols.
    pub(crate) fn greatest(&self) -> Vec<usize> {
        self.symbols.iter().map(|symbol| symbol.max).collect()
    }

    /// What is dropped in each step.
    pub(crate) fn dropouts(&self) -> &[Dropped] {
        &self.dropouts
    }
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "Program of {} operations in {} sections", self.ops.len(), self.sections.len())
    }
}

impl Symbol {
    /// Which one it is.
    pub fn number(self) -> usize {
        self.number
    }

    /// The greatest value that it takes.
    pub fn max(self) -> usize {
        self.max
    }
}
