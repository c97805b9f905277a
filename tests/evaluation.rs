//! Query sets, the baseline, metrics and reports, on random graphs and on CoDEx-S.

#![cfg(feature = "cli")]

mod common;

use proptest::prelude::*;
use smore::engine::eval::group::QueryGroup;
use smore::engine::eval::link_prediction::{self, LinkPrediction};
use smore::engine::eval::metrics::{Average, Metrics};
use smore::engine::eval::queries::{Graphs, generate_from};
use smore::engine::eval::report::{Baseline, Report};
use smore::engine::eval::{
    FrequencyBaseline, MultiHop, QueryBlock, QueryOptions, QuerySet, RankCounts, Scorer, count_ranks,
};
use smore::engine::graph::{CsrBuf, View};
use smore::engine::ids::Triple;
use smore::engine::query::Proof;
use smore::engine::query::execute::answers;
use smore::engine::query::structure::named;
use smore::engine::query::{Structure, Tree, parse_structure};
use smore::engine::rng::{below, stream};
use smore::{EntityId, RelationId};
use std::collections::{HashMap, HashSet};

/// Three splits of a random graph, or of triple files.
struct Data {
    num_relations: usize,
    splits: [CsrBuf; 3],
}

impl Data {
    fn random(seed: u64, num_entities: u32, num_triples: usize) -> Data {
        let mut rng = stream(seed, "random graph", 0);
        let mut seen = HashSet::new();
        while seen.len() < num_triples {
            // Squaring makes some entities frequent.
            let skewed = |rng: &mut _| {
                let x = below(rng, u64::from(num_entities)) * below(rng, u64::from(num_entities));
                EntityId((x / u64::from(num_entities)) as u32)
            };
            let (head, tail) = (skewed(&mut rng), skewed(&mut rng));
            seen.insert(Triple { head, relation: RelationId(2 * below(&mut rng, 4) as u32), tail });
        }
        let mut triples: Vec<Triple> = seen.into_iter().collect();
        triples.sort_unstable();
        let mut splits: [Vec<Triple>; 3] = Default::default();
        for triple in triples {
            splits[[0, 0, 0, 0, 0, 0, 1, 1, 2, 2][below(&mut rng, 10) as usize]].push(triple);
        }
        let splits = splits.map(|t| CsrBuf::from_triples(num_entities as usize, &t));
        Data { num_relations: 8, splits }
    }

    /// CoDEx-S, or `None` where the public data is absent.
    fn codex_s() -> Option<Data> {
        let folder = common::public_data()?.join("codex/data/triples/codex-s");
        if !folder.is_dir() {
            common::skip(common::Missing::Data, format_args!("there is no {}", folder.display()));
            return None;
        }
        let (mut entities, mut relations) = (HashMap::new(), HashMap::new());
        let mut splits: [Vec<Triple>; 3] = Default::default();
        for (name, split) in ["train", "valid", "test"].into_iter().zip(&mut splits) {
            let text = std::fs::read_to_string(folder.join(name).with_extension("txt")).unwrap();
            for line in text.lines() {
                let mut columns = line.split('\t').map(str::to_string);
                let mut column = || columns.next().expect("three columns");
                let id = |table: &mut HashMap<String, u32>, name| {
                    let next = table.len() as u32;
                    *table.entry(name).or_insert(next)
                };
                let head = EntityId(id(&mut entities, column()));
                let relation = RelationId(2 * id(&mut relations, column()));
                split.push(Triple { head, relation, tail: EntityId(id(&mut entities, column())) });
            }
        }
        let splits = splits.map(|t| CsrBuf::from_triples(entities.len(), &t));
        Some(Data { num_relations: 2 * relations.len(), splits })
    }

    fn view(&self, splits: usize) -> View<'_> {
        View::new(self.splits[..splits].iter().map(CsrBuf::view))
    }

    fn generate(&self, split: usize, options: &QueryOptions) -> QuerySet {
        let (observed, full) = (self.view(split), self.view(split + 1));
        let held_out = self.splits[split].view();
        generate_from(&Graphs { observed: &observed, held_out, full: &full }, options)
    }

    fn baseline(&self) -> FrequencyBaseline {
        FrequencyBaseline::new(&self.splits[0].view(), self.num_relations)
    }
}

fn all_named(max_queries: usize, max_answers: usize, seed: u64) -> QueryOptions {
    let structures = named().iter().map(|(_, s)| s.clone()).collect();
    QueryOptions { structures, max_queries, max_answers, seed }
}

