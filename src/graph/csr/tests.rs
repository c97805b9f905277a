//! The index on graphs of a few edges.

use super::*;

fn triple(h: u32, r: u32, t: u32) -> Triple {
    Triple { head: EntityId(h), relation: RelationId(r), tail: EntityId(t) }
}

#[test]
fn both_directions_are_found_and_duplicates_are_dropped() {
    let csr = CsrBuf::from_triples(4, &[triple(0, 0, 2), triple(0, 0, 1), triple(0, 2, 1), triple(0, 0, 2)]);
    let csr = csr.view();
    csr.check(4).unwrap();
    assert_eq!(csr.num_edges(), 6);
    assert_eq!(csr.tails(EntityId(0), RelationId(0)), [EntityId(1), EntityId(2)]);
    assert_eq!(csr.tails(EntityId(1), RelationId(1)), [EntityId(0)]);
    assert_eq!(csr.tails(EntityId(3), RelationId(0)), []);
    assert_eq!(csr.degree(EntityId(1)), 2);
    assert!(csr.contains(triple(1, 3, 0)) && !csr.contains(triple(1, 2, 0)));
}

#[test]
fn the_sparse_form_answers_like_the_direct_one() {
    let triples = [triple(90, 0, 7), triple(7, 2, 50), triple(90, 0, 99)];
    let sparse = CsrBuf::from_triples(100, &triples);
    assert!(!sparse.sources.is_empty());
    let mut direct = sparse.clone();
    direct.make_direct();
    assert!(direct.sources.is_empty());
    let (sparse, direct) = (sparse.view(), direct.view());
    sparse.check(4).unwrap();
    direct.check(4).unwrap();
    assert!(sparse.triples().eq(direct.triples()));
    for entity in (0..100).map(EntityId) {
        assert_eq!(sparse.row(entity).tails(), direct.row(entity).tails());
    }
}

#[test]
fn an_empty_graph_has_no_edges() {
    let csr = CsrBuf::from_triples(3, &[]);
    assert_eq!(csr.view().num_edges(), 0);
    assert_eq!(csr.view().degree(EntityId(2)), 0);
    csr.view().check(0).unwrap();
}

#[test]
fn damaged_parts_are_refused() {
    let csr = CsrBuf::from_triples(3, &[triple(0, 0, 1), triple(1, 0, 2)]);
    let (sizes, sources, starts, rows) = csr.view().parts();
    assert!(Csr::from_parts(3, sizes, sources, &starts[1..], rows).is_err());
    assert!(Csr::from_parts(3, sizes, sources, starts, &rows[1..]).is_err());
    // The first row: one fragment, one tail.
    let damage = |word: usize, value: u32| {
        let mut bad = rows.to_vec();
        bad[word] = value;
        Csr::from_parts(3, sizes, sources, starts, &bad).unwrap().check(2).unwrap_err()
    };
    assert!(damage(1, 9).contains("not ascending entities"));
    assert!(damage(0, 2).contains("more fragments than words"));
    assert!(damage(0, 0).contains("more fragments than words"));
    assert!(damage(0, 7 << 16 | 1).contains("bad fragment"));
    let mut wrong = starts.to_vec();
    wrong[1] = 99;
    let damaged = Csr::from_parts(3, sizes, sources, &wrong, rows).unwrap();
    assert!(damaged.check(2).unwrap_err().contains("descending offsets"));
    let stated = Sizes { edges: 5, ..sizes };
    assert!(Csr::from_parts(3, stated, sources, starts, rows).unwrap().check(2).is_err());
}

#[test]
fn an_index_that_changes_after_its_check_is_never_left() {
    let triples: Vec<Triple> = (0..40).map(|i| triple(i % 7, 2 * (i % 3), i % 11)).collect();
    let csr = CsrBuf::from_triples(12, &triples);
    let (sizes, sources, starts, rows) = csr.view().parts();
    let walk = |starts: &[u64], rows: &[u32], relations: u64| {
        let Ok(csr) = Csr::from_parts(12, Sizes { relations, ..sizes }, sources, starts, rows) else {
            return 0;
        };
        let found = csr.triples().count();
        found
            + (0..13)
                .map(|e| csr.degree(EntityId(e)) + csr.tails(EntityId(e), RelationId(2)).len())
                .sum::<usize>()
    };
    assert!(walk(starts, rows, sizes.relations) > 0);
    for bit in 0..32 {
        for word in 0..rows.len() {
            let mut bad = rows.to_vec();
            bad[word] ^= 1 << bit;
            walk(starts, &bad, sizes.relations);
            walk(starts, &bad, 1 << 20);
        }
        for start in 0..starts.len() {
            let mut bad = starts.to_vec();
            bad[start] ^= 1 << (2 * bit);
            walk(&bad, rows, sizes.relations);
        }
    }
}

#[test]
fn rows_on_both_sides_of_each_limit_hold_what_they_were_made_of() {
    // Two fragments and one tail more than the first has: narrow up to 65,532.
    for (tails, last) in [(65_532, 2), (65_533, 2), (5, 65_534), (5, 65_536), (70_000, 65_536)] {
        let mut triples: Vec<Triple> = (1..=tails).map(|t| triple(0, 0, t)).collect();
        triples.push(triple(0, last, 7));
        let csr = CsrBuf::from_triples(100_000, &triples);
        triples.extend(triples.clone().into_iter().map(Triple::inverse));
        triples.sort_unstable();
        let csr = csr.view();
        csr.check(last as usize + 2).unwrap();
        assert!(csr.triples().eq(triples.iter().copied()), "{tails} tails, relation {last}");
        let row = csr.row(EntityId(0));
        assert_eq!(row.wide, tails > 65_532 || last > 65_534);
        assert_eq!((row.num_fragments(), csr.degree(EntityId(0))), (2, tails as usize + 1));
        assert_eq!(row.tails_of(RelationId(last)), [EntityId(7)]);
        assert_eq!(row.tails_of(RelationId(0)).len(), tails as usize);
        assert!(row.tails_of(RelationId(1)).is_empty());
        assert_eq!(csr.tails(EntityId(7), RelationId(last + 1)), [EntityId(0)]);
    }
}
