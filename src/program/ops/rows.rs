//! Moving and adding rows; dropout.

use crate::program::{Gradients, Program};

operations! {
    /// Moving and adding rows; dropout.
    Rows:

    /// `out[i] = table[rows[i]]`.
    Gather { table: In, rows: Index, out: Out }
    /// `out[rows[i]] = from[i]`; the row numbers are distinct.
    Scatter { from: In, rows: Index, out: Out }
    /// `out = from`.
    CopyRows { from: In, out: Out }
    /// `out = value`.
    Fill { value: Is(f32), out: Out }
    /// `to += from`.
    Add { from: In, to: Out }
    /// `to[groups.ids[g]] +=` the sum of the rows `groups.members` of `from`, added in that order.
    AddGroups { groups: Groups, from: In, to: Out }
    /// `x = 0` where `dropout` says so, else `x * scale`, in place.
    DropOut { dropout: Dropout, x: Out }
}

impl<O: Operands> Gather<O> {
    fn check(&self) {
        same!(O::shape_of_out(&self.out) => (O::len(&self.rows), O::shape(&self.table).1));
    }
}

impl Described for Gather<OnPaper> {
    /// Rows of a table end the way back: the gradient of `out` is what its optimizer takes. A row of an arena is read
    /// once, so its gradient is written.
    fn gradient(&self, gradients: &mut Gradients, program: &mut Program) {
        if !program.is_arena(self.table) {
            return;
        }
        let Some(from) = gradients.of(program, self.out) else { return };
        let to = gradients.of_arena(program, self.table);
        program.push(Scatter { from, rows: self.rows, out: to });
        // What of the rows was not read has no part in what follows.
        let behind = program.columns_behind(self.table);
        if behind > 0 {
            let zeros = program.temporary("zeros", from.rows(), behind);
            program.push(Fill { value: 0.0, out: zeros });
            program.push(Scatter { from: zeros, rows: self.rows, out: to.columns_behind(behind) });
        }
    }
}

impl<O: Operands> Scatter<O> {
    fn check(&self) {
        same!(O::shape(&self.from) => (O::len(&self.rows), O::shape_of_out(&self.out).1));
    }
}

impl Described for Scatter<OnPaper> {}

impl<O: Operands> CopyRows<O> {
    fn check(&self) {
        same!(O::shape(&self.from) => O::shape_of_out(&self.out));
    }
}

impl Described for CopyRows<OnPaper> {
    fn gradient(&self, gradients: &mut Gradients, program: &mut Program) {
        if let Some(from) = gradients.of(program, self.out) {
            gradients.pass_on(program, self.from, from);
        }
    }
}

impl<O: Operands> Fill<O> {
    fn check(&self) {}
}

impl Described for Fill<OnPaper> {
    fn kind(&self) -> String {
        self.value.to_string()
    }
}

impl<O: Operands> Add<O> {
    fn check(&self) {
        same!(O::shape(&self.from) => O::shape_of_out(&self.to));
    }
}

impl Described for Add<OnPaper> {
    fn work(&self) -> f64 {
        self.from.numbers()
    }

    fn gradient(&self, gradients: &mut Gradients, program: &mut Program) {
        if let Some(from) = gradients.of(program, self.to) {
            gradients.pass_on(program, self.from, from);
        }
    }
}

impl<O: Operands> AddGroups<O> {
    fn check(&self) {
        same!(O::shape(&self.from).1 => O::shape_of_out(&self.to).1);
    }
}

impl Described for AddGroups<OnPaper> {
    fn work(&self) -> f64 {
        self.from.numbers()
    }
}

impl<O: Operands> DropOut<O> {
    fn check(&self) {}
}

impl Described for DropOut<OnPaper> {
    fn work(&self) -> f64 {
        self.x.numbers()
    }

    /// The derivative of itself.
    fn gradient(&self, gradients: &mut Gradients, program: &mut Program) {
        if let Some(x) = gradients.of(program, self.x) {
            program.push(DropOut { dropout: self.dropout, x });
        }
    }
}