fn check_set(data: &Data, split: usize, options: &QueryOptions, set: &QuerySet) {
    let (observed, full) = (data.view(split), data.view(split + 1));
    assert_eq!(set.groups.len(), options.structures.len());
    for (group, structure) in set.groups.iter().zip(&options.structures) {
        assert_eq!(&group.structure, structure);
        assert!(group.len() <= options.max_queries);
        let block = group.all();
        let mut seen = HashSet::new();
        for q in 0..group.len() {
            let query = block.query(q);
            let (easy, all) = (answers(&observed, &query), answers(&full, &query));
            let hard: Vec<EntityId> = all.iter().copied().filter(|e| !easy.contains(e)).collect();
            assert_eq!(block.filter_of(q), all, "{structure}");
            assert_eq!(block.targets_of(q), hard, "{structure}");
            assert!((1..=options.max_answers).contains(&hard.len()), "{structure}");
            assert!(seen.insert(query.canonical()), "{structure}: {query:?} occurs twice");
            let proofs = &group.proofs[group.target_offsets[q]..group.target_offsets[q + 1]];
            let edges = group.relations.len() / group.len();
            let nested = query.any(&|t| matches!(t, Tree::Negation(c) if c.has_negation()));
            for proof in proofs.iter().map(|proof| proof.expect("a drawn query's answer has a proof")) {
                assert!(proof.missing > 0 || nested, "{query:?}");
                assert!((proof.missing + proof.observed) as usize <= edges, "{query:?}");
            }
        }
    }
}

#[test]
fn every_query_has_hard_answers_within_the_cap_and_occurs_once() {
    for seed in 0..3 {
        let data = Data::random(seed, 60, 300);
        for split in [1, 2] {
            let options = all_named(40, 12, seed);
            let set = data.generate(split, &options);
            check_set(&data, split, &options, &set);
            for group in &set.groups {
                assert!(group.len() >= 10, "only {} queries of {}", group.len(), group.structure);
            }
        }
    }
}

#[test]
fn negated_branches_take_answers_away() {
    let data = Data::random(5, 60, 300);
    let set = data.generate(2, &all_named(50, 12, 1));
    let full = data.view(3);
    let group = set.groups.iter().find(|g| g.structure.to_string() == "2in").unwrap();
    for q in 0..group.len() {
        let smore::engine::query::Tree::Intersection(branches) = group.all().query(q) else { panic!("2in") };
        let positive = answers(&full, &branches[0]);
        assert!(group.all().filter_of(q).len() < positive.len());
    }
}

#[test]
fn all_single_hop_queries_with_a_new_tail_are_used_where_they_fit() {
    let data = Data::random(7, 60, 300);
    let one_hop = |max_queries, seed| QueryOptions {
        structures: vec![parse_structure("1p").unwrap()],
        max_queries,
        max_answers: 100,
        seed,
    };
    let set = data.generate(2, &one_hop(10_000, 1));
    let test = data.splits[2].view();
    assert_eq!(set.groups[0].len(), test.num_fragments());
    assert_eq!(set.groups[0].targets.len(), test.num_edges());
    assert_eq!(set.notes, Vec::<String>::new());
    let [first, again, other] = [1, 1, 2].map(|seed| data.generate(2, &one_hop(20, seed)));
    assert_eq!(first.groups[0].len(), 20);
    assert_eq!(first, again);
    assert_ne!(first, other);
}

#[test]
fn a_query_set_does_not_depend_on_the_number_of_threads() {
    let data = Data::random(11, 60, 300);
    let options = all_named(60, 12, 3);
    let [one, three] = [1, 3].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| data.generate(1, &options))
    });
    assert_eq!(one, three);
    assert_ne!(one, data.generate(1, &all_named(60, 12, 4)));
}

#[test]
fn structures_that_yield_too_few_queries_are_reported_and_are_no_error() {
    let data = Data::random(13, 60, 300);
    let only_negated = parse_structure("('e',('r','n'))").unwrap();
    let mut options = all_named(100_000, 1, 1);
    options.structures = vec![only_negated, parse_structure("2i").unwrap()];
    options.max_queries = 3_000;
    let set = data.generate(1, &options);
    assert_eq!(set.groups[0].len(), 0);
    assert!(set.notes[0].contains("no queries: every relation is below a negation"), "{:?}", set.notes);
    assert!(set.notes[1].starts_with("2i: ") && set.notes[1].contains("repeat one"), "{:?}", set.notes);
    let empty = Data { splits: std::array::from_fn(|_| CsrBuf::from_triples(60, &[])), ..data };
    let set = empty.generate(2, &all_named(5, 5, 1));
    assert_eq!(set.num_queries(), 0);
    assert_eq!(set.notes.len(), 14);
}

