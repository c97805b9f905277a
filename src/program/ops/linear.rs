//! Linear layers.

use crate::program::{Gradients, Program};

/// What a nonlinearity does after a linear layer, or to box offsets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// x.
    #[default]
    None,
    /// max(x, 0); NaN stays NaN.
    Relu,
    /// ln(1 + e^x).
    Softplus,
}

impl std::fmt::Display for Activation {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Activation::None => "",
            Activation::Relu => "relu",
            Activation::Softplus => "softplus",
        })
    }
}

operations! {
    /// Linear layers.
    Layers:

    /// `out = f(x w^T + bias)`; `w` is out x in as in PyTorch, `bias` one row.
    Linear { x: In, w: In, bias: MaybeIn, f: Is(Activation), out: Out }
    /// Gradients of [`Linear`] from its output (only where there is an activation, `None` and `Relu` only) and `dout`,
    /// which is overwritten by its product with f'. Adds to `dw` and `dbias`; writes `dx`.
    LinearBackward {
        x: In, w: In, out: MaybeIn, f: Is(Activation), dout: Out, dx: Out, dw: Out, dbias: MaybeOut,
    }
}

impl<O: Operands> Linear<O> {
    fn check(&self) {
        let ((rows, cols), (lines, depth)) = (O::shape(&self.x), O::shape(&self.w));
        same!(depth => cols, rows => O::shape_of_out(&self.out).0, O::count(O::shape_of_out(&self.out).1) => lines);
        if let Some(bias) = &self.bias {
            same!(O::shape(bias) => (O::count(1), O::shape_of_out(&self.out).1));
        }
    }
}

impl Described for Linear<OnPaper> {
    fn kind(&self) -> String {
        self.f.to_string()
    }

    fn work(&self) -> f64 {
        2.0 * self.out.numbers() * self.x.cols() as f64
    }

    fn gradient(&self, gradients: &mut Gradients, program: &mut Program) {
        let Linear { x, w, bias, f, out } = *self;
        let Some(dout) = gradients.of(program, out) else { return };
        let dx = gradients.target(program, x);
        let dw = gradients.sum(program, w);
        let dbias = bias.map(|bias| gradients.sum(program, bias));
        let out = (f != Activation::None).then_some(out);
        program.push(LinearBackward { x, w, out, f, dout, dx: dx.var, dw, dbias });
        dx.finish(program);
    }
}

impl<O: Operands> LinearBackward<O> {
    fn check(&self) {
        let ((rows, cols), dout) = (O::shape(&self.x), O::shape_of_out(&self.dout));
        assert!(self.f != Activation::Softplus, "linear layers have no softplus");
        assert_eq!(self.out.is_some(), self.f != Activation::None, "an activation is known by its output");
        same!(
            (rows, cols) => O::shape_of_out(&self.dx),
            rows => dout.0,
            O::shape(&self.w) => (O::count(dout.1), cols),
            O::shape(&self.w) => O::shape_of_out(&self.dw),
        );
        if let Some(out) = &self.out {
            same!(O::shape(out) => dout);
        }
        if let Some(dbias) = &self.dbias {
            same!(O::shape_of_out(dbias) => (O::count(1), dout.1));
        }
    }
}

impl Described for LinearBackward<OnPaper> {
    fn kind(&self) -> String {
        self.f.to_string()
    }

    fn work(&self) -> f64 {
        4.0 * self.dout.numbers() * self.x.cols() as f64
    }
}
