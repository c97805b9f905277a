//! BetaE (Ren and Leskovec 2020): Beta distributions, which have a negation.
//!
//! A query is [alpha d, beta d], the parameters of d Beta distributions; an entity row of 2d and what a network puts
//! out become parameters by `clamp(x + 1, 0.05, 1e9)`. Relation rows are d. Projection is a network on
//! [alpha, beta, r]; intersection an attention over [alpha, beta] whose weight of a dimension is that of its alpha and
//! of its beta; negation is 1 / alpha, 1 / beta; the score `gamma - sum KL(entity || query)`.

use super::{Entry, Hop, MODEL, Model, ModelSpec, WITH_NEGATIONS, Widths, network};
use crate::config::ModelConfig;
use crate::error::Result;
use crate::program::ops::elementwise::{Apply, Function};
use crate::program::ops::rows::{CopyRows, Gather};
use crate::program::ops::score::Scoring;
use crate::program::{Idx, Program, Var};

/// What is known of it by its name.
///
/// Rows start in plus or minus 1: they stand for x + 1, and where all distributions start alike it first learns that all
/// entities are (on UMLS, d = 64, after 500 steps: mean valid MRR .10 from a range of .22, .19 from .97). The margin is that
/// of its paper, for divergences.
///
/// Divergences are large: at a temperature of 1 a few negatives have all the weight, and every score goes to 0 (on
/// UMLS, d = 64, after 500 steps: mean valid MRR .19 with 1, .21 with .1, .18 with uniform weights).
///
/// A network that moves rows learns in every step, rows in those that meet them: at one rate either the rows stay where they
/// began or the network goes astray. d = 64, hidden 256, mean valid MRR by rate and the network's share of it: CoDEx-S,
/// 4,000 steps of 256 queries with 128 negatives, .0001 x 1 .010, .001 x 1 .064, .003 x 1 .055, .003 x .1 .073, .01 x .01
/// .092, .01 x .03 .102, .01 x .1 .094; UMLS, 500 steps, .003 x 1 .278, .01 x 1 .252, .01 x .3 .323, .01 x .1 .322, .01 x .03
/// .194.
pub const ENTRY: Entry = Entry {
    name: "betae",
    create,
    gamma: |_| 60.0,
    range: Some(1.0),
    defaults: &[
        ("*", "sampling.structures", WITH_NEGATIONS),
        ("*", "training.adversarial_temperature", "0.1"),
        ("*", "training.learning_rate", "0.01"),
        ("*", "training.network_rate", "0.1"),
    ],
    ..MODEL
};

/// The model; see the module's page.
#[derive(Clone, Debug)]
pub struct BetaE {
    dim: usize,
    hidden_layers: usize,
    spec: ModelSpec,
}

/// From `dim`, `gamma`, `hidden`, `hidden_layers` and `union`.
fn create(config: &ModelConfig) -> Result<Box<dyn Model>> {
    let ModelConfig { dim: d, hidden, hidden_layers, union: unions, .. } = *config;
    let widths = Widths { entity: 2 * d, relation: d, query: 2 * d };
    let spec = ModelSpec::new("betae", config, widths, None, Scoring::Beta { gamma: config.gamma() });
    let mut parameters = network::layers("attention", &[2 * d, 2 * d, d]);
    let hidden = std::iter::repeat_n(hidden, hidden_layers);
    let projection: Vec<usize> = std::iter::once(3 * d).chain(hidden).chain([2 * d]).collect();
    parameters.extend(network::layers("projection", &projection));
    let spec = ModelSpec { has_negation: true, unions, ..spec.intersecting(parameters) };
    Ok(Box::new(BetaE { dim: d, hidden_layers, spec }))
}

impl Model for BetaE {
    fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    fn anchors(&self, program: &mut Program, rows: Var, slots: Var) {
        program.push(Apply { f: Function::BetaParameter, x: rows, out: slots });
    }

    fn project(&self, program: &mut Program, hop: Hop) {
        let d = self.dim;
        let x = program.temporary("query and relation", hop.count, 3 * d);
        program.push(Gather { table: hop.slots, rows: hop.inputs, out: x.columns(0, 2 * d) });
        program.push(CopyRows { from: hop.relations, out: x.columns(2 * d, d) });
        let y = network::mlp(program, "projection", self.hidden_layers + 1, x);
        program.push(Apply { f: Function::BetaParameter, x: y, out: hop.out() });
    }

    fn negate(&self, program: &mut Program, x: Var, out: Var) {
        program.push(Apply { f: Function::Reciprocal, x, out });
    }

    fn intersect(&self, program: &mut Program, x: Var, offsets: Idx, out: Var) {
        network::attention_of_halves(program, "attention", [x, x], offsets, out);
    }
}
