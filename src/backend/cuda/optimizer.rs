//! The optimizers. Kernels: `kernels/optimizer.cu`.

use super::Cuda;
use super::driver::Argument;
use super::memory::{RawMat, mat, mat_mut};
use crate::backend::{AdagradStep, DeviceGroups, MatMut, On, OptimizerStep, Parameters};
use crate::program::ops::optimizer::{Optimize, OptimizeRows, Optimizers};

/// Does an operation of the family.
pub fn run(cuda: &Cuda, op: Optimizers<On<Cuda>>) {
    match op {
        Optimizers::OptimizeRows(op) => optimize_rows(cuda, op),
        Optimizers::Optimize(op) => optimize(cuda, op),
    }
}

/// A step as kernels take it.
fn raw(step: OptimizerStep) -> Box<dyn Argument> {
    match step {
        OptimizerStep::Adam(s) => Box::new([s.rate, s.beta1, s.beta2, s.second_correction, s.epsilon]),
        OptimizerStep::Adagrad(s) | OptimizerStep::RowwiseAdagrad(s) => {
            let AdagradStep { rate, epsilon } = s;
            Box::new([rate, epsilon])
        }
        OptimizerStep::Sgd { rate } => Box::new(rate),
    }
}

/// Values and state.
fn tables(step: OptimizerStep, table: &mut Parameters<Cuda>) -> [RawMat; 3] {
    assert!(!table.interleaved, "only a mapped table is interleaved");
    assert_eq!(table.state, step.optimizer().state(table.cols), "the state of a table is its optimizer's");
    let (rows, cols, [first, second]) = (table.rows, table.cols, table.state);
    [(&mut table.values, cols), (&mut table.first, first), (&mut table.second, second)]
        .map(|(buffer, cols)| mat_mut(&mut MatMut::new(buffer, rows, cols)))
}

/// See [`OptimizeRows`].
fn optimize_rows(cuda: &Cuda, OptimizeRows { step, groups, grads, table }: OptimizeRows<On<Cuda>>) {
    let DeviceGroups { ids, offsets, members } = groups;
    assert_eq!(offsets.len(), ids.len() + 1);
    assert!(ids.len() <= table.rows);
    let (grads, [values, first, second]) = (mat(grads), tables(step, table));
    let touched = RawMat { rows: ids.len() as u32, ..values };
    let kernels = match step {
        OptimizerStep::Adam(_) => ["adam_rows1", "adam_rows4"],
        OptimizerStep::Adagrad(_) => ["adagrad_rows1", "adagrad_rows4"],
        OptimizerStep::RowwiseAdagrad(_) => ["rowwise_adagrad_rows"; 2],
        OptimizerStep::Sgd { .. } => ["sgd_rows1", "sgd_rows4"],
    };
    let (step_argument, ids, offsets, members) =
        (raw(step), ids.address(), offsets.address(), members.address());
    let arguments: [&dyn Argument; 9] =
        [&*step_argument, &touched.rows, &ids, &offsets, &members, &grads, &values, &first, &second];
    if let OptimizerStep::RowwiseAdagrad(_) = step {
        return cuda.launch(kernels[0], [(touched.rows as usize).div_ceil(8), 1, 1], 256, &arguments[..8]);
    }
    let wide = grads.is_wide() && values.is_wide() && first.is_wide() && second.is_wide();
    cuda.cells(kernels, wide, touched, &arguments);
}

/// See [`Optimize`].
fn optimize(cuda: &Cuda, Optimize { step, grads, table }: Optimize<On<Cuda>>) {
    let (grads, [values, first, second]) = (mat(grads), tables(step, table));
    let kernels = match step {
        OptimizerStep::Adam(_) => ["adam1", "adam4"],
        OptimizerStep::Adagrad(_) => ["adagrad1", "adagrad4"],
        OptimizerStep::RowwiseAdagrad(_) => ["rowwise_adagrad"; 2],
        OptimizerStep::Sgd { .. } => ["sgd1", "sgd4"],
    };
    let step_argument = raw(step);
    let arguments: [&dyn Argument; 5] = [&*step_argument, &grads, &values, &first, &second];
    if let OptimizerStep::RowwiseAdagrad(_) = step {
        return cuda.launch(kernels[0], [(values.rows as usize).div_ceil(8), 1, 1], 256, &arguments[..4]);
    }
    let wide = grads.is_wide() && values.is_wide() && first.is_wide() && second.is_wide();
    cuda.cells(kernels, wide, values, &arguments);
}
