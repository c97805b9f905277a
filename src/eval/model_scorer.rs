//! A trained model as a [`Scorer`]: queries are embedded in blocks and ranked as they are scored.

use super::answers::Best;
use super::ask::Answerer;
use super::compared::Compared;
use super::ranks::RankCounts;
use super::scorer::{QueryBlock, Scorer};
use crate::backend::{Backend, Mat, MatMut, Number, RankTask, Tables, Workspace, on_host};
use crate::error::Result;
use crate::ids::{EntityId, RelationId};
use crate::inference::truth::check_numbers;
use crate::model::{Model, Weights, compared_width, embed, plan};
use crate::program::ops::rows::{CopyRows, Gather};
use crate::program::ops::score::Scores;
use crate::program::{Idx, Program, SectionId, Var};
use crate::query::{Mix, Plan, Query, Structure};
use rayon::prelude::*;
use std::sync::{Mutex, MutexGuard, OnceLock};

/// Queries that are embedded and ranked at once: memory grows with it, not with the graph.
pub(super) const BLOCK: usize = 512;

/// Compiled structures that are kept while nobody works with them.
const KEPT: usize = 32;

/// Scores that are held at once for [`ModelScorer::best_of_each`].
pub(super) const AT_ONCE: usize = 1 << 22;

/// A model with its tables on a device.
///
/// What a structure compiles to is kept, with its memory: ranking the next block neither compiles nor allocates.
pub struct ModelScorer<'a, B: Backend> {
    pub(super) backend: &'a B,
    pub(super) model: &'a dyn Model,
    pub(super) weights: &'a Weights<B>,
    kept: Shared<'a, B>,
}

/// Memory for scores on the device and on the host.
pub(super) type Space<B> = (<B as Backend>::Buffer, Vec<<B as Backend>::Scalar>);

/// What is worked out once for a model whose tables do not change.
pub struct Kept<B: Backend> {
    /// Compiled structures that nobody works with now.
    idle: Mutex<Vec<Embedding<B>>>,
    /// The entities as the score compares them, where that is not their rows.
    compared: OnceLock<Option<Compared<B>>>,
    /// Memory for scores of links, on the device and on the host, that nobody uses now.
    pub(super) spaces: Mutex<Vec<Space<B>>>,
}

impl<B: Backend> Default for Kept<B> {
    fn default() -> Self {
        Kept { idle: Mutex::default(), compared: OnceLock::new(), spaces: Mutex::default() }
    }
}

/// A scorer's own, or those of all scorers of a model.
enum Shared<'a, B: Backend> {
    Own(Kept<B>),
    Others(&'a Kept<B>),
}

/// The embedding of queries of one structure: its program with its memory.
pub(super) struct Embedding<B: Backend> {
    structure: Structure,
    /// Of as many queries as fit.
    pub(super) plan: Plan,
    pub(super) space: Workspace<B>,
    section: SectionId,
    anchors: Idx,
    relations: Idx,
    pub(super) queries: Var,
}

impl<B: Backend> Embedding<B> {
    /// Of at most `count` queries.
    fn new(scorer: &ModelScorer<B>, structure: &Structure, count: usize) -> Result<Self> {
        let ModelScorer { backend, model, weights, .. } = *scorer;
        let plan = plan(model, &Mix { parts: vec![(structure.clone(), count)] })?;
        let (num_anchors, uses) = (plan.anchors.len(), plan.relation_uses.len());
        let (spec, roots) = (model.spec(), plan.roots.len());
        let mut program = Program::new(spec.tables(weights.entities.rows, weights.relations.rows));
        let p = &mut program;
        let (anchors, relations) = (p.index("anchors", num_anchors), p.index("relations", uses));
        let section = p.section("embed");
        let anchor_rows = p.temporary("rows of anchors", num_anchors, spec.widths.entity);
        p.push(Gather { table: p.values(0), rows: anchors, out: anchor_rows });
        let relation_rows = p.temporary("rows of relations", uses, spec.widths.relation);
        p.push(Gather { table: p.values(1), rows: relations, out: relation_rows });
        let embedded = embed(p, model, &plan, anchor_rows, relation_rows)?;
        let queries = p.kept("query embeddings", roots, embedded.cols());
        p.push(CopyRows { from: embedded, out: queries });
        let space = Workspace::new(backend, program)?;
        Ok(Embedding { structure: structure.clone(), plan, space, section, anchors, relations, queries })
    }

