//! How operations are written down, over operands of any kind.

use crate::program::{DropoutId, Extent, Gradients, GroupsId, Idx, Program, TableId, Var};
use std::fmt::Debug;

/// What the operands of an operation are.
pub trait Operands: Sized {
    /// A matrix that is read.
    type In: Clone + Copy;
    /// A matrix that is written.
    type Out;
    /// Row numbers, offsets, labels or mask words.
    type Index: Clone + Copy;
    /// Rows of a gradient that belong to one row of a table.
    type Groups: Clone + Copy;
    /// A table with the state of its optimizer, changed.
    type Table;
    /// A number of rows.
    type Count: Clone + Copy + PartialEq + Debug;
    /// What decides which numbers are dropped.
    type Dropout: Clone + Copy;
    /// A step of an optimizer.
    type Step: Clone + Copy;
    /// By how much of the difference a running average moves.
    type Rate: Clone + Copy;

    /// Rows and columns.
    fn shape(matrix: &Self::In) -> (Self::Count, usize);
    /// Rows and columns.
    fn shape_of_out(matrix: &Self::Out) -> (Self::Count, usize);
    /// Numbers of an index.
    fn len(index: &Self::Index) -> Self::Count;
    /// Rows and columns.
    fn shape_of_table(table: &Self::Table) -> (Self::Count, usize);
    /// A number that is fixed.
    fn count(n: usize) -> Self::Count;
    /// `times` x `n`.
    fn times(n: Self::Count, times: usize) -> Self::Count;
}

/// Operands on paper: those of a [`Program`](crate::program::Program).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnPaper;

impl Operands for OnPaper {
    type In = Var;
    type Out = Var;
    type Index = Idx;
    type Groups = GroupsId;
    type Table = TableId;
    type Count = Extent;
    type Dropout = DropoutId;
    type Step = super::optimizer::Update;
    type Rate = super::normalise::Average;

    fn shape(matrix: &Var) -> (Extent, usize) {
        (matrix.rows(), matrix.cols())
    }

    fn shape_of_out(matrix: &Var) -> (Extent, usize) {
        (matrix.rows(), matrix.cols())
    }

    fn len(index: &Idx) -> Extent {
        index.len()
    }

    fn shape_of_table(table: &TableId) -> (Extent, usize) {
        (table.rows.into(), table.cols)
    }

    fn count(n: usize) -> Extent {
        n.into()
    }

    fn times(n: Extent, times: usize) -> Extent {
        n.times(times)
    }
}

/// What is known of an operation on paper.
pub trait Described {
    /// Floating-point operations of its formula; 0 where it only moves numbers.
    fn work(&self) -> f64 {
        0.0
    }

    /// Which of its kind it is, for readers; empty where there is one kind.
    fn kind(&self) -> String {
        String::new()
    }

    /// Writes down its gradient as operations, behind those of the operations after it. Nothing where it has none, or
    /// where its output has no part in what is differentiated.
    fn gradient(&self, gradients: &mut Gradients, program: &mut Program) {
        let _ = (gradients, program);
    }
}

/// Turns operands of one kind into those of another.
pub trait MapOperands<O: Operands, P: Operands> {
    /// A matrix that is read.
    fn input(&self, matrix: O::In) -> P::In;
    /// A matrix that is written.
    fn output(&self, matrix: O::Out) -> P::Out;
    /// An index.
    fn index(&self, index: O::Index) -> P::Index;
    /// Groups.
    fn groups(&self, groups: O::Groups) -> P::Groups;
    /// A table.
    fn table(&self, table: O::Table) -> P::Table;
    /// A number of rows.
    fn count(&self, count: O::Count) -> P::Count;
    /// What is dropped.
    fn dropout(&self, dropout: O::Dropout) -> P::Dropout;
    /// A step.
    fn step(&self, step: O::Step) -> P::Step;
    /// A rate.
    fn rate(&self, rate: O::Rate) -> P::Rate;
}

/// An operand of an operation on paper, for those who look at all of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operand {
    /// A matrix that is read.
    Read(Var),
    /// A matrix that is written.
    Write(Var),
    /// An index that is read.
    Index(Idx),
    /// Groups that are read.
    Groups(GroupsId),
    /// A table that is changed.
    Table(TableId),
}

