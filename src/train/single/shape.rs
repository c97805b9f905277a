//! Sizes of the buffers of a step of single-hop training: known before anything is allocated.

use super::super::losses;
use super::options;
use super::relations::edges_at_hand;
use crate::backend::{Backend, Scoring};
use crate::config::{Config, Regulariser};
use crate::model::Model;

/// Bytes of the scores of a tile, at most, where one row is not more already.
const TILE_BYTES: usize = 256 << 20;

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
    pub(super) tiled: bool,
    /// Whether the backward pass needs the scores beside their derivatives.
    pub(super) keeps_scores: bool,
    /// Whether entity rows are dropped out, for which the table is copied.
    pub(super) copies_table: bool,
    /// Whether relation rows are dropped out where all are scored, for which that table is copied.
    pub(super) copies_relations: bool,
    /// Edges whose relations are predicted at once; 0 where relations are not.
    pub(super) edges: usize,
    pub(super) entity: usize,
    pub(super) relation: usize,
    pub(super) query: usize,
    /// Whether rows that share a relation share its row.
    pub(super) shares_relations: bool,
    /// Rows of relations in a batch at most.
    pub(super) relation_rows: usize,
    /// Numbers of the projection's workspace.
    workspace: usize,
    /// Numbers of the gradients of the projection's network.
    dense: usize,
    /// Rows that a regulariser sees; 0 where there is none.
    penalties: usize,
    /// Numbers of relation prediction.
    prediction: usize,
}

impl Shape {
    /// Of a model on a graph of so many entities and directed relations.
    pub fn new<B: Backend>(model: &dyn Model<B>, entities: usize, relations: usize, config: &Config) -> Self {
        Self::with_tile(model, entities, relations, config, TILE_BYTES / (4 * entities.max(1)))
    }

    /// With the scores of at most `tile` rows in memory at once.
    pub(super) fn with_tile<B: Backend>(
        model: &dyn Model<B>,
        entities: usize,
        relations: usize,
        config: &Config,
        tile: usize,
    ) -> Self {
        let (rows, widths) = (options(config).max_rows(), model.widths());
        let tile = tile.clamp(1, rows);
        let shares_relations = model.shares_relations();
        let relation_rows = if shares_relations { rows.min(relations) } else { rows };
        let predicts_relations = config.training.relation_prediction > 0.0;
        let regularised = config.regulariser() != Regulariser::None;
        let mut shape = Shape {
            rows,
            entities,
            relations,
            tile,
            tiled: tile < rows,
            keeps_scores: model.scoring() != Scoring::Dot,
            copies_table: config.model.dropout_entity > 0.0,
            copies_relations: predicts_relations && config.model.dropout_relation > 0.0,
            edges: if predicts_relations { edges_at_hand(model, tile) } else { 0 },
            entity: widths.entity,
            relation: widths.relation,
            query: widths.query,
            shares_relations,
            relation_rows,
            workspace: model.project_workspace(rows, relation_rows, true).iter().sum(),
            dense: model.dense()[model.projection_dense()].iter().map(|s| s.rows * s.cols).sum(),
            penalties: if regularised { entities + relations } else { 0 },
            prediction: 0,
        };
        shape.prediction = super::relations::numbers(model, &shape);
        shape
    }

    /// Losses of a step: of rows, of predicted relations, of the regulariser.
    pub(super) fn losses(&self) -> [usize; 3] {
        [self.rows, self.edges, self.penalties]
    }

    /// Numbers of all buffers.
    pub fn len(&self) -> usize {
        let table = self.entities * self.entity;
        table * (1 + usize::from(self.copies_table) + usize::from(self.tiled))
            + self.relations * self.relation
            + 2 * self.rows * (self.entity + 2 * self.query)
            + 2 * self.relation_rows * self.relation
            + self.workspace
            + self.dense
            + self.tile * self.entities * (1 + usize::from(self.keeps_scores))
            + self.entities
            + self.rows
            + losses::numbers(&self.losses())
            + self.penalties
            + self.prediction
    }

    /// Whether there is nothing to train.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
