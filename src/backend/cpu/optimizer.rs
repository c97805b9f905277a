//! Adam: on the rows of a batch, and on whole dense tables.

use super::View;
use super::memory::Shared;
use crate::backend::{AdamStep, Cpu, DeviceGroups, MatMut, Parameters};
use rayon::prelude::*;

/// Rows per task.
const ROWS: usize = 16;

#[inline(always)]
fn update(step: AdamStep, grads: &[f32], values: &mut [f32], first: &mut [f32], second: &mut [f32]) {
    for (((g, p), m), v) in grads.iter().zip(values).zip(first).zip(second) {
        *m = step.beta1 * *m + (1.0 - step.beta1) * g;
        *v = step.beta2 * *v + (1.0 - step.beta2) * (g * g);
        *p -= step.rate * *m / ((*v * step.second_correction).sqrt() + step.epsilon);
    }
}

/// A table's rows with their moments, written by several tasks at once.
enum Rows<'a> {
    /// Values, first and second moments.
    Apart([Shared<'a>; 3]),
    /// All three of a row side by side.
    Interleaved(Shared<'a>),
}

impl<'a> Rows<'a> {
    fn new(table: &'a mut Parameters<Cpu>) -> Self {
        let (rows, cols) = (table.rows, table.cols);
        if table.interleaved {
            return Rows::Interleaved(Shared::new(MatMut::new(&mut table.values, rows, 3 * cols)));
        }
        let buffers = [&mut table.values, &mut table.first, &mut table.second];
        Rows::Apart(buffers.map(|b| Shared::new(MatMut::new(b, rows, cols))))
    }

    /// Values, first and second moments of a row.
    ///
    /// # Safety
    /// No two tasks may have the same row at the same time.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    unsafe fn row(&self, row: usize, cols: usize) -> [&mut [f32]; 3] {
        match self {
            // SAFETY: the three are different buffers, and the row is the caller's alone.
            Rows::Apart(tables) => tables.each_ref().map(|table| unsafe { table.slice(row, 0, cols) }),
            Rows::Interleaved(table) => {
                // SAFETY: the row is the caller's alone, by this function's contract.
                let (values, moments) = unsafe { table.slice(row, 0, 3 * cols) }.split_at_mut(cols);
                let (first, second) = moments.split_at_mut(cols);
                [values, first, second]
            }
        }
    }
}

/// See [`Backend::adam_rows`](crate::backend::Backend::adam_rows).
pub fn adam_rows(step: AdamStep, groups: &DeviceGroups<Cpu>, grads: View, table: &mut Parameters<Cpu>) {
    let cols = table.cols;
    assert_eq!((grads.cols, groups.offsets.len()), (cols, groups.ids.len() + 1));
    assert!(groups.ids.is_sorted_by(|a, b| a < b), "ids of groups ascend");
    let all = Rows::new(table);
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

/// See [`Backend::adam`](crate::backend::Backend::adam).
pub fn adam(step: AdamStep, grads: View, table: &mut Parameters<Cpu>) {
    let (rows, cols) = (table.rows, table.cols);
    assert_eq!((grads.rows, grads.cols), (rows, cols));
    let all = Rows::new(table);
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
    use crate::backend::{Backend, HostBuffer, Mat, RankTask, Scoring};
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
                Parameters::<Cpu> { rows: ROWS, cols, values: buffer, first, second, interleaved }
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
                    adam_rows(AdamStep::new(0.1, t), &groups, Mat::new(&gradient, ROWS, cols), table);
                    adam(AdamStep::new(0.1, t), Mat::new(&gradient, ROWS, cols), table);
                }
            }
            assert!(rows(&both[0]) == rows(&both[1]), "{cols} columns");
            assert!(rows(&both[0]).iter().all(|x| *x != 0.0), "every number was trained");

            let picked: Vec<u32> = (0..70).map(|i| i * 41).collect();
            let results = both.each_ref().map(|table| {
                let mut queries = Cpu.zeros(70 * cols).unwrap();
                Cpu.gather(table.mat(), &picked, MatMut::new(&mut queries, 70, cols));
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
