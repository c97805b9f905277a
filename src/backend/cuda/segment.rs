//! Set operations on segments of rows. Kernels: `kernels/segment.cu`.

use super::memory::Index;
use super::{Cuda, View, ViewMut};

/// See [`Backend::attend`](crate::backend::Backend::attend).
pub fn attend(cuda: &Cuda, x: View, offsets: &Index, weights: ViewMut, out: ViewMut) {
    let _ = (cuda, x, offsets, weights, out);
    todo!()
}

/// See [`Backend::attend_backward`](crate::backend::Backend::attend_backward).
pub fn attend_backward(cuda: &Cuda, x: View, offsets: &Index, dout: View, weights: ViewMut, dx: ViewMut) {
    let _ = (cuda, x, offsets, dout, weights, dx);
    todo!()
}

/// See [`Backend::segment_mean`](crate::backend::Backend::segment_mean).
pub fn mean(cuda: &Cuda, x: View, offsets: &Index, out: ViewMut) {
    let _ = (cuda, x, offsets, out);
    todo!()
}

/// See [`Backend::segment_mean_backward`](crate::backend::Backend::segment_mean_backward).
pub fn mean_backward(cuda: &Cuda, dout: View, offsets: &Index, dx: ViewMut) {
    let _ = (cuda, dout, offsets, dx);
    todo!()
}

/// See [`Backend::gated_min`](crate::backend::Backend::gated_min).
pub fn gated_min(cuda: &Cuda, x: View, offsets: &Index, gate: View, out: ViewMut) {
    let _ = (cuda, x, offsets, gate, out);
    todo!()
}

/// See [`Backend::gated_min_backward`](crate::backend::Backend::gated_min_backward).
pub fn gated_min_backward(cuda: &Cuda, x: View, offsets: &Index, dout: View, gate: ViewMut, dx: ViewMut) {
    let _ = (cuda, x, offsets, dout, gate, dx);
    todo!()
}
