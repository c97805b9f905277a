//! The optimizers: on the rows of a batch, and on whole tables.

use super::clip::sum_of_squares;
use super::memory::Shared;
use crate::backend::{Cpu, MatMut, On, OptimizerStep, Parameters};
use crate::program::ops::optimizer::{Optimize, OptimizeRows, Optimizers};
use rayon::prelude::*;

/// Does an operation of the family.
pub fn run(op: Optimizers<On<Cpu>>) {
    match op {
        Optimizers::OptimizeRows(op) => optimize_rows(op),
        Optimizers::Optimize(op) => optimize(op),
    }
}

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
            first[0] += sum_of_squares(grads) / grads.len() as f32;
            let rate = step.rate / (first[0].sqrt() + step.epsilon);
            grads.iter().zip(values).for_each(|(g, p)| *p -= rate * g);
        }
        OptimizerStep::Sgd { rate } => grads.iter().zip(values).for_each(|(g, p)| *p -= rate * g),
    }
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

/// See [`OptimizeRows`].
fn optimize_rows(OptimizeRows { step, groups, grads, table }: OptimizeRows<On<Cpu>>) {
    let cols = table.cols;
    assert_eq!(groups.offsets.len(), groups.ids.len() + 1);
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

/// See [`Optimize`].
fn optimize(Optimize { step, grads, table }: Optimize<On<Cpu>>) {
    let (rows, cols) = (table.rows, table.cols);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{Backend, DeviceGroups, HostBuffer, Mat, Optimizer, RankTask, Scoring};
    use crate::program::ops::rows::Gather;
    use crate::rng::{below, stream};

    /// Values and moments, row by row: `[values, first, second]`.
    fn rows(table: &Parameters<Cpu>) -> Vec<f32> {
        let Parameters { cols, values, first, second, .. } = table;
        if table.interleaved {
            return values.as_slice().to_vec();
        }
        let parts = [values, first, second].map(|part| part.as_slice().chunks(*cols));
        let [values, first, second] = parts;
        values.zip(first).zip(second).flat_map(|((p, m), v)| [p, m, v].concat()).collect()
    }

    #[test]
    fn an_interleaved_table_is_trained_gathered_and_ranked_to_the_same_bits() {
        const ROWS: usize = 3_000;
        for cols in [1, 7, 16, 33] {
            let mut rng = stream(3, "interleaved", cols as u64);
            let mut number = move || below(&mut rng, 1 << 20) as f32 / (1 << 20) as f32 - 0.5;
            let values: Vec<f32> = (0..ROWS * cols).map(|_| number()).collect();
            let mut both = [1, 3].map(|parts| {
                let [mut buffer, first, second] = [parts, 1, 1].map(|n| Cpu.zeros(n * ROWS * cols).unwrap());
                let interleaved = parts == 3;
                for (row, values) in values.chunks(cols).enumerate() {
                    Cpu.upload(values, &mut buffer, row * parts * cols).unwrap();
                }
                let state = Optimizer::Adam.state(cols);
                Parameters::<Cpu> { rows: ROWS, cols, values: buffer, first, second, state, interleaved }
            });
            let grads: Vec<f32> = (0..ROWS * cols).map(|_| number()).collect();
            let mut gradient = Cpu.zeros(ROWS * cols).unwrap();
            Cpu.upload(&grads, &mut gradient, 0).unwrap();
            let ids: Vec<u32> = (0..ROWS as u32).step_by(3).collect();
            let members = ids.iter().flat_map(|&i| [i, i + 1]).collect();
            let groups =
                DeviceGroups { offsets: (0..=ids.len() as u32).map(|i| 2 * i).collect(), ids, members };
            for table in &mut both {
                for t in 1..4 {
                    let (step, grads) = (Optimizer::Adam.step(0.1, t), Mat::new(&gradient, ROWS, cols));
                    Cpu.run(OptimizeRows { step, groups: &groups, grads, table: &mut *table });
                    Cpu.run(Optimize { step, grads, table: &mut *table });
                }
            }
            assert!(rows(&both[0]) == rows(&both[1]), "{cols} columns");
            assert!(rows(&both[0]).iter().all(|x| *x != 0.0), "every number was trained");

            let picked: Vec<u32> = (0..70).map(|i| i * 41).collect();
            let results = both.each_ref().map(|table| {
                let mut queries = Cpu.zeros(70 * cols).unwrap();
                let out = MatMut::new(&mut queries, 70, cols);
                Cpu.run(Gather { table: table.mat(), rows: &picked, out });
                let offsets: Vec<u32> = (0..=70).collect();
                let task = RankTask::<Cpu> {
                    root_offsets: &offsets,
                    queries: Mat::new(&queries, 70, cols),
                    target_offsets: &offsets,
                    targets: &picked,
                    filter_offsets: &[0; 71],
                    filter: &[],
                };
                (
                    queries.as_slice().to_vec(),
                    Cpu.rank(Scoring::L1 { gamma: 1.0 }, task, table.mat()).unwrap(),
                )
            });
            assert!(results[0] == results[1], "{cols} columns");
            // A row is nearest to itself.
            assert!(results[0].1.iter().all(|count| count.better == 0), "{cols} columns");
        }
    }
}
