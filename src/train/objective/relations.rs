//! Relation prediction as a second objective (Chen, Minervini, Riedel and Stenetorp 2021): for each edge (h, r, t) of a
//! batch, the cross-entropy of r among all directed relations, given h and t.
//!
//! It needs a score `f(h, r, t)` that is linear in each of the three ([`ModelSpec::is_multilinear`](crate::model::ModelSpec)).
//! Then there is a row `g(h, t)` with `f(h, r, t) = <r, g(h, t)>`, and all that happens here is projections and matrix
//! products:
//!
//! - `g` is the gradient of a projection's relation where the gradient of the query is t;
//! - the scores of all relations are `g` times their table, whose gradient gives `dg`;
//! - `<dg, g(h, t)> = f(h, dg, t)`: the gradient of t is h moved along `dg`, and those of h and of a network are the
//!   gradients of that projection.

use super::{At, lists};
use crate::backend::Backend;
use crate::config::Config;
use crate::error::Result;
use crate::model::{Hop, Model};
use crate::program::ops::label_loss::{LabelLoss, LossOfLabels};
use crate::program::ops::linear::{Activation, Linear};
use crate::program::ops::rows::{Add, AddGroups, CopyRows, DropOut, Fill, Gather};
use crate::program::ops::score::{ScoresBackward, Scoring};
use crate::program::{DropoutId, Gradients, GroupsId, Idx, Program, SectionId, Symbol, Var};
use crate::sampler::{Groups, OneVsAllBatch};

/// What of the program the edges at hand are copied to.
pub struct RelationPrediction {
    weight: f64,
    /// Edges at hand, at most.
    edges: usize,
    /// Before the first edges at hand, and for those at hand.
    sections: [SectionId; 2],
    count: Symbol,
    heads: Idx,
    tails: Idx,
    head_groups: GroupsId,
    tail_groups: GroupsId,
    /// The heads' slots: 0, 1, ..
    inputs: Idx,
    label_offsets: Idx,
    labels: Idx,
    row_weights: Var,
}

/// What the first objective has worked out.
pub struct Predicted {
    /// The head of each row of the batch, with dropout.
    pub heads: Var,
    /// All entities, with dropout.
    pub tails: Var,
    /// Gradients of both, to be added to.
    pub dheads: Var,
    /// The same.
    pub dtails: Var,
    /// The gradient of the relations' table, to be added to.
    pub drelation_table: Var,
    /// The losses of the edges at hand, added up over all that come to hand.
    pub losses: Var,
    /// Edges at hand, at most.
    pub edges: usize,
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
    fn of(batch: &OneVsAllBatch) -> Self {
        let mut edges = Edges { tails: batch.labels.clone(), ..Edges::default() };
        for (row, bounds) in batch.label_offsets.windows(2).enumerate() {
            let count = (bounds[1] - bounds[0]) as usize;
            edges.heads.extend(std::iter::repeat_n(row as u32, count));
            edges.relations.extend(std::iter::repeat_n(batch.relations[row], count));
        }
        edges
    }
}

/// Bytes of the rows `g` of the edges at hand and of what a projection keeps, at most: rows of relations can be matrices.
const EDGE_BYTES: usize = 64 << 20;

impl RelationPrediction {
    /// Edges at hand, of a step whose tiles have so many rows. A pair (head, relation) can have any number of tails.
    pub fn edges_at_hand(model: &dyn Model, tables: [usize; 2], tile: usize) -> usize {
        let of_edge = model.spec().widths.relation + kept_by_a_hop(model, tables);
        tile.min(EDGE_BYTES / (4 * of_edge)).max(1)
    }

