//! Truth values from the anchors to the answers, over many queries of one structure at once.
//!
//! At every node of a query's tree each entity has a truth value. Along a relation it is the best over all bindings of what stands
//! below: `max over h of (value of h) and (truth of h -r-> t)`. Branches are joined by the t-norm and its co-norm, entity by entity. A
//! negated branch is one minus the best of its bindings, so that it means: there is none.
//!
//! Because "and" never falls where a part of it rises, this is the maximum over all joint bindings of the variables of a query
//! without negation, at the cost of one pass. With all bindings kept it is exact (QTO); with the `k` best ones of each variable it
//! is a beam (CQD, Arakelyan, Daza, Minervini and Cochez, "Complex Query Answering with Neural Link Predictors", ICLR 2021).

use super::norm::TNorm;
use super::rows::{Pair, Rows};
use super::truth::{Code, Row, Truth};
use super::values::Values;
use crate::error::Result;
use crate::ids::{EntityId, RelationId};
use crate::query::{Query, Tree};
use rayon::prelude::*;

/// Bytes of the rows that are held at once, were they as long as they can be.
const ROWS: usize = 256 << 20;

/// Bytes of the dense values of queries that are worked on at once.
const DENSE: usize = 64 << 20;

/// The values at a node of a query, and at the nodes below it.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// How true each entity is here.
    pub values: Values,
    /// The same of the node's children, in their order.
    pub children: Vec<Trace>,
}

impl Trace {
    /// Bytes of all its values.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.values.list[..]) + self.children.iter().map(Trace::bytes).sum::<usize>()
    }
}

/// Propagates truth values.
pub struct Propagation<'a> {
    /// The truth of links.
    pub rows: Rows<'a>,
    /// What joins truth values.
    pub norm: TNorm,
    /// What a truth value is multiplied by before it is negated.
    pub negation_scale: f32,
    /// Bindings of a variable that are followed; all of them where there is no limit.
    pub beam: Option<usize>,
}

