//! Query sets as files: JSON lines and the pickle files of KGReasoning and SMORE, there and back again.

#![cfg(feature = "cli")]

use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;
use smore::engine::dataset::open;
use smore::engine::eval::{QuerySet, export, import};
use smore::engine::graph::{KnowledgeGraph, Split};
use std::collections::HashSet;
use std::path::Path;

mod common;
use common::{Folder, smore};

fn umls(folder: &Folder) -> KnowledgeGraph {
    open("umls", &folder.options()).unwrap().0
}

/// All named structures and a tree of our own, written to the folder `sets`.
const PICKLES: [&str; 8] = [
    "sample",
    "umls",
    "--format=pickle",
    "--output=sets",
    "--structures=1p.2p.3p.2i.3i.ip.pi.2in.3in.inp.pin.pni.2u.up.((('e',('r','r')),('e',('r',)),('u',)),('r','r'))",
    "--queries=15",
    "--train-queries=10",
    "--seed=5",
];

fn json_lines(set: &QuerySet, graph: &KnowledgeGraph) -> String {
    let mut out = Vec::new();
    export::write_json_lines(set, graph, &[], &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// Runs a script in a folder; `None` with a line where there is no Python.
fn python(folder: &Path, script: &str) -> Option<String> {
    let Ok(output) = std::process::Command::new("python3").args(["-c", script]).current_dir(folder).output()
    else {
        common::skip(common::Missing::Tool, "no python3 to read and write pickles with");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

/// The lines of a set in order of their text: sets of Python have an order of their own.
fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn every_form_of_a_set_reads_back_as_the_set() {
    let folder = Folder::in_memory();
    smore(&folder).args(PICKLES).assert().success().stdout(contains("train").and(contains("pni")));
    smore(&folder).args(PICKLES).assert().code(1).stderr(contains("sets: is not empty"));
    let graph = umls(&folder);
    for split in [Split::Train, Split::Valid, Split::Test] {
        let file = folder.path().join("sets").join(split.name()).with_extension("txt");
        let text = std::fs::read_to_string(file).unwrap();
        let lines = text.lines().map(|line| line.split('\t').map(|id| id.parse::<u32>().unwrap()).collect());
        let found: Vec<Vec<u32>> = lines.collect();
        let triples = graph.split(split).triples().map(|t| vec![t.head.0, t.relation.0, t.tail.0]);
        assert_eq!(found, triples.collect::<Vec<_>>());
        let all: HashSet<&[u32]> = found.iter().map(Vec::as_slice).collect();
        assert!(found.iter().all(|t| all.contains([t[2], t[1] ^ 1, t[0]].as_slice())));
    }
    for split in [Split::Valid, Split::Test] {
        let name = split.name();
        let mut lines = PICKLES.to_vec();
        let (option, file) = (format!("--split={name}"), format!("--output={name}.jsonl"));
        lines[2..4].copy_from_slice(&[&option, &file]);
        smore(&folder).args(lines).assert().success();
        let path = |file: &str| folder.path().join(file);
        let text = std::fs::read_to_string(path(&format!("{name}.jsonl"))).unwrap();
        assert_eq!(text.lines().count(), 15 * 15);
        let read = |file: &str| {
            let set = import::read(&path(file), &graph, split).unwrap();
            assert_eq!(set.notes, [""; 0], "{file}");
            json_lines(&set, &graph)
        };
        for file in [&format!("{name}.jsonl"), "sets", &format!("sets/all-{name}-data.pkl")] {
            assert_eq!(read(file), text, "{file}");
        }
        // Without names the ids are the graph's own; SMORE's files do where KGReasoning's are not there.
        for file in ["id2ent.pkl", "id2rel.pkl", &format!("{name}-queries.pkl")] {
            std::fs::rename(path("sets").join(file), path(file)).unwrap();
        }
        assert_eq!(read("sets"), text);
        for file in ["id2ent.pkl", "id2rel.pkl", &format!("{name}-queries.pkl")] {
            std::fs::rename(path(file), path("sets").join(file)).unwrap();
        }
    }
}

#[test]
fn python_reads_the_pickles_and_what_it_writes_again_is_the_same_set() {
    let folder = Folder::in_memory();
    smore(&folder).args(PICKLES).assert().success();
    let script = r#"
import pickle, collections, os
load = lambda name: pickle.load(open(f'sets/{name}.pkl', 'rb'))
ent, rel = load('id2ent'), load('id2rel')
assert len(ent) == 135 and sorted(ent) == list(range(135)), ent
assert len(rel) == 92 and all(rel[i][0] == '+-'[i % 2] and rel[i][1:] == rel[i ^ 1][1:] for i in rel), rel
assert open('sets/stats.txt').read().split() == ['numentity:', '135', 'numrelations:', '92']
names = {('e', ('r',)): '1p', (('e', ('r',)), ('e', ('r', 'n'))): '2in',
         ((('e', ('r',)), ('e', ('r',)), ('u',)), ('r',)): 'up',
         (('e', ('r', 'r', 'n')), ('e', ('r',))): 'pni'}
def shape(query, leaf='e'):
    if isinstance(query, int):
        return {-1: 'u', -2: 'n'}.get(query, leaf)
    if all(isinstance(x, int) for x in query):
        return tuple(shape(x, 'r') for x in query)
    return tuple(shape(x) for x in query)
# The executor of these tests, from the text of the triples alone.
def execute(graph, query):
    if isinstance(query[0], int):
        found, path = {query[0]}, query[1]
    elif len(query) == 2 and all(isinstance(x, int) for x in query[1]):
        found, path = execute(graph, query[0]), query[1]
    elif query[-1] == (-1,):
        return set.union(*(execute(graph, branch) for branch in query[:-1]))
    else:
        return set.intersection(*(execute(graph, branch) for branch in query))
    for x in path:
        found = set(ent) - found if x == -2 else {t for h in found for t in graph.get((h, x), ())}
    return found
graphs, graph = [{}], {}
for split in ['train', 'valid', 'test']:
    for line in open(f'sets/{split}.txt'):
        h, r, t = map(int, line.split())
        graph.setdefault((h, r), set()).add(t)
    graphs.append({key: set(tails) for key, tails in graph.items()})
os.mkdir('again')
for split in ['train', 'valid', 'test']:
    queries = load(f'{split}-queries')
    assert set(names) <= set(queries) and len(queries) == 15, queries.keys()
    for structure, some in queries.items():
        assert isinstance(some, set) and len(some) == (10 if split == 'train' else 15), (split, structure)
        assert all(shape(query) == structure for query in some), structure
    every = set().union(*queries.values())
    answers = {kind: load(f'{split}-{kind}') for kind in
               (['answers'] if split == 'train' else ['easy-answers', 'hard-answers'])}
    for kind, of in answers.items():
        assert set(of) == every and all(type(a) is set and all(0 <= e < 135 for e in a) for a in of.values())
        assert kind == 'easy-answers' or all(of.values())
    observed, full = graphs[['train', 'valid', 'test'].index(split):][:2]
    for query in every:
        all_answers, easy = execute(full, query), execute(observed, query)
        if split == 'train':
            assert answers['answers'][query] == all_answers, query
        else:
            assert answers['easy-answers'][query] == all_answers & easy, query
            assert answers['hard-answers'][query] == all_answers - easy, query
    if split == 'train':
        continue
    data = load(f'all-{split}-data')
    assert {q for _, q, *_ in data} == every and len(data) == len(every)
    for structure, query, easy, hard, negatives in data:
        assert query in queries[structure] and len(negatives) == 0
        assert easy == answers['easy-answers'][query] and hard == answers['hard-answers'][query]
    for protocol in range(0, 6):
        os.makedirs(f'again/{protocol}', exist_ok=True)
        for kind, of in answers.items():
            default = collections.defaultdict(set)
            default.update(of)
            pickle.dump(default, open(f'again/{protocol}/{split}-{kind}.pkl', 'wb'), protocol)
        pickle.dump(queries, open(f'again/{protocol}/{split}-queries.pkl', 'wb'), protocol)
        pickle.dump(data, open(f'again/{protocol}/all-{split}-data.pkl', 'wb'), protocol)
# Other ids for the same names, and inverse relations under names of their own.
e, r = (lambda id: 1000 - id), (lambda id: 90 - id if id % 2 == 0 else 92 - id)
def other(query):
    if isinstance(query[0], int):
        return (e(query[0]),) + tuple(tuple(x if x < 0 else r(x) for x in path) for path in query[1:])
    return tuple(path if all(x == -1 for x in path) else
                 tuple(x if x < 0 else r(x) for x in path) if isinstance(path[0], int) and isinstance(path[-1], int)
                 else other(path) for path in query)
os.mkdir('other')
put = lambda name, value: pickle.dump(value, open(f'other/{name}.pkl', 'wb'))
put('id2ent', {e(id): name for id, name in ent.items()})
put('id2rel', {r(id): name[1:] + ['', '_reverse'][id % 2] for id, name in rel.items()})
put('test-queries', {s: [other(q) for q in some] for s, some in load('test-queries').items()})
for kind in ['easy', 'hard']:
    of = load(f'test-{kind}-answers')
    put(f'test-{kind}-answers', {other(q): frozenset(map(e, a)) for q, a in of.items()})
"#;
    if python(folder.path(), script).is_none() {
        return;
    }
    let graph = umls(&folder);
    let read = |file: &str| {
        json_lines(&import::read(&folder.path().join(file), &graph, Split::Test).unwrap(), &graph)
    };
    let ours = read("sets");
    assert_eq!(sorted(&read("other")), sorted(&ours));
    for protocol in 0..6 {
        for file in ["", "/all-test-data.pkl"] {
            let file = format!("again/{protocol}{file}");
            assert_eq!(sorted(&read(&file)), sorted(&ours), "{file}");
        }
    }
}

#[test]
fn an_evaluation_of_a_set_from_files_is_the_evaluation_of_the_set() {
    let folder = Folder::in_memory();
    let train = ["train", "umls", "--steps=2", "--dim=8", "--batch-size=32", "--negatives=16"];
    let settings = ["--run-dir=run", "--set", "evaluation.valid_queries=5", "--set", "evaluation.queries=5"];
    smore(&folder).args(train).args(settings).assert().success();
    smore(&folder)
        .args(["sample", "umls", "--structures=1p.2i.up.2in", "--queries=30"])
        .args(["--format=pickle", "--output=sets", "--train-queries=1"])
        .assert()
        .success();
    let sample =
        ["sample", "umls", "--structures=1p.2i.up", "--queries=30", "--split=valid", "--output=v.jsonl"];
    smore(&folder).args(sample).assert().success();
    let eval = |arguments: &[&str]| -> Value {
        let run = ["eval", "run", "--split=valid", "--json"];
        let output = smore(&folder).args(run).args(arguments).assert().success().get_output().clone();
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let drawn = eval(&["--structures=1p.2i.up", "--queries=30"]);
    assert!(drawn["multi_hop"]["up"]["one_link"]["mrr"].is_f64(), "{drawn}");
    assert!(drawn["multi_hop"]["1p"]["full_inference"]["mrr"] == drawn["multi_hop"]["1p"]["mrr"], "{drawn}");
    for (path, left_out) in [("v.jsonl", 0), ("sets", 1), ("sets/all-valid-data.pkl", 1)] {
        let mut report = eval(&["--query-set", path]);
        let notes = std::mem::replace(&mut report["notes"], drawn["notes"].clone());
        assert_eq!(notes[0], format!("the queries are those of {path}"));
        assert_eq!(notes.as_array().unwrap().len(), 1 + left_out, "{notes}");
        assert!(left_out == 0 || notes[1].as_str().unwrap().contains("2in is left out"), "{notes}");
        assert_eq!(report, drawn, "{path}");
    }
    smore(&folder)
        .args(["eval", "run", "--query-set", "sets", "--queries=3"])
        .assert()
        .code(2)
        .stderr(contains("--query-set"));
}

#[test]
fn branches_in_another_order_join_the_queries_of_their_structure() {
    let folder = Folder::with(&[
        ("train.txt", "a\tr\tb\nb\ts\tc\na\tt\td\n"),
        ("valid.txt", "d\tr\ta\n"),
        ("test.txt", "a\ts\tc\nd\ts\tc\n"),
    ]);
    let (graph, _) = open(folder.data().to_str().unwrap(), &folder.options()).unwrap();
    let line = |query: &str| format!("{{\"query\":\"{query}\",\"easy\":[],\"hard\":[\"c\"],\"x\":1}}\n\n");
    let lines = line("(('a',('s',)),('a',('r','s')))") + &line("(('a',('t','s')),('a',('s',)))");
    let none = "{\"query\":\"('a',('t',))\",\"easy\":[\"d\"],\"hard\":[]}\n";
    let path = folder.path().join("set.jsonl");
    std::fs::write(&path, lines + none).unwrap();
    let set = import::read(&path, &graph, Split::Test).unwrap();
    assert_eq!(set.groups.len(), 1);
    assert!(
        set.notes.len() == 1 && set.notes[0].contains("1 query without a hard answer was left out"),
        "{:?}",
        set.notes
    );
    let expected = "\
{\"structure\":\"pi\",\"query\":\"(('a',('r','s')),('a',('s',)))\",\"easy\":[],\"hard\":[\"c\"],\"missing\":[1],\"observed\":[2]}
{\"structure\":\"pi\",\"query\":\"(('a',('t','s')),('a',('s',)))\",\"easy\":[],\"hard\":[\"c\"],\"missing\":[2],\"observed\":[1]}
";
    assert_eq!(json_lines(&set, &graph), expected);
}

#[test]
fn sets_that_do_not_fit_are_refused_with_the_place() {
    let folder = Folder::with(&[
        ("train.txt", "a\tr\tb\nb\ts\tc\n"),
        ("valid.txt", "b\tr\ta\n"),
        ("test.txt", "a\ts\tc\n"),
    ]);
    let (graph, _) = open(folder.data().to_str().unwrap(), &folder.options()).unwrap();
    let refused = |path: &str, parts: &[&str]| {
        let error = import::read(&folder.path().join(path), &graph, Split::Test).unwrap_err().to_string();
        for part in parts.iter().chain([&path]) {
            assert!(error.contains(part), "{part} is not in: {error}");
        }
    };
    let good = r#"{"query":"('a',('s',))","easy":[],"hard":["c"]}"#;
    for (line, parts) in [
        (r#"{"query":"('a',('s',))","easy":[]}"#, &["set.jsonl:2: ", "missing field `hard`"][..]),
        (r#"{"query":"('z',('s',))","easy":[],"hard":["c"]}"#, &["set.jsonl:2: ", "\"z\""]),
        (r#"{"query":"('a',('q',))","easy":[],"hard":["c"]}"#, &["set.jsonl:2: ", "relation", "\"q\""]),
        (r#"{"query":"('a',('s',))","easy":["y"],"hard":["c"]}"#, &["set.jsonl:2: ", "answer \"y\""]),
        (r#"{"query":"('a',(","easy":[],"hard":["c"]}"#, &["set.jsonl:2: "]),
        ("what", &["set.jsonl:2: ", "expected"]),
    ] {
        std::fs::write(folder.path().join("set.jsonl"), format!("{good}\n{line}\n")).unwrap();
        refused("set.jsonl", parts);
    }
    // Answers that do not follow, and answers that need nothing of the split.
    let wrong = r#"{"query":"('a',('s',))","easy":[],"hard":["b"]}"#;
    let easy = r#"{"query":"('b',('s',))","easy":[],"hard":["c"]}"#;
    std::fs::write(folder.path().join("set.jsonl"), format!("{wrong}\n{good}\n{easy}\n")).unwrap();
    refused("set.jsonl", &["of 3 hard answers 1 do not follow", "1 follow without", "--split"]);
    std::fs::write(folder.path().join("set.jsonl"), format!("{good}\n{good}\n{easy}\n")).unwrap();
    let set = import::read(&folder.path().join("set.jsonl"), &graph, Split::Test).unwrap();
    assert!(set.notes[0].contains("0 do not follow") && set.num_queries() == 3, "{:?}", set.notes);
    std::fs::write(folder.path().join("set.jsonl"), "").unwrap();
    refused("set.jsonl", &["no query"]);
    refused("absent.jsonl", &[]);
    refused("data", &["test-queries.pkl", "all-test-data.pkl"]);

    let script = r#"
import pickle, os
def put(folder, **files):
    os.makedirs(folder, exist_ok=True)
    for name, value in files.items():
        pickle.dump(value, open(f"{folder}/{name.replace('_', '-')}.pkl", 'wb'), 4)
one = {('e', ('r',)): {(0, (2,))}}
put('unanswered', test_queries=one, test_easy_answers={}, test_hard_answers={})
put('entity', test_queries=one, test_easy_answers={}, test_hard_answers={(0, (2,)): {3}})
put('anchor', test_queries={'1p': {(-3, (2,))}}, test_easy_answers={}, test_hard_answers={})
put('relation', test_queries={'1p': {(0, (4,))}}, test_easy_answers={}, test_hard_answers={})
put('shape', test_queries={'1p': {(0, 2)}}, test_easy_answers={}, test_hard_answers={})
put('lone', test_queries={'u': {((0, (2,)), (-1,))}}, test_easy_answers={}, test_hard_answers={})
put('deep', test_queries={'p': {(0, (2,) * 65)}}, test_easy_answers={}, test_hard_answers={})
put('list', test_queries=[1], test_easy_answers={}, test_hard_answers={})
put('named', id2ent={0: 'a', 1: 'nobody'}, id2rel={2: '+s'}, test_queries=one, test_easy_answers={}, test_hard_answers={(0, (2,)): {1}})
put('unnamed', id2ent={0: 'a'}, test_queries=one, test_easy_answers={}, test_hard_answers={(0, (2,)): {1}})
put('smore', all_test_data=[(('e', ('r',)), (0, (2,)), set(), {2}, []), (1, 2)], queries={})
class Evil:
    def __reduce__(self):
        return (os.system, ('touch hacked',))
put('evil', test_queries={'1p': Evil()}, test_easy_answers={}, test_hard_answers={})
put('evil-smore', all_test_data=[Evil()])
"#;
    if python(folder.path(), script).is_none() {
        return;
    }
    refused("unanswered", &["test-hard-answers.pkl", "has no answers", "('a',('s',))"]);
    refused("entity", &["test-hard-answers.pkl", "('a',('s',))", "entity 3 is out of range", "3 entities"]);
    refused("anchor", &["test-queries.pkl", "entity -3 is out of range"]);
    refused("relation", &["test-queries.pkl", "relation 4 is out of range", "4 directed relations"]);
    refused("shape", &["test-queries.pkl", "expected a query such as"]);
    refused("lone", &["test-queries.pkl", "expected a query such as"]);
    refused("deep", &["test-queries.pkl", "deeper than 64 levels"]);
    refused("list", &["test-queries.pkl", "expected a dict of structures"]);
    refused("named", &["test-hard-answers.pkl", "\"nobody\" in id2ent.pkl"]);
    refused("unnamed", &["test-hard-answers.pkl", "entity 1 is not in id2ent.pkl"]);
    refused("smore", &["all-test-data.pkl", "entry 1: expected (structure"]);
    refused("smore/queries.pkl", &["expected a list", "give the folder"]);
    refused("evil", &["test-queries.pkl", "no pickle of plain"]);
    refused("evil-smore", &["all-test-data.pkl", "no pickle of plain"]);
    assert!(!folder.path().join("hacked").exists());
    let all = std::fs::read(folder.path().join("entity/test-queries.pkl")).unwrap();
    for length in 0..all.len() {
        std::fs::write(folder.path().join("entity/test-queries.pkl"), &all[..length]).unwrap();
        refused("entity", &["test-queries.pkl"]);
    }
}
