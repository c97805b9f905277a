//! A trained model as a [`Scorer`]: queries are embedded in blocks and ranked as they are scored.

use super::answers::Best;
use super::ranks::RankCounts;
use super::scorer::{QueryBlock, Scorer};
use crate::backend::{Backend, Mat, MatMut, RankTask};
use crate::error::{Error, Result};
use crate::ids::{EntityId, RelationId};
use crate::model::{Embedder, Model, Weights, plan};
use crate::query::{Mix, Plan, Query, Structure};
use rayon::prelude::*;

/// Queries that are embedded and ranked at once: memory grows with it, not with the graph.
const BLOCK: usize = 512;

/// Scores that are held at once for [`ModelScorer::best_of_each`].
const AT_ONCE: usize = 1 << 22;

/// A model with its tables on a device.
pub struct ModelScorer<'a, B: Backend> {
    backend: &'a B,
    model: &'a dyn Model<B>,
    weights: &'a Weights<B>,
}

/// Query embeddings on the device.
struct Embedded<B: Backend> {
    queries: B::Buffer,
    plan: Plan,
}

impl<'a, B: Backend> ModelScorer<'a, B> {
    /// Scores with these tables.
    pub fn new(backend: &'a B, model: &'a dyn Model<B>, weights: &'a Weights<B>) -> Self {
        ModelScorer { backend, model, weights }
    }

    /// Embeds queries of one structure, flat lists as in a [`QueryBlock`].
    fn embed(
        &self,
        structure: &Structure,
        count: usize,
        anchors: &[EntityId],
        relations: &[RelationId],
    ) -> Result<Embedded<B>> {
        let ModelScorer { backend, model, weights } = self;
        let plan = plan(*model, &Mix { parts: vec![(structure.clone(), count)] })?;
        let mut embedder = Embedder::new(*backend, *model, &plan, false)?;
        let gather = |table: Mat<B::Buffer>, rows: &[u32]| -> Result<B::Buffer> {
            let mut out = backend.zeros(rows.len() * table.cols)?;
            let index = backend.index(rows)?;
            backend.gather(table, &index, MatMut::new(&mut out, rows.len(), table.cols));
            Ok(out)
        };
        let leaves: Vec<u32> = plan.leaf_anchors.iter().map(|&a| anchors[a as usize].0).collect();
        let uses: Vec<u32> = plan.relation_uses.iter().map(|&r| relations[r as usize].0).collect();
        let leaf_rows = gather(weights.entities.mat(), &leaves)?;
        let relation_rows = gather(weights.relations.mat(), &uses)?;
        let widths = model.widths();
        let mut queries = backend.zeros(plan.roots.len() * widths.query)?;
        embedder.forward(
            *backend,
            *model,
            &weights.dense_mats(),
            Mat::new(&leaf_rows, leaves.len(), widths.entity),
            Mat::new(&relation_rows, uses.len(), widths.relation),
            MatMut::new(&mut queries, plan.roots.len(), widths.query),
        );
        Ok(Embedded { queries, plan })
    }

    /// The `k` entities with the best scores for each query of one structure, an entity's score being the best of the
    /// query's disjuncts', as [`Best`] orders them; only those that `keep(number of the query, entity)` wants. Entities are
    /// scored in blocks: memory does not grow with the graph.
    pub fn best_of_each(
        &self,
        structure: &Structure,
        queries: &[&Query],
        k: usize,
        keep: &(dyn Fn(usize, EntityId) -> bool + Sync),
    ) -> Result<Vec<Vec<(EntityId, f32)>>> {
        let mut all = Vec::with_capacity(queries.len());
        for (block, queries) in queries.chunks(BLOCK).enumerate() {
            let (mut anchors, mut relations) = (Vec::new(), Vec::new());
            for (of_query, along) in queries.iter().map(|query| query.flatten()) {
                anchors.extend(of_query.into_iter().copied());
                relations.extend(along.into_iter().copied());
            }
            let embedded = self.embed(structure, queries.len(), &anchors, &relations)?;
            let keep = |query: usize, entity| keep(block * BLOCK + query, entity);
            all.extend(self.best_of_embedded(&embedded, k, &keep)?);
        }
        Ok(all)
    }

