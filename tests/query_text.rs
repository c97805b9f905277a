//! Structures and queries as text: what is read, what is written, what is refused and how.

use proptest::prelude::*;
use smore::engine::query::ground::with_names;
use smore::engine::query::parse::{MAX_DEPTH, RelationName};
use smore::engine::query::print::structure_tuple;
use smore::engine::query::structure::{NAMED, named};
use smore::engine::query::{
    NameKind, NameLookup, NamedQuery, Structure, Tree, ground, parse_query, parse_structure, parse_structures,
};
use smore::{EntityId, RelationId};

fn relation(name: &str) -> RelationName {
    RelationName { name: name.into(), inverse: false }
}

fn anchor(name: &str) -> NamedQuery {
    Tree::Anchor(name.into())
}

fn along(child: NamedQuery, name: &str) -> NamedQuery {
    Tree::Projection(Box::new(child), relation(name))
}

fn not(child: NamedQuery) -> NamedQuery {
    Tree::Negation(Box::new(child))
}

#[test]
fn every_named_structure_is_read_by_name_and_by_tuple_and_printed_by_name() {
    assert_eq!(named().len(), 14);
    for (name, tuple) in NAMED {
        let structure = parse_structure(name).unwrap();
        assert_eq!(parse_structure(tuple).unwrap(), structure);
        assert_eq!(structure.to_string(), name);
        assert_eq!(structure_tuple(&structure), tuple);
    }
    let mut shapes: Vec<Structure> = named().iter().map(|(_, s)| s.canonical()).collect();
    shapes.sort();
    shapes.dedup();
    assert_eq!(shapes.len(), 14, "two names mean the same structure");
}

#[test]
fn a_named_structure_is_recognised_in_any_order_of_branches() {
    let swapped = parse_structure("(('e',('r',)),('e',('r','r')))").unwrap();
    assert_eq!(swapped.to_string(), "pi");
    assert_eq!(swapped, parse_structure("pi").unwrap());
    let negated_first = parse_structure(" ( ('e',('r','n')), ('e',('r',)), ('e',('r',)) ) ").unwrap();
    assert_eq!(negated_first.to_string(), "3in");
}

#[test]
fn other_structures_are_printed_as_the_tuple_that_was_read() {
    for text in [
        "('e',('r','r','r','r'))",
        "((('e',('r',)),('e',('r',))),('e',('r',)))",
        "((('e',('r',)),('e',('r',)),('u',)),('n',))",
        "(('e',()),('e',('r','n','n')))",
    ] {
        assert_eq!(parse_structure(text).unwrap().to_string(), text);
    }
}

#[test]
fn grounded_queries_are_read_with_names_inverses_and_negations() {
    let query = parse_query("(('Q1',('P1',)),('Q2',('P2','n')))").unwrap();
    let expected = Tree::Intersection(vec![along(anchor("Q1"), "P1"), not(along(anchor("Q2"), "P2"))]);
    assert_eq!(query, expected);
    assert_eq!(query.to_string(), "(('Q1',('P1',)),('Q2',('P2','n')))");
    assert_eq!(query.structure().to_string(), "2in");

    let after_union = parse_query("((('Q1',('P1',)),('Q2',('P2',)),('u',)),('P3',))").unwrap();
    let union = Tree::Union(vec![along(anchor("Q1"), "P1"), along(anchor("Q2"), "P2")]);
    assert_eq!(after_union, along(union, "P3"));

    let inverse = Tree::Projection(Box::new(anchor("Q1")), RelationName { name: "P1".into(), inverse: true });
    for text in
        ["('Q1',('^P1',))", "('Q1',(^P1,))", "('Q1',(^'P1',))", "(\"Q1\", (^ \"P1\"))", "((Q1, (^P1)))"]
    {
        assert_eq!(parse_query(text).unwrap(), inverse, "{text}");
    }
}

#[test]
fn names_may_hold_spaces_quotes_and_keywords() {
    let text = r#"("Conan O'Brien",('place of birth','\n','n'))"#;
    let expected = not(along(along(anchor("Conan O'Brien"), "place of birth"), "n"));
    assert_eq!(parse_query(text).unwrap(), expected);
    assert_eq!(expected.to_string(), text);
    assert_eq!(
        parse_query("(/m/027rn, (/a/b./c/d, place of birth))").unwrap(),
        along(along(anchor("/m/027rn"), "/a/b./c/d"), "place of birth")
    );
    assert_eq!(parse_query(r"('^',('\^','^^'))").unwrap().to_string(), r"('^',('\^','^^'))");
    assert_eq!(parse_query(r"('n',('\^P',))").unwrap(), along(anchor("n"), "^P"));
    assert_eq!(
        parse_query(r"((('a',('\u',)),('b',('r',))),('\u',))").unwrap().to_string(),
        r"((('a',('\u',)),('b',('r',))),('\u',))"
    );
}

