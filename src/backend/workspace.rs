//! Runs programs: their arrays and indices on a device.

use super::{Backend, DeviceGroups, GroupLists, Length, Mat, MatMut, Number, On, Parameters, Weights};
use crate::error::Result;
use crate::program::ops::dropout::Dropout;
use crate::program::ops::normalise::Average;
use crate::program::ops::optimizer::{OptimizerStep, Update};
use crate::program::ops::{MapOperands, OnPaper};
use crate::program::{
    Base, DropoutId, Extent, GroupsId, Idx, Memory, Op, Operand, Program, SectionId, Symbol, TableId, Var,
};
use std::cell::UnsafeCell;
use std::marker::PhantomData;

/// A program with its arrays and indices on a device: made once, run for every batch.
pub struct Workspace<B: Backend> {
    program: Program,
    memory: Memory,
    /// Cells, because an operation reads some and writes others: see [`Workspace::run`].
    buffers: Vec<UnsafeCell<B::Buffer>>,
    indices: Vec<B::Index>,
    groups: Vec<DeviceGroups<B>>,
    symbols: Vec<usize>,
    dropouts: Vec<Dropout>,
    steps: [OptimizerStep; 2],
    average: f32,
}

/// The tables that a program works on.
pub enum Tables<'a, B: Backend> {
    /// To be read.
    Read(&'a Weights<B>),
    /// To be read and changed.
    Change(&'a mut Weights<B>),
}

impl<B: Backend> Workspace<B> {
    /// Allocates what a program needs.
    pub fn new(backend: &B, program: Program) -> Result<Self> {
        let memory = program.memory();
        let buffers = memory
            .buffers
            .iter()
            .map(|&len| backend.zeros(len).map(UnsafeCell::new))
            .collect::<Result<_>>()?;
        let index = |index: &crate::program::Index| backend.index(index.data.as_deref().unwrap_or(&[]));
        let indices = program.indices().iter().map(index).collect::<Result<_>>()?;
        let empty = || backend.index(&[]);
        let groups =
            || -> Result<_> { Ok(DeviceGroups { ids: empty()?, offsets: empty()?, members: empty()? }) };
        let space = Workspace {
            memory,
            buffers,
            indices,
            groups: (0..program.num_groups()).map(|_| groups()).collect::<Result<_>>()?,
            symbols: program.greatest(),
            dropouts: vec![Dropout::new(0.0, 0); program.dropouts().len()],
            steps: [OptimizerStep::Sgd { rate: 0.0 }; 2],
            average: 0.0,
            program,
        };
        space.assert_exclusive();
        Ok(space)
    }

    /// The program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Numbers of all buffers that were allocated.
    pub fn allocated(&mut self) -> usize {
        self.buffers.iter_mut().map(|buffer| buffer.get_mut().length()).sum()
    }

    /// Gives a symbol its value, for what runs next.
    pub fn set(&mut self, symbol: Symbol, value: usize) {
        assert!(value <= symbol.max(), "{value} of at most {}", symbol.max());
        self.symbols[symbol.number()] = value;
    }

    /// Replaces the numbers of an index.
    pub fn set_index(&mut self, backend: &B, index: Idx, data: &[u32]) -> Result<()> {
        let known = &self.program.indices()[index.number()];
        assert!(
            known.grows || data.len() <= known.len.max(),
            "{}: {} numbers of {:?}",
            known.name,
            data.len(),
            known.len
        );
        backend.set_index(data, &mut self.indices[index.number()])
    }

    /// Replaces groups.
    pub fn set_groups(&mut self, backend: &B, groups: GroupsId, data: GroupLists) -> Result<()> {
        let to = &mut self.groups[groups.number()];
        backend.set_index(data.ids, &mut to.ids)?;
        backend.set_index(data.offsets, &mut to.offsets)?;
        backend.set_index(data.members, &mut to.members)
    }

    /// Replaces the first numbers of an array; a device may copy them while it works on the old ones.
    pub fn replace(&mut self, backend: &B, array: Var, numbers: impl IntoIterator<Item = f64>) -> Result<()> {
        let data: Vec<B::Scalar> = numbers.into_iter().map(B::Scalar::of).collect();
        backend.replace(&data, self.buffer_mut(array))
    }

    /// Decides what the next step drops.
    pub fn set_dropouts(&mut self, key: impl Fn(&'static str) -> u64) {
        for (dropout, to) in self.program.dropouts().iter().zip(&mut self.dropouts) {
            let key = key(dropout.purpose);
            *to = Dropout::new(dropout.probability, if dropout.flipped { !key } else { key });
        }
    }

    /// Decides how far the optimizers go: rows, then networks; and how far running averages move.
    pub fn set_steps(&mut self, steps: [OptimizerStep; 2], average: f32) {
        (self.steps, self.average) = (steps, average);
    }

    /// The buffer of an array.
    pub fn buffer(&mut self, array: Var) -> &B::Buffer {
        self.buffer_mut(array)
    }

    /// A matrix of an array.
    pub fn mat(&mut self, var: Var) -> Mat<'_, B::Buffer> {
        let (offset, rows, cols, stride) = var.place(&self.symbols, None);
        Mat { buffer: self.buffer_mut(var), offset, rows, cols, stride }
    }

    /// A copy of the numbers of an array.
    pub fn download(&mut self, backend: &B, var: Var) -> Result<Vec<B::Scalar>> {
        let (offset, rows, cols, stride) = var.place(&self.symbols, None);
        assert_eq!(cols, stride);
        let mut host = vec![B::Scalar::default(); rows * cols];
        backend.download(self.buffer_mut(var), offset, &mut host)?;
        Ok(host)
    }

    fn buffer_mut(&mut self, var: Var) -> &mut B::Buffer {
        let Base::Array(array) = var.base() else { panic!("{var:?} lies in a table") };
        self.buffers[self.memory.buffer_of[array]].get_mut()
    }

    /// Runs a section. Operations may be done later; an error is returned by the next call that returns a `Result`.
    ///
    /// # Panics
    ///
    /// Where the section changes tables that are only to be read.
    pub fn run(&mut self, backend: &B, tables: Tables<B>, section: SectionId) {
        let ops = self.program.ops_of(section);
        let tables = match tables {
            Tables::Read(weights) => {
                assert!(!ops.iter().any(changes_tables), "these tables are only read");
                let all = [&weights.entities, &weights.relations].into_iter().chain(&weights.dense);
                all.map(|table| std::ptr::from_ref(table).cast_mut()).collect()
            }
            Tables::Change(weights) => {
                let Weights { entities, relations, dense } = weights;
                [entities, relations].into_iter().chain(dense).map(std::ptr::from_mut).collect()
            }
        };
        let places = Places { space: self, tables, lifetime: PhantomData };
        for op in ops {
            backend.run(op.map(&places));
        }
    }

    /// Panics where an operation would write to memory that it also reads: what every `unsafe` below rests on.
    fn assert_exclusive(&self) {
        for op in self.program.ops() {
            let (mut read, mut written) = (Vec::new(), Vec::new());
            op.operands(&mut |_, operand| match operand {
                Operand::Read(var) => read.push(self.place(var)),
                Operand::Write(var) => written.push(self.place(var)),
                Operand::Table(table) => written.push(Place::Table(table.number)),
                Operand::Index(_) | Operand::Groups(_) => {}
            });
            for (i, place) in written.iter().enumerate() {
                let is_alone = !read.contains(place) && !written[..i].contains(place);
                assert!(is_alone, "{}: what it writes shares memory", op.name());
            }
        }
    }

    fn place(&self, var: Var) -> Place {
        match var.base() {
            Base::Array(array) => Place::Buffer(self.memory.buffer_of[array]),
            Base::Table(table) => Place::Table(table),
        }
    }
}

impl<B: Backend> std::fmt::Debug for Workspace<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "Workspace of {:?}", self.program)
    }
}

