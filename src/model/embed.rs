//! Runs a batch plan on a backend: forward from leaf rows to query embeddings, backward in reverse.

use super::{Model, Workspace, allocate};
use crate::backend::{Backend, Mat, MatMut, ProjectStep};
use crate::error::{Error, Result};
use crate::query::Plan;
use crate::query::plan::Step;

/// A plan with its indices and buffers on the device; made once, used for every batch of its shape.
#[derive(Debug)]
pub struct Embedder<B: Backend> {
    steps: Vec<DeviceStep<B>>,
    roots: B::Index,
    num_leaves: usize,
    num_slots: usize,
    num_roots: usize,
    num_uses: usize,
    width: usize,
    slots: B::Buffer,
    grads: B::Buffer,
}

/// A step of the plan with what it keeps between forward and backward.
#[derive(Debug)]
enum DeviceStep<B: Backend> {
    Project {
        inputs: B::Index,
        output: usize,
        first_use: usize,
        count: usize,
        work: Workspace<B>,
    },
    Negate {
        inputs: B::Index,
        output: usize,
        count: usize,
        x: B::Buffer,
    },
    Intersect {
        inputs: B::Index,
        offsets: B::Index,
        output: usize,
        num_inputs: usize,
        num_outputs: usize,
        x: B::Buffer,
        dx: B::Buffer,
        work: Workspace<B>,
    },
}

impl<B: Backend> Embedder<B> {
    /// Places a plan on the device. With `trained` false there is no room for gradients, and
    /// [`Embedder::backward`] must not be called.
    ///
    /// Errors where the model cannot express a step of the plan, or memory is short.
    pub fn new(backend: &B, model: &dyn Model<B>, plan: &Plan, trained: bool) -> Result<Self> {
        let width = model.widths().query;
        let mut steps = Vec::with_capacity(plan.steps.len());
        for step in &plan.steps {
            steps.push(match step {
                Step::Project { inputs, output, first_use } => DeviceStep::Project {
                    count: inputs.len(),
                    inputs: backend.index(inputs)?,
                    output: *output as usize,
                    first_use: *first_use as usize,
                    work: allocate(backend, &model.project_workspace(inputs.len(), inputs.len(), trained))?,
                },
                Step::Intersect { .. } if !model.has_intersection() => {
                    return Err(Error::invalid(format!("{} has no intersection", model.name())));
                }
                Step::Intersect { inputs, offsets, output } => {
                    let (num_inputs, num_outputs) = (inputs.len(), offsets.len() - 1);
                    DeviceStep::Intersect {
                        inputs: backend.index(inputs)?,
                        offsets: backend.index(offsets)?,
                        output: *output as usize,
                        num_inputs,
                        num_outputs,
                        x: backend.zeros(num_inputs * width)?,
                        dx: backend.zeros(if trained { num_inputs * width } else { 0 })?,
                        work: allocate(backend, &model.workspace(num_inputs, num_outputs))?,
                    }
                }
                Step::Negate { .. } if !model.has_negation() => {
                    return Err(Error::invalid(format!("{} has no negation", model.name())));
                }
                Step::Negate { inputs, output } => DeviceStep::Negate {
                    count: inputs.len(),
                    inputs: backend.index(inputs)?,
                    output: *output as usize,
                    x: backend.zeros(inputs.len() * width)?,
                },
            });
        }
        Ok(Embedder {
            steps,
            roots: backend.index(&plan.roots)?,
            num_leaves: plan.leaf_anchors.len(),
            num_slots: plan.num_slots,
            num_roots: plan.roots.len(),
            num_uses: plan.relation_uses.len(),
            width,
            slots: backend.zeros(plan.num_slots * width)?,
            grads: backend.zeros(if trained { plan.num_slots * width } else { 0 })?,
        })
    }

    /// Numbers of the buffers of [`Embedder::new`].
    pub fn numbers(model: &dyn Model<B>, plan: &Plan, trained: bool) -> usize {
        let (width, with_gradients) = (model.widths().query, 1 + usize::from(trained));
        let of_step = |step: &Step| match step {
            Step::Project { inputs, .. } => {
                model.project_workspace(inputs.len(), inputs.len(), trained).iter().sum()
            }
            Step::Negate { inputs, .. } => inputs.len() * width,
            Step::Intersect { inputs, offsets, .. } => {
                with_gradients * inputs.len() * width
                    + model.workspace(inputs.len(), offsets.len() - 1).iter().sum::<usize>()
            }
        };
        with_gradients * plan.num_slots * width + plan.steps.iter().map(of_step).sum::<usize>()
    }

