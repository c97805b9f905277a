//! The backward side: which candidates of the pool are answers of a query.

use super::cut::{Kind, Program};
use super::frontier::{Filling, Found, Frontier};
use super::negatives::Pool;
use super::prefetch;
use super::work::Work;
use crate::graph::Csr;
use crate::ids::{EntityId, RelationId};
use std::cell::Cell;

/// Costs in about nanoseconds, for choosing the cheaper side. A wrong choice costs time only.
mod cost {
    /// Finding a fragment of an entity.
    pub const FRAGMENT: usize = 24;
    /// Looking an entity up in the pool, or a step of a merge.
    pub const STEP: usize = 2;
    /// Inserting into a set.
    pub const INSERT: usize = 4;
    /// A binary search, or the start of an intersection.
    pub const SEARCH: usize = 12;
}

/// Up to so many entities are walked even where the other side is cheaper: that gives the exact number
/// of answers, which weighs the query in the loss. For larger sets the pool's estimate is good.
const ALWAYS_ENUMERATED: usize = 256;

/// One query with its frontier, ready to be asked for candidates.
pub struct Verifier<'a, 'g> {
    /// The training graph.
    pub graph: Csr<'g>,
    /// The query's structure.
    pub program: &'a Program,
    /// The query's ids.
    pub query: Filling<'a>,
    /// Sets at the cut.
    pub frontier: &'a mut Frontier<'g>,
    /// The negatives.
    pub pool: &'a Pool<'g>,
    /// Bit masks for reuse.
    pub spare_masks: &'a mut Vec<Vec<u64>>,
    /// Largest fragment that is walked backward.
    pub relation_bandwidth: usize,
    /// Set when a fragment was wider: then nothing that was found out can be relied on.
    pub too_wide: Cell<bool>,
    /// What is read is counted here.
    pub work: &'a Work,
}

/// The side from which a projection meets the pool.
enum Side {
    /// Walk the answers of the branch.
    Forward,
    /// Walk the candidates that have the relation at all.
    Backward,
}

