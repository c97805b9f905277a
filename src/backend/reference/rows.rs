//! Moving and adding rows; dropout.

use super::range_of;
use crate::backend::{On, Reference};
use crate::program::ops::rows::{Add, AddGroups, CopyRows, DropOut, Fill, Gather, Rows, Scatter};

/// Does an operation of the family.
pub fn run(op: Rows<On<Reference>>) {
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
fn gather(Gather { table, rows, mut out }: Gather<On<Reference>>) {
    for (i, &row) in rows.iter().enumerate() {
        out.row(i).copy_from_slice(table.row(row as usize));
    }
}

/// See [`Scatter`].
fn scatter(Scatter { from, rows, mut out }: Scatter<On<Reference>>) {
    for (i, &row) in rows.iter().enumerate() {
        out.row(row as usize).copy_from_slice(from.row(i));
    }
}

/// See [`CopyRows`].
fn copy(CopyRows { from, mut out }: CopyRows<On<Reference>>) {
    for i in 0..from.rows {
        out.row(i).copy_from_slice(from.row(i));
    }
}

/// See [`Fill`].
fn fill(Fill { value, mut out }: Fill<On<Reference>>) {
    for i in 0..out.rows {
        out.row(i).fill(f64::from(value));
    }
}

/// See [`Add`].
fn add(Add { from, mut to }: Add<On<Reference>>) {
    for i in 0..from.rows {
        to.row(i).iter_mut().zip(from.row(i)).for_each(|(a, b)| *a += b);
    }
}

/// See [`AddGroups`].
fn add_groups(AddGroups { groups, from, mut to }: AddGroups<On<Reference>>) {
    for (g, &id) in groups.ids.iter().enumerate() {
        for &member in &groups.members[range_of(&groups.offsets, g)] {
            to.row(id as usize).iter_mut().zip(from.row(member as usize)).for_each(|(a, b)| *a += b);
        }
    }
}

/// See [`DropOut`].
fn dropout(DropOut { dropout, mut x }: DropOut<On<Reference>>) {
    for i in 0..x.rows {
        for (k, x) in x.row(i).iter_mut().enumerate() {
            let keeps = dropout.keeps(dropout.row(i as u32), k as u32);
            *x = if keeps { *x * f64::from(dropout.scale()) } else { 0.0 };
        }
    }
}
