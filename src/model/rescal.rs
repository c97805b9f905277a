//! RESCAL (Nickel, Tresp and Kriegel 2011), extended to multi-hop queries: a relation is a matrix.
//!
//! Entities and queries are vectors of d, relation rows the matrix R of d x d, row by row. Projection is `q R`, intersection
//! [`network::deep_set`], the score `<q, e>`: of a single hop `h R t`, the paper's bilinear form.

use super::{Entry, MODEL, Model, ModelSpec, Widths, network, small_products, uniform};
use crate::config::ModelConfig;
use crate::error::Result;
use crate::program::ops::project::Projection;
use crate::program::ops::score::Scoring;
use crate::program::{Idx, Program, Var};
use crate::rng::Rng;

/// What is known of it by its name.
pub const ENTRY: Entry = Entry { name: "rescal", create, gamma: small_products, ..MODEL };

/// The model; see the module's page.
#[derive(Clone, Debug)]
pub struct Rescal {
    dim: usize,
    spec: ModelSpec,
}

/// From `dim` and `gamma` (which only sets the range of the start).
fn create(config: &ModelConfig) -> Result<Box<dyn Model>> {
    let d = config.dim;
    let widths = Widths { entity: d, relation: d * d, query: d };
    let spec = ModelSpec::new("rescal", config, widths, Some(Projection::Matrix), Scoring::Dot);
    Ok(Box::new(Rescal { dim: d, spec: spec.intersecting(network::deep_set_layers(d)) }))
}

impl Model for Rescal {
    fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// With a variance of 1 / d a query is as long as its head, however many hops there are.
    fn start_relation(&self, row: &mut [f32], rng: &mut Rng) {
        let range = (3.0 / self.dim as f32).sqrt();
        uniform(row, -range, range, rng);
    }

    fn intersect(&self, program: &mut Program, x: Var, offsets: Idx, out: Var) {
        network::deep_set(program, "set", x, offsets, out);
    }
}
