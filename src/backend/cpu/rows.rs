//! Moving and adding rows; dropout.

use super::memory::{CHUNK, Shared, assert_distinct, par_rows};
use crate::backend::{Cpu, DeviceGroups, On};
use crate::program::ops::rows::{Add, AddGroups, CopyRows, DropOut, Fill, Gather, Rows, Scatter};
use rayon::prelude::*;

/// Does an operation of the family.
pub fn run(op: Rows<On<Cpu>>) {
    match op {
        Rows::Gather(op) => gather(op),
        Rows::Scatter(op) => scatter(op),
        Rows::CopyRows(op) => copy(op),
        Rows::Fill(op) => fill(op),
        Rows::Add(op) => add(op),
        Rows::AddGroups(op) => add_groups(op),
        Rows::DropOut(op) => dropout(op),
    }
}

/// See [`Gather`].
fn gather(Gather { table, rows, out }: Gather<On<Cpu>>) {
    par_rows(out, CHUNK, |mut out| {
        for i in 0..out.count {
            let from = table.row(rows[out.first + i] as usize);
            out.row(i).copy_from_slice(from);
        }
    });
}

/// See [`Scatter`].
fn scatter(Scatter { from, rows, out }: Scatter<On<Cpu>>) {
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
fn copy(CopyRows { from, out }: CopyRows<On<Cpu>>) {
    par_rows(out, CHUNK, |mut out| {
        for i in 0..out.count {
            let from = from.row(out.first + i);
            out.row(i).copy_from_slice(from);
        }
    });
}

/// `out = value`.
pub fn fill(Fill { value, out }: Fill<On<Cpu>>) {
    par_rows(out, CHUNK, |mut out| {
        for i in 0..out.count {
            out.row(i).fill(value);
        }
    });
}

/// `to += from`.
fn add(Add { from, to }: Add<On<Cpu>>) {
    par_rows(to, CHUNK, |mut to| {
        for i in 0..to.count {
            let from = from.row(to.first + i);
            for (a, b) in to.row(i).iter_mut().zip(from) {
                *a += b;
            }
        }
    });
}

/// See [`AddGroups`].
fn add_groups(AddGroups { groups, from, to }: AddGroups<On<Cpu>>) {
    let DeviceGroups { ids, offsets, members } = groups;
    assert_eq!(offsets.len(), ids.len() + 1);
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

/// See [`DropOut`].
fn dropout(DropOut { dropout, x }: DropOut<On<Cpu>>) {
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
