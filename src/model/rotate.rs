//! RotatE (Sun et al. 2019), extended to multi-hop queries: complex vectors, rotations, deep sets.
//!
//! Entity and query rows are [real d, imaginary d], relation rows d phases. A projection turns dimension k
//! by the angle `pi r_k / range`, so that a row's start in plus or minus `range` covers the circle;
//! intersection is [`network::deep_set`] on the 2d reals, the score `gamma - sum_k |e_k - q_k|` with the
//! modulus of the complex difference.

use super::{Entry, MODEL, Model, ModelSpec, Widths, network};
use crate::config::ModelConfig;
use crate::error::Result;
use crate::program::ops::project::Projection;
use crate::program::ops::score::Scoring;
use crate::program::{Idx, Program, Var};

/// What is known of it by its name. A margin of 6: d = 100, 1,200 steps of 256 queries on CoDEx-S, 1p MRR .32 with 4, .34
/// with 6, .23 with 9.
pub const ENTRY: Entry = Entry { name: "rotate", create, gamma: |_| 6.0, ..MODEL };

/// The model; see the module's page.
#[derive(Clone, Debug)]
pub struct RotatE(ModelSpec);

/// From `dim` (complex dimensions) and `gamma`.
fn create(config: &ModelConfig) -> Result<Box<dyn Model>> {
    let d = config.dim;
    let widths = Widths { entity: 2 * d, relation: d, query: 2 * d };
    let projection = Projection::Rotate { scale: std::f32::consts::PI / config.range() };
    let spec = ModelSpec::new(
        "rotate",
        config,
        widths,
        Some(projection),
        Scoring::Rotation { gamma: config.gamma() },
    );
    Ok(Box::new(RotatE(spec.intersecting(network::deep_set_layers(2 * d)))))
}

impl Model for RotatE {
    fn spec(&self) -> &ModelSpec {
        &self.0
    }

    fn intersect(&self, program: &mut Program, x: Var, offsets: Idx, out: Var) {
        network::deep_set(program, "set", x, offsets, out);
    }
}