/// What becomes of a field of an operation, by its role.
macro_rules! role {
    (type $O:ident In) => { <$O as $crate::program::ops::Operands>::In };
    (type $O:ident Out) => { <$O as $crate::program::ops::Operands>::Out };
    (type $O:ident MaybeIn) => { Option<<$O as $crate::program::ops::Operands>::In> };
    (type $O:ident MaybeOut) => { Option<<$O as $crate::program::ops::Operands>::Out> };
    (type $O:ident Index) => { <$O as $crate::program::ops::Operands>::Index };
    (type $O:ident Groups) => { <$O as $crate::program::ops::Operands>::Groups };
    (type $O:ident MaybeGroups) => { Option<<$O as $crate::program::ops::Operands>::Groups> };
    (type $O:ident Table) => { <$O as $crate::program::ops::Operands>::Table };
    (type $O:ident Count) => { <$O as $crate::program::ops::Operands>::Count };
    (type $O:ident Dropout) => { <$O as $crate::program::ops::Operands>::Dropout };
    (type $O:ident Step) => { <$O as $crate::program::ops::Operands>::Step };
    (type $O:ident Rate) => { <$O as $crate::program::ops::Operands>::Rate };
    (type $O:ident Is($T:ty)) => { $T };

    (map $m:ident $x:ident In) => { $m.input($x) };
    (map $m:ident $x:ident Out) => { $m.output($x) };
    (map $m:ident $x:ident MaybeIn) => { $x.map(|x| $m.input(x)) };
    (map $m:ident $x:ident MaybeOut) => { $x.map(|x| $m.output(x)) };
    (map $m:ident $x:ident Index) => { $m.index($x) };
    (map $m:ident $x:ident Groups) => { $m.groups($x) };
    (map $m:ident $x:ident MaybeGroups) => { $x.map(|x| $m.groups(x)) };
    (map $m:ident $x:ident Table) => { $m.table($x) };
    (map $m:ident $x:ident Count) => { $m.count($x) };
    (map $m:ident $x:ident Dropout) => { $m.dropout($x) };
    (map $m:ident $x:ident Step) => { $m.step($x) };
    (map $m:ident $x:ident Rate) => { $m.rate($x) };
    (map $m:ident $x:ident Is($T:ty)) => { $x };

    (visit $v:ident $name:expr, $x:ident In) => { $v($name, Operand::Read(*$x)) };
    (visit $v:ident $name:expr, $x:ident Out) => { $v($name, Operand::Write(*$x)) };
    (visit $v:ident $name:expr, $x:ident MaybeIn) => { if let Some(x) = $x { $v($name, Operand::Read(*x)) } };
    (visit $v:ident $name:expr, $x:ident MaybeOut) => { if let Some(x) = $x { $v($name, Operand::Write(*x)) } };
    (visit $v:ident $name:expr, $x:ident Index) => { $v($name, Operand::Index(*$x)) };
    (visit $v:ident $name:expr, $x:ident Groups) => { $v($name, Operand::Groups(*$x)) };
    (visit $v:ident $name:expr, $x:ident MaybeGroups) => { if let Some(x) = $x { $v($name, Operand::Groups(*x)) } };
    (visit $v:ident $name:expr, $x:ident Table) => { $v($name, Operand::Table(*$x)) };
    (visit $v:ident $name:expr, $x:ident $Role:ident $(($T:ty))?) => { let _ = $x; };
}

/// Writes down a family of operations: a struct each, and the enum of the family.
macro_rules! operations {
    ($(#[$family_doc:meta])* $Family:ident:
     $( $(#[$doc:meta])* $Name:ident { $($field:ident: $Role:ident $(($T:ty))?),* $(,)? } )*) => {
        use $crate::program::ops::describe::{Described, MapOperands, OnPaper, Operand, Operands};

        $(
            $(#[$doc])*
            #[allow(missing_docs)]
            pub struct $Name<O: Operands> { $(pub $field: role!(type O $Role $(($T))?)),* }

            impl Clone for $Name<OnPaper> {
                fn clone(&self) -> Self {
                    *self
                }
            }

            impl ::std::marker::Copy for $Name<OnPaper> {}

            impl<O: Operands> From<$Name<O>> for $crate::program::Op<O> {
                fn from(op: $Name<O>) -> Self {
                    $crate::program::Op::$Family($Family::$Name(op))
                }
            }
        )*

        $(#[$family_doc])*
        pub enum $Family<O: Operands> {
            $(
                #[doc = concat!("See [`struct@", stringify!($Name), "`].")]
                $Name($Name<O>),
            )*
        }

        impl Clone for $Family<OnPaper> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl ::std::marker::Copy for $Family<OnPaper> {}

        impl<O: Operands> $Family<O> {
            /// Its name.
            pub fn name(&self) -> &'static str {
                match self {
                    $($Family::$Name(_) => stringify!($Name),)*
                }
            }

            /// The same operation on operands of another kind.
            #[allow(unused_variables)]
            pub fn map<P: Operands>(self, map: &impl MapOperands<O, P>) -> $Family<P> {
                match self {
                    $($Family::$Name($Name { $($field),* }) => {
                        $Family::$Name($Name { $($field: role!(map map $field $Role $(($T))?)),* })
                    })*
                }
            }

            /// Panics where the shapes of its operands do not fit each other.
            pub fn check(&self) {
                match self {
                    $($Family::$Name(op) => op.check(),)*
                }
            }
        }

        impl $Family<OnPaper> {
            /// Shows all operands that are in memory, with their names.
            #[allow(unused_variables)]
            pub fn operands(&self, visit: &mut dyn FnMut(&'static str, Operand)) {
                match self {
                    $($Family::$Name($Name { $($field),* }) => {
                        $(role!(visit visit stringify!($field), $field $Role $(($T))?);)*
                    })*
                }
            }

            /// Which of its kind it is, for readers.
            pub fn kind(&self) -> String {
                match self {
                    $($Family::$Name(op) => op.kind(),)*
                }
            }

            /// Floating-point operations of its formula.
            pub fn work(&self) -> f64 {
                match self {
                    $($Family::$Name(op) => op.work(),)*
                }
            }

            /// Writes down its gradient.
            pub fn gradient(&self, gradients: &mut $crate::program::Gradients, program: &mut $crate::program::Program) {
                match self {
                    $($Family::$Name(op) => op.gradient(gradients, program),)*
                }
            }
        }
    };
}

/// Asserts that shapes are equal; the message has what was compared.
macro_rules! same {
    ($($a:expr => $b:expr),* $(,)?) => {$(
        let (a, b) = ($a, $b);
        assert!(a == b, "{} is {a:?}, and {} is {b:?}", stringify!($a), stringify!($b));
    )*};
}
