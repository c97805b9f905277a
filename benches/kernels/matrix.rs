//! Projections by matrices that uses share.

use super::{Bench, Cost};
use smore::engine::backend::*;
use smore::engine::program::ops::project::{Project, ProjectBackward};
use smore::engine::rng::below;
use smore::engine::sampler::Groups;
use smore::engine::table::count;

/// `uses` vectors of d times the matrices of `relations`, and the gradients.
///
/// Floors: every matrix is read once, or written once as a gradient; a multiply-add a number of a matrix and use.
pub fn bench<B: Backend>(
    bench: &mut Bench<B>,
    uses: usize,
    relations: usize,
    d: usize,
) -> anyhow::Result<()> {
    let of_uses: Vec<u32> = (0..uses).map(|_| below(&mut bench.rng, relations as u64) as u32).collect();
    let mut lists = Groups::default();
    lists.assign(&of_uses);
    let groups = DeviceGroups::<B> {
        ids: bench.backend.index(&lists.ids)?,
        offsets: bench.backend.index(&lists.offsets)?,
        members: bench.backend.index(&lists.members)?,
    };
    let inputs = bench.backend.index(&(0..uses as u32).collect::<Vec<_>>())?;
    let matrices = bench.random(relations * d * d, 0.1)?;
    let mut dmatrices = bench.backend.zeros(relations * d * d)?;
    let [mut slots, mut grads] = [bench.random(2 * uses * d, 1.0)?, bench.random(2 * uses * d, 1.0)?];
    let kind = Projection::Matrix;
    let size = format!("{} of {} x {d} x {d}", count(uses as u64), count(lists.ids.len() as u64));
    let (numbers, rows) = ((lists.ids.len() * d * d) as f64, (2 * uses * d) as f64);
    let products = 2.0 * (uses * d * d) as f64;
    let cost = Cost { bytes: 4.0 * (numbers + rows), operations: products, products, ..Cost::default() };
    let from = Mat::new(&matrices, relations, d * d);
    bench.time("project matrix", size.clone(), cost, |b| {
        b.run(Project {
            kind,
            inputs: &inputs,
            output: uses,
            count: uses,
            groups: Some(&groups),
            relations: from,
            slots: MatMut::new(&mut slots, 2 * uses, d),
        });
    })?;
    let cost = Cost {
        bytes: 4.0 * (2.0 * numbers + 1.5 * rows),
        operations: 2.0 * products,
        products: 2.0 * products,
        ..cost
    };
    bench.time("project matrix backward", size, cost, |b| {
        let slots = Mat::new(&slots, 2 * uses, d);
        let (dq, dr) = (MatMut::new(&mut grads, 2 * uses, d), MatMut::new(&mut dmatrices, relations, d * d));
        b.run(ProjectBackward {
            kind,
            inputs: &inputs,
            output: uses,
            count: uses,
            groups: Some(&groups),
            slots,
            relations: from,
            grads: dq,
            relation_grads: dr,
        });
    })
}
