//! Handles of what a program works on: matrices, indices, tables, and numbers that are fixed when it runs.

/// A number that is given for each batch, such as its rows; `max` bounds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol {
    pub(super) number: usize,
    pub(super) max: usize,
}

/// A number of rows: `plus`, or `plus + times * symbol`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    plus: usize,
    times: usize,
    symbol: Option<Symbol>,
}

impl From<usize> for Extent {
    fn from(n: usize) -> Self {
        Extent { plus: n, times: 0, symbol: None }
    }
}

impl From<Symbol> for Extent {
    fn from(symbol: Symbol) -> Self {
        Extent { plus: 0, times: 1, symbol: Some(symbol) }
    }
}

impl std::fmt::Debug for Extent {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self.symbol {
            Some(_) => write!(f, "at most {}", self.max()),
            None => write!(f, "{}", self.plus),
        }
    }
}

impl Extent {
    /// `times` x this.
    pub fn times(self, times: usize) -> Self {
        Extent { plus: times * self.plus, times: times * self.times, ..self }
    }

    /// `n` more.
    pub fn plus(self, n: usize) -> Self {
        Extent { plus: self.plus + n, ..self }
    }

    /// The greatest that it can be.
    pub fn max(self) -> usize {
        self.plus + self.times * self.symbol.map_or(0, |symbol| symbol.max)
    }

    /// What it is where the symbols have these values.
    pub fn value(self, symbols: &[usize]) -> usize {
        self.plus + self.times * self.symbol.map_or(0, |symbol| symbols[symbol.number])
    }

    /// The sum of two of which at most one is given for each batch.
    fn and(self, other: Extent) -> Self {
        assert!(self.symbol.is_none() || other.symbol.is_none(), "{self:?} and {other:?}");
        Extent {
            plus: self.plus + other.plus,
            times: self.times + other.times,
            symbol: self.symbol.or(other.symbol),
        }
    }
}

/// A table of parameters: entities, relations, or one of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableId {
    /// 0 for entities, 1 for relations, then those of the networks in the model's order.
    pub number: usize,
    /// Its rows.
    pub rows: usize,
    /// Its columns.
    pub cols: usize,
}

/// Where a matrix lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Base {
    /// In an array of the program.
    Array(usize),
    /// In a table of parameters.
    Table(usize),
}

/// A matrix of a program: some rows and columns of an array or a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Var {
    pub(super) base: Base,
    pub(super) first_row: Extent,
    pub(super) rows: Extent,
    pub(super) first_col: usize,
    pub(super) cols: usize,
    /// Distance between rows; that of a table is its own.
    pub(super) stride: usize,
}

impl Var {
    /// All of an array or a table.
    pub(super) fn all(base: Base, rows: Extent, cols: usize) -> Self {
        Var { base, first_row: 0.into(), rows, first_col: 0, cols, stride: cols }
    }

    /// Its rows.
    pub fn rows(self) -> Extent {
        self.rows
    }

    /// Its columns.
    pub fn cols(self) -> usize {
        self.cols
    }

    /// Where it lies.
    pub fn base(self) -> Base {
        self.base
    }

    /// Its numbers, where it has all its rows.
    pub fn numbers(self) -> f64 {
        self.rows.max() as f64 * self.cols as f64
    }

    /// `rows` rows from `first` on.
    pub fn part(self, first: impl Into<Extent>, rows: impl Into<Extent>) -> Self {
        let (first, rows) = (first.into(), rows.into());
        // Where a batch says where it begins, the device checks that it fits.
        let end = if first.symbol.is_some() { first.plus + rows.plus } else { first.max() + rows.max() };
        assert!(end <= self.rows.max(), "rows {first:?}+{rows:?} of {:?}", self.rows);
        Var { first_row: self.first_row.and(first), rows, ..self }
    }

    /// `cols` columns from `first` on.
    pub fn columns(self, first: usize, cols: usize) -> Self {
        assert!(first + cols <= self.cols, "columns {first}+{cols} of {}", self.cols);
        Var { first_col: self.first_col + first, cols, ..self }
    }

    /// The `cols` columns of its array behind its own.
    pub fn columns_behind(self, cols: usize) -> Self {
        Var { first_col: self.first_col + self.cols, cols, ..self }
    }

    /// The same numbers in other rows; only of all columns of an array from its first row on.
    pub fn reshaped(self, rows: impl Into<Extent>, cols: usize) -> Self {
        let rows = rows.into();
        assert!(self.cols == self.stride && self.first_row == 0.into(), "{self:?} has gaps");
        assert_eq!(rows.max() * cols, self.rows.max() * self.cols, "{self:?} as {rows:?} x {cols}");
        Var { rows, cols, stride: cols, ..self }
    }

    /// First number, rows, columns and distance between rows, in a table whose rows are `table_stride` apart.
    pub fn place(self, symbols: &[usize], table_stride: Option<usize>) -> (usize, usize, usize, usize) {
        let stride = table_stride.unwrap_or(self.stride);
        let offset = self.first_row.value(symbols) * stride + self.first_col;
        (offset, self.rows.value(symbols), self.cols, stride)
    }
}

/// An index of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idx {
    pub(super) number: usize,
    pub(super) len: Extent,
}

impl Idx {
    /// How many numbers it has.
    pub fn len(self) -> Extent {
        self.len
    }

    /// Which index it is.
    pub fn number(self) -> usize {
        self.number
    }

    /// Whether it never has any.
    pub fn is_empty(self) -> bool {
        self.len.max() == 0
    }
}

/// Groups of rows of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupsId(pub(super) usize);

impl GroupsId {
    /// Which groups they are.
    pub fn number(self) -> usize {
        self.0
    }
}

/// What is dropped from a matrix of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropoutId(pub(super) usize);

impl DropoutId {
    /// Which one it is.
    pub fn number(self) -> usize {
        self.0
    }
}
