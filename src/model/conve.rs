//! ConvE (Dettmers, Minervini, Stenetorp and Riedel 2018): head and relation as an image, filters, a linear layer.
//!
//! Entity rows are [e d, bias]; relation rows d. Head and relation, each d numbers as an image of `image_height` rows, stand
//! one above the other; 3 x 3 filters without padding and relu make features, and a linear layer with relu makes d numbers q
//! of them. The query is [q, 1], the score `<q, e> + bias`: the product of both rows.
//!
//! With `batch_norm` the features of each filter, and each number of q, are normalised before their relu: in training by the
//! moments of the batch, else by running averages of them, which are saved beside the parameters.
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

/// Splits buffers that were made together.
macro_rules! split {
    ($work:expr, [$($name:ident),*]) => {
        let [$($name),*] = &mut $work[..] else { unreachable!("the workspace was made by the same model") };
    };
}

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
    batch_norm: bool,
}

impl ConvE {
    /// From `dim`, `image_height`, `filters`, `gamma` (which only sets the range of the start) and dropout.
    ///
    /// # Errors
    ///
    /// Where the images are no rectangle, or smaller than a filter.
    pub fn new(config: &ModelConfig) -> Result<Self> {
        let ModelConfig { dim, filters, dropout_features, dropout_hidden, batch_norm, .. } = *config;
        let height = config.image_height();
        let width = dim / height.max(1);
        if height == 0 || height * width != dim || 2 * height < SIDE || width < SIDE || filters == 0 {
            return Err(Error::invalid(format!(
                "conve reshapes {dim} numbers (model.dim) to {height} rows (model.image_height): take a divisor of model.dim \
                 from 2 to model.dim / {SIDE}, and model.filters of at least 1"
            )));
        }
        let window = Window { height: 2 * height, width, side: SIDE };
        Ok(ConvE {
            dim,
            window,
            filters,
            range: config.range(),
            dropout_features,
            dropout_hidden,
            batch_norm,
        })
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

/// Buffers of a projection before those of `batch_norm`.
const VALUES: usize = 7;

/// Of the filters (0) and of the linear layer (1): both are a product, with `batch_norm` a normalisation, and relu.
impl ConvE {
    /// `out = relu(norm(w x + b))`, by the moments of these rows if `by_batch`.
    #[allow(clippy::too_many_arguments)]
    fn layer<B: Backend>(
        &self,
        backend: &B,
        dense: &[Mat<B::Buffer>],
        layer: usize,
        x: Mat<B::Buffer>,
        norm: &mut [B::Buffer],
        by_batch: bool,
        out: MatMut<B::Buffer>,
    ) {
        let (w, b) = (dense[2 * layer], dense[2 * layer + 1]);
        if !self.batch_norm {
            return backend.linear(x, w, b, Activation::Relu, out);
        }
        let (rows, cols) = (out.rows, out.cols);
        let (affine, running) = (dense[4 + 2 * layer], dense[5 + 2 * layer]);
        let (y, rest) = norm[layer..].split_at_mut(1);
        backend.linear(x, w, b, Activation::None, MatMut::new(&mut y[0], rows, cols));
        let y = Mat::new(&y[0], rows, cols);
        if by_batch {
            backend.moments(y, MatMut::new(&mut rest[1], 2, cols));
        }
        let moments = if by_batch { Mat::new(&rest[1], 2, cols) } else { running };
        backend.normalise(y, moments, affine, Activation::Relu, out);
    }

    /// Gradients of [`ConvE::layer`] from its output; uses up `dout`.
    #[allow(clippy::too_many_arguments)]
    fn layer_backward<B: Backend>(
        &self,
        backend: &B,
        dense: &[Mat<B::Buffer>],
        layer: usize,
        x: Mat<B::Buffer>,
        norm: &mut [B::Buffer],
        out: Mat<B::Buffer>,
        mut dout: MatMut<B::Buffer>,
        dx: MatMut<B::Buffer>,
        ddense: &mut [B::Buffer],
    ) {
        let (w, cols) = (dense[2 * layer], out.cols);
        let mut f = Activation::Relu;
        if self.batch_norm {
            let (y, moments) = (Mat::new(&norm[layer], out.rows, cols), Mat::new(&norm[2 + layer], 2, cols));
            split!(ddense[4 + 2 * layer..6 + 2 * layer], [daffine, average]);
            let to = MatMut::new(daffine, 2, cols);
            backend.normalise_backward(y, moments, dense[4 + 2 * layer], out, f, dout.again(), to);
            backend.copy(moments, MatMut::new(average, 2, cols));
            f = Activation::None;
        }
        split!(ddense[2 * layer..2 * layer + 2], [dw, db]);
        let (dw, db) = (MatMut::new(dw, cols, w.cols), MatMut::new(db, 1, cols));
        backend.linear_backward(x, w, out, f, dout, dx, dw, db);
    }
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
        for (name, cols) in [("filters", self.filters), ("hidden", self.dim)] {
            let shape = |what: &str, averaged: bool| DenseShape {
                name: format!("{name}.{what}"),
                rows: 2,
                cols,
                range: 0.0,
                averaged,
            };
            shapes.extend(
                [shape("norm", false), shape("moments", true)].into_iter().filter(|_| self.batch_norm),
            );
        }
        shapes
    }

    fn projection_dense(&self) -> Range<usize> {
        0..if self.batch_norm { 8 } else { 4 }
    }

    /// Image, windows and features, and where it is trained their gradients and the zeros of the heads' biases. With
    /// `batch_norm` behind them features and queries before they are normalised, and their moments.
    fn project_workspace(&self, count: usize, _relations: usize, trained: bool) -> Vec<usize> {
        let values = self.parts().map(|len| count * len);
        let mut all = values.to_vec();
        all.extend(values.into_iter().chain([count]).map(|len| if trained { len } else { 0 }));
        if self.batch_norm {
            let query = count * self.dim;
            all.extend([values[2], query, 2 * self.filters, 2 * self.dim]);
        }
        all
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
        let (work, norm) = work.split_at_mut(VALUES);
        split!(work, [image, windows, features, _dimage, _dwindows, _dfeatures, _zeros]);
        backend.gather(slots.as_mat().columns(0, d), step.inputs, MatMut::new(image, n, 2 * d).columns(0, d));
        backend.copy(relations, MatMut::new(image, n, 2 * d).columns(d, d));
        let squares = MatMut::new(windows, places, SIDE * SIDE);
        backend.unfold(self.window, Mat::new(image, n, 2 * d), squares);
        let squares = Mat::new(windows, places, SIDE * SIDE);
        let features_out = MatMut::new(features, places, self.filters);
        self.layer(backend, dense, 0, squares, norm, step.key.is_some(), features_out);
        let [drop_features, drop_hidden] = self.dropout(step.key);
        if let Some(dropout) = drop_features {
            backend.dropout(dropout, MatMut::new(features, n, self.features()));
        }
        let mut out = slots.again().rows(step.output, n);
        let features = Mat::new(features, n, self.features());
        let q = out.again().columns(0, d);
        self.layer(backend, dense, 1, features, norm, step.key.is_some(), q);
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
        let (work, norm) = work.split_at_mut(VALUES);
        split!(work, [_image, windows, features, dimage, dwindows, dfeatures, zeros]);
        let [drop_features, drop_hidden] = self.dropout(step.key);
        let mut dq = grads.again().rows(step.output, n).columns(0, d);
        if let Some(dropout) = drop_hidden {
            backend.dropout(dropout, dq.again());
        }
        // What was dropped is 0, as behind a relu that is shut.
        let q = slots.rows(step.output, n).columns(0, d);
        let dx = MatMut::new(dfeatures, n, all);
        self.layer_backward(backend, dense, 1, Mat::new(features, n, all), norm, q, dq, dx, ddense);
        if let Some(dropout) = drop_features {
            backend.dropout(dropout, MatMut::new(dfeatures, n, all));
        }
        let (x, y) = (Mat::new(windows, places, SIDE * SIDE), Mat::new(features, places, filters));
        let (dy, dx) = (MatMut::new(dfeatures, places, filters), MatMut::new(dwindows, places, SIDE * SIDE));
        self.layer_backward(backend, dense, 0, x, norm, y, dy, dx, ddense);
        let squares = Mat::new(dwindows, places, SIDE * SIDE);
        backend.fold(self.window, squares, MatMut::new(dimage, n, 2 * d));
        let dimage = Mat::new(dimage, n, 2 * d);
        backend.scatter(dimage.columns(0, d), step.inputs, grads.again().columns(0, d));
        // A head's bias has no part in its query.
        backend.scatter(Mat::new(zeros, n, 1), step.inputs, grads.columns(d, 1));
        backend.copy(dimage.columns(d, d), relation_grads);
    }
}
