//! Clipping of gradients by their norm.

operations! {
    /// Clipping of gradients by their norm.
    Clip:

    /// `squares[g]` = the sum of the squares of the numbers of a row: the sum of the rows `groups.members` of `from`,
    /// added in that order.
    GroupSquares { groups: Groups, from: In, squares: Out }
    /// `squares[i]` = the sum of the squares of row `i`.
    RowSquares { from: In, squares: Out }
    /// `factor[0, 0] = min(1, bound / sqrt(sum of squares))`, so that what has these squares and is scaled by it has a
    /// norm of at most `bound`; 1 where the sum is NaN.
    ClipFactor { bound: Is(f32), squares: In, factor: Out }
    /// `x *= factor[0, 0]`; what is NaN stays NaN.
    Scale { factor: In, x: Out }
}

impl<O: Operands> GroupSquares<O> {
    fn check(&self) {
        same!(O::shape_of_out(&self.squares).1 => 1);
    }
}

impl Described for GroupSquares<OnPaper> {
    fn work(&self) -> f64 {
        3.0 * self.from.numbers()
    }
}

impl<O: Operands> RowSquares<O> {
    fn check(&self) {
        same!(O::shape_of_out(&self.squares) => (O::shape(&self.from).0, 1));
    }
}

impl Described for RowSquares<OnPaper> {
    fn work(&self) -> f64 {
        2.0 * self.from.numbers()
    }
}

impl<O: Operands> ClipFactor<O> {
    fn check(&self) {
        same!(O::shape_of_out(&self.factor) => (O::count(1), 1), O::shape(&self.squares).1 => 1);
    }
}

impl Described for ClipFactor<OnPaper> {
    fn work(&self) -> f64 {
        self.squares.numbers()
    }
}

impl<O: Operands> Scale<O> {
    fn check(&self) {
        same!(O::shape(&self.factor) => (O::count(1), 1));
    }
}

impl Described for Scale<OnPaper> {
    fn work(&self) -> f64 {
        self.x.numbers()
    }
}
