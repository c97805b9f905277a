//! The optimizers: on the rows of a batch, and on whole tables.

use super::View;
use super::math::LANES;
use super::memory::Shared;
use crate::backend::{Cpu, DeviceGroups, MatMut, OptimizerStep, Parameters};
use rayon::prelude::*;

/// Rows per task.
const ROWS: usize = 16;

/// One step on a row.
#[inline(always)]
fn update(step: OptimizerStep, grads: &[f32], values: &mut [f32], first: &mut [f32], second: &mut [f32]) {
    match step {
        OptimizerStep::Adam(step) => {
            for (((g, p), m), v) in grads.iter().zip(values).zip(first).zip(second) {
                *m = step.beta1 * *m + (1.0 - step.beta1) * g;
                *v = step.beta2 * *v + (1.0 - step.beta2) * (g * g);
                *p -= step.rate * *m / ((*v * step.second_correction).sqrt() + step.epsilon);
            }
        }
        OptimizerStep::Adagrad(step) => {
            for ((g, p), sum) in grads.iter().zip(values).zip(first) {
                *sum += g * g;
                *p -= step.rate * g / (sum.sqrt() + step.epsilon);
            }
        }
        OptimizerStep::RowwiseAdagrad(step) => {
            first[0] += squares(grads) / grads.len() as f32;
            let rate = step.rate / (first[0].sqrt() + step.epsilon);
            grads.iter().zip(values).for_each(|(g, p)| *p -= rate * g);
        }
        OptimizerStep::Sgd { rate } => grads.iter().zip(values).for_each(|(g, p)| *p -= rate * g),
    }
}

/// The sum of the squares of a row, in [`LANES`] partial sums.
#[inline(always)]
fn squares(values: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    for chunk in values.chunks(LANES) {
        lanes.iter_mut().zip(chunk).for_each(|(lane, value)| *lane += value * value);
    }
    lanes.iter().sum()
}

/// A table's rows with the optimizer's state, written by several tasks at once.
enum Rows<'a> {
    /// Values, first and second state, with their columns.
    Apart([(Shared<'a>, usize); 3]),
    /// All three of a row side by side.
    Interleaved(Shared<'a>),
}

impl<'a> Rows<'a> {
    fn new(step: OptimizerStep, table: &'a mut Parameters<Cpu>) -> Self {
        let (rows, cols) = (table.rows, table.cols);
        let [first, second] = step.optimizer().state(cols);
        assert_eq!(table.state, [first, second], "the state of a table is its optimizer's");
        if table.interleaved {
            assert_eq!([first, second], [cols, cols], "a row in a file has two moments");
            return Rows::Interleaved(Shared::new(MatMut::new(&mut table.values, rows, 3 * cols)));
        }
        let shared = |(buffer, cols)| (Shared::new(MatMut::new(buffer, rows, cols)), cols);
        Rows::Apart(
            [(&mut table.values, cols), (&mut table.first, first), (&mut table.second, second)].map(shared),
        )
    }

    /// Values, first and second state of a row.
    ///
    /// # Safety
    /// No two tasks may have the same row at the same time.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    unsafe fn row(&self, row: usize, cols: usize) -> [&mut [f32]; 3] {
        match self {
            Rows::Apart(tables) => tables.each_ref().map(|(table, cols)| {
                // SAFETY: the three are different buffers, and the row is the caller's alone.
                unsafe { table.slice(row, 0, *cols) }
            }),
            Rows::Interleaved(table) => {
                // SAFETY: the row is the caller's alone, by this function's contract.
                let (values, moments) = unsafe { table.slice(row, 0, 3 * cols) }.split_at_mut(cols);
                let (first, second) = moments.split_at_mut(cols);
                [values, first, second]
            }
        }
    }
}

/// See [`Backend::optimize_rows`](crate::backend::Backend::optimize_rows).
pub fn optimize_rows(
    step: OptimizerStep,
    groups: &DeviceGroups<Cpu>,
    grads: View,
    table: &mut Parameters<Cpu>,
) {
    let cols = table.cols;
    assert_eq!((grads.cols, groups.offsets.len()), (cols, groups.ids.len() + 1));
    assert!(groups.ids.is_sorted_by(|a, b| a < b), "ids of groups ascend");
    let all = Rows::new(step, table);
    groups.ids.par_chunks(ROWS).enumerate().for_each_init(
        || vec![0f32; cols],
        |sum, (chunk, ids)| {
            pulp::Arch::new().dispatch(
                #[inline(always)]
                || {
                    for (i, &id) in ids.iter().enumerate() {
                        let group = chunk * ROWS + i;
                        let members = &groups.members
                            [groups.offsets[group] as usize..groups.offsets[group + 1] as usize];
                        let grads = if let [only] = members {
                            grads.row(*only as usize)
                        } else {
                            sum.fill(0.0);
                            for &member in members {
                                for (sum, g) in sum.iter_mut().zip(grads.row(member as usize)) {
                                    *sum += g;
                                }
                            }
                            &*sum
                        };
                        let row = id as usize;
                        // SAFETY: the ids of groups ascend (asserted above), so that each row has one task.
                        let [p, m, v] = unsafe { all.row(row, cols) };
                        update(step, grads, p, m, v);
                    }
                },
            );
        },
    );
}

/// See [`Backend::optimize`](crate::backend::Backend::optimize).
pub fn optimize(step: OptimizerStep, grads: View, table: &mut Parameters<Cpu>) {
    let (rows, cols) = (table.rows, table.cols);
    assert_eq!((grads.rows, grads.cols), (rows, cols));
    let all = Rows::new(step, table);
    (0..rows).into_par_iter().with_min_len(ROWS).for_each(|row| {
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                // SAFETY: each row has one task.
                let [p, m, v] = unsafe { all.row(row, cols) };
                update(step, grads.row(row), p, m, v);
            },
        );
    });
}