impl Propagation<'_> {
    /// Number of entities.
    pub fn num_entities(&self) -> usize {
        self.rows.links.num_entities()
    }

    /// Queries that are worked on at once.
    pub fn queries_at_once(&self) -> usize {
        (DENSE / (size_of::<f32>() * self.num_entities()).max(1)).clamp(1, 256)
    }

    /// The values of each query, all of one structure. Time is the sum of the lengths of the rows of all bindings.
    ///
    /// # Errors
    ///
    /// As [`Rows::get`].
    pub fn traces(&self, queries: &[&Query]) -> Result<Vec<Trace>> {
        let mut traces = Vec::with_capacity(queries.len());
        for block in queries.chunks(self.queries_at_once()) {
            traces.extend(self.block(block)?);
        }
        Ok(traces)
    }

    fn block(&self, queries: &[&Query]) -> Result<Vec<Trace>> {
        let Some(first) = queries.first() else { return Ok(Vec::new()) };
        // The children of all queries, the first of each, then the second and so on.
        let mut children: Vec<Vec<Trace>> = vec![Vec::new(); queries.len()];
        for child in 0..first.children().len() {
            let nodes: Vec<&Query> = queries.iter().map(|query| &query.children()[child]).collect();
            let traces = self.block(&nodes)?;
            children.iter_mut().zip(traces).for_each(|(of_query, trace)| of_query.push(trace));
        }
        let join = |children: &[Trace], join: &dyn Fn(&Values, &Values, TNorm) -> Values| {
            let (first, rest) = children.split_first().expect("a set operation has children");
            rest.iter().fold(first.values.clone(), |joined, child| join(&joined, &child.values, self.norm))
        };
        let values: Vec<Values> = match first {
            Tree::Projection(..) => {
                let sources = queries.iter().zip(&children).map(|(query, children)| match query {
                    Tree::Projection(_, relation) => (&children[0].values, *relation),
                    _ => unreachable!("all queries have one structure"),
                });
                self.project(&sources.collect::<Vec<_>>())?
            }
            Tree::Anchor(_) => queries.iter().map(|query| anchor(query)).collect(),
            Tree::Negation(_) => {
                children.par_iter().map(|c| c[0].values.clone().negate(self.negation_scale)).collect()
            }
            Tree::Intersection(_) => children.par_iter().map(|c| join(c, &Values::and)).collect(),
            Tree::Union(_) => children.par_iter().map(|c| join(c, &Values::or)).collect(),
        };
        Ok(values.into_iter().zip(children).map(|(values, children)| Trace { values, children }).collect())
    }

    /// The entities that are followed from a node, ascending, with their truth.
    pub fn bindings(&self, values: &Values) -> Vec<(EntityId, f32)> {
        values.bindings(self.num_entities(), self.beam.unwrap_or(usize::MAX))
    }

    /// Rows that are held at once.
    pub(super) fn rows_at_once(&self) -> usize {
        let longest = self.num_entities() * (size_of::<EntityId>() + size_of::<Code>());
        (ROWS / longest.max(1)).clamp(64, 1 << 16)
    }

    /// The values behind a relation, for each of several sources.
    fn project(&self, sources: &[(&Values, RelationId)]) -> Result<Vec<Values>> {
        let bindings: Vec<Vec<(EntityId, f32)>> =
            sources.par_iter().map(|(values, _)| self.bindings(values)).collect();
        let pairs = bindings.iter().zip(sources);
        let mut pairs: Vec<Pair> = pairs
            .flat_map(|(bindings, (_, relation))| bindings.iter().map(|(head, _)| (*relation, *head)))
            .collect();
        pairs.par_sort_unstable();
        pairs.dedup();
        let mut dense = vec![vec![0f32; self.num_entities()]; sources.len()];
        for pairs in pairs.chunks(self.rows_at_once()) {
            let rows = self.rows.get(pairs)?;
            dense.par_iter_mut().zip(&bindings).zip(sources).for_each(
                |((dense, bindings), (_, relation))| {
                    // Those of the bindings whose rows are at hand: both are ascending.
                    let mut at = pairs.partition_point(|pair| *pair < (*relation, EntityId(0)));
                    let Some(&(of, first)) = pairs.get(at).filter(|(of, _)| of == relation) else { return };
                    let from = bindings.partition_point(|(head, _)| *head < first);
                    for &(head, value) in &bindings[from..] {
                        while pairs.get(at).is_some_and(|pair| *pair < (of, head)) {
                            at += 1;
                        }
                        match pairs.get(at) {
                            Some(pair) if *pair == (of, head) => self.follow(value, rows[at].row(), dense),
                            _ => break,
                        }
                    }
                },
            );
        }
        let sparse = dense.into_par_iter().map(|dense| {
            let entities = (0..).map(EntityId).zip(dense);
            Values { list: entities.filter(|(_, value)| *value > 0.0).collect(), others: 0.0 }
        });
        Ok(sparse.collect())
    }

    /// One binding's share of the values behind a relation.
    fn follow(&self, value: f32, row: Row, best: &mut [f32]) {
        /// A loop for each norm, so that none asks which one it is.
        fn each(row: Row, truth: &Truth, best: &mut [f32], and: impl Fn(f32) -> f32) {
            for (tail, &code) in row.tails.iter().zip(row.codes) {
                let best = &mut best[tail.index()];
                // None of them is NaN, so this is their maximum, in one instruction.
                let value = and(truth.of(code));
                *best = if value > *best { value } else { *best };
            }
        }
        let truth = self.rows.truth;
        match self.norm {
            TNorm::Product => each(row, truth, best, |x| TNorm::Product.and(value, x)),
            TNorm::Minimum => each(row, truth, best, |x| TNorm::Minimum.and(value, x)),
            TNorm::Lukasiewicz => each(row, truth, best, |x| TNorm::Lukasiewicz.and(value, x)),
        }
    }
}

fn anchor(query: &Query) -> Values {
    match query {
        Tree::Anchor(entity) => Values::anchor(*entity),
        _ => unreachable!("all queries have one structure"),
    }
}
