//! Whether a run's loss diverges, and which tensor first became NaN.

use super::learner::Learner;
use super::monitor::LossWatch;
use super::objective::Work;
use crate::backend::{Backend, Number};
use crate::error::{Error, Result};
use crate::graph::KnowledgeGraph;
use crate::ids::RelationId;
use crate::model::{Model, Weights};
use crate::query::Mix;
use crate::table::count;

/// The losses of the steps up to `step` that were not given yet, each added to `watch`; with `late` without those of the
/// last window, so that nobody waits for the device.
///
/// Errors with [`Error::Training`] at the first that is not finite, with where it came from, and at the first that
/// makes the loss diverge. Whoever saves asks for the losses before, so what is saved is from before that.
pub(super) fn losses<B: Backend>(
    learner: &mut Learner<B>,
    work: &Work,
    graph: &KnowledgeGraph,
    factor: f64,
    step: u64,
    late: bool,
    watch: &mut Option<LossWatch>,
) -> Result<Vec<f64>> {
    let losses = if late { learner.step.earlier_losses()? } else { learner.step.losses()? };
    let before = step - (learner.step.unread() + losses.len()) as u64;
    for (index, &loss) in losses.iter().enumerate() {
        let of = before + 1 + index as u64;
        if !loss.is_finite() {
            let part = match work {
                Work::Queries { mix, .. } => {
                    format!("; {}", broken_part(mix, &learner.step.query_losses(index)))
                }
                Work::OneVsAll(_) => String::new(),
            };
            let row = broken_row(learner.step.backend(), learner.step.model(), &learner.step.weights, graph)?;
            let row = row.map(|row| format!("; after step {step} {row}")).unwrap_or_default();
            return Err(Error::Training(format!("the loss of step {of} is {loss}{part}{row}")));
        }
        LossWatch::add(watch, loss);
        if let Some(LossWatch { first, mean, best }) = watch.filter(|watch| watch.diverges(factor)) {
            return Err(Error::Training(format!(
                "the loss diverges: at step {of} it is {mean:.4} (smoothed), after {best:.4} at best and {first:.4} at \
                 the start (training.divergence_factor = {factor})"
            )));
        }
    }
    Ok(losses)
}

/// Which part of a batch has a loss that is no number: the structures of `mix`, whose queries have `losses`, in the
/// order of the mix.
fn broken_part(mix: &Mix, losses: &[f64]) -> String {
    let mut first = 0;
    let broken = mix.parts.iter().filter_map(|(structure, queries)| {
        let theirs = &losses[first..first + queries];
        first += queries;
        let broken = theirs.iter().filter(|loss| !loss.is_finite()).count();
        (broken > 0).then(|| format!("{} of {} of {structure}", count(broken), count(*queries)))
    });
    let broken: Vec<String> = broken.collect();
    match broken.is_empty() {
        true => "every query's own is finite, so it is the sum or the regularisation".into(),
        false => format!("of the queries it is {}", broken.join(", ")),
    }
}

/// Numbers that are copied from the device at once.
const BLOCK: usize = 1 << 18;

/// The first row of a table that holds a number which is not finite, in words; `None` where all are finite. Rows in
/// a file are left out. Reads every table once.
fn broken_row<B: Backend>(
    backend: &B,
    model: &dyn Model,
    weights: &Weights<B>,
    graph: &KnowledgeGraph,
) -> Result<Option<String>> {
    for (name, table) in weights.named(model).into_iter().filter(|(_, table)| !table.interleaved) {
        let numbers = table.rows * table.cols;
        for first in (0..numbers).step_by(BLOCK) {
            let mut host = vec![B::Scalar::default(); BLOCK.min(numbers - first)];
            backend.download(&table.values, first, &mut host)?;
            let mut values = host.into_iter().map(B::Scalar::value).enumerate();
            if let Some((at, value)) = values.find(|(_, value)| !value.is_finite()) {
                let row = (first + at) / table.cols;
                return Ok(Some(format!(
                    "row {} of {name}{} holds {value}",
                    count(row),
                    named(&name, row, graph)
                )));
            }
        }
    }
    Ok(None)
}

/// ` (NAME)` of a row of entities or relations.
fn named(table: &str, row: usize, graph: &KnowledgeGraph) -> String {
    let relation = RelationId(row as u32);
    let text = match table {
        "entities" => graph.entities().name(row as u32),
        "relations" if relation.is_inverse() => format!("^{}", graph.relations().name(relation.0 / 2)),
        "relations" => graph.relations().name(relation.0 / 2),
        _ => return String::new(),
    };
    format!(" ({})", text.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::parse::parse_structures;

    #[test]
    fn the_structures_of_broken_queries_are_named_with_their_numbers() {
        let mix = Mix::new(&parse_structures("1p.2i").unwrap(), 4).unwrap();
        assert_eq!(
            broken_part(&mix, &[1.0, 2.0, f64::NAN, f64::INFINITY]),
            "of the queries it is 2 of 2 of 2i"
        );
        assert!(broken_part(&mix, &[1.0; 4]).contains("regularisation"));
    }
}
