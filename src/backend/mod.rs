//! The numeric operations behind every model: one trait, a twin per device.
//!
//! Reading order: this file (what the operations mean), [`cpu`] (the fast one, every operation in the
//! file of its name), [`reference`](mod@reference) (the same operations as plain loops in float64: the oracle of the
//! parity tests, and what the finite differences are run on).
//!
//! All operations work on row-major matrices inside device buffers ([`Mat`], [`MatMut`]). A backend
//! knows nothing of queries or graphs. Lengths and ranges are checked where a view is made and where
//! an operation starts; a violation is a bug of the caller and panics. Operations return nothing: an
//! asynchronous device reports its errors at the next call that returns a `Result`.

pub mod cpu;
pub mod cuda;
pub mod optimizer;
pub mod reference;
pub mod single;

pub use cpu::Cpu;
pub use cuda::Cuda;
pub use optimizer::{AdagradStep, AdamStep, Optimizer, OptimizerStep};
pub use reference::Reference;
pub use single::{Dropout, LabelLoss, LabelRows};

use crate::error::{Error, Result};
use crate::storage::mmap::Numbers;

/// A read-only view of `rows x cols` scalars, row `i` at `offset + i * stride` of a buffer.
#[derive(Debug)]
pub struct Mat<'a, B> {
    /// The buffer.
    pub buffer: &'a B,
    /// Position of the first scalar.
    pub offset: usize,
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// Distance between rows.
    pub stride: usize,
}

/// A writable view, laid out like [`Mat`].
#[derive(Debug)]
pub struct MatMut<'a, B> {
    /// The buffer.
    pub buffer: &'a mut B,
    /// Position of the first scalar.
    pub offset: usize,
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// Distance between rows.
    pub stride: usize,
}

impl<B> Clone for Mat<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B> Copy for Mat<'_, B> {}

impl<'a, B> Mat<'a, B> {
    /// The first `rows` rows of a buffer with `cols` columns.
    pub fn new(buffer: &'a B, rows: usize, cols: usize) -> Self {
        Mat { buffer, offset: 0, rows, cols, stride: cols }
    }

    /// Rows `first..first + rows`.
    pub fn rows(self, first: usize, rows: usize) -> Self {
        assert!(first + rows <= self.rows, "rows {first}+{rows} of {}", self.rows);
        Mat { offset: self.offset + first * self.stride, rows, ..self }
    }

    /// Columns `first..first + cols`.
    pub fn columns(self, first: usize, cols: usize) -> Self {
        assert!(first + cols <= self.cols, "columns {first}+{cols} of {}", self.cols);
        Mat { offset: self.offset + first, cols, ..self }
    }
}

impl<'a, B> MatMut<'a, B> {
    /// The first `rows` rows of a buffer with `cols` columns.
    pub fn new(buffer: &'a mut B, rows: usize, cols: usize) -> Self {
        MatMut { buffer, offset: 0, rows, cols, stride: cols }
    }

    /// The same view for a shorter time.
    pub fn again(&mut self) -> MatMut<'_, B> {
        let MatMut { offset, rows, cols, stride, .. } = *self;
        MatMut { buffer: &mut *self.buffer, offset, rows, cols, stride }
    }

    /// Rows `first..first + rows`.
    pub fn rows(self, first: usize, rows: usize) -> Self {
        assert!(first + rows <= self.rows, "rows {first}+{rows} of {}", self.rows);
        MatMut { offset: self.offset + first * self.stride, rows, ..self }
    }

    /// The same view, to be read.
    pub fn as_mat(&self) -> Mat<'_, B> {
        let MatMut { offset, rows, cols, stride, .. } = *self;
        Mat { buffer: &*self.buffer, offset, rows, cols, stride }
    }

    /// Columns `first..first + cols`.
    pub fn columns(self, first: usize, cols: usize) -> Self {
        assert!(first + cols <= self.cols, "columns {first}+{cols} of {}", self.cols);
        MatMut { offset: self.offset + first, cols, ..self }
    }
}

