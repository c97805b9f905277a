//! ConE (Zhang, Wang, Chen, Ji and Wu 2021): cones in d planes, which have a negation.
//!
//! A query is [axis d, arg d]: in each plane the sector of half-aperture `arg` in (0, pi) around the angle `axis`. Entity rows of d stand
//! for the angles `pi tanh(e / range)`, sectors of no width; relation rows of 2d for an axis alike and for a half-aperture
//! `pi / 2 tanh(2 r / range) + pi / 2`. Projection is a network on [axis + axis of r, arg + arg of r]; an intersection's axis is that of
//! the weighted mean of directions, its half-aperture a gated minimum; negation turns the axis to the other side and leaves
//! what the sector did not have; the score is `gamma - m (sum d_out + inside sum d_in)`, m learnt, with the distances of
//! [`Scoring::Cone`].

use super::{Entry, Hop, MODEL, Model, ModelSpec, Own, Parameter, WITH_NEGATIONS, Widths, network, table_of};
use crate::config::ModelConfig;
use crate::config::keys::{Allowed, Range};
use crate::error::Result;
use crate::program::ops::elementwise::{Apply, Function};
use crate::program::ops::linear::{Activation, Linear};
use crate::program::ops::rows::{Add, CopyRows, Fill, Gather};
use crate::program::ops::score::Scoring;
use crate::program::{Idx, Program, Var};
use serde::{Deserialize, Serialize};
use std::f32::consts::{FRAC_PI_2, PI};

/// What is known of it by its name.
///
/// The published runs (gamma = 30, d = 800, one rate of 5e-5 for all, 300,000 steps and more) start with m = (gamma + 2) / 2d, at which
/// the largest distance that there is, m d, is half the margin: no negative can score below 0 before m has doubled. With
/// eight times that m, rows in plus or minus 1 and a smaller margin it gets to a place in hundreds of steps. Mean MRR over the 14
/// structures, test, d = 64, hidden 256, 500 steps, UMLS: m as published .126, times 4 .215, times 8 .305, times 12 .286; times 8 and
/// rate .03 .470, and gamma 16 .529; then with a rate of networks of .3 .073, of .03 .416 (gamma 30). CoDEx-S, d = 128, hidden
/// 512, 800 steps: rate .01 .084, .03 .099; .088 at a temperature of .1.
pub const ENTRY: Entry = Entry {
    name: "cone",
    create,
    gamma: |_| 16.0,
    range: Some(1.0),
    defaults: &[
        ("*", "sampling.structures", WITH_NEGATIONS),
        ("*", "training.learning_rate", "0.03"),
        ("*", "training.network_rate", "0.1"),
    ],
    own: Own {
        keys: &[("inside", Allowed::Number(Range::All)), ("modulus", Allowed::Number(Range::Above(0.0)))],
        only_here: &[],
        single_hop: &[],
        defaults: |_| table_of(&Options::default()),
        source: (include_str!("cone.rs"), "pub struct Options {"),
    },
    ..MODEL
};

/// Its own keys of the section `model`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// ConE: weight of the distance inside the sector.
    pub inside: f64,
    /// ConE: by how much what distances are multiplied by starts above (gamma + 2) / 2 dim. Published runs have 1.
    pub modulus: f64,
}

impl Default for Options {
    fn default() -> Self {
        Options { inside: 0.02, modulus: 8.0 }
    }
}

/// The model; see the module's page.
#[derive(Clone, Debug)]
pub struct ConE {
    dim: usize,
    hidden_layers: usize,
    /// What a row's numbers are multiplied by before they become angles.
    scale: f32,
    /// m at the start.
    modulus: f32,
    spec: ModelSpec,
}

/// The parameter by which m differs from its start: m = start (1 + this).
const MODULUS: &str = "modulus";

/// From `dim`, `gamma`, `hidden`, `hidden_layers`, `union`, `inside` and `modulus`.
fn create(config: &ModelConfig) -> Result<Box<dyn Model>> {
    let ModelConfig { dim: d, hidden, hidden_layers, union: unions, .. } = *config;
    let (gamma, Options { inside, modulus }) = (config.gamma(), config.own());
    let widths = Widths { entity: d, relation: 2 * d, query: 2 * d };
    let scoring = Scoring::Cone { gamma, inside: inside as f32 };
    let spec = ModelSpec::new("cone", config, widths, None, scoring);
    let hidden = std::iter::repeat_n(hidden, hidden_layers);
    let projection: Vec<usize> = std::iter::once(2 * d).chain(hidden).chain([2 * d]).collect();
    let networks = [("projection", &projection[..]), ("attention", &[2 * d, d, d]), ("arg", &[2 * d, d, d])];
    let mut parameters: Vec<Parameter> =
        networks.into_iter().flat_map(|(prefix, widths)| network::layers(prefix, widths)).collect();
    parameters.push(Parameter { name: MODULUS.into(), rows: 1, cols: 1, range: 0.0 });
    let spec = ModelSpec { has_negation: true, unions, ..spec.intersecting(parameters) };
    let (scale, modulus) = (1.0 / config.range(), modulus as f32 * (gamma + 2.0) / (2 * d) as f32);
    Ok(Box::new(ConE { dim: d, hidden_layers, scale, modulus, spec }))
}

