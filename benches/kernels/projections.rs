//! Projections by a relation's row.

use super::cases::{PROJECTIONS, benchmarks};
use super::{Bench, Cost};
use smore::engine::backend::*;
use smore::engine::program::ops::project::{Project, ProjectBackward};
use smore::engine::table::count;

/// A level of so many slots; `matrix.rs` has the projections whose uses share a matrix.
///
/// Floors: queries and relations are read and the new queries written; backward a gradient is read, two are written, and
/// what is multiplied is read again.
pub fn bench<B: Backend>(bench: &mut Bench<B>, slots: usize, d: usize) -> anyhow::Result<()> {
    // Two parts, such as a center and an offset.
    let d = d / 2 * 2;
    let inputs = bench.backend.index(&(0..slots as u32).collect::<Vec<_>>())?;
    let relations = bench.random(slots * d, 1.0)?;
    let mut relation_grads = bench.backend.zeros(slots * d)?;
    let [mut queries, mut grads] = [bench.random(2 * slots * d, 1.0)?, bench.random(2 * slots * d, 1.0)?];
    let size = format!("{} slots x {d}", count(slots as u64));
    for (name, kind) in benchmarks(&PROJECTIONS).filter(|(_, kind)| *kind != Projection::Matrix) {
        let width = kind.relation_width(d);
        let cost = |columns: usize| Cost { bytes: 4.0 * (slots * columns) as f64, ..Cost::default() };
        let relations = Mat::new(&relations, slots, width);
        bench.time(&format!("project {name}"), size.clone(), cost(2 * d + width), |b| {
            b.run(Project {
                kind,
                inputs: &inputs,
                output: slots,
                count: slots,
                groups: None,
                relations,
                slots: MatMut::new(&mut queries, 2 * slots, d),
            });
        })?;
        let read_again = match kind {
            Projection::Translate | Projection::Box { .. } => 0,
            _ => d + width,
        };
        let cost = cost(2 * d + width + read_again);
        bench.time(&format!("project backward {name}"), size.clone(), cost, |b| {
            b.run(ProjectBackward {
                kind,
                inputs: &inputs,
                output: slots,
                count: slots,
                groups: None,
                slots: Mat::new(&queries, 2 * slots, d),
                relations,
                grads: MatMut::new(&mut grads, 2 * slots, d),
                relation_grads: MatMut::new(&mut relation_grads, slots, width),
            });
        })?;
    }
    Ok(())
}
