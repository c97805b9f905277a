//! The losses of rows of scores whose labels are known. Kernels: `kernels/label_loss.cu`.

use super::memory::{mat, mat_mut};
use super::{Cuda, View, ViewMut};
use crate::backend::{LabelLoss, LabelRows};

/// See [`Backend::label_loss`](crate::backend::Backend::label_loss).
pub fn label_loss(
    cuda: &Cuda,
    loss: LabelLoss,
    rows: LabelRows<Cuda>,
    row_weights: View,
    mut scores: ViewMut,
    mut losses: ViewMut,
) {
    let LabelRows { offsets, labels, first } = rows;
    let count = scores.rows;
    assert!(first + count < offsets.len(), "rows {first}+{count} of {}", offsets.len() - 1);
    assert_eq!((row_weights.cols, losses.cols), (count, count));
    let (kernel, smoothing, per_label) = match loss {
        LabelLoss::CrossEntropy { smoothing } => ("label_loss_cross_entropy", smoothing, true),
        LabelLoss::Logistic { smoothing, per_label } => ("label_loss_logistic", smoothing, per_label),
    };
    let offsets = offsets.address() + 4 * first as u64;
    cuda.launch(
        kernel,
        [count, 1, 1],
        256,
        &[
            &smoothing,
            &u32::from(per_label),
            &offsets,
            &labels.address(),
            &mat(row_weights),
            &mat_mut(&mut scores),
            &mat_mut(&mut losses),
        ],
    );
}