    /// Embeds queries, flat lists as in a [`QueryBlock`]. Where they are fewer than fit, what is behind them is of no use.
    fn embed(
        &mut self,
        scorer: &ModelScorer<B>,
        anchors: &[EntityId],
        relations: &[RelationId],
    ) -> Result<()> {
        let anchor = |&number: &u32| anchors.get(number as usize).map_or(0, |anchor| anchor.0);
        let relation = |&number: &u32| relations.get(number as usize).map_or(0, |relation| relation.0);
        let rows: Vec<u32> = self.plan.anchors.iter().map(anchor).collect();
        let uses: Vec<u32> = self.plan.relation_uses.iter().map(relation).collect();
        self.space.set_index(scorer.backend, self.anchors, &rows)?;
        self.space.set_index(scorer.backend, self.relations, &uses)?;
        self.space.run(scorer.backend, Tables::Read(scorer.weights), self.section);
        Ok(())
    }
}

impl<'a, B: Backend> ModelScorer<'a, B> {
    /// Scores with these tables.
    pub fn new(backend: &'a B, model: &'a dyn Model, weights: &'a Weights<B>) -> Self {
        ModelScorer { backend, model, weights, kept: Shared::Own(Kept::default()) }
    }

    /// The same, with compiled structures that other scorers of the model use too.
    pub fn sharing(backend: &'a B, model: &'a dyn Model, weights: &'a Weights<B>, kept: &'a Kept<B>) -> Self {
        ModelScorer { backend, model, weights, kept: Shared::Others(kept) }
    }

    /// The model.
    pub fn model(&self) -> &'a dyn Model {
        self.model
    }

    pub(super) fn kept(&self) -> &Kept<B> {
        match &self.kept {
            Shared::Own(kept) => kept,
            Shared::Others(kept) => kept,
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Embedding<B>>> {
        self.kept().idle.lock().expect("no panic while it is held")
    }

    /// All entities as the score compares them.
    pub(super) fn entities(&self) -> Result<Mat<'_, B::Buffer>> {
        let made = match self.kept().compared.get() {
            Some(made) => made,
            None => {
                let compare = |width| Compared::new(self.backend, self.model, self.weights, width);
                let made = compared_width(self.model).map(compare).transpose()?;
                self.kept().compared.get_or_init(|| made)
            }
        };
        let rows = &self.weights.entities;
        Ok(made.as_ref().map_or(rows.mat(), |made| made.mat(rows.rows)))
    }

    /// Does something with the embeddings of `count` queries of one structure, flat lists as in a [`QueryBlock`].
    pub(super) fn with_embedded<T>(
        &self,
        structure: &Structure,
        count: usize,
        (anchors, relations): (&[EntityId], &[RelationId]),
        body: impl FnOnce(&mut Embedding<B>) -> Result<T>,
    ) -> Result<T> {
        let is_it = |kept: &Embedding<B>| kept.structure == *structure && kept.plan.num_queries >= count;
        let kept = {
            let mut idle = self.idle();
            idle.iter().position(is_it).map(|place| idle.swap_remove(place))
        };
        let mut embedding = match kept {
            Some(kept) => kept,
            None => Embedding::new(self, structure, count)?,
        };
        embedding.embed(self, anchors, relations)?;
        let done = body(&mut embedding);
        let mut idle = self.idle();
        // One of a structure for each thread that works at the same time, and not of all structures for ever.
        if idle.len() == KEPT {
            idle.remove(0);
        }
        idle.push(embedding);
        done
    }

    /// As [`Answerer::best_of_each`], each entity's scores multiplied by its factor.
    pub(super) fn best_scaled(
        &self,
        structure: &Structure,
        queries: &[&Query],
        k: usize,
        keep: &(dyn Fn(usize, EntityId) -> bool + Sync),
        scale: Option<&[f32]>,
    ) -> Result<Vec<Vec<(EntityId, f32)>>> {
        let mut all = Vec::with_capacity(queries.len());
        for (block, queries) in queries.chunks(BLOCK).enumerate() {
            let (mut anchors, mut relations) = (Vec::new(), Vec::new());
            for (of_query, along) in queries.iter().map(|query| query.flatten()) {
                anchors.extend(of_query.into_iter().copied());
                relations.extend(along.into_iter().copied());
            }
            let keep = |query: usize, entity| keep(block * BLOCK + query, entity);
            let count = queries.len();
            all.extend(self.with_embedded(structure, count, (&anchors, &relations), |embedding| {
                self.best_of_embedded(embedding, count, k, &keep, scale)
            })?);
        }
        Ok(all)
    }

    fn best_of_embedded(
        &self,
        Embedding { plan, space, queries, .. }: &mut Embedding<B>,
        count: usize,
        k: usize,
        keep: &(dyn Fn(usize, EntityId) -> bool + Sync),
        scale: Option<&[f32]>,
    ) -> Result<Vec<Vec<(EntityId, f32)>>> {
        let entities = self.entities()?;
        let num_queries = count;
        let roots = plan.root_offsets[num_queries] as usize;
        let queries = space.mat(queries.part(0, roots));
        let at_once = (AT_ONCE / roots).clamp(1, entities.rows);
        let mut scores = self.backend.zeros(roots * at_once)?;
        let mut host = vec![B::Scalar::default(); roots * at_once];
        let mut best = vec![Best::new(k); num_queries];
        for first in (0..entities.rows).step_by(at_once) {
            let count = at_once.min(entities.rows - first);
            let out = MatMut::new(&mut scores, roots, count);
            let block = entities.rows(first, count);
            let kind = self.model.spec().scoring;
            self.backend.run(Scores { kind, exact: true, queries, entities: block, out });
            let host = &mut host[..roots * count];
            self.backend.download(&scores, 0, host)?;
            let host: &[B::Scalar] = host;
            best.par_iter_mut().enumerate().try_for_each(|(q, best)| {
                let mut merged = vec![f32::NEG_INFINITY; count];
                let roots = plan.root_offsets[q] as usize..plan.root_offsets[q + 1] as usize;
                for row in roots.map(|root| &host[root * count..][..count]) {
                    for (best, &score) in merged.iter_mut().zip(row) {
                        let score = B::Scalar::value(score) as f32;
                        // Not-a-number stays where it is met: it must not hide behind another disjunct.
                        *best = if score > *best || score.is_nan() { score } else { *best };
                    }
                }
                check_numbers(first, &merged)?;
                if let Some(scale) = scale {
                    merged.iter_mut().zip(&scale[first..]).for_each(|(score, factor)| *score *= factor);
                }
                let entities = (first as u32..).map(EntityId).zip(merged);
                best.see(entities.filter(|&(entity, _)| keep(q, entity)));
                Ok(())
            })?;
        }
        Ok(best.into_iter().map(Best::finish).collect())
    }
}

