//! What a trained model says of single links and of entities: scores of triples, of all tails, and entities alike.

use super::link_prediction;
use super::model_scorer::{AT_ONCE, BLOCK, ModelScorer};
use crate::backend::{Backend, Mat, MatMut, Number};
use crate::error::Result;
use crate::ids::{EntityId, RelationId, Triple};
use crate::inference::truth::ALIGNMENT;
use crate::inference::{LinkScorer, Pair};
use crate::program::ops::rows::Gather;
use crate::program::ops::score::{PerQueryScores, Scores, Scoring};
use crate::query::{Query, Structure, Tree};
use rayon::prelude::*;

impl<B: Backend> ModelScorer<'_, B> {
    /// The score of each triple.
    pub fn scores_of_triples(&self, triples: &[Triple]) -> Result<Vec<f32>> {
        let heads: Vec<EntityId> = triples.iter().map(|triple| triple.head).collect();
        let relations: Vec<RelationId> = triples.iter().map(|triple| triple.relation).collect();
        let tails: Vec<EntityId> = triples.iter().map(|triple| triple.tail).collect();
        self.scores_of_entities(&link_prediction::one_hop(), &heads, &relations, &tails)
    }

    /// The score of an entity for each query of a structure with one anchor, without unions.
    fn scores_of_entities(
        &self,
        structure: &Structure,
        anchors: &[EntityId],
        relations: &[RelationId],
        entities: &[EntityId],
    ) -> Result<Vec<f32>> {
        let (kind, all, backend) = (self.model.spec().scoring, self.entities()?, self.backend);
        let each = relations.len() / anchors.len().max(1);
        let mut scores = Vec::with_capacity(anchors.len());
        for first in (0..anchors.len()).step_by(BLOCK) {
            let block = first..anchors.len().min(first + BLOCK);
            let count = block.len();
            let flat = (&anchors[block.clone()], &relations[block.start * each..block.end * each]);
            let wanted: Vec<u32> = entities[block].iter().map(|entity| entity.0).collect();
            scores.extend(self.with_embedded(structure, count, flat, |embedding| {
                let rows = backend.index(&wanted)?;
                let roots = backend.index(&embedding.plan.root_offsets[..count + 1])?;
                let mut entities = backend.zeros(count * all.cols)?;
                let out = MatMut::new(&mut entities, count, all.cols);
                backend.run(Gather { table: all, rows: &rows, out });
                let mut out = backend.zeros(count)?;
                let queries = embedding.space.mat(embedding.queries.part(0, count));
                let entities = Mat::new(&entities, count, all.cols);
                let to = MatMut::new(&mut out, count, 1);
                backend.run(PerQueryScores { kind, queries, entities, roots: &roots, out: to });
                let mut host = vec![B::Scalar::default(); count];
                backend.download(&out, 0, &mut host)?;
                Ok(host.into_iter().map(|score| B::Scalar::value(score) as f32).collect::<Vec<_>>())
            })?);
        }
        Ok(scores)
    }

    /// The `k` entities that are most alike each of some, without itself: by the model's score of an entity for the embedding of the other, and where that
    /// is a dot product by the cosine.
    pub fn similar(&self, entities: &[EntityId], k: usize) -> Result<Vec<Vec<(EntityId, f32)>>> {
        let anchor: Structure = Tree::Anchor(());
        let factors = match self.model.spec().scoring {
            Scoring::Dot => {
                let all: Vec<EntityId> = (0..self.weights.entities.rows as u32).map(EntityId).collect();
                let squares = self.scores_of_entities(&anchor, &all, &[], &all)?;
                Some(squares.into_iter().map(|x| 1.0 / x.sqrt().max(f32::MIN_POSITIVE)).collect::<Vec<f32>>())
            }
            _ => None,
        };
        let queries: Vec<Query> = entities.iter().map(|&entity| Tree::Anchor(entity)).collect();
        let queries: Vec<&Query> = queries.iter().collect();
        let keep = |query: usize, entity| entity != entities[query];
        let mut found = self.best_scaled(&anchor, &queries, k, &keep, factors.as_deref())?;
        if let Some(factors) = factors {
            for (entity, found) in entities.iter().zip(&mut found) {
                found.iter_mut().for_each(|(_, score)| *score *= factors[entity.index()]);
            }
        }
        Ok(found)
    }
}

/// Links whose tails are scored at once.
const LINKS: usize = 256;

/// As few as one query asks for are embedded apart.
const FEW: usize = 16;

impl<B: Backend> LinkScorer for ModelScorer<'_, B> {
    fn num_entities(&self) -> usize {
        self.weights.entities.rows
    }

    fn score_tails(&self, pairs: &[Pair], block: &(dyn Fn(usize, usize, &[f32]) + Sync)) -> Result<()> {
        let (all, one_hop) = (self.entities()?, link_prediction::one_hop());
        let kind = self.model.spec().scoring;
        // As many entities for any number of pairs, so that its memory fits the next ones too.
        let at_once = (AT_ONCE / LINKS).next_multiple_of(ALIGNMENT).min(all.rows);
        let lock = || self.kept().spaces.lock().expect("no panic while it is held");
        let space = lock().pop();
        let (mut scores, mut host) = match space {
            Some(space) => space,
            None => (self.backend.zeros(LINKS * at_once)?, vec![B::Scalar::default(); LINKS * at_once]),
        };
        for (part, pairs) in pairs.chunks(LINKS).enumerate() {
            let heads: Vec<EntityId> = pairs.iter().map(|(_, head)| *head).collect();
            let relations: Vec<RelationId> = pairs.iter().map(|(relation, _)| *relation).collect();
            let fits = if pairs.len() <= FEW { FEW } else { LINKS };
            self.with_embedded(&one_hop, fits, (&heads, &relations), |embedding| {
                let queries = embedding.space.mat(embedding.queries.part(0, pairs.len()));
                for first in (0..all.rows).step_by(at_once) {
                    let count = at_once.min(all.rows - first);
                    let out = MatMut::new(&mut scores, pairs.len(), count);
                    let entities = all.rows(first, count);
                    self.backend.run(Scores { kind, exact: true, queries, entities, out });
                    let host = &mut host[..pairs.len() * count];
                    self.backend.download(&scores, 0, host)?;
                    host.par_chunks(count).enumerate().for_each(|(pair, row)| {
                        let row: Vec<f32> = row.iter().map(|&score| B::Scalar::value(score) as f32).collect();
                        block(part * LINKS + pair, first, &row);
                    });
                }
                Ok(())
            })?;
        }
        lock().push((scores, host));
        Ok(())
    }
}
