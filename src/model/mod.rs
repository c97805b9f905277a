//! Embedding models: what a row means, how relations move it, how sets of rows are combined.
//!
//! Reading order: this file (what a model is, and the registry), one file per model ([`gqe`], [`query2box`],
//! [`complex`], [`distmult`], [`rotate`], [`transe`], [`rescal`], [`tucker`], [`conve`], [`betae`], [`cone`]), [`network`] (the
//! networks they share), [`embed`](mod@embed) (a batch plan as a program), [`weights`] (tables and their start).
//!
//! A model is its formulas forward, written down as operations of a [`Program`]; gradients and memory follow from them. To
//! add one: a file with its [`Model`] and its [`Entry`], a line in [`REGISTRY`], a row in the gradient test.

pub mod betae;
pub mod complex;
pub mod cone;
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

pub use embed::embed;
pub use weights::Weights;

use crate::config::keys::Allowed;
use crate::config::{ModelConfig, Regulariser, UnionForm};
use crate::error::{Error, Result};
use crate::program::ops::penalty::Penalty;
use crate::program::ops::project::{Project, Projection};
use crate::program::ops::rows::{CopyRows, Fill};
use crate::program::ops::score::Scoring;
use crate::program::{Extent, GroupsId, Idx, Program, Var};
use crate::query::{Mix, Plan, Structure};
use crate::rng::Rng;

/// What is known of a model by its name.
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// Makes it from its configuration.
    pub create: fn(&ModelConfig) -> Result<Box<dyn Model>>,
    /// The margin where none is given, by the dimension.
    pub gamma: fn(usize) -> f32,
    /// How far from 0 its rows start, where that is not (gamma + 2) / dim.
    pub range: Option<f32>,
    /// What it has in the place of a general default: the only objective for which it counts (`*` for all of them), the
    /// key, the value.
    pub defaults: &'static [(&'static str, &'static str, &'static str)],
    /// Whether it learns with N3 where sampled negatives are used and nothing else is said.
    pub learns_with_n3: bool,
    /// Keys of the section `model` that only it has.
    pub own: Own,
}

/// Keys of the section `model` that only some models have.
pub struct Own {
    /// What each takes.
    pub keys: &'static [(&'static str, Allowed)],
    /// Those that are refused for a model that has them not; others have no effect there.
    pub only_here: &'static [&'static str],
    /// Those that count in single-hop training against all entities, and are refused without it.
    pub single_hop: &'static [&'static str],
    /// Each with its default, for a configuration of the model.
    pub defaults: fn(&ModelConfig) -> toml::Table,
    /// The source of the struct that declares them, whose comments say what they mean, and the line with which it begins.
    pub source: (&'static str, &'static str),
}

/// No such keys.
const NONE: Own =
    Own { keys: &[], only_here: &[], single_hop: &[], defaults: |_| toml::Table::new(), source: ("", "") };

/// Most models are distances.
const MODEL: Entry = Entry {
    name: "",
    create: gqe::create,
    gamma: distance_margin,
    range: None,
    defaults: &[],
    learns_with_n3: false,
    own: NONE,
};

/// The structures that a model with negation is trained on, as a value of `sampling.structures`.
const WITH_NEGATIONS: &str = "\"1p:4,2p:2,3p:1,2i:1,3i:1,2in:1,3in:1,inp:1,pin:1,pni:1\"";

/// The margin of distances.
fn distance_margin(_dim: usize) -> f32 {
    9.0
}

/// Of products, whose margin only sets the start: rows start within about a twentieth of 0.
fn small_products(dim: usize) -> f32 {
    dim as f32 / 20.0
}

/// A struct of keys with their defaults as a table.
fn table_of<T: serde::Serialize>(keys: &T) -> toml::Table {
    toml::Table::try_from(keys).expect("keys of a model are numbers, flags and names")
}

/// All models.
pub const REGISTRY: [Entry; 11] = [
    gqe::ENTRY,
    query2box::ENTRY,
    betae::ENTRY,
    cone::ENTRY,
    complex::ENTRY,
    distmult::ENTRY,
    rotate::ENTRY,
    transe::ENTRY,
    rescal::ENTRY,
    tucker::ENTRY,
    conve::ENTRY,
];

/// The model of this name.
pub fn entry(name: &str) -> Option<&'static Entry> {
    static ALL: [Entry; REGISTRY.len()] = REGISTRY;
    ALL.iter().find(|entry| entry.name == name)
}

/// The margin of a model where none is given; that of distances where there is no such model.
pub fn gamma(name: &str, dim: usize) -> f32 {
    let of = entry(name).map_or(MODEL.gamma, |entry| entry.gamma);
    of(dim)
}

/// The names of all models.
pub const NAMES: [&str; REGISTRY.len()] = {
    let mut names = [""; REGISTRY.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = REGISTRY[i].name;
        i += 1;
    }
    names
};

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
pub struct Parameter {
    /// Name in saved models.
    pub name: String,
    /// Rows (outputs).
    pub rows: usize,
    /// Columns (inputs).
    pub cols: usize,
    /// Starts uniform in `-range..range`; 0 for biases.
    pub range: f32,
}

