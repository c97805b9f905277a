//! Query2Box (Ren, Hu and Leskovec 2020): queries are boxes, entities points.
//!
//! Entity rows are points of d; relation and query rows are [center d, offset d]. Projection adds
//! centers and offsets (through f); an intersection's center is the attention of
//! [`network::attention`] over centers, its offset the gated minimum of [`network::gated_min`]; the
//! score is `gamma - outside distance - inside * inside distance`.

use super::{Entry, MODEL, Model, ModelSpec, Own, Widths, network, table_of, uniform};
use crate::config::ModelConfig;
use crate::config::keys::{Allowed, Range};
use crate::error::Result;
use crate::program::ops::linear::Activation;
use crate::program::ops::project::Projection;
use crate::program::ops::score::Scoring;
use crate::program::{Idx, Program, Var};
use crate::rng::Rng;
use serde::{Deserialize, Serialize};

/// What is known of it by its name.
pub const ENTRY: Entry = Entry {
    name: "query2box",
    create,
    own: Own {
        keys: &[
            ("inside", Allowed::Number(Range::All)),
            ("offset_activation", Allowed::Names(&["none", "relu", "softplus"])),
        ],
        only_here: &[],
        single_hop: &[],
        defaults: |_| table_of(&Options::default()),
        source: (include_str!("query2box.rs"), "pub struct Options {"),
    },
    ..MODEL
};

/// Its own keys of the section `model`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// Query2Box: weight of the distance inside the box.
    pub inside: f64,
    /// Query2Box: what is done to a relation's offset before it is added.
    pub offset_activation: Activation,
}

impl Default for Options {
    fn default() -> Self {
        Options { inside: 0.02, offset_activation: Activation::None }
    }
}

/// The model; see the module's page.
#[derive(Clone, Debug)]
pub struct Query2Box {
    dim: usize,
    spec: ModelSpec,
}

/// From `dim`, `gamma`, `inside` and `offset_activation`.
fn create(config: &ModelConfig) -> Result<Box<dyn Model>> {
    let d = config.dim;
    let widths = Widths { entity: d, relation: 2 * d, query: 2 * d };
    let Options { inside, offset_activation: offset } = config.own();
    let projection = Projection::Box { offset };
    let scoring = Scoring::Box { gamma: config.gamma(), inside: inside as f32 };
    let spec = ModelSpec::new("query2box", config, widths, Some(projection), scoring);
    let networks = ["center", "offset"].into_iter().flat_map(|prefix| network::layers(prefix, &[d; 3]));
    Ok(Box::new(Query2Box { dim: d, spec: spec.intersecting(networks.collect()) }))
}

impl Model for Query2Box {
    fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    fn start_relation(&self, row: &mut [f32], rng: &mut Rng) {
        let (center, offset) = row.split_at_mut(self.dim);
        uniform(center, -self.spec.range, self.spec.range, rng);
        uniform(offset, 0.0, self.spec.range, rng);
    }

    fn intersect(&self, program: &mut Program, x: Var, offsets: Idx, out: Var) {
        let d = self.dim;
        network::attention(program, "center", x.columns(0, d), offsets, out.columns(0, d));
        let reach = x.columns(d, d);
        network::gated_min(program, "offset", [reach, reach], offsets, out.columns(d, d));
    }
}
