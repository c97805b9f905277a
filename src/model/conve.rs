//! ConvE (Dettmers, Minervini, Stenetorp and Riedel 2018): head and relation as an image, filters, a linear layer.
//!
//! Entity rows are [e d, bias]; relation rows d. Head and relation, each d numbers as an image of `image_height` rows, stand
//! one above the other; 3 x 3 filters without padding and relu make features, and a linear layer with relu makes d numbers q
//! of them. The query is [q, 1], the score `<q, e> + bias`: the product of both rows.
//!
//! A query can be the head of another hop, but sets cannot be intersected. In single-hop training, dropout of features and
//! of q (`dropout_features`, `dropout_hidden`) drops single numbers, where the paper's drops whole feature maps.

use super::network::xavier;
use super::{DenseShape, Model, Widths, Workspace, uniform};
use crate::backend::{Activation, Backend, Dropout, Mat, MatMut, ProjectStep, Scoring, Window};
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::rng::Rng;
use std::ops::Range;

/// Rows and columns of a filter.
const SIDE: usize = 3;

/// The model; see the module's page.
#[derive(Clone, Debug)]
pub struct ConvE {
    dim: usize,
    window: Window,
    filters: usize,
    range: f32,
    dropout_features: f32,
    dropout_hidden: f32,
}

impl ConvE {
    /// From `dim`, `image_height`, `filters`, `gamma` (which only sets the range of the start) and dropout.
    ///
    /// # Errors
    ///
    /// Where the images are no rectangle, or smaller than a filter.
    pub fn new(config: &ModelConfig) -> Result<Self> {
        let ModelConfig { dim, filters, dropout_features, dropout_hidden, .. } = *config;
        let height = config.image_height();
        let width = dim / height.max(1);
        if height == 0 || height * width != dim || 2 * height < SIDE || width < SIDE || filters == 0 {
            return Err(Error::invalid(format!(
                "conve reshapes {dim} numbers (model.dim) to {height} rows (model.image_height): take a divisor of model.dim \
                 from 2 to model.dim / {SIDE}, and model.filters of at least 1"
            )));
        }
        let window = Window { height: 2 * height, width, side: SIDE };
        Ok(ConvE { dim, window, filters, range: config.range(), dropout_features, dropout_hidden })
    }

    /// Features of a query: all filters at a position, position by position.
    fn features(&self) -> usize {
        self.window.positions() * self.filters
    }

    /// Numbers of a query in each buffer: image, windows, features.
    fn parts(&self) -> [usize; 3] {
        [self.window.pixels(), self.window.positions() * SIDE * SIDE, self.features()]
    }

    /// What is dropped of the features and of q in the step with this key.
    fn dropout(&self, key: Option<u64>) -> [Option<Dropout>; 2] {
        let drop = |probability: f32, key: u64| (probability > 0.0).then(|| Dropout::new(probability, key));
        key.map_or([None; 2], |key| [drop(self.dropout_features, key), drop(self.dropout_hidden, !key)])
    }
}

/// Splits the buffers of a projection.
macro_rules! split {
    ($work:expr, [$($name:ident),*]) => {
        let [$($name),*] = &mut $work[..] else { unreachable!("the workspace was made by the same model") };
    };
}

