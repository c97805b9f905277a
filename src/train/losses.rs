//! The losses of the last steps, on the device until they are asked for.

use crate::backend::{Backend, Number, Workspace};
use crate::error::Result;
use crate::program::{Extent, Program, Symbol, Var};

/// Steps whose losses stay on the device until they are asked for: a GPU works on them while the host goes on.
const WINDOW: usize = 16;

/// The losses of a program: one part after the other, each a term of the step's loss (those of its queries, for
/// example, then those of its regulariser), a row of them per step.
#[derive(Clone, Debug)]
pub struct LossParts {
    /// Numbers of each part.
    parts: Vec<usize>,
    all: Var,
    /// Where the row of the step at hand begins.
    row: Symbol,
}

impl LossParts {
    /// Declares parts of so many numbers.
    pub fn new(program: &mut Program, parts: Vec<usize>) -> Self {
        let numbers = WINDOW * parts.iter().sum::<usize>();
        let row = program.symbol(numbers);
        LossParts { all: program.kept("losses", numbers, 1), parts, row }
    }

    /// A part of the row of the step at hand.
    pub fn part(&self, part: usize) -> Var {
        let first = self.parts[..part].iter().sum();
        self.all.part(Extent::from(self.row).plus(first), self.parts[part])
    }

    /// `rows` numbers from `first` on, counted from the begin of all rows ([`LossParts::begin_of`]).
    pub fn rows(&self, first: Symbol, rows: Symbol) -> Var {
        self.all.part(first, rows)
    }

    /// What counts numbers from the begin of all rows.
    pub fn symbol(&self, program: &mut Program) -> Symbol {
        program.symbol(WINDOW * self.cols())
    }

    fn cols(&self) -> usize {
        self.parts.iter().sum()
    }
}

/// The losses of the last steps, on the device until they are asked for.
pub(super) struct Losses<B: Backend> {
    parts: LossParts,
    /// Rows that are not on their way yet.
    rows: usize,
    /// A window that is on its way, with its rows.
    coming: Option<(B::Reading, usize)>,
    /// The rows that were read last.
    last: Vec<B::Scalar>,
}

impl<B: Backend> Losses<B> {
    /// Those of a program.
    pub fn new(parts: LossParts) -> Self {
        Losses { parts, rows: 0, coming: None, last: Vec::new() }
    }

    /// Whether the rows must be read before the next step.
    pub fn is_full(&self) -> bool {
        self.rows == WINDOW
    }

    /// Begins the row of the next step; the number at which it begins.
    pub fn begin(&mut self, space: &mut Workspace<B>) -> usize {
        assert!(!self.is_full(), "losses are read in time");
        let begin = self.rows * self.parts.cols();
        space.set(self.parts.row, begin);
        self.rows += 1;
        begin
    }

    /// The losses of all steps that were not read yet, in order; waits for the device.
    pub fn read(&mut self, backend: &B, space: &mut Workspace<B>) -> Result<Vec<f64>> {
        let earlier = self.coming.take();
        self.send(backend, space)?;
        let windows = [earlier, self.coming.take()];
        self.receive(backend, windows)
    }

    /// Sends for the steps since the last call, and gives the losses of those before: the device has most likely done
    /// them long ago, so nobody waits.
    pub fn read_late(&mut self, backend: &B, space: &mut Workspace<B>) -> Result<Vec<f64>> {
        let earlier = self.coming.take();
        self.send(backend, space)?;
        self.receive(backend, [earlier, None])
    }

    /// Steps whose losses were not read.
    pub fn unread(&self) -> usize {
        self.rows + self.coming.as_ref().map_or(0, |(_, rows)| *rows)
    }

    /// The numbers of part 0 of a step: of step `index` of those that were read last.
    pub fn first_part(&self, index: usize) -> impl Iterator<Item = f64> {
        self.last[index * self.parts.cols()..][..self.parts.parts[0]].iter().map(|&x| B::Scalar::value(x))
    }

    /// The copy is made in order with the operations, so the next step may use the rows again.
    fn send(&mut self, backend: &B, space: &mut Workspace<B>) -> Result<()> {
        let rows = std::mem::take(&mut self.rows);
        if rows > 0 {
            let numbers = rows * self.parts.cols();
            self.coming = Some((backend.read(space.buffer(self.parts.all), 0, numbers)?, rows));
        }
        Ok(())
    }

    fn receive(&mut self, backend: &B, windows: [Option<(B::Reading, usize)>; 2]) -> Result<Vec<f64>> {
        self.last.clear();
        for (reading, _) in windows.into_iter().flatten() {
            self.last.extend(backend.finish(reading)?);
        }
        let sum = |row: &[B::Scalar]| {
            let mut first = 0;
            let parts = self.parts.parts.iter().map(|&cols| {
                let part = &row[first..first + cols];
                first += cols;
                part.iter().map(|&x| B::Scalar::value(x)).sum::<f64>()
            });
            // Not from 0: the sum of one part is that part, also where it is -0.
            parts.reduce(|loss, part| loss + part).unwrap_or_default()
        };
        Ok(self.last.chunks(self.parts.cols().max(1)).map(sum).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{Parameters, Reference, Tables};
    use crate::model::Weights;
    use crate::program::ops::rows::{CopyRows, Fill};

    #[test]
    fn every_loss_is_read_once_and_in_order_late_or_not() {
        let expected: Vec<f64> = (0..40).map(|n| 3.0 * n as f64 + 1.0).collect();
        let mut program = Program::default();
        let parts = LossParts::new(&mut program, vec![3, 2]);
        let number = program.kept("number", 3, 1);
        let section = program.section("step");
        program.push(CopyRows { from: number, out: parts.part(0) });
        program.push(Fill { value: 0.5, out: parts.part(1) });
        let mut space = Workspace::new(&Reference, program).unwrap();
        let mut tables = Weights { entities: table(), relations: table(), dense: Vec::new() };
        let mut losses = Losses::new(parts);
        let mut read = Vec::new();
        for step in 0..40 {
            losses.begin(&mut space);
            space.replace(&Reference, number, [step as f64; 3]).unwrap();
            space.run(&Reference, Tables::Change(&mut tables), section);
            if losses.is_full() {
                read.extend(losses.read_late(&Reference, &mut space).unwrap());
                assert_eq!(read.len() + losses.unread(), step + 1);
                assert_eq!(losses.unread(), WINDOW, "a window late");
            }
        }
        read.extend(losses.read(&Reference, &mut space).unwrap());
        assert_eq!((read, losses.unread()), (expected, 0));
        // The last call gave the steps 16 to 39.
        assert_eq!(losses.first_part(1).collect::<Vec<_>>(), [17.0; 3]);
    }

    fn table() -> Parameters<Reference> {
        let (values, first, second) = (Vec::new(), Vec::new(), Vec::new());
        Parameters { rows: 0, cols: 0, values, first, second, state: [0; 2], interleaved: false }
    }
}
