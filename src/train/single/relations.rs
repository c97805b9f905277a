//! Relation prediction as a second objective (Chen, Minervini, Riedel and Stenetorp 2021): for each edge (h, r, t) of a
//! batch, the cross-entropy of r among all directed relations, given h and t.
//!
//! It needs a score `f(h, r, t)` that is linear in each of the three ([`Model::is_multilinear`]). Then there is a row
//! `g(h, t)` with `f(h, r, t) = <r, g(h, t)>`, and all that happens here is projections and matrix products:
//!
//! - `g` is what the backward pass of a projection writes to the relation's gradient where the query's gradient is t;
//! - the scores of all relations are `g` times their table, whose backward pass gives `dg`;
//! - `<dg, g(h, t)> = f(h, dg, t)`: the gradient of t is h moved along `dg`, and those of h and of a network are what
//!   the backward pass of that projection writes.

use super::{At, Gradients, Shape};
use crate::backend::{
    Activation, Backend, DeviceGroups, LabelLoss, LabelRows, Mat, MatMut, ProjectStep, Scoring,
};
use crate::error::Result;
use crate::model::{Model, Workspace, allocate};
use crate::sampler::{Groups, SingleBatch};

/// The objective, with its buffers.
pub(super) struct RelationPrediction<B: Backend> {
    weight: f64,
    shape: Shape,
    /// Of the edges at hand: the batch's rows, whose heads are theirs, and tails.
    heads: B::Index,
    tails: B::Index,
    head_groups: DeviceGroups<B>,
    tail_groups: DeviceGroups<B>,
    /// The heads' slots: 0, 1, ..
    inputs: B::Index,
    label_offsets: B::Index,
    labels: B::Index,
    /// Heads, then what they are moved to.
    slots: B::Buffer,
    /// The gradients of heads, then tails: the gradients of what the heads are moved to.
    dslots: B::Buffer,
    g: B::Buffer,
    dg: B::Buffer,
    work: Workspace<B>,
    /// Relation rows with dropout.
    table: B::Buffer,
    /// The relations' gradient from the edges at hand, to be added.
    dtable: B::Buffer,
    scores: B::Buffer,
    zeros: B::Buffer,
    row_weights: B::Buffer,
    edge_losses: B::Buffer,
    edges: Edges,
}

/// Rows as the first objective has them, with dropout.
pub(super) struct Rows<'a, B: Backend> {
    /// The head of each row of the batch.
    pub heads: Mat<'a, B::Buffer>,
    /// All entities.
    pub table: Mat<'a, B::Buffer>,
}

/// The edges of a batch, in its order.
#[derive(Default)]
struct Edges {
    /// The row of the batch.
    heads: Vec<u32>,
    relations: Vec<u32>,
    tails: Vec<u32>,
}

impl Edges {
    fn assign(&mut self, batch: &SingleBatch) {
        let Edges { heads, relations, tails } = self;
        [&mut *heads, &mut *relations, &mut *tails].into_iter().for_each(Vec::clear);
        for (row, bounds) in batch.label_offsets.windows(2).enumerate() {
            let edges = (bounds[1] - bounds[0]) as usize;
            heads.extend(std::iter::repeat_n(row as u32, edges));
            relations.extend(std::iter::repeat_n(batch.relations[row], edges));
        }
        tails.extend(&batch.labels);
    }
}

/// Bytes of the rows `g` of the edges at hand and of the workspace, at most: rows of relations can be matrices.
const EDGE_BYTES: usize = 64 << 20;

/// Edges at hand, of a step whose tiles have so many rows. A pair (head, relation) can have any number of tails.
pub(super) fn edges_at_hand<B: Backend>(model: &dyn Model<B>, tile: usize) -> usize {
    let of_edge = model.widths().relation + model.project_workspace(1, 1, true).iter().sum::<usize>();
    tile.min(EDGE_BYTES / (4 * of_edge)).max(1)
}

/// Lengths of the buffers, besides the workspace of the projections.
fn lengths(shape: &Shape) -> [usize; 10] {
    let Shape { edges, relations, relation, query, copies_relations, .. } = *shape;
    let table = relations * relation;
    let (slots, rows) = (2 * edges * query, edges * relation);
    let copy = if copies_relations { table } else { 0 };
    [slots, slots, rows, rows, copy, table, edges * relations, relations, edges, edges]
}

