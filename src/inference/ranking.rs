//! Which of two answers is better: the truer one, and of equally true ones that with the better raw score.
//!
//! The cut makes most entities equally false and the cap some equally true. Were ranks decided by that, a threshold would decide the
//! metrics. So equal ones are told apart by the scores that the truth was made of, uncut, uncapped and without evidence: for a
//! projection those of its last link from the truest binding, for an intersection the sum of its branches' logarithms, for a
//! union their maximum. For a single link it is the model's own order.

use super::propagate::{Propagation, Trace};
use super::rows::Pair;
use super::values::Values;
use crate::error::Result;
use crate::ids::EntityId;
use crate::query::{Query, Tree};

/// How good an answer is: greater is better. The truth is in the upper half, what decides between equal truths in the lower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Merit(u64);

impl Merit {
    /// Of a truth from 0 on, and a number that is not NaN.
    fn new(truth: f32, score: f32) -> Self {
        // Bits of floats that are not negative are in their order; of negative ones they are in reverse.
        let bits = (score + 0.0).to_bits();
        let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
        Merit(u64::from(truth.to_bits()) << 32 | u64::from(ordered))
    }

    /// The truth.
    pub fn truth(self) -> f32 {
        f32::from_bits((self.0 >> 32) as u32)
    }
}

/// The merit of every entity as answer of one query.
#[derive(Clone, Debug)]
pub struct Merits {
    values: Values,
    /// Decides between equal values: a number for each entity, or nothing.
    scores: Vec<f32>,
}

impl Merits {
    /// That of an entity.
    pub fn of(&self, entity: EntityId) -> Merit {
        Merit::new(self.values.of(entity), self.score(entity))
    }

    fn score(&self, entity: EntityId) -> f32 {
        self.scores.get(entity.index()).copied().unwrap_or(0.0)
    }

    /// How true each entity is.
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// Every entity with its merit, ascending by id.
    pub fn each(&self, num_entities: usize) -> impl Iterator<Item = (EntityId, Merit)> + '_ {
        let mut listed = self.values.list.iter().peekable();
        (0..num_entities as u32).map(EntityId).map(move |entity| {
            let value = listed.next_if(|(e, _)| *e == entity).map_or(self.values.others, |(_, value)| *value);
            (entity, Merit::new(value, self.score(entity)))
        })
    }
}

impl Propagation<'_> {
    /// The merits of the answers of queries, whose traces these are.
    ///
    /// # Errors
    ///
    /// As [`Rows::get`](super::rows::Rows::get).
    pub fn merits(&self, queries: &[&Query], traces: Vec<Trace>) -> Result<Vec<Merits>> {
        let last: Vec<Last> =
            queries.iter().zip(&traces).map(|(query, trace)| self.last(query, trace)).collect();
        let mut pairs = Vec::new();
        for (query, last) in queries.iter().zip(&last) {
            // Sums of scores order entities as sums of logarithms do; of unions the greater logarithm counts.
            last.pairs(&mut pairs, query.has_union());
        }
        let mut rows = self.rows.uncut(&pairs)?.into_iter();
        let merits = queries.iter().zip(&last).zip(traces).map(|((query, last), trace)| Merits {
            values: trace.values,
            scores: last.scores(&mut rows, query.has_union()).unwrap_or_default(),
        });
        Ok(merits.collect())
    }

    /// The last links of a query, from the truest binding of each.
    fn last(&self, query: &Query, trace: &Trace) -> Last {
        let children = || query.children().iter().zip(&trace.children);
        let each = |negated: bool| {
            let kept = children().filter(|(child, _)| negated || !matches!(child, Tree::Negation(_)));
            kept.map(|(child, trace)| self.last(child, trace)).collect::<Vec<_>>()
        };
        match query {
            Tree::Anchor(_) => Last::Nothing,
            Tree::Projection(_, relation) => match trace.children[0].values.best(self.num_entities()) {
                Some((head, value)) => Last::Link((*relation, head), value.ln()),
                None => Last::Nothing,
            },
            Tree::Negation(_) => Last::Not(each(true)),
            // A negated branch says what is no answer, not which of the others is a better one.
            Tree::Intersection(_) => match each(false) {
                positive if !positive.is_empty() => Last::All(positive),
                _ => Last::All(each(true)),
            },
            Tree::Union(_) => Last::Any(each(true)),
        }
    }
}

/// The upper part of a query, down to its last links.
enum Last {
    Nothing,
    /// A link from a binding, and the logarithm of the truth of that.
    Link(Pair, f32),
    Not(Vec<Last>),
    All(Vec<Last>),
    Any(Vec<Last>),
}

impl Last {
    fn pairs(&self, all: &mut Vec<(Pair, bool)>, as_truth: bool) {
        match self {
            Last::Nothing => {}
            Last::Link(pair, _) => all.push((*pair, as_truth)),
            Last::Not(parts) | Last::All(parts) | Last::Any(parts) => {
                parts.iter().for_each(|part| part.pairs(all, as_truth));
            }
        }
    }

    /// The scores of all entities; rows come in the order of [`Last::pairs`].
    fn scores(&self, rows: &mut impl Iterator<Item = Vec<f32>>, as_truth: bool) -> Option<Vec<f32>> {
        let mut joined = |parts: &[Last], join: fn(f32, f32) -> f32| {
            let parts: Vec<Vec<f32>> = parts.iter().filter_map(|part| part.scores(rows, as_truth)).collect();
            parts.into_iter().reduce(|mut a, b| {
                a.iter_mut().zip(b).for_each(|(a, b)| *a = join(*a, b));
                a
            })
        };
        match self {
            Last::Nothing => None,
            Last::Link(_, ln) => rows.next().map(|mut row| {
                if as_truth {
                    row.iter_mut().for_each(|score| *score += ln);
                }
                row
            }),
            Last::Not(parts) => joined(parts, f32::max).map(|mut row| {
                row.iter_mut().for_each(|score| *score = -*score);
                row
            }),
            Last::All(parts) => joined(parts, |a, b| a + b),
            Last::Any(parts) => joined(parts, f32::max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truth_decides_before_scores_do() {
        let order = [
            Merit::new(0.0, f32::NEG_INFINITY),
            Merit::new(0.0, -3.0),
            Merit::new(0.0, -1.0),
            Merit::new(0.0, 0.0),
            Merit::new(0.0, 2.0),
            Merit::new(2e-4, -9.0),
            Merit::new(0.5, -1.0),
            Merit::new(1.0, -7.0),
            Merit::new(1.0, f32::INFINITY),
        ];
        assert!(order.is_sorted_by(|a, b| a < b));
        assert_eq!(Merit::new(0.5, -0.0), Merit::new(0.5, 0.0));
        assert_eq!(order[6].truth(), 0.5);
    }
}