#[test]
fn the_baseline_ranks_as_the_reference_does_on_its_scores() {
    let data = Data::random(17, 60, 300);
    let baseline = data.baseline();
    let mut set = data.generate(2, &all_named(60, 12, 3));
    // A union of an intersection with a projection, and a structure without any last relation.
    for text in ["((('e',('r',)),('e',('r',))),('e',('r',)),('u',))", "(('e',('r','n')),('e',('r','r','n')))"]
    {
        let structure = parse_structure(text).unwrap();
        let mut group = QueryGroup::new(structure.clone());
        let (anchors, relations) = structure.flatten();
        let anchors = vec![EntityId(1); anchors.len()];
        let relations: Vec<RelationId> = (0..relations.len() as u32).map(RelationId).collect();
        group.push(&anchors, &relations, &[EntityId(2), EntityId(9)], &[EntityId(2), EntityId(9)]);
        set.groups.push(group);
    }
    let mut with_ties = 0;
    for group in &set.groups {
        let block = group.all();
        let counts = baseline.rank(&block).unwrap();
        let mut expected = Vec::new();
        for q in 0..block.len() {
            let scores = baseline.dense_scores(&block.query(q));
            expected.extend(count_ranks(&scores, block.targets_of(q), block.filter_of(q)));
        }
        assert_eq!(counts, expected, "{}", group.structure);
        with_ties += counts.iter().filter(|c| c.equal > 0 && c.better > 0).count();
    }
    assert!(with_ties > 100, "{with_ties}");
}

#[test]
fn link_prediction_averages_over_triples_in_both_directions() {
    let data = Data::random(19, 60, 300);
    let (test, full) = (data.splits[2].view(), data.view(3));
    let queries = link_prediction::queries(&test, &full);
    let result = LinkPrediction::evaluate(&data.baseline(), &queries, &mut |_| ()).unwrap();
    let triples = test.num_edges() / 2;
    assert_eq!((result.head.num_answers, result.tail.num_answers), (triples, triples));
    assert_eq!(result.both.num_queries, test.num_fragments());
    // The definition, triple by triple.
    let (mut sum, mut tails) = (0.0, 0.0);
    for triple in test.triples() {
        let mut filter = Vec::new();
        full.extend_tails(triple.head, triple.relation, &mut filter);
        filter.sort_unstable();
        let heads_of = |e: u32| data.splits[0].view().tails(EntityId(e), triple.relation.inverse()).len();
        let scores: Vec<f32> = (0..60).map(|e| heads_of(e) as f32).collect();
        let rank = count_ranks(&scores, &[triple.tail], &filter)[0].rank();
        sum += 1.0 / rank;
        tails += if triple.relation.is_inverse() { 0.0 } else { 1.0 / rank };
    }
    assert!((result.both.mrr - sum / (2 * triples) as f64).abs() < 1e-12);
    assert!((result.tail.mrr - tails / triples as f64).abs() < 1e-12);
    assert!((result.both.mrr - 0.5 * (result.head.mrr + result.tail.mrr)).abs() < 1e-12);
    let json = serde_json::to_value(result).unwrap();
    assert_eq!(json["mrr"], json["mrr"].as_f64().unwrap());
    assert!(json["head"]["hits_at_10"].is_f64() && json["tail"]["num_answers"] == triples);
}

/// Gives the counts that it was made with, block by block.
struct Fixed(Vec<RankCounts>);

impl Scorer for Fixed {
    fn name(&self) -> String {
        "fixed".into()
    }
    fn rank(&self, block: &QueryBlock) -> smore::Result<Vec<RankCounts>> {
        let start = block.target_offsets[0];
        Ok(self.0[start..start + block.num_targets()].to_vec())
    }
}

fn counts(better: u32, equal: u32) -> RankCounts {
    RankCounts { better, equal }
}