    fn best_of_embedded(
        &self,
        Embedded { queries, plan }: &Embedded<B>,
        k: usize,
        keep: &(dyn Fn(usize, EntityId) -> bool + Sync),
    ) -> Result<Vec<Vec<(EntityId, f32)>>> {
        let entities = self.weights.entities.mat();
        let (roots, width) = (plan.roots.len(), self.model.widths().query);
        let at_once = (AT_ONCE / roots).clamp(1, entities.rows);
        let mut scores = self.backend.zeros(roots * at_once)?;
        let mut host = vec![B::Scalar::default(); roots * at_once];
        let mut best = vec![Best::new(k); plan.num_queries];
        for first in (0..entities.rows).step_by(at_once) {
            let count = at_once.min(entities.rows - first);
            let out = MatMut::new(&mut scores, roots, count);
            let block = entities.rows(first, count);
            self.backend.scores(self.model.scoring(), Mat::new(queries, roots, width), block, out);
            let host = &mut host[..roots * count];
            self.backend.download(&scores, 0, host)?;
            let host: &[B::Scalar] = host;
            best.par_iter_mut().enumerate().try_for_each(|(q, best)| {
                let mut merged = vec![f32::NEG_INFINITY; count];
                let roots = plan.root_offsets[q] as usize..plan.root_offsets[q + 1] as usize;
                for row in roots.map(|root| &host[root * count..][..count]) {
                    for (best, &score) in merged.iter_mut().zip(row) {
                        let score = B::value(score) as f32;
                        // Not-a-number stays where it is met: it must not hide behind another disjunct.
                        *best = if score > *best || score.is_nan() { score } else { *best };
                    }
                }
                if let Some(place) = merged.iter().position(|score| score.is_nan()) {
                    return Err(Error::invalid(format!(
                        "the score of entity {} is not a number: the run's model is damaged; train again, or use another run",
                        first + place
                    )));
                }
                let entities = (first as u32..).map(EntityId).zip(merged);
                best.see(entities.filter(|&(entity, _)| keep(q, entity)));
                Ok(())
            })?;
        }
        Ok(best.into_iter().map(Best::finish).collect())
    }
}

/// Scores that the CPU computes in well under a second. A GPU ranks a whole block in that time.
const SCORES: usize = 1 << 25;

impl<B: Backend> Scorer for ModelScorer<'_, B> {
    fn name(&self) -> String {
        self.model.name().to_string()
    }

    fn queries_at_once(&self) -> usize {
        match self.backend.on_host() {
            true => (SCORES / self.weights.entities.rows.max(1)).clamp(1, BLOCK),
            false => BLOCK,
        }
    }

    fn rank(&self, block: &QueryBlock) -> Result<Vec<RankCounts>> {
        let mut counts = Vec::with_capacity(block.num_targets());
        for first in (0..block.len()).step_by(BLOCK) {
            let queries = first..block.len().min(first + BLOCK);
            let each = (block.anchors.len() / block.len(), block.relations.len() / block.len());
            let Embedded { queries: embedded, plan } = self.embed(
                block.structure,
                queries.len(),
                &block.anchors[queries.start * each.0..queries.end * each.0],
                &block.relations[queries.start * each.1..queries.end * each.1],
            )?;
            let (mut targets, mut filter) = (Vec::new(), Vec::new());
            let (mut target_offsets, mut filter_offsets) = (vec![0u32], vec![0u32]);
            for q in queries {
                targets.extend(block.targets_of(q).iter().map(|e| e.0));
                filter.extend(block.filter_of(q).iter().map(|e| e.0));
                target_offsets.push(targets.len() as u32);
                filter_offsets.push(filter.len() as u32);
            }
            let task = RankTask {
                root_offsets: &plan.root_offsets,
                queries: Mat::new(&embedded, plan.roots.len(), self.model.widths().query),
                target_offsets: &target_offsets,
                targets: &targets,
                filter_offsets: &filter_offsets,
                filter: &filter,
            };
            counts.extend(self.backend.rank(self.model.scoring(), task, self.weights.entities.mat())?);
        }
        Ok(counts)
    }
}
