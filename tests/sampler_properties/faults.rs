//! What samplers are known to get wrong: structures and negatives that do not exist, duplicate edges, hubs, caps.

use crate::cases::*;
use smore::engine::graph::CsrBuf;
use smore::engine::ids::Triple;
use smore::engine::query::Structure;
use smore::engine::sampler::Batch;
use smore::engine::sampler::{Direction, Pooling, Rejection, Sampler, SamplerOptions, Verification};

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
fn two_branches_that_a_ring_does_not_have_are_an_error_after_a_bounded_number_of_draws() {
    // One relation, one edge into every entity: over forward relations no entity has two branches.
    let ring: Vec<_> = (0..30).map(|i| triple(i, 0, (i + 1) % 30)).collect();
    let buf = CsrBuf::from_triples(30, &ring);
    let mix = mix_of(&[(and([chain(1), chain(1)]), 1)]);
    for pool in [Pooling::Shared, Pooling::Own] {
        let options = SamplerOptions {
            direction: Direction::Forward,
            pool,
            max_attempts: 500,
            ..SamplerOptions::default()
        };
        let mut sampler = Sampler::new(buf.view(), &mix, options).unwrap();
        let error = sampler.fill(0, &mut Batch::default()).unwrap_err().to_string();
        assert!(error.starts_with("2i cannot be drawn on this graph: 500 draws in a row"), "{error}");
        assert!(error.contains(Rejection::EqualBranches.explain()), "{error}");
        assert_eq!(sampler.stats().next().unwrap().1.rejections.total(), 500);
    }
}

#[test]
fn where_every_entity_is_an_answer_the_error_says_so_in_every_mode() {
    let complete: Vec<_> = (0..12).flat_map(|h| (0..12).map(move |t| triple(h, 0, t))).collect();
    let buf = CsrBuf::from_triples(12, &complete);
    for verification in [Verification::Bidirectional, Verification::Exhaustive] {
        for pool in [Pooling::Shared, Pooling::Own] {
            let options =
                SamplerOptions { negatives: 20, max_attempts: 300, verification, pool, ..Default::default() };
            let mut sampler = Sampler::new(buf.view(), &mix_of(&[(chain(2), 2)]), options).unwrap();
            let error = sampler.fill(0, &mut Batch::default()).unwrap_err().to_string();
            assert!(error.starts_with("2p cannot be drawn on this graph: 300 draws in a row"), "{error}");
            let rejections = sampler.stats().next().unwrap().1.rejections;
            assert!(rejections.counts[Rejection::NoNegatives as usize] > 0, "{rejections:?}");
        }
    }
    // The reason is the only one for a structure that cannot step back.
    let mut sampler = Sampler::new(buf.view(), &mix_of(&[(chain(1), 2)]), SamplerOptions::default()).unwrap();
    let error = sampler.fill(0, &mut Batch::default()).unwrap_err().to_string();
    assert!(error.contains(Rejection::NoNegatives.explain()), "{error}");
}

#[test]
fn edges_that_are_given_a_thousand_times_count_once() {
    let once: Vec<_> = (0..40).map(|i| triple(i % 9, i % 3, (i * 7 + 1) % 13)).collect();
    let often: Vec<_> = (0..1_000).flat_map(|_| once.iter().copied()).collect();
    let [a, b] = [&once, &often].map(|triples| CsrBuf::from_triples(14, triples));
    assert_eq!(a.view().parts(), b.view().parts());
    for pool in [Pooling::Shared, Pooling::Own] {
        let options = SamplerOptions { pool, max_attempts: 2_000, ..uncapped(3, 50) };
        let mix = mix_of(&named().into_iter().map(|structure| (structure, 2)).collect::<Vec<_>>());
        let mut sampler = Sampler::new(b.view(), &mix, options.clone()).unwrap();
        let mut batch = Batch::default();
        for number in 0..4 {
            sampler.fill(number, &mut batch).unwrap();
            check_batch_of(b.view(), &mix, &batch, &options);
        }
    }
}

/// Hubs whose fragments are hundreds of times wider than most, and paths around them.
fn hubs() -> CsrBuf {
    let mut triples: Vec<_> = (0..600).map(|i| triple(i % 3, i % 2, 3 + i)).collect();
    triples.extend((0..600).map(|i| triple(3 + i, 2, 3 + (i * 7 + 1) % 600)));
    triples.extend((0..300).map(|i| triple(3 + i, 3, i % 3)));
    CsrBuf::from_triples(603, &triples)
}

#[test]
fn a_relation_bandwidth_without_an_answer_cap_draws_again_and_mislabels_nothing() {
    let buf = hubs();
    for pool in [Pooling::Shared, Pooling::Own] {
        for structure in named() {
            let mix = mix_of(&[(structure, 8)]);
            let options = SamplerOptions {
                pool,
                relation_bandwidth: 5,
                answer_cap: usize::MAX,
                negatives: 100,
                ..SamplerOptions::default()
            };
            let mut sampler = Sampler::new(buf.view(), &mix, options.clone()).unwrap();
            let mut batch = Batch::default();
            for number in 0..3 {
                sampler.fill(number, &mut batch).unwrap();
                check_batch_of(buf.view(), &mix, &batch, &options);
            }
        }
    }
}

#[test]
fn each_cap_throws_draws_away_for_the_reason_that_its_documentation_gives() {
    let buf = hubs();
    let rejections = |structure: Structure, relation_bandwidth, answer_cap| {
        let mix = mix_of(&[(structure, 40)]);
        let options =
            SamplerOptions { relation_bandwidth, answer_cap, negatives: 400, ..SamplerOptions::default() };
        let mut sampler = Sampler::new(buf.view(), &mix, options.clone()).unwrap();
        let mut batch = Batch::default();
        sampler.fill(0, &mut batch).unwrap();
        check_batch_of(buf.view(), &mix, &batch, &options);
        let stats = sampler.stats().next().unwrap().1.clone();
        assert!(stats.frontier_max <= answer_cap as u64);
        let of = |reason| stats.rejections.counts[reason as usize];
        (of(Rejection::Bandwidth), of(Rejection::Frontier), of(Rejection::Hits))
    };
    let none = usize::MAX;
    // One fragment is borrowed, never walked: the bandwidth does not touch 1p, only its hits in the pool count.
    assert_eq!(rejections(chain(1), 5, none), (0, 0, 0));
    let (bandwidth, frontier, hits) = rejections(chain(1), none, 20);
    assert!(bandwidth == 0 && frontier == 0 && hits > 0, "{hits}");
    // 3p projects the set of its first step, and projects a set through fragments.
    let (bandwidth, frontier, _) = rejections(chain(3), 5, none);
    assert!(bandwidth > 0 && frontier == 0, "{bandwidth}");
    // The frontier of 2p is its first fragment, at the cut: the answer cap, not the bandwidth.
    let (bandwidth, frontier, _) = rejections(chain(2), none, 20);
    assert!(bandwidth == 0 && frontier > 0, "{frontier}");
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