/// Numbers of the buffers; none where the shape has no edges at hand.
pub(super) fn numbers<B: Backend>(model: &dyn Model<B>, shape: &Shape) -> usize {
    if shape.edges == 0 {
        return 0;
    }
    let workspace: usize = model.project_workspace(shape.edges, shape.edges, true).iter().sum();
    lengths(shape).iter().sum::<usize>() + workspace
}

impl<B: Backend> RelationPrediction<B> {
    /// Allocates everything; `None` where the shape has no edges at hand.
    pub fn new(backend: &B, model: &dyn Model<B>, shape: &Shape, weight: f64) -> Result<Option<Self>> {
        if shape.edges == 0 {
            return Ok(None);
        }
        assert!(model.is_multilinear() && shape.entity == shape.query, "the plan refuses other models");
        let [slots, dslots, g, dg, table, dtable, scores, zeros, row_weights, edge_losses] = lengths(shape);
        let index = || backend.index(&[]);
        let groups =
            || -> Result<_> { Ok(DeviceGroups { ids: index()?, offsets: index()?, members: index()? }) };
        Ok(Some(RelationPrediction {
            weight,
            shape: *shape,
            heads: index()?,
            tails: index()?,
            head_groups: groups()?,
            tail_groups: groups()?,
            inputs: index()?,
            label_offsets: index()?,
            labels: index()?,
            slots: backend.zeros(slots)?,
            dslots: backend.zeros(dslots)?,
            g: backend.zeros(g)?,
            dg: backend.zeros(dg)?,
            work: allocate(backend, &model.project_workspace(shape.edges, shape.edges, true))?,
            table: backend.zeros(table)?,
            dtable: backend.zeros(dtable)?,
            scores: backend.zeros(scores)?,
            zeros: backend.zeros(zeros)?,
            row_weights: backend.zeros(row_weights)?,
            edge_losses: backend.zeros(edge_losses)?,
            edges: Edges::default(),
        }))
    }

    /// Adds the gradients of a batch; writes the losses of the edges at hand, added up over all that came to hand.
    pub fn add(
        &mut self,
        at: At<B>,
        batch: &SingleBatch,
        rows: Rows<B>,
        to: &mut Gradients<B>,
        mut losses: MatMut<B::Buffer>,
    ) -> Result<()> {
        self.edges.assign(batch);
        let (total, Shape { edges, relations, relation, query, .. }) = (self.edges.tails.len(), self.shape);
        let At { backend, weights, options, .. } = at;
        let dropout = at.drop(options.dropout_relation, "dropout of predicted relations");
        if let Some(dropout) = dropout {
            backend.copy(weights.relations.mat(), MatMut::new(&mut self.table, relations, relation));
            backend.dropout(dropout, MatMut::new(&mut self.table, relations, relation));
        }
        let row_weight = B::scalar(self.weight / total as f64);
        backend.replace(&vec![row_weight; edges.min(total)], &mut self.row_weights)?;
        backend.fill(0.0, losses.again());
        for first in (0..total).step_by(edges) {
            let count = edges.min(total - first);
            self.upload(backend, first, count)?;
            let heads = MatMut::new(&mut self.slots, 2 * count, query).rows(0, count);
            backend.gather(rows.heads, &self.heads, heads);
            let tails = MatMut::new(&mut self.dslots, 2 * count, query).rows(count, count);
            backend.gather(rows.table, &self.tails, tails);
            // Along zeros: `g` is the same along any row, and a network's gradient stays as it is.
            backend.fill(0.0, MatMut::new(&mut self.dg, count, relation));
            self.project_there_and_back(at, count, to.dense);
            self.score(at, count, losses.again());
            if let Some(dropout) = dropout {
                backend.dropout(dropout, MatMut::new(&mut self.dtable, relations, relation));
            }
            backend.add(Mat::new(&self.dtable, relations, relation), to.relations.again());
            self.project_there_and_back(at, count, to.dense);
            let dheads = Mat::new(&self.dslots, 2 * count, query).rows(0, count);
            backend.add_groups(&self.head_groups, dheads, to.heads.again());
            let dtails = Mat::new(&self.slots, 2 * count, query).rows(count, count);
            backend.add_groups(&self.tail_groups, dtails, to.entities.again());
        }
        Ok(())
    }

