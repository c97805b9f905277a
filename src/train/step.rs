//! One training step: everything that happens to a batch on the device.

use super::clip::Clip;
use super::losses::Losses;
use crate::backend::{Backend, DeviceGroups, LossOptions, Mat, MatMut, Optimizer, OptimizerStep, Penalty};
use crate::config::{Config, QueryWeighting};
use crate::error::Result;
use crate::model::{Embedder, Model, Weights, penalty};
use crate::query::Plan;
use crate::sampler::Pooling;
use crate::sampler::{Batch, Groups};

/// A model in training, with all buffers for batches of one plan.
///
/// A step gathers the batch's rows, embeds the queries, scores them against their positives and the
/// pool, and carries the loss's gradient back to rows and networks; every row that the batch touched is
/// updated once, by the optimizer on the sum of its gradients.
pub struct Trainer<B: Backend> {
    backend: B,
    model: Box<dyn Model<B>>,
    /// The tables that are trained.
    pub weights: Weights<B>,
    embedder: Embedder<B>,
    options: StepOptions,
    shape: Shape,
    buffers: Buffers<B>,
    query_weights: Vec<B::Scalar>,
    regulariser: Option<Regulariser<B>>,
    /// The loss of each query; where there is a regulariser, then the penalty of each row that it sees.
    losses: Losses<B>,
    clip: Option<Clip<B>>,
    /// Distinct entities and relations of the batch at hand.
    distinct: [usize; 2],
}

/// What large numbers of the rows of a batch cost.
struct Regulariser<B: Backend> {
    penalty: Penalty,
    /// The weight of each regularised entity, then of each relation use: the configuration's over the number of queries.
    weights: B::Buffer,
}

/// Gradients on the host: of entity uses, of relation uses, of each dense parameter.
pub type Gradients<T> = (Vec<T>, Vec<T>, Vec<Vec<T>>);

/// What of the configuration a step needs.
#[derive(Clone, Copy, Debug)]
struct StepOptions {
    loss: LossOptions,
    weighting: QueryWeighting,
    optimizer: Optimizer,
    /// Of the rate of rows, that of networks.
    network_rate: f64,
}

/// Rows of everything.
#[derive(Clone, Copy, Debug)]
struct Shape {
    queries: usize,
    roots: usize,
    /// Candidates of a query.
    pool: usize,
    sharing: Pooling,
    leaves: usize,
    uses: usize,
    /// Leaves, then positives, then the pool, or the queries' own pools one after the other.
    rows: usize,
}

impl Shape {
    /// What can be regularised: leaves, positives and relation uses.
    fn penalties(&self) -> usize {
        self.leaves + self.queries + self.uses
    }

    /// What each of them counts.
    fn penalty_weights<B: Backend>(&self, backend: &B, config: &Config) -> Result<B::Buffer> {
        let mut weights = backend.zeros(self.penalties())?;
        let entity_uses = self.leaves + self.queries;
        for (first, count, weight) in [
            (0, entity_uses, config.model.regularise_entities),
            (entity_uses, self.uses, config.model.regularise_relations),
        ] {
            let weight = B::scalar(f64::from(weight) / self.queries as f64);
            backend.upload(&vec![weight; count], &mut weights, first)?;
        }
        Ok(weights)
    }
}

/// What each query of a batch counts; together 1.
pub fn query_weights(batch: &Batch, weighting: QueryWeighting) -> impl Iterator<Item = f64> {
    let weight = move |answers: &f32| match weighting {
        QueryWeighting::Answers => 1.0 / f64::from(answers + 1.0).sqrt(),
        QueryWeighting::Uniform => 1.0,
    };
    let total: f64 = batch.num_answers.iter().map(weight).sum();
    batch.num_answers.iter().map(move |answers| weight(answers) / total)
}

struct Buffers<B: Backend> {
    entity_rows: B::Index,
    relation_rows: B::Index,
    entity_groups: DeviceGroups<B>,
    relation_groups: DeviceGroups<B>,
    root_offsets: B::Index,
    mask: B::Index,
    entities: B::Buffer,
    dentities: B::Buffer,
    relations: B::Buffer,
    drelations: B::Buffer,
    queries: B::Buffer,
    dqueries: B::Buffer,
    scores: B::Buffer,
    weights: B::Buffer,
    positives: B::Buffer,
    dpositives: B::Buffer,
    query_weights: B::Buffer,
    dense: Vec<B::Buffer>,
}

