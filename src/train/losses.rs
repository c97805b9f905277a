//! The losses of the last steps, on the device until they are asked for.

use crate::backend::{Backend, MatMut};
use crate::error::Result;

/// Steps whose losses stay on the device until they are asked for: a GPU works on them while the host goes on.
const WINDOW: usize = 16;

/// Numbers of the buffer for rows of such parts.
pub(super) fn numbers(parts: &[usize]) -> usize {
    WINDOW * parts.iter().sum::<usize>()
}

/// A row of numbers per step. A row has parts, each a term of the step's loss: those of its queries, for example, then
/// those of its regulariser.
pub(super) struct Losses<B: Backend> {
    /// Columns of each part.
    parts: Vec<usize>,
    buffer: B::Buffer,
    /// Rows that are not on their way yet.
    rows: usize,
    /// A window that is on its way, with its rows.
    coming: Option<(B::Reading, usize)>,
    /// The rows that were read last.
    last: Vec<B::Scalar>,
}

impl<B: Backend> Losses<B> {
    /// Rows of such parts.
    pub fn new(backend: &B, parts: Vec<usize>) -> Result<Self> {
        let buffer = backend.zeros(numbers(&parts))?;
        Ok(Losses { parts, buffer, rows: 0, coming: None, last: Vec::new() })
    }

    fn cols(&self) -> usize {
        self.parts.iter().sum()
    }

    /// Whether the rows must be read before the next step.
    pub fn is_full(&self) -> bool {
        self.rows == WINDOW
    }

    /// Begins the row of the next step.
    pub fn begin(&mut self) {
        assert!(!self.is_full(), "losses are read in time");
        self.rows += 1;
    }

    /// A part of the row of the step that was begun last.
    pub fn part(&mut self, part: usize) -> MatMut<'_, B::Buffer> {
        let (cols, first) = (self.cols(), self.parts[..part].iter().sum());
        let row = MatMut::new(&mut self.buffer, WINDOW, cols).rows(self.rows - 1, 1);
        row.columns(first, self.parts[part])
    }

    /// The losses of all steps that were not read yet, in order; waits for the device.
    pub fn read(&mut self, backend: &B) -> Result<Vec<f64>> {
        let earlier = self.coming.take();
        self.send(backend)?;
        let windows = [earlier, self.coming.take()];
        self.receive(backend, windows)
    }

    /// Sends for the steps since the last call, and gives the losses of those before: the device has most likely done
    /// them long ago, so nobody waits.
    pub fn read_late(&mut self, backend: &B) -> Result<Vec<f64>> {
        let earlier = self.coming.take();
        self.send(backend)?;
        self.receive(backend, [earlier, None])
    }

    /// Steps whose losses were not read.
    pub fn unread(&self) -> usize {
        self.rows + self.coming.as_ref().map_or(0, |(_, rows)| *rows)
    }

    /// The numbers of part 0 of a step: of step `index` of those that were read last.
    pub fn first_part(&self, index: usize) -> impl Iterator<Item = f64> {
        self.last[index * self.cols()..][..self.parts[0]].iter().map(|&x| B::value(x))
    }

    /// The copy is made in order with the operations, so the next step may use the rows again.
    fn send(&mut self, backend: &B) -> Result<()> {
        let rows = std::mem::take(&mut self.rows);
        if rows > 0 {
            self.coming = Some((backend.read(&self.buffer, 0, rows * self.cols())?, rows));
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
            let parts = self.parts.iter().map(|&cols| {
                let part = &row[first..first + cols];
                first += cols;
                part.iter().map(|&x| B::value(x)).sum::<f64>()
            });
            // Not from 0: the sum of one part is that part, also where it is -0.
            parts.reduce(|loss, part| loss + part).unwrap_or_default()
        };
        Ok(self.last.chunks(self.cols().max(1)).map(sum).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Reference;

    fn step(losses: &mut Losses<Reference>, number: usize) {
        losses.begin();
        Reference.fill(number as f32, losses.part(0));
        Reference.fill(0.5, losses.part(1));
    }

    #[test]
    fn every_loss_is_read_once_and_in_order_late_or_not() {
        let expected: Vec<f64> = (0..40).map(|n| 3.0 * n as f64 + 1.0).collect();
        let mut losses = Losses::new(&Reference, vec![3, 2]).unwrap();
        let mut read = Vec::new();
        for number in 0..40 {
            step(&mut losses, number);
            if losses.is_full() {
                read.extend(losses.read_late(&Reference).unwrap());
                assert_eq!(read.len() + losses.unread(), number + 1);
                assert_eq!(losses.unread(), WINDOW, "a window late");
            }
        }
        read.extend(losses.read(&Reference).unwrap());
        assert_eq!((read, losses.unread()), (expected, 0));
        // The last call gave the steps 16 to 39.
        assert_eq!(losses.first_part(1).collect::<Vec<_>>(), [17.0; 3]);
    }
}
