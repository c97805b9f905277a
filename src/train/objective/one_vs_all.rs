//! Single-hop training against all entities (1vsAll, KvsAll): rows of scores, their losses, dense gradients.
//!
//! A row is a pair (head, relation): its query embedding is the head's, moved by the relation, and its scores are those of
//! all entities, as in evaluation. Every entity gets a gradient, so that the optimizer goes over whole tables.
//!
//! Scores are worked on in tiles of rows, so that their memory is bounded whatever the number of entities; a batch whose
//! scores fit is one tile.

use super::regularise::OfTables;
use super::relations::{Predicted, RelationPrediction};
use super::{At, Objective, TrainingBatch, Written, lists};
use crate::backend::{Backend, GroupLists, Workspace};
use crate::config::{Config, Loss, Objective as Kind};
use crate::error::{Error, Result};
use crate::model::{Hop, Model, ModelSpec};
use crate::program::ops::label_loss::{LabelLoss, LossOfLabels};
use crate::program::ops::optimizer::Update;
use crate::program::ops::rows::{AddGroups, CopyRows, DropOut, Fill, Gather, Scatter};
use crate::program::ops::score::{Scores, Scoring};
use crate::program::{DropoutId, Extent, Gradients, GroupsId, Idx, Program, SectionId, Symbol, Var};
use crate::sampler::{Groups, OneVsAllBatch, OneVsAllOptions, Unit};
use crate::train::losses::LossParts;
use crate::train::update::{self, Gradient};
use std::ops::Range;

/// Bytes of the scores of a tile, at most, where one row is not more already.
const TILE_BYTES: usize = 256 << 20;

/// What a configuration asks of the batches.
pub fn options(config: &Config) -> OneVsAllOptions {
    OneVsAllOptions {
        seed: config.training.seed,
        unit: if config.training.objective == Kind::KvsAll { Unit::Pair } else { Unit::Triple },
        batch_size: config.training.batch_size,
        direction: config.sampling.direction,
    }
}

/// The loss of a row.
fn label_loss(config: &Config) -> Result<LabelLoss> {
    let smoothing = config.training.label_smoothing;
    match config.training.loss() {
        Loss::CrossEntropy => Ok(LabelLoss::CrossEntropy { smoothing }),
        Loss::Logistic => {
            Ok(LabelLoss::Logistic { smoothing, per_label: config.training.objective == Kind::OneVsAll })
        }
        Loss::Margin => Err(Error::invalid("training.loss = margin needs sampled negatives")),
    }
}

/// What of the program a batch is copied to.
struct OneVsAll {
    inputs: Inputs,
    sections: Sections,
    tile: Tile,
    relation_prediction: Option<RelationPrediction>,
    regulariser: Option<OfTables>,
    weigh: Weigh,
}

/// What a batch brings.
struct Inputs {
    rows: Symbol,
    /// Rows of relations in a batch: `rows`, or where rows share them, its relations.
    uses: Symbol,
    /// The most of each.
    max_rows: usize,
    head_rows: Idx,
    relation_rows: Idx,
    head_groups: GroupsId,
    relation_groups: GroupsId,
    /// Where rows share relations, `relation_groups` with the places of relations in `relation_rows`.
    shared: Option<GroupsId>,
    /// The heads' slots: 0, 1, ..
    slots: Idx,
    label_offsets: Idx,
    labels: Idx,
    row_weights: Var,
}

impl Inputs {
    fn declare(p: &mut Program, spec: &ModelSpec, max_rows: usize, num_relations: usize) -> Self {
        let rows = p.symbol(max_rows);
        let uses = if spec.shares_relations { p.symbol(max_rows.min(num_relations)) } else { rows };
        Inputs {
            rows,
            uses,
            max_rows,
            head_rows: p.index("heads", rows),
            relation_rows: p.index("relations", uses),
            head_groups: p.groups(max_rows),
            relation_groups: p.groups(max_rows),
            shared: spec.shares_relations.then(|| p.groups(max_rows)),
            slots: p.index("slots of heads", rows),
            label_offsets: p.index("rows of labels", Extent::from(rows).plus(1)),
            labels: p.growing_index("labels", max_rows),
            row_weights: p.kept("row weights", max_rows, 1),
        }
    }
}

