//! The operations: what a step of training and an evaluation are made of.
//!
//! An operation is described once, in the file of its family: its operands by name, the shapes that they must have, its
//! work, and its gradient as operations. It is written down over operands of any kind ([`Operands`]): those of a program
//! on paper ([`OnPaper`]) or matrices on a device ([`On`](crate::backend::On)). A backend does it in the file of the same
//! name: `backend/cpu`, `backend/reference`, `backend/cuda` with its kernel in `kernels`.
//!
//! | family | operations |
//! | --- | --- |
//! | [`rows`] | copies, gathers and sums of rows; [`dropout`] says which numbers are dropped |
//! | [`elementwise`] | functions of numbers |
//! | [`project`] | projections: a relation moves a query |
//! | [`linear`] | linear layers |
//! | [`convolution`] | windows of images |
//! | [`normalise`] | batch normalisation |
//! | [`segment`] | attention, means and minima over sets of rows |
//! | [`score`] | scores of queries and entities |
//! | [`loss`], [`label_loss`] | losses with sampled negatives, and with the labels of all entities |
//! | [`penalty`] | regularisers |
//! | [`clip`], [`optimizer`] | the end of a step |
//!
//! `describe` has the macro that makes an operation of such a description.
//!
//! All matrices are row-major. An operand that is written may also be read where the formula says so ("in place"); it
//! never shares memory with another operand.

#[macro_use]
mod describe;

pub mod clip;
pub mod convolution;
pub mod dropout;
pub mod elementwise;
pub mod label_loss;
pub mod linear;
pub mod loss;
pub mod normalise;
pub mod optimizer;
pub mod penalty;
pub mod project;
pub mod rows;
pub mod score;
pub mod segment;

pub use describe::{Described, MapOperands, OnPaper, Operand, Operands};

/// An operation, by its family.
pub enum Op<O: Operands> {
    /// Moving and adding rows.
    Rows(rows::Rows<O>),
    /// Functions of single numbers.
    Elementwise(elementwise::Elementwise<O>),
    /// Projections.
    Projections(project::Projections<O>),
    /// Linear layers.
    Layers(linear::Layers<O>),
    /// Windows of images.
    Convolution(convolution::Convolution<O>),
    /// Batch normalisation.
    Normalisation(normalise::Normalisation<O>),
    /// Sets of rows.
    Segment(segment::Segment<O>),
    /// Scores.
    Score(score::Score<O>),
    /// The loss of queries.
    Losses(loss::Losses<O>),
    /// The loss of labels.
    LabelLosses(label_loss::LabelLosses<O>),
    /// Regularisation.
    Penalties(penalty::Penalties<O>),
    /// Clipping.
    Clip(clip::Clip<O>),
    /// Optimizers.
    Optimizers(optimizer::Optimizers<O>),
}

/// Does the same to an operation of any family.
macro_rules! each_family {
    ($op:expr, $inner:ident => $body:expr) => {
        match $op {
            Op::Rows($inner) => $body,
            Op::Elementwise($inner) => $body,
            Op::Projections($inner) => $body,
            Op::Layers($inner) => $body,
            Op::Convolution($inner) => $body,
            Op::Normalisation($inner) => $body,
            Op::Segment($inner) => $body,
            Op::Score($inner) => $body,
            Op::Losses($inner) => $body,
            Op::LabelLosses($inner) => $body,
            Op::Penalties($inner) => $body,
            Op::Clip($inner) => $body,
            Op::Optimizers($inner) => $body,
        }
    };
}

impl<O: Operands> Op<O> {
    /// Its name.
    pub fn name(&self) -> &'static str {
        each_family!(self, op => op.name())
    }

    /// Panics where the shapes of its operands do not fit each other.
    ///
    /// A backend calls it before it does an operation, and adds only what the numbers of an index decide: bounds of
    /// groups, roots and labels, rows that are named twice.
    pub fn check(&self) {
        each_family!(self, op => op.check());
    }

    /// The same operation on operands of another kind.
    pub fn map<P: Operands>(self, map: &impl MapOperands<O, P>) -> Op<P> {
        match self {
            Op::Rows(op) => Op::Rows(op.map(map)),
            Op::Elementwise(op) => Op::Elementwise(op.map(map)),
            Op::Projections(op) => Op::Projections(op.map(map)),
            Op::Layers(op) => Op::Layers(op.map(map)),
            Op::Convolution(op) => Op::Convolution(op.map(map)),
            Op::Normalisation(op) => Op::Normalisation(op.map(map)),
            Op::Segment(op) => Op::Segment(op.map(map)),
            Op::Score(op) => Op::Score(op.map(map)),
            Op::Losses(op) => Op::Losses(op.map(map)),
            Op::LabelLosses(op) => Op::LabelLosses(op.map(map)),
            Op::Penalties(op) => Op::Penalties(op.map(map)),
            Op::Clip(op) => Op::Clip(op.map(map)),
            Op::Optimizers(op) => Op::Optimizers(op.map(map)),
        }
    }
}

impl Clone for Op<OnPaper> {
    fn clone(&self) -> Self {
        *self
    }
}

impl Copy for Op<OnPaper> {}

impl Op<OnPaper> {
    /// Shows all operands that are in memory, with their names.
    pub fn operands(&self, visit: &mut dyn FnMut(&'static str, Operand)) {
        each_family!(self, op => op.operands(visit));
    }

    /// Which of its kind it is, for readers; empty where there is one kind.
    pub fn kind(&self) -> String {
        each_family!(self, op => op.kind())
    }

    /// Floating-point operations of its formula.
    pub fn work(&self) -> f64 {
        each_family!(self, op => op.work())
    }

    /// Writes down its gradient.
    pub fn gradient(&self, gradients: &mut crate::program::Gradients, program: &mut crate::program::Program) {
        each_family!(self, op => op.gradient(gradients, program));
    }
}
