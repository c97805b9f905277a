//! TransE (Bordes et al. 2013) on queries without intersections: points, moved by translation.
//!
//! Entities, relations and queries are vectors of d. Projection is `q + r`, the score `gamma - |e - q|` in
//! L1 or L2. There is no network and so no intersection: chains and unions are what it can express.
//! With one it is [`Gqe`](super::gqe::Gqe).

use super::{Entry, MODEL, Model, ModelSpec, Widths};
use crate::config::ModelConfig;
use crate::error::Result;
use crate::program::ops::project::Projection;

/// What is known of it by its name.
pub const ENTRY: Entry = Entry {
    name: "transe",
    create,
    defaults: &[("*", "sampling.structures", "\"1p:4,2p:2,3p:1\"")],
    ..MODEL
};

/// The model; see the module's page.
#[derive(Clone, Debug)]
pub struct TransE(ModelSpec);

/// From `dim`, `gamma` and `norm`.
fn create(config: &ModelConfig) -> Result<Box<dyn Model>> {
    let d = config.dim;
    let widths = Widths { entity: d, relation: d, query: d };
    let scoring = config.norm.scoring(config.gamma());
    Ok(Box::new(TransE(ModelSpec::new("transe", config, widths, Some(Projection::Translate), scoring))))
}

impl Model for TransE {
    fn spec(&self) -> &ModelSpec {
        &self.0
    }
}
