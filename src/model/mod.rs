//! Embedding models: what a row means, how relations move it, how sets of rows are combined.
//!
//! Reading order: this file (the trait and the registry), one file per model ([`gqe`], [`query2box`],
//! [`complex`], [`distmult`], [`rotate`], [`transe`], [`rescal`], [`tucker`], [`conve`], [`betae`]), [`network`] (the set networks they share), [`weights`] (tables
//! and their start),
//! [`embed`] (runs a batch plan forward and backward).
//!
//! To add a model: a file with its [`Model`], a line in [`create`] and [`NAMES`], a row in the gradient
//! test; and where its geometry is new, a [`Projection`] or [`Scoring`] with its twins in the backends.

pub mod betae;
pub mod complex;
pub mod conve;
pub mod distmult;
pub mod embed;
pub mod gqe;
pub mod network;
pub mod query2box;
pub mod rescal;
pub mod rotate;
pub mod transe;
pub mod tucker;
pub mod weights;

pub use embed::Embedder;
pub use weights::Weights;

use crate::backend::{Backend, Mat, MatMut, Penalty, ProjectStep, Projection, Scoring};
use crate::config::{ModelConfig, Regulariser, UnionForm};
use crate::error::{Error, Result};
use crate::query::{Mix, Plan, Structure};
use crate::rng::Rng;
use std::ops::Range;

/// Names that [`create`] knows.
pub const NAMES: [&str; 10] =
    ["gqe", "query2box", "betae", "complex", "distmult", "rotate", "transe", "rescal", "tucker", "conve"];

/// Scalars per row. `d` is the embedding dimension of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Widths {
    /// Of an entity row.
    pub entity: usize,
    /// Of a relation row.
    pub relation: usize,
    /// Of a query embedding.
    pub query: usize,
}

/// A dense parameter of a model's networks.
#[derive(Clone, Debug, PartialEq)]
pub struct DenseShape {
    /// Name in saved models.
    pub name: String,
    /// Rows (outputs).
    pub rows: usize,
    /// Columns (inputs).
    pub cols: usize,
    /// Starts uniform in `-range..range`; 0 for biases.
    pub range: f32,
    /// Whether it is no parameter but a running average: in a step of training its gradient is the number that it moves
    /// towards, by a tenth of the difference or, at first, by one part of as many as there are.
    pub averaged: bool,
}

/// Buffers that a step needs between forward and backward.
pub type Workspace<B> = Vec<<B as Backend>::Buffer>;

/// Buffers of these lengths.
pub fn allocate<B: Backend>(backend: &B, lengths: &[usize]) -> Result<Workspace<B>> {
    lengths.iter().map(|&len| backend.zeros(len)).collect()
}

/// Of a model without a network for it.
const PROJECTS: &str = "a model has a projection, or a `project` of its own";

/// An embedding model. Shapes are those of [`Widths`]; matrices are row-major.
pub trait Model<B: Backend>: Send + Sync + std::fmt::Debug {
    /// Its name in the registry.
    fn name(&self) -> &'static str;

    /// Scalars per row.
    fn widths(&self) -> Widths;

    /// How relations move query embeddings; `None` where a network does it, in [`Model::project`].
    fn projection(&self) -> Option<Projection> {
        None
    }

    /// How query embeddings are compared with entity rows.
    fn scoring(&self) -> Scoring;

    /// Whether negations can be expressed.
    fn has_negation(&self) -> bool {
        false
    }

    /// What becomes of the unions of its queries.
    fn unions(&self) -> UnionForm {
        UnionForm::Dnf
    }

    /// Whether sets of rows can be intersected.
    fn has_intersection(&self) -> bool {
        true
    }

    /// Whether it is a tensor decomposition, so that N3 applies: to complex rows (real half, imaginary half) or real ones.
    fn regularised(&self) -> Option<Halves> {
        None
    }

    /// Whether its score is linear in the head, in the relation and in the tail, the others fixed.
    fn is_multilinear(&self) -> bool {
        let products = [Projection::Product, Projection::ComplexProduct, Projection::Matrix].map(Some);
        self.scoring() == Scoring::Dot && products.contains(&self.projection())
    }

    /// [`ModelConfig::range`]: how far from 0 rows start.
    fn range(&self) -> f32;

    /// Fills a new entity row.
    fn start_entity(&self, row: &mut [f32], rng: &mut Rng) {
        uniform(row, -self.range(), self.range(), rng);
    }

    /// Fills a new relation row.
    fn start_relation(&self, row: &mut [f32], rng: &mut Rng) {
        uniform(row, -self.range(), self.range(), rng);
    }

