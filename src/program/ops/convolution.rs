//! Windows of images: a convolution is [`Unfold`], a linear layer, and [`Fold`] on the way back.

use crate::program::{Gradients, Program};

/// Squares of `side` x `side` numbers inside images of `height` x `width`. Positions of their first number: row by row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvolutionSize {
    /// Rows of an image, at least `side`.
    pub height: usize,
    /// Columns of an image, at least `side`.
    pub width: usize,
    /// Rows and columns of a window, at least 1.
    pub side: usize,
}

impl ConvolutionSize {
    /// Numbers of an image.
    pub fn pixels(self) -> usize {
        self.height * self.width
    }

    /// Windows side by side.
    pub fn across(self) -> usize {
        self.width - self.side + 1
    }

    /// Windows of an image.
    pub fn positions(self) -> usize {
        (self.height - self.side + 1) * self.across()
    }
}

operations! {
    /// Windows of images.
    Convolution:

    /// The windows of each image, a row of `images`: row `i * positions + p` of `out` is the window at position `p` of
    /// image `i`, row by row.
    Unfold { window: Is(ConvolutionSize), images: In, out: Out }
    /// Gradient of [`Unfold`]: each number of an image in `out` is the sum of those that stand for it in `windows`, in
    /// the order of the positions.
    Fold { window: Is(ConvolutionSize), windows: In, out: Out }
}

impl<O: Operands> Unfold<O> {
    fn check(&self) {
        let ((rows, cols), window) = (O::shape(&self.images), self.window);
        same!(
            cols => window.pixels(),
            O::shape_of_out(&self.out) => (O::times(rows, window.positions()), window.side * window.side),
        );
    }
}

impl Described for Unfold<OnPaper> {
    fn gradient(&self, gradients: &mut Gradients, program: &mut Program) {
        let Some(windows) = gradients.of(program, self.out) else { return };
        let to = gradients.target(program, self.images);
        program.push(Fold { window: self.window, windows, out: to.var });
        to.finish(program);
    }
}

impl<O: Operands> Fold<O> {
    fn check(&self) {
        let ((rows, cols), window) = (O::shape_of_out(&self.out), self.window);
        same!(
            cols => window.pixels(),
            O::shape(&self.windows) => (O::times(rows, window.positions()), window.side * window.side),
        );
    }
}

impl Described for Fold<OnPaper> {
    fn work(&self) -> f64 {
        self.windows.numbers()
    }
}