/// The message and the character above the caret.
fn refused(text: &str) -> (String, Option<char>) {
    let message = parse_query(text).expect_err(text).to_string();
    let lines: Vec<&str> = message.lines().collect();
    let column = lines[lines.len() - 1].chars().position(|c| c == '^').expect("a caret");
    (lines[0].to_string(), lines[lines.len() - 2].chars().nth(column))
}

#[test]
fn errors_point_at_the_place_and_say_what_was_expected() {
    for (text, expected, at) in [
        ("", "expected a name or '(', found the end", None),
        ("Q1", "expected a nested tuple such as ('Q1',('P1','P2'))", Some('Q')),
        ("('Q1',('P1',)", "expected ')', found the end", Some('(')),
        ("('Q1',('P1',)))", "expected the end", Some(')')),
        ("('Q1' ('P1',))", "expected ',' or ')'", Some('(')),
        ("('Q1',,)", "expected a name or '(', found ','", Some(',')),
        ("('Q1','P1')", "expected a tuple of relations", Some('\'')),
        ("('Q1',)", "expected an anchor with a tuple of relations", Some('\'')),
        ("('Q1,('P1',))", "expected ',' or ')'", Some('P')),
        ("('Q1',('P1',),('P2',))", "expected one tuple of relations after the anchor", Some('(')),
        ("(('Q1',('P1',)),('u',))", "expected at least two branches in a union", Some('(')),
        ("(('Q1',('P1',)),)", "expected at least two branches in an intersection", Some('(')),
        ("(('Q1',('P1',)),('Q2',('P2',)),('P3',))", "expected a branch; relations after a set", Some('(')),
        ("(('Q1',('P1',)),Q2,('P3',('P',)))", "expected a branch such as", Some('Q')),
        ("('Q1',('P1',('P2',)))", "expected one tuple of relations", Some('(')),
        ("('',('P1',))", "expected a name, found an empty one", Some('\'')),
        ("('Q1',('^',))", "expected a name, found an empty one", Some('\'')),
        ("(^'Q1',('P1',))", "^ marks the inverse of a relation", Some('^')),
        ("('Q1',('u',))", "expected relations, found a union", Some('(')),
        ("(Ünïcödé 'Q1',('P1',))", "expected ',' or ')' before this quote", Some('\'')),
        ("()", "expected an anchor or a branch, found an empty tuple", Some('(')),
    ] {
        let (message, found) = refused(text);
        assert!(message.starts_with(expected), "{text}: {message}");
        assert_eq!(found, at, "{text}: {message}");
    }
    let message = parse_structure("('e',('r','q'))").unwrap_err().to_string();
    assert!(message.starts_with("expected 'r'"), "{message}");
    let message = parse_structure(" 4p").unwrap_err().to_string();
    assert!(message.contains("1p 2p 3p") && message.ends_with("\n   4p\n   ^"), "{message}");
    assert!(parse_structure("('e',())").is_err());
    assert!(parse_structure("('e',('^r',))").is_err());
}

#[test]
fn hostile_depth_and_width_are_refused_and_not_followed() {
    let deep = "(".repeat(1_000_000);
    assert!(parse_query(&deep).unwrap_err().to_string().contains("nested parentheses"));
    let long = format!("('e',({}))", "'r',".repeat(1_000_000));
    assert!(parse_structure(&long).unwrap_err().to_string().contains("levels"));
    let mut nested = "('e',('r',))".to_string();
    for _ in 0..MAX_DEPTH / 2 {
        nested = format!("({nested},('r','r','r'))");
    }
    assert!(parse_structure(&nested).unwrap_err().to_string().contains("levels"));
    let union = "(('e',('r',)),('e',('r','r')),('u',))";
    let wide = format!("({})", [union; 11].join(","));
    assert!(parse_structure(&wide).unwrap_err().to_string().contains("disjuncts"));
    let fits = format!("({})", [union; 10].join(","));
    assert_eq!(parse_structure(&fits).unwrap().disjuncts().len(), 1024);
}

#[test]
fn lists_of_structures_may_have_weights() {
    let names = |list: &[(Structure, f64)]| -> Vec<(String, f64)> {
        list.iter().map(|(s, w)| (s.to_string(), *w)).collect()
    };
    let list = parse_structures("1p.2p.3i").unwrap();
    assert_eq!(names(&list), [("1p".into(), 1.0), ("2p".into(), 1.0), ("3i".into(), 1.0)]);
    let list = parse_structures("1p:2, 2in:0.5 ,(('e',('r',)),('e',('r','r'))):3,2p").unwrap();
    let expected = [("1p", 2.0), ("2in", 0.5), ("pi", 3.0), ("2p", 1.0)];
    assert_eq!(names(&list), expected.map(|(s, w)| (s.to_string(), w)));
    for (text, expected) in [
        ("1p:2.2p:2", "expected a weight above 0"),
        ("1p:0", "expected a weight above 0"),
        ("1p:NaN", "expected a weight above 0"),
        ("1p.1p", "the structure 1p is in the list already"),
        ("", "expected a structure"),
        ("1p,,2p", "expected a structure"),
        ("1p.xx", "expected a structure"),
        ("1p,(('e',('r',))", "expected ')'"),
    ] {
        let message = parse_structures(text).unwrap_err().to_string();
        assert!(message.starts_with(expected), "{text}: {message}");
    }
}