    /// The dense parameters, in the order in which the other methods receive them.
    fn dense(&self) -> Vec<DenseShape> {
        Vec::new()
    }

    /// Turns entity rows into query embeddings: a copy, and zeros where a query row is wider.
    fn leaves(&self, backend: &B, rows: Mat<B::Buffer>, slots: MatMut<B::Buffer>) {
        let (entity, query) = (self.widths().entity, self.widths().query);
        let MatMut { buffer, offset, rows: count, stride, .. } = slots;
        if query > entity {
            backend.fill(0.0, MatMut { buffer: &mut *buffer, offset, rows: count, cols: query, stride });
        }
        backend.copy(rows, MatMut { buffer, offset, rows: count, cols: entity, stride });
    }

    /// Gradient of [`Model::leaves`], which wrote `slots`: writes `drows`.
    fn leaves_backward(
        &self,
        backend: &B,
        _slots: Mat<B::Buffer>,
        dslots: Mat<B::Buffer>,
        drows: MatMut<B::Buffer>,
    ) {
        backend.copy(dslots.columns(0, self.widths().entity), drows);
    }

    /// Which of [`Model::dense`] a projection uses: all that is trained in single-hop training.
    fn projection_dense(&self) -> Range<usize> {
        0..0
    }

    /// Whether a projection can take each relation of its uses once ([`ProjectStep::groups`]): where relations are, or
    /// become, matrices.
    fn shares_relations(&self) -> bool {
        self.projection() == Some(Projection::Matrix)
    }

    /// Lengths of the buffers for projections of up to `count` rows with up to `relations` rows of relations; those of
    /// gradients only where the model is `trained`.
    fn project_workspace(&self, _count: usize, _relations: usize, _trained: bool) -> Vec<usize> {
        Vec::new()
    }

    /// Moves `slots[step.inputs]` along relations to `slots[step.output..]`.
    fn project(
        &self,
        backend: &B,
        _dense: &[Mat<B::Buffer>],
        step: ProjectStep<B>,
        relations: Mat<B::Buffer>,
        _work: &mut Workspace<B>,
        slots: MatMut<B::Buffer>,
    ) {
        backend.project(self.projection().expect(PROJECTS), step, relations, slots);
    }

    /// Gradients of [`Model::project`] with the workspace that it left: writes `grads[step.inputs]` and
    /// `relation_grads` from `grads[step.output..]`, adds to `ddense`.
    #[allow(clippy::too_many_arguments)]
    fn project_backward(
        &self,
        backend: &B,
        _dense: &[Mat<B::Buffer>],
        step: ProjectStep<B>,
        slots: Mat<B::Buffer>,
        relations: Mat<B::Buffer>,
        _work: &mut Workspace<B>,
        grads: MatMut<B::Buffer>,
        relation_grads: MatMut<B::Buffer>,
        _ddense: &mut [B::Buffer],
    ) {
        backend.project_backward(
            self.projection().expect(PROJECTS),
            step,
            slots,
            relations,
            grads,
            relation_grads,
        );
    }

    /// Negates rows; only of a model that [`Model::has_negation`].
    fn negate(&self, _backend: &B, _x: Mat<B::Buffer>, _out: MatMut<B::Buffer>) {
        unreachable!("{} has no negation", self.name())
    }

    /// Gradient of [`Model::negate`] from its output: writes `dx`.
    fn negate_backward(
        &self,
        _backend: &B,
        _out: Mat<B::Buffer>,
        _dout: Mat<B::Buffer>,
        _dx: MatMut<B::Buffer>,
    ) {
        unreachable!("{} has no negation", self.name())
    }

    /// Lengths of the buffers for intersections of `inputs` rows to `outputs` rows.
    fn workspace(&self, _inputs: usize, _outputs: usize) -> Vec<usize> {
        Vec::new()
    }

    /// Intersects segments of `x` (`offsets` as in the backend's set operations) into `out`; only of a model that
    /// [`Model::has_intersection`].
    fn intersect(
        &self,
        _backend: &B,
        _dense: &[Mat<B::Buffer>],
        _x: Mat<B::Buffer>,
        _offsets: &B::Index,
        _work: &mut Workspace<B>,
        _out: MatMut<B::Buffer>,
    ) {
        unreachable!("{} has no intersection", self.name())
    }

    /// Gradients of [`Model::intersect`] with the workspace that it left: writes `dx`, adds to `ddense`.
    #[allow(clippy::too_many_arguments)]
    fn intersect_backward(
        &self,
        _backend: &B,
        _dense: &[Mat<B::Buffer>],
        _x: Mat<B::Buffer>,
        _offsets: &B::Index,
        _dout: Mat<B::Buffer>,
        _work: &mut Workspace<B>,
        _dx: MatMut<B::Buffer>,
        _ddense: &mut [B::Buffer],
    ) {
        unreachable!("{} has no intersection", self.name())
    }
}