/// What is dropped.
struct Dropouts {
    heads: Option<DropoutId>,
    relations: Option<DropoutId>,
    tails: Option<DropoutId>,
}

/// Drops from a matrix what is to be dropped.
fn drop_out(p: &mut Program, dropout: Option<DropoutId>, x: Var) {
    if let Some(dropout) = dropout {
        p.push(DropOut { dropout, x });
    }
}

/// The sections of a step, in order.
struct Sections {
    /// Queries.
    queries: SectionId,
    /// Scores, losses and gradients of the first tile, and of each further one.
    tiles: [SectionId; 2],
    /// Back to heads and relations.
    back: SectionId,
    /// To the tables.
    tables: SectionId,
}

/// Rows whose scores are in memory at once.
struct Tile {
    size: usize,
    first: Symbol,
    count: Symbol,
    /// Where its losses begin.
    losses: Symbol,
}

/// What the loss of a row is divided by.
#[derive(Clone, Copy)]
enum Weigh {
    /// The labels of the batch.
    Labels,
    /// The rows of the batch.
    Rows,
    /// The rows of the batch, and the labels of the row.
    RowsAndLabels,
}

/// Writes down the step on a graph of so many entities and directed relations.
pub fn write<B: Backend>(model: &dyn Model, tables: [usize; 2], config: &Config) -> Result<Written<B>> {
    write_tiled(model, tables, config, TILE_BYTES / (4 * tables[0].max(1)))
}

/// Queries on their way: heads, moved along relations.
struct Queried {
    heads: Var,
    relations: Var,
    /// The queries, as the score compares them.
    compared: Var,
    /// The operations between heads and these.
    embedding: Range<usize>,
}

/// As [`fn@write`], with the scores of at most `tile` rows in memory at once.
pub fn write_tiled<B: Backend>(
    model: &dyn Model,
    tables: [usize; 2],
    config: &Config,
    tile: usize,
) -> Result<Written<B>> {
    let ([num_entities, num_relations], spec) = (tables, model.spec());
    let max_rows = options(config).max_rows();
    let mut program = Program::new(spec.tables(num_entities, num_relations));
    let p = &mut program;
    let inputs = Inputs::declare(p, spec, max_rows, num_relations);
    let size = tile.clamp(1, max_rows);
    let penalty = crate::model::penalty(model, config.regulariser())?;
    let edges = match config.training.relation_prediction > 0.0 {
        true => RelationPrediction::edges_at_hand(model, tables, size),
        false => 0,
    };
    let penalties = if penalty.is_some() { num_entities + num_relations } else { 0 };
    let losses = LossParts::new(p, vec![max_rows, edges, penalties]);
    let (first, count, of_losses) = (p.symbol(max_rows), p.symbol(size), losses.symbol(p));
    let tile = Tile { size, first, count, losses: of_losses };
    let entity = config.model.dropout_entity;
    let dropouts = Dropouts {
        tails: p.dropout(entity, "dropout of tails", false),
        heads: p.dropout(entity, "dropout of heads", false),
        relations: p.dropout(config.model.dropout_relation, "dropout of relations", false),
    };

    let queries = p.section("queries");
    let queried = write_queries(p, model, &inputs, &dropouts);
    let tails = match dropouts.tails {
        Some(_) => {
            let tails = p.temporary("tails", num_entities, spec.widths.entity);
            p.push(CopyRows { from: p.values(0), out: tails });
            drop_out(p, dropouts.tails, tails);
            tails
        }
        None => p.values(0),
    };
    let begin = p.len();
    let candidates = model.compared_entities(p, tails);
    let comparing = begin..p.len();
    p.push(Fill { value: 0.0, out: losses.part(0) });
    let mut gradients = Gradients::default();
    let loss = label_loss(config)?;
    let mut one_tile = |p: &mut Program| {
        let begin = p.len();
        write_tile(p, spec.scoring, &inputs, &tile, (queried.compared, candidates), (loss, &losses));
        gradients.backward(p, begin..p.len());
    };
    // The first tile writes the gradient of the entities, the others add to it.
    let first_tile = p.section("first tile");
    one_tile(p);
    let further_tiles = p.repeated_section("further tiles");
    if size < max_rows {
        one_tile(p);
    }

    let back = p.section("back to heads and relations");
    gradients.backward(p, comparing);
    gradients.backward(p, queried.embedding.clone());
    let dheads = gradients.of(p, queried.heads).expect("queries depend on heads");
    let dtails = gradients.of(p, tails).expect("scores depend on entities");
    let drelations = gradients.of(p, queried.relations).expect("queries depend on relations");
    drop_out(p, dropouts.relations, drelations);
    let drelation_table = write_relation_gradient(p, &inputs, drelations);
    let relation_prediction = (edges > 0).then(|| {
        let (heads, losses) = (queried.heads, losses.part(1));
        let from = Predicted { heads, tails, dheads, dtails, drelation_table, losses, edges };
        RelationPrediction::write(p, model, config, from, &mut gradients)
    });

    let to_tables = p.section("to the tables");
    drop_out(p, dropouts.heads, dheads);
    drop_out(p, dropouts.tails, dtails);
    p.push(AddGroups { groups: inputs.head_groups, from: dheads, to: dtails });
    let of_tables = [dtails, drelation_table];
    let regulariser = penalty.map(|penalty| OfTables::write(p, penalty, of_tables, losses.part(2), config));

    let networks: Vec<(usize, Var)> = gradients.tables().filter(|&(table, _)| table >= 2).collect();
    let row = |(table, grads)| Gradient { table, grads, groups: None, step: Update::Rows };
    let all: Vec<Gradient> =
        of_tables.into_iter().enumerate().map(row).chain(update::of_networks(&networks)).collect();
    let update = update::write(p, config.training.clip_norm, &all);
    let sections = Sections { queries, tiles: [first_tile, further_tiles], back, tables: to_tables };
    let weigh = Weigh::of(config);
    let objective = OneVsAll { inputs, sections, tile, relation_prediction, regulariser, weigh };
    Ok(Written { program, losses, update, gradients: (of_tables, networks), objective: Box::new(objective) })
}