/// Memory that an operand lies in.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Buffer(usize),
    Table(usize),
}

fn changes_tables(op: &Op<OnPaper>) -> bool {
    let mut changes = false;
    op.operands(&mut |_, operand| {
        changes |= match operand {
            Operand::Write(var) => matches!(var.base(), Base::Table(_)),
            Operand::Table(_) => true,
            _ => false,
        }
    });
    changes
}

/// Where the operands of an operation are.
struct Places<'a, B: Backend> {
    space: &'a Workspace<B>,
    /// Entities, relations, then the networks'.
    tables: Vec<*mut Parameters<B>>,
    lifetime: PhantomData<&'a mut Weights<B>>,
}

impl<'a, B: Backend> MapOperands<OnPaper, On<'a, B>> for Places<'a, B> {
    fn input(&self, var: Var) -> Mat<'a, B::Buffer> {
        match self.space.place(var) {
            Place::Buffer(buffer) => {
                let (offset, rows, cols, stride) = var.place(&self.space.symbols, None);
                // SAFETY: the space is borrowed exclusively by `run`, and no operation writes to a buffer that it reads
                // (`Workspace::assert_exclusive`), so there is no exclusive reference to it now.
                let buffer = unsafe { &*self.space.buffers[buffer].get() };
                Mat { buffer, offset, rows, cols, stride }
            }
            Place::Table(table) => {
                // SAFETY: as above; the tables are borrowed by `run` as long as `self` lives.
                let values = unsafe { &*self.tables[table] }.mat();
                let (offset, rows, cols, stride) = var.place(&self.space.symbols, Some(values.stride));
                Mat { buffer: values.buffer, offset, rows, cols, stride }
            }
        }
    }

    fn output(&self, var: Var) -> MatMut<'a, B::Buffer> {
        match self.space.place(var) {
            Place::Buffer(buffer) => {
                let (offset, rows, cols, stride) = var.place(&self.space.symbols, None);
                // SAFETY: the space is borrowed exclusively by `run`, and the operation has no other operand in this
                // buffer (`Workspace::assert_exclusive`).
                let buffer = unsafe { &mut *self.space.buffers[buffer].get() };
                MatMut { buffer, offset, rows, cols, stride }
            }
            Place::Table(table) => {
                let table: *mut Parameters<B> = self.tables[table];
                // SAFETY: as above; that the tables are borrowed exclusively was asserted by `run`.
                let table = unsafe { &mut *table };
                let stride = table.mat().stride;
                let (offset, rows, cols, stride) = var.place(&self.space.symbols, Some(stride));
                MatMut { buffer: &mut table.values, offset, rows, cols, stride }
            }
        }
    }

    fn index(&self, index: Idx) -> &'a B::Index {
        &self.space.indices[index.number()]
    }

    fn groups(&self, groups: GroupsId) -> &'a DeviceGroups<B> {
        &self.space.groups[groups.number()]
    }

    fn table(&self, table: TableId) -> &'a mut Parameters<B> {
        let table: *mut Parameters<B> = self.tables[table.number];
        // SAFETY: the operation has no other operand in this table (`Workspace::assert_exclusive`), and the tables are
        // borrowed exclusively (asserted by `run`).
        unsafe { &mut *table }
    }

    fn count(&self, count: Extent) -> usize {
        count.value(&self.space.symbols)
    }

    fn dropout(&self, dropout: DropoutId) -> Dropout {
        self.space.dropouts[dropout.number()]
    }

    fn step(&self, step: Update) -> OptimizerStep {
        match step {
            Update::Rows => self.space.steps[0],
            Update::Networks => self.space.steps[1],
        }
    }

    fn rate(&self, _: Average) -> f32 {
        self.space.average
    }
}
