//! A batch plan as operations: from rows of anchors and relations to query embeddings.

use super::{Hop, Model};
use crate::error::{Error, Result};
use crate::program::ops::rows::Gather;
use crate::program::{Program, Var};
use crate::query::Plan;
use crate::query::plan::Step;

/// Writes down the embedding of a plan's queries, as the score compares them: a row for each root, from anchor rows (`anchors x entity width`) and
/// relation rows (`uses x relation width`), both in the plan's order.
///
/// Errors where the model cannot express a step of the plan.
pub fn embed(
    program: &mut Program,
    model: &dyn Model,
    plan: &Plan,
    anchors: Var,
    relations: Var,
) -> Result<Var> {
    let spec = model.spec();
    let width = spec.widths.query;
    let slots = program.arena("slots", plan.num_slots, width);
    model.anchors(program, anchors, slots.part(0, plan.anchors.len()));
    for step in &plan.steps {
        match step {
            Step::Project { inputs, output, first_use } => {
                let count = inputs.len();
                let inputs = program.constant("inputs", inputs.clone());
                let hop = Hop {
                    slots,
                    inputs,
                    output: (*output as usize).into(),
                    count: count.into(),
                    relations: relations.part(*first_use as usize, count),
                    groups: None,
                    trains_single_hop: false,
                };
                model.project(program, hop);
            }
            Step::Negate { .. } if !spec.has_negation => {
                return Err(Error::invalid(format!("{} has no negation", spec.name)));
            }
            Step::Negate { inputs, output } => {
                let count = inputs.len();
                let x = program.temporary("to negate", count, width);
                let rows = program.constant("inputs", inputs.clone());
                program.push(Gather { table: slots, rows, out: x });
                model.negate(program, x, slots.part(*output as usize, count));
            }
            Step::Intersect { .. } if !spec.has_intersection => {
                return Err(Error::invalid(format!("{} has no intersection", spec.name)));
            }
            Step::Intersect { inputs, offsets, output } => {
                let count = offsets.len() - 1;
                let x = program.temporary("to intersect", inputs.len(), width);
                let rows = program.constant("inputs", inputs.clone());
                let offsets = program.constant("sets", offsets.clone());
                program.push(Gather { table: slots, rows, out: x });
                model.intersect(program, x, offsets, slots.part(*output as usize, count));
            }
        }
    }
    let queries = program.temporary("queries", plan.roots.len(), width);
    let rows = program.constant("roots", plan.roots.clone());
    program.push(Gather { table: slots, rows, out: queries });
    Ok(model.compared_queries(program, queries))
}
