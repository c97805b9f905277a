//! What the kernels of a score and of a function are called, and the numbers that they take: the twin of `kernels/formulas.cuh`.

use crate::backend::{BETA_MAX, BETA_MIN, Function, Scoring};
use crate::program::ops::elementwise::LEAST_RADIUS;

/// The kernels of a score.
pub struct ScoreKernels {
    /// Scores of few pairs, and of many.
    pub scores: [&'static str; 2],
    /// Their gradients.
    pub backward: &'static str,
    /// Of candidates of a query's own.
    pub own: &'static str,
    /// Their gradients.
    pub own_backward: &'static str,
    /// Of given pairs.
    pub listed: &'static str,
}

macro_rules! score_kernels {
    ($name:literal) => {
        ScoreKernels {
            scores: [concat!("scores_", $name), concat!("scores_large_", $name)],
            backward: concat!("scores_backward_", $name),
            own: concat!("per_query_scores_", $name),
            own_backward: concat!("per_query_scores_backward_", $name),
            listed: concat!("listed_scores_", $name),
        }
    };
}

/// The kernels of a score, and its numbers as `Geometry` has them.
pub fn of_score(kind: Scoring) -> (ScoreKernels, [f32; 2]) {
    match kind {
        Scoring::L1 { gamma } => (score_kernels!("l1"), [gamma, 0.0]),
        Scoring::L2 { gamma } => (score_kernels!("l2"), [gamma, 0.0]),
        Scoring::Box { gamma, inside } => (score_kernels!("box"), [gamma, inside]),
        Scoring::Dot => (score_kernels!("dot"), [0.0; 2]),
        Scoring::Rotation { gamma } => (score_kernels!("rotation"), [gamma, 0.0]),
        Scoring::Cone { gamma, inside } => (score_kernels!("cone"), [gamma, inside]),
        Scoring::Beta { .. } => unreachable!("scored by `beta`"),
    }
}

/// Instructions of the inner loops for a pair and a column of an entity row, as `kernels/formulas.cuh` has them: of arithmetic, and
/// of comparisons, minima and logic, forward, then backward for both gradients. Roots are left to a unit of their own.
pub fn instructions(kind: Scoring) -> [[f64; 2]; 2] {
    match kind {
        Scoring::L1 { .. } => [[2.0, 0.0], [2.0, 2.0]],
        Scoring::L2 { .. } => [[2.0, 0.0], [4.0, 0.0]],
        Scoring::Box { .. } => [[3.0, 1.0], [7.0, 4.0]],
        Scoring::Dot => [[1.0, 0.0], [2.0, 0.0]],
        // Complex numbers take two columns each.
        Scoring::Rotation { .. } => [[3.0, 0.0], [7.0, 0.0]],
        Scoring::Cone { .. } => [[4.0, 1.0], [10.0, 3.0]],
        Scoring::Beta { .. } => unreachable!("scored by `beta`"),
    }
}

/// The kernels of a function.
pub struct FunctionKernels {
    /// Its values, of a number at a time and of four.
    pub values: [&'static str; 2],
    /// Its gradient.
    pub backward: [&'static str; 2],
}

macro_rules! function_kernels {
    ($name:literal) => {
        FunctionKernels {
            values: [concat!("apply_", $name), concat!("apply_", $name, "4")],
            backward: [concat!("apply_backward_", $name), concat!("apply_backward_", $name, "4")],
        }
    };
}

/// The kernels of a function, and its numbers as `Formula` has them.
pub fn of_function(f: Function) -> (FunctionKernels, [f32; 4]) {
    match f {
        Function::BetaParameter => (function_kernels!("beta_parameter"), [BETA_MIN, BETA_MAX, 0.0, 0.0]),
        Function::Reciprocal => (function_kernels!("reciprocal"), [0.0; 4]),
        Function::Tanh { slope, height, shift } => (function_kernels!("tanh"), [slope, height, shift, 0.0]),
        Function::Direction { scale } => (function_kernels!("direction"), [scale, 0.0, 0.0, 0.0]),
        Function::Angle => (function_kernels!("angle"), [LEAST_RADIUS, 0.0, 0.0, 0.0]),
        Function::Ends => (function_kernels!("ends"), [0.0; 4]),
        Function::Complement => (function_kernels!("complement"), [0.0; 4]),
        Function::Sector { modulus } => (function_kernels!("sector"), [modulus, 0.0, 0.0, 0.0]),
    }
}