/// A buffer in host memory.
pub trait HostBuffer {
    /// What it holds.
    type Scalar;
    /// The scalars.
    fn as_slice(&self) -> &[Self::Scalar];
    /// The scalars, to be changed.
    fn as_mut_slice(&mut self) -> &mut [Self::Scalar];
}

impl<'a, B: HostBuffer> Mat<'a, B> {
    /// Row `i`.
    #[inline]
    pub fn row(&self, i: usize) -> &'a [B::Scalar] {
        debug_assert!(i < self.rows);
        &self.buffer.as_slice()[self.offset + i * self.stride..][..self.cols]
    }
}

impl<B: HostBuffer> MatMut<'_, B> {
    /// Row `i`.
    #[inline]
    pub fn row(&mut self, i: usize) -> &mut [B::Scalar] {
        debug_assert!(i < self.rows);
        &mut self.buffer.as_mut_slice()[self.offset + i * self.stride..][..self.cols]
    }
}

/// What a nonlinearity does after a linear layer, or to box offsets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// x.
    #[default]
    None,
    /// max(x, 0); NaN stays NaN.
    Relu,
    /// ln(1 + e^x).
    Softplus,
}

/// An elementwise function that knows its derivative from its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elementwise {
    /// `clamp(x + 1, BETA_MIN, BETA_MAX)`: any number to a parameter of a Beta distribution (Ren and Leskovec 2020); NaN
    /// stays NaN, and where the value is a bound the derivative is 0.
    BetaParameter,
    /// 1 / x.
    Reciprocal,
}

/// The precision of matrix products.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Math {
    /// Factors and sums of 32 bits.
    #[default]
    Fp32,
    /// On a GPU, factors with TF32's 10-bit mantissas and sums of 32 bits, by tensor cores; elsewhere as fp32.
    Tf32,
}

/// Added to variances by which rows are normalised.
pub const NORM_EPSILON: f32 = 1e-5;
/// Least parameter of a Beta distribution that a row can stand for.
pub const BETA_MIN: f32 = 0.05;
/// Greatest parameter of a Beta distribution that a row can stand for.
pub const BETA_MAX: f32 = 1e9;

/// Squares of `side` x `side` numbers inside images of `height` x `width`. Positions of their first number: row by row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Rows of an image, at least `side`.
    pub height: usize,
    /// Columns of an image, at least `side`.
    pub width: usize,
    /// Rows and columns of a window, at least 1.
    pub side: usize,
}

impl Window {
    /// Numbers of an image.
    pub fn pixels(self) -> usize {
        self.height * self.width
    }

    /// Windows side by side.
    pub fn across(self) -> usize {
        self.width - self.side + 1
    }

    /// Windows of an image.
    pub fn positions(self) -> usize {
        (self.height - self.side + 1) * self.across()
    }
}

/// How a relation moves a query embedding. `d` is the embedding dimension.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Projection {
    /// `q + r`; query and relation rows of d.
    Translate,
    /// center + r, offset + f(r_offset); query and relation rows are [center d, offset d].
    Box {
        /// f.
        offset: Activation,
    },
    /// `q * r`; query and relation rows of d.
    Product,
    /// Complex product; query and relation rows are [real d, imaginary d].
    ComplexProduct,
    /// Complex product with `e^(i scale r)`; query rows are [real d, imaginary d], relation rows d phases.
    Rotate {
        /// Radians per unit of a relation row.
        scale: f32,
    },
    /// `q R`; query rows of d, relation rows of d^2: the matrix R, row by row. Uses may share a matrix
    /// ([`ProjectStep::groups`]), which is then read once for all of them.
    Matrix,
}

impl Projection {
    /// Columns of a relation row for query rows of `query_width`.
    pub fn relation_width(self, query_width: usize) -> usize {
        match self {
            Projection::Rotate { .. } => query_width / 2,
            Projection::Matrix => query_width * query_width,
            _ => query_width,
        }
    }
}

