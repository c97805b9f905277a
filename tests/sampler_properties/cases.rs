//! Structures, graphs, and the check of a batch against the exact executor.

use smore::engine::graph::{Csr, CsrBuf, View};
use smore::engine::ids::{EntityId, RelationId, Triple};
use smore::engine::query::execute::answers;
use smore::engine::query::{Mix, Structure, Tree};
use smore::engine::rng::{Rng, below, stream};
use smore::engine::sampler::Batch;
use smore::engine::sampler::{Direction, Pooling, SamplerOptions, Source, Verification};

pub fn anchor() -> Structure {
    Tree::Anchor(())
}

pub fn p(child: Structure) -> Structure {
    Tree::Projection(Box::new(child), ())
}

pub fn chain(length: usize) -> Structure {
    (0..length).fold(anchor(), |tree, _| p(tree))
}

pub fn not(child: Structure) -> Structure {
    Tree::Negation(Box::new(child))
}

pub fn and(children: impl IntoIterator<Item = Structure>) -> Structure {
    Tree::Intersection(children.into_iter().collect())
}

pub fn or(children: impl IntoIterator<Item = Structure>) -> Structure {
    Tree::Union(children.into_iter().collect())
}

/// The 14 named structures.
pub fn named() -> Vec<Structure> {
    vec![
        chain(1),
        chain(2),
        chain(3),
        and([chain(1), chain(1)]),
        and([chain(1), chain(1), chain(1)]),
        p(and([chain(1), chain(1)])),
        and([chain(2), chain(1)]),
        and([chain(1), not(chain(1))]),
        and([chain(1), chain(1), not(chain(1))]),
        p(and([chain(1), not(chain(1))])),
        and([chain(2), not(chain(1))]),
        and([not(chain(2)), chain(1)]),
        or([chain(1), chain(1)]),
        p(or([chain(1), chain(1)])),
    ]
}

/// A random tree of at most `depth` operators on a path.
pub fn random_tree(rng: &mut Rng, depth: usize) -> Structure {
    if depth == 0 {
        return anchor();
    }
    match below(rng, 10) {
        0 => anchor(),
        1..=4 => p(random_tree(rng, depth - 1)),
        5 | 6 => {
            let children = 2 + below(rng, 2);
            and((0..children).map(|_| random_tree(rng, depth - 1)).collect::<Vec<_>>())
        }
        7 | 8 => {
            let children = 2 + below(rng, 2);
            or((0..children).map(|_| random_tree(rng, depth - 1)).collect::<Vec<_>>())
        }
        _ => not(random_tree(rng, depth - 1)),
    }
}

pub fn triple(h: u64, r: u64, t: u64) -> Triple {
    Triple { head: EntityId(h as u32), relation: RelationId(2 * r as u32), tail: EntityId(t as u32) }
}

/// Graphs of every temper: even, with hubs, with parallel relations, dense, sparse rows.
pub fn random_graph(seed: u64) -> CsrBuf {
    let mut rng = stream(seed, "graph", 0);
    let mut id = |n| below(&mut rng, n);
    match seed % 5 {
        0 => {
            let triples: Vec<_> = (0..120).map(|_| triple(id(40), id(4), id(40))).collect();
            CsrBuf::from_triples(44, &triples)
        }
        1 => {
            // Three hubs that most edges touch.
            let triples: Vec<_> = (0..300).map(|_| triple(id(100), id(3), id(3))).collect();
            CsrBuf::from_triples(100, &triples)
        }
        2 => {
            // Every pair has several relations at once, and loops occur.
            let pairs: Vec<_> = (0..30).map(|_| (id(12), id(12))).collect();
            let triples: Vec<_> =
                pairs.iter().flat_map(|&(h, t)| (0..3).map(move |r| triple(h, r, t))).collect();
            CsrBuf::from_triples(12, &triples)
        }
        3 => {
            let triples: Vec<_> = (0..200).map(|_| triple(id(9), id(2), id(9))).collect();
            CsrBuf::from_triples(9, &triples)
        }
        _ => {
            let triples: Vec<_> = (0..60).map(|_| triple(id(30), id(3), id(30))).collect();
            CsrBuf::from_triples(1_000, &triples)
        }
    }
}

