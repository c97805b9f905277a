//! ConvE (Dettmers, Minervini, Stenetorp and Riedel 2018): head and relation as an image, filters, a linear layer.
//!
//! Entity rows are [e d, bias]; relation rows d. Head and relation, each d numbers as an image of `image_height` rows, stand
//! one above the other; 3 x 3 filters without padding and relu make features, and a linear layer with relu makes d numbers q
//! of them. The query is [q, 1], the score `<q, e> + bias`: the product of both rows.
//!
//! With `batch_norm` the features of each filter, and each number of q, are normalised before their relu: in training by the
//! mean and variance of the batch, else by running averages of them, which are saved beside the parameters.
//!
//! A query can be the head of another hop, but sets cannot be intersected. In single-hop training, dropout of features and
//! of q (`dropout_features`, `dropout_hidden`) drops single numbers, where the paper's drops whole feature maps.

use super::{
    Entry, Hop, MODEL, Model, ModelSpec, Own, Parameter, Widths, network, small_products, table_of, uniform,
};
use crate::config::ModelConfig;
use crate::config::keys::{Allowed, Range, WIDTH};
use crate::error::{Error, Result};
use crate::program::ops::convolution::{ConvolutionSize, Unfold};
use crate::program::ops::linear::{Activation, Linear};
use crate::program::ops::normalise::{MeanVariance, Normalise};
use crate::program::ops::rows::{CopyRows, DropOut, Fill, Gather};
use crate::program::ops::score::Scoring;
use crate::program::{Program, Var};
use crate::rng::Rng;
use serde::{Deserialize, Serialize};

/// Rows and columns of a filter.
const SIDE: usize = 3;

/// What is known of it by its name.
pub const ENTRY: Entry = Entry {
    name: "conve",
    create,
    gamma: small_products,
    defaults: &[("*", "sampling.structures", "\"1p:4,2p:2,3p:1\"")],
    own: Own {
        keys: &[
            ("image_height", Allowed::Whole(1, WIDTH)),
            ("batch_norm", Allowed::Flag),
            ("filters", Allowed::Whole(1, WIDTH)),
            ("dropout_features", Allowed::Number(Range::Share)),
            ("dropout_hidden", Allowed::Number(Range::Share)),
        ],
        only_here: &["batch_norm", "dropout_features", "dropout_hidden"],
        single_hop: &["batch_norm", "dropout_features", "dropout_hidden"],
        defaults: |config| {
            table_of(&Options { image_height: Some(square(config.dim)), ..Options::default() })
        },
        source: (include_str!("conve.rs"), "pub struct Options {"),
    },
    ..MODEL
};

/// Its own keys of the section `model`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// ConvE: rows of the image that a row of `dim` is reshaped to. Default: the divisor of `dim` nearest to its root from below.
    pub image_height: Option<usize>,
    /// ConvE, single-hop training: whether features and queries are normalised by the batch. (UMLS, d = 64, 1vsAll, ten epochs
    /// of batches of 128: MRR of link prediction .89 with it, .83 without.)
    pub batch_norm: bool,
    /// ConvE: number of filters.
    pub filters: usize,
    /// ConvE, single-hop training: probability with which a number of the features is dropped.
    pub dropout_features: f64,
    /// ConvE, single-hop training: the same of the queries.
    pub dropout_hidden: f64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            image_height: None,
            batch_norm: false,
            filters: 32,
            dropout_features: 0.0,
            dropout_hidden: 0.0,
        }
    }
}

/// Images as near to a square as a divisor of `dim` that is not above its root makes them.
fn square(dim: usize) -> usize {
    (1..=dim.isqrt()).rev().find(|height| dim.is_multiple_of(*height)).unwrap_or(1)
}

/// The model; see the module's page.
#[derive(Clone, Debug)]
pub struct ConvE {
    dim: usize,
    window: ConvolutionSize,
    filters: usize,
    dropout_features: f32,
    dropout_hidden: f32,
    batch_norm: bool,
    spec: ModelSpec,
}

