//! Projections.

use crate::array::*;
use crate::common::cases::{PROJECTIONS, kinds};
use smore::engine::backend::{Backend, DeviceGroups, Projection, Reference};
use smore::engine::program::ops::project::{Project, ProjectBackward};
use smore::engine::rng::{Rng, below, stream};
use smore::engine::sampler::Groups;

/// Slots below the first output, and behind the last one.
const BELOW: usize = 150;
const BEHIND: usize = 2;

/// Columns of a query row.
fn width(kind: Projection, d: usize) -> usize {
    if matches!(kind, Projection::Translate | Projection::Product | Projection::Matrix) { d } else { 2 * d }
}

struct Case {
    what: String,
    kind: Projection,
    inputs: Vec<u32>,
    /// The first slot written.
    output: usize,
    relations: Array,
    slots: Array,
    grads: Array,
    /// Uses that share a row of the relations.
    groups: Option<Groups>,
}

impl Case {
    /// Terms of the sums, forward and backward for queries and for relations.
    fn terms(&self) -> [usize; 2] {
        if self.kind == Projection::Matrix { [self.slots.cols, self.inputs.len()] } else { [2, 2] }
    }
}

/// Groups on a device.
pub fn device_groups<B: Backend>(backend: &B, groups: &Groups) -> DeviceGroups<B> {
    let [ids, offsets, members] =
        [&groups.ids, &groups.offsets, &groups.members].map(|list| backend.index(list).unwrap());
    DeviceGroups { ids, offsets, members }
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
            output: BELOW,
            relations: Array::random(rng, count, kind.relation_width(width), 4.0),
            slots: Array::random(rng, slots, width, 2.0),
            grads: Array::random(rng, slots, width, 1.0),
            groups: None,
        });
    };
    for kind in kinds(&PROJECTIONS).filter(|&kind| kind != Projection::Matrix) {
        DIMENSIONS.into_iter().for_each(|d| case(&mut rng, kind, 5, d));
        COUNTS.into_iter().for_each(|count| case(&mut rng, kind, count, 17));
        case(&mut rng, kind, 65, 400);
    }
    let kind = Projection::Matrix;
    DIMENSIONS.into_iter().filter(|&d| d <= 100).for_each(|d| case(&mut rng, kind, 5, d));
    COUNTS.into_iter().for_each(|count| case(&mut rng, kind, count, 17));
    // Relations of none, one and many uses.
    let shared = [(0, 5, 16), (1, 1, 7), (3, 2, 65), (65, 4, 33), (300, 3, 17), (130, 200, 16), (40, 3, 150)];
    for (count, relations, d) in shared {
        let used: Vec<u32> = (0..count)
            .map(|_| {
                (below(&mut rng, relations) * below(&mut rng, 2) + relations / 2) as u32 % relations as u32
            })
            .collect();
        let mut groups = Groups::default();
        groups.assign(&used);
        let output = BELOW.max(count);
        let slots = output + count + BEHIND;
        body(Case {
            what: format!("{kind:?}, {count} x {d} of {relations}"),
            kind,
            inputs: distinct(&mut rng, count, output),
            output,
            relations: Array::random(&mut rng, relations as usize, d * d, 4.0),
            slots: Array::random(&mut rng, slots, d, 2.0),
            grads: Array::random(&mut rng, slots, d, 1.0),
            groups: Some(groups),
        });
    }
}

pub fn check_project<B: Backend>(backend: &B) {
    fn run<B: Backend>(backend: &B, case: &Case) -> Array {
        let inputs = &backend.index(&case.inputs).unwrap();
        let groups = case.groups.as_ref().map(|groups| device_groups(backend, groups));
        let count = case.inputs.len();
        let mut slots = case.slots.on(backend);
        backend.run(Project {
            kind: case.kind,
            inputs,
            output: case.output,
            count,
            groups: groups.as_ref(),
            relations: case.relations.on(backend).mat(),
            slots: slots.mat_mut(),
        });
        slots.read()
    }
    each_case(|case| {
        let (written, [terms, _]) = (case.output..case.output + case.inputs.len(), case.terms());
        let tolerance = |i, _| if written.contains(&i) { rounding(terms, 8.0 * terms as f64) } else { 0.0 };
        assert_close(&case.what, &run(backend, &case), &run(&Reference, &case), tolerance);
    });
    // Slots that end with their last output, as those of a whole plan do.
    let mut rng = stream(2, "last slot", 0);
    for d in DIMENSIONS {
        let (relations, slots) =
            (Array::random(&mut rng, 3, d, 1.0), Array::random(&mut rng, BELOW + 3, d, 1.0));
        let (kind, inputs, grads) = (Projection::Translate, vec![4, 0, 149], slots.clone());
        let what = format!("last slot, d {d}");
        let case = Case { what, kind, inputs, output: BELOW, relations, slots, grads, groups: None };
        assert_same(&case.what, &run(backend, &case), &run(&Reference, &case));
    }
}

pub fn check_project_backward<B: Backend>(backend: &B) {
    fn run<B: Backend>(backend: &B, case: &Case) -> [Array; 2] {
        let inputs = &backend.index(&case.inputs).unwrap();
        let groups = case.groups.as_ref().map(|groups| device_groups(backend, groups));
        let count = case.inputs.len();
        let mut grads = case.grads.on(backend);
        let mut relation_grads = Array::junk(case.relations.rows, case.relations.cols).on(backend);
        let (slots, relations) = (case.slots.on(backend), case.relations.on(backend));
        backend.run(ProjectBackward {
            kind: case.kind,
            inputs,
            output: case.output,
            count,
            groups: groups.as_ref(),
            slots: slots.mat(),
            relations: relations.mat(),
            grads: grads.mat_mut(),
            relation_grads: relation_grads.mat_mut(),
        });
        [grads.read(), relation_grads.read()]
    }
    each_case(|case| {
        let [grads, relation_grads] = run(backend, &case);
        let [want_grads, want_relation_grads] = run(&Reference, &case);
        let written = |i: usize| case.inputs.contains(&(i as u32));
        let [terms, uses] = case.terms();
        let tolerance = |i, _| if written(i) { rounding(terms, 4.0 * terms as f64) } else { 0.0 };
        assert_close(&case.what, &grads, &want_grads, tolerance);
        assert_close(&case.what, &relation_grads, &want_relation_grads, |_, _| {
            rounding(uses, 2.0 * uses as f64)
        });
    });
}
