//! The networks that combine sets of rows: attention, deep sets, gated minima; and the one that moves rows.
//!
//! Their parameters are called `prefix.w1`, `prefix.b1`, `prefix.w2`, ...: [`layers`] makes them, and each network finds
//! its own by the prefix. `n` is the number of input rows, `s` the number of sets, `d` the width.

use super::Parameter;
use crate::program::ops::linear::{Activation, Linear};
use crate::program::ops::rows::CopyRows;
use crate::program::ops::segment::{Attend, GatedMin, SegmentMean};
use crate::program::{Idx, Program, Var};

/// The parameters of linear layers between these widths, input first; Xavier uniform.
pub fn layers(prefix: &str, widths: &[usize]) -> Vec<Parameter> {
    let layer = |(i, pair): (usize, &[usize])| {
        let (cols, rows) = (pair[0], pair[1]);
        let range = (6.0 / (rows + cols) as f32).sqrt();
        [
            Parameter { name: format!("{prefix}.w{}", i + 1), rows, cols, range },
            Parameter { name: format!("{prefix}.b{}", i + 1), rows: 1, cols: rows, range: 0.0 },
        ]
    };
    widths.windows(2).enumerate().flat_map(layer).collect()
}

/// `out = f(wi x + bi)`.
pub fn layer_to(program: &mut Program, prefix: &str, i: usize, x: Var, f: Activation, out: Var) {
    let [w, b] = ["w", "b"].map(|kind| program.parameter(&format!("{prefix}.{kind}{i}")));
    program.push(Linear { x, w, bias: Some(b), f, out });
}

/// `f(wi x + bi)`.
pub fn layer(program: &mut Program, prefix: &str, i: usize, x: Var, f: Activation) -> Var {
    let width = program.parameter(&format!("{prefix}.b{i}")).cols();
    let out = program.temporary(&format!("{prefix} {i}"), x.rows(), width);
    layer_to(program, prefix, i, x, f, out);
    out
}

/// Per dimension, softmax over the set of `w2 relu(w1 x + b1) + b2`, then the weighted sum
/// (Ren et al. 2020, "Query2Box", section 4.2). Two layers, d -> d -> d.
pub fn attention(program: &mut Program, prefix: &str, x: Var, offsets: Idx, out: Var) {
    let hidden = layer(program, prefix, 1, x, Activation::Relu);
    let weights = layer(program, prefix, 2, hidden, Activation::None);
    program.push(Attend { x, offsets, weights, out });
}

/// `w4 relu(w3 mean(relu(w2 relu(w1 x + b1) + b2)) + b3) + b4` (Zaheer et al. 2017, "Deep Sets"). Four layers, d -> d.
pub fn deep_set(program: &mut Program, prefix: &str, x: Var, offsets: Idx, out: Var) {
    let hidden = layer(program, prefix, 1, x, Activation::Relu);
    let hidden = layer(program, prefix, 2, hidden, Activation::Relu);
    let mean = program.temporary(&format!("{prefix} mean"), out.rows(), hidden.cols());
    program.push(SegmentMean { x: hidden, offsets, out: mean });
    let hidden = layer(program, prefix, 3, mean, Activation::Relu);
    layer_to(program, prefix, 4, hidden, Activation::None, out);
}

/// The parameters of [`deep_set`] on rows of `d`, whose prefix is "set".
pub fn deep_set_layers(d: usize) -> Vec<Parameter> {
    layers("set", &[d; 5])
}

/// The same where a row `x` has two halves of d that belong together: both of a column have the weight that two layers
/// make of `seen`, whose last has d columns.
pub fn attention_of_halves(program: &mut Program, prefix: &str, [seen, x]: [Var; 2], offsets: Idx, out: Var) {
    let d = x.cols() / 2;
    let hidden = layer(program, prefix, 1, seen, Activation::Relu);
    let logits = layer(program, prefix, 2, hidden, Activation::None);
    let weights = program.temporary(&format!("{prefix} of both halves"), x.rows(), 2 * d);
    for half in [0, d] {
        program.push(CopyRows { from: logits, out: weights.columns(half, d) });
    }
    program.push(Attend { x, offsets, weights, out });
}

/// `min(x) * sigmoid(w2 mean(relu(w1 seen + b1)) + b2)`: how far an intersection reaches. Two layers, to the width of x.
pub fn gated_min(program: &mut Program, prefix: &str, [seen, x]: [Var; 2], offsets: Idx, out: Var) {
    let hidden = layer(program, prefix, 1, seen, Activation::Relu);
    let mean = program.temporary(&format!("{prefix} mean"), out.rows(), hidden.cols());
    program.push(SegmentMean { x: hidden, offsets, out: mean });
    let gate = layer(program, prefix, 2, mean, Activation::None);
    program.push(GatedMin { x, offsets, gate, out });
}

/// `wn relu(.. relu(w1 x + b1) ..) + bn`: `count` linear layers with relu between them.
pub fn mlp(program: &mut Program, prefix: &str, count: usize, x: Var) -> Var {
    let f = |i| if i == count { Activation::None } else { Activation::Relu };
    (1..=count).fold(x, |x, i| layer(program, prefix, i, x, f(i)))
}