impl<B: Backend> Trainer<B> {
    /// Allocates everything. `weights` must have room for moments.
    pub fn new(
        backend: B,
        model: Box<dyn Model<B>>,
        weights: Weights<B>,
        plan: &Plan,
        config: &Config,
    ) -> Result<Self> {
        let embedder = Embedder::new(&backend, &*model, plan, true)?;
        let pool = config.sampling.negatives;
        let shape = Shape {
            queries: plan.num_queries,
            roots: plan.roots.len(),
            pool,
            sharing: config.sampling.pool,
            leaves: plan.leaf_anchors.len(),
            uses: plan.relation_uses.len(),
            rows: plan.leaf_anchors.len()
                + plan.num_queries
                + config.sampling.num_negatives(plan.num_queries),
        };
        let widths = model.widths();
        let groups = || -> Result<DeviceGroups<B>> {
            let empty = || backend.index(&[]);
            Ok(DeviceGroups { ids: empty()?, offsets: empty()?, members: empty()? })
        };
        let regulariser = match penalty(&*model, config.regulariser())? {
            Some(penalty) => Some(Regulariser { penalty, weights: shape.penalty_weights(&backend, config)? }),
            None => None,
        };
        let penalties = regulariser.as_ref().map(|_| shape.penalties());
        let losses = Losses::new(&backend, [shape.queries].into_iter().chain(penalties).collect())?;
        let buffers = Buffers {
            entity_rows: backend.index(&[])?,
            relation_rows: backend.index(&[])?,
            entity_groups: groups()?,
            relation_groups: groups()?,
            root_offsets: backend.index(&plan.root_offsets)?,
            mask: backend.index(&[])?,
            entities: backend.zeros(shape.rows * widths.entity)?,
            dentities: backend.zeros(shape.rows * widths.entity)?,
            relations: backend.zeros(shape.uses * widths.relation)?,
            drelations: backend.zeros(shape.uses * widths.relation)?,
            queries: backend.zeros(shape.roots * widths.query)?,
            dqueries: backend.zeros(shape.roots * widths.query)?,
            scores: backend.zeros(shape.roots * pool)?,
            weights: backend.zeros(shape.roots * pool)?,
            positives: backend.zeros(shape.roots)?,
            dpositives: backend.zeros(shape.roots)?,
            query_weights: backend.zeros(shape.queries)?,
            dense: model.dense().iter().map(|s| backend.zeros(s.rows * s.cols)).collect::<Result<_>>()?,
        };
        let dense: usize = model.dense().iter().map(|s| s.rows).sum();
        let clip = Clip::new(&backend, config.training.clip_norm, shape.rows + shape.uses + dense)?;
        Ok(Trainer {
            backend,
            model,
            weights,
            embedder,
            options: StepOptions {
                loss: config.training.pool_loss(),
                weighting: config.training.query_weighting(),
                optimizer: config.training.optimizer,
                network_rate: config.training.network_rate,
            },
            shape,
            buffers,
            query_weights: vec![B::Scalar::default(); plan.num_queries],
            regulariser,
            losses,
            clip,
            distinct: [0; 2],
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

    /// One step of the optimizer on a batch: `step` counts from 1. Its loss waits for [`Trainer::losses`], which must be
    /// called at the latest when [`Trainer::is_full`].
    pub fn step(&mut self, batch: &Batch, learning_rate: f64, step: u64) -> Result<()> {
        self.gradients(batch)?;
        let StepOptions { optimizer, network_rate, .. } = self.options;
        let steps = optimizer.steps(learning_rate, network_rate, step);
        self.update(steps);
        Ok(())
    }

    /// Whether no more losses fit.
    pub fn is_full(&self) -> bool {
        self.losses.is_full()
    }

    /// The losses of all batches that were not given yet, in order; waits for the device.
    ///
    /// A loss is the weighted mean over the batch's queries (see [`Backend::loss`]) plus what the regulariser adds.
    pub fn losses(&mut self) -> Result<Vec<f64>> {
        self.losses.read(&self.backend)
    }

    /// As [`Trainer::losses`], a window late: without those since the last call, so that nobody waits.
    pub fn earlier_losses(&mut self) -> Result<Vec<f64>> {
        self.losses.read_late(&self.backend)
    }

    /// Steps whose losses were not given.
    pub fn unread(&self) -> usize {
        self.losses.unread()
    }

    /// Leaves the gradients of a batch in the buffers, and its loss for [`Trainer::losses`].
    pub fn gradients(&mut self, batch: &Batch) -> Result<()> {
        self.losses.begin();
        self.upload(batch)?;
        let Trainer { backend, model, weights, embedder, options, shape, buffers: b, .. } = self;
        let (model, widths, scoring) = (&**model, model.widths(), model.scoring());
        let Shape { queries, roots, pool, sharing, leaves, uses, rows } = *shape;
        let first_negative = leaves + queries;
        let num_negatives = rows - first_negative;

        backend.gather(
            weights.entities.mat(),
            &b.entity_rows,
            MatMut::new(&mut b.entities, rows, widths.entity),
        );
        let relations = MatMut::new(&mut b.relations, uses, widths.relation);
        backend.gather(weights.relations.mat(), &b.relation_rows, relations);
        let entities = Mat::new(&b.entities, rows, widths.entity);
        let relations = Mat::new(&b.relations, uses, widths.relation);
        let (positives, negatives) =
            (entities.rows(leaves, queries), entities.rows(first_negative, num_negatives));

        let dense = weights.dense_mats();
        let out = MatMut::new(&mut b.queries, roots, widths.query);
        embedder.forward(backend, model, &dense, entities.rows(0, leaves), relations, out);
        let embedded = Mat::new(&b.queries, roots, widths.query);
        let out = MatMut::new(&mut b.scores, roots, pool);
        match sharing {
            Pooling::Shared => backend.scores(scoring, embedded, negatives, out),
            Pooling::Own => backend.own_scores(scoring, embedded, negatives, &b.root_offsets, out),
        }
        let out = MatMut::new(&mut b.positives, roots, 1);
        backend.own_scores(scoring, embedded, positives, &b.root_offsets, out);
        backend.loss(
            options.loss,
            &b.root_offsets,
            Mat::new(&b.positives, 1, roots),
            Mat::new(&b.scores, roots, pool),
            &b.mask,
            Batch::words_per_query(pool) * 2,
            Mat::new(&b.query_weights, 1, queries),
            self.losses.part(0),
            MatMut::new(&mut b.dpositives, 1, roots),
            MatMut::new(&mut b.weights, roots, pool),
        );

        let (scores, weights_of_scores) =
            (Mat::new(&b.scores, roots, pool), Mat::new(&b.weights, roots, pool));
        let mut dqueries = MatMut::new(&mut b.dqueries, roots, widths.query);
        let dnegatives =
            MatMut::new(&mut b.dentities, rows, widths.entity).rows(first_negative, num_negatives);
        match sharing {
            Pooling::Shared => backend.scores_backward(
                scoring,
                embedded,
                negatives,
                scores,
                weights_of_scores,
                dqueries,
                dnegatives,
            ),
            Pooling::Own => {
                backend.fill(0.0, dqueries.again());
                backend.own_scores_backward(
                    scoring,
                    embedded,
                    negatives,
                    &b.root_offsets,
                    scores,
                    weights_of_scores,
                    dqueries,
                    dnegatives,
                );
            }
        }
        backend.own_scores_backward(
            scoring,
            embedded,
            positives,
            &b.root_offsets,
            Mat::new(&b.positives, roots, 1),
            Mat::new(&b.dpositives, roots, 1),
            MatMut::new(&mut b.dqueries, roots, widths.query),
            MatMut::new(&mut b.dentities, rows, widths.entity).rows(leaves, queries),
        );
        for (gradient, table) in b.dense.iter_mut().zip(&weights.dense) {
            backend.fill(0.0, MatMut::new(gradient, table.rows, table.cols));
        }
        embedder.backward(
            backend,
            model,
            &dense,
            relations,
            Mat::new(&b.dqueries, roots, widths.query),
            MatMut::new(&mut b.dentities, rows, widths.entity).rows(0, leaves),
            MatMut::new(&mut b.drelations, uses, widths.relation),
            &mut b.dense,
        );

        if let Some(Regulariser { penalty, weights }) = &self.regulariser {
            let row_weights = Mat::new(weights, 1, shape.penalties());
            // Anchors and positives stand before the pool.
            let grads = MatMut::new(&mut b.dentities, rows, widths.entity).rows(0, first_negative);
            backend.penalise(
                *penalty,
                row_weights.columns(0, first_negative),
                entities.rows(0, first_negative),
                grads,
                self.losses.part(1).columns(0, first_negative),
            );
            let grads = MatMut::new(&mut b.drelations, uses, widths.relation);
            backend.penalise(
                *penalty,
                row_weights.columns(first_negative, uses),
                relations,
                grads,
                self.losses.part(1).columns(first_negative, uses),
            );
        }
        Ok(())
    }

    /// Copies what the batch brings to the device.
    fn upload(&mut self, batch: &Batch) -> Result<()> {
        let Trainer { backend, buffers: b, query_weights, options, distinct, .. } = self;
        *distinct = [batch.entity_groups.ids.len(), batch.relation_groups.ids.len()];
        backend.set_index(&batch.entity_rows, &mut b.entity_rows)?;
        backend.set_index(&batch.relation_rows, &mut b.relation_rows)?;
        let groups =
            [(&batch.entity_groups, &mut b.entity_groups), (&batch.relation_groups, &mut b.relation_groups)];
        for (from, to) in groups {
            let Groups { ids, offsets, members } = from;
            backend.set_index(ids, &mut to.ids)?;
            backend.set_index(offsets, &mut to.offsets)?;
            backend.set_index(members, &mut to.members)?;
        }
        // Little-endian words of 64 bits are pairs of words of 32.
        backend.set_index(bytemuck::cast_slice(&batch.mask), &mut b.mask)?;
        for (to, weight) in query_weights.iter_mut().zip(self::query_weights(batch, options.weighting)) {
            *to = B::scalar(weight);
        }
        backend.replace(query_weights, &mut b.query_weights)
    }

    /// One step of the optimizer from the gradients in the buffers.
    fn update(&mut self, [rows_step, networks_step]: [OptimizerStep; 2]) {
        let Trainer { backend, model, weights, shape, buffers: b, clip, distinct, .. } = self;
        let widths = model.widths();
        if let Some(clip) = clip {
            let grads = Mat::new(&b.dentities, shape.rows, widths.entity);
            clip.add_groups(backend, &b.entity_groups, distinct[0], grads);
            let grads = Mat::new(&b.drelations, shape.uses, widths.relation);
            clip.add_groups(backend, &b.relation_groups, distinct[1], grads);
            for (table, gradient) in weights.dense.iter().zip(&b.dense) {
                clip.add_rows(backend, Mat::new(gradient, table.rows, table.cols));
            }
            clip.work_out(backend);
            clip.scale(backend, MatMut::new(&mut b.dentities, shape.rows, widths.entity));
            clip.scale(backend, MatMut::new(&mut b.drelations, shape.uses, widths.relation));
            for (table, gradient) in weights.dense.iter().zip(&mut b.dense) {
                clip.scale(backend, MatMut::new(gradient, table.rows, table.cols));
            }
        }
        let grads = Mat::new(&b.dentities, shape.rows, widths.entity);
        backend.optimize_rows(rows_step, &b.entity_groups, grads, &mut weights.entities);
        let grads = Mat::new(&b.drelations, shape.uses, widths.relation);
        backend.optimize_rows(rows_step, &b.relation_groups, grads, &mut weights.relations);
        for (table, gradient) in weights.dense.iter_mut().zip(&b.dense) {
            let (rows, cols) = (table.rows, table.cols);
            backend.optimize(networks_step, Mat::new(gradient, rows, cols), table);
        }
    }

    /// Gradients that the last batch left: of every use of an entity and of a relation, and of the
    /// dense parameters. For tests.
    pub fn last_gradients(&self) -> Result<Gradients<B::Scalar>> {
        let widths = self.model.widths();
        let read = |buffer: &B::Buffer, len: usize| {
            let mut host = vec![B::Scalar::default(); len];
            self.backend.download(buffer, 0, &mut host).map(|()| host)
        };
        let dense = self.buffers.dense.iter().zip(&self.weights.dense);
        Ok((
            read(&self.buffers.dentities, self.shape.rows * widths.entity)?,
            read(&self.buffers.drelations, self.shape.uses * widths.relation)?,
            dense.map(|(b, t)| read(b, t.rows * t.cols)).collect::<Result<_>>()?,
        ))
    }

    /// The losses of a step's queries, in the order of the mix: of step `index` of those that were given last.
    pub fn query_losses(&self, index: usize) -> Vec<f64> {
        self.losses.first_part(index).collect()
    }
}
