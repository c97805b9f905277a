//! The sampler: batches of queries with a verified pool of negatives.

use super::cut::Program;
use super::direction::OneWay;
use super::epoch::{EdgeIndex, Order};
use super::frontier::{Caps, Filling, Frontier};
use super::instantiate::instantiate;
use super::negatives::{Pool, Pooling};
use super::options::{SamplerOptions, Source, StructureStats, Verification};
use super::popularity::Popularity;
use super::reject::{Rejection, Rejections};
use super::verify::{Verifier, bits, set};
use super::work::Work;
use super::{Batch, CHANGED};
use crate::error::{Error, Result};
use crate::graph::{Csr, View};
use crate::ids::EntityId;
use crate::query::{Mix, Structure, Tree, execute};
use crate::rng::{Rng, stream};
use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Draws batches by bidirectional rejection sampling.
///
/// # What is drawn
///
/// For each query: an answer uniformly among the entities that have edges, then the query by
/// [`instantiate`], over relations of the [`Direction`](super::Direction) in the options; the pool, of the batch or of each query (see
/// [`Pooling`]): entities uniformly among all, with repetition. With an exponent in the options, an answer or a
/// negative is drawn by its degree to that power, among the entities that have edges. The query is drawn again,
/// **with a new answer**, when any [`Rejection`] applies, so that
///
/// - query and answer are distributed as that process has it, *given* that nothing was rejected. For
///   `1p`, where only the hits in the pool are capped, answers are uniform while the cap is not met;
///   for `2i` an answer's share falls by the chance that both branches come out the same;
/// - the caps make queries with wide frontiers rarer. They never change what is an answer: every
///   masked entry of the pool is one on this graph, every unmasked one is none, every positive is one.
///
/// A query whose answers are the whole pool is drawn again, too: it would have nothing to learn from. A query's own pool
/// is drawn before it and stays when the query is drawn again.
///
/// With [`Source::Edges`] the queries are those of the source, in the place of what is drawn above; their negatives are
/// drawn and verified alike.
///
/// This is [`Verification::Bidirectional`]. [`Verification::Exhaustive`] promises the same and has no caps;
/// [`Verification::None`] draws the same queries and does not look at the pool.
///
/// # Cost
///
/// A shared pool is indexed once per batch, in O(fragments at its entities). A query costs its frontier
/// (capped), plus the smaller of its last fragments and the candidates that its last relation can reach
/// at all. With pools of their own, every candidate of a query is looked up in the graph instead, where that is
/// cheaper than to walk the answers. Nothing is allocated once the buffers have grown, and no buffer grows with the graph.
pub struct Sampler<'g> {
    graph: Csr<'g>,
    parts: Vec<Part>,
    options: SamplerOptions,
    prepared: Arc<Prepared>,
    /// The order of the epoch at hand, with its number.
    order: Option<(u64, Order)>,
    pool: Pool<'g>,
    frontier: Frontier<'g>,
    work: Work,
    /// Bits of the candidates that are answers of the query at hand.
    hits: Vec<u64>,
    spare_masks: Vec<Vec<u64>>,
}

/// What the samplers of a run share, made once from the graph and the options.
#[derive(Debug)]
pub struct Prepared {
    popularity: Popularity,
    edges: Option<EdgeIndex>,
}

impl Prepared {
    /// O(entities) where answers or negatives are drawn by degree, or queries are [`Source::Edges`].
    ///
    /// # Errors
    ///
    /// As [`Popularity::new`].
    pub fn new(graph: Csr, options: &SamplerOptions) -> Result<Self> {
        Ok(Prepared {
            popularity: Popularity::new(graph, options.answer_exponent, options.negative_exponent)?,
            edges: (options.source == Source::Edges).then(|| EdgeIndex::new(graph, options.direction)),
        })
    }
}

/// No limits: a query that is given cannot be drawn again.
const UNCAPPED: Caps = Caps { relation_bandwidth: usize::MAX, answers: usize::MAX };

/// A structure of the mix.
struct Part {
    structure: Structure,
    program: Program,
    count: usize,
    stats: StructureStats,
}

/// An accepted query.
struct Accepted {
    answer: EntityId,
    frontier: usize,
    hits: usize,
    size: Option<usize>,
}

impl<'g> Sampler<'g> {
    /// A sampler of `mix` on `graph`, the training edges in both directions.
    ///
    /// # Errors
    ///
    /// [`Error::Sampling`] where the graph has no edges, [`Error::Invalid`] for an option out of range.
    pub fn new(graph: Csr<'g>, mix: &Mix, options: SamplerOptions) -> Result<Self> {
        let prepared = Prepared::new(graph, &options)?;
        Self::sharing(graph, mix, options, Arc::new(prepared))
    }

