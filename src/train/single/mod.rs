//! One step of single-hop training: rows of scores of all entities, their losses, dense gradients.
//!
//! A row is a pair (head, relation): its query embedding is the head's, moved by the relation, and its scores are those of
//! all entities, as in evaluation. Every entity gets a gradient, so that the optimizer goes over whole tables.
//!
//! Scores are worked on in tiles of rows, so that their memory is bounded whatever the number of entities; a batch whose
//! scores fit is one tile.
//!
//! [`shape`] has the sizes of the buffers, `buffers` the buffers, `relations` the second objective, `regularise` what is
//! added beside both.

mod buffers;
mod regularise;
mod relations;
pub mod shape;

pub use shape::Shape;

use super::clip::Clip;
use super::losses::Losses;
use crate::backend::{
    Backend, Dropout, LabelLoss, LabelRows, Mat, MatMut, Optimizer, OptimizerStep, ProjectStep, Scoring,
};
use crate::config::{Config, Loss, Objective};
use crate::error::{Error, Result};
use crate::model::{Model, Weights};
use crate::rng::stream;
use crate::sampler::{SingleBatch, SingleOptions, Unit};
use buffers::Buffers;
use rand::Rng as _;
use regularise::Regulariser;
use relations::{RelationPrediction, Rows};

/// By how much of the difference a running average moves in a step, at least.
const AVERAGING: f32 = 0.1;

/// What a configuration asks of the batches.
pub fn options(config: &Config) -> SingleOptions {
    SingleOptions {
        seed: config.training.seed,
        unit: if config.training.objective == Objective::KvsAll { Unit::Pair } else { Unit::Triple },
        batch_size: config.training.batch_size,
        direction: config.sampling.direction,
    }
}

/// A model in single-hop training, with all buffers.
pub struct SingleTrainer<B: Backend> {
    backend: B,
    model: Box<dyn Model<B>>,
    /// The tables that are trained.
    pub weights: Weights<B>,
    shape: Shape,
    options: StepOptions,
    buffers: Buffers<B>,
    relation_prediction: Option<RelationPrediction<B>>,
    regulariser: Option<Regulariser<B>>,
    row_weights: Vec<B::Scalar>,
    /// The loss of each row of a batch, zeros where there are fewer; where relations are predicted, then those of the
    /// edges at hand, added up; where there is a regulariser, then the penalty of each entity and relation.
    losses: Losses<B>,
    clip: Option<Clip<B>>,
}

/// What of the configuration a step needs.
#[derive(Clone, Copy, Debug)]
struct StepOptions {
    seed: u64,
    loss: LabelLoss,
    /// Whether a row's loss is divided by the number of its labels.
    per_row: bool,
    objective: Objective,
    dropout_entity: f32,
    dropout_relation: f32,
    optimizer: Optimizer,
    /// Of the rate of rows, that of networks.
    network_rate: f64,
}

/// Where and when a part of a step happens.
struct At<'a, B: Backend> {
    backend: &'a B,
    model: &'a dyn Model<B>,
    weights: &'a Weights<B>,
    options: &'a StepOptions,
    /// Number of the step, which names the numbers that are dropped.
    step: u64,
}

impl<B: Backend> Clone for At<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Backend> Copy for At<'_, B> {}

impl<B: Backend> At<'_, B> {
    /// The numbers of a matrix that are dropped; `what` names the matrix.
    fn drop(&self, probability: f32, what: &str) -> Option<Dropout> {
        (probability > 0.0).then(|| Dropout::new(probability, self.key(what)))
    }

    /// What decides that.
    fn key(&self, what: &str) -> u64 {
        stream(self.options.seed, what, self.step).next_u64()
    }
}

/// Gradients of everything that is trained, to be added to.
struct Gradients<'a, B: Backend> {
    /// Of the heads of the batch's rows, which go to those of entities.
    heads: MatMut<'a, B::Buffer>,
    entities: MatMut<'a, B::Buffer>,
    relations: MatMut<'a, B::Buffer>,
    dense: &'a mut [B::Buffer],
}

impl<B: Backend> SingleTrainer<B> {
    /// Allocates everything. `weights` must have room for moments.
    pub fn new(backend: B, model: Box<dyn Model<B>>, weights: Weights<B>, config: &Config) -> Result<Self> {
        let shape = Shape::new(&*model, weights.entities.rows, weights.relations.rows, config);
        Self::with_shape(backend, model, weights, config, shape)
    }