/// Heads and relations of the batch, and the queries.
fn write_queries(p: &mut Program, model: &dyn Model, inputs: &Inputs, dropouts: &Dropouts) -> Queried {
    let (widths, max_rows) = (model.spec().widths, inputs.max_rows);
    let heads = p.temporary("head rows", inputs.rows, widths.entity);
    p.push(Gather { table: p.values(0), rows: inputs.head_rows, out: heads });
    let relations = p.temporary("relation rows", inputs.uses, widths.relation);
    p.push(Gather { table: p.values(1), rows: inputs.relation_rows, out: relations });
    drop_out(p, dropouts.heads, heads);
    drop_out(p, dropouts.relations, relations);
    let begin = p.len();
    let slots = p.arena("slots", 2 * max_rows, widths.query);
    model.anchors(p, heads, slots.part(0, inputs.rows));
    let hop = Hop {
        slots,
        inputs: inputs.slots,
        output: max_rows.into(),
        count: inputs.rows.into(),
        relations,
        groups: inputs.shared,
        trains_single_hop: true,
    };
    model.project(p, hop);
    let queries = slots.part(max_rows, inputs.rows);
    let mut compared = model.compared_queries(p, queries);
    if compared != queries {
        // Tiles read some rows each.
        let rows = p.arena("compared queries", max_rows, compared.cols()).part(0, inputs.rows);
        p.push(CopyRows { from: compared, out: rows });
        compared = rows;
    }
    Queried { heads, relations, compared, embedding: begin..p.len() }
}

/// Scores of a tile with all entities, and their losses.
fn write_tile(
    p: &mut Program,
    kind: Scoring,
    inputs: &Inputs,
    tile: &Tile,
    (queries, entities): (Var, Var),
    (loss, losses): (LabelLoss, &LossParts),
) {
    let queries = queries.part(tile.first, tile.count);
    let num_entities = entities.rows().max();
    let scores = p.temporary("scores", tile.count, num_entities);
    p.push(Scores { kind, exact: false, queries, entities, out: scores });
    // Where the gradient is a product, it needs no scores.
    let mut derivatives = scores;
    if kind != Scoring::Dot {
        derivatives = p.temporary("d scores", tile.count, num_entities);
        p.push(CopyRows { from: scores, out: derivatives });
    }
    p.push(LossOfLabels {
        loss,
        offsets: inputs.label_offsets,
        labels: inputs.labels,
        first: tile.first.into(),
        row_weights: inputs.row_weights.part(tile.first, tile.count),
        scores: derivatives,
        losses: losses.rows(tile.losses, tile.count),
    });
}

