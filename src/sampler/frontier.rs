//! The forward side: sets enumerated from the anchors up to the cut.

use super::cut::{Kind, Program, Role};
use super::entity_set::EntitySet;
use super::prefetch;
use super::reject::Rejection;
use super::sorted;
use super::work::Work;
use crate::graph::Csr;
use crate::ids::{EntityId, RelationId};

/// Limits of the forward side.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// Largest fragment that is walked when a set is projected, and largest set on the way to the cut.
    pub relation_bandwidth: usize,
    /// Largest set at the cut.
    pub answers: usize,
}

/// An enumerated set.
#[derive(Debug)]
pub enum Found<'g> {
    /// An anchor.
    One(EntityId),
    /// A fragment of the graph, ascending.
    Slice(&'g [EntityId]),
    /// Any other set.
    Set(EntitySet),
}

impl Found<'_> {
    /// The entities; ascending unless this is a [`Found::Set`].
    #[inline]
    pub fn entities(&self) -> &[EntityId] {
        match self {
            Found::One(entity) => std::slice::from_ref(entity),
            Found::Slice(slice) => slice,
            Found::Set(set) => set.members(),
        }
    }

    /// Whether `entity` is in the set.
    #[inline]
    pub fn contains(&self, entity: EntityId) -> bool {
        match self {
            Found::One(one) => *one == entity,
            Found::Slice(slice) => sorted::contains(slice, entity),
            Found::Set(set) => set.contains(entity),
        }
    }

    /// Whether the set shares an entity with an ascending list.
    #[inline]
    pub fn intersects(&self, list: &[EntityId]) -> bool {
        match self {
            Found::One(one) => sorted::contains(list, *one),
            Found::Slice(slice) => sorted::intersects(slice, list),
            // A look-up in the set is some times cheaper than a binary search in the list.
            Found::Set(set) if list.len() <= 4 * set.len() => list.iter().any(|&e| set.contains(e)),
            Found::Set(set) => set.members().iter().any(|&e| sorted::contains(list, e)),
        }
    }
}

/// The anchors and relations of one query.
#[derive(Clone, Copy, Debug)]
pub struct Filling<'q> {
    /// In post-order.
    pub anchors: &'q [EntityId],
    /// In post-order.
    pub relations: &'q [RelationId],
}

/// A query that is enumerated, where, and how far.
#[derive(Clone, Copy)]
struct Asked<'a, 'g> {
    graph: Csr<'g>,
    program: &'a Program,
    query: Filling<'a>,
    caps: Caps,
    work: &'a Work,
}

/// Enumerated sets of one query, and emptied ones for reuse.
#[derive(Debug, Default)]
pub struct Frontier<'g> {
    /// By node: the set, where the node's role is [`Role::Cut`] or [`Role::Fragment`].
    pub sets: Vec<Option<Found<'g>>>,
    /// Children of the intersections that are being enumerated, with whether they are negated.
    pending: Vec<(bool, Found<'g>)>,
    /// Sets without members, for reuse.
    spare: Vec<EntitySet>,
}

impl<'g> Frontier<'g> {
    /// Enumerates every cut node and borrows every fragment of a query; returns the size of the
    /// frontier (anchors and fragments above the cut do not count).
    pub fn enumerate(
        &mut self,
        graph: Csr<'g>,
        program: &Program,
        query: Filling,
        caps: Caps,
        work: &Work,
    ) -> Result<usize, Rejection> {
        self.clear();
        self.sets.resize_with(program.nodes.len(), || None);
        let asked = Asked { graph, program, query, caps, work };
        let mut size = 0;
        for (index, node) in program.nodes.iter().enumerate() {
            let found = match node.role {
                Role::Cut => {
                    let found = self.forward(asked, index, true)?;
                    if !matches!(found, Found::One(_)) {
                        size += found.entities().len();
                    }
                    found
                }
                Role::Fragment => self.forward(asked, index, false)?,
                Role::Below | Role::Above => continue,
            };
            self.sets[index] = Some(found);
        }
        Ok(size)
    }

    /// An empty set; give it back with [`Frontier::recycle`].
    pub fn take_set(&mut self) -> EntitySet {
        self.spare.pop().unwrap_or_default()
    }

    /// Takes back a set.
    pub fn recycle(&mut self, mut set: EntitySet) {
        set.clear();
        self.spare.push(set);
    }

    fn recycle_found(&mut self, found: Found) {
        if let Found::Set(set) = found {
            self.recycle(set);
        }
    }

    fn clear(&mut self) {
        // A rejected query leaves children behind.
        while let Some((_, found)) = self.pending.pop() {
            self.recycle_found(found);
        }
        while let Some(found) = self.sets.pop() {
            if let Some(found) = found {
                self.recycle_found(found);
            }
        }
    }