    /// As [`SingleTrainer::new`], with the scores of at most `tile` rows in memory at once.
    pub fn with_tile(
        backend: B,
        model: Box<dyn Model<B>>,
        weights: Weights<B>,
        config: &Config,
        tile: usize,
    ) -> Result<Self> {
        let shape = Shape::with_tile(&*model, weights.entities.rows, weights.relations.rows, config, tile);
        Self::with_shape(backend, model, weights, config, shape)
    }

    fn with_shape(
        backend: B,
        model: Box<dyn Model<B>>,
        weights: Weights<B>,
        config: &Config,
        shape: Shape,
    ) -> Result<Self> {
        let buffers = Buffers::new(&backend, &*model, &shape)?;
        let weight = f64::from(config.training.relation_prediction);
        let relation_prediction = RelationPrediction::new(&backend, &*model, &shape, weight)?;
        let regulariser = Regulariser::new(&backend, &*model, &shape, config)?;
        let smoothing = config.training.label_smoothing;
        let options = StepOptions {
            seed: config.training.seed,
            loss: match config.training.loss() {
                Loss::CrossEntropy => LabelLoss::CrossEntropy { smoothing },
                Loss::Logistic => LabelLoss::Logistic {
                    smoothing,
                    per_label: config.training.objective == Objective::OneVsAll,
                },
                Loss::Margin => return Err(Error::invalid("training.loss = margin needs sampled negatives")),
            },
            per_row: config.training.loss() == Loss::CrossEntropy,
            objective: config.training.objective,
            dropout_entity: config.model.dropout_entity,
            dropout_relation: config.model.dropout_relation,
            optimizer: config.training.optimizer,
            network_rate: config.training.network_rate,
        };
        let losses = Losses::new(&backend, shape.losses().to_vec())?;
        let dense: usize = model.dense().iter().map(|s| s.rows).sum();
        let clip = Clip::new(&backend, config.training.clip_norm, shape.entities + shape.relations + dense)?;
        Ok(SingleTrainer {
            backend,
            model,
            weights,
            shape,
            options,
            buffers,
            relation_prediction,
            regulariser,
            row_weights: Vec::new(),
            losses,
            clip,
        })
    }

    /// The device.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// Gives the device back and frees everything else.
    pub fn into_backend(self) -> B {
        self.backend
    }

    /// The model.
    pub fn model(&self) -> &dyn Model<B> {
        &*self.model
    }

    /// One step of the optimizer on a batch: `step` counts from 1. Its loss waits for [`SingleTrainer::losses`], which must
    /// be called at the latest when [`SingleTrainer::is_full`].
    pub fn step(&mut self, batch: &SingleBatch, learning_rate: f64, step: u64) -> Result<()> {
        self.gradients(batch, step)?;
        let StepOptions { optimizer, network_rate, .. } = self.options;
        let steps = optimizer.steps(learning_rate, network_rate, step);
        self.update(steps, step);
        Ok(())
    }

    /// Whether no more losses fit.
    pub fn is_full(&self) -> bool {
        self.losses.is_full()
    }

    /// The losses of all batches that were not given yet, in order; waits for the device.
    ///
    /// A loss is the mean of those of the batch's edges (1vsAll) or rows (KvsAll); plus the weighted mean of the
    /// cross-entropies of its edges' relations, where they are predicted; plus what the regulariser adds.
    pub fn losses(&mut self) -> Result<Vec<f64>> {
        self.losses.read(&self.backend)
    }

    /// As [`SingleTrainer::losses`], a window late: without those since the last call, so that nobody waits.
    pub fn earlier_losses(&mut self) -> Result<Vec<f64>> {
        self.losses.read_late(&self.backend)
    }

    /// Steps whose losses were not given.
    pub fn unread(&self) -> usize {
        self.losses.unread()
    }

