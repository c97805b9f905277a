//! Steps of optimizers.

use super::range_of;
use crate::backend::{On, Reference};
use crate::backend::{OptimizerStep, Parameters};
use crate::program::ops::optimizer::{Optimize, OptimizeRows, Optimizers};

/// Does an operation of the family.
pub fn run(op: Optimizers<On<Reference>>) {
    match op {
        Optimizers::OptimizeRows(op) => optimize_rows(op),
        Optimizers::Optimize(op) => optimize(op),
    }
}

/// A step on row `i`.
fn update(step: OptimizerStep, gradient: &[f64], i: usize, table: &mut Parameters<Reference>) {
    assert!(!table.interleaved, "only a mapped table is interleaved");
    assert_eq!(table.state, step.optimizer().state(table.cols), "the state of a table is its optimizer's");
    let cols = table.cols;
    let mean = gradient.iter().map(|g| g * g).sum::<f64>() / cols as f64;
    if let OptimizerStep::RowwiseAdagrad(_) = step {
        table.first[i] += mean;
    }
    for (k, &g) in gradient.iter().enumerate() {
        let at = i * cols + k;
        table.values[at] -= match step {
            OptimizerStep::Adam(step) => {
                let [b1, b2, rate, correction, epsilon] =
                    [step.beta1, step.beta2, step.rate, step.second_correction, step.epsilon].map(f64::from);
                table.first[at] = b1 * table.first[at] + (1.0 - b1) * g;
                table.second[at] = b2 * table.second[at] + (1.0 - b2) * g * g;
                rate * table.first[at] / ((table.second[at] * correction).sqrt() + epsilon)
            }
            OptimizerStep::Adagrad(step) => {
                table.first[at] += g * g;
                f64::from(step.rate) * g / (table.first[at].sqrt() + f64::from(step.epsilon))
            }
            OptimizerStep::RowwiseAdagrad(step) => {
                f64::from(step.rate) * g / (table.first[i].sqrt() + f64::from(step.epsilon))
            }
            OptimizerStep::Sgd { rate } => f64::from(rate) * g,
        };
    }
}

/// See [`OptimizeRows`].
fn optimize_rows(OptimizeRows { step, groups, grads, table }: OptimizeRows<On<Reference>>) {
    for (g, &id) in groups.ids.iter().enumerate() {
        let members = &groups.members[range_of(&groups.offsets, g)];
        let sum = |k: usize| members.iter().map(|&m| grads.row(m as usize)[k]).sum();
        let gradient: Vec<f64> = (0..table.cols).map(sum).collect();
        update(step, &gradient, id as usize, table);
    }
}

/// See [`Optimize`].
fn optimize(Optimize { step, grads, table }: Optimize<On<Reference>>) {
    for i in 0..table.rows {
        update(step, grads.row(i), i, table);
    }
}