#[test]
fn multi_hop_metrics_average_over_answers_and_then_over_queries() {
    let mut group = QueryGroup::new(parse_structure("1p").unwrap());
    let ids = |ids: &[u32]| ids.iter().map(|&e| EntityId(e)).collect::<Vec<_>>();
    group.push(&ids(&[0]), &[RelationId(0)], &ids(&[1, 2]), &ids(&[1, 2]));
    group.push(&ids(&[3]), &[RelationId(2)], &ids(&[4]), &ids(&[4]));
    // Ranks 1 and 4 (between 2 and 6) in the first query, 12 in the second.
    let scorer = Fixed(vec![counts(0, 0), counts(1, 4), counts(11, 0)]);
    let result = MultiHop::evaluate(&scorer, &[group], &mut |_| ()).unwrap();
    let metrics = &result.get("1p").unwrap().metrics;
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    close(metrics.mrr, ((1.0 + 0.25) / 2.0 + 1.0 / 12.0) / 2.0);
    close(metrics.mrr_optimistic, ((1.0 + 0.5) / 2.0 + 1.0 / 12.0) / 2.0);
    close(metrics.mrr_pessimistic, ((1.0 + 1.0 / 6.0) / 2.0 + 1.0 / 12.0) / 2.0);
    close(metrics.hits_at_1, 0.25);
    close(metrics.hits_at_3, 0.25);
    close(metrics.hits_at_10, 0.5);
    assert_eq!((metrics.num_queries, metrics.num_answers), (2, 3));
    assert_eq!(Average::default().finish(), Metrics::default());
    let other = Metrics { mrr: 1.0, num_queries: 3, ..Metrics::default() };
    let mean = Metrics::mean([metrics, &other]).unwrap();
    close(mean.mrr, 0.5 * (metrics.mrr + 1.0));
    assert_eq!(mean.num_queries, 5);
    assert_eq!(Metrics::mean([]), None);
}

#[test]
fn answers_of_one_link_and_of_full_inference_are_averaged_apart() {
    let mut group = QueryGroup::new(parse_structure("2p").unwrap());
    let ids = |ids: &[u32]| ids.iter().map(|&e| EntityId(e)).collect::<Vec<_>>();
    let proof = |missing, observed| Some(Proof { missing, observed });
    let relations = [RelationId(0), RelationId(2)];
    group.push(&ids(&[0]), &relations, &ids(&[1, 2, 5]), &ids(&[1, 2, 5]));
    group.push(&ids(&[3]), &relations, &ids(&[4]), &ids(&[4]));
    group.push(&ids(&[7]), &relations, &ids(&[6]), &ids(&[6]));
    let scorer = Fixed([0, 1, 3, 4, 9].map(|better| counts(better, 0)).to_vec());
    let plain = MultiHop::evaluate(&scorer, std::slice::from_ref(&group), &mut |_| ()).unwrap();
    assert_eq!((plain.structures[0].one_link, plain.structures[0].full_inference), (None, None));
    group.proofs = vec![proof(1, 1), proof(1, 1), proof(2, 0), proof(1, 1), None];
    let result = MultiHop::evaluate(&scorer, &[group], &mut |_| ()).unwrap();
    let both = result.get("2p").unwrap();
    assert_eq!(both.metrics, plain.structures[0].metrics);
    let (one, full) = (both.one_link.unwrap(), both.full_inference.unwrap());
    assert_eq!((one.num_queries, one.num_answers, one.mrr), (2, 3, ((1.0 + 0.5) / 2.0 + 0.2) / 2.0));
    assert_eq!((full.num_queries, full.num_answers, full.mrr), (1, 1, 0.25));
    let json = serde_json::to_value(&result).unwrap();
    assert_eq!(json["2p"]["full_inference"]["mrr"], 0.25);
    let report = Report::new("test", "fixed".into(), None, result, None, vec![]).render();
    let row: Vec<&str> = report.lines().find(|l| l.starts_with("2p")).unwrap().split_whitespace().collect();
    assert_eq!(row[5..], ["47.5", "25.0", "3", "5"], "{report}");
}

#[test]
fn blocks_of_any_size_give_the_same_metrics() {
    let data = Data::random(23, 60, 300);
    let set = data.generate(1, &all_named(30, 12, 3));
    let baseline = data.baseline();
    for group in &set.groups {
        let whole = baseline.rank(&group.all()).unwrap();
        let parts: Vec<RankCounts> = group.blocks(7).flat_map(|b| baseline.rank(&b).unwrap()).collect();
        assert_eq!(whole, parts);
    }
}