/// What the columns of a row are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halves {
    /// Real numbers.
    Real,
    /// The first half real parts, the second half imaginary parts.
    Complex,
}

/// What is known of a model before it runs.
#[derive(Clone, Debug)]
pub struct ModelSpec {
    /// Its name in the registry.
    pub name: &'static str,
    /// Scalars per row.
    pub widths: Widths,
    /// How relations move query embeddings; `None` where a network does it, in [`Model::project`].
    pub projection: Option<Projection>,
    /// Whether a projection can take each relation of its uses once ([`Hop::groups`]): where relations are, or become,
    /// matrices.
    pub shares_relations: bool,
    /// How query embeddings are compared with entity rows.
    pub scoring: Scoring,
    /// Whether its score is linear in the head, in the relation and in the tail, the others fixed.
    pub is_multilinear: bool,
    /// Whether it is a tensor decomposition, so that N3 applies: to complex rows (real half, imaginary half) or real ones.
    pub decomposition: Option<Halves>,
    /// Whether negations can be expressed.
    pub has_negation: bool,
    /// Whether sets of rows can be intersected.
    pub has_intersection: bool,
    /// What becomes of the unions of its queries.
    pub unions: UnionForm,
    /// [`ModelConfig::range`]: how far from 0 rows start.
    pub range: f32,
    /// The parameters of its networks, which its formulas find by name.
    pub parameters: Vec<Parameter>,
}

impl ModelSpec {
    /// A model that moves points by `projection` and compares them by `scoring`, without networks.
    pub fn new(
        name: &'static str,
        config: &ModelConfig,
        widths: Widths,
        projection: Option<Projection>,
        scoring: Scoring,
    ) -> Self {
        ModelSpec {
            name,
            widths,
            projection,
            shares_relations: projection == Some(Projection::Matrix),
            scoring,
            is_multilinear: scoring == Scoring::Dot && projection.is_some_and(Projection::is_bilinear),
            decomposition: None,
            has_negation: false,
            has_intersection: false,
            unions: UnionForm::Dnf,
            range: config.range(),
            parameters: Vec::new(),
        }
    }

    /// The same, whose sets are intersected by a network with these parameters.
    pub fn intersecting(self, parameters: Vec<Parameter>) -> Self {
        ModelSpec { has_intersection: true, parameters, ..self }
    }

    /// The tables of a program of the model: entities, relations, parameters.
    pub fn tables(&self, entities: usize, relations: usize) -> impl Iterator<Item = (String, usize, usize)> {
        let rows =
            [("entities", entities, self.widths.entity), ("relations", relations, self.widths.relation)];
        rows.into_iter()
            .map(|(name, rows, cols)| (name.to_string(), rows, cols))
            .chain(self.parameters.iter().map(|p| (p.name.clone(), p.rows, p.cols)))
    }
}

/// A hop of queries along relations.
#[derive(Clone, Copy, Debug)]
pub struct Hop {
    /// The arena of slots: `inputs` are read, `count` slots from `output` on are written.
    pub slots: Var,
    /// Slots read, distinct and below `output`.
    pub inputs: Idx,
    /// First slot written.
    pub output: Extent,
    /// Number of slots written.
    pub count: Extent,
    /// A row for each use or, with `groups`, for each relation.
    pub relations: Var,
    /// Uses that share a relation: see [`Project`].
    pub groups: Option<GroupsId>,
    /// Whether this is the one hop of single-hop training: with dropout inside a network and normalisation by the batch.
    pub trains_single_hop: bool,
}

impl Hop {
    /// The slots that are written.
    pub fn out(&self) -> Var {
        self.slots.part(self.output, self.count)
    }
}

/// An embedding model: its formulas, forward. Matrices are row-major, shapes those of [`Widths`].
pub trait Model: Send + Sync + std::fmt::Debug {
    /// What is known of it.
    fn spec(&self) -> &ModelSpec;

    /// Fills a new entity row.
    fn start_entity(&self, row: &mut [f32], rng: &mut Rng) {
        uniform(row, -self.spec().range, self.spec().range, rng);
    }

    /// Fills a new relation row.
    fn start_relation(&self, row: &mut [f32], rng: &mut Rng) {
        uniform(row, -self.spec().range, self.spec().range, rng);
    }

    /// Turns entity rows into query embeddings: a copy, and zeros where a query row is wider.
    fn anchors(&self, program: &mut Program, rows: Var, slots: Var) {
        if slots.cols() > rows.cols() {
            program.push(Fill { value: 0.0, out: slots });
        }
        program.push(CopyRows { from: rows, out: slots.columns(0, rows.cols()) });
    }

