//! Elementwise functions. Kernels: `kernels/elementwise.cu`, functions: `kernels/formulas.cuh`.

use super::Cuda;
use super::formulas::of_function;
use super::memory::{RawMat, mat, mat_mut};
use crate::backend::On;
use crate::program::ops::elementwise::{Apply, ApplyBackward, Elementwise};

/// Does an operation of the family.
pub fn run(cuda: &Cuda, op: Elementwise<On<Cuda>>) {
    match op {
        Elementwise::Apply(op) => apply(cuda, op),
        Elementwise::ApplyBackward(op) => apply_backward(cuda, op),
    }
}

/// One of the parts of what is written, of which a thread has a column, and whether it can have four.
fn part(out: RawMat, parts: usize, operands: &[RawMat]) -> (RawMat, bool) {
    let part = RawMat { cols: out.cols / parts as u32, ..out };
    (part, part.cols.is_multiple_of(4) && operands.iter().all(|operand| operand.is_wide()))
}

/// See [`Apply`].
fn apply(cuda: &Cuda, Apply { f, x, mut out }: Apply<On<Cuda>>) {
    let (kernels, constants) = of_function(f);
    let (x, out) = (mat(x), mat_mut(&mut out));
    let [_, values] = f.parts();
    let (part, wide) = part(out, values, &[x, out]);
    cuda.cells(kernels.values, wide, part, &[&constants, &x, &out]);
}

/// See [`ApplyBackward`].
fn apply_backward(cuda: &Cuda, ApplyBackward { f, at, dout, mut dx }: ApplyBackward<On<Cuda>>) {
    let (kernels, constants) = of_function(f);
    let (at, dout, dx) = (mat(at), mat(dout), mat_mut(&mut dx));
    let [inputs, _] = f.parts();
    let (part, wide) = part(dx, inputs, &[at, dout, dx]);
    cuda.cells(kernels.backward, wide, part, &[&constants, &at, &dout, &dx]);
}
