//! Every positive is an answer, every masked negative is one, every other negative is none: in every mode, for
//! every structure.

use crate::cases::*;
use smore::engine::pipeline::{Pipeline, PipelineOptions};
use smore::engine::query::Plan;
use smore::engine::rng::{below, stream};
use smore::engine::sampler::Batch;
use smore::engine::sampler::{Direction, Pooling, Sampler, SamplerOptions, Source, Verification};
use std::sync::Arc;

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

/// Every combination of verification, pool, direction, exponents and caps.
fn modes() -> Vec<SamplerOptions> {
    let mut modes = Vec::new();
    for verification in [Verification::Bidirectional, Verification::Exhaustive, Verification::None] {
        for pool in [Pooling::Shared, Pooling::Own] {
            for direction in [Direction::Both, Direction::Forward, Direction::Inverse] {
                for (answer_exponent, negative_exponent) in [(0.0, 0.0), (0.75, -0.5)] {
                    for (relation_bandwidth, answer_cap) in [(1_000, 1_000), (6, 4)] {
                        modes.push(SamplerOptions {
                            seed: 1,
                            source: Source::Answers,
                            negatives: 30,
                            pool,
                            direction,
                            relation_bandwidth,
                            answer_cap,
                            max_attempts: 100,
                            verification,
                            answer_exponent,
                            negative_exponent,
                        });
                    }
                }
            }
        }
    }
    modes
}

#[test]
fn every_structure_and_random_trees_agree_with_the_executor_in_every_mode() {
    for options in modes() {
        let (mut drawn, mut masked) = (0, 0);
        for seed in 0..10 {
            let buf = random_graph(seed);
            let rng = &mut stream(seed, "tree", 2);
            for structure in named().into_iter().chain((0..6).map(|_| random_tree(rng, 4))) {
                let mix = mix_of(&[(structure, 3)]);
                let options = SamplerOptions { seed, ..options.clone() };
                let mut sampler = Sampler::new(buf.view(), &mix, options.clone()).unwrap();
                let mut batch = Batch::default();
                // What the caps do not let through is an error.
                if sampler.fill(seed, &mut batch).is_ok() {
                    masked += check_batch_of(buf.view(), &mix, &batch, &options).0;
                    drawn += 1;
                }
            }
        }
        assert!(drawn >= 60 && masked >= 40, "{options:?}: drawn {drawn}, masked {masked}");
    }
}

#[test]
fn the_number_of_workers_changes_no_batch_in_any_mode() {
    let graph = Arc::new(random_graph(0));
    let mix = mix_of(&[
        (chain(1), 3),
        (chain(2), 3),
        (and([chain(1), chain(1)]), 3),
        (or([chain(1), chain(1)]), 2),
    ]);
    let plan = Arc::new(Plan::new(&mix).unwrap());
    for options in modes().into_iter().filter(|options| options.answer_cap > 100) {
        let take = |workers| {
            let ahead = PipelineOptions { workers, ahead: 2, first: 5 };
            let mut pipeline =
                Pipeline::start(graph.clone(), &mix, plan.clone(), options.clone(), ahead).unwrap();
            (0..5).map(|_| pipeline.next().unwrap()).collect::<Vec<_>>()
        };
        let one = take(1);
        assert_eq!(one, take(2), "{options:?}");
        assert_eq!(one, take(3), "{options:?}");
        for batch in &one {
            check_batch_of(graph.view(), &mix, batch, &options);
        }
    }
}

#[test]
fn pools_of_their_own_differ_from_query_to_query_and_stay_while_a_query_is_drawn_again() {
    let buf = random_graph(0);
    let mix = mix_of(&[(chain(2), 8)]);
    let fill = |seed, answer_cap| {
        let options = SamplerOptions { pool: Pooling::Own, answer_cap, ..uncapped(seed, 40) };
        let mut sampler = Sampler::new(buf.view(), &mix, options).unwrap();
        let mut batch = Batch::default();
        sampler.fill(0, &mut batch).unwrap();
        batch
    };
    let mut drawn_again = 0;
    for seed in 0..20 {
        let (loose, tight) = (fill(seed, 10_000), fill(seed, 1));
        assert!((1..8).all(|q| loose.pool(0) != loose.pool(q)));
        assert_eq!(tight.pool(0), loose.pool(0));
        drawn_again += u32::from(tight.anchors[0] != loose.anchors[0]);
    }
    assert!(drawn_again >= 5, "{drawn_again}");
}
