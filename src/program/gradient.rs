//! Gradients: the operations of a program in reverse, each with what its gradient is made of.
//!
//! An operation's gradient knows where it writes from [`Gradients::target`] (the first that comes writes, later ones are
//! added) or [`Gradients::sum`] (what adds to zeros). So the order of additions is that of the operations in reverse, which
//! is what makes results the same bits in every run.

use super::ops::rows::{Add, CopyRows, Fill};
use super::{Base, Program, Var};
use std::collections::BTreeMap;
use std::ops::Range;

/// The gradients that are known so far.
#[derive(Debug, Default)]
pub struct Gradients {
    arrays: BTreeMap<usize, Known>,
    tables: BTreeMap<usize, Known>,
}

/// The gradient of an array or a table.
#[derive(Debug)]
struct Known {
    /// All of it.
    var: Var,
    /// Those parts that something was written to, none of which overlap.
    parts: Vec<Var>,
}

/// Where an operation writes a gradient.
#[must_use]
pub struct Target {
    /// The matrix that it writes.
    pub var: Var,
    /// What that is to be added to.
    to: Option<Var>,
}

impl Target {
    /// To be called behind the operation.
    pub fn finish(self, program: &mut Program) {
        if let Some(to) = self.to {
            program.push(Add { from: self.var, to });
        }
    }
}

impl Gradients {
    /// Writes down the gradients of these operations, the last one first.
    pub fn backward(&mut self, program: &mut Program, operations: Range<usize>) {
        for number in operations.rev() {
            let op = program.op(number);
            op.gradient(self, program);
        }
    }

    /// The gradient of a matrix; `None` where it has no part in what is differentiated. Columns to which nothing was
    /// written are filled with zeros.
    pub fn of(&mut self, program: &mut Program, var: Var) -> Option<Var> {
        if program.is_arena(var) {
            let known = self.arrays.get(&Self::number(var))?;
            return Some(Var { base: known.var.base, ..var });
        }
        let known = self.known(var.base)?;
        let gradient = Self::like(known.var, program, var);
        if is_covered(&known.parts, var) {
            return Some(gradient);
        }
        let inside: Vec<Var> = known.parts.iter().copied().filter(|part| overlap(*part, var)).collect();
        if inside.is_empty() {
            return None;
        }
        // Of all rows, some columns.
        let mut written: Vec<Range<usize>> =
            inside.iter().map(|part| part.first_col..part.first_col + part.cols).collect();
        assert!(
            inside.iter().all(|part| part.rows == var.rows),
            "the gradient of a part of {var:?} is not known"
        );
        written.sort_by_key(|columns| columns.start);
        let mut col = var.first_col;
        let end = std::iter::once(var.first_col + var.cols..usize::MAX);
        for columns in written.into_iter().chain(end) {
            if columns.start > col {
                let gap = Var { first_col: col, cols: columns.start - col, ..var };
                self.cover(gap);
                program.push(Fill { value: 0.0, out: Var { base: gradient.base, ..gap } });
            }
            col = columns.end;
        }
        Some(gradient)
    }

    /// The gradient of an arena, whose rows are each written once: by those who read the arena's.
    pub fn of_arena(&mut self, program: &mut Program, var: Var) -> Var {
        assert!(program.is_arena(var));
        let number = Self::number(var);
        let known = self.arrays.entry(number).or_insert_with(|| {
            let all = program.whole(var);
            let name = format!("d {}", program.name_of(var));
            Known { var: program.arena(&name, all.rows, all.cols), parts: Vec::new() }
        });
        Var { base: known.var.base, ..var }
    }

    /// Where to write the gradient of a matrix.
    pub fn target(&mut self, program: &mut Program, var: Var) -> Target {
        let (gradient, is_new) = self.part(program, var);
        if is_new {
            return Target { var: gradient, to: None };
        }
        let part = program.temporary(&format!("d {}, part", program.name_of(var)), var.rows, var.cols);
        Target { var: part, to: Some(gradient) }
    }

    /// Where to add the gradient of a matrix: zeros where nothing was added before.
    pub fn sum(&mut self, program: &mut Program, var: Var) -> Var {
        let (gradient, is_new) = self.part(program, var);
        if is_new {
            program.push(Fill { value: 0.0, out: gradient });
        }
        gradient
    }

    /// Adds `from` to the gradient of a matrix; where it is the first, and all of it, it is the gradient.
    pub fn pass_on(&mut self, program: &mut Program, var: Var, from: Var) {
        let is_all = |var: Var| matches!(var.base, Base::Array(_)) && program.whole(var) == var;
        if !program.is_arena(var) && self.known(var.base).is_none() && is_all(var) && is_all(from) {
            return self.is(var, from);
        }
        let (gradient, is_new) = self.part(program, var);
        if is_new {
            program.push(CopyRows { from, out: gradient });
        } else {
            program.push(Add { from, to: gradient });
        }
    }