    /// The set of `node`. `at_cut`: the answer cap holds for it instead of the bandwidth.
    fn forward(&mut self, asked: Asked<'_, 'g>, node: usize, at_cut: bool) -> Result<Found<'g>, Rejection> {
        let Asked { graph, program, query, caps, work } = asked;
        let limit = if at_cut {
            Limit { size: caps.answers, reason: Rejection::Frontier }
        } else {
            Limit { size: caps.relation_bandwidth, reason: Rejection::Bandwidth }
        };
        match &program.nodes[node].kind {
            Kind::Anchor(anchor) => Ok(Found::One(query.anchors[*anchor])),
            Kind::Projection(child, relation) => {
                let relation = query.relations[*relation];
                let from = self.forward(asked, *child, false)?;
                if let Found::One(entity) = from {
                    let tails = work.tails(graph, entity, relation);
                    return if at_cut && tails.len() > limit.size {
                        Err(limit.reason)
                    } else {
                        Ok(Found::Slice(tails))
                    };
                }
                let set = self.project(graph, &from, relation, caps, limit, work);
                self.recycle_found(from);
                set.map(Found::Set)
            }
            Kind::Union(children) => {
                let base = self.pending.len();
                for &child in children {
                    let found = self.forward(asked, child, false)?;
                    self.pending.push((false, found));
                }
                let mut union = self.take_set();
                let mut fits = Ok(());
                while self.pending.len() > base {
                    let (_, found) = self.pending.pop().expect("above the base");
                    if fits.is_ok() {
                        fits = limit.extend(&mut union, found.entities());
                    }
                    self.recycle_found(found);
                }
                self.keep(union, fits).map(Found::Set)
            }
            Kind::Intersection(children) => {
                let base = self.pending.len();
                for &child in children {
                    let (negated, inner) = match program.nodes[child].kind {
                        Kind::Negation(inner) => (true, inner),
                        _ => (false, child),
                    };
                    let found = self.forward(asked, inner, false)?;
                    self.pending.push((negated, found));
                }
                let set = self.intersect(base, caps, limit);
                while self.pending.len() > base {
                    let (_, found) = self.pending.pop().expect("above the base");
                    self.recycle_found(found);
                }
                set.map(Found::Set)
            }
            Kind::Negation(_) => unreachable!("a complement is never enumerated"),
        }
    }

    fn project(
        &mut self,
        graph: Csr<'g>,
        from: &Found,
        relation: RelationId,
        caps: Caps,
        limit: Limit,
        work: &Work,
    ) -> Result<EntitySet, Rejection> {
        if from.entities().len() > caps.relation_bandwidth {
            return Err(Rejection::Bandwidth);
        }
        let mut set = self.take_set();
        let mut fits = Ok(());
        prefetch::each_row(graph, from.entities(), |entity| {
            let tails = work.tails(graph, entity, relation);
            work.walked(tails.len());
            fits = if tails.len() > caps.relation_bandwidth {
                Err(Rejection::Bandwidth)
            } else {
                limit.extend(&mut set, tails)
            };
            fits.is_ok()
        });
        self.keep(set, fits)
    }

    /// The intersection of the pending sets from `base` on: the smallest is filtered by the others.
    fn intersect(&mut self, base: usize, caps: Caps, limit: Limit) -> Result<EntitySet, Rejection> {
        let mut set = self.take_set();
        let children = &self.pending[base..];
        let smallest = (0..children.len())
            .filter(|&i| !children[i].0)
            .min_by_key(|&i| children[i].1.entities().len())
            .expect("an enumerable intersection has a positive child");
        let walked = children[smallest].1.entities();
        let mut fits =
            if walked.len() > caps.relation_bandwidth { Err(Rejection::Bandwidth) } else { Ok(()) };
        if fits.is_ok() {
            fits = walked.iter().try_for_each(|&entity| {
                let others = children.iter().enumerate().filter(|&(i, _)| i != smallest);
                let mut others = others.map(|(_, (negated, found))| found.contains(entity) != *negated);
                if others.all(|inside| inside) { limit.extend(&mut set, &[entity]) } else { Ok(()) }
            });
        }
        self.keep(set, fits)
    }

    fn keep(&mut self, set: EntitySet, fits: Result<(), Rejection>) -> Result<EntitySet, Rejection> {
        match fits {
            Ok(()) => Ok(set),
            Err(reason) => {
                self.recycle(set);
                Err(reason)
            }
        }
    }
}

/// A largest size with the reason to give when it is exceeded.
#[derive(Clone, Copy)]
struct Limit {
    size: usize,
    reason: Rejection,
}

impl Limit {
    #[inline]
    fn extend(self, set: &mut EntitySet, entities: &[EntityId]) -> Result<(), Rejection> {
        // The entities are distinct: there is no need to insert them to see that they are too many.
        if entities.len() > self.size {
            return Err(self.reason);
        }
        for &entity in entities {
            if set.insert(entity) && set.len() > self.size {
                return Err(self.reason);
            }
        }
        Ok(())
    }
}
