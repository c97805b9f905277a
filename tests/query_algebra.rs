//! What queries mean: the executor against the definition of an answer, rewritings against the
//! executor, the batch plan against both.

mod common;

use common::queries;
use proptest::prelude::*;
use smore::engine::graph::{CsrBuf, View};
use smore::engine::ids::Triple;
use smore::engine::query::execute::{answers, answers_within};
use smore::engine::query::plan::{Plan, Step};
use smore::engine::query::structure::named;
use smore::engine::query::{Mix, Proof, Query, Structure, Tree, proofs};
use smore::{EntityId, RelationId};
use std::collections::HashSet;

const ENTITIES: u32 = 12;
const RELATIONS: u32 = 3;

fn any_triples() -> impl Strategy<Value = Vec<Triple>> {
    queries::any_triples(ENTITIES, RELATIONS, 40)
}

fn any_query() -> impl Strategy<Value = Query> {
    queries::any_query(ENTITIES, RELATIONS, 5, 16)
}

/// The definition of an answer, entity by entity.
fn is_answer(graph: &View, query: &Query, entity: EntityId) -> bool {
    match query {
        Tree::Anchor(anchor) => *anchor == entity,
        Tree::Projection(child, relation) => (0..ENTITIES).map(EntityId).any(|head| {
            graph.contains(Triple { head, relation: *relation, tail: entity })
                && is_answer(graph, child, head)
        }),
        Tree::Intersection(children) => children.iter().all(|c| is_answer(graph, c, entity)),
        Tree::Union(children) => children.iter().any(|c| is_answer(graph, c, entity)),
        Tree::Negation(child) => !is_answer(graph, child, entity),
    }
}

/// Missing and observed edges of every proof of an entity, by the definition: edge by edge, branch by branch.
fn every_proof(observed: &View, full: &View, query: &Query, entity: EntityId) -> HashSet<(u32, u32)> {
    match query {
        Tree::Anchor(anchor) => HashSet::from_iter((*anchor == entity).then_some((0, 0))),
        Tree::Negation(_) => HashSet::from_iter(is_answer(full, query, entity).then_some((0, 0))),
        Tree::Union(children) => {
            children.iter().flat_map(|c| every_proof(observed, full, c, entity)).collect()
        }
        Tree::Projection(child, relation) => {
            let mut found = HashSet::new();
            for head in (0..ENTITIES).map(EntityId) {
                let edge = Triple { head, relation: *relation, tail: entity };
                if full.contains(edge) {
                    let known = u32::from(observed.contains(edge));
                    let inside = every_proof(observed, full, child, head);
                    found.extend(inside.into_iter().map(|(m, o)| (m + 1 - known, o + known)));
                }
            }
            found
        }
        Tree::Intersection(children) => {
            let mut found = HashSet::from([(0, 0)]);
            for child in children {
                let inside = every_proof(observed, full, child, entity);
                let sum = |&(m, o): &(u32, u32)| inside.iter().map(move |(a, b)| (m + a, o + b));
                found = found.iter().flat_map(sum).collect();
            }
            found
        }
    }
}

fn mix(structures: &[Structure]) -> Mix {
    Mix { parts: structures.iter().cloned().zip([2, 1, 3].into_iter().cycle()).collect() }
}

/// Runs a plan with sets of entities for embeddings; the answers of each query.
fn run(plan: &Plan, graph: &View, anchors: &[EntityId], relations: &[RelationId]) -> Vec<Vec<EntityId>> {
    let mut slots: Vec<Option<Query>> = vec![None; plan.num_slots];
    for (slot, &anchor) in plan.anchors.iter().enumerate() {
        slots[slot] = Some(Tree::Anchor(anchors[anchor as usize]));
    }
    fn put(slots: &mut [Option<Query>], slot: u32, tree: Query) {
        assert!(slots[slot as usize].replace(tree).is_none(), "slot {slot} is written twice");
    }
    fn take(slots: &mut [Option<Query>], slot: u32, output: u32) -> Query {
        assert!(slot < output, "input {slot} is not below output {output}");
        slots[slot as usize].take().expect("a slot is written before it is read, and read once")
    }
    let mut uses = 0;
    for step in &plan.steps {
        match step {
            Step::Project { inputs, output, first_use } => {
                assert_eq!(*first_use as usize, uses, "relation uses are consecutive");
                for (i, &input) in inputs.iter().enumerate() {
                    let relation = relations[plan.relation_uses[uses] as usize];
                    let tree = Tree::Projection(Box::new(take(&mut slots, input, *output)), relation);
                    put(&mut slots, output + i as u32, tree);
                    uses += 1;
                }
            }
            Step::Negate { inputs, output } => {
                for (i, &input) in inputs.iter().enumerate() {
                    let tree = Tree::Negation(Box::new(take(&mut slots, input, *output)));
                    put(&mut slots, output + i as u32, tree);
                }
            }
            Step::Intersect { inputs, offsets, output } => {
                for (i, bounds) in offsets.windows(2).enumerate() {
                    let segment = &inputs[bounds[0] as usize..bounds[1] as usize];
                    let trees = segment.iter().map(|&s| take(&mut slots, s, *output)).collect();
                    put(&mut slots, output + i as u32, Tree::Intersection(trees));
                }
            }
        }
    }
    assert_eq!(uses, plan.relation_uses.len(), "every relation use is read");
    let mut results = Vec::new();
    for bounds in plan.root_offsets.windows(2) {
        let mut union = Vec::new();
        for &root in &plan.roots[bounds[0] as usize..bounds[1] as usize] {
            let tree = slots[root as usize].take().expect("a root is written and no step reads it");
            union.extend(answers(graph, &tree));
        }
        union.sort_unstable();
        union.dedup();
        results.push(union);
    }
    assert!(slots.iter().all(Option::is_none), "a slot is never read");
    results
}