/// What the columns of a row are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halves {
    /// Real numbers.
    Real,
    /// The first half real parts, the second half imaginary parts.
    Complex,
}

/// The model that a configuration names.
pub fn create<B: Backend>(config: &ModelConfig) -> Result<Box<dyn Model<B>>> {
    if config.dim == 0 {
        return Err(Error::invalid("model.dim must be at least 1"));
    }
    if config.union == UnionForm::DeMorgan && config.name != "betae" {
        return Err(Error::invalid(format!(
            "model.union = demorgan needs a model with negation, which {} has not: use dnf, or the model betae",
            config.name
        )));
    }
    if config.relation_dim.is_some() && config.name != "tucker" {
        return Err(Error::invalid(format!(
            "model.relation_dim is for tucker; rows of relations of {} follow from model.dim: leave it out",
            config.name
        )));
    }
    match config.name.as_str() {
        "gqe" => Ok(Box::new(gqe::Gqe::new(config))),
        "query2box" => Ok(Box::new(query2box::Query2Box::new(config))),
        "complex" => Ok(Box::new(complex::ComplEx::new(config))),
        "betae" => Ok(Box::new(betae::BetaE::new(config))),
        "distmult" => Ok(Box::new(distmult::DistMult::new(config))),
        "rotate" => Ok(Box::new(rotate::RotatE::new(config))),
        "transe" => Ok(Box::new(transe::TransE::new(config))),
        "rescal" => Ok(Box::new(rescal::Rescal::new(config))),
        "conve" => Ok(Box::new(conve::ConvE::new(config)?)),
        "tucker" => Ok(Box::new(tucker::TuckEr::new(config))),
        other => Err(Error::invalid(format!("unknown model '{other}': choose from {}", NAMES.join(", ")))),
    }
}

/// Compiles a mix for a model, unions as it wants them.
pub fn plan<B: Backend>(model: &dyn Model<B>, mix: &Mix) -> Result<Plan> {
    match model.unions() {
        UnionForm::Dnf => Plan::new(mix),
        UnionForm::DeMorgan => Plan::with_de_morgan(mix),
    }
}

/// Checks that a model can express a structure; the error names both.
///
/// Unions are always possible: they are moved to the root, where an entity's score is the best of the
/// disjuncts', or rewritten by De Morgan where the model is told to.
pub fn check_expressible<B: Backend>(model: &dyn Model<B>, name: &str, structure: &Structure) -> Result<()> {
    if structure.has_negation() && !model.has_negation() {
        return Err(Error::invalid(format!(
            "{} has no negation, so it cannot express the structure {name}: use structures without a negation",
            model.name()
        )));
    }
    if structure.has_intersection() && !model.has_intersection() {
        return Err(Error::invalid(format!(
            "{} has no intersection, so it cannot express the structure {name}: use chains and unions of them \
             (1p, 2p, 3p, 2u, up)",
            model.name()
        )));
    }
    Ok(())
}

/// Whether a structure is answered through networks that combine sets and that only training on such structures trains.
pub fn uses_set_networks<B: Backend>(model: &dyn Model<B>, structure: &Structure) -> bool {
    let unions = model.unions() == UnionForm::DeMorgan && structure.has_union();
    model.dense().len() > model.projection_dense().len() && (structure.has_intersection() || unions)
}

/// What a regulariser adds up over a model's rows; `None` for none. The error names model and regulariser.
pub fn penalty<B: Backend>(model: &dyn Model<B>, regulariser: Regulariser) -> Result<Option<Penalty>> {
    match (regulariser, model.regularised()) {
        (Regulariser::None, _) => Ok(None),
        (Regulariser::L2, _) => Ok(Some(Penalty::Squares)),
        (Regulariser::L3, _) | (Regulariser::N3, Some(Halves::Real)) => Ok(Some(Penalty::Cubes)),
        (Regulariser::N3, Some(Halves::Complex)) => Ok(Some(Penalty::ComplexCubes)),
        (Regulariser::N3, None) => Err(Error::invalid(format!(
            "N3 is a norm of tensor decompositions, and {} is none: use model.regulariser = l2 or l3",
            model.name()
        ))),
    }
}

/// Fills a row uniformly in `low..high`.
pub(crate) fn uniform(row: &mut [f32], low: f32, high: f32, rng: &mut Rng) {
    use rand::RngExt as _;
    row.iter_mut().for_each(|x| *x = rng.random_range(low..high));
}