    /// Writes it down; networks' gradients are added to those that there are.
    pub fn write(
        program: &mut Program,
        model: &dyn Model,
        config: &Config,
        from: Predicted,
        gradients: &mut Gradients,
    ) -> Self {
        let (p, edges, widths) = (program, from.edges, model.spec().widths);
        assert!(
            model.spec().is_multilinear && widths.entity == widths.query,
            "the plan refuses other models"
        );
        let count = p.symbol(edges);
        let (heads, tails) = (p.index("heads of edges", count), p.index("tails of edges", count));
        let (head_groups, tail_groups) = (p.groups(edges), p.groups(edges));
        let inputs = p.index("slots of heads", count);
        let label_offsets = p.index("rows of labels", edges + 1);
        let labels = p.index("relations of edges", count);
        let row_weights = p.kept("weights of edges", edges, 1);
        let drop_relations =
            p.dropout(config.model.dropout_relation, "dropout of predicted relations", false);

        let before = p.section("before relations");
        let table = relations_with(p, drop_relations);
        let (num_relations, relation) = (table.rows(), widths.relation);
        p.push(Fill { value: 0.0, out: from.losses });

        let each = p.repeated_section("relations of edges");
        // Heads, then what they are moved to; the gradients of heads, then tails: the gradients of that.
        let slots = p.arena("slots of edges", 2 * edges, widths.query);
        let dslots = p.arena("d slots of edges", 2 * edges, widths.query);
        p.push(Gather { table: from.heads, rows: heads, out: slots.part(0, count) });
        p.push(Gather { table: from.tails, rows: tails, out: dslots.part(edges, count) });
        let mut there_and_back = |p: &mut Program, relations: Var| {
            let begin = p.len();
            let (output, count) = (edges.into(), count.into());
            model.project(
                p,
                Hop { slots, inputs, output, count, relations, groups: None, trains_single_hop: false },
            );
            let mut inner = gradients.of_networks();
            inner.is(slots, dslots);
            inner.backward(p, begin..p.len());
            let g = inner.of(p, relations).expect("a projection depends on its relation");
            gradients.take_networks(inner);
            g
        };
        // Along zeros: `g` is the same along any row, and a network's gradient stays as it is.
        let zeros = p.temporary("zeros", count, relation);
        p.push(Fill { value: 0.0, out: zeros });
        let g = there_and_back(p, zeros);
        let scores = p.temporary("scores of relations", count, num_relations.max());
        p.push(Linear { x: g, w: table, bias: None, f: Activation::None, out: scores });
        let edge_losses = p.temporary("losses of edges", count, 1);
        p.push(LossOfLabels {
            loss: LabelLoss::CrossEntropy { smoothing: 0.0 },
            offsets: label_offsets,
            labels,
            first: 0.into(),
            row_weights: row_weights.part(0, count),
            scores,
            losses: edge_losses,
        });
        p.push(Add { from: edge_losses, to: from.losses.part(0, count) });
        let dg = p.temporary("dg", count, relation);
        let dtable = p.temporary("d relations of edges", num_relations, relation);
        p.push(ScoresBackward {
            kind: Scoring::Dot,
            queries: g,
            entities: table,
            scores,
            weights: scores,
            dqueries: dg,
            dentities: dtable,
        });
        if let Some(dropout) = drop_relations {
            p.push(DropOut { dropout, x: dtable });
        }
        p.push(Add { from: dtable, to: from.drelation_table });
        there_and_back(p, dg);
        p.push(AddGroups { groups: head_groups, from: dslots.part(0, count), to: from.dheads });
        p.push(AddGroups { groups: tail_groups, from: slots.part(edges, count), to: from.dtails });

        RelationPrediction {
            weight: f64::from(config.training.relation_prediction),
            edges,
            sections: [before, each],
            count,
            heads,
            tails,
            head_groups,
            tail_groups,
            inputs,
            label_offsets,
            labels,
            row_weights,
        }
    }

    /// Adds the gradients of a batch.
    pub fn run<B: Backend>(&self, at: &mut At<B>, batch: &OneVsAllBatch) -> Result<()> {
        let edges = Edges::of(batch);
        let total = edges.tails.len();
        let row_weights = std::iter::repeat_n(self.weight / total as f64, self.edges.min(total));
        at.space.replace(at.backend, self.row_weights, row_weights)?;
        at.run(self.sections[0]);
        for first in (0..total).step_by(self.edges) {
            let range = first..total.min(first + self.edges);
            let numbers: Vec<u32> = (0..=range.len() as u32).collect();
            let (backend, space) = (at.backend, &mut *at.space);
            space.set(self.count, range.len());
            let ends =
                [(&edges.heads, self.heads, self.head_groups), (&edges.tails, self.tails, self.tail_groups)];
            for (from, rows, to) in ends {
                let mut groups = Groups::default();
                groups.assign(&from[range.clone()]);
                space.set_index(backend, rows, &from[range.clone()])?;
                space.set_groups(backend, to, lists(&groups))?;
            }
            space.set_index(backend, self.inputs, &numbers[..range.len()])?;
            space.set_index(backend, self.label_offsets, &numbers)?;
            space.set_index(backend, self.labels, &edges.relations[range])?;
            at.run(self.sections[1]);
        }
        Ok(())
    }
}

/// The table of relations, with dropout where there is some.
fn relations_with(p: &mut Program, dropout: Option<DropoutId>) -> Var {
    let relations = p.values(1);
    let Some(dropout) = dropout else { return relations };
    let table = p.temporary("relations with dropout", relations.rows(), relations.cols());
    p.push(CopyRows { from: relations, out: table });
    p.push(DropOut { dropout, x: table });
    table
}

/// Numbers that one hop of one query keeps for its gradient, beside slots and relations.
fn kept_by_a_hop(model: &dyn Model, [entities, relations]: [usize; 2]) -> usize {
    let spec = model.spec();
    let mut p = Program::new(spec.tables(entities, relations));
    let slots = p.arena("slots", 2, spec.widths.query);
    let relation = p.temporary("relation", 1, spec.widths.relation);
    let inputs = p.index("inputs", 1);
    let before = p.num_numbers();
    let (output, count) = (1.into(), 1.into());
    let hop =
        Hop { slots, inputs, output, count, relations: relation, groups: None, trains_single_hop: false };
    model.project(&mut p, hop);
    2 * (p.num_numbers() - before)
}