#[test]
fn the_report_prints_every_structure_and_serialises_by_name() {
    let data = Data::random(29, 60, 300);
    let set = data.generate(2, &all_named(20, 12, 3));
    let baseline = data.baseline();
    let multi_hop = MultiHop::evaluate(&baseline, &set.groups, &mut |_| ()).unwrap();
    let queries = link_prediction::queries(&data.splits[2].view(), &data.view(3));
    let link = LinkPrediction::evaluate(&baseline, &queries, &mut |_| ()).unwrap();
    let theirs = Baseline { link_prediction: Some(link), multi_hop: multi_hop.clone() };
    let notes = vec!["2i: few".to_string()];
    let report = Report::new("test", baseline.name(), Some(link), multi_hop, Some(theirs), notes);
    let json = serde_json::to_value(&report).unwrap();
    for (name, _) in named() {
        assert!(json["multi_hop"][name]["mrr"].is_f64(), "{name}");
        assert_eq!(json["multi_hop"][name], json["baseline"]["multi_hop"][name]);
    }
    assert!(json["link_prediction"]["hits_at_1"].is_f64());
    assert!(json["average"]["with_negation"]["mrr"].is_f64());
    assert!(json["protocol"].as_str().unwrap().contains("filtered"));
    let text = report.render();
    for (name, _) in named() {
        assert!(text.lines().any(|line| line.trim().starts_with(name)), "{name} is not in\n{text}");
    }
    for part in ["average, negation", "link prediction", "baseline MRR", "filtered ranks", "note: 2i: few"] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn the_baseline_on_codex_s_is_near_285_on_1p_and_10_on_2i() {
    let Some(data) = Data::codex_s() else { return };
    let options = all_named(1_000, 100, 1);
    let start = std::time::Instant::now();
    let set = data.generate(2, &options);
    println!("14 x 1,000 queries in {:.1?}; {:?}", start.elapsed(), set.notes);
    check_set(&data, 2, &options, &set);
    for group in &set.groups {
        assert_eq!(group.len(), 1_000, "{}", group.structure);
    }
    let baseline = data.baseline();
    let start = std::time::Instant::now();
    let multi_hop = MultiHop::evaluate(&baseline, &set.groups, &mut |_| ()).unwrap();
    println!("ranked by the baseline in {:.1?}", start.elapsed());
    let mut every = all_named(usize::MAX, usize::MAX, 1);
    every.structures.truncate(1);
    let every = data.generate(2, &every);
    let every = MultiHop::evaluate(&baseline, &every.groups, &mut |_| ()).unwrap();
    println!(
        "all {} queries of 1p: MRR {:.4}",
        every.structures[0].metrics.num_queries, every.structures[0].metrics.mrr
    );
    let queries = link_prediction::queries(&data.splits[2].view(), &data.view(3));
    let link = LinkPrediction::evaluate(&baseline, &queries, &mut |_| ()).unwrap();
    assert_eq!(every.structures[0].metrics.num_queries, link.both.num_queries);
    assert_eq!(link.both.num_answers, 2 * 1_828);
    let (one, two) = (multi_hop.get("1p").unwrap().metrics.mrr, multi_hop.get("2i").unwrap().metrics.mrr);
    let report = Report::new("test", baseline.name(), Some(link), multi_hop, None, set.notes);
    println!("{}", report.render());
    assert!((0.26..0.31).contains(&one), "1p {one}");
    assert!((0.07..0.15).contains(&two), "2i {two}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn counts_agree_with_sorting(
        scores in prop::collection::vec(prop_oneof![Just(f32::NAN), (-3i8..3).prop_map(f32::from)], 1..30),
        answers in prop::collection::hash_set(0u32..30, 1..10),
    ) {
        let n = scores.len() as u32;
        let mut filter: Vec<EntityId> = answers.into_iter().map(|e| EntityId(e % n)).collect();
        filter.sort_unstable();
        filter.dedup();
        for (target, counts) in filter.iter().zip(count_ranks(&scores, &filter, &filter)) {
            // Best place and worst place of the target among the candidates, by sorting them.
            let level = |e: usize| if scores[e].is_nan() { f32::NEG_INFINITY } else { scores[e] };
            let mut others: Vec<f32> =
                (0..n).filter(|e| !filter.contains(&EntityId(*e))).map(|e| level(e as usize)).collect();
            others.sort_by(|a, b| b.total_cmp(a));
            let own = level(target.index());
            let first = others.iter().position(|&s| s <= own).unwrap_or(others.len());
            let last = others.iter().rposition(|&s| s >= own).map_or(0, |i| i + 1);
            prop_assert_eq!(counts.pessimistic(), 1.0 + last as f64);
            if scores[target.index()].is_nan() {
                prop_assert_eq!(counts.optimistic(), counts.pessimistic());
            } else {
                prop_assert_eq!(counts.optimistic(), 1.0 + first as f64);
            }
        }
    }

    #[test]
    fn drawn_queries_need_a_held_out_edge_whatever_the_structure(seed in 0u64..1_000) {
        let data = Data::random(seed, 20, 60);
        let text = "((('e',('r',)),('e',('r','r')),('u',)),('r',))";
        let structures: Vec<Structure> = vec![
            parse_structure(text).unwrap(),
            parse_structure("((('e',('r',)),('e',('r','n'))),('e',('r','n','r')))").unwrap(),
        ];
        let options = QueryOptions { structures, max_queries: 5, max_answers: 10, seed };
        let set = data.generate(1, &options);
        check_set(&data, 1, &options, &set);
    }
}
