//! Operands on a device.

use super::{Backend, DeviceGroups, Length, Mat, MatMut, Parameters};
use crate::program::Operands;
use crate::program::ops::dropout::Dropout;
use crate::program::ops::optimizer::OptimizerStep;
use std::marker::PhantomData;

/// Operands on a device: matrices inside buffers, and numbers.
#[derive(Debug)]
pub struct On<'a, B>(PhantomData<&'a B>);

impl<'a, B: Backend> Operands for On<'a, B> {
    type In = Mat<'a, B::Buffer>;
    type Out = MatMut<'a, B::Buffer>;
    type Index = &'a B::Index;
    type Groups = &'a DeviceGroups<B>;
    type Table = &'a mut Parameters<B>;
    type Count = usize;
    type Dropout = Dropout;
    type Step = OptimizerStep;
    type Rate = f32;

    fn shape(matrix: &Self::In) -> (usize, usize) {
        (matrix.rows, matrix.cols)
    }

    fn shape_of_out(matrix: &Self::Out) -> (usize, usize) {
        (matrix.rows, matrix.cols)
    }

    fn len(index: &Self::Index) -> usize {
        index.length()
    }

    fn shape_of_table(table: &Self::Table) -> (usize, usize) {
        (table.rows, table.cols)
    }

    fn count(n: usize) -> usize {
        n
    }

    fn times(n: usize, times: usize) -> usize {
        n * times
    }
}
