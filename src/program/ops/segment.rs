//! Sets of rows: segment `s` is rows `offsets[s]..offsets[s + 1]`.

use crate::program::{Gradients, Program};

operations! {
    /// Sets of rows: segment `s` is rows `offsets[s]..offsets[s + 1]`.
    Segment:

    /// Per segment and column: `weights = softmax(weights)` in place, `out[s] = sum weights * x`.
    Attend { x: In, offsets: Index, weights: Out, out: Out }
    /// Gradients of [`Attend`]: writes `dx` and turns `weights` into the logits' gradient.
    AttendBackward { x: In, offsets: Index, dout: In, weights: Out, dx: Out }
    /// `out[s]` = mean of the segment's rows.
    SegmentMean { x: In, offsets: Index, out: Out }
    /// Gradient of [`SegmentMean`]: writes `dx`.
    SegmentMeanBackward { dout: In, offsets: Index, dx: Out }
    /// `out[s] = min(segment) * sigmoid(gate[s])`; the minimum with a NaN is NaN.
    GatedMin { x: In, offsets: Index, gate: In, out: Out }
    /// Gradients of [`GatedMin`]: writes `dx` (to the first minimum) and turns `gate` into its gradient.
    GatedMinBackward { x: In, offsets: Index, dout: In, gate: Out, dx: Out }
}

impl<O: Operands> Attend<O> {
    fn check(&self) {
        same!(
            O::shape_of_out(&self.weights) => O::shape(&self.x),
            O::shape_of_out(&self.out).1 => O::shape(&self.x).1,
        );
    }
}

impl Described for Attend<OnPaper> {
    fn work(&self) -> f64 {
        6.0 * self.x.numbers()
    }

    fn gradient(&self, gradients: &mut Gradients, program: &mut Program) {
        let Attend { x, offsets, weights, out } = *self;
        let Some(dout) = gradients.of(program, out) else { return };
        let dx = gradients.target(program, x);
        program.push(AttendBackward { x, offsets, dout, weights, dx: dx.var });
        dx.finish(program);
        gradients.is(weights, weights);
    }
}

impl<O: Operands> AttendBackward<O> {
    fn check(&self) {
        same!(
            O::shape_of_out(&self.weights) => O::shape(&self.x),
            O::shape_of_out(&self.dx) => O::shape(&self.x),
            O::shape(&self.dout).1 => O::shape(&self.x).1,
        );
    }
}

impl Described for AttendBackward<OnPaper> {
    fn work(&self) -> f64 {
        5.0 * self.x.numbers()
    }
}

impl<O: Operands> SegmentMean<O> {
    fn check(&self) {
        same!(O::shape_of_out(&self.out).1 => O::shape(&self.x).1);
    }
}

impl Described for SegmentMean<OnPaper> {
    fn work(&self) -> f64 {
        self.x.numbers()
    }

    fn gradient(&self, gradients: &mut Gradients, program: &mut Program) {
        let Some(dout) = gradients.of(program, self.out) else { return };
        let dx = gradients.target(program, self.x);
        program.push(SegmentMeanBackward { dout, offsets: self.offsets, dx: dx.var });
        dx.finish(program);
    }
}

impl<O: Operands> SegmentMeanBackward<O> {
    fn check(&self) {
        same!(O::shape_of_out(&self.dx).1 => O::shape(&self.dout).1);
    }
}

impl Described for SegmentMeanBackward<OnPaper> {
    fn work(&self) -> f64 {
        self.dx.numbers()
    }
}

impl<O: Operands> GatedMin<O> {
    fn check(&self) {
        same!(
            O::shape(&self.gate) => O::shape_of_out(&self.out),
            O::shape(&self.x).1 => O::shape_of_out(&self.out).1,
        );
    }
}

impl Described for GatedMin<OnPaper> {
    fn work(&self) -> f64 {
        self.x.numbers() + 3.0 * self.out.numbers()
    }

    fn gradient(&self, gradients: &mut Gradients, program: &mut Program) {
        let GatedMin { x, offsets, gate, out } = *self;
        let Some(dout) = gradients.of(program, out) else { return };
        let dx = gradients.target(program, x);
        program.push(GatedMinBackward { x, offsets, dout, gate, dx: dx.var });
        dx.finish(program);
        gradients.is(gate, gate);
    }
}

impl<O: Operands> GatedMinBackward<O> {
    fn check(&self) {
        same!(
            O::shape_of_out(&self.gate) => O::shape(&self.dout),
            O::shape_of_out(&self.dx) => O::shape(&self.x),
            O::shape(&self.x).1 => O::shape(&self.dout).1,
        );
    }
}

impl Described for GatedMinBackward<OnPaper> {
    fn work(&self) -> f64 {
        2.0 * self.x.numbers() + 4.0 * self.dout.numbers()
    }
}
