//! The frequency baseline: what a model must beat to have learnt anything about the anchors.

use super::ranks::RankCounts;
use super::scorer::{QueryBlock, Scorer};
use crate::error::Result;
use crate::graph::Csr;
use crate::ids::EntityId;
use crate::query::{Query, Tree};
use rayon::prelude::*;

/// Directed training edges up to which a run's evaluation has the baseline beside the model's results. Beyond, counting
/// would take gigabytes, and ranking among the tails of the most frequent relations longer than the model does.
pub const MAX_EDGES: usize = 100_000_000;

/// Scores an entity by how often it is the tail of the query's last relations in training.
///
/// With `f_r(e)` the share of relation `r`'s training edges that end in `e`, the score of `e` for
///
/// - a projection along `r` is `f_r(e)`, whatever stands below it;
/// - an intersection is the product of the scores of its branches, negated ones left out;
/// - a union is the maximum of the scores of its branches (the best disjunct, as for the models);
/// - a negation or an anchor on its own is constant: the baseline knows nothing about it.
///
/// It never looks at the anchors. Memory: 16 bytes per (relation, tail) pair of the training graph.
pub struct FrequencyBaseline {
    num_entities: usize,
    /// For each directed relation: its tails, ascending, with their number of edges.
    tails: Vec<Counts>,
}

/// Shares of a total by entity, ascending; zero for every entity that is not listed.
///
/// Numerators and total are kept apart: as whole numbers they are exact, so that equal scores stay
/// equal whatever the order of the branches.
#[derive(Clone, Default)]
struct Counts {
    list: Vec<(EntityId, f64)>,
    total: f64,
}

/// `None` where all entities have the same score.
type Scores = Option<Counts>;

impl FrequencyBaseline {
    /// Counts the tails of every relation. O(fragments), because the tails of `r` that end in `e` are
    /// the edges of its inverse that leave `e`.
    pub fn new(train: &Csr, num_relations: usize) -> Self {
        let mut tails = vec![Counts::default(); num_relations];
        for entity in train.entities_with_edges() {
            for (relation, heads) in train.row(entity).iter() {
                let Some(counts) = tails.get_mut(relation.inverse().index()) else { continue };
                counts.list.push((entity, heads.len() as f64));
                counts.total += heads.len() as f64;
            }
        }
        FrequencyBaseline { num_entities: train.num_entities(), tails }
    }

    fn scores(&self, query: &Query) -> Scores {
        match query {
            Tree::Anchor(_) | Tree::Negation(_) => None,
            Tree::Projection(_, relation) => {
                Some(self.tails.get(relation.index()).cloned().unwrap_or_default())
            }
            Tree::Intersection(children) => {
                let known = children.iter().filter_map(|child| self.scores(child));
                known.reduce(|a, b| Counts {
                    list: merge(&a.list, &b.list, |x, y| x * y, false),
                    total: a.total * b.total,
                })
            }
            Tree::Union(children) => {
                let known = children.iter().filter_map(|child| self.scores(child)).map(Counts::shares);
                let union = known.reduce(|a, b| merge(&a, &b, f64::max, true));
                union.map(|list| Counts { list, total: 1.0 })
            }
        }
    }

    /// All scores of a query; for tests and for answers. O(entities).
    pub fn dense_scores(&self, query: &Query) -> Vec<f32> {
        let mut dense = vec![0.0; self.num_entities];
        for (entity, share) in self.scores(query).map(Counts::shares).unwrap_or_default() {
            dense[entity.index()] = share as f32;
        }
        dense
    }

    fn counts(&self, query: &Query, targets: &[EntityId], filter: &[EntityId]) -> Vec<RankCounts> {
        let list = self.scores(query).unwrap_or_default().list;
        let own = |target: &EntityId| match list.binary_search_by_key(target, |(entity, _)| *entity) {
            Ok(index) => list[index].1,
            Err(_) => 0.0,
        };
        let unfiltered = list.iter().filter(|(entity, _)| filter.binary_search(entity).is_err());
        let mut candidates: Vec<f64> = unfiltered.map(|(_, score)| *score).collect();
        candidates.sort_unstable_by(|a, b| b.total_cmp(a));
        // The candidates that are not listed all score zero.
        let zeros = self.num_entities - filter.len() - candidates.len();
        let counts = |target| {
            let score = own(target);
            let better = candidates.partition_point(|&c| c > score);
            let equal = match score > 0.0 {
                true => candidates.partition_point(|&c| c >= score) - better,
                false => zeros + candidates.len() - better,
            };
            RankCounts { better: better as u32, equal: equal as u32 }
        };
        targets.iter().map(counts).collect()
    }
}

impl Counts {
    fn shares(self) -> Vec<(EntityId, f64)> {
        self.list.into_iter().map(|(entity, count)| (entity, count / self.total)).collect()
    }
}

/// Joins two ascending lists; entities in one of them only are kept where `either`.
fn merge(
    a: &[(EntityId, f64)],
    b: &[(EntityId, f64)],
    join: impl Fn(f64, f64) -> f64,
    either: bool,
) -> Vec<(EntityId, f64)> {
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    while i < a.len() || j < b.len() {
        let order = match (a.get(i), b.get(j)) {
            (Some(x), Some(y)) => x.0.cmp(&y.0),
            (Some(_), None) => std::cmp::Ordering::Less,
            _ => std::cmp::Ordering::Greater,
        };
        if order.is_eq() {
            out.push((a[i].0, join(a[i].1, b[j].1)));
        } else if either {
            out.push(if order.is_lt() { a[i] } else { b[j] });
        }
        i += usize::from(order.is_le());
        j += usize::from(order.is_ge());
    }
    out
}

impl Scorer for FrequencyBaseline {
    fn name(&self) -> String {
        "frequency baseline".into()
    }

    fn rank(&self, block: &QueryBlock) -> Result<Vec<RankCounts>> {
        let counts = |q| self.counts(&block.query(q), block.targets_of(q), block.filter_of(q));
        let per_query: Vec<Vec<RankCounts>> = (0..block.len()).into_par_iter().map(counts).collect();
        Ok(per_query.concat())
    }
}