impl<B: Backend> Answerer for ModelScorer<'_, B> {
    /// An entity's score is the best of the query's disjuncts', and the order is that of [`Best`]. Entities are scored in blocks: memory does not
    /// grow with the graph.
    fn best_of_each(
        &self,
        structure: &Structure,
        queries: &[&Query],
        k: usize,
        keep: &(dyn Fn(usize, EntityId) -> bool + Sync),
    ) -> Result<Vec<Vec<(EntityId, f32)>>> {
        self.best_scaled(structure, queries, k, keep, None)
    }
}

/// Scores that the CPU computes in well under a second. A GPU ranks a whole block in that time.
const SCORES: usize = 1 << 25;

impl<B: Backend> Scorer for ModelScorer<'_, B> {
    fn name(&self) -> String {
        self.model.spec().name.to_string()
    }

    fn queries_at_once(&self) -> usize {
        match on_host(self.backend) {
            true => (SCORES / self.weights.entities.rows.max(1)).clamp(1, BLOCK),
            false => BLOCK,
        }
    }

    fn rank(&self, block: &QueryBlock) -> Result<Vec<RankCounts>> {
        let entities = self.entities()?;
        let mut counts = Vec::with_capacity(block.num_targets());
        for first in (0..block.len()).step_by(BLOCK) {
            let queries = first..block.len().min(first + BLOCK);
            let each = (block.anchors.len() / block.len(), block.relations.len() / block.len());
            let (mut targets, mut filter) = (Vec::new(), Vec::new());
            let (mut target_offsets, mut filter_offsets) = (vec![0u32], vec![0u32]);
            for q in queries.clone() {
                targets.extend(block.targets_of(q).iter().map(|e| e.0));
                filter.extend(block.filter_of(q).iter().map(|e| e.0));
                target_offsets.push(targets.len() as u32);
                filter_offsets.push(filter.len() as u32);
            }
            let flat = (
                &block.anchors[queries.start * each.0..queries.end * each.0],
                &block.relations[queries.start * each.1..queries.end * each.1],
            );
            counts.extend(self.with_embedded(block.structure, queries.len(), flat, |embedding| {
                let Embedding { plan, space, queries: embedded, .. } = embedding;
                let root_offsets = &plan.root_offsets[..queries.len() + 1];
                let task = RankTask {
                    root_offsets,
                    queries: space.mat(embedded.part(0, root_offsets[queries.len()] as usize)),
                    target_offsets: &target_offsets,
                    targets: &targets,
                    filter_offsets: &filter_offsets,
                    filter: &filter,
                };
                self.backend.rank(self.model.spec().scoring, task, entities)
            })?);
        }
        Ok(counts)
    }
}
