//! The loss of queries with sampled negatives.

use crate::program::{Gradients, Program};

/// How the scores of a query become its loss: `p` is the positive's, `s_n` those of the unmasked negatives, and the
/// weights `w` of [`LossOptions`] sum to 1 over these.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PoolLoss {
    /// `(-log sigmoid(p) - sum_n w_n log sigmoid(-s_n)) / 2` (Sun et al. 2019).
    Logistic,
    /// `log(e^p + sum_n e^(s_n)) - p`: the softmax of the positive among its negatives, which weights them by itself.
    CrossEntropy,
    /// `sum_n w_n max(0, margin + s_n - p)` (Bordes et al. 2013).
    Margin {
        /// By how much a positive should beat each negative.
        margin: f32,
    },
}

/// The loss of queries with sampled negatives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossOptions {
    /// Its formula.
    pub loss: PoolLoss,
    /// Weights of the negatives: softmax(temperature * score) over those of a query (self-adversarial), constants in
    /// the derivative; `None` is uniform. Cross-entropy has no such weights.
    pub adversarial_temperature: Option<f32>,
}

operations! {
    /// The loss of queries with sampled negatives.
    Losses:

    /// The loss of each query and its derivatives.
    ///
    /// That of [`PoolLoss`] times `query_weights[q]`, where `p` and `s_n` are the best of the query's roots
    /// (`roots[q]..roots[q + 1]`) and `n` runs over the entries whose mask bit is clear; where there is none, only the
    /// term of the positive remains, which is 0 but for the logistic loss. `mask` holds 32-bit words, `mask_words` a
    /// query. A NaN among the scores of any root makes its query's loss NaN, unless the entry is masked.
    /// Writes `losses[q]`, a column, the weights `d loss / d score` of the pool, and those of the positives.
    LossOfPool {
        options: Is(LossOptions), roots: Index, positives: In, scores: In, mask: Index, mask_words: Is(usize),
        query_weights: In, losses: Out, positive_weights: Out, weights: Out,
    }
}

impl<O: Operands> LossOfPool<O> {
    fn check(&self) {
        let ((roots, pool), losses) = (O::shape(&self.scores), O::shape_of_out(&self.losses));
        assert!(self.mask_words * 32 >= pool, "{} words of mask for {pool} negatives", self.mask_words);
        same!(
            O::shape(&self.positives) => (roots, 1),
            O::shape_of_out(&self.positive_weights) => O::shape(&self.positives),
            O::shape_of_out(&self.weights) => (roots, pool),
            losses => O::shape(&self.query_weights),
            losses.1 => 1,
        );
    }
}

impl Described for LossOfPool<OnPaper> {
    fn kind(&self) -> String {
        format!("{:?}", self.options.loss)
    }

    fn work(&self) -> f64 {
        10.0 * self.scores.numbers()
    }

    fn gradient(&self, gradients: &mut Gradients, program: &mut Program) {
        let (of_scores, of_positives) = (program.whole(self.scores), program.whole(self.positives));
        gradients.is(of_scores, program.whole(self.weights));
        gradients.is(of_positives, program.whole(self.positive_weights));
    }
}
