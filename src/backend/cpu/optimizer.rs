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
