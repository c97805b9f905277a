//! The sampler against the exact executor, on random graphs and random trees, and against the
//! distribution that its documentation promises.

use smore::graph::{Csr, CsrBuf, View};
use smore::ids::{EntityId, RelationId, Triple};
use smore::pipeline::Batch;
use smore::query::execute::answers;
use smore::query::{Mix, Structure, Tree};
use smore::rng::{Rng, below, stream};
use smore::sampler::{Rejection, Sampler, SamplerOptions, Verification};
use std::collections::BTreeMap;

fn anchor() -> Structure {
    Tree::Anchor(())
}

fn p(child: Structure) -> Structure {
    Tree::Projection(Box::new(child), ())
}

fn chain(length: usize) -> Structure {
    (0..length).fold(anchor(), |tree, _| p(tree))
}

fn not(child: Structure) -> Structure {
    Tree::Negation(Box::new(child))
}

fn and(children: impl IntoIterator<Item = Structure>) -> Structure {
    Tree::Intersection(children.into_iter().collect())
}

fn or(children: impl IntoIterator<Item = Structure>) -> Structure {
    Tree::Union(children.into_iter().collect())
}

/// The 14 named structures.
fn named() -> Vec<Structure> {
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
fn random_tree(rng: &mut Rng, depth: usize) -> Structure {
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

fn triple(h: u64, r: u64, t: u64) -> Triple {
    Triple { head: EntityId(h as u32), relation: RelationId(2 * r as u32), tail: EntityId(t as u32) }
}

/// Graphs of every temper: even, with hubs, with parallel relations, dense, sparse rows.
fn random_graph(seed: u64) -> CsrBuf {
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

fn mix_of(structures: &[(Structure, usize)]) -> Mix {
    Mix { parts: structures.to_vec() }
}

/// Checks every promise about a batch against the exact executor; returns the number of masked entries
/// and of queries whose number of answers is exact.
fn check_batch(graph: Csr, mix: &Mix, batch: &Batch) -> (usize, u64) {
    let view = View::new([graph]);
    let (mut anchors, mut relations) = (&batch.anchors[..], &batch.relations[..]);
    let mut q = 0;
    let (mut masked, mut exact) = (0, 0);
    for (structure, count) in &mix.parts {
        let (a, r) = structure.flatten();
        let (a, r) = (a.len(), r.len());
        for _ in 0..*count {
            let query = structure.fill(&anchors[..a], &relations[..r]).expect("the lists fit the structure");
            (anchors, relations) = (&anchors[a..], &relations[r..]);
            let truth = answers(&view, &query);
            let is_answer = |e: &EntityId| truth.binary_search(e).is_ok();
            assert!(is_answer(&batch.positives[q]), "{query:?} has the positive {:?}", batch.positives[q]);
            for (n, entity) in batch.negatives.iter().enumerate() {
                assert_eq!(batch.is_masked(q, n), is_answer(entity), "{query:?}, negative {n}: {entity:?}");
            }
            assert!(batch.num_masked(q) < batch.negatives.len(), "{query:?} has no negative");
            let share = batch.num_masked(q) as f64 / batch.negatives.len() as f64;
            let estimate = (1.0 + graph.num_entities() as f64 * share) as f32;
            assert!(
                batch.num_answers[q] == truth.len() as f32 || batch.num_answers[q] == estimate,
                "{query:?} has {} answers, not {}",
                truth.len(),
                batch.num_answers[q]
            );
            masked += batch.num_masked(q);
            exact += u64::from(batch.num_answers[q] == truth.len() as f32);
            q += 1;
        }
    }
    assert!(anchors.is_empty() && relations.is_empty() && q == batch.positives.len());
    assert_eq!((batch.num_answers.len(), mix.num_queries()), (q, q));
    (masked, exact)
}

#[test]
fn every_named_structure_agrees_with_the_executor_on_random_graphs() {
    let mut drawn = [0; 14];
    let mut masked = [0; 14];
    for seed in 0..25 {
        let buf = random_graph(seed);
        for (i, structure) in named().into_iter().enumerate() {
            let mix = mix_of(&[(structure, 8)]);
            let options = SamplerOptions { seed, negatives: 70, max_attempts: 500, ..Default::default() };
            let mut sampler = Sampler::new(buf.view(), &mix, options).unwrap();
            let mut batch = Batch::default();
            let mut enumerated = 0;
            for number in 0..3 {
                // What a small graph does not have is an error, tested below.
                if sampler.fill(number, &mut batch).is_ok() {
                    let (hits, exact) = check_batch(buf.view(), &mix, &batch);
                    let claimed = sampler.stats().next().unwrap().1.enumerated - enumerated;
                    assert!(exact >= claimed, "{claimed} counts are said to be exact, {exact} are");
                    enumerated += claimed;
                    masked[i] += hits;
                    drawn[i] += 1;
                } else {
                    break;
                }
            }
        }
    }
    assert!(drawn.iter().all(|&n| n >= 20), "{drawn:?}");
    assert!(masked.iter().all(|&n| n >= 50), "{masked:?}");
}

#[test]
fn random_trees_agree_with_the_executor_at_every_cap() {
    let (mut drawn, mut deep, mut failed) = (0, 0, 0);
    for seed in 0..400 {
        let buf = random_graph(seed);
        let mut rng = stream(seed, "tree", 0);
        let structure = random_tree(&mut rng, 4);
        let mix = mix_of(&[(structure, 4)]);
        let caps = [(500, 120), (12, 6), (3, 2), (1_000, 1_000), (1, 1)][below(&mut rng, 5) as usize];
        let options = SamplerOptions {
            seed,
            negatives: 1 + below(&mut rng, 90) as usize,
            relation_bandwidth: caps.0,
            answer_cap: caps.1,
            max_attempts: 300,
            ..Default::default()
        };
        let mut sampler = Sampler::new(buf.view(), &mix, options).unwrap();
        let mut batch = Batch::default();
        for number in 0..3 {
            match sampler.fill(number, &mut batch) {
                Ok(()) => {
                    check_batch(buf.view(), &mix, &batch);
                    drawn += 1;
                    deep += u32::from(mix.parts[0].0.flatten().1.len() >= 4);
                }
                Err(_) => failed += 1,
            }
        }
    }
    assert!(drawn >= 400 && deep >= 40 && failed >= 20, "drawn {drawn}, deep {deep}, failed {failed}");
}

#[test]
fn a_mix_fills_the_batch_structure_by_structure_and_repeats_by_seed_and_number() {
    let buf = random_graph(0);
    let mix = mix_of(&[(chain(2), 5), (chain(1), 3), (and([chain(1), chain(1)]), 4)]);
    let fill = |seed, number, batch: &mut Batch| {
        let options = SamplerOptions { seed, negatives: 50, ..Default::default() };
        Sampler::new(buf.view(), &mix, options).unwrap().fill(number, batch).unwrap();
    };
    let (mut first, mut again, mut other) = (Batch::default(), Batch::default(), Batch::default());
    fill(1, 7, &mut first);
    fill(1, 8, &mut again);
    assert_ne!(first, again);
    fill(2, 7, &mut other);
    assert_ne!(first.negatives, other.negatives);
    // A used buffer and a used sampler make no difference.
    fill(1, 7, &mut again);
    assert_eq!(first, again);
    let options = SamplerOptions { seed: 1, negatives: 50, ..Default::default() };
    let mut sampler = Sampler::new(buf.view(), &mix, options).unwrap();
    for number in [3, 9, 7] {
        sampler.fill(number, &mut again).unwrap();
    }
    assert_eq!(first, again);
    check_batch(buf.view(), &mix, &first);
}

/// No cap is met with these.
fn uncapped(seed: u64, negatives: usize) -> SamplerOptions {
    SamplerOptions { seed, negatives, relation_bandwidth: 10_000, answer_cap: 10_000, ..Default::default() }
}

#[test]
fn exhaustive_verification_draws_the_same_batches_and_counts_every_answer() {
    let (mut drawn, mut masked) = (0, 0);
    for seed in 0..60 {
        let buf = random_graph(seed);
        let mut rng = stream(seed, "tree", 1);
        for structure in named().into_iter().chain([random_tree(&mut rng, 4)]) {
            let mix = mix_of(&[(structure, 4)]);
            let fill = |verification| {
                let options = SamplerOptions { verification, max_attempts: 300, ..uncapped(seed, 60) };
                let mut sampler = Sampler::new(buf.view(), &mix, options).unwrap();
                let mut batch = Batch::default();
                sampler.fill(0, &mut batch).map(|()| (batch, sampler.stats().next().unwrap().1.enumerated))
            };
            let (mut cut, Ok((all, enumerated))) =
                (fill(Verification::Bidirectional), fill(Verification::Exhaustive))
            else {
                assert!(fill(Verification::Bidirectional).is_err(), "{:?}", mix.parts);
                continue;
            };
            let (hits, exact) = check_batch(buf.view(), &mix, &all);
            assert_eq!((enumerated, exact), (4, 4));
            let (cut, _) = cut.as_mut().unwrap();
            cut.num_answers.clone_from(&all.num_answers);
            assert_eq!(*cut, all, "{:?}", mix.parts);
            drawn += 1;
            masked += hits;
        }
    }
    assert!(drawn > 400 && masked > 10_000, "drawn {drawn}, masked {masked}");
}

#[test]
fn without_verification_the_same_queries_are_drawn_and_only_the_answer_itself_is_masked() {
    let buf = random_graph(0);
    let mix = mix_of(&named().into_iter().map(|structure| (structure, 6)).collect::<Vec<_>>());
    let fill = |verification| {
        let mut batch = Batch::default();
        let options = SamplerOptions { verification, ..uncapped(3, 400) };
        Sampler::new(buf.view(), &mix, options).unwrap().fill(0, &mut batch).unwrap();
        batch
    };
    let (none, verified) = (fill(Verification::None), fill(Verification::Bidirectional));
    assert_eq!((&none.negatives, none.anchors.len()), (&verified.negatives, verified.anchors.len()));
    let words = Batch::words_per_query(400);
    let mut masked = 0;
    for (q, positive) in none.positives.iter().enumerate() {
        for (i, negative) in none.negatives.iter().enumerate() {
            let bit = none.mask[q * words + i / 64] >> (i % 64) & 1 == 1;
            assert_eq!(bit, negative == positive);
            masked += u32::from(bit);
        }
    }
    assert!(masked > 100, "{masked}");
}

#[test]
fn negatives_are_drawn_by_a_power_of_their_degree_and_counted_accordingly() {
    for (seed, exponent) in [(0, 0.75f32), (4, -1.0)] {
        let buf = random_graph(seed);
        let graph = buf.view();
        let options = SamplerOptions { negative_exponent: exponent, ..uncapped(5, 2_000) };
        let mix = mix_of(&[(chain(2), 50)]);
        let mut sampler = Sampler::new(graph, &mix, options.clone()).unwrap();
        let mut counts = BTreeMap::new();
        let mut batch = Batch::default();
        for number in 0..10 {
            sampler.fill(number, &mut batch).unwrap();
            check_batch(graph, &mix, &batch);
            batch.negatives.iter().for_each(|&e| *counts.entry(e).or_default() += 1);
        }
        let weight = |e| (graph.degree(e) as f64).powf(exponent.into());
        let total: f64 = graph.entities_with_edges().map(weight).sum();
        let shares = graph.entities_with_edges().map(|e| (e, weight(e) / total)).collect();
        let (statistic, freedom) = chi_square(&counts, &shares);
        assert!(statistic < freedom + 4.0 * (2.0 * freedom).sqrt(), "{statistic:.1}, {freedom}");
    }
}

#[test]
fn answers_are_drawn_by_a_power_of_their_degree() {
    for (seed, exponent) in [(0, 1.0f32), (4, -0.5)] {
        let buf = random_graph(seed);
        let graph = buf.view();
        let options = SamplerOptions { answer_exponent: exponent, ..uncapped(5, 200) };
        check_answers_with(graph, chain(1), options, |e| (graph.degree(e) as f64).powf(exponent.into()));
    }
    let buf = random_graph(0);
    let error = Sampler::new(
        buf.view(),
        &mix_of(&[(chain(1), 1)]),
        SamplerOptions { answer_exponent: f32::NAN, ..Default::default() },
    );
    assert!(error.err().unwrap().to_string().contains("to the power of NaN"));
}

/// Pearson's statistic against expected shares, and its degrees of freedom.
fn chi_square(counts: &BTreeMap<EntityId, u64>, shares: &BTreeMap<EntityId, f64>) -> (f64, f64) {
    let total: u64 = counts.values().sum();
    let mut statistic = 0.0;
    for (entity, share) in shares {
        let expected = share * total as f64;
        assert!(expected > 20.0, "too few draws for the approximation: {expected}");
        let count = counts.get(entity).copied().unwrap_or(0) as f64;
        statistic += (count - expected).powi(2) / expected;
    }
    assert!(counts.keys().all(|e| shares.contains_key(e)), "an answer that cannot be drawn");
    (statistic, (shares.len() - 1) as f64)
}

/// Draws answers of one structure and holds their frequencies against `weight` (not normalised).
fn check_answers(graph: Csr, structure: Structure, weight: impl Fn(EntityId) -> f64) {
    // Nothing is capped, and a pool of the whole graph's size hardly ever consists of answers only.
    check_answers_with(graph, structure, uncapped(5, 200), weight);
}

fn check_answers_with(
    graph: Csr,
    structure: Structure,
    options: SamplerOptions,
    weight: impl Fn(EntityId) -> f64,
) {
    let mut sampler = Sampler::new(graph, &mix_of(&[(structure, 1_000)]), options).unwrap();
    let mut batch = Batch::default();
    let mut counts = BTreeMap::new();
    for number in 0..40 {
        sampler.fill(number, &mut batch).unwrap();
        for &answer in &batch.positives {
            *counts.entry(answer).or_default() += 1;
        }
    }
    let weights: Vec<_> = graph.entities_with_edges().map(|e| (e, weight(e))).collect();
    let total: f64 = weights.iter().map(|(_, w)| w).sum();
    let shares = weights.into_iter().filter(|(_, w)| *w > 0.0).map(|(e, w)| (e, w / total)).collect();
    let (statistic, freedom) = chi_square(&counts, &shares);
    // Normal approximation: a fixed seed below four standard deviations.
    let bound = freedom + 4.0 * (2.0 * freedom).sqrt();
    assert!(statistic < bound, "chi square {statistic:.1} with {freedom} degrees of freedom");
}

/// The chance of drawing each edge at `entity`: a relation uniformly, then a tail uniformly.
fn edges(graph: Csr, entity: EntityId) -> Vec<(RelationId, EntityId, f64)> {
    let row = graph.row(entity);
    let relations = row.num_fragments() as f64;
    row.iter()
        .flat_map(|(r, tails)| tails.iter().map(move |&t| (r, t, 1.0 / relations / tails.len() as f64)))
        .collect()
}

#[test]
fn answers_of_1p_are_uniform_over_the_entities_that_have_edges() {
    let buf = random_graph(0);
    check_answers(buf.view(), chain(1), |_| 1.0);
    // Sparse rows are drawn from in another way.
    let buf = random_graph(4);
    check_answers(buf.view(), chain(1), |_| 1.0);
}

#[test]
fn answers_of_2i_are_weighted_by_the_chance_of_two_different_edges() {
    let buf = random_graph(0);
    let graph = buf.view();
    check_answers(graph, and([chain(1), chain(1)]), |e| {
        1.0 - edges(graph, e).iter().map(|(_, _, chance)| chance * chance).sum::<f64>()
    });
}

#[test]
fn answers_of_2p_are_weighted_by_the_chance_of_not_stepping_back() {
    let buf = random_graph(0);
    let graph = buf.view();
    check_answers(graph, chain(2), |e| {
        let turned = |&(r, t, chance): &(RelationId, EntityId, f64)| {
            let back: f64 = edges(graph, t).iter().filter(|&&(s, _, _)| s == r.inverse()).map(|e| e.2).sum();
            chance * (1.0 - back)
        };
        edges(graph, e).iter().map(turned).sum()
    });
}

#[test]
fn what_a_graph_does_not_have_is_an_error_that_names_structure_and_reason() {
    let ring: Vec<_> = (0..30).map(|i| triple(i, 0, (i + 1) % 30)).collect();
    let complete: Vec<_> = (0..12).flat_map(|h| (0..12).map(move |t| triple(h, 0, t))).collect();
    let pair = [triple(0, 0, 1)];
    let message = |triples: &[Triple], n, structure: Structure| {
        let buf = CsrBuf::from_triples(n, triples);
        let options = SamplerOptions { negatives: 20, max_attempts: 1_000, ..Default::default() };
        let mut sampler = Sampler::new(buf.view(), &mix_of(&[(structure, 2)]), options).unwrap();
        let error = sampler.fill(0, &mut Batch::default()).unwrap_err().to_string();
        let thrown: u64 = sampler.stats().map(|(_, stats)| stats.rejections.total()).sum();
        assert_eq!(thrown, 1_000);
        error
    };
    // A ring has one edge each way: three different branches do not exist.
    let error = message(&ring, 30, and([chain(1), chain(1), chain(1)]));
    assert!(error.starts_with("3i cannot be drawn on this graph: 1000 draws"), "{error}");
    assert!(error.contains(Rejection::EqualBranches.explain()), "{error}");
    let error = message(&complete, 12, chain(1));
    assert!(error.starts_with("1p cannot") && error.contains("every entity of the pool"), "{error}");
    let error = message(&pair, 2, chain(2));
    assert!(error.starts_with("2p cannot") && error.contains("its own inverse"), "{error}");
    let empty = CsrBuf::from_triples(5, &[]);
    let error = Sampler::new(empty.view(), &mix_of(&[(chain(1), 1)]), SamplerOptions::default());
    assert!(error.err().unwrap().to_string().contains("no edges"));
}

#[test]
fn star_hubs_are_drawn_within_their_caps_and_never_mislabelled() {
    // Two hubs of 5,000 leaves each, with a leaf chain so that other structures exist.
    let mut triples: Vec<_> = (0..5_000).map(|i| triple(0, 0, 2 + i)).collect();
    triples.extend((0..5_000).map(|i| triple(1, 1, 2 + i)));
    triples.extend((0..4_999).map(|i| triple(2 + i, 2, 3 + i)));
    let buf = CsrBuf::from_triples(5_002, &triples);
    let mix = mix_of(&[
        (chain(1), 20),
        (chain(2), 20),
        (chain(3), 20),
        (and([chain(1), chain(1)]), 20),
        (and([chain(2), not(chain(1))]), 20),
        (p(or([chain(1), chain(1)])), 20),
    ]);
    let options =
        SamplerOptions { negatives: 256, relation_bandwidth: 50, answer_cap: 30, ..Default::default() };
    let mut sampler = Sampler::new(buf.view(), &mix, options).unwrap();
    let mut batch = Batch::default();
    for number in 0..4 {
        sampler.fill(number, &mut batch).unwrap();
        check_batch(buf.view(), &mix, &batch);
    }
    for (structure, stats) in sampler.stats() {
        assert_eq!(stats.drawn, 80);
        assert!(stats.frontier_max <= 30, "{structure:?}: {stats:?}");
    }
    let capped: u64 = sampler.stats().map(|(_, s)| s.rejections.counts[Rejection::Frontier as usize]).sum();
    let hits: u64 = sampler.stats().map(|(_, s)| s.rejections.counts[Rejection::Hits as usize]).sum();
    assert!(capped > 0 && hits > 0, "both caps were met: {capped}, {hits}");
}

#[test]
fn a_hub_in_the_frontier_that_no_estimate_sees_is_verified_from_the_other_side() {
    // Many heads of relation 1 have one tail; the hub, which the pool will hardly hold, has 6,000.
    let (hub, leaves, others) = (0, 6_000, 3_000);
    let mut triples: Vec<_> = (0..leaves).map(|i| triple(hub, 1, 1 + i)).collect();
    triples.extend((0..others).map(|i| triple(1 + leaves + i, 0, hub)));
    triples.extend((0..others).map(|i| triple(1 + leaves + i, 1, 1 + leaves + (i + 1) % others)));
    let buf = CsrBuf::from_triples((1 + leaves + others) as usize, &triples);
    let mix = mix_of(&[(chain(2), 40)]);
    let options = SamplerOptions {
        negatives: 256,
        relation_bandwidth: 10_000,
        answer_cap: 1_000,
        ..Default::default()
    };
    let mut sampler = Sampler::new(buf.view(), &mix, options).unwrap();
    let mut batch = Batch::default();
    let (mut masked, mut estimated) = (0, 0);
    for number in 0..4 {
        sampler.fill(number, &mut batch).unwrap();
        masked += check_batch(buf.view(), &mix, &batch).0;
    }
    for (_, stats) in sampler.stats() {
        estimated += stats.drawn - stats.enumerated;
    }
    assert!(masked > 1_000 && estimated > 20, "masked {masked}, not enumerated {estimated}");
}