    /// Copies the edges `first..first + count` to the device.
    fn upload(&mut self, backend: &B, first: usize, count: usize) -> Result<()> {
        let Edges { heads, relations, tails } = &self.edges;
        let ends = [
            (heads, &mut self.heads, &mut self.head_groups),
            (tails, &mut self.tails, &mut self.tail_groups),
        ];
        for (from, rows, to) in ends {
            let mut groups = Groups::default();
            groups.assign(&from[first..first + count]);
            backend.set_index(&from[first..first + count], rows)?;
            backend.set_index(&groups.ids, &mut to.ids)?;
            backend.set_index(&groups.offsets, &mut to.offsets)?;
            backend.set_index(&groups.members, &mut to.members)?;
        }
        let numbers: Vec<u32> = (0..=count as u32).collect();
        backend.set_index(&numbers[..count], &mut self.inputs)?;
        backend.set_index(&numbers, &mut self.label_offsets)?;
        backend.set_index(&relations[first..first + count], &mut self.labels)
    }

    /// From `g`: the losses, `dg`, and the gradient of the relations' table.
    fn score(&mut self, at: At<B>, count: usize, losses: MatMut<B::Buffer>) {
        let (backend, Shape { relations, relation, .. }) = (at.backend, self.shape);
        let table = match at.options.dropout_relation > 0.0 {
            true => Mat::new(&self.table, relations, relation),
            false => at.weights.relations.mat(),
        };
        let g = Mat::new(&self.g, count, relation);
        let scores = MatMut::new(&mut self.scores, count, relations);
        backend.linear(g, table, Mat::new(&self.zeros, 1, relations), Activation::None, scores);
        backend.label_loss(
            LabelLoss::CrossEntropy { smoothing: 0.0 },
            LabelRows { offsets: &self.label_offsets, labels: &self.labels, first: 0 },
            Mat::new(&self.row_weights, 1, count),
            MatMut::new(&mut self.scores, count, relations),
            MatMut::new(&mut self.edge_losses, 1, count),
        );
        backend.add(Mat::new(&self.edge_losses, 1, count), losses.columns(0, count));
        let derivatives = Mat::new(&self.scores, count, relations);
        let dg = MatMut::new(&mut self.dg, count, relation);
        let dtable = MatMut::new(&mut self.dtable, relations, relation);
        backend.scores_backward(Scoring::Dot, g, table, derivatives, derivatives, dg, dtable);
    }

    /// Moves the heads along `dg`; from the tails as gradients of that, writes the gradients of heads and `g`.
    fn project_there_and_back(&mut self, at: At<B>, count: usize, ddense: &mut [B::Buffer]) {
        let (At { backend, model, .. }, Shape { relation, query, .. }) = (at, self.shape);
        let dense = at.weights.dense_mats();
        let step = || ProjectStep { inputs: &self.inputs, output: count, count, groups: None, key: None };
        let relations = Mat::new(&self.dg, count, relation);
        let slots = MatMut::new(&mut self.slots, 2 * count, query);
        model.project(backend, &dense, step(), relations, &mut self.work, slots);
        model.project_backward(
            backend,
            &dense,
            step(),
            Mat::new(&self.slots, 2 * count, query),
            relations,
            &mut self.work,
            MatMut::new(&mut self.dslots, 2 * count, query),
            MatMut::new(&mut self.g, count, relation),
            ddense,
        );
    }

    /// All that was allocated.
    #[cfg(test)]
    pub fn buffers(&self) -> Vec<&B::Buffer> {
        let RelationPrediction { slots, dslots, g, dg, work, table, dtable, scores, zeros, .. } = self;
        let rest = [&self.row_weights, &self.edge_losses];
        [slots, dslots, g, dg, table, dtable, scores, zeros].into_iter().chain(rest).chain(work).collect()
    }
}