    /// As [`Sampler::new`], with what was made from the same graph and options.
    pub fn sharing(
        graph: Csr<'g>,
        mix: &Mix,
        options: SamplerOptions,
        prepared: Arc<Prepared>,
    ) -> Result<Self> {
        if graph.num_edges() == 0 {
            return Err(Error::Sampling("the training graph has no edges: nothing can be drawn".into()));
        }
        for (value, name) in [
            (options.negatives, "negatives"),
            (options.relation_bandwidth, "the relation bandwidth"),
            (options.answer_cap, "the answer cap"),
            (options.max_attempts, "the number of attempts"),
        ] {
            if value == 0 {
                return Err(Error::invalid(format!("{name} must be at least 1")));
            }
        }
        let is_edge = |s: &Structure| matches!(s, Tree::Projection(child, ()) if **child == Tree::Anchor(()));
        if prepared.edges.is_some() && !mix.parts.iter().all(|(structure, _)| is_edge(structure)) {
            return Err(Error::invalid("the edges of a graph are queries of structure 1p alone"));
        }
        let parts = mix.parts.iter().map(|(structure, count)| Part {
            structure: structure.clone(),
            program: Program::new(structure),
            count: *count,
            stats: StructureStats::default(),
        });
        Ok(Sampler {
            graph,
            parts: parts.collect(),
            options,
            prepared,
            order: None,
            pool: Pool::default(),
            frontier: Frontier::default(),
            work: Work::default(),
            hits: Vec::new(),
            spare_masks: Vec::new(),
        })
    }

    /// Fills the sampler's fields of `batch` with batch `number`, which with the seed decides them.
    ///
    /// # Errors
    ///
    /// [`Error::Sampling`] names the structure that could not be drawn in as many attempts as the options
    /// allow, and the most frequent reason. The batch is then incomplete.
    pub fn fill(&mut self, number: u64, batch: &mut Batch) -> Result<()> {
        self.fill_unless(number, batch, &AtomicBool::new(false))
    }

    /// As [`Sampler::fill`], but gives up with an error soon after `stop` is set: a structure that is
    /// rarely accepted can take long.
    pub fn fill_unless(&mut self, number: u64, batch: &mut Batch, stop: &AtomicBool) -> Result<()> {
        let mut rng = stream(self.options.seed, "batch", number);
        let rng = &mut rng;
        let num_queries: usize = self.parts.iter().map(|part| part.count).sum();
        let words = Batch::words_per_query(self.options.negatives);
        batch.number = number;
        batch.anchors.clear();
        batch.relations.clear();
        batch.positives.clear();
        batch.num_answers.clear();
        batch.pool_size = self.options.negatives;
        batch.negatives.clear();
        batch.mask.clear();
        batch.mask.resize(num_queries * words, 0);
        let shared = self.options.pool == Pooling::Shared;
        if shared {
            self.draw_pool(rng, batch);
        }
        let indexing = self.work.take() / num_queries.max(1) as u64;
        for part in 0..self.parts.len() {
            for _ in 0..self.parts[part].count {
                if !shared {
                    self.draw_pool(rng, batch);
                }
                let accepted = match self.prepared.edges {
                    None => self.draw(part, rng, batch, stop)?,
                    Some(_) => {
                        self.given(part, number * num_queries as u64 + batch.positives.len() as u64, batch)?
                    }
                };
                let mask = &mut batch.mask[batch.positives.len() * words..][..words];
                // Entities that the masked part of the pool stands for.
                let mut represented = 0.0;
                for candidate in bits(&self.hits) {
                    let each = self.prepared.popularity.represented(self.graph, self.pool.entity(candidate));
                    for &position in self.pool.positions(candidate) {
                        set(mask, position as usize);
                        represented += each;
                    }
                }
                batch.positives.push(accepted.answer);
                batch.num_answers.push(match accepted.size {
                    Some(size) => size as f32,
                    None => (1.0 + represented / self.options.negatives as f64) as f32,
                });
                let stats = &mut self.parts[part].stats;
                stats.drawn += 1;
                stats.frontier_sum += accepted.frontier as u64;
                stats.frontier_max = stats.frontier_max.max(accepted.frontier as u64);
                stats.masked_sum += accepted.hits as u64;
                stats.enumerated += u64::from(accepted.size.is_some());
                stats.bytes += indexing + self.work.take();
            }
        }
        self.check(batch)
    }

