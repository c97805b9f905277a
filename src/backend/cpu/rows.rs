//! Moving and adding rows; dropout; N3.

use super::memory::{CHUNK, Shared, assert_distinct, par_rows};
use super::{View, ViewMut};
use crate::backend::{Cpu, DeviceGroups, Dropout};
use rayon::prelude::*;

/// See [`Backend::gather`](crate::backend::Backend::gather).
pub fn gather(table: View, rows: &[u32], out: ViewMut) {
    assert_eq!((rows.len(), table.cols), (out.rows, out.cols));
    par_rows(out, CHUNK, |mut out| {
        for i in 0..out.count {
            let from = table.row(rows[out.first + i] as usize);
            out.row(i).copy_from_slice(from);
        }
    });
}

/// See [`Backend::scatter`](crate::backend::Backend::scatter).
pub fn scatter(from: View, rows: &[u32], out: ViewMut) {
    assert_eq!((rows.len(), from.cols), (from.rows, out.cols));
    assert_distinct(rows, out.rows);
    let cols = from.cols;
    let out = Shared::new(out);
    rows.par_chunks(CHUNK).enumerate().for_each(|(chunk, rows)| {
        for (i, &row) in rows.iter().enumerate() {
            // SAFETY: the row numbers are distinct (asserted above), so that no row is written twice.
            let to = unsafe { out.slice(row as usize, 0, cols) };
            to.copy_from_slice(from.row(chunk * CHUNK + i));
        }
    });
}

/// `out = from`.
pub fn copy(from: View, out: ViewMut) {
    assert_eq!((from.rows, from.cols), (out.rows, out.cols));
    par_rows(out, CHUNK, |mut out| {
        for i in 0..out.count {
            let from = from.row(out.first + i);
            out.row(i).copy_from_slice(from);
        }
    });
}

/// `out = value`.
pub fn fill(value: f32, out: ViewMut) {
    par_rows(out, CHUNK, |mut out| {
        for i in 0..out.count {
            out.row(i).fill(value);
        }
    });
}

/// `to += from`.
pub fn add(from: View, to: ViewMut) {
    assert_eq!((from.rows, from.cols), (to.rows, to.cols));
    par_rows(to, CHUNK, |mut to| {
        for i in 0..to.count {
            let from = from.row(to.first + i);
            for (a, b) in to.row(i).iter_mut().zip(from) {
                *a += b;
            }
        }
    });
}

/// See [`Backend::add_groups`](crate::backend::Backend::add_groups).
pub fn add_groups(groups: &DeviceGroups<Cpu>, from: View, to: ViewMut) {
    let DeviceGroups { ids, offsets, members } = groups;
    assert_eq!((from.cols, offsets.len()), (to.cols, ids.len() + 1));
    assert!(ids.is_sorted_by(|a, b| a < b), "ids of groups ascend");
    let cols = to.cols;
    let to = Shared::new(to);
    ids.par_chunks(CHUNK).enumerate().for_each(|(chunk, ids)| {
        for (i, &id) in ids.iter().enumerate() {
            // SAFETY: the ids ascend (asserted above), so that each row has one task.
            let to = unsafe { to.slice(id as usize, 0, cols) };
            let group = chunk * CHUNK + i;
            for &member in &members[offsets[group] as usize..offsets[group + 1] as usize] {
                for (a, b) in to.iter_mut().zip(from.row(member as usize)) {
                    *a += b;
                }
            }
        }
    });
}

/// See [`Backend::dropout`](crate::backend::Backend::dropout).
pub fn dropout(dropout: Dropout, x: ViewMut) {
    let scale = dropout.scale();
    par_rows(x, CHUNK, |mut x| {
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                for i in 0..x.count {
                    let hash = dropout.row((x.first + i) as u32);
                    for (k, x) in x.row(i).iter_mut().enumerate() {
                        *x = if dropout.keeps(hash, k as u32) { *x * scale } else { 0.0 };
                    }
                }
            },
        );
    });
}

/// See [`Backend::n3`](crate::backend::Backend::n3).
pub fn n3(complex: bool, scale: f32, x: View, grads: ViewMut, penalties: ViewMut) {
    assert_eq!((x.rows, x.cols, penalties.cols), (grads.rows, grads.cols, x.rows));
    let penalties = Shared::new(penalties);
    let half = x.cols / 2;
    par_rows(grads, CHUNK, |mut grads| {
        for i in 0..grads.count {
            let row = grads.first + i;
            let (from, to) = (x.row(row), grads.row(i));
            let mut sum = 0f32;
            pulp::Arch::new().dispatch(
                #[inline(always)]
                || {
                    if complex {
                        let (re, im) = from.split_at(half);
                        let (dre, dim) = to.split_at_mut(half);
                        for k in 0..half {
                            let square = re[k] * re[k] + im[k] * im[k];
                            let modulus = square.sqrt();
                            sum += square * modulus;
                            dre[k] += 3.0 * scale * modulus * re[k];
                            dim[k] += 3.0 * scale * modulus * im[k];
                        }
                    } else {
                        for (z, d) in from.iter().zip(to) {
                            sum += z * z * z.abs();
                            *d += 3.0 * scale * z.abs() * z;
                        }
                    }
                },
            );
            // SAFETY: each row's penalty is written by the one task that owns the row.
            unsafe { penalties.slice(0, row, 1)[0] = scale * sum };
        }
    });
}