/// Anchors and relations for every query of a mix, from a short list of choices.
fn fill(mix: &Mix, choices: &[u32]) -> (Vec<EntityId>, Vec<RelationId>, Vec<Query>) {
    let mut choices = choices.iter().copied().cycle();
    let (mut anchors, mut relations, mut queries) = (Vec::new(), Vec::new(), Vec::new());
    for (structure, count) in &mix.parts {
        for _ in 0..*count {
            let (a, r) = structure.flatten();
            let a: Vec<EntityId> = a.iter().map(|_| EntityId(choices.next().unwrap() % ENTITIES)).collect();
            let r: Vec<RelationId> =
                r.iter().map(|_| RelationId(choices.next().unwrap() % (2 * RELATIONS))).collect();
            queries.push(structure.fill(&a, &r).unwrap());
            anchors.extend(a);
            relations.extend(r);
        }
    }
    (anchors, relations, queries)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn the_best_proof_misses_the_fewest_edges_of_all(
        triples in any_triples(), held_out in any_triples(), query in any_query()
    ) {
        let [train, test] = [triples, held_out].map(|t| CsrBuf::from_triples(ENTITIES as usize, &t));
        let (observed, full) = (View::new([train.view()]), View::new([train.view(), test.view()]));
        let found = proofs(&observed, &full, &query);
        let entities: Vec<EntityId> = found.iter().map(|(e, _)| *e).collect();
        prop_assert_eq!(entities, answers(&full, &query));
        let easy = answers(&observed, &query);
        for (entity, Proof { missing, observed: known }) in found {
            let all = every_proof(&observed, &full, &query, entity);
            let fewest = all.iter().map(|(m, _)| *m).min();
            prop_assert_eq!(fewest, Some(missing), "{:?} of {:?}", entity, query);
            let most = all.iter().filter(|(m, _)| *m == missing).map(|(_, o)| *o).max();
            prop_assert_eq!(most, Some(known), "{:?} of {:?}", entity, query);
            if !query.has_negation() {
                prop_assert_eq!(missing == 0, easy.contains(&entity), "{:?} of {:?}", entity, query);
            }
        }
    }

    #[test]
    fn the_executor_finds_exactly_the_answers_by_definition(
        triples in any_triples(), more in any_triples(), query in any_query()
    ) {
        let (train, valid) = (
            CsrBuf::from_triples(ENTITIES as usize, &triples),
            CsrBuf::from_triples(ENTITIES as usize, &more),
        );
        let graph = View::new([train.view(), valid.view()]);
        let expected: Vec<EntityId> =
            (0..ENTITIES).map(EntityId).filter(|&e| is_answer(&graph, &query, e)).collect();
        prop_assert_eq!(answers(&graph, &query), expected);
    }

    #[test]
    fn within_a_limit_there_are_all_answers_or_none(
        triples in any_triples(), query in any_query(), limit in 0usize..30
    ) {
        let csr = CsrBuf::from_triples(ENTITIES as usize, &triples);
        let graph = View::new([csr.view()]);
        let all = answers(&graph, &query);
        match answers_within(&graph, &query, limit) {
            Some(within) => prop_assert_eq!(&within, &all),
            // No set takes more than both directions of every edge, or all entities.
            None => prop_assert!(limit < 2 * triples.len() + ENTITIES as usize),
        }
        if let (Tree::Projection(..), true) = (&query, all.len() > limit) {
            prop_assert_eq!(answers_within(&graph, &query, limit), None);
        }
    }

    #[test]
    fn rewriting_unions_keeps_the_answers(triples in any_triples(), query in any_query()) {
        prop_assume!(query.num_disjuncts() <= 256);
        let buf = CsrBuf::from_triples(ENTITIES as usize, &triples);
        let graph = View::new([buf.view()]);
        let expected = answers(&graph, &query);
        let rewritten = query.without_unions();
        prop_assert!(!rewritten.has_union());
        prop_assert_eq!(answers(&graph, &rewritten), expected.clone());
        let disjuncts = query.disjuncts();
        prop_assert!(disjuncts.len() <= query.num_disjuncts());
        prop_assert!(disjuncts.iter().all(|d| !d.has_union()));
        let mut union: Vec<EntityId> = disjuncts.iter().flat_map(|d| answers(&graph, d)).collect();
        union.sort_unstable();
        union.dedup();
        prop_assert_eq!(union, expected);
        if !query.has_union() {
            prop_assert_eq!(disjuncts, vec![query.clone()]);
            prop_assert_eq!(query.canonical().canonical(), query.canonical());
        }
        prop_assert_eq!(answers(&graph, &query.canonical()), answers(&graph, &query));
    }

    #[test]
    fn a_plan_writes_and_reads_every_slot_once_and_means_the_same(
        triples in any_triples(),
        shapes in prop::collection::vec(any_query(), 1..5),
        choices in prop::collection::vec(any::<u32>(), 7..40),
    ) {
        let shapes: Vec<Structure> = shapes.iter().map(Tree::structure).collect();
        prop_assume!(shapes.iter().all(|s| s.num_disjuncts() <= 64));
        let buf = CsrBuf::from_triples(ENTITIES as usize, &triples);
        let graph = View::new([buf.view()]);
        let mix = mix(&shapes);
        let (anchors, relations, queries) = fill(&mix, &choices);
        let expected: Vec<_> = queries.iter().map(|q| answers(&graph, q)).collect();
        for plan in [Plan::new(&mix).unwrap(), Plan::with_de_morgan(&mix).unwrap()] {
            prop_assert_eq!(plan.num_queries, queries.len());
            prop_assert_eq!(run(&plan, &graph, &anchors, &relations), expected.clone());
        }
    }
}