/// From `dim`, `image_height`, `filters`, `gamma` (which only sets the range of the start) and dropout.
///
/// # Errors
///
/// Where the images are no rectangle, or smaller than a filter.
fn create(config: &ModelConfig) -> Result<Box<dyn Model>> {
    let dim = config.dim;
    let Options { image_height, filters, dropout_features, dropout_hidden, batch_norm } = config.own();
    let height = image_height.unwrap_or(square(dim));
    let width = dim / height.max(1);
    if height == 0 || height * width != dim || 2 * height < SIDE || width < SIDE || filters == 0 {
        return Err(Error::invalid(format!(
            "conve reshapes {dim} numbers (model.dim) to {height} rows (model.image_height): take a divisor of model.dim \
             from 2 to model.dim / {SIDE}, and model.filters of at least 1"
        )));
    }
    let window = ConvolutionSize { height: 2 * height, width, side: SIDE };
    let mut parameters = network::layers("filters", &[SIDE * SIDE, filters]);
    parameters.extend(network::layers("hidden", &[window.positions() * filters, dim]));
    if batch_norm {
        for (name, cols) in [("filters", filters), ("hidden", dim)] {
            let of = |what| Parameter { name: format!("{name}.{what}"), rows: 2, cols, range: 0.0 };
            parameters.extend(["norm", "moments"].map(of));
        }
    }
    let widths = Widths { entity: dim + 1, relation: dim, query: dim + 1 };
    let spec = ModelSpec { parameters, ..ModelSpec::new("conve", config, widths, None, Scoring::Dot) };
    let [dropout_features, dropout_hidden] = [dropout_features, dropout_hidden].map(|p| p as f32);
    Ok(Box::new(ConvE { dim, window, filters, dropout_features, dropout_hidden, batch_norm, spec }))
}

impl ConvE {
    /// `out = relu(norm(w x + b))` of the filters or of the linear layer. In single-hop training the norm is by the mean and variance
    /// of these rows, and the running averages follow them.
    fn layer(&self, program: &mut Program, prefix: &str, x: Var, by_batch: bool, out: Var) {
        if !self.batch_norm {
            return network::layer_to(program, prefix, 1, x, Activation::Relu, out);
        }
        let [w, b, affine, running] =
            ["w1", "b1", "norm", "moments"].map(|what| program.parameter(&format!("{prefix}.{what}")));
        let y = program.temporary(&format!("{prefix} before norm"), out.rows(), out.cols());
        program.push(Linear { x, w, bias: Some(b), f: Activation::None, out: y });
        let mut mean_variance = running;
        if by_batch {
            mean_variance =
                program.temporary(&format!("{prefix} mean and variance of the batch"), 2, out.cols());
            program.push(MeanVariance { x: y, out: mean_variance });
            program.average(running, mean_variance);
        }
        program.push(Normalise { x: y, mean_variance, affine, f: Activation::Relu, out });
    }
}

impl Model for ConvE {
    fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// A bias starts at 0.
    fn start_entity(&self, row: &mut [f32], rng: &mut Rng) {
        let (e, bias) = row.split_at_mut(self.dim);
        uniform(e, -self.spec.range, self.spec.range, rng);
        bias[0] = 0.0;
    }

    fn project(&self, program: &mut Program, hop: Hop) {
        let (n, d, positions, filters) = (hop.count, self.dim, self.window.positions(), self.filters);
        let image = program.temporary("image", n, 2 * d);
        program.push(Gather { table: hop.slots.columns(0, d), rows: hop.inputs, out: image.columns(0, d) });
        program.push(CopyRows { from: hop.relations, out: image.columns(d, d) });
        let windows = program.temporary("windows", n.times(positions), SIDE * SIDE);
        program.push(Unfold { window: self.window, images: image, out: windows });
        let features = program.temporary("features", n.times(positions), filters);
        self.layer(program, "filters", windows, hop.trains_single_hop, features);
        let features = features.reshaped(n, positions * filters);
        self.drop(program, hop, self.dropout_features, false, features);
        let q = hop.out().columns(0, d);
        self.layer(program, "hidden", features, hop.trains_single_hop, q);
        self.drop(program, hop, self.dropout_hidden, true, q);
        program.push(Fill { value: 1.0, out: hop.out().columns(d, 1) });
    }
}

impl ConvE {
    fn drop(&self, program: &mut Program, hop: Hop, probability: f32, flipped: bool, x: Var) {
        if !hop.trains_single_hop {
            return;
        }
        if let Some(dropout) = program.dropout(probability, "dropout inside the network", flipped) {
            program.push(DropOut { dropout, x });
        }
    }
}