    /// Query embeddings (`roots x query width`) from leaf rows (`leaves x entity width`) and relation
    /// rows (`uses x relation width`), both in the plan's order.
    pub fn forward(
        &mut self,
        backend: &B,
        model: &dyn Model<B>,
        dense: &[Mat<B::Buffer>],
        leaves: Mat<B::Buffer>,
        relations: Mat<B::Buffer>,
        out: MatMut<B::Buffer>,
    ) {
        assert_eq!((leaves.rows, relations.rows, out.rows), (self.num_leaves, self.num_uses, self.num_roots));
        let (num_slots, width) = (self.num_slots, self.width);
        let slots = &mut self.slots;
        model.leaves(backend, leaves, MatMut::new(slots, num_slots, width).rows(0, self.num_leaves));
        for step in &mut self.steps {
            match step {
                DeviceStep::Project { inputs, output, first_use, count, work } => model.project(
                    backend,
                    dense,
                    ProjectStep { inputs, output: *output, count: *count, groups: None, key: None },
                    relations.rows(*first_use, *count),
                    work,
                    MatMut::new(slots, num_slots, width),
                ),
                DeviceStep::Negate { inputs, output, count, x } => {
                    backend.gather(
                        Mat::new(&*slots, num_slots, width),
                        inputs,
                        MatMut::new(x, *count, width),
                    );
                    let out = MatMut::new(slots, num_slots, width).rows(*output, *count);
                    model.negate(backend, Mat::new(x, *count, width), out);
                }
                DeviceStep::Intersect {
                    inputs, offsets, output, num_inputs, num_outputs, x, work, ..
                } => {
                    let from = Mat::new(&*slots, num_slots, width);
                    backend.gather(from, inputs, MatMut::new(x, *num_inputs, width));
                    let out = MatMut::new(slots, num_slots, width).rows(*output, *num_outputs);
                    model.intersect(backend, dense, Mat::new(x, *num_inputs, width), offsets, work, out);
                }
            }
        }
        backend.gather(Mat::new(slots, num_slots, width), &self.roots, out);
    }

    /// Gradients of [`Embedder::forward`] for the batch that it last saw: writes `dleaves` and
    /// `drelations`, adds to `ddense`.
    #[allow(clippy::too_many_arguments)]
    pub fn backward(
        &mut self,
        backend: &B,
        model: &dyn Model<B>,
        dense: &[Mat<B::Buffer>],
        relations: Mat<B::Buffer>,
        dout: Mat<B::Buffer>,
        dleaves: MatMut<B::Buffer>,
        mut drelations: MatMut<B::Buffer>,
        ddense: &mut [B::Buffer],
    ) {
        let (num_slots, width) = (self.num_slots, self.width);
        // Every slot is read once: its gradient is written by its one reader, roots by the caller.
        let (slots, grads) = (Mat::new(&self.slots, num_slots, width), &mut self.grads);
        backend.scatter(dout, &self.roots, MatMut::new(grads, num_slots, width));
        for step in self.steps.iter_mut().rev() {
            match step {
                DeviceStep::Project { inputs, output, first_use, count, work } => model.project_backward(
                    backend,
                    dense,
                    ProjectStep { inputs, output: *output, count: *count, groups: None, key: None },
                    slots,
                    relations.rows(*first_use, *count),
                    work,
                    MatMut::new(grads, num_slots, width),
                    drelations.again().rows(*first_use, *count),
                    ddense,
                ),
                DeviceStep::Negate { inputs, output, count, x } => {
                    let dout = Mat::new(&*grads, num_slots, width).rows(*output, *count);
                    let out = slots.rows(*output, *count);
                    model.negate_backward(backend, out, dout, MatMut::new(x, *count, width));
                    let to = MatMut::new(grads, num_slots, width);
                    backend.scatter(Mat::new(x, *count, width), inputs, to);
                }
                DeviceStep::Intersect { inputs, offsets, output, num_inputs, num_outputs, x, dx, work } => {
                    let dout = Mat::new(&*grads, num_slots, width).rows(*output, *num_outputs);
                    let x = Mat::new(&*x, *num_inputs, width);
                    let dx_out = MatMut::new(dx, *num_inputs, width);
                    model.intersect_backward(backend, dense, x, offsets, dout, work, dx_out, ddense);
                    let out = MatMut::new(grads, num_slots, width);
                    backend.scatter(Mat::new(dx, *num_inputs, width), inputs, out);
                }
            }
        }
        let dslots = Mat::new(&*grads, num_slots, width).rows(0, self.num_leaves);
        model.leaves_backward(backend, slots.rows(0, self.num_leaves), dslots, dleaves);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Reference;
    use crate::config::Config;
    use crate::model::{self, NAMES};
    use crate::query::{Mix, parse_structures};

    #[test]
    fn the_numbers_that_a_plan_foresees_are_those_that_are_allocated() {
        for name in NAMES {
            let config =
                Config::resolve(None, &[format!("model.name={name}"), "model.dim=6".into()]).unwrap();
            let model = model::create::<Reference>(&config.model).unwrap();
            let all = [(model.has_intersection(), "2i.pi"), (model.has_negation(), "2in"), (true, "1p.3p")];
            let texts: Vec<&str> = all.iter().filter(|(can, _)| *can).map(|(_, text)| *text).collect();
            let mix = Mix::new(&parse_structures(&texts.join(".")).unwrap(), 60).unwrap();
            let plan = model::plan(&*model, &mix).unwrap();
            for trained in [false, true] {
                let embedder = Embedder::new(&Reference, &*model, &plan, trained).unwrap();
                let of_step = |step: &DeviceStep<Reference>| match step {
                    DeviceStep::Project { work, .. } => work.iter().map(Vec::len).sum(),
                    DeviceStep::Negate { x, .. } => x.len(),
                    DeviceStep::Intersect { x, dx, work, .. } => {
                        x.len() + dx.len() + work.iter().map(Vec::len).sum::<usize>()
                    }
                };
                let allocated = embedder.slots.len()
                    + embedder.grads.len()
                    + embedder.steps.iter().map(of_step).sum::<usize>();
                assert_eq!(
                    Embedder::numbers(&*model, &plan, trained),
                    allocated,
                    "{name}, trained: {trained}"
                );
            }
        }
    }
}