#[test]
fn the_plan_of_all_named_structures_has_one_operator_of_a_kind_per_level() {
    let structures: Vec<Structure> = named().iter().map(|(_, s)| s.clone()).collect();
    let mix = mix(&structures);
    let plan = Plan::new(&mix).unwrap();
    // Every (level, kind) once: projections on 1 to 3, negations on 2 and 3, intersections on 2 to 4.
    assert!(plan.steps.len() <= 9, "{} operators", plan.steps.len());
    let triples: Vec<Triple> = (0..180)
        .map(|i| Triple {
            head: EntityId(i % ENTITIES),
            relation: RelationId(2 * (i / ENTITIES % RELATIONS)),
            tail: EntityId((i * i + i / 36) % ENTITIES),
        })
        .collect();
    let buf = CsrBuf::from_triples(ENTITIES as usize, &triples);
    let graph = View::new([buf.view()]);
    let (anchors, relations, queries) = fill(&mix, &[3, 1, 4, 1, 5, 9, 2, 6, 8, 11, 7]);
    let expected: Vec<_> = queries.iter().map(|q| answers(&graph, q)).collect();
    assert!(expected.iter().filter(|a| !a.is_empty()).count() > queries.len() / 2);
    assert_eq!(run(&plan, &graph, &anchors, &relations), expected);
    let roots: Vec<u32> = plan.root_offsets.windows(2).map(|w| w[1] - w[0]).collect();
    let unions: Vec<u32> = queries.iter().map(|q| if q.has_union() { 2 } else { 1 }).collect();
    assert_eq!(roots, unions);
}

#[test]
fn nested_intersections_without_unions_are_left_as_they_are() {
    let branch = |e| Tree::Projection(Box::new(Tree::Anchor(EntityId(e))), RelationId(0));
    let pair = |a, b| Tree::Intersection(vec![branch(a), branch(b)]);
    let nested = Tree::Intersection(vec![pair(0, 1), branch(2)]);
    assert_eq!(nested.disjuncts(), vec![nested.clone()]);
    // The nested intersection stays also beside a union, which is taken apart.
    let with_union = Tree::Intersection(vec![pair(0, 1), Tree::Union(vec![branch(2), branch(3)])]);
    assert_eq!(
        with_union.disjuncts(),
        [2, 3].map(|e| Tree::Intersection(vec![pair(0, 1), branch(e)])).to_vec()
    );
    // De Morgan's negations join the intersection that they stand in.
    let not = |t| Tree::Negation(Box::new(t));
    let without = Tree::Intersection(vec![branch(0), not(Tree::Union(vec![branch(1), branch(2)]))]);
    assert_eq!(
        without.disjuncts(),
        vec![Tree::Intersection(vec![branch(0), not(branch(1)), not(branch(2))])]
    );
    assert_eq!(without.without_unions().disjuncts().len(), 1);
}