/// How a query embedding is compared with an entity row: greater is better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scoring {
    /// `gamma - sum |e - q|`.
    L1 {
        /// The margin.
        gamma: f32,
    },
    /// `gamma - sqrt(sum (e - q)^2)`.
    L2 {
        /// The margin.
        gamma: f32,
    },
    /// `gamma - sum relu(|e - c| - o) - inside * sum |min(|e - c|, o)|`; query rows are [c, o].
    Box {
        /// The margin.
        gamma: f32,
        /// Weight of the distance inside the box.
        inside: f32,
    },
    /// `sum q e`; for complex rows [real, imaginary] this is Re<q, conj(e)>.
    Dot,
    /// `gamma - sum |e - q|` with the modulus of complex numbers; rows are [real d, imaginary d].
    Rotation {
        /// The margin.
        gamma: f32,
    },
    /// `gamma - sum KL(Beta(a, b) || Beta(alpha, beta))`: query rows are [alpha d, beta d], positive; entity rows x of 2d
    /// stand for [a d, b d] = [`Elementwise::BetaParameter`] of x. Accurate to float32 wherever alpha and beta lie; rows are worked
    /// out in float64, each once.
    Beta {
        /// The margin.
        gamma: f32,
    },
}

impl Scoring {
    /// Columns of a query row for entity rows of `entity_width`.
    pub fn query_width(self, entity_width: usize) -> usize {
        if matches!(self, Scoring::Box { .. }) { 2 * entity_width } else { entity_width }
    }
}

/// What large numbers of a row cost: see [`Backend::penalise`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Penalty {
    /// `sum x^2`.
    Squares,
    /// `sum |x|^3`.
    Cubes,
    /// `sum |z|^3` over complex numbers z; rows are [real d, imaginary d].
    ComplexCubes,
}

/// How the scores of a query become its loss: `p` is the positive's, `s_n` those of the unmasked negatives, and the
/// weights `w` of [`LossOptions`] sum to 1 over these.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PoolLoss {
    /// `(-log sigmoid(p) - sum_n w_n log sigmoid(-s_n)) / 2` (Sun et al. 2019).
    Logistic,
    /// `log(e^p + sum_n e^(s_n)) - p`: the softmax of the positive among its negatives, which weights them by itself.
    CrossEntropy,
    /// `sum_n w_n max(0, margin + s_n - p)` (Bordes et al. 2013).
    Margin {
        /// By how much a positive should beat each negative.
        margin: f32,
    },
}

/// The loss of queries with sampled negatives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossOptions {
    /// Its formula.
    pub loss: PoolLoss,
    /// Weights of the negatives: softmax(temperature * score) over those of a query (self-adversarial), constants in
    /// the derivative; `None` is uniform. Cross-entropy has no such weights.
    pub adversarial_temperature: Option<f32>,
}

/// Parameters with the state of their optimizer.
#[derive(Debug)]
pub struct Parameters<B: Backend> {
    /// Number of rows.
    pub rows: usize,
    /// Columns of a row.
    pub cols: usize,
    /// The values.
    pub values: B::Buffer,
    /// What the optimizer keeps, `state[0]` columns: with Adam the running mean of the gradient.
    pub first: B::Buffer,
    /// The same, `state[1]` columns: with Adam the running mean of the squared gradient.
    pub second: B::Buffer,
    /// See [`Optimizer::state`]; zeros on a table that is not trained.
    pub state: [usize; 2],
    /// Whether `values` holds a row's value, first and second moment side by side, `3 * cols` scalars a row,
    /// and `first` and `second` nothing: so a table in a file has it. Only backends with [`Backend::map`] take it.
    pub interleaved: bool,
}

impl<B: Backend> Parameters<B> {
    /// The values as a matrix.
    pub fn mat(&self) -> Mat<'_, B::Buffer> {
        let Parameters { rows, cols, values, .. } = self;
        let stride = if self.interleaved { 3 * cols } else { *cols };
        Mat { buffer: values, offset: 0, rows: *rows, cols: *cols, stride }
    }
}

