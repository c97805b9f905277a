//! Gradients and memory, on programs small enough to know by heart.

use super::ops::linear::{Activation, Linear};
use super::ops::rows::{Add, AddGroups, CopyRows, Fill, Gather};
use super::ops::segment::{Attend, SegmentMean};
use super::*;

fn program() -> Program {
    let tables = [("entities", 9, 4), ("relations", 3, 4), ("w", 4, 4), ("b", 1, 4)];
    Program::new(tables.map(|(name, rows, cols)| (name.to_string(), rows, cols)))
}

/// The operations from `first` on, each with what it writes.
fn written(p: &Program, first: usize) -> Vec<String> {
    let text = |op: &Op<OnPaper>| {
        let mut text = op.name().to_string();
        op.operands(&mut |_, operand| match operand {
            Operand::Write(var) => text += &format!(" {}", p.name_of(var)),
            Operand::Table(table) => text += &format!(" {}", p.tables[table.number].name),
            _ => {}
        });
        text
    };
    p.ops[first..].iter().map(text).collect()
}

#[test]
fn the_first_gradient_is_written_and_later_ones_are_added_in_reverse_order() {
    let p = &mut program();
    let x = p.kept("x", 6, 4);
    let (hidden, out) = (p.temporary("hidden", 6, 4), p.temporary("out", 2, 4));
    let offsets = p.constant("sets", vec![0, 2, 6]);
    let (w, b) = (p.parameter("w"), p.parameter("b"));
    // x is read by a layer, and by an attention whose weights are that layer's.
    p.push(Linear { x, w, bias: Some(b), f: Activation::Relu, out: hidden });
    p.push(Attend { x, offsets, weights: hidden, out });
    let mut gradients = Gradients::default();
    let dout = p.kept("dout", 2, 4);
    gradients.is(out, dout);
    gradients.backward(p, 0..2);
    let expected = [
        "AttendBackward hidden d x",
        "Fill d w",
        "Fill d b",
        "LinearBackward hidden d x, part d w d b",
        "Add d x",
    ];
    assert_eq!(written(p, 2), expected);
    assert_eq!(gradients.tables().map(|(table, _)| table).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn a_gradient_whose_columns_were_written_apart_is_added_to() {
    let p = &mut program();
    let x = p.kept("x", 6, 4);
    let (all, offsets) = (p.temporary("all", 2, 4), p.constant("sets", vec![0, 2, 6]));
    let halves = [p.temporary("left", 2, 2), p.temporary("right", 2, 2)];
    p.push(SegmentMean { x, offsets, out: all });
    for (half, out) in halves.into_iter().enumerate() {
        p.push(SegmentMean { x: x.columns(2 * half, 2), offsets, out });
    }
    let mut gradients = Gradients::default();
    for out in [all, halves[0], halves[1]] {
        let dout = p.kept("dout", 2, out.cols());
        gradients.is(out, dout);
    }
    gradients.backward(p, 0..3);
    let expected =
        ["SegmentMeanBackward d x", "SegmentMeanBackward d x", "SegmentMeanBackward d x, part", "Add d x"];
    assert_eq!(written(p, 3), expected);
}

#[test]
fn columns_that_nothing_depends_on_have_a_gradient_of_zeros() {
    let p = &mut program();
    let (x, part) = (p.kept("x", 6, 5), p.temporary("part", 6, 4));
    p.push(CopyRows { from: x.columns(0, 4), out: part });
    let out = p.temporary("out", 2, 4);
    let offsets = p.constant("sets", vec![0, 2, 6]);
    p.push(SegmentMean { x: part, offsets, out });
    let mut gradients = Gradients::default();
    let dout = p.kept("dout", 2, 4);
    gradients.is(out, dout);
    gradients.backward(p, 0..2);
    assert_eq!(written(p, 2), ["SegmentMeanBackward d part", "CopyRows d x"]);
    assert_eq!(gradients.of(p, x).map(Var::cols), Some(5));
    assert_eq!(written(p, 4), ["Fill d x"]);
    // Once they are zeros, they are known.
    gradients.of(p, x);
    assert_eq!(p.len(), 5);
    let unused = p.kept("unused", 6, 5);
    assert!(gradients.of(p, unused).is_none());
}

#[test]
fn rows_of_an_arena_get_their_gradients_from_their_one_reader() {
    let p = &mut program();
    let arena = p.arena("slots", 8, 4);
    let rows = p.constant("rows", vec![1, 3]);
    let read = p.temporary("read", 2, 3);
    p.push(Gather { table: arena.columns(0, 3), rows, out: read });
    let mut gradients = Gradients::default();
    let dout = p.kept("dout", 2, 3);
    gradients.is(read, dout);
    gradients.backward(p, 0..1);
    assert_eq!(written(p, 1), ["Scatter d slots", "Fill zeros", "Scatter d slots"]);
    // Rows of a table are where the way back ends.
    let of_table = p.temporary("rows of a table", 2, 4);
    p.push(Gather { table: p.values(0), rows, out: of_table });
    let before = p.len();
    gradients.backward(p, before - 1..before);
    assert_eq!(p.len(), before);
}

#[test]
#[should_panic(expected = "a part of the gradient of x was written before")]
fn parts_that_overlap_without_one_containing_the_other_are_refused() {
    let p = &mut program();
    let x = p.kept("x", 6, 5);
    let mut gradients = Gradients::default();
    let _ = gradients.target(p, x.columns(0, 3));
    let _ = gradients.target(p, x.columns(2, 3));
}

#[test]
fn arrays_that_are_never_needed_at_the_same_time_share_memory() {
    let p = &mut program();
    let kept = p.kept("kept", 10, 1);
    let [a, b, c] = ["a", "b", "c"].map(|name| p.temporary(name, 10, 2));
    p.push(Fill { value: 1.0, out: a });
    p.push(CopyRows { from: a, out: b });
    p.push(CopyRows { from: b, out: c });
    p.push(CopyRows { from: c.columns(0, 1), out: kept });
    // b is needed with a and with c; a and c are not needed together.
    let memory = p.memory();
    assert_eq!(memory.numbers(), 10 + 20 + 20);
    let [a, b, c] = [a, b, c].map(|var| {
        memory.buffer_of[match var.base() {
            Base::Array(array) => array,
            Base::Table(_) => unreachable!(),
        }]
    });
    assert!(a == c && a != b);
}

#[test]
fn what_a_repeated_section_reads_from_outside_is_kept_until_its_last_run() {
    let with = |repeats: bool| {
        let p = &mut program();
        let [a, b, sum] = ["a", "b", "sum"].map(|name| p.temporary(name, 10, 2));
        p.push(Fill { value: 0.0, out: sum });
        p.push(Fill { value: 1.0, out: a });
        if repeats {
            p.repeated_section("again")
        } else {
            p.section("once")
        };
        p.push(Add { from: a, to: sum });
        p.push(Fill { value: 2.0, out: b });
        p.push(Add { from: b, to: sum });
        p.memory().numbers()
    };
    // In one run b may take the place of a; in a second one a is read again.
    assert_eq!((with(false), with(true)), (40, 60));
}

#[test]
#[should_panic(expected = "O::shape(&self.from).1 is 2, and O::shape_of_out(&self.to).1 is 4")]
fn shapes_are_checked_when_an_operation_is_written_down() {
    let p = &mut program();
    let from = p.temporary("from", 3, 2);
    let groups = p.groups(3);
    p.push(AddGroups { groups, from, to: p.values(0) });
}

#[test]
fn rows_that_a_batch_decides_have_the_values_of_its_symbols() {
    let p = &mut program();
    let (rows, tile) = (p.symbol(100), p.symbol(8));
    let all = p.temporary("all", rows, 3);
    let part = all.part(tile, 4).columns(1, 2);
    assert_eq!((all.rows().max(), part.rows().max()), (100, 4));
    assert_eq!(part.place(&[50, 6], None), (6 * 3 + 1, 4, 2, 3));
    assert_eq!(Extent::from(rows).times(3).plus(2).value(&[50, 0]), 152);
    assert_eq!(format!("{:?}, {:?}", all.rows(), part.rows()), "at most 100, 4");
}