/// A small vocabulary; entity labels are upper case, and two entities share "TWIN".
struct Words;

const ENTITIES: [(&str, &str); 4] = [("a", "ALPHA"), ("b", "TWIN"), ("c", "TWIN"), ("TWINS", "D")];
const RELATIONS: [(&str, &str); 2] = [("p", "part of"), ("^odd", "n")];

impl Words {
    fn table(kind: NameKind) -> &'static [(&'static str, &'static str)] {
        if kind == NameKind::Entity { &ENTITIES } else { &RELATIONS }
    }
}

impl NameLookup for Words {
    fn find(&self, kind: NameKind, name: &str) -> Option<u32> {
        Words::table(kind).iter().position(|(n, _)| *n == name).map(|i| i as u32)
    }
    fn find_label(&self, kind: NameKind, label: &str) -> Vec<u32> {
        let table = Words::table(kind);
        (0..table.len()).filter(|&i| table[i].1 == label).map(|i| i as u32).collect()
    }
    fn name(&self, kind: NameKind, id: u32) -> String {
        Words::table(kind)[id as usize].0.into()
    }
    fn label(&self, kind: NameKind, id: u32) -> Option<String> {
        Some(Words::table(kind)[id as usize].1.into())
    }
    fn suggestions(&self, _: NameKind, name: &str) -> Vec<String> {
        if name.starts_with("ALP") { vec!["ALPHA".into(), "a".into()] } else { vec![] }
    }
}

#[test]
fn names_come_before_labels_and_inverses_are_odd_relations() {
    let query = ground(&parse_query("(ALPHA,(^p,'part of'))").unwrap(), &Words).unwrap();
    let (anchors, relations) = query.flatten();
    assert_eq!(anchors, [&EntityId(0)]);
    assert_eq!(relations, [&RelationId(1), &RelationId(0)]);
    assert_eq!(with_names(&query, &Words).to_string(), "('a',('^p','p'))");
    let odd = ground(&parse_query(r"('TWINS',('\^odd','^^odd'))").unwrap(), &Words).unwrap();
    assert_eq!(odd.flatten().1, [&RelationId(2), &RelationId(3)]);
    let again = parse_query(&with_names(&odd, &Words).to_string()).unwrap();
    assert_eq!(ground(&again, &Words).unwrap(), odd);
}

#[test]
fn unknown_names_get_suggestions_and_ambiguous_labels_their_candidates() {
    let fails = |text| ground(&parse_query(text).unwrap(), &Words).unwrap_err().to_string();
    assert_eq!(fails("(ALPAH,(p,))"), "no entity has the name or label \"ALPAH\"; did you mean ALPHA, a?");
    assert_eq!(fails("(a,(q,))"), "no relation has the name or label \"q\"");
    assert_eq!(fails("(TWIN,(p,))"), "\"TWIN\" is the label of 2 entities: write one of the names b, c");
}

fn any_query() -> impl Strategy<Value = NamedQuery> {
    let name = || prop_oneof![Just("n".to_string()), Just("u".into()), "\\^?[a-z'\"\\\\(), ^é]{1,6}"];
    let name = move || name().prop_filter("not empty", |n| !n.is_empty());
    let leaf = name().prop_map(Tree::Anchor);
    leaf.prop_recursive(5, 24, 3, move |inner| {
        prop_oneof![
            (inner.clone(), name(), any::<bool>())
                .prop_map(|(t, name, inverse)| Tree::Projection(Box::new(t), RelationName { name, inverse })),
            inner.clone().prop_map(|t| Tree::Negation(Box::new(t))),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Tree::Intersection),
            prop::collection::vec(inner, 2..4).prop_map(Tree::Union),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_query_is_read_back_as_it_was_printed(query in any_query()) {
        prop_assume!(query.num_disjuncts() <= 1024);
        let text = query.to_string();
        let read = parse_query(&text).map_err(|e| TestCaseError::fail(format!("{text}\n{e}")))?;
        prop_assert_eq!(&read, &query, "{}", text);
        let structure = query.structure();
        if structure.any(&|t| matches!(t, Tree::Projection(..))) {
            let again = parse_structure(&structure.to_string()).unwrap();
            prop_assert_eq!(again.canonical(), structure.canonical());
        }
    }

    #[test]
    fn no_text_makes_the_parsers_panic(text in "[()',\"nure^.:\\\\ 12pi=é]{0,40}") {
        let _ = (parse_query(&text), parse_structure(&text), parse_structures(&text));
    }
}
