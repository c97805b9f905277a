//! ComplEx (Trouillon et al. 2016), extended to multi-hop queries: complex vectors, products, deep sets.
//!
//! All rows are [real d, imaginary d]. Projection is the complex product with the relation,
//! intersection [`network::deep_set`] on the 2d reals, the score Re<q, conj(e)>. Trained with N3
//! (Lacroix, Usunier and Obozinski 2018).

use super::{Entry, Halves, MODEL, Model, ModelSpec, Widths, network};
use crate::config::ModelConfig;
use crate::error::Result;
use crate::program::ops::project::Projection;
use crate::program::ops::score::Scoring;
use crate::program::{Idx, Program, Var};

/// What is known of it by its name. The margin only sets the start: rows start within about a sixth of 0, so that their
/// products are large enough to learn from.
///
/// Scores that are products start near 0 and have no scale of their own. Cross-entropy with a higher rate learns them faster
/// than the logistic loss with any (CoDEx-S, d = 100, 1,200 steps of 256 queries, mean valid MRR with rates of .003, .01
/// and .02: .08, .16, .10 by cross-entropy, .09, .13, .07 by the logistic loss).
pub const ENTRY: Entry = Entry {
    name: "complex",
    create,
    gamma: |dim| dim as f32 / 6.0,
    defaults: &[("queries", "training.loss", "cross-entropy"), ("queries", "training.learning_rate", "0.01")],
    learns_with_n3: true,
    ..MODEL
};

/// The model; see the module's page.
#[derive(Clone, Debug)]
pub struct ComplEx(ModelSpec);

/// From `dim` (complex dimensions) and `gamma` (which only sets the range of the start).
fn create(config: &ModelConfig) -> Result<Box<dyn Model>> {
    let width = 2 * config.dim;
    let widths = Widths { entity: width, relation: width, query: width };
    let spec = ModelSpec::new("complex", config, widths, Some(Projection::ComplexProduct), Scoring::Dot)
        .intersecting(network::deep_set_layers(width));
    Ok(Box::new(ComplEx(ModelSpec { decomposition: Some(Halves::Complex), ..spec })))
}

impl Model for ComplEx {
    fn spec(&self) -> &ModelSpec {
        &self.0
    }

    fn intersect(&self, program: &mut Program, x: Var, offsets: Idx, out: Var) {
        network::deep_set(program, "set", x, offsets, out);
    }
}
