//! Clipping of a step's gradients by their common norm.

use crate::backend::{Backend, DeviceGroups, Mat, MatMut};
use crate::error::Result;

/// Scales the gradients of a step so that the Euclidean norm of all of them together is at most a bound (Pascanu,
/// Mikolov and Bengio 2013).
///
/// Where several rows of a gradient belong to one row of a table, their sum counts. All of it stays on the device. A
/// norm that is NaN clips nothing, so that what is NaN stays where it came from and is told of; one that
/// is infinite makes finite gradients 0.
pub(super) struct Clip<B: Backend> {
    bound: f32,
    /// Sums of squares of the parts: of rows, or of groups of them.
    squares: B::Buffer,
    /// How many fit, and how many there are.
    parts: usize,
    used: usize,
    factor: B::Buffer,
}

impl<B: Backend> Clip<B> {
    /// For gradients of at most so many rows; `None` where `bound` is 0.
    pub fn new(backend: &B, bound: f32, parts: usize) -> Result<Option<Self>> {
        let new = || -> Result<Self> {
            let (squares, factor) = (backend.zeros(parts)?, backend.zeros(1)?);
            Ok(Clip { bound, squares, parts, used: 0, factor })
        };
        (bound > 0.0).then(new).transpose()
    }

    /// Adds gradients of which `count` groups of rows belong together.
    pub fn add_groups(&mut self, backend: &B, groups: &DeviceGroups<B>, count: usize, grads: Mat<B::Buffer>) {
        let to = MatMut::new(&mut self.squares, 1, self.parts).columns(self.used, count);
        backend.group_squares(groups, grads, to);
        self.used += count;
    }

    /// Adds gradients of which every row counts by itself.
    pub fn add_rows(&mut self, backend: &B, grads: Mat<B::Buffer>) {
        let to = MatMut::new(&mut self.squares, 1, self.parts).columns(self.used, grads.rows);
        backend.row_squares(grads, to);
        self.used += grads.rows;
    }

    /// Works out by what the gradients that were added are to be scaled, for [`Clip::scale`], and forgets them.
    pub fn work_out(&mut self, backend: &B) {
        let squares = Mat::new(&self.squares, 1, self.parts).columns(0, self.used);
        backend.clip_factor(self.bound, squares, MatMut::new(&mut self.factor, 1, 1));
        self.used = 0;
    }

    /// Scales gradients.
    pub fn scale(&self, backend: &B, grads: MatMut<B::Buffer>) {
        backend.scale(Mat::new(&self.factor, 1, 1), grads);
    }
}
