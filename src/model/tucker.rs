//! TuckER (Balazevic, Allen and Hospedales 2019), extended to multi-hop queries: the matrices of relations are mixtures of
//! a few that all relations share.
//!
//! Entities and queries are vectors of d, relation rows of k = `relation_dim`. The core W, k matrices of d x d, is a dense
//! parameter, stored as d^2 rows of k. A relation's matrix is `R = sum_k r_k W_k`, and then all is as in
//! [`rescal`](super::rescal): projection `q R`, intersection [`network::deep_set`], the score `<q, e>`.
//!
//! A batch makes the matrix of each of its relations once: that product, of d^2 x k with each relation, is most of the work.
//! Without the paper's batch normalisation, as in LibKGE.

use super::{
    Entry, Hop, MODEL, Model, ModelSpec, Own, Parameter, Widths, network, small_products, table_of, uniform,
};
use crate::config::ModelConfig;
use crate::config::keys::{Allowed, WIDTH};
use crate::error::Result;
use crate::program::ops::linear::{Activation, Linear};
use crate::program::ops::project::{Project, Projection};
use crate::program::ops::score::Scoring;
use crate::program::{Idx, Program, Var};
use crate::rng::Rng;
use serde::{Deserialize, Serialize};

/// What is known of it by its name.
pub const ENTRY: Entry = Entry {
    name: "tucker",
    create,
    gamma: small_products,
    own: Own {
        keys: &[("relation_dim", Allowed::Whole(1, WIDTH))],
        only_here: &["relation_dim"],
        single_hop: &[],
        defaults: |config| table_of(&Options { relation_dim: Some(config.dim) }),
        source: (include_str!("tucker.rs"), "pub struct Options {"),
    },
    ..MODEL
};

/// Its own keys of the section `model`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// TuckER: width of a relation's row; like `dim` where it is not given.
    pub relation_dim: Option<usize>,
}

/// The model; see the module's page.
#[derive(Clone, Debug)]
pub struct TuckEr {
    dim: usize,
    spec: ModelSpec,
}

/// From `dim`, `relation_dim` and `gamma` (which only sets the range of the start).
fn create(config: &ModelConfig) -> Result<Box<dyn Model>> {
    let d = config.dim;
    let widths = Widths { entity: d, relation: config.own::<Options>().relation_dim.unwrap_or(d), query: d };
    let (rows, cols) = (d * d, widths.relation);
    let core = Parameter { name: "core".into(), rows, cols, range: (6.0 / (rows + cols) as f32).sqrt() };
    let parameters = network::deep_set_layers(d).into_iter().chain([core]).collect();
    let spec = ModelSpec::new("tucker", config, widths, None, Scoring::Dot).intersecting(parameters);
    Ok(Box::new(TuckEr { dim: d, spec: ModelSpec { shares_relations: true, is_multilinear: true, ..spec } }))
}

impl Model for TuckEr {
    fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// With a variance of 1, beside which the core's makes that of a matrix about 2 / d.
    fn start_relation(&self, row: &mut [f32], rng: &mut Rng) {
        let range = 3.0f32.sqrt();
        uniform(row, -range, range, rng);
    }

    fn project(&self, program: &mut Program, hop: Hop) {
        let matrices = program.temporary("matrices", hop.relations.rows(), self.dim * self.dim);
        let w = program.parameter("core");
        program.push(Linear { x: hop.relations, w, bias: None, f: Activation::None, out: matrices });
        let Hop { slots, inputs, output, count, groups, .. } = hop;
        let kind = Projection::Matrix;
        program.push(Project { kind, inputs, output, count, groups, relations: matrices, slots });
    }

    fn intersect(&self, program: &mut Program, x: Var, offsets: Idx, out: Var) {
        network::deep_set(program, "set", x, offsets, out);
    }
}
