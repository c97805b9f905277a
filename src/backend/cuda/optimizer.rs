//! Adam. Kernels: `kernels/optimizer.cu`.

use super::{Cuda, View};
use crate::backend::{AdamStep, DeviceGroups, Parameters};

/// See [`Backend::adam_rows`](crate::backend::Backend::adam_rows).
pub fn adam_rows(
    cuda: &Cuda,
    step: AdamStep,
    groups: &DeviceGroups<Cuda>,
    grads: View,
    table: &mut Parameters<Cuda>,
) {
    let _ = (cuda, step, groups, grads, table);
    todo!()
}

/// See [`Backend::adam`](crate::backend::Backend::adam).
pub fn adam(cuda: &Cuda, step: AdamStep, grads: View, table: &mut Parameters<Cuda>) {
    let _ = (cuda, step, grads, table);
    todo!()
}
