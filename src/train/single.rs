//! One step of single-hop training: rows of scores of all entities, their losses, dense gradients.
//!
//! A row is a pair (head, relation): its query embedding is the head's, moved by the relation, and its scores are those of
//! all entities, as in evaluation. Every entity gets a gradient, so that the optimizer goes over whole tables.
//!
//! Scores are worked on in tiles of rows, so that their memory is bounded whatever the number of entities; a batch whose
//! scores fit is one tile.

use super::step::WINDOW;
use crate::backend::{
    Backend, DeviceGroups, Dropout, LabelLoss, LabelRows, Mat, MatMut, Optimizer, OptimizerStep, ProjectStep,
    Scoring,
};
use crate::config::{Config, Loss, Objective};
use crate::error::Result;
use crate::model::{Model, Weights};
use crate::pipeline::{Groups, SingleBatch};
use crate::rng::stream;
use crate::sampler::SingleOptions;
use rand::Rng as _;

/// Bytes of the scores of a tile, at most, where one row is not more already.
const TILE_BYTES: usize = 256 << 20;

/// What a configuration asks of the batches.
pub fn options(config: &Config) -> SingleOptions {
    SingleOptions {
        seed: config.training.seed,
        objective: config.training.objective,
        batch_size: config.training.batch_size,
        direction: config.sampling.direction,
    }
}

/// Sizes of the buffers of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Rows of a batch at most.
    pub rows: usize,
    /// Entities: columns of the scores.
    pub entities: usize,
    /// Directed relations.
    pub relations: usize,
    /// Rows whose scores are in memory at once.
    pub tile: usize,
    /// Whether a batch can have more than one tile.
    tiled: bool,
    /// Whether the backward pass needs the scores beside their derivatives.
    keeps_scores: bool,
    /// Whether entity rows are dropped out, for which the table is copied.
    copies_table: bool,
    entity: usize,
    relation: usize,
    query: usize,
}

impl Shape {
    /// Of a model on a graph of so many entities and directed relations.
    pub fn new<B: Backend>(model: &dyn Model<B>, entities: usize, relations: usize, config: &Config) -> Self {
        Self::with_tile(model, entities, relations, config, TILE_BYTES / (4 * entities.max(1)))
    }

    fn with_tile<B: Backend>(
        model: &dyn Model<B>,
        entities: usize,
        relations: usize,
        config: &Config,
        tile: usize,
    ) -> Self {
        let (rows, widths) = (options(config).max_rows(), model.widths());
        let tile = tile.clamp(1, rows);
        Shape {
            rows,
            entities,
            relations,
            tile,
            tiled: tile < rows,
            keeps_scores: model.scoring() != Scoring::Dot,
            copies_table: config.model.dropout_entity > 0.0,
            entity: widths.entity,
            relation: widths.relation,
            query: widths.query,
        }
    }

    /// Numbers of all buffers.
    pub fn len(&self) -> usize {
        let table = self.entities * self.entity;
        table * (1 + usize::from(self.copies_table) + usize::from(self.tiled))
            + self.relations * self.relation
            + 2 * self.rows * (self.entity + self.relation + 2 * self.query)
            + self.tile * self.entities * (1 + usize::from(self.keeps_scores))
            + self.entities
            + (WINDOW + 1) * self.rows
    }

    /// Whether there is nothing to train.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
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
    row_weights: Vec<B::Scalar>,
    inputs: Vec<u32>,
    /// Steps whose losses have not been asked for.
    unread: usize,
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
}

