//! Answers and negatives are drawn as the documentation has it.

use crate::cases::*;
use smore::engine::graph::{Csr, View};
use smore::engine::ids::{EntityId, RelationId};
use smore::engine::query::execute::answers;
use smore::engine::query::{Structure, Tree};
use smore::engine::sampler::Batch;
use smore::engine::sampler::{Direction, Pooling, Sampler, SamplerOptions};
use std::collections::BTreeMap;

#[test]
fn negatives_are_drawn_by_a_power_of_their_degree_and_counted_accordingly() {
    for (seed, exponent, pool) in
        [(0, 0.75f32, Pooling::Shared), (4, -1.0, Pooling::Shared), (0, 0.75, Pooling::Own)]
    {
        let buf = random_graph(seed);
        let graph = buf.view();
        let options = SamplerOptions { negative_exponent: exponent, pool, ..uncapped(5, 2_000) };
        let mix = mix_of(&[(chain(2), 50)]);
        let mut sampler = Sampler::new(graph, &mix, options.clone()).unwrap();
        let mut counts = BTreeMap::new();
        let mut batch = Batch::default();
        for number in 0..10 {
            sampler.fill(number, &mut batch).unwrap();
            check_batch_of(graph, &mix, &batch, &options);
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
fn answers_of_one_direction_are_uniform_over_the_entities_that_it_can_answer() {
    let buf = random_graph(4);
    let graph = buf.view();
    for (direction, answered_by_inverse) in [(Direction::Forward, true), (Direction::Inverse, false)] {
        let options = SamplerOptions { direction, ..uncapped(5, 200) };
        // The answer of a forward query is a tail: an inverse relation leaves it.
        let can_answer = |e| graph.row(e).iter().any(|(r, _)| r.is_inverse() == answered_by_inverse);
        check_answers_with(graph, chain(1), options, |e| f64::from(u8::from(can_answer(e))));
    }
    let some_cannot = graph.entities_with_edges().any(|e| graph.row(e).iter().all(|(r, _)| r.is_inverse()));
    assert!(some_cannot, "the graph has entities that are tails only");
}

/// Of queries `a and not b`: how many there are, how many whose `a` has another answer, and how many whose `b` takes one of
/// those away.
fn negations(graph: Csr, structure: Structure, count: usize) -> [usize; 3] {
    let mut sampler = Sampler::new(graph, &mix_of(&[(structure.clone(), count)]), uncapped(5, 100)).unwrap();
    let mut batch = Batch::default();
    sampler.fill(0, &mut batch).unwrap();
    let view = View::new([graph]);
    let (a, r) = structure.flatten();
    let mut counts = [0; 3];
    for (anchors, relations) in batch.anchors.chunks(a.len()).zip(batch.relations.chunks(r.len())) {
        let query = structure.fill(anchors, relations).expect("the structure's own lengths");
        let Tree::Intersection(branches) = &query else { unreachable!("an intersection") };
        let (negated, others): (Vec<_>, Vec<_>) =
            branches.iter().cloned().partition(|branch| matches!(branch, Tree::Negation(_)));
        let without = answers(&view, &Tree::Intersection(others));
        let with = answers(&view, &query);
        assert_eq!(negated.len(), 1);
        counts[0] += 1;
        counts[1] += usize::from(without.len() > 1);
        counts[2] += usize::from(with.len() < without.len());
    }
    counts
}

#[test]
fn a_negation_takes_answers_away_wherever_it_can() {
    // Not 3: where every entity has every edge, hardly any negation leaves an answer.
    for seed in [0, 1, 2, 4] {
        let buf = random_graph(seed);
        for structure in [
            and([chain(1), not(chain(1))]),
            and([chain(1), not(chain(1)), chain(1)]),
            and([chain(2), not(chain(1))]),
            and([not(chain(2)), chain(1)]),
        ] {
            let [all, possible, taken] = negations(buf.view(), structure.clone(), 300);
            // The walks for another answer may all come to the drawn one.
            assert!(taken * 100 >= possible * 98, "{structure}: {taken} of {possible} of {all}");
        }
    }
}
