//! Projections: a relation moves a query embedding.

use super::linear::Activation;
use crate::program::{Gradients, Program};

/// How a relation moves a query embedding. `d` is the embedding dimension.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Projection {
    /// `q + r`; query and relation rows of d.
    Translate,
    /// center + r, offset + f(r_offset); query and relation rows are [center d, offset d].
    Box {
        /// f.
        offset: Activation,
    },
    /// `q * r`; query and relation rows of d.
    Product,
    /// Complex product; query and relation rows are [real d, imaginary d].
    ComplexProduct,
    /// Complex product with `e^(i scale r)`; query rows are [real d, imaginary d], relation rows d phases.
    Rotate {
        /// Radians per unit of a relation row.
        scale: f32,
    },
    /// `q R`; query rows of d, relation rows of d^2: the matrix R, row by row. Uses may share a matrix
    /// (`groups`), which is then read once for all of them.
    Matrix,
}

impl Projection {
    /// Columns of a relation row for query rows of `query_width`.
    pub fn relation_width(self, query_width: usize) -> usize {
        match self {
            Projection::Rotate { .. } => query_width / 2,
            Projection::Matrix => query_width * query_width,
            _ => query_width,
        }
    }

    /// Its formula, for readers.
    fn formula(self) -> &'static str {
        match self {
            Projection::Translate => "q + r",
            Projection::Box { .. } => "c + r, o + f(r')",
            Projection::Product => "q * r",
            Projection::ComplexProduct => "complex q * r",
            Projection::Rotate { .. } => "complex q * e^ir",
            Projection::Matrix => "q R",
        }
    }

    /// Whether it is linear in the query and in the relation.
    pub fn is_bilinear(self) -> bool {
        matches!(self, Projection::Product | Projection::ComplexProduct | Projection::Matrix)
    }
}

impl std::fmt::Display for Projection {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(self.formula())
    }
}

operations! {
    /// Projections: a relation moves a query embedding.
    ///
    /// They work on an arena of slots: the rows `inputs` (distinct, below `output`) are read, `count` rows from `output`
    /// on are written. With `groups`, of [`Projection::Matrix`] only, row `ids[g]` of the relations is that of the uses
    /// `members` of group `g`, each use in one group; without, each use has a row of its own.
    Projections:

    /// `slots[output + i] = project(slots[inputs[i]], relations[i])`.
    Project {
        kind: Is(Projection), inputs: Index, output: Count, count: Count, groups: MaybeGroups, relations: In, slots: Out,
    }
    /// Gradient of [`Project`]: writes `grads[inputs[i]]` and `relation_grads[i]` from `grads[output + i]`; of groups,
    /// the rows `ids`.
    ProjectBackward {
        kind: Is(Projection), inputs: Index, output: Count, count: Count, groups: MaybeGroups, slots: In, relations: In,
        grads: Out, relation_grads: Out,
    }
}

impl<O: Operands> Project<O> {
    fn check(&self) {
        let (uses, width) = O::shape(&self.relations);
        assert!(self.groups.is_none() || self.kind == Projection::Matrix, "only matrices are shared");
        same!(
            O::len(&self.inputs) => self.count,
            width => self.kind.relation_width(O::shape_of_out(&self.slots).1),
        );
        if self.groups.is_none() {
            same!(uses => self.count);
        }
    }
}

impl Described for Project<OnPaper> {
    fn kind(&self) -> String {
        self.kind.to_string()
    }

    fn work(&self) -> f64 {
        let (uses, width) = (self.count.max() as f64, self.slots.cols() as f64);
        match self.kind {
            Projection::Matrix => 2.0 * uses * width * width,
            Projection::ComplexProduct | Projection::Rotate { .. } => 3.0 * uses * width,
            _ => uses * width,
        }
    }

    fn gradient(&self, gradients: &mut Gradients, program: &mut Program) {
        let Project { kind, inputs, output, count, groups, relations, slots } = *self;
        let grads = gradients.of_arena(program, slots);
        let to = gradients.target(program, relations);
        let relation_grads = to.var;
        program.push(ProjectBackward {
            kind,
            inputs,
            output,
            count,
            groups,
            slots,
            relations,
            grads,
            relation_grads,
        });
        to.finish(program);
    }
}

impl<O: Operands> ProjectBackward<O> {
    fn check(&self) {
        assert!(self.groups.is_none() || self.kind == Projection::Matrix, "only matrices are shared");
        same!(
            O::len(&self.inputs) => self.count,
            O::shape(&self.slots).1 => O::shape_of_out(&self.grads).1,
            O::shape(&self.relations) => O::shape_of_out(&self.relation_grads),
            O::shape(&self.relations).1 => self.kind.relation_width(O::shape(&self.slots).1),
        );
    }
}

impl Described for ProjectBackward<OnPaper> {
    fn kind(&self) -> String {
        self.kind.to_string()
    }

    fn work(&self) -> f64 {
        let (uses, width) = (self.count.max() as f64, self.slots.cols() as f64);
        match self.kind {
            Projection::Matrix => 4.0 * uses * width * width,
            Projection::ComplexProduct | Projection::Rotate { .. } => 6.0 * uses * width,
            _ => 2.0 * uses * width,
        }
    }
}