/// [`Groups`](crate::sampler::Groups) on the device.
#[derive(Debug)]
pub struct DeviceGroups<B: Backend> {
    /// Distinct row numbers, ascending.
    pub ids: B::Index,
    /// Bounds of each group in `members`.
    pub offsets: B::Index,
    /// Rows of the gradient that belong to a group, in the order in which they are added.
    pub members: B::Index,
}

/// Rows of a projection step inside the arena of slots.
#[derive(Debug)]
pub struct ProjectStep<'a, B: Backend> {
    /// Slots read, distinct and below `output`.
    pub inputs: &'a B::Index,
    /// First slot written.
    pub output: usize,
    /// Number of slots written.
    pub count: usize,
    /// Uses that share a relation, of [`Projection::Matrix`]: row `ids[g]` of the relations is that of the uses
    /// `members` of group `g`, each use in one group. Without, each use has a row of its own.
    pub groups: Option<&'a DeviceGroups<B>>,
    /// In training, what the dropout inside a model's network starts from: another number each step. Backends know
    /// nothing of it.
    pub key: Option<u64>,
}

/// What to rank: thresholds per query, in the order of the queries.
#[derive(Debug)]
pub struct RankTask<'a, B: Backend> {
    /// Roots of query `q` are rows `root_offsets[q]..root_offsets[q + 1]` of the queries; its score of
    /// an entity is the best of theirs.
    pub root_offsets: &'a [u32],
    /// Query embeddings.
    pub queries: Mat<'a, B::Buffer>,
    /// Targets of query `q` are `targets[target_offsets[q]..target_offsets[q + 1]]`.
    pub target_offsets: &'a [u32],
    /// Entities to be ranked.
    pub targets: &'a [u32],
    /// Entities of query `q` to be left out: `filter[filter_offsets[q]..filter_offsets[q + 1]]`, distinct.
    pub filter_offsets: &'a [u32],
    /// Entities to be left out.
    pub filter: &'a [u32],
}

/// How many entities do better than a target, and how many exactly as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RankCount {
    /// Entities with a greater score.
    pub better: u32,
    /// Other entities with the same score.
    pub equal: u32,
}

/// What was asked of a device since it was opened, and how long the host waited for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Counters {
    /// Kernels.
    pub launches: u64,
    /// Matrix products by a library, which launches kernels of its own.
    pub products: u64,
    /// Copies to the device.
    pub uploads: u64,
    /// Bytes of them.
    pub uploaded_bytes: u64,
    /// Seconds in which the host waited for memory to put a copy in, because the device was behind.
    pub upload_wait_seconds: f64,
    /// Seconds in which the host waited for numbers from the device.
    pub download_wait_seconds: f64,
}

impl std::ops::Sub for Counters {
    type Output = Counters;

    fn sub(self, before: Counters) -> Counters {
        Counters {
            launches: self.launches - before.launches,
            products: self.products - before.products,
            uploads: self.uploads - before.uploads,
            uploaded_bytes: self.uploaded_bytes - before.uploaded_bytes,
            upload_wait_seconds: self.upload_wait_seconds - before.upload_wait_seconds,
            download_wait_seconds: self.download_wait_seconds - before.download_wait_seconds,
        }
    }
}

/// A moment on a device's own clock: see [`Backend::moment`].
#[derive(Debug)]
pub struct Moment(pub(crate) u64);

