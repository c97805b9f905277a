//! All entities as a score compares them, where that is not their rows: made once for a model whose tables do not change.

use crate::backend::{Backend, Mat, MatMut, Tables, Workspace};
use crate::error::Result;
use crate::model::{Model, Weights};
use crate::program::Program;
use crate::program::ops::rows::{CopyRows, Gather};

/// Entities that are worked on at once.
const BLOCK: usize = 4096;

/// All entities, a row each.
pub struct Compared<B: Backend> {
    rows: B::Buffer,
    width: usize,
}

impl<B: Backend> Compared<B> {
    /// Those of a model whose score compares rows of this width.
    pub fn new(backend: &B, model: &dyn Model, weights: &Weights<B>, width: usize) -> Result<Self> {
        let (spec, count) = (model.spec(), weights.entities.rows);
        let block = BLOCK.min(count);
        let mut program = Program::new(spec.tables(count, weights.relations.rows));
        let p = &mut program;
        let entities = p.index("entities", block);
        let made = p.kept("compared", block, width);
        let section = p.section("compare");
        let rows = p.temporary("entity rows", block, spec.widths.entity);
        p.push(Gather { table: p.values(0), rows: entities, out: rows });
        let compared = model.compared_entities(p, rows);
        p.push(CopyRows { from: compared, out: made });
        let mut space = Workspace::new(backend, program)?;
        let mut all = backend.zeros(count * width)?;
        for first in (0..count).step_by(block.max(1)) {
            let some = block.min(count - first);
            // Behind the last entity it is made again, of which nothing is kept.
            let ids: Vec<u32> = (first..first + block).map(|id| id.min(count - 1) as u32).collect();
            space.set_index(backend, entities, &ids)?;
            space.run(backend, Tables::Read(weights), section);
            let out =
                MatMut { buffer: &mut all, offset: first * width, rows: some, cols: width, stride: width };
            backend.run(CopyRows { from: space.mat(made.part(0, some)), out });
        }
        Ok(Compared { rows: all, width })
    }

    /// The rows.
    pub fn mat(&self, count: usize) -> Mat<'_, B::Buffer> {
        Mat::new(&self.rows, count, self.width)
    }
}