    /// That all ids are the graph's. They are, unless its file was changed after it was opened; no backend must see
    /// others.
    fn check(&self, batch: &Batch) -> Result<()> {
        let (entities, relations) = (self.graph.num_entities(), self.graph.num_relations());
        let known = [&batch.anchors, &batch.positives, &batch.negatives];
        let known = known.iter().all(|ids| ids.iter().all(|e| e.index() < entities));
        match known && batch.relations.iter().all(|r| r.index() < relations) {
            true => Ok(()),
            false => Err(Error::Sampling(CHANGED.into())),
        }
    }

    /// Structures of the mix with what was drawn of them so far.
    pub fn stats(&self) -> impl Iterator<Item = (&Structure, &StructureStats)> {
        self.parts.iter().map(|part| (&part.structure, &part.stats))
    }

    /// Draws a pool and appends it to the batch.
    fn draw_pool(&mut self, rng: &mut Rng, batch: &mut Batch) {
        let (graph, popularity) = (self.graph, &self.prepared.popularity);
        let negative = || popularity.negative(graph, rng);
        let listed = self.pool.draw(graph, self.options.negatives, self.options.pool, negative);
        if self.options.pool == Pooling::Shared {
            self.work.listed(self.pool.num_candidates(), listed);
        }
        batch.negatives.extend_from_slice(self.pool.drawn());
    }

