//! The table of cases: which kinds the operations have. The tests of parity, of gradients and of determinism go through it, and
//! so do the benchmarks of kernels. `tests/structure.rs` holds it to the vocabulary: a new kind is added here.
#![allow(dead_code, reason = "tests and benchmarks each use a part")]

use smore::engine::backend::{
    Activation, Function, LabelLoss, Optimizer, Penalty, PoolLoss, Projection, Scoring,
};

/// A kind of an operation.
pub struct Case<T> {
    pub kind: T,
    /// Its name in the benchmarks; a variation of a kind that has one is tested and not timed.
    timed: Option<&'static str>,
}

const fn timed<T>(timed: &'static str, kind: T) -> Case<T> {
    Case { kind, timed: Some(timed) }
}

const fn varied<T>(kind: T) -> Case<T> {
    Case { kind, timed: None }
}

/// All kinds of a table.
pub fn kinds<T: Copy>(cases: &[Case<T>]) -> impl Iterator<Item = T> {
    cases.iter().map(|case| case.kind)
}

/// Kinds to time, each with its name.
pub fn benchmarks<T: Copy>(cases: &[Case<T>]) -> impl Iterator<Item = (&'static str, T)> {
    cases.iter().filter_map(|case| Some((case.timed?, case.kind)))
}

/// Scores that are sums over columns.
pub const SCORES: [Case<Scoring>; 7] = [
    timed("L1", Scoring::L1 { gamma: 24.0 }),
    timed("L2", Scoring::L2 { gamma: 24.0 }),
    timed("box", Scoring::Box { gamma: 24.0, inside: 0.02 }),
    varied(Scoring::Box { gamma: 12.0, inside: 1.0 }),
    timed("dot", Scoring::Dot),
    timed("rotation", Scoring::Rotation { gamma: 24.0 }),
    timed("cone", Scoring::Cone { gamma: 24.0, inside: 0.02 }),
];

/// The score whose rows are parameters of distributions: positive, and with a code of its own.
pub const BETA: Scoring = Scoring::Beta { gamma: 60.0 };

/// Every loss of a pool with every kind of weights: none, or by a temperature.
pub const POOL_LOSSES: [Case<(PoolLoss, Option<f32>)>; 9] = [
    timed("uniform", (PoolLoss::Logistic, None)),
    varied((PoolLoss::Logistic, Some(0.0))),
    varied((PoolLoss::Logistic, Some(0.5))),
    timed("adversarial", (PoolLoss::Logistic, Some(2.0))),
    timed("cross-entropy", (PoolLoss::CrossEntropy, None)),
    varied((PoolLoss::CrossEntropy, Some(0.5))),
    timed("margin", (PoolLoss::Margin { margin: 1.5 }, None)),
    varied((PoolLoss::Margin { margin: 0.0 }, Some(0.5))),
    varied((PoolLoss::Margin { margin: -1.0 }, Some(2.0))),
];

pub const LABEL_LOSSES: [Case<LabelLoss>; 6] = [
    timed("cross-entropy", LabelLoss::CrossEntropy { smoothing: 0.0 }),
    varied(LabelLoss::CrossEntropy { smoothing: 0.25 }),
    varied(LabelLoss::Logistic { smoothing: 0.0, per_label: false }),
    timed("logistic", LabelLoss::Logistic { smoothing: 0.25, per_label: false }),
    varied(LabelLoss::Logistic { smoothing: 0.0, per_label: true }),
    varied(LabelLoss::Logistic { smoothing: 0.25, per_label: true }),
];

pub const PROJECTIONS: [Case<Projection>; 8] = [
    timed("translate", Projection::Translate),
    timed("box", Projection::Box { offset: Activation::None }),
    varied(Projection::Box { offset: Activation::Relu }),
    varied(Projection::Box { offset: Activation::Softplus }),
    timed("product", Projection::Product),
    timed("complex product", Projection::ComplexProduct),
    timed("rotate", Projection::Rotate { scale: 2.5 }),
    timed("matrix", Projection::Matrix),
];

pub const FUNCTIONS: [Case<Function>; 8] = [
    timed("beta parameter", Function::BetaParameter),
    timed("reciprocal", Function::Reciprocal),
    timed("tanh", Function::Tanh { slope: 2.0, height: 1.5, shift: 1.5 }),
    timed("direction", Function::Direction { scale: 0.5 }),
    timed("angle", Function::Angle),
    timed("ends", Function::Ends),
    timed("complement", Function::Complement),
    timed("sector", Function::Sector { modulus: 0.25 }),
];

pub const PENALTIES: [Case<Penalty>; 3] = [
    timed("squares", Penalty::Squares),
    timed("cubes", Penalty::Cubes),
    timed("complex cubes", Penalty::ComplexCubes),
];

pub const OPTIMIZERS: [Case<Optimizer>; 4] = [
    timed("adam", Optimizer::Adam),
    timed("adagrad", Optimizer::Adagrad),
    timed("row-wise adagrad", Optimizer::RowwiseAdagrad),
    timed("sgd", Optimizer::Sgd),
];

/// Of layers; the gradients through a softplus are those of boxes alone.
pub const ACTIVATIONS: [Activation; 3] = [Activation::None, Activation::Relu, Activation::Softplus];
