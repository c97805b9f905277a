//! Batches of all edges in turn.

use crate::cases::*;
use smore::engine::ids::Triple;
use smore::engine::sampler::Batch;
use smore::engine::sampler::{Direction, Pooling, Sampler, SamplerOptions, Source, Verification};

fn options(seed: u64) -> SamplerOptions {
    SamplerOptions { seed, source: Source::Edges, negatives: 70, ..Default::default() }
}

#[test]
fn every_epoch_has_every_edge_once_with_masks_as_the_executor_has_them() {
    let (mut masked, mut all_masked) = (0, 0);
    for seed in 0..20 {
        let buf = random_graph(seed);
        let graph = buf.view();
        for direction in [Direction::Both, Direction::Forward, Direction::Inverse] {
            for pool in [Pooling::Shared, Pooling::Own] {
                // Caps that would throw most queries away if they were drawn; a pool of which all may be answers.
                let negatives = if seed % 2 == 0 { 70 } else { 3 };
                let options = SamplerOptions {
                    direction,
                    pool,
                    negatives,
                    answer_cap: 1,
                    relation_bandwidth: 1,
                    ..options(seed)
                };
                let mix = mix_of(&[(chain(1), 7)]);
                let mut sampler = Sampler::new(graph, &mix, options.clone()).unwrap();
                let mut wanted: Vec<Triple> =
                    graph.triples().filter(|t| direction.allows(t.relation)).collect();
                let epoch = wanted.len();
                let mut batch = Batch::default();
                let mut seen = Vec::new();
                for number in 0..(3 * epoch).div_ceil(7) as u64 {
                    sampler.fill(number, &mut batch).unwrap();
                    masked += check_batch_of(graph, &mix, &batch, &options).0;
                    all_masked += (0..7).filter(|&q| batch.num_masked(q) == negatives).count();
                    let ids = batch.anchors.iter().zip(&batch.relations).zip(&batch.positives);
                    seen.extend(ids.map(|((&head, &relation), &tail)| Triple { head, relation, tail }));
                }
                let epochs: Vec<&[Triple]> = seen.chunks_exact(epoch).collect();
                assert!(epochs.len() >= 3 && (epoch < 5 || epochs[0] != epochs[1]));
                wanted.sort_unstable();
                for order in epochs {
                    let mut order = order.to_vec();
                    order.sort_unstable();
                    assert_eq!(order, wanted, "seed {seed}, {direction:?}, {pool:?}");
                }
            }
        }
    }
    assert!(masked > 10_000 && all_masked > 10, "{masked} masked, {all_masked} queries without a negative");
}

#[test]
fn a_batch_of_edges_depends_on_seed_and_number_alone() {
    let buf = random_graph(0);
    let mix = mix_of(&[(chain(1), 16)]);
    let fill = |seed, numbers: &[u64]| {
        let mut sampler = Sampler::new(buf.view(), &mix, options(seed)).unwrap();
        let mut batch = Batch::default();
        numbers.iter().for_each(|&number| sampler.fill(number, &mut batch).unwrap());
        batch
    };
    assert_eq!(fill(1, &[25]), fill(1, &[0, 3, 400, 25]));
    assert_ne!(fill(1, &[25]).positives, fill(2, &[25]).positives);
}

#[test]
fn every_verification_gives_the_same_edges_and_pools() {
    for seed in 0..10 {
        let buf = random_graph(seed);
        let mix = mix_of(&[(chain(1), 9)]);
        let fill = |verification| {
            let options = SamplerOptions { verification, ..options(seed) };
            let mut sampler = Sampler::new(buf.view(), &mix, options.clone()).unwrap();
            let mut batch = Batch::default();
            sampler.fill(5, &mut batch).unwrap();
            check_batch_of(buf.view(), &mix, &batch, &options);
            batch
        };
        let [cut, all, none] =
            [Verification::Bidirectional, Verification::Exhaustive, Verification::None].map(fill);
        assert_eq!((&cut.anchors, &cut.mask), (&all.anchors, &all.mask));
        assert_eq!((&cut.positives, &cut.negatives), (&none.positives, &none.negatives));
    }
}

#[test]
fn other_structures_than_edges_are_refused() {
    let buf = random_graph(0);
    let mix = mix_of(&[(chain(1), 4), (chain(2), 4)]);
    let error = Sampler::new(buf.view(), &mix, options(0)).err().unwrap().to_string();
    assert!(error.contains("structure 1p alone"), "{error}");
}