pub fn mix_of(structures: &[(Structure, usize)]) -> Mix {
    Mix { parts: structures.to_vec() }
}

/// Checks every promise about a batch against the exact executor; returns the number of masked entries
/// and of queries whose number of answers is exact.
pub fn check_batch(graph: Csr, mix: &Mix, batch: &Batch) -> (usize, u64) {
    check_batch_of(graph, mix, batch, &SamplerOptions::default())
}

/// As [`check_batch`], for the options with which the batch was drawn.
pub fn check_batch_of(graph: Csr, mix: &Mix, batch: &Batch, options: &SamplerOptions) -> (usize, u64) {
    let view = View::new([graph]);
    let exponent = f64::from(options.negative_exponent);
    let weight = |e: EntityId| (graph.degree(e) as f64).powf(exponent);
    let total: f64 = graph.entities_with_edges().map(weight).sum();
    // Entities that a negative stands for.
    let represented = |e| if exponent == 0.0 { graph.num_entities() as f64 } else { total / weight(e) };
    let (mut anchors, mut relations) = (&batch.anchors[..], &batch.relations[..]);
    let mut q = 0;
    let (mut masked, mut exact) = (0, 0);
    for (structure, count) in &mix.parts {
        let (a, r) = structure.flatten();
        let (a, r) = (a.len(), r.len());
        for _ in 0..*count {
            let query = structure.fill(&anchors[..a], &relations[..r]).expect("the lists fit the structure");
            let wrong_way = |r: &RelationId| match options.direction {
                Direction::Both => false,
                Direction::Forward => r.is_inverse(),
                Direction::Inverse => !r.is_inverse(),
            };
            assert!(!relations[..r].iter().any(wrong_way), "{query:?} is not {:?}", options.direction);
            (anchors, relations) = (&anchors[a..], &relations[r..]);
            let truth = answers(&view, &query);
            let is_answer = |e: &EntityId| truth.binary_search(e).is_ok();
            let positive = batch.positives[q];
            assert!(is_answer(&positive), "{query:?} has the positive {positive:?}");
            let mut share = 0.0;
            for (n, entity) in batch.pool(q).iter().enumerate() {
                let expected = match options.verification {
                    Verification::None => *entity == positive,
                    _ => is_answer(entity),
                };
                assert_eq!(batch.is_masked(q, n), expected, "{query:?}, negative {n}: {entity:?}");
                if expected {
                    share += represented(*entity) / batch.pool_size as f64;
                }
            }
            let has_negative = batch.num_masked(q) < batch.pool_size;
            let may_lack = options.verification == Verification::None || options.source == Source::Edges;
            assert!(has_negative || may_lack, "{query:?} has no negative");
            let (size, claimed) = (truth.len() as f64, f64::from(batch.num_answers[q]));
            let close = |x: f64| (claimed - x).abs() <= 1e-5 * x;
            assert!(close(size) || close(1.0 + share), "{query:?} has {size} answers, not {claimed}");
            masked += batch.num_masked(q);
            exact += u64::from(claimed == size);
            q += 1;
        }
    }
    assert!(anchors.is_empty() && relations.is_empty() && q == batch.positives.len());
    assert_eq!((batch.num_answers.len(), mix.num_queries()), (q, q));
    let pools = if options.pool == Pooling::Shared { 1 } else { q };
    assert_eq!(batch.negatives.len(), pools * batch.pool_size);
    (masked, exact)
}

/// No cap is met with these.
pub fn uncapped(seed: u64, negatives: usize) -> SamplerOptions {
    SamplerOptions { seed, negatives, relation_bandwidth: 10_000, answer_cap: 10_000, ..Default::default() }
}
