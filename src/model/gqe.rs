//! GQE (Hamilton et al. 2018) in the form of Ren et al. 2020: points, translations, attention.
//!
//! Entities, relations and queries are vectors of d. Projection is `q + r`, intersection the attention
//! of [`network::attention`], the score `gamma - |e - q|` in L1 or L2.

use super::{Entry, MODEL, Model, ModelSpec, Widths, network};
use crate::config::ModelConfig;
use crate::error::Result;
use crate::program::ops::project::Projection;
use crate::program::{Idx, Program, Var};

/// What is known of it by its name.
pub const ENTRY: Entry = Entry { name: "gqe", create, ..MODEL };

/// The model; see the module's page.
#[derive(Clone, Debug)]
pub struct Gqe(ModelSpec);

/// From `dim`, `gamma` and `norm`.
pub(super) fn create(config: &ModelConfig) -> Result<Box<dyn Model>> {
    let d = config.dim;
    let widths = Widths { entity: d, relation: d, query: d };
    let scoring = config.norm.scoring(config.gamma());
    let spec = ModelSpec::new("gqe", config, widths, Some(Projection::Translate), scoring);
    Ok(Box::new(Gqe(spec.intersecting(network::layers("attention", &[d; 3])))))
}

impl Model for Gqe {
    fn spec(&self) -> &ModelSpec {
        &self.0
    }

    fn intersect(&self, program: &mut Program, x: Var, offsets: Idx, out: Var) {
        network::attention(program, "attention", x, offsets, out);
    }
}
