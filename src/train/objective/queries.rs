//! Queries, of one hop or more, each with a positive, against sampled negatives.
//!
//! A step gathers the batch's rows, embeds the queries, scores them against their positives and the pool, and carries the
//! loss's gradient back to rows and networks; every row that the batch touched is updated once, by the optimizer on the
//! sum of its gradients.

use super::{At, Objective, TrainingBatch, Written, lists, regularise};
use crate::backend::{Backend, Workspace};
use crate::config::{Config, QueryWeighting};
use crate::error::Result;
use crate::model::{Model, embed};
use crate::program::ops::loss::LossOfPool;
use crate::program::ops::optimizer::Update;
use crate::program::ops::rows::Gather;
use crate::program::ops::score::{PerQueryScores, Scores};
use crate::program::{Gradients, GroupsId, Idx, Program, SectionId, Symbol, Var};
use crate::query::Plan;
use crate::sampler::{Batch, Pooling};
use crate::train::losses::LossParts;
use crate::train::update::{self, Gradient};

/// What each query of a batch counts; together 1.
pub fn query_weights(batch: &Batch, weighting: QueryWeighting) -> impl Iterator<Item = f64> {
    let weight = move |answers: &f32| match weighting {
        QueryWeighting::Answers => 1.0 / f64::from(answers + 1.0).sqrt(),
        QueryWeighting::Uniform => 1.0,
    };
    let total: f64 = batch.num_answers.iter().map(weight).sum();
    batch.num_answers.iter().map(move |answers| weight(answers) / total)
}

/// What of the program a batch is copied to.
struct Queries {
    section: SectionId,
    entity_rows: Idx,
    relation_rows: Idx,
    mask: Idx,
    groups: [GroupsId; 2],
    /// Distinct entities and relations of a batch.
    distinct: [Symbol; 2],
    query_weights: Var,
    weighting: QueryWeighting,
    /// The weight of each regularised row, and all of them.
    regulariser: Option<(Var, Vec<f64>)>,
}

