//! Projections of a whole level. Kernels: `kernels/project.cu`.

use super::{Cuda, View, ViewMut};
use crate::backend::{ProjectStep, Projection};

/// See [`Backend::project`](crate::backend::Backend::project).
pub fn project(cuda: &Cuda, kind: Projection, step: ProjectStep<Cuda>, relations: View, slots: ViewMut) {
    let _ = (cuda, kind, step, relations, slots);
    todo!()
}

/// See [`Backend::project_backward`](crate::backend::Backend::project_backward).
pub fn project_backward(
    cuda: &Cuda,
    kind: Projection,
    step: ProjectStep<Cuda>,
    slots: View,
    relations: View,
    grads: ViewMut,
    relation_grads: ViewMut,
) {
    let _ = (cuda, kind, step, slots, relations, grads, relation_grads);
    todo!()
}