impl<B: Backend> Model<B> for ConvE {
    fn name(&self) -> &'static str {
        "conve"
    }

    fn widths(&self) -> Widths {
        Widths { entity: self.dim + 1, relation: self.dim, query: self.dim + 1 }
    }

    fn scoring(&self) -> Scoring {
        Scoring::Dot
    }

    fn has_intersection(&self) -> bool {
        false
    }

    fn range(&self) -> f32 {
        self.range
    }

    /// A bias starts at 0.
    fn start_entity(&self, row: &mut [f32], rng: &mut Rng) {
        let (e, bias) = row.split_at_mut(self.dim);
        uniform(e, -self.range, self.range, rng);
        bias[0] = 0.0;
    }

    fn dense(&self) -> Vec<DenseShape> {
        let mut shapes = xavier("filters", &[SIDE * SIDE, self.filters]);
        shapes.extend(xavier("hidden", &[self.features(), self.dim]));
        shapes
    }

    fn projection_dense(&self) -> Range<usize> {
        0..4
    }

    /// Image, windows and features, and where it is trained their gradients and the zeros of the heads' biases.
    fn project_workspace(&self, count: usize, _relations: usize, trained: bool) -> Vec<usize> {
        let values = self.parts().map(|len| count * len);
        if trained { [&values[..], &values, &[count]].concat() } else { values.to_vec() }
    }

    fn project(
        &self,
        backend: &B,
        dense: &[Mat<B::Buffer>],
        step: ProjectStep<B>,
        relations: Mat<B::Buffer>,
        work: &mut Workspace<B>,
        mut slots: MatMut<B::Buffer>,
    ) {
        let (n, d, places) = (step.count, self.dim, step.count * self.window.positions());
        split!(work[..3], [image, windows, features]);
        backend.gather(slots.as_mat().columns(0, d), step.inputs, MatMut::new(image, n, 2 * d).columns(0, d));
        backend.copy(relations, MatMut::new(image, n, 2 * d).columns(d, d));
        let squares = MatMut::new(windows, places, SIDE * SIDE);
        backend.unfold(self.window, Mat::new(image, n, 2 * d), squares);
        let (squares, relu) = (Mat::new(windows, places, SIDE * SIDE), Activation::Relu);
        backend.linear(squares, dense[0], dense[1], relu, MatMut::new(features, places, self.filters));
        let [drop_features, drop_hidden] = self.dropout(step.key);
        if let Some(dropout) = drop_features {
            backend.dropout(dropout, MatMut::new(features, n, self.features()));
        }
        let mut out = slots.again().rows(step.output, n);
        let features = Mat::new(features, n, self.features());
        backend.linear(features, dense[2], dense[3], relu, out.again().columns(0, d));
        if let Some(dropout) = drop_hidden {
            backend.dropout(dropout, out.again().columns(0, d));
        }
        backend.fill(1.0, out.columns(d, 1));
    }

    fn project_backward(
        &self,
        backend: &B,
        dense: &[Mat<B::Buffer>],
        step: ProjectStep<B>,
        slots: Mat<B::Buffer>,
        _relations: Mat<B::Buffer>,
        work: &mut Workspace<B>,
        mut grads: MatMut<B::Buffer>,
        relation_grads: MatMut<B::Buffer>,
        ddense: &mut [B::Buffer],
    ) {
        let (n, d, places) = (step.count, self.dim, step.count * self.window.positions());
        let (filters, all) = (self.filters, self.features());
        split!(work, [_image, windows, features, dimage, dwindows, dfeatures, zeros]);
        split!(ddense, [dfilters, dfilter_biases, dhidden, dhidden_biases]);
        let [drop_features, drop_hidden] = self.dropout(step.key);
        let mut dq = grads.again().rows(step.output, n).columns(0, d);
        if let Some(dropout) = drop_hidden {
            backend.dropout(dropout, dq.again());
        }
        // What was dropped is 0, as behind a relu that is shut.
        backend.linear_backward(
            Mat::new(features, n, all),
            dense[2],
            slots.rows(step.output, n).columns(0, d),
            Activation::Relu,
            dq,
            MatMut::new(dfeatures, n, all),
            MatMut::new(dhidden, d, all),
            MatMut::new(dhidden_biases, 1, d),
        );
        if let Some(dropout) = drop_features {
            backend.dropout(dropout, MatMut::new(dfeatures, n, all));
        }
        backend.linear_backward(
            Mat::new(windows, places, SIDE * SIDE),
            dense[0],
            Mat::new(features, places, filters),
            Activation::Relu,
            MatMut::new(dfeatures, places, filters),
            MatMut::new(dwindows, places, SIDE * SIDE),
            MatMut::new(dfilters, filters, SIDE * SIDE),
            MatMut::new(dfilter_biases, 1, filters),
        );
        let squares = Mat::new(dwindows, places, SIDE * SIDE);
        backend.fold(self.window, squares, MatMut::new(dimage, n, 2 * d));
        let dimage = Mat::new(dimage, n, 2 * d);
        backend.scatter(dimage.columns(0, d), step.inputs, grads.again().columns(0, d));
        // A head's bias has no part in its query.
        backend.scatter(Mat::new(zeros, n, 1), step.inputs, grads.columns(d, 1));
        backend.copy(dimage.columns(d, d), relation_grads);
    }
}