/// Writes down the step of a plan on a graph of so many entities and directed relations.
pub fn write<B: Backend>(
    model: &dyn Model,
    [entities, relations]: [usize; 2],
    plan: &Plan,
    config: &Config,
) -> Result<Written<B>> {
    let spec = model.spec();
    let (widths, kind) = (spec.widths, spec.scoring);
    let mut program = Program::new(spec.tables(entities, relations));
    let p = &mut program;
    let (anchors, uses) = (plan.anchors.len(), plan.relation_uses.len());
    let (queries, num_roots, pool) = (plan.num_queries, plan.roots.len(), config.sampling.negatives);
    // Anchors, then positives, then the pool, or the queries' own pools one after the other.
    let negatives = config.sampling.num_negatives(queries);
    let rows = anchors + queries + negatives;

    let entity_rows = p.index("anchors, positives, negatives", rows);
    let relation_rows = p.index("relations of hops", uses);
    let groups = [p.groups(rows), p.groups(uses)];
    let distinct = [p.symbol(rows), p.symbol(uses)];
    let roots = p.constant("roots of queries", plan.root_offsets.clone());
    let mask_words = Batch::words_per_query(pool) * 2;
    let mask = p.index("mask", queries * mask_words);
    let query_weights = p.kept("query weights", queries, 1);
    let penalty = crate::model::penalty(model, config.regulariser())?;
    let penalties = penalty.map(|_| anchors + queries + uses);
    let losses = LossParts::new(p, [queries].into_iter().chain(penalties).collect());

    let section = p.section("gradients");
    let entity = p.temporary("entity rows", rows, widths.entity);
    p.push(Gather { table: p.values(0), rows: entity_rows, out: entity });
    let relation = p.temporary("relation rows", uses, widths.relation);
    p.push(Gather { table: p.values(1), rows: relation_rows, out: relation });
    let begin = p.len();
    let embedded = embed(p, model, plan, entity.part(0, anchors), relation)?;
    let positives = p.temporary("scores of positives", num_roots, 1);
    let own = |entities, out| PerQueryScores { kind, queries: embedded, entities, roots, out };
    let compared = model.compared_entities(p, entity.part(anchors, queries + negatives));
    p.push(own(compared.part(0, queries), positives));
    let scores = p.temporary("scores", num_roots, pool);
    let candidates = compared.part(queries, negatives);
    match config.sampling.pool {
        Pooling::Shared => {
            p.push(Scores { kind, exact: true, queries: embedded, entities: candidates, out: scores });
        }
        Pooling::Own => p.push(own(candidates, scores)),
    }
    let weights = p.temporary("d scores", num_roots, pool);
    let positive_weights = p.temporary("d scores of positives", num_roots, 1);
    p.push(LossOfPool {
        options: config.training.pool_loss(),
        roots,
        positives,
        scores,
        mask,
        mask_words,
        query_weights,
        losses: losses.part(0),
        positive_weights,
        weights,
    });
    let mut gradients = Gradients::default();
    gradients.backward(p, begin..p.len());
    let dentity = gradients.of(p, entity).expect("scores depend on entities");
    let drelation = match gradients.of(p, relation) {
        Some(gradient) => gradient,
        None => gradients.sum(p, relation),
    };
    let regulariser = penalty.map(|penalty| {
        // Anchors and positives stand before the pool.
        let rows = anchors + queries;
        let parts = [
            (entity.part(0, rows), dentity.part(0, rows), config.model.regularise_entities),
            (relation, drelation, config.model.regularise_relations),
        ];
        regularise::of_batch(p, penalty, parts, queries, losses.part(1))
    });

    let of_uses = |table: usize| Some((groups[table], distinct[table]));
    let row = |table, grads| Gradient { table, grads, groups: of_uses(table), step: Update::Rows };
    let networks: Vec<(usize, Var)> = gradients.tables().collect();
    let all: Vec<Gradient> =
        [row(0, dentity), row(1, drelation)].into_iter().chain(update::of_networks(&networks)).collect();
    let update = update::write(p, config.training.clip_norm, &all);
    let weighting = config.training.query_weighting();
    let objective = Queries {
        section,
        entity_rows,
        relation_rows,
        mask,
        groups,
        distinct,
        query_weights,
        weighting,
        regulariser,
    };
    let gradients = ([dentity, drelation], networks);
    Ok(Written { program, losses, update, gradients, objective: Box::new(objective) })
}

impl<B: Backend> Objective<B> for Queries {
    fn start(&mut self, backend: &B, space: &mut Workspace<B>) -> Result<()> {
        if let Some((var, weights)) = &self.regulariser {
            space.replace(backend, *var, weights.iter().copied())?;
        }
        Ok(())
    }

    fn gradients(&mut self, at: &mut At<B>, batch: TrainingBatch) -> Result<()> {
        let TrainingBatch::Queries(batch) = batch else { panic!("this objective trains on queries") };
        let (backend, space) = (at.backend, &mut *at.space);
        space.set_index(backend, self.entity_rows, &batch.entity_rows)?;
        space.set_index(backend, self.relation_rows, &batch.relation_rows)?;
        let groups = [&batch.entity_groups, &batch.relation_groups];
        for ((from, to), distinct) in groups.into_iter().zip(self.groups).zip(self.distinct) {
            space.set_groups(backend, to, lists(from))?;
            space.set(distinct, from.ids.len());
        }
        if let Some([before_relations, before_networks]) = at.update.used {
            let [entities, relations] = groups.map(|groups| groups.ids.len());
            space.set(before_relations, entities);
            space.set(before_networks, entities + relations);
        }
        // Little-endian words of 64 bits are pairs of words of 32.
        space.set_index(backend, self.mask, bytemuck::cast_slice(&batch.mask))?;
        space.replace(backend, self.query_weights, query_weights(batch, self.weighting))?;
        at.run(self.section);
        Ok(())
    }
}
