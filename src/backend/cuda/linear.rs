//! Linear layers. Kernels: `kernels/linear.cu`.

use super::{Cuda, View, ViewMut};
use crate::backend::Activation;

/// See [`Backend::linear`](crate::backend::Backend::linear).
pub fn linear(cuda: &Cuda, x: View, w: View, b: View, f: Activation, out: ViewMut) {
    let _ = (cuda, x, w, b, f, out);
    todo!()
}

/// See [`Backend::linear_backward`](crate::backend::Backend::linear_backward).
#[allow(clippy::too_many_arguments)]
pub fn linear_backward(
    cuda: &Cuda,
    x: View,
    w: View,
    out: View,
    f: Activation,
    dout: ViewMut,
    dx: ViewMut,
    dw: ViewMut,
    db: ViewMut,
) {
    let _ = (cuda, x, w, out, f, dout, dx, dw, db);
    todo!()
}