/// The gradient of the relations' table from that of the batch's rows of relations.
fn write_relation_gradient(p: &mut Program, inputs: &Inputs, from: Var) -> Var {
    let table = p.values(1);
    let out = p.temporary("d relations", table.rows(), table.cols());
    p.push(Fill { value: 0.0, out });
    if inputs.shared.is_some() {
        // A row for each relation of the batch: nothing is to be added.
        p.push(Scatter { from, rows: inputs.relation_rows, out });
    } else {
        p.push(AddGroups { groups: inputs.relation_groups, from, to: out });
    }
    out
}

impl Weigh {
    fn of(config: &Config) -> Self {
        match config.training.objective {
            Kind::KvsAll if config.training.loss() == Loss::CrossEntropy => Weigh::RowsAndLabels,
            Kind::KvsAll => Weigh::Rows,
            _ => Weigh::Labels,
        }
    }
}

impl OneVsAll {
    /// Copies what a batch brings to the device.
    fn upload<B: Backend>(&self, at: &mut At<B>, batch: &OneVsAllBatch) -> Result<()> {
        let (backend, space, rows) = (at.backend, &mut *at.space, batch.rows());
        let Groups { ids, offsets, members } = &batch.relation_groups;
        space.set(self.inputs.rows, rows);
        space.set_index(backend, self.inputs.head_rows, &batch.heads)?;
        space.set_groups(backend, self.inputs.head_groups, lists(&batch.head_groups))?;
        space.set_groups(backend, self.inputs.relation_groups, lists(&batch.relation_groups))?;
        if let Some(shared) = self.inputs.shared {
            space.set(self.inputs.uses, ids.len());
            space.set_index(backend, self.inputs.relation_rows, ids)?;
            let places: Vec<u32> = (0..ids.len() as u32).collect();
            space.set_groups(backend, shared, GroupLists { ids: &places, offsets, members })?;
        } else {
            space.set_index(backend, self.inputs.relation_rows, &batch.relations)?;
        }
        space.set_index(backend, self.inputs.slots, &(0..rows as u32).collect::<Vec<_>>())?;
        space.set_index(backend, self.inputs.label_offsets, &batch.label_offsets)?;
        space.set_index(backend, self.inputs.labels, &batch.labels)?;
        let weight = |bounds: &[u32]| {
            let labels = f64::from(bounds[1] - bounds[0]);
            match self.weigh {
                Weigh::RowsAndLabels => 1.0 / (labels * rows as f64),
                Weigh::Rows => 1.0 / rows as f64,
                Weigh::Labels => 1.0 / batch.labels.len() as f64,
            }
        };
        space.replace(backend, self.inputs.row_weights, batch.label_offsets.windows(2).map(weight))?;
        if let Some((regulariser, weights)) =
            self.regulariser.as_ref().and_then(|r| Some((r, r.of_batch(batch)?)))
        {
            space.replace(backend, regulariser.row_weights, weights)?;
        }
        Ok(())
    }
}

impl<B: Backend> Objective<B> for OneVsAll {
    fn start(&mut self, backend: &B, space: &mut Workspace<B>) -> Result<()> {
        if let Some((regulariser, weights)) = self.regulariser.as_ref().and_then(|r| Some((r, r.of_all()?))) {
            space.replace(backend, regulariser.row_weights, weights)?;
        }
        Ok(())
    }

    fn gradients(&mut self, at: &mut At<B>, batch: TrainingBatch) -> Result<()> {
        let TrainingBatch::Pairs(batch) = batch else { panic!("this objective trains on pairs") };
        self.upload(at, batch)?;
        at.set_dropouts();
        at.run(self.sections.queries);
        for first in (0..batch.rows()).step_by(self.tile.size) {
            at.space.set(self.tile.first, first);
            at.space.set(self.tile.count, self.tile.size.min(batch.rows() - first));
            at.space.set(self.tile.losses, at.losses_begin + first);
            at.run(self.sections.tiles[usize::from(first > 0)]);
        }
        at.run(self.sections.back);
        if let Some(prediction) = &self.relation_prediction {
            prediction.run(at, batch)?;
        }
        at.run(self.sections.tables);
        Ok(())
    }
}
