//! Which arrays of a program share memory: those that are never needed at the same time.

use super::ops::Operand;
use super::{Base, Kind, Program, Var};

/// The memory of a program: computed once, for those who print it and for those who allocate it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Numbers of each buffer.
    pub buffers: Vec<usize>,
    /// The buffer of each array.
    pub buffer_of: Vec<usize>,
    /// Numbers of each index and of each list of groups, where they are most: one copy of each.
    pub index_numbers: usize,
}

impl Memory {
    /// Scalars of all buffers.
    pub fn numbers(&self) -> usize {
        self.buffers.iter().sum()
    }
}

/// The operations between which an array is needed, both included.
type Span = [usize; 2];

impl Program {
    /// Places all arrays. The larger ones come first, each in the first buffer whose arrays are needed at other times.
    pub fn memory(&self) -> Memory {
        let spans = self.spans();
        let mut order: Vec<usize> = (0..self.arrays.len()).collect();
        order.sort_by_key(|&array| std::cmp::Reverse(self.arrays[array].numbers()));
        let (mut buffers, mut taken): (Vec<usize>, Vec<Vec<Span>>) = (Vec::new(), Vec::new());
        let mut buffer_of = vec![0; self.arrays.len()];
        for array in order {
            let span = spans[array];
            let is_free =
                |taken: &Vec<Span>| taken.iter().all(|other| other[1] < span[0] || span[1] < other[0]);
            let place = taken.iter().position(is_free).unwrap_or_else(|| {
                buffers.push(self.arrays[array].numbers());
                taken.push(Vec::new());
                taken.len() - 1
            });
            taken[place].push(span);
            buffer_of[array] = place;
        }
        let of_indices: usize = self.indices.iter().map(|index| index.len.max()).sum();
        let of_groups: usize = self.groups.iter().map(|groups| groups.numbers()).sum();
        Memory { buffers, buffer_of, index_numbers: of_indices + of_groups }
    }

    /// When each array is needed. What is used in a section that may run several times, and outside of it, is needed in
    /// all of it.
    fn spans(&self) -> Vec<Span> {
        let end = self.ops.len();
        let mut spans: Vec<Option<Span>> = vec![None; self.arrays.len()];
        let mut widen = |array: usize, first: usize, last: usize| {
            let [from, to] = spans[array].get_or_insert([first, last]);
            (*from, *to) = ((*from).min(first), (*to).max(last));
        };
        self.each_use(|number, var| widen(var, number, number));
        for section in self.sections.iter().filter(|section| section.repeats) {
            let range = &section.ops;
            let mut inside = vec![false; self.arrays.len()];
            let mut outside = vec![false; self.arrays.len()];
            self.each_use(|number, array| {
                let uses = if range.contains(&number) { &mut inside } else { &mut outside };
                uses[array] = true;
            });
            for array in (0..self.arrays.len()).filter(|&array| inside[array] && outside[array]) {
                widen(array, range.start, range.end - 1);
            }
        }
        let kept = |(span, array): (Option<Span>, &super::Array)| match array.kind {
            Kind::Temporary => span.unwrap_or([end, end]),
            Kind::Kept => [0, end],
        };
        spans.into_iter().zip(&self.arrays).map(kept).collect()
    }

    /// Calls `see` with each operation's number and each array that it works on.
    fn each_use(&self, mut see: impl FnMut(usize, usize)) {
        for (number, op) in self.ops.iter().enumerate() {
            op.operands(&mut |_, operand| {
                if let Operand::Read(Var { base: Base::Array(array), .. })
                | Operand::Write(Var { base: Base::Array(array), .. }) = operand
                {
                    see(number, array);
                }
            });
        }
    }
}
