//! Linear layers. Kernels: `kernels/linear.cu`; products by a library where the driver has one.

use super::driver::{Operand, Product};
use super::memory::{RawMat, mat, mat_mut};
use super::{Cuda, View, ViewMut, activation_code};
use crate::backend::Activation;

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
    cuda.run(|| {
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

/// See [`Backend::linear`](crate::backend::Backend::linear).
pub fn linear(cuda: &Cuda, x: View, w: View, b: View, f: Activation, mut out: ViewMut) {
    assert_eq!((x.rows, x.cols, w.rows, b.cols), (out.rows, w.cols, out.cols, out.cols));
    let (x, w, b, out) = (mat(x), mat(w), mat(b), mat_mut(&mut out));
    matmul(cuda, Operand::new(x), Operand::new(w).transposed(), x.cols, false, out);
    let wide = b.is_wide() && out.is_wide();
    cuda.cells(["bias_activate1", "bias_activate4"], wide, out, &[&activation_code(f), &b, &out]);
}

/// See [`Backend::linear_backward`](crate::backend::Backend::linear_backward).
#[allow(clippy::too_many_arguments)]
pub fn linear_backward(
    cuda: &Cuda,
    x: View,
    w: View,
    out: View,
    f: Activation,
    mut dout: ViewMut,
    mut dx: ViewMut,
    mut dw: ViewMut,
    mut db: ViewMut,
) {
    assert_eq!((dout.rows, dout.cols), (out.rows, out.cols));
    assert_eq!((x.rows, x.cols, w.rows), (out.rows, w.cols, out.cols));
    assert_eq!((dx.rows, dx.cols), (x.rows, x.cols));
    assert_eq!((dw.rows, dw.cols, db.cols), (w.rows, w.cols, out.cols));
    let (x, w, out) = (mat(x), mat(w), mat(out));
    let (dout, dx) = (mat_mut(&mut dout), mat_mut(&mut dx));
    let (dw, db) = (mat_mut(&mut dw), mat_mut(&mut db));
    match f {
        Activation::None => {}
        Activation::Relu => {
            let wide = out.is_wide() && dout.is_wide();
            cuda.cells(["relu_backward1", "relu_backward4"], wide, dout, &[&out, &dout]);
        }
        Activation::Softplus => unreachable!("linear layers have no softplus"),
    }
    cuda.launch("add_rows", [(dout.cols as usize).div_ceil(8), 1, 1], 512, &[&dout, &db]);
    matmul(cuda, Operand::new(dout).transposed(), Operand::new(x), dout.rows, true, dw);
    matmul(cuda, Operand::new(dout), Operand::new(w), dout.cols, false, dx);
}