impl<'g> Verifier<'_, 'g> {
    /// Whether `entity` is in the set of `node`, by walking backward to the cut.
    pub fn contains(&self, node: usize, entity: EntityId) -> bool {
        if let Some(found) = &self.frontier.sets[node] {
            return found.contains(entity);
        }
        match &self.program.nodes[node].kind {
            Kind::Anchor(_) => unreachable!("an anchor is always at or below the cut"),
            Kind::Projection(child, relation) => {
                let back = self.query.relations[*relation].inverse();
                self.reaches(*child, self.work.tails(self.graph, entity, back))
            }
            Kind::Intersection(children) => children.iter().all(|&child| self.contains(child, entity)),
            Kind::Union(children) => children.iter().any(|&child| self.contains(child, entity)),
            Kind::Negation(child) => !self.contains(*child, entity),
        }
    }

    /// Whether any of `sources` (ascending) is in the set of `child`.
    #[inline]
    fn reaches(&self, child: usize, sources: &[EntityId]) -> bool {
        match &self.frontier.sets[child] {
            Some(found) => {
                self.work.compared(sources.len(), found.entities().len());
                found.intersects(sources)
            }
            None if sources.len() > self.relation_bandwidth => {
                self.too_wide.set(true);
                false
            }
            None => sources.iter().any(|&source| self.contains(child, source)),
        }
    }

    /// Sets the bit of every candidate that is in the set of `node`; `out` may have bits already.
    ///
    /// Returns the size of the set where it came out exactly.
    pub fn hits(&mut self, node: usize, out: &mut [u64]) -> Option<usize> {
        let program = self.program;
        match &program.nodes[node].kind {
            Kind::Anchor(_) | Kind::Projection(..) => self.filtered(node, &[], out),
            Kind::Union(children) => {
                let found = children.iter().map(|&c| self.frontier.sets[c].as_ref());
                let total = found.map(|found| found.map(|found| found.entities().len()));
                let total: Option<usize> = total.sum();
                if total.is_some_and(|total| total <= ALWAYS_ENUMERATED) {
                    return Some(self.enumerate_union(children, out));
                }
                for &child in children {
                    self.hits(child, out);
                }
                None
            }
            Kind::Negation(child) => {
                let mut inside = self.take_mask(out.len());
                let size = self.hits(*child, &mut inside);
                for (out, inside) in out.iter_mut().zip(&inside) {
                    *out |= !inside;
                }
                self.spare_masks.push(inside);
                self.clear_tail(out);
                size.map(|size| self.graph.num_entities() - size)
            }
            Kind::Intersection(children) => {
                let leads =
                    |&&c: &&usize| matches!(program.nodes[c].kind, Kind::Projection(..) | Kind::Anchor(_));
                let cheapest = children.iter().filter(leads).min_by_key(|&&c| self.cheaper_side(c).1);
                if let Some(&lead) = cheapest {
                    return self.filtered(lead, children, out);
                }
                let mut inside = self.take_mask(out.len());
                self.hits(children[0], &mut inside);
                for candidate in bits(&inside) {
                    let entity = self.pool.entity(candidate);
                    if children[1..].iter().all(|&child| self.contains(child, entity)) {
                        set(out, candidate);
                    }
                }
                self.spare_masks.push(inside);
                None
            }
        }
    }

    /// Walks the enumerated sets of a union; returns the size of the union.
    fn enumerate_union(&mut self, children: &[usize], out: &mut [u64]) -> usize {
        let mut met = self.frontier.take_set();
        for &child in children {
            self.work.asked(self.frontier.sets[child].as_ref().map_or(0, |found| found.entities().len()));
            for &entity in self.frontier.sets[child].as_ref().map_or(&[][..], Found::entities) {
                if met.insert(entity)
                    && let Some(candidate) = self.pool.candidate(entity)
                {
                    set(out, candidate);
                }
            }
        }
        let size = met.len();
        self.frontier.recycle(met);
        size
    }

    /// Candidates in the set of `lead`, a projection or an anchor, and of every one of `all` as well.
    fn filtered(&mut self, lead: usize, all: &[usize], out: &mut [u64]) -> Option<usize> {
        match self.cheaper_side(lead) {
            (Side::Forward, _) if self.frontier.sets[lead].is_some() => self.walk_set(lead, all, out),
            (Side::Forward, cost) => {
                // The cost is an estimate, and a hub in the frontier can prove it wrong by far.
                let budget = 4 * (ALWAYS_ENUMERATED + cost / cost::INSERT);
                let size = self.walk_forward(lead, all, budget, out);
                if size.is_none() {
                    self.walk_backward(lead, all, out);
                }
                size
            }
            (Side::Backward, _) => {
                self.walk_backward(lead, all, out);
                // A fragment's size is known even where its entities were not walked.
                let fragment = self.frontier.sets[lead].as_ref().filter(|_| all.is_empty());
                fragment.map(|found| found.entities().len())
            }
        }
    }

    /// Whether `entity`, which is in the set of `lead`, is in all others as well.
    #[inline]
    fn inside(&self, lead: usize, all: &[usize], entity: EntityId) -> bool {
        all.iter().all(|&child| child == lead || self.contains(child, entity))
    }

    /// Walks the enumerated set of `lead`.
    fn walk_set(&self, lead: usize, all: &[usize], out: &mut [u64]) -> Option<usize> {
        let entities = self.frontier.sets[lead].as_ref().map_or(&[][..], Found::entities);
        let count = all.is_empty() || entities.len() <= ALWAYS_ENUMERATED;
        self.work.asked(entities.len());
        let mut size = 0;
        for &entity in entities {
            // Without a count only what is in the pool needs to be checked.
            let candidate = self.pool.candidate(entity);
            if (count || candidate.is_some()) && self.inside(lead, all, entity) {
                size += 1;
                if let Some(candidate) = candidate {
                    set(out, candidate);
                }
            }
        }
        count.then_some(size)
    }

    /// Walks from the frontier through the last relation; `None` where that takes more than `budget`
    /// tails, with only some of the answers marked.
    fn walk_forward(
        &mut self,
        lead: usize,
        all: &[usize],
        mut budget: usize,
        out: &mut [u64],
    ) -> Option<usize> {
        let (child, relation) = self.projection(lead);
        let mut met = self.frontier.take_set();
        let sources = self.frontier.sets[child].as_ref().map_or(&[][..], Found::entities);
        let mut size = Some(0);
        prefetch::each_row(self.graph, sources, |source| {
            let tails = self.work.tails(self.graph, source, relation);
            if tails.len() > budget {
                size = None;
                return false;
            }
            budget -= tails.len();
            self.work.asked(tails.len());
            for &entity in tails {
                if met.insert(entity) && self.inside(lead, all, entity) {
                    size = size.map(|size| size + 1);
                    if let Some(candidate) = self.pool.candidate(entity) {
                        set(out, candidate);
                    }
                }
            }
            true
        });
        self.frontier.recycle(met);
        size
    }

    /// Walks from the candidates that have the last relation at all, back to the frontier.
    fn walk_backward(&self, lead: usize, all: &[usize], out: &mut [u64]) {
        let (child, relation) = self.projection(lead);
        let back = relation.inverse();
        let mut check = |candidate: usize, tails: Option<&[EntityId]>| {
            let entity = self.pool.entity(candidate);
            let found = match &self.frontier.sets[lead] {
                Some(found) => found.contains(entity),
                None => {
                    self.reaches(child, tails.unwrap_or_else(|| self.work.tails(self.graph, entity, back)))
                }
            };
            if found && self.inside(lead, all, entity) {
                set(out, candidate);
            }
        };
        match self.pool.leaving(back) {
            Some(entries) => {
                self.work.entries(entries.len());
                for (i, entry) in entries.iter().enumerate() {
                    // A binary search begins in the middle.
                    if let Some(next) = entries.get(i + 4) {
                        prefetch::line(next.tails, next.tails.len() / 2);
                    }
                    check(entry.candidate as usize, Some(entry.tails));
                }
            }
            None => (0..self.pool.num_candidates()).for_each(|candidate| check(candidate, None)),
        }
    }

    /// Child and relation of a projection.
    fn projection(&self, node: usize) -> (usize, RelationId) {
        match self.program.nodes[node].kind {
            Kind::Projection(child, relation) => (child, self.query.relations[relation]),
            _ => unreachable!("only a projection has a last relation"),
        }
    }

    /// From which side a projection or an anchor meets the pool, and the estimated cost.
    fn cheaper_side(&self, node: usize) -> (Side, usize) {
        let Kind::Projection(child, relation) = self.program.nodes[node].kind else {
            return (Side::Forward, cost::STEP);
        };
        let relation = self.query.relations[relation];
        let back = relation.inverse();
        // Candidates that are asked, what it takes to find their tails, and how many tails they have.
        let (candidates, finding, tails) = match self.pool.leaving(back) {
            Some(entries) => (entries.len(), 0, self.pool.num_tails(back)),
            None => {
                let all = self.pool.num_candidates();
                (all, all * cost::FRAGMENT, all)
            }
        };
        if let Some(found) = &self.frontier.sets[node] {
            let forward = found.entities().len() * cost::STEP;
            let backward = candidates * cost::SEARCH;
            return if found.entities().len() <= ALWAYS_ENUMERATED || forward <= backward {
                (Side::Forward, forward)
            } else {
                (Side::Backward, backward)
            };
        }
        let Some(found) = &self.frontier.sets[child] else {
            let deeper = tails * (cost::FRAGMENT + cost::SEARCH);
            return (Side::Backward, finding + candidates * cost::SEARCH + deeper);
        };
        // A pool is a sample of the graph: its mean fragment stands for those of the frontier. Where there is no
        // index to tell it, the budget of the forward walk does.
        let sample = self.pool.leaving(relation).map_or(0, <[_]>::len).max(1);
        let mean = self.pool.num_tails(relation).div_ceil(sample).max(1);
        let forward = found.entities().len() * (cost::FRAGMENT + mean * cost::INSERT);
        let backward = finding + candidates * cost::SEARCH + tails * cost::STEP;
        let few = found.entities().len() * mean <= ALWAYS_ENUMERATED;
        if few || forward <= backward { (Side::Forward, forward) } else { (Side::Backward, backward) }
    }

    fn take_mask(&mut self, words: usize) -> Vec<u64> {
        let mut mask = self.spare_masks.pop().unwrap_or_default();
        mask.clear();
        mask.resize(words, 0);
        mask
    }

    /// Clears the bits beyond the last candidate.
    fn clear_tail(&self, mask: &mut [u64]) {
        let candidates = self.pool.num_candidates();
        for (i, word) in mask.iter_mut().enumerate() {
            let valid = candidates.saturating_sub(i * 64);
            if valid < 64 {
                *word &= (1 << valid) - 1;
            }
        }
    }
}

/// Sets bit `index`.
#[inline]
pub fn set(mask: &mut [u64], index: usize) {
    mask[index / 64] |= 1 << (index % 64);
}

/// Indexes of the set bits, ascending.
pub fn bits(mask: &[u64]) -> impl Iterator<Item = usize> + '_ {
    mask.iter().enumerate().flat_map(|(i, &word)| {
        let mut rest = word;
        std::iter::from_fn(move || {
            if rest == 0 {
                return None;
            }
            let bit = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            Some(i * 64 + bit)
        })
    })
}