    /// Moves queries along relations.
    fn project(&self, program: &mut Program, hop: Hop) {
        let kind = self.spec().projection.expect("a model has a projection, or a `project` of its own");
        let Hop { slots, inputs, output, count, relations, groups, .. } = hop;
        program.push(Project { kind, inputs, output, count, groups, relations, slots });
    }

    /// Query embeddings as the score compares them: as they are, unless a model makes something of them.
    fn compared_queries(&self, _program: &mut Program, queries: Var) -> Var {
        queries
    }

    /// Entity rows as the score compares them. What is made of a row depends on that row alone.
    fn compared_entities(&self, _program: &mut Program, rows: Var) -> Var {
        rows
    }

    /// Negates rows; only of a model that has a negation.
    fn negate(&self, _program: &mut Program, _x: Var, _out: Var) {
        unreachable!("{} has no negation", self.spec().name)
    }

    /// Intersects sets of rows (`offsets` as in [`segment`](crate::program::ops::segment)) into `out`, a row each; only of
    /// a model that has an intersection.
    fn intersect(&self, _program: &mut Program, _x: Var, _offsets: Idx, _out: Var) {
        unreachable!("{} has no intersection", self.spec().name)
    }
}

/// The model that a configuration names.
pub fn create(config: &ModelConfig) -> Result<Box<dyn Model>> {
    if config.dim == 0 {
        return Err(Error::invalid("model.dim must be at least 1"));
    }
    let entry = entry(&config.name).ok_or_else(|| {
        Error::invalid(format!("unknown model '{}': choose from {}", config.name, NAMES.join(", ")))
    })?;
    let model = (entry.create)(config)?;
    if config.union == UnionForm::DeMorgan && model.spec().unions != UnionForm::DeMorgan {
        return Err(Error::invalid(format!(
            "model.union = demorgan needs a model with negation, which {} has not: use dnf, or another model",
            config.name
        )));
    }
    Ok(model)
}

/// Columns of the rows that a model makes of entity rows for its score to compare; `None` where it compares them as they are.
pub fn compared_width(model: &dyn Model) -> Option<usize> {
    let spec = model.spec();
    let mut program = Program::new(spec.tables(1, 1));
    program.section("compare");
    let rows = program.temporary("entity row", 1, spec.widths.entity);
    let compared = model.compared_entities(&mut program, rows);
    (compared != rows).then(|| compared.cols())
}

/// Compiles a mix for a model, unions as it wants them.
pub fn plan(model: &dyn Model, mix: &Mix) -> Result<Plan> {
    match model.spec().unions {
        UnionForm::Dnf => Plan::new(mix),
        UnionForm::DeMorgan => Plan::with_de_morgan(mix),
    }
}

/// Checks that a model can express a structure; the error names both.
///
/// Unions are always possible: they are moved to the root, where an entity's score is the best of the
/// disjuncts', or rewritten by De Morgan where the model is configured so.
pub fn check_expressible(model: &dyn Model, name: &str, structure: &Structure) -> Result<()> {
    let spec = model.spec();
    if structure.has_negation() && !spec.has_negation {
        let message = format!(
            "{} has no negation, so it cannot express the structure {name}: use structures without a negation",
            spec.name
        );
        return Err(Error::CannotExpress { structure: name.into(), message });
    }
    if structure.has_intersection() && !spec.has_intersection {
        let message = format!(
            "{} has no intersection, so it cannot express the structure {name}: use chains and unions of them \
             (1p, 2p, 3p, 2u, up)",
            spec.name
        );
        return Err(Error::CannotExpress { structure: name.into(), message });
    }
    Ok(())
}

/// Whether a structure is answered through networks that combine sets and that only training on such structures trains.
pub fn uses_set_networks(model: &dyn Model, structure: &Structure) -> bool {
    let spec = model.spec();
    let unions = spec.unions == UnionForm::DeMorgan && structure.has_union();
    spec.has_intersection && (structure.has_intersection() || unions)
}

/// What a regulariser adds up over a model's rows; `None` for none. The error names model and regulariser.
pub fn penalty(model: &dyn Model, regulariser: Regulariser) -> Result<Option<Penalty>> {
    match (regulariser, model.spec().decomposition) {
        (Regulariser::None, _) => Ok(None),
        (Regulariser::L2, _) => Ok(Some(Penalty::Squares)),
        (Regulariser::L3, _) | (Regulariser::N3, Some(Halves::Real)) => Ok(Some(Penalty::Cubes)),
        (Regulariser::N3, Some(Halves::Complex)) => Ok(Some(Penalty::ComplexCubes)),
        (Regulariser::N3, None) => Err(Error::invalid(format!(
            "N3 is a norm of tensor decompositions, and {} is none: use model.regulariser = l2 or l3",
            model.spec().name
        ))),
    }
}

/// Fills a row uniformly in `low..high`.
pub(crate) fn uniform(row: &mut [f32], low: f32, high: f32, rng: &mut Rng) {
    use rand::RngExt as _;
    row.iter_mut().for_each(|x| *x = rng.random_range(low..high));
}