    /// Leaves the gradients of a batch in the buffers, and its loss for [`SingleTrainer::losses`]. The step names the
    /// numbers that are dropped.
    pub fn gradients(&mut self, batch: &SingleBatch, step: u64) -> Result<()> {
        self.losses.begin();
        assert!(batch.rows() <= self.shape.rows, "{} rows of at most {}", batch.rows(), self.shape.rows);
        self.upload(batch)?;
        let SingleTrainer { backend, model, weights, shape, options, buffers: b, losses, .. } = self;
        let at = At { backend, model: &**model, weights, options, step };
        let (model, scoring, n, dense) = (&**model, model.scoring(), batch.rows(), weights.dense_mats());
        let Shape { entities, entity, relation, query, .. } = *shape;
        // Rows of relations in this batch.
        let uses = if shape.shares_relations { batch.relation_groups.ids.len() } else { n };
        let drop_table = at.drop(options.dropout_entity, "dropout of tails");
        let drop_heads = at.drop(options.dropout_entity, "dropout of heads");
        let drop_relations = at.drop(options.dropout_relation, "dropout of relations");

        let inside = at.key("dropout inside the network");

        // Queries.
        backend.gather(weights.entities.mat(), &b.head_rows, MatMut::new(&mut b.heads, n, entity));
        backend.gather(
            weights.relations.mat(),
            &b.relation_rows,
            MatMut::new(&mut b.relations, uses, relation),
        );
        if let Some(dropout) = drop_heads {
            backend.dropout(dropout, MatMut::new(&mut b.heads, n, entity));
        }
        if let Some(dropout) = drop_relations {
            backend.dropout(dropout, MatMut::new(&mut b.relations, uses, relation));
        }
        let relations = Mat::new(&b.relations, uses, relation);
        model.leaves(backend, Mat::new(&b.heads, n, entity), MatMut::new(&mut b.slots, n, query));
        let project = || ProjectStep {
            inputs: &b.inputs,
            output: n,
            count: n,
            groups: b.shared.as_ref(),
            key: Some(inside),
        };
        let slots = MatMut::new(&mut b.slots, 2 * n, query);
        model.project(backend, &dense, project(), relations, &mut b.work, slots);
        let slots = Mat::new(&b.slots, 2 * n, query);

        // Tails.
        if let Some(dropout) = drop_table {
            backend.copy(weights.entities.mat(), MatMut::new(&mut b.table, entities, entity));
            backend.dropout(dropout, MatMut::new(&mut b.table, entities, entity));
        }
        let table = match drop_table {
            Some(_) => Mat::new(&b.table, entities, entity),
            None => weights.entities.mat(),
        };
        backend.fill(0.0, losses.part(0));
        for first in (0..n).step_by(shape.tile) {
            let count = shape.tile.min(n - first);
            let queries = slots.rows(n + first, count);
            let scores = MatMut::new(&mut b.scores, count, entities);
            match scoring {
                // A matrix product; scores need not be the same bits as those of a ranking.
                Scoring::Dot => {
                    let none = crate::backend::Activation::None;
                    backend.linear(queries, table, Mat::new(&b.zeros, 1, entities), none, scores);
                }
                _ => {
                    backend.scores(scoring, queries, table, scores);
                    let kept = MatMut::new(&mut b.kept_scores, count, entities);
                    backend.copy(Mat::new(&b.scores, count, entities), kept);
                }
            }
            backend.label_loss(
                options.loss,
                LabelRows { offsets: &b.label_offsets, labels: &b.labels, first },
                Mat::new(&b.row_weights, 1, n).columns(first, count),
                MatMut::new(&mut b.scores, count, entities),
                losses.part(0).columns(first, count),
            );
            let derivatives = Mat::new(&b.scores, count, entities);
            let scores =
                if shape.keeps_scores { Mat::new(&b.kept_scores, count, entities) } else { derivatives };
            let dqueries = MatMut::new(&mut b.dslots, 2 * n, query).rows(n + first, count);
            let part = if first == 0 { &mut b.dtable } else { &mut b.dtile };
            let part = MatMut::new(part, entities, entity);
            backend.scores_backward(scoring, queries, table, scores, derivatives, dqueries, part);
            if first > 0 {
                let whole = MatMut::new(&mut b.dtable, entities, entity);
                backend.add(Mat::new(&b.dtile, entities, entity), whole);
            }
        }

        // Back to heads and relations.
        let drelations = MatMut::new(&mut b.drelations, uses, relation);
        let dslots = MatMut::new(&mut b.dslots, 2 * n, query);
        for i in model.projection_dense() {
            backend.fill(0.0, MatMut::new(&mut b.ddense[i], dense[i].rows, dense[i].cols));
        }
        let (work, ddense) = (&mut b.work, &mut b.ddense);
        model.project_backward(
            backend,
            &dense,
            project(),
            slots,
            relations,
            work,
            dslots,
            drelations,
            ddense,
        );
        let dheads = MatMut::new(&mut b.dheads, n, entity);
        model.leaves_backward(backend, slots.rows(0, n), Mat::new(&b.dslots, n, query), dheads);
        if let Some(dropout) = drop_relations {
            backend.dropout(dropout, MatMut::new(&mut b.drelations, uses, relation));
        }
        backend.fill(0.0, MatMut::new(&mut b.drelation_table, shape.relations, relation));
        let whole = MatMut::new(&mut b.drelation_table, shape.relations, relation);
        let drelations = Mat::new(&b.drelations, uses, relation);
        if shape.shares_relations {
            backend.scatter(drelations, &b.relation_groups.ids, whole);
        } else {
            backend.add_groups(&b.relation_groups, drelations, whole);
        }

        let mut gradients = Gradients {
            heads: MatMut::new(&mut b.dheads, n, entity),
            entities: MatMut::new(&mut b.dtable, entities, entity),
            relations: MatMut::new(&mut b.drelation_table, shape.relations, relation),
            dense: &mut b.ddense,
        };
        if let Some(prediction) = &mut self.relation_prediction {
            let rows = Rows { heads: Mat::new(&b.heads, n, entity), table };
            prediction.add(at, batch, rows, &mut gradients, losses.part(1))?;
        }
        if let Some(dropout) = drop_heads {
            backend.dropout(dropout, gradients.heads.again());
        }
        if let Some(dropout) = drop_table {
            backend.dropout(dropout, gradients.entities.again());
        }
        backend.add_groups(&b.head_groups, gradients.heads.as_mat(), gradients.entities.again());
        if let Some(regulariser) = &mut self.regulariser {
            regulariser.add(at, &mut gradients, losses.part(2));
        }
        Ok(())
    }

