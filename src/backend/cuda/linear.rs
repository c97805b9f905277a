//! Linear layers. Kernels: `kernels/linear.cu`; products by a library where the driver has one.

use super::driver::{Operand, Product};
use super::memory::{RawMat, mat, mat_mut};
use super::{Cuda, activation_code};
use crate::backend::{Activation, On};
use crate::program::ops::linear::{Layers, Linear, LinearBackward};

/// Does an operation of the family.
pub fn run(cuda: &Cuda, op: Layers<On<Cuda>>) {
    match op {
        Layers::Linear(op) => linear(cuda, op),
        Layers::LinearBackward(op) => linear_backward(cuda, op),
    }
}

/// A factor of a product as the kernel takes it.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Factor {
    data: u64,
    stride: i64,
    /// Rows of the first factor, columns of the second.
    lines: u32,
    /// Terms of each sum.
    depth: u32,
}

impl Operand {
    /// The matrix as it stands.
    pub fn new(m: RawMat) -> Self {
        Operand { address: m.data, stride: m.stride as usize, transposed: false }
    }

    /// Its transpose.
    pub fn transposed(self) -> Self {
        Operand { transposed: !self.transposed, ..self }
    }
}

/// `c = a b`, or `c += a b`; `depth` is the number of columns of a and of rows of b.
pub fn matmul(cuda: &Cuda, a: Operand, b: Operand, depth: u32, accumulate: bool, c: RawMat) {
    if c.rows == 0 || c.cols == 0 || (depth == 0 && accumulate) {
        return;
    }
    if depth == 0 {
        return cuda.cells(["fill", "fill4"], c.is_wide(), c, &[&0f32, &c]);
    }
    let [m, n, k] = [c.rows, c.cols, depth].map(|n| n as usize);
    let mut done = true;
    cuda.attempt(|| {
        done = cuda.driver.matmul(&Product { m, n, k, a, b, c: Operand::new(c), accumulate })?;
        Ok(())
    });
    if !done {
        let kernel = match (a.transposed, b.transposed) {
            (false, false) => "matmul_nn",
            (false, true) => "matmul_nt",
            (true, false) => "matmul_tn",
            (true, true) => "matmul_tt",
        };
        let factor = |o: Operand, lines| Factor { data: o.address, stride: o.stride as i64, lines, depth };
        let grid = [m.div_ceil(64) * n.div_ceil(64), 1, 1];
        let (a, b) = (factor(a, c.rows), factor(b, c.cols));
        cuda.launch(kernel, grid, 256, &[&a, &b, &u32::from(accumulate), &c]);
    }
}

/// See [`Linear`].
fn linear(cuda: &Cuda, Linear { x, w, bias, f, mut out }: Linear<On<Cuda>>) {
    let (x, w, out) = (mat(x), mat(w), mat_mut(&mut out));
    matmul(cuda, Operand::new(x), Operand::new(w).transposed(), x.cols, false, out);
    let Some(b) = bias.map(mat) else {
        assert!(f == Activation::None, "an activation comes with a bias");
        return;
    };
    let wide = b.is_wide() && out.is_wide();
    cuda.cells(["bias_activate1", "bias_activate4"], wide, out, &[&activation_code(f), &b, &out]);
}

/// See [`LinearBackward`].
fn linear_backward(
    cuda: &Cuda,
    LinearBackward { x, w, out, f, mut dout, mut dx, mut dw, mut dbias }: LinearBackward<On<Cuda>>,
) {
    let (x, w) = (mat(x), mat(w));
    let (dout, dx) = (mat_mut(&mut dout), mat_mut(&mut dx));
    let dw = mat_mut(&mut dw);
    match f {
        Activation::None => {}
        Activation::Relu => {
            let out = mat(out.expect("an activation is known by its output"));
            let wide = out.is_wide() && dout.is_wide();
            cuda.cells(["relu_backward1", "relu_backward4"], wide, dout, &[&out, &dout]);
        }
        Activation::Softplus => unreachable!("linear layers have no softplus"),
    }
    if let Some(db) = &mut dbias {
        cuda.launch("add_rows", [(dout.cols as usize).div_ceil(8), 1, 1], 512, &[&dout, &mat_mut(db)]);
    }
    matmul(cuda, Operand::new(dout).transposed(), Operand::new(x), dout.rows, true, dw);
    matmul(cuda, Operand::new(dout), Operand::new(w), dout.cols, false, dx);
}
