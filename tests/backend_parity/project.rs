//! Projections.

use crate::array::*;
use smore::backend::{Activation, Backend, ProjectStep, Projection, Reference};
use smore::rng::{Rng, stream};

pub const KINDS: [Projection; 7] = [
    Projection::Translate,
    Projection::Box { offset: Activation::None },
    Projection::Box { offset: Activation::Relu },
    Projection::Box { offset: Activation::Softplus },
    Projection::Product,
    Projection::ComplexProduct,
    Projection::Rotate { scale: 2.5 },
];

/// Slots below the first output, and behind the last one.
const BELOW: usize = 150;
const BEHIND: usize = 2;

/// Columns of a query row.
fn width(kind: Projection, d: usize) -> usize {
    if matches!(kind, Projection::Translate | Projection::Product) { d } else { 2 * d }
}

struct Case {
    what: String,
    kind: Projection,
    inputs: Vec<u32>,
    relations: Array,
    slots: Array,
    grads: Array,
}

fn each_case(mut body: impl FnMut(Case)) {
    let mut rng = stream(2, "project", 0);
    let mut case = |rng: &mut Rng, kind, count, d| {
        let width = width(kind, d);
        let slots = BELOW + count + BEHIND;
        body(Case {
            what: format!("{kind:?}, {count} x {d}"),
            kind,
            inputs: distinct(rng, count, BELOW),
            relations: Array::random(rng, count, kind.relation_width(width), 4.0),
            slots: Array::random(rng, slots, width, 2.0),
            grads: Array::random(rng, slots, width, 1.0),
        });
    };
    for kind in KINDS {
        DIMENSIONS.into_iter().for_each(|d| case(&mut rng, kind, 5, d));
        COUNTS.into_iter().for_each(|count| case(&mut rng, kind, count, 17));
        case(&mut rng, kind, 65, 400);
    }
}

pub fn check_project<B: Backend>(backend: &B) {
    fn run<B: Backend>(backend: &B, case: &Case) -> Array {
        let inputs = &backend.index(&case.inputs).unwrap();
        let step = ProjectStep { inputs, output: BELOW, count: case.inputs.len() };
        let mut slots = case.slots.on(backend);
        backend.project(case.kind, step, case.relations.on(backend).mat(), slots.mat_mut());
        slots.read()
    }
    each_case(|case| {
        let written = BELOW..BELOW + case.inputs.len();
        let tolerance = |i, _| if written.contains(&i) { rounding(2, 16.0) } else { 0.0 };
        assert_close(&case.what, &run(backend, &case), &run(&Reference, &case), tolerance);
    });
    // Slots that end with their last output, as those of a whole plan do.
    let mut rng = stream(2, "last slot", 0);
    for d in DIMENSIONS {
        let (relations, slots) =
            (Array::random(&mut rng, 3, d, 1.0), Array::random(&mut rng, BELOW + 3, d, 1.0));
        let (kind, inputs, grads) = (Projection::Translate, vec![4, 0, 149], slots.clone());
        let case = Case { what: format!("last slot, d {d}"), kind, inputs, relations, slots, grads };
        assert_same(&case.what, &run(backend, &case), &run(&Reference, &case));
    }
}

pub fn check_project_backward<B: Backend>(backend: &B) {
    fn run<B: Backend>(backend: &B, case: &Case) -> [Array; 2] {
        let inputs = &backend.index(&case.inputs).unwrap();
        let step = ProjectStep { inputs, output: BELOW, count: case.inputs.len() };
        let mut grads = case.grads.on(backend);
        let mut relation_grads = Array::junk(case.relations.rows, case.relations.cols).on(backend);
        let (slots, relations) = (case.slots.on(backend), case.relations.on(backend));
        backend.project_backward(
            case.kind,
            step,
            slots.mat(),
            relations.mat(),
            grads.mat_mut(),
            relation_grads.mat_mut(),
        );
        [grads.read(), relation_grads.read()]
    }
    each_case(|case| {
        let [grads, relation_grads] = run(backend, &case);
        let [want_grads, want_relation_grads] = run(&Reference, &case);
        let written = |i: usize| case.inputs.contains(&(i as u32));
        let tolerance = |i, _| if written(i) { rounding(2, 8.0) } else { 0.0 };
        assert_close(&case.what, &grads, &want_grads, tolerance);
        assert_close(&case.what, &relation_grads, &want_relation_grads, |_, _| rounding(2, 4.0));
    });
}