/// The operations.
pub trait Backend: Sized + Send + Sync + std::fmt::Debug + 'static {
    /// What buffers hold.
    type Scalar: Copy + Default + Send + Sync + std::fmt::Debug + 'static;
    /// Scalars on the device.
    type Buffer: Send + Sync + std::fmt::Debug;
    /// 32-bit row numbers, offsets or mask words on the device.
    type Index: Send + Sync + std::fmt::Debug;
    /// Scalars on their way from the device.
    type Reading: Send + std::fmt::Debug;

    /// Device and instruction set, for people.
    fn describe(&self) -> String;

    /// Whether operations run on the host's cores, which other threads then take from them.
    fn on_host(&self) -> bool {
        true
    }

    /// Bytes of the device's own memory; `None` where it works in the host's.
    fn memory(&self) -> Option<u64> {
        None
    }

    /// What was asked of the device so far; zeros where nothing stands between it and the host.
    fn counters(&self) -> Counters {
        Counters::default()
    }

    /// The moment at which everything that was asked for so far is done; `None` where the device has no clock.
    fn moment(&self) -> Result<Option<Moment>> {
        Ok(None)
    }

    /// Seconds between two moments; waits for the second.
    fn seconds_between(&self, from: Moment, to: Moment) -> Result<f64> {
        unreachable!("{from:?} and {to:?} are of a device with a clock")
    }

    // Memory.

    /// A scalar from a host number.
    fn scalar(value: f64) -> Self::Scalar;
    /// A host number from a scalar.
    fn value(scalar: Self::Scalar) -> f64;
    /// `len` zeros. Errors when the device has not enough memory.
    fn zeros(&self, len: usize) -> Result<Self::Buffer>;
    /// A buffer of numbers that stay in their mapped file. Errors where the device works in memory of its own.
    fn map(&self, numbers: Numbers) -> Result<Self::Buffer> {
        let _ = numbers;
        Err(Error::invalid(format!("{} cannot work on rows in a file: use --device cpu", self.describe())))
    }
    /// Copies host scalars to `buffer[offset..]`.
    fn upload(&self, data: &[Self::Scalar], buffer: &mut Self::Buffer, offset: usize) -> Result<()>;
    /// Replaces the first scalars of a buffer; those behind them may be anything then. Other than with [`Backend::upload`],
    /// a device may copy while it still works on the old ones.
    fn replace(&self, data: &[Self::Scalar], buffer: &mut Self::Buffer) -> Result<()> {
        self.upload(data, buffer, 0)
    }
    /// Starts to copy `len` scalars of `buffer[offset..]` to the host, as they are after all operations so far.
    fn read(&self, buffer: &Self::Buffer, offset: usize, len: usize) -> Result<Self::Reading>;
    /// What a reading has read; waits for it.
    fn finish(&self, reading: Self::Reading) -> Result<Vec<Self::Scalar>>;
    /// Copies `buffer[offset..]` to host scalars; waits for what was started before.
    fn download(&self, buffer: &Self::Buffer, offset: usize, out: &mut [Self::Scalar]) -> Result<()>;
    /// An index with these numbers.
    fn index(&self, data: &[u32]) -> Result<Self::Index>;
    /// Replaces the numbers of an index, reusing its memory where it can.
    fn set_index(&self, data: &[u32], index: &mut Self::Index) -> Result<()>;

    // Rows.

    /// `out[i] = table[rows[i]]`.
    fn gather(&self, table: Mat<Self::Buffer>, rows: &Self::Index, out: MatMut<Self::Buffer>);
    /// `out[rows[i]] = from[i]`; the row numbers are distinct.
    fn scatter(&self, from: Mat<Self::Buffer>, rows: &Self::Index, out: MatMut<Self::Buffer>);
    /// `out = from`, of the same shape.
    fn copy(&self, from: Mat<Self::Buffer>, out: MatMut<Self::Buffer>);
    /// `out = value`.
    fn fill(&self, value: f32, out: MatMut<Self::Buffer>);

    /// `to[groups.ids[g]] +=` the sum of the rows `groups.members` of `from`, added in that order.
    fn add_groups(&self, groups: &DeviceGroups<Self>, from: Mat<Self::Buffer>, to: MatMut<Self::Buffer>);
    /// `x = 0` where `dropout` says so, else `x * scale`. The same for a gradient: it is the derivative of itself.
    fn dropout(&self, dropout: Dropout, x: MatMut<Self::Buffer>);

    // Projection.

    /// `slots[output + i] = project(slots[inputs[i]], relations[i])`.
    fn project(
        &self,
        kind: Projection,
        step: ProjectStep<Self>,
        relations: Mat<Self::Buffer>,
        slots: MatMut<Self::Buffer>,
    );
    /// Writes `grads[inputs[i]]` and `relation_grads[i]` from `grads[output + i]`; of groups, the rows `ids`.
    fn project_backward(
        &self,
        kind: Projection,
        step: ProjectStep<Self>,
        slots: Mat<Self::Buffer>,
        relations: Mat<Self::Buffer>,
        grads: MatMut<Self::Buffer>,
        relation_grads: MatMut<Self::Buffer>,
    );

    // Networks.

    /// `out = f(x w^T + b)`; `w` is out x in as in PyTorch, `b` one row.
    fn linear(
        &self,
        x: Mat<Self::Buffer>,
        w: Mat<Self::Buffer>,
        b: Mat<Self::Buffer>,
        f: Activation,
        out: MatMut<Self::Buffer>,
    );
    /// Gradients of [`Backend::linear`] from its output and `dout`, which is overwritten by its product
    /// with f' (from the output: `None` and `Relu` only). Adds to `dw` and `db`; writes `dx`.
    #[allow(clippy::too_many_arguments)]
    fn linear_backward(
        &self,
        x: Mat<Self::Buffer>,
        w: Mat<Self::Buffer>,
        out: Mat<Self::Buffer>,
        f: Activation,
        dout: MatMut<Self::Buffer>,
        dx: MatMut<Self::Buffer>,
        dw: MatMut<Self::Buffer>,
        db: MatMut<Self::Buffer>,
    );
    /// The windows of each image, a row of `images`: row `i * positions + p` of `out` is the window at position `p` of
    /// image `i`, row by row.
    fn unfold(&self, window: Window, images: Mat<Self::Buffer>, out: MatMut<Self::Buffer>);
    /// Gradient of [`Backend::unfold`]: each number of an image in `out` is the sum of those that stand for it in
    /// `windows`, in the order of the positions.
    fn fold(&self, window: Window, windows: Mat<Self::Buffer>, out: MatMut<Self::Buffer>);
    /// `out[0]` are the means of the columns of x, `out[1]` their variances: means of squared distances from the mean.
    fn moments(&self, x: Mat<Self::Buffer>, out: MatMut<Self::Buffer>);
    /// `out = f((x - mean) / sqrt(variance + e) * (1 + affine[0]) + affine[1])` with `moments` as of
    /// [`Backend::moments`] and e = [`NORM_EPSILON`] (Ioffe and Szegedy 2015, "Batch normalization").
    fn normalise(
        &self,
        x: Mat<Self::Buffer>,
        moments: Mat<Self::Buffer>,
        affine: Mat<Self::Buffer>,
        f: Activation,
        out: MatMut<Self::Buffer>,
    );
    /// Gradients of [`Backend::normalise`] by the moments of x itself, from its output (`None` and `Relu` only): turns `dx`,
    /// which holds the output's gradient, into that of x; writes `daffine`.
    #[allow(clippy::too_many_arguments)]
    fn normalise_backward(
        &self,
        x: Mat<Self::Buffer>,
        moments: Mat<Self::Buffer>,
        affine: Mat<Self::Buffer>,
        out: Mat<Self::Buffer>,
        f: Activation,
        dx: MatMut<Self::Buffer>,
        daffine: MatMut<Self::Buffer>,
    );
    /// `to += rate (from - to)`, of the same shape.
    fn blend(&self, rate: f32, from: Mat<Self::Buffer>, to: MatMut<Self::Buffer>);
    /// `out = f(x)`, element by element, of the same shape.
    fn elementwise(&self, f: Elementwise, x: Mat<Self::Buffer>, out: MatMut<Self::Buffer>);
    /// Gradient of [`Backend::elementwise`] from its output: `dx = dout * f'`.
    fn elementwise_backward(
        &self,
        f: Elementwise,
        out: Mat<Self::Buffer>,
        dout: Mat<Self::Buffer>,
        dx: MatMut<Self::Buffer>,
    );
    /// `to += from`, of the same shape.
    fn add(&self, from: Mat<Self::Buffer>, to: MatMut<Self::Buffer>);

    // Sets of rows: segment `s` is rows `offsets[s]..offsets[s + 1]`.

    /// Per segment and column: `weights = softmax(weights)` in place, `out[s] = sum weights * x`.
    fn attend(
        &self,
        x: Mat<Self::Buffer>,
        offsets: &Self::Index,
        weights: MatMut<Self::Buffer>,
        out: MatMut<Self::Buffer>,
    );
    /// Gradients of [`Backend::attend`]: writes `dx` and turns `weights` into the logits' gradient.
    fn attend_backward(
        &self,
        x: Mat<Self::Buffer>,
        offsets: &Self::Index,
        dout: Mat<Self::Buffer>,
        weights: MatMut<Self::Buffer>,
        dx: MatMut<Self::Buffer>,
    );
    /// `out[s]` = mean of the segment's rows.
    fn segment_mean(&self, x: Mat<Self::Buffer>, offsets: &Self::Index, out: MatMut<Self::Buffer>);
    /// Gradient of [`Backend::segment_mean`]: writes `dx`.
    fn segment_mean_backward(&self, dout: Mat<Self::Buffer>, offsets: &Self::Index, dx: MatMut<Self::Buffer>);
    /// `out[s] = min(segment) * sigmoid(gate[s])`; the minimum with a NaN is NaN.
    fn gated_min(
        &self,
        x: Mat<Self::Buffer>,
        offsets: &Self::Index,
        gate: Mat<Self::Buffer>,
        out: MatMut<Self::Buffer>,
    );
    /// Gradients of [`Backend::gated_min`]: writes `dx` (to the first minimum) and turns `gate` into its
    /// gradient.
    fn gated_min_backward(
        &self,
        x: Mat<Self::Buffer>,
        offsets: &Self::Index,
        dout: Mat<Self::Buffer>,
        gate: MatMut<Self::Buffer>,
        dx: MatMut<Self::Buffer>,
    );

    // Scores.

    /// `out[q, e] = score(queries[q], entities[e])`.
    fn scores(
        &self,
        kind: Scoring,
        queries: Mat<Self::Buffer>,
        entities: Mat<Self::Buffer>,
        out: MatMut<Self::Buffer>,
    );
    /// Writes `dqueries` and `dentities` from `weights = d loss / d scores` and the scores themselves.
    #[allow(clippy::too_many_arguments)]
    fn scores_backward(
        &self,
        kind: Scoring,
        queries: Mat<Self::Buffer>,
        entities: Mat<Self::Buffer>,
        scores: Mat<Self::Buffer>,
        weights: Mat<Self::Buffer>,
        dqueries: MatMut<Self::Buffer>,
        dentities: MatMut<Self::Buffer>,
    );
    /// Scores of queries with candidates of their own: `out[r, n] = score(queries[r], entities[q k + n])` for the roots
    /// `r` of each query `q` (`root_offsets[q]..root_offsets[q + 1]`, at least one) and `n < k`, the columns of `out`.
    /// A positive is an only candidate: `k = 1`.
    fn own_scores(
        &self,
        kind: Scoring,
        queries: Mat<Self::Buffer>,
        entities: Mat<Self::Buffer>,
        root_offsets: &Self::Index,
        out: MatMut<Self::Buffer>,
    );
    /// **Adds** to `dqueries`, writes `dentities`; as [`Backend::scores_backward`] for [`Backend::own_scores`], of whose
    /// shape `scores` and `weights` are.
    #[allow(clippy::too_many_arguments)]
    fn own_scores_backward(
        &self,
        kind: Scoring,
        queries: Mat<Self::Buffer>,
        entities: Mat<Self::Buffer>,
        root_offsets: &Self::Index,
        scores: Mat<Self::Buffer>,
        weights: Mat<Self::Buffer>,
        dqueries: MatMut<Self::Buffer>,
        dentities: MatMut<Self::Buffer>,
    );

    // Loss, regularisation, optimizer.

    /// The loss of each query and its derivatives.
    ///
    /// That of [`PoolLoss`] times `query_weights[q]`, where `p` and `s_n` are the best of the query's roots and `n` runs
    /// over the entries whose mask bit is clear; where there is none, only the term of the positive remains, which
    /// is 0 but for the logistic loss. `mask` holds 32-bit words, `mask_words` a query.
    /// A NaN among the scores of any root makes its query's loss NaN, unless the entry is masked.
    /// Writes `losses[0, q]`, the weights `d loss / d score` of the pool, and those of the positives.
    #[allow(clippy::too_many_arguments)]
    fn loss(
        &self,
        options: LossOptions,
        root_offsets: &Self::Index,
        positives: Mat<Self::Buffer>,
        scores: Mat<Self::Buffer>,
        mask: &Self::Index,
        mask_words: usize,
        query_weights: Mat<Self::Buffer>,
        losses: MatMut<Self::Buffer>,
        positive_weights: MatMut<Self::Buffer>,
        weights: MatMut<Self::Buffer>,
    );
    /// The losses of rows of scores with labels, `losses[0, i] = row_weights[0, i] * loss` (see [`LabelLoss`]); turns the
    /// scores into `d losses / d scores`. A NaN among a row's scores makes its loss NaN. Each number is read and written
    /// twice, in blocks that a cache holds.
    fn label_loss(
        &self,
        loss: LabelLoss,
        labels: LabelRows<Self>,
        row_weights: Mat<Self::Buffer>,
        scores: MatMut<Self::Buffer>,
        losses: MatMut<Self::Buffer>,
    );
    /// Adds `row_weights[0, i] * penalty'(x[i])` to `grads[i]` and writes `penalties[0, i] = row_weights[0, i] *
    /// penalty(x[i])`. A row whose weight is 0 is not read, and its gradient stays.
    fn penalise(
        &self,
        penalty: Penalty,
        row_weights: Mat<Self::Buffer>,
        x: Mat<Self::Buffer>,
        grads: MatMut<Self::Buffer>,
        penalties: MatMut<Self::Buffer>,
    );
    /// `squares[0, g]` = the sum of the squares of the numbers of a row: the sum of the rows `groups.members` of `from`,
    /// added in that order.
    fn group_squares(
        &self,
        groups: &DeviceGroups<Self>,
        from: Mat<Self::Buffer>,
        squares: MatMut<Self::Buffer>,
    );
    /// `squares[0, i]` = the sum of the squares of row `i`.
    fn row_squares(&self, from: Mat<Self::Buffer>, squares: MatMut<Self::Buffer>);
    /// `factor[0, 0] = min(1, bound / sqrt(sum of squares))`, so that what has these squares and is scaled by it has a
    /// norm of at most `bound`; 1 where the sum is NaN.
    fn clip_factor(&self, bound: f32, squares: Mat<Self::Buffer>, factor: MatMut<Self::Buffer>);
    /// `x *= factor[0, 0]`; what is NaN stays NaN.
    fn scale(&self, factor: Mat<Self::Buffer>, x: MatMut<Self::Buffer>);
    /// A step on the rows `groups.ids` of a table, whose state is the step's; a row's gradient is the sum of the rows
    /// `groups.members` of `grads`, added in that order. Other rows and their state stay.
    fn optimize_rows(
        &self,
        step: OptimizerStep,
        groups: &DeviceGroups<Self>,
        grads: Mat<Self::Buffer>,
        table: &mut Parameters<Self>,
    );
    /// The same on all rows.
    fn optimize(&self, step: OptimizerStep, grads: Mat<Self::Buffer>, table: &mut Parameters<Self>);

    // Ranking.

    /// For every target: how many entities, without the query's filter, beat it or equal it.
    ///
    /// A query's score is NaN only where those of all its roots are. NaN ranks last: a NaN target is beaten
    /// by every entity, and an entity with a NaN score neither beats nor equals a number. `scores` is never
    /// stored beyond a tile.
    fn rank(
        &self,
        kind: Scoring,
        task: RankTask<Self>,
        entities: Mat<Self::Buffer>,
    ) -> Result<Vec<RankCount>>;
}
