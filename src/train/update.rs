//! The end of a step: gradients are clipped by their common norm, and the optimizer makes its step.

use crate::program::ops::clip::{ClipFactor, GroupSquares, RowSquares, Scale};
use crate::program::ops::normalise::{Average, Blend};
use crate::program::ops::optimizer::{Optimize, OptimizeRows, Update};
use crate::program::{Extent, GroupsId, Program, SectionId, Symbol, Var};

/// The gradient of a table.
#[derive(Clone, Copy, Debug)]
pub struct Gradient {
    /// Number of the table.
    pub table: usize,
    /// A row for each row of the table or, with groups, for each of its uses.
    pub grads: Var,
    /// Which uses belong to which row, and how many rows that are.
    pub groups: Option<(GroupsId, Symbol)>,
    /// At which rate it learns.
    pub step: Update,
}

/// The gradients of networks, by the numbers of their tables.
pub fn of_networks(networks: &[(usize, Var)]) -> impl Iterator<Item = Gradient> {
    networks.iter().map(|&(table, grads)| Gradient { table, grads, groups: None, step: Update::Networks })
}

/// Sections and symbols of an update.
#[derive(Clone, Copy, Debug)]
pub struct UpdateSection {
    /// What is run.
    pub section: SectionId,
    /// Where groups are clipped: of how many rows there are squares before those of the second table and of networks.
    pub used: Option<[Symbol; 2]>,
}

/// Writes down the section. With a `bound` above 0 the Euclidean norm of all gradients together is at most that (Pascanu,
/// Mikolov and Bengio 2013); where several rows of a gradient belong to one row of a table, their sum counts.
///
/// All of it stays on the device. A norm that is NaN clips nothing, so that what is NaN stays where it came from and is
/// reported; one that is infinite makes finite gradients 0.
pub fn write(program: &mut Program, bound: f32, gradients: &[Gradient]) -> UpdateSection {
    let section = program.section("update");
    let used = if bound > 0.0 { clip(program, bound, gradients) } else { None };
    for &Gradient { table, grads, groups, step } in gradients {
        let table = program.table(table);
        match groups {
            Some((groups, _)) => program.push(OptimizeRows { step, groups, grads, table }),
            None => program.push(Optimize { step, grads, table }),
        }
    }
    for (table, from) in program.averages().to_vec() {
        let to = program.values(table);
        program.push(Blend { rate: Average, from, to });
    }
    UpdateSection { section, used }
}

/// Sums of squares of all gradients, one behind the other; then all gradients are scaled.
fn clip(program: &mut Program, bound: f32, gradients: &[Gradient]) -> Option<[Symbol; 2]> {
    let most: usize = gradients.iter().map(|gradient| gradient.grads.rows().max()).sum();
    let squares = program.temporary("squares", most, 1);
    // Groups come first: of entities, then of relations. How many there are, each batch says.
    let grouped = gradients.iter().filter(|gradient| gradient.groups.is_some());
    let rows: Vec<usize> = grouped.map(|gradient| gradient.grads.rows().max()).collect();
    let used = match rows[..] {
        [entities, relations] => Some([program.symbol(entities), program.symbol(entities + relations)]),
        _ => None,
    };
    let mut first = Extent::from(0);
    let mut groups_before = 0;
    for &Gradient { grads, groups, .. } in gradients {
        match groups {
            Some((groups, count)) => {
                program.push(GroupSquares { groups, from: grads, squares: squares.part(first, count) });
                first = used.expect("there are groups")[groups_before].into();
                groups_before += 1;
            }
            None => {
                program.push(RowSquares { from: grads, squares: squares.part(first, grads.rows()) });
                first = first.plus(grads.rows().max());
            }
        }
    }
    let factor = program.temporary("clip factor", 1, 1);
    program.push(ClipFactor { bound, squares: squares.part(0, first), factor });
    for &Gradient { grads, .. } in gradients {
        program.push(Scale { factor, x: grads });
    }
    used
}