    /// Copies what the batch brings to the device.
    fn upload(&mut self, batch: &SingleBatch) -> Result<()> {
        let SingleTrainer { backend, buffers, row_weights, options, .. } = self;
        buffers.set(backend, batch)?;
        if let Some(regulariser) = &mut self.regulariser {
            regulariser.upload(backend, batch)?;
        }
        row_weights.clear();
        row_weights.extend(batch.label_offsets.windows(2).map(|bounds| {
            let labels = f64::from(bounds[1] - bounds[0]);
            B::scalar(match options.objective {
                Objective::KvsAll if options.per_row => 1.0 / (labels * batch.rows() as f64),
                Objective::KvsAll => 1.0 / batch.rows() as f64,
                _ => 1.0 / batch.labels.len() as f64,
            })
        }));
        backend.replace(row_weights, &mut buffers.row_weights)
    }

    /// One step of the optimizer from the gradients in the buffers. Networks that have no part in a projection stay.
    fn update(&mut self, [rows_step, networks_step]: [OptimizerStep; 2], number: u64) {
        let SingleTrainer { backend, model, weights, shape, buffers: b, clip, .. } = self;
        let shapes = model.dense();
        if let Some(clip) = clip {
            clip.add_rows(backend, Mat::new(&b.dtable, shape.entities, shape.entity));
            clip.add_rows(backend, Mat::new(&b.drelation_table, shape.relations, shape.relation));
            let trained = || model.projection_dense().filter(|&i| !shapes[i].averaged);
            for i in trained() {
                let table = &weights.dense[i];
                clip.add_rows(backend, Mat::new(&b.ddense[i], table.rows, table.cols));
            }
            clip.work_out(backend);
            clip.scale(backend, MatMut::new(&mut b.dtable, shape.entities, shape.entity));
            clip.scale(backend, MatMut::new(&mut b.drelation_table, shape.relations, shape.relation));
            for i in trained() {
                let table = &weights.dense[i];
                clip.scale(backend, MatMut::new(&mut b.ddense[i], table.rows, table.cols));
            }
        }
        let grads = Mat::new(&b.dtable, shape.entities, shape.entity);
        backend.optimize(rows_step, grads, &mut weights.entities);
        let grads = Mat::new(&b.drelation_table, shape.relations, shape.relation);
        backend.optimize(rows_step, grads, &mut weights.relations);
        for i in model.projection_dense() {
            let table = &mut weights.dense[i];
            let (rows, cols) = (table.rows, table.cols);
            let grads = Mat::new(&b.ddense[i], rows, cols);
            if shapes[i].averaged {
                let rate = (1.0 / number as f32).max(AVERAGING);
                backend.blend(rate, grads, MatMut::new(&mut table.values, rows, cols));
            } else {
                backend.optimize(networks_step, grads, table);
            }
        }
    }

    /// Gradients that the last batch left: of the entity table, of the relation table, and of the dense parameters of the
    /// projection. For tests.
    pub fn last_gradients(&self) -> Result<Vec<Vec<B::Scalar>>> {
        let Shape { entities, entity, relations, relation, .. } = self.shape;
        let tables = [(&self.buffers.dtable, entities * entity)]
            .into_iter()
            .chain([(&self.buffers.drelation_table, relations * relation)])
            .chain(self.model.projection_dense().map(|i| {
                let table = &self.weights.dense[i];
                (&self.buffers.ddense[i], table.rows * table.cols)
            }));
        let read = |(buffer, len): (&B::Buffer, usize)| {
            let mut host = vec![B::Scalar::default(); len];
            self.backend.download(buffer, 0, &mut host).map(|()| host)
        };
        tables.map(read).collect()
    }
}