    /// Says that the gradient of a matrix, all of an array, stands in another one.
    pub fn is(&mut self, var: Var, gradient: Var) {
        let old = self.arrays.insert(Self::number(var), Known { var: gradient, parts: vec![var] });
        assert!(old.is_none(), "{var:?} has a gradient already");
    }

    /// Gradients that know those of the tables, and nothing else: for operations whose arrays have others here. They give
    /// them back by [`Gradients::take_networks`].
    pub fn of_networks(&mut self) -> Gradients {
        Gradients { arrays: BTreeMap::new(), tables: std::mem::take(&mut self.tables) }
    }

    /// See [`Gradients::of_networks`].
    pub fn take_networks(&mut self, inner: Gradients) {
        self.tables = inner.tables;
    }

    /// The gradient of a table, where there is one: its number, then all of it.
    pub fn tables(&self) -> impl Iterator<Item = (usize, Var)> {
        self.tables.iter().map(|(&number, known)| (number, known.var))
    }

    fn number(var: Var) -> usize {
        match var.base {
            Base::Array(number) => number,
            Base::Table(number) => panic!("table {number} is no array"),
        }
    }

    fn known(&self, base: Base) -> Option<&Known> {
        match base {
            Base::Array(number) => self.arrays.get(&number),
            Base::Table(number) => self.tables.get(&number),
        }
    }

    fn cover(&mut self, part: Var) {
        let known = match part.base {
            Base::Array(number) => self.arrays.get_mut(&number),
            Base::Table(number) => self.tables.get_mut(&number),
        };
        known.expect("it has a gradient").parts.push(part);
    }

    /// The place of a part's gradient, and whether it is the first to be written there.
    fn part(&mut self, program: &mut Program, var: Var) -> (Var, bool) {
        if program.is_arena(var) {
            return (self.of_arena(program, var), true);
        }
        if self.known(var.base).is_none() {
            let all = program.whole(var);
            let name = format!("d {}", program.name_of(var));
            let known = Known { var: program.temporary(&name, all.rows, all.cols), parts: Vec::new() };
            match var.base {
                Base::Array(number) => self.arrays.insert(number, known),
                Base::Table(number) => self.tables.insert(number, known),
            };
        }
        let known = self.known(var.base).expect("it was made");
        let gradient = Self::like(known.var, program, var);
        let overlapping = known.parts.iter().filter(|part| overlap(**part, var)).count();
        if overlapping == 0 {
            self.cover(var);
            return (gradient, true);
        }
        let is_written = is_covered(&known.parts, var);
        assert!(is_written, "a part of the gradient of {} was written before", program.name_of(var));
        (gradient, false)
    }

    /// The part of a gradient that is that of `var`.
    fn like(gradient: Var, program: &Program, var: Var) -> Var {
        if program.whole(gradient) == gradient && program.whole(var).cols == gradient.cols {
            Var { base: gradient.base, ..var }
        } else {
            assert_eq!(program.whole(var), var, "the gradient of a part of what stands elsewhere");
            gradient
        }
    }
}

fn range(first: usize, len: usize, other: usize, other_len: usize) -> [bool; 2] {
    [first < other + other_len && other < first + len, first <= other && first + len >= other + other_len]
}

fn compare(a: Var, b: Var) -> [bool; 2] {
    // The same numbers in other rows.
    if a.stride != b.stride {
        return [true, a.rows.max() * a.cols >= b.rows.max() * b.cols];
    }
    let rows = range(a.first_row.max(), a.rows.max(), b.first_row.max(), b.rows.max());
    let cols = range(a.first_col, a.cols, b.first_col, b.cols);
    [rows[0] && cols[0], rows[1] && cols[1]]
}

/// Whether two parts of an array have numbers in common.
fn overlap(a: Var, b: Var) -> bool {
    compare(a, b)[0]
}

/// Whether `a` has all numbers of `b`.
fn contains(a: Var, b: Var) -> bool {
    compare(a, b)[1]
}

/// Whether parts that do not overlap have all numbers of `var`, one of them or several together.
fn is_covered(parts: &[Var], var: Var) -> bool {
    let area = |var: Var| var.rows.max() * var.cols;
    let inside = || parts.iter().filter(|part| overlap(**part, var));
    let together = || inside().map(|&part| area(part)).sum::<usize>() == area(var);
    inside().any(|part| contains(*part, var)) || inside().all(|part| contains(var, *part)) && together()
}
