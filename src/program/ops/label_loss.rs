//! The losses of rows of scores of all entities whose labels are known.

use crate::program::{Gradients, Program};

/// A loss of a row of scores of all entities whose labels, the true ones, are known.
///
/// `x` are the scores, `y` the labels, `n` their number, `E` all entities, `s` the smoothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LabelLoss {
    /// `n log(sum exp x) - (1 - s) sum_y x_y - s n mean(x)`: n times the cross-entropy of softmax(x) with the labels'
    /// uniform distribution, mixed with that of all entities.
    CrossEntropy {
        /// s, from 0 to 1.
        smoothing: f32,
    },
    /// `m sum_e softplus(x_e) - (1 - s) sum_y x_y - s m mean(x)`: a binary cross-entropy for each entity, whose target is
    /// `(1 - s) [e is a label] + s / E`. `m` is 1; where `per_label` it is n: the loss of n rows, each with one of the
    /// labels.
    Logistic {
        /// s, from 0 to 1.
        smoothing: f32,
        /// Whether each label has a row of its own.
        per_label: bool,
    },
}

operations! {
    /// Losses of rows of scores whose labels are known.
    LabelLosses:

    /// `losses[i] = row_weights[i] * loss` (see [`LabelLoss`]); turns the scores into `d losses / d scores`. Row i
    /// has `labels[offsets[first + i]..offsets[first + i + 1]]`, distinct. A NaN among a row's scores makes its loss
    /// NaN. Each number is read and written twice, in blocks that a cache holds.
    LossOfLabels {
        loss: Is(LabelLoss), offsets: Index, labels: Index, first: Count, row_weights: In, scores: Out, losses: Out,
    }
}

impl<O: Operands> LossOfLabels<O> {
    fn check(&self) {
        let column = (O::shape_of_out(&self.scores).0, 1);
        same!(O::shape(&self.row_weights) => column, O::shape_of_out(&self.losses) => column);
    }
}

impl Described for LossOfLabels<OnPaper> {
    fn kind(&self) -> String {
        format!("{:?}", self.loss)
    }

    fn work(&self) -> f64 {
        10.0 * self.scores.numbers()
    }

    fn gradient(&self, gradients: &mut Gradients, _: &mut Program) {
        gradients.is(self.scores, self.scores);
    }
}