struct Buffers<B: Backend> {
    head_rows: B::Index,
    relation_rows: B::Index,
    head_groups: DeviceGroups<B>,
    relation_groups: DeviceGroups<B>,
    inputs: B::Index,
    label_offsets: B::Index,
    labels: B::Index,
    heads: B::Buffer,
    dheads: B::Buffer,
    relations: B::Buffer,
    drelations: B::Buffer,
    /// Heads as query embeddings, then the queries.
    slots: B::Buffer,
    dslots: B::Buffer,
    /// Entity rows with dropout.
    table: B::Buffer,
    dtable: B::Buffer,
    /// The entities' gradient from one tile, to be added.
    dtile: B::Buffer,
    drelation_table: B::Buffer,
    scores: B::Buffer,
    kept_scores: B::Buffer,
    zeros: B::Buffer,
    row_weights: B::Buffer,
    /// A row per step: the loss of each row of its batch, zeros where there are fewer.
    losses: B::Buffer,
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
        let Shape { rows, entities, relations, tile, .. } = shape;
        let (entity, relation, query) = (shape.entity, shape.relation, shape.query);
        let groups = || -> Result<DeviceGroups<B>> {
            let empty = || backend.index(&[]);
            Ok(DeviceGroups { ids: empty()?, offsets: empty()?, members: empty()? })
        };
        let only = |needed: bool, len: usize| backend.zeros(if needed { len } else { 0 });
        let buffers = Buffers {
            head_rows: backend.index(&[])?,
            relation_rows: backend.index(&[])?,
            head_groups: groups()?,
            relation_groups: groups()?,
            inputs: backend.index(&[])?,
            label_offsets: backend.index(&[])?,
            labels: backend.index(&[])?,
            heads: backend.zeros(rows * entity)?,
            dheads: backend.zeros(rows * entity)?,
            relations: backend.zeros(rows * relation)?,
            drelations: backend.zeros(rows * relation)?,
            slots: backend.zeros(2 * rows * query)?,
            dslots: backend.zeros(2 * rows * query)?,
            table: only(shape.copies_table, entities * entity)?,
            dtable: backend.zeros(entities * entity)?,
            dtile: only(shape.tiled, entities * entity)?,
            drelation_table: backend.zeros(relations * relation)?,
            scores: backend.zeros(tile * entities)?,
            kept_scores: only(shape.keeps_scores, tile * entities)?,
            zeros: backend.zeros(entities)?,
            row_weights: backend.zeros(rows)?,
            losses: backend.zeros(WINDOW * rows)?,
        };
        let smoothing = config.training.label_smoothing;
        let options = StepOptions {
            seed: config.training.seed,
            loss: match config.training.loss() {
                Loss::CrossEntropy => LabelLoss::CrossEntropy { smoothing },
                Loss::Logistic => LabelLoss::Logistic { smoothing, per_label: false },
            },
            per_row: config.training.loss() == Loss::CrossEntropy,
            objective: config.training.objective,
            dropout_entity: config.model.dropout_entity,
            dropout_relation: config.model.dropout_relation,
            optimizer: config.training.optimizer,
        };
        Ok(SingleTrainer {
            backend,
            model,
            weights,
            shape,
            options,
            buffers,
            row_weights: Vec::new(),
            inputs: Vec::new(),
            unread: 0,
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
        self.update(self.options.optimizer.step(learning_rate, step));
        Ok(())
    }

    /// Whether no more losses fit.
    pub fn is_full(&self) -> bool {
        self.unread == WINDOW
    }

    /// The losses of the batches since the last call, in order; waits for the device.
    ///
    /// A loss is the mean over the batch's labels of their cross-entropies (1vsAll), or over its rows (KvsAll).
    pub fn losses(&mut self) -> Result<Vec<f64>> {
        let (rows, steps) = (self.shape.rows, std::mem::take(&mut self.unread));
        let mut host = vec![B::Scalar::default(); steps * rows];
        self.backend.download(&self.buffers.losses, 0, &mut host)?;
        Ok(host.chunks(rows).map(|losses| losses.iter().map(|&x| B::value(x)).sum()).collect())
    }

    /// Leaves the gradients of a batch in the buffers, and its loss for [`SingleTrainer::losses`]. The step names the
    /// numbers that are dropped.
    pub fn gradients(&mut self, batch: &SingleBatch, step: u64) -> Result<()> {
        assert!(!self.is_full(), "losses are asked for in time");
        assert!(batch.rows() <= self.shape.rows, "{} rows of at most {}", batch.rows(), self.shape.rows);
        self.upload(batch)?;
        let this = self.unread;
        self.unread += 1;
        let SingleTrainer { backend, model, weights, shape, options, buffers: b, .. } = self;
        let (model, scoring, projection, n) = (&**model, model.scoring(), model.projection(), batch.rows());
        let projection = projection.expect("the plan refuses other models");
        let Shape { entities, entity, relation, query, .. } = *shape;
        let key = |what: &str| stream(options.seed, what, step).next_u64();
        let drop =
            |probability: f32, what: &str| (probability > 0.0).then(|| Dropout::new(probability, key(what)));
        let drop_table = drop(options.dropout_entity, "dropout of tails");
        let drop_heads = drop(options.dropout_entity, "dropout of heads");
        let drop_relations = drop(options.dropout_relation, "dropout of relations");

        // Queries.
        backend.gather(weights.entities.mat(), &b.head_rows, MatMut::new(&mut b.heads, n, entity));
        backend.gather(weights.relations.mat(), &b.relation_rows, MatMut::new(&mut b.relations, n, relation));
        if let Some(dropout) = drop_heads {
            backend.dropout(dropout, MatMut::new(&mut b.heads, n, entity));
        }
        if let Some(dropout) = drop_relations {
            backend.dropout(dropout, MatMut::new(&mut b.relations, n, relation));
        }
        let relations = Mat::new(&b.relations, n, relation);
        model.leaves(backend, Mat::new(&b.heads, n, entity), MatMut::new(&mut b.slots, n, query));
        let project = || ProjectStep { inputs: &b.inputs, output: n, count: n };
        backend.project(projection, project(), relations, MatMut::new(&mut b.slots, 2 * n, query));
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
        backend.fill(0.0, MatMut::new(&mut b.losses, WINDOW, shape.rows).rows(this, 1));
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
                MatMut::new(&mut b.losses, WINDOW, shape.rows).rows(this, 1).columns(first, count),
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
        if let Some(dropout) = drop_table {
            backend.dropout(dropout, MatMut::new(&mut b.dtable, entities, entity));
        }

        // Back to heads and relations.
        let drelations = MatMut::new(&mut b.drelations, n, relation);
        let dslots = MatMut::new(&mut b.dslots, 2 * n, query);
        backend.project_backward(projection, project(), slots, relations, dslots, drelations);
        let dheads = MatMut::new(&mut b.dheads, n, entity);
        model.leaves_backward(backend, slots.rows(0, n), Mat::new(&b.dslots, n, query), dheads);
        if let Some(dropout) = drop_heads {
            backend.dropout(dropout, MatMut::new(&mut b.dheads, n, entity));
        }
        if let Some(dropout) = drop_relations {
            backend.dropout(dropout, MatMut::new(&mut b.drelations, n, relation));
        }
        let whole = MatMut::new(&mut b.dtable, entities, entity);
        backend.add_groups(&b.head_groups, Mat::new(&b.dheads, n, entity), whole);
        backend.fill(0.0, MatMut::new(&mut b.drelation_table, shape.relations, relation));
        let whole = MatMut::new(&mut b.drelation_table, shape.relations, relation);
        backend.add_groups(&b.relation_groups, Mat::new(&b.drelations, n, relation), whole);
        Ok(())
    }

    /// Copies what the batch brings to the device.
    fn upload(&mut self, batch: &SingleBatch) -> Result<()> {
        let SingleTrainer { backend, buffers: b, row_weights, inputs, options, .. } = self;
        backend.set_index(&batch.heads, &mut b.head_rows)?;
        backend.set_index(&batch.relations, &mut b.relation_rows)?;
        for (from, to) in
            [(&batch.head_groups, &mut b.head_groups), (&batch.relation_groups, &mut b.relation_groups)]
        {
            let Groups { ids, offsets, members } = from;
            backend.set_index(ids, &mut to.ids)?;
            backend.set_index(offsets, &mut to.offsets)?;
            backend.set_index(members, &mut to.members)?;
        }
        inputs.clear();
        inputs.extend(0..batch.rows() as u32);
        backend.set_index(inputs, &mut b.inputs)?;
        backend.set_index(&batch.label_offsets, &mut b.label_offsets)?;
        backend.set_index(&batch.labels, &mut b.labels)?;
        row_weights.clear();
        row_weights.extend(batch.label_offsets.windows(2).map(|bounds| {
            let labels = f64::from(bounds[1] - bounds[0]);
            B::scalar(match options.objective {
                Objective::KvsAll if options.per_row => 1.0 / (labels * batch.rows() as f64),
                Objective::KvsAll => 1.0 / batch.rows() as f64,
                _ => 1.0 / batch.labels.len() as f64,
            })
        }));
        backend.upload(row_weights, &mut b.row_weights, 0)
    }

    /// One step of the optimizer from the gradients in the buffers. Networks have no part in single-hop scores and stay.
    fn update(&mut self, step: OptimizerStep) {
        let SingleTrainer { backend, weights, shape, buffers: b, .. } = self;
        let grads = Mat::new(&b.dtable, shape.entities, shape.entity);
        backend.optimize(step, grads, &mut weights.entities);
        let grads = Mat::new(&b.drelation_table, shape.relations, shape.relation);
        backend.optimize(step, grads, &mut weights.relations);
    }

    /// Gradients that the last batch left: of the entity table and of the relation table. For tests.
    pub fn last_gradients(&self) -> Result<[Vec<B::Scalar>; 2]> {
        let Shape { entities, entity, relations, relation, .. } = self.shape;
        let read = |buffer: &B::Buffer, len: usize| {
            let mut host = vec![B::Scalar::default(); len];
            self.backend.download(buffer, 0, &mut host).map(|()| host)
        };
        Ok([
            read(&self.buffers.dtable, entities * entity)?,
            read(&self.buffers.drelation_table, relations * relation)?,
        ])
    }
}