    /// Draws one query, appends its ids to the batch and leaves its answers in the pool in `hits`.
    fn draw(&mut self, part: usize, rng: &mut Rng, batch: &mut Batch, stop: &AtomicBool) -> Result<Accepted> {
        let anchors = batch.anchors.len();
        let relations = batch.relations.len();
        let mut here = Rejections::default();
        for _ in 0..self.options.max_attempts {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Sampling("stopped before the batch was complete".into()));
            }
            match self.attempt(part, rng, batch, anchors..relations) {
                Ok(accepted) => {
                    self.parts[part].stats.rejections.merge(&here);
                    return Ok(accepted);
                }
                Err(reason) => {
                    here.add(reason);
                    batch.anchors.truncate(anchors);
                    batch.relations.truncate(relations);
                }
            }
        }
        let part = &mut self.parts[part];
        part.stats.rejections.merge(&here);
        let (reason, count) = here.most_frequent().expect("at least one attempt was made");
        let raise = reason.key().map(|key| format!("raise {key}, or ")).unwrap_or_default();
        Err(Error::Sampling(format!(
            "{} cannot be drawn on this graph: {} draws in a row were thrown away, {count} of them because {}; {raise}leave \
             it out of --structures",
            part.structure,
            self.options.max_attempts,
            reason.explain(),
        )))
    }

    /// Appends the edge at a place of the epochs, one after the other, as a query and leaves its answers in the pool in
    /// `hits`.
    fn given(&mut self, part: usize, place: u64, batch: &mut Batch) -> Result<Accepted> {
        let prepared = self.prepared.clone();
        let edges = prepared.edges.as_ref().expect("the caller has seen it");
        let (epoch, place) = (place / edges.len(), place % edges.len());
        if self.order.as_ref().is_none_or(|(of, _)| *of != epoch) {
            self.order = Some((epoch, Order::new(edges.len(), self.options.seed, epoch)));
        }
        let (_, order) = self.order.as_ref().expect("set above");
        let edge = edges.edge(self.graph, order.at(place));
        self.work.drawn(1);
        let starts = batch.anchors.len()..batch.relations.len();
        batch.anchors.push(edge.head);
        batch.relations.push(edge.relation);
        let accepted = self.verify(part, edge.tail, batch, starts, UNCAPPED);
        accepted
            .map_err(|reason| Error::Sampling(format!("an edge cannot be verified: {}", reason.explain())))
    }

    /// One attempt; `starts` is where the query's anchors and relations begin in the batch.
    fn attempt(
        &mut self,
        part: usize,
        rng: &mut Rng,
        batch: &mut Batch,
        starts: Range<usize>,
    ) -> Result<Accepted, Rejection> {
        let Part { structure, program, .. } = &self.parts[part];
        let answer = self.prepared.popularity.answer(self.graph, self.options.max_attempts, rng);
        let answer = answer.ok_or(Rejection::NoEdges)?;
        self.work.drawn(program.num_relations);
        let (anchors, relations) = (&mut batch.anchors, &mut batch.relations);
        match OneWay::new(self.graph, self.options.direction) {
            None => instantiate(&self.graph, structure, answer, rng, anchors, relations)?,
            Some(graph) => instantiate(&graph, structure, answer, rng, anchors, relations)?,
        }
        let SamplerOptions { relation_bandwidth, answer_cap, verification, .. } = self.options;
        let accepted =
            self.verify(part, answer, batch, starts, Caps { relation_bandwidth, answers: answer_cap })?;
        if accepted.hits == self.pool.num_candidates() {
            return Err(Rejection::NoNegatives);
        }
        if verification == Verification::Bidirectional && accepted.hits > answer_cap {
            return Err(Rejection::Hits);
        }
        Ok(accepted)
    }

    /// Finds the answers of a query in its pool and leaves them in `hits`; whether there are too many, or nothing else, is
    /// for the caller to see.
    fn verify(
        &mut self,
        part: usize,
        answer: EntityId,
        batch: &Batch,
        starts: Range<usize>,
        caps: Caps,
    ) -> Result<Accepted, Rejection> {
        let Part { structure, program, .. } = &self.parts[part];
        let query =
            Filling { anchors: &batch.anchors[starts.start..], relations: &batch.relations[starts.end..] };
        self.hits.clear();
        self.hits.resize(self.pool.num_candidates().div_ceil(64), 0);
        match self.options.verification {
            Verification::Bidirectional => {}
            Verification::Exhaustive => {
                let query =
                    structure.fill(query.anchors, query.relations).expect("the structure's own lengths");
                let answers = execute::answers(&View::new([self.graph]), &query);
                return Self::exhaustive(answer, &answers, &self.pool, &mut self.hits);
            }
            Verification::None if !program.has_negation => {
                self.pool.candidate(answer).into_iter().for_each(|itself| set(&mut self.hits, itself));
                return Ok(Accepted { answer, frontier: 0, hits: 0, size: None });
            }
            Verification::None => {}
        }
        let frontier = self.frontier.enumerate(self.graph, program, query, caps, &self.work)?;
        let mut verifier = Verifier {
            graph: self.graph,
            program,
            query,
            frontier: &mut self.frontier,
            pool: &self.pool,
            spare_masks: &mut self.spare_masks,
            relation_bandwidth: caps.relation_bandwidth,
            too_wide: Cell::new(false),
            work: &self.work,
        };
        let is_answer = !program.has_negation || verifier.contains(program.root(), answer);
        let verified = self.options.verification != Verification::None;
        let size = match is_answer {
            true if verified => verifier.hits(program.root(), &mut self.hits),
            true => {
                self.pool.candidate(answer).into_iter().for_each(|itself| set(&mut self.hits, itself));
                None
            }
            false => None,
        };
        if verifier.too_wide.get() {
            return Err(Rejection::Bandwidth);
        }
        if !is_answer {
            return Err(Rejection::NegatedAnswer);
        }
        let hits: usize = self.hits.iter().map(|word| word.count_ones() as usize).sum();
        Ok(Accepted { answer, frontier, hits, size })
    }

    /// Accepts a query whose answers (ascending) are all known, and marks those of the pool.
    fn exhaustive(
        answer: EntityId,
        answers: &[EntityId],
        pool: &Pool,
        marks: &mut [u64],
    ) -> Result<Accepted, Rejection> {
        if answers.binary_search(&answer).is_err() {
            return Err(Rejection::NegatedAnswer);
        }
        let mut hits = 0;
        for candidate in 0..pool.num_candidates() {
            if answers.binary_search(&pool.entity(candidate)).is_ok() {
                set(marks, candidate);
                hits += 1;
            }
        }
        Ok(Accepted { answer, frontier: answers.len(), hits, size: Some(answers.len()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Tree;

    fn project(child: Structure) -> Structure {
        Tree::Projection(Box::new(child), ())
    }

    #[test]
    fn structures_are_named_as_in_the_tables() {
        let one = || project(Tree::Anchor(()));
        assert_eq!(one().to_string(), "1p");
        assert_eq!(project(project(one())).to_string(), "3p");
        assert_eq!(Tree::Intersection(vec![one(), one()]).to_string(), "2i");
        let union = Tree::Union(vec![one(), one()]);
        assert_eq!(union.to_string(), "2u");
        assert_eq!(project(union).to_string(), "up");
        let without = Tree::Intersection(vec![project(one()), Tree::Negation(Box::new(one()))]);
        assert_eq!(without.to_string(), "pin");
        assert_eq!(project(without).to_string(), "((('e',('r','r')),('e',('r','n'))),('r',))");
    }
}
