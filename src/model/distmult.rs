//! DistMult (Yang et al. 2015), extended to multi-hop queries: real vectors, products, deep sets.
//!
//! Entities, relations and queries are vectors of d. Projection is `q * r`, intersection
//! [`network::deep_set`], the score `<q, e>`. It cannot tell a relation from its inverse by form, only by
//! the row of its own that each direction has. Trained with N3 (Lacroix, Usunier and Obozinski 2018).

use super::{Entry, Halves, MODEL, Model, ModelSpec, Widths, network, small_products};
use crate::config::ModelConfig;
use crate::error::Result;
use crate::program::ops::project::Projection;
use crate::program::ops::score::Scoring;
use crate::program::{Idx, Program, Var};

/// What is known of it by its name. (After 1,200 steps on CoDEx-S, d = 100: 1p MRR .13 with a margin of 5, .10 with 10, .03
/// with 33.)
///
/// Scores that are products start near 0 and have no scale of their own. Cross-entropy with a higher rate learns them faster
/// than the logistic loss with any (CoDEx-S, d = 100, 1,200 steps of 256 queries, mean valid MRR with rates of .003, .01
/// and .02: .05, .17, .14 by cross-entropy, .06, .11, .09 by the logistic loss).
pub const ENTRY: Entry = Entry {
    name: "distmult",
    create,
    gamma: small_products,
    defaults: &[("queries", "training.loss", "cross-entropy"), ("queries", "training.learning_rate", "0.01")],
    learns_with_n3: true,
    ..MODEL
};

/// The model; see the module's page.
#[derive(Clone, Debug)]
pub struct DistMult(ModelSpec);

/// From `dim` and `gamma` (which only sets the range of the start).
fn create(config: &ModelConfig) -> Result<Box<dyn Model>> {
    let d = config.dim;
    let widths = Widths { entity: d, relation: d, query: d };
    let spec = ModelSpec::new("distmult", config, widths, Some(Projection::Product), Scoring::Dot)
        .intersecting(network::deep_set_layers(d));
    Ok(Box::new(DistMult(ModelSpec { decomposition: Some(Halves::Real), ..spec })))
}

impl Model for DistMult {
    fn spec(&self) -> &ModelSpec {
        &self.0
    }

    fn intersect(&self, program: &mut Program, x: Var, offsets: Idx, out: Var) {
        network::deep_set(program, "set", x, offsets, out);
    }
}
