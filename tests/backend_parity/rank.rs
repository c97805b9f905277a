//! Filtered ranks.
//!
//! Inputs are small multiples of 1/4, so that every score is exact in float32 and float64 (L2: equal
//! or clearly different; rotation: every modulus is 0, 1 or 2) and the counts must be equal, not close.

use crate::array::*;
use crate::common::cases::{SCORES, kinds};
use smore::engine::backend::{Backend, RankCount, RankTask, Reference, Scoring};
use smore::engine::rng::{Rng, below, stream};

/// The same score with weights that float32 holds.
fn exact(kind: Scoring) -> Scoring {
    match kind {
        Scoring::Box { gamma, .. } => Scoring::Box { gamma, inside: 0.25 },
        Scoring::Cone { gamma, .. } => Scoring::Cone { gamma, inside: 0.25 },
        other => other,
    }
}

pub struct Case {
    kind: Scoring,
    queries: Array,
    entities: Array,
    roots: Vec<u32>,
    targets: Vec<Vec<u32>>,
    filters: Vec<Vec<u32>>,
}

fn flat(lists: &[Vec<u32>]) -> (Vec<u32>, Vec<u32>) {
    let mut offsets = vec![0];
    offsets.extend(lists.iter().scan(0, |sum, list| {
        *sum += list.len() as u32;
        Some(*sum)
    }));
    (offsets, lists.concat())
}

impl Case {
    pub fn random(
        rng: &mut Rng,
        kind: Scoring,
        queries: usize,
        entities: usize,
        d: usize,
        arity: usize,
    ) -> Case {
        let (dimensions, d) = (d, crate::score::entity_width(kind, d));
        let quarters = |rng: &mut Rng, k: usize| match kind {
            // Every other number is real, the rest imaginary.
            Scoring::Rotation { .. } if (k >= dimensions) != (k % dimensions % 2 == 1) => 0.0,
            Scoring::Rotation { .. } => below(rng, 3) as f64,
            _ => below(rng, 9) as f64 / 4.0 - 1.0,
        };
        let roots = segments(rng, queries, arity);
        let mut table = Array::new(entities, d, |_, k| quarters(rng, k));
        // Copies of other rows tie exactly, whatever the dimension; a few rows are NaN.
        for e in 1..entities {
            let from = below(rng, e as u64) as usize;
            match below(rng, 16) {
                0..4 => (0..d).for_each(|k| table.set(e, k, table.at(from, k))),
                4 => table.set(e, below(rng, d as u64) as usize, f64::NAN),
                _ => {}
            }
        }
        let mut rows = Array::new(roots[queries] as usize, kind.query_width(d), |_, k| quarters(rng, k));
        if rows.rows > 3 {
            rows.set(1, 0, f64::NAN);
            rows.set(2, 0, f64::NAN);
        }
        let mut targets = Vec::new();
        let mut filters = Vec::new();
        for q in 0..queries {
            // None, one, several and many targets; the same entity may be asked for twice.
            let wanted = [1, 0, 3, 40][q % 4].min(entities);
            let mut of_query: Vec<u32> = distinct(rng, wanted, entities);
            of_query.extend(of_query.first().copied().filter(|_| q % 8 == 2));
            // No filter, one without the targets, one with all of them, anything.
            let filtered = below(rng, entities as u64 / 2 + 1) as usize;
            let mut filter = if q % 3 == 0 { vec![] } else { distinct(rng, filtered, entities) };
            match q % 5 {
                1 => filter.retain(|e| !of_query.contains(e)),
                2 => filter.extend(distinct(rng, entities, entities).iter().filter(|e| of_query.contains(e))),
                _ => {}
            }
            filter.sort_unstable();
            filter.dedup();
            targets.push(of_query);
            filters.push(filter);
        }
        Case { kind, queries: rows, entities: table, roots, targets, filters }
    }

    /// The case of some of its queries, and which targets of all they have.
    pub fn part(&self, queries: &[usize]) -> (Case, Vec<usize>) {
        let (mut roots, mut root_rows, mut targets) = (vec![0], Vec::new(), Vec::new());
        let (target_offsets, _) = flat(&self.targets);
        for &q in queries {
            root_rows.extend(self.roots[q] as usize..self.roots[q + 1] as usize);
            roots.push(root_rows.len() as u32);
            targets.extend(target_offsets[q] as usize..target_offsets[q + 1] as usize);
        }
        let of = |lists: &[Vec<u32>]| queries.iter().map(|&q| lists[q].clone()).collect();
        let part = Case {
            kind: self.kind,
            queries: Array::new(root_rows.len(), self.queries.cols, |i, k| self.queries.at(root_rows[i], k)),
            entities: self.entities.clone(),
            roots,
            targets: of(&self.targets),
            filters: of(&self.filters),
        };
        (part, targets)
    }

    pub fn run<B: Backend>(&self, backend: &B) -> Vec<RankCount> {
        let (queries, entities) = (self.queries.on(backend), self.entities.on(backend));
        let (target_offsets, targets) = flat(&self.targets);
        let (filter_offsets, filter) = flat(&self.filters);
        let task = RankTask {
            root_offsets: &self.roots,
            queries: queries.mat(),
            target_offsets: &target_offsets,
            targets: &targets,
            filter_offsets: &filter_offsets,
            filter: &filter,
        };
        backend.rank(self.kind, task, entities.mat()).unwrap()
    }
}

pub fn check_rank<B: Backend>(backend: &B) {
    let mut rng = stream(8, "rank", 0);
    let shapes = [1, 2, 127, 128, 129, 500].map(|e| (9, e, 7, 2)).into_iter();
    let shapes = shapes.chain(COUNTS.map(|q| (q, 70, 3, 3)));
    let shapes = shapes.chain(DIMENSIONS.map(|d| (7, 60, d, 1)));
    let shapes: Vec<_> = shapes.chain([(66, 2048 + 130, 17, 2), (1, 4097, 16, 1)]).collect();
    for kind in kinds(&SCORES).map(exact) {
        let mut ties = 0;
        for &(queries, entities, d, arity) in &shapes {
            let case = Case::random(&mut rng, kind, queries, entities, d, arity);
            let (got, want) = (case.run(backend), case.run(&Reference));
            let what = format!("{kind:?}, {queries} queries of {arity}, {entities} entities x {d}");
            assert_eq!(got.len(), case.targets.iter().map(Vec::len).sum::<usize>(), "{what}");
            for (t, (got, want)) in got.iter().zip(&want).enumerate() {
                assert_eq!(got, want, "{what}, target {t}");
                ties += want.equal;
            }
        }
        assert!(ties > 100, "{kind:?}: too few ties to test them");
    }
    // More than any backend takes at a time, of queries and of entities.
    let mut case = Case::random(&mut rng, SCORES[0].kind, 1000, 8192 + 70, 2, 2);
    case.targets.iter_mut().for_each(|list| list.truncate(5));
    case.filters.iter_mut().for_each(|list| list.truncate(20));
    assert_eq!(case.run(backend), case.run(&Reference));
}