/// `out = f(x)`, d columns or twice d.
fn apply(program: &mut Program, f: Function, x: Var, out: Var) {
    program.push(Apply { f, x, out });
}

impl ConE {
    /// Any numbers [x, y] to an axis and a half-aperture.
    fn sectors(&self, program: &mut Program, scale: f32, x: Var, out: Var) {
        let d = self.dim;
        let arg = Function::Tanh { slope: 2.0 * scale, height: FRAC_PI_2, shift: FRAC_PI_2 };
        apply(program, self.axis(scale), x.columns(0, d), out.columns(0, d));
        apply(program, arg, x.columns(d, d), out.columns(d, d));
    }

    /// Any number to an axis.
    fn axis(&self, scale: f32) -> Function {
        Function::Tanh { slope: scale, height: PI, shift: 0.0 }
    }

    /// The parameter of m in every column of `out`: a product with ones from either side.
    fn modulus(&self, program: &mut Program, out: Var) {
        let ones = |program: &mut Program, rows| {
            let ones = program.temporary("ones", rows, 1);
            program.push(Fill { value: 1.0, out: ones });
            ones
        };
        let (of_columns, of_rows) = (ones(program, self.dim.into()), ones(program, out.rows()));
        let column = program.temporary("modulus of columns", self.dim, 1);
        let modulus = program.parameter(MODULUS);
        let f = Activation::None;
        program.push(Linear { x: of_columns, w: modulus, bias: None, f, out: column });
        program.push(Linear { x: of_rows, w: column, bias: None, f, out });
    }
}

impl Model for ConE {
    fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    fn anchors(&self, program: &mut Program, rows: Var, slots: Var) {
        let d = self.dim;
        apply(program, self.axis(self.scale), rows, slots.columns(0, d));
        program.push(Fill { value: 0.0, out: slots.columns(d, d) });
    }

    fn project(&self, program: &mut Program, hop: Hop) {
        let d = self.dim;
        let relations = program.temporary("sectors of relations", hop.count, 2 * d);
        self.sectors(program, self.scale, hop.relations, relations);
        let x = program.temporary("query and relation", hop.count, 2 * d);
        program.push(Gather { table: hop.slots, rows: hop.inputs, out: x });
        program.push(Add { from: relations, to: x });
        let y = network::mlp(program, "projection", self.hidden_layers + 1, x);
        self.sectors(program, 1.0, y, hop.out());
    }

    fn negate(&self, program: &mut Program, x: Var, out: Var) {
        apply(program, Function::Complement, x, out);
    }

    fn intersect(&self, program: &mut Program, x: Var, offsets: Idx, out: Var) {
        let d = self.dim;
        let ends = program.temporary("ends of sectors", x.rows(), 2 * d);
        apply(program, Function::Ends, x, ends);
        let directions = program.temporary("directions of axes", x.rows(), 2 * d);
        apply(program, Function::Direction { scale: 1.0 }, x.columns(0, d), directions);
        let mean = program.temporary("mean direction", out.rows(), 2 * d);
        network::attention_of_halves(program, "attention", [ends, directions], offsets, mean);
        apply(program, Function::Angle, mean, out.columns(0, d));
        network::gated_min(program, "arg", [ends, x.columns(d, d)], offsets, out.columns(d, d));
    }

    fn compared_queries(&self, program: &mut Program, queries: Var) -> Var {
        let d = self.dim;
        let x = program.temporary("sectors and modulus", queries.rows(), 3 * d);
        program.push(CopyRows { from: queries, out: x.columns(0, 2 * d) });
        self.modulus(program, x.columns(2 * d, d));
        let out = program.temporary("half angles of queries", queries.rows(), 5 * d);
        apply(program, Function::Sector { modulus: self.modulus }, x, out);
        out
    }

    fn compared_entities(&self, program: &mut Program, rows: Var) -> Var {
        let axes = program.temporary("angles of entities", rows.rows(), self.dim);
        apply(program, self.axis(self.scale), rows, axes);
        let out = program.temporary("half angles of entities", rows.rows(), 2 * self.dim);
        apply(program, Function::Direction { scale: 0.5 }, axes, out);
        out
    }
}
