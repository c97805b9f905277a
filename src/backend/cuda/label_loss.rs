//! The losses of rows of scores whose labels are known. Kernels: `kernels/label_loss.cu`.

use super::Cuda;
use super::memory::{mat, mat_mut};
use crate::backend::{LabelLoss, On};
use crate::program::ops::label_loss::{LabelLosses, LossOfLabels};

/// Does an operation of the family.
pub fn run(cuda: &Cuda, op: LabelLosses<On<Cuda>>) {
    match op {
        LabelLosses::LossOfLabels(op) => label_loss(cuda, op),
    }
}

/// See [`LossOfLabels`].
fn label_loss(
    cuda: &Cuda,
    LossOfLabels { loss, offsets, labels, first, row_weights, mut scores, losses }: LossOfLabels<On<Cuda>>,
) {
    let (row_weights, mut losses) = (row_weights.into_row(), losses.into_row());
    let count = scores.rows;
    assert!(first + count < offsets.len(), "rows {first}+{count} of {}", offsets.len() - 1);
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
