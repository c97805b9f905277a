//! The fuzz targets: what is fed with any bytes, and must neither panic nor hang nor take much memory.
//!
//! In one place for the fuzzers of `fuzz/` and for `tests/fuzz_corpora.rs`, which replays what they keep.

use smore::engine::backend::Cpu;
use smore::engine::config::Config;
use smore::engine::dataset::format::arrays::{self, Array};
use smore::engine::dataset::format::columns::Columns;
use smore::engine::dataset::format::delimiter::Delimiter;
use smore::engine::dataset::format::lines::BadLines;
use smore::engine::dataset::format::triples::TripleFormat;
use smore::engine::dataset::format::{csv, ids, maps, ntriples, triples};
use smore::engine::dataset::import::{Fingerprinted, ImportOptions, warnings};
use smore::engine::dataset::inventory::{Inventory, Reading};
use smore::engine::error::Error;
use smore::engine::eval::ModelScorer;
use smore::engine::eval::ask::Answerer;
use smore::engine::graph::{KnowledgeGraph, Split};
use smore::engine::ids::{EntityId, RelationId};
use smore::engine::progress::Progress;
use smore::engine::query::{Tree, parse_query, parse_structure};
use smore::engine::storage::{container, pickle};
use smore::engine::train::{RunFolder, evaluate};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A function of any bytes.
pub type Target = fn(&[u8]);

/// All targets, by the names of their folders in `fuzz/corpus`.
pub const TARGETS: [(&str, Target); 9] = [
    ("graph_file", graph_file),
    ("run_folder", run_folder),
    ("import", import),
    ("pickle", read_pickle),
    ("ntriples", read_ntriples),
    ("delimited", delimited),
    ("arrays", read_arrays),
    ("query_text", query_text),
    ("config", config),
];

thread_local! {
    static FOLDER: TempDir = in_memory();
}

/// A folder in memory where the system has that.
fn in_memory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    folder.expect("a temporary folder")
}

/// A file of these bytes.
fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = FOLDER.with(|folder| folder.path().join(name));
    std::fs::write(&path, bytes).expect("a temporary file");
    path
}

/// A graph file, its checksums set right.
pub fn graph_file(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    container::seal(&mut bytes);
    let Ok(graph) = KnowledgeGraph::open(&file("graph.smore", &bytes)) else { return };
    let _ = graph.verify();
    for split in Split::ALL {
        let csr = graph.split(split);
        let degrees: usize = (0..graph.num_entities() as u32).map(|e| csr.degree(EntityId(e))).sum();
        assert_eq!(degrees, csr.num_edges());
        assert_eq!(csr.triples().count(), csr.num_edges());
        smore::engine::graph::stats::relations(csr, graph.num_relations());
    }
    for id in 0..graph.num_entities().min(100) as u32 {
        let (entities, relations) = (graph.entities(), graph.relations());
        let _ = (entities.display(id), relations.display(id), entities.find(&entities.name(id)));
        let _ = graph.view(Split::Test).contains(smore::engine::ids::Triple {
            head: EntityId(id),
            relation: RelationId(id),
            tail: EntityId(id),
        });
    }
    let _ = graph.entities().suggestions("entity", 3);
}

/// The graph of [`run_folder`].
const GRAPH: &[u8] = include_bytes!("../data/graph-v2.smore");

/// A run folder without a manifest: length of the configuration (two bytes), configuration, model.
pub fn run_folder(bytes: &[u8]) {
    let Some((length, rest)) = bytes.split_first_chunk::<2>() else { return };
    let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
    let (config, model) = rest.split_at(length);
    file("graph.smore", GRAPH);
    file("config.toml", config);
    let path = file("model.safetensors", model);
    let use_it = || -> smore::Result<()> {
        let folder = RunFolder::open(path.parent().expect("a file in a folder"))?;
        let (config, graph) = (folder.config()?, folder.graph()?);
        let loaded = evaluate::load_model(&Cpu, &graph, &config, &folder)?;
        let anchor = Tree::Projection(Box::new(Tree::Anchor(EntityId(0))), RelationId(1));
        let best = ModelScorer::new(&Cpu, &*loaded.model, &loaded.weights)
            .best_of_each(&anchor.structure(), &[&anchor], 3, &|_, _| true)?
            .swap_remove(0);
        assert!(best.iter().all(|(entity, score)| entity.index() < graph.num_entities() && !score.is_nan()));
        Ok(())
    };
    let _ = use_it();
}

/// Names of files of triples, whose endings choose compression and format.
const NAMES: [&str; 12] = [
    "train.txt",
    "train.tsv",
    "train.csv",
    "train.nt",
    "train.nq",
    "train.ttl",
    "train.trig",
    "train.del",
    "train.txt.gz",
    "train.nt.bz2",
    "train.csv.xz",
    "train.tsv.zst",
];

/// Files of any content, from their first bytes to a graph: the first byte chooses a name, the second options.
pub fn import(bytes: &[u8]) {
    let _ = imported(bytes);
}

/// Triples of the graph that [`import`] makes.
pub fn imported(bytes: &[u8]) -> smore::Result<usize> {
    let [name, choice, text @ ..] = bytes else { return Err(Error::invalid("too short")) };
    let folder = in_memory();
    let train = folder.path().join(NAMES[usize::from(*name) % NAMES.len()]);
    std::fs::write(&train, text).expect("a temporary file");
    let reading = Reading {
        lenient: choice & 1 != 0,
        header: [None, Some(true), Some(false), None][usize::from(choice / 2 % 4)],
        hold_out: if choice & 8 != 0 { 0.1 } else { 0.0 },
        ..Reading::default()
    };
    let options = ImportOptions {
        name: "fuzzed",
        skip_bad_lines: choice & 16 != 0,
        language: None,
        memory: Some(1 << 22),
        progress: Progress::default(),
    };
    let graph = folder.path().join("graph.smore");
    Fingerprinted::new(Inventory::of_file(&train, &reading)?)?.import(&options, &graph)?;
    let graph = KnowledgeGraph::open(&graph).expect("a graph that was just written");
    graph.verify().expect("a graph that was just written");
    assert!(warnings(&graph, None).iter().all(|warning| !warning.is_empty()));
    Ok(Split::ALL.iter().map(|split| graph.split(*split).num_edges() / 2).sum())
}

/// Data that Python has written.
pub fn read_pickle(bytes: &[u8]) {
    let Ok(value) = pickle::parse(bytes) else { return };
    let mut left = vec![&value];
    while let Some(value) = left.pop() {
        left.extend(value.items().into_iter().flatten());
        left.extend(value.pairs().into_iter().flatten().flat_map(|(key, value)| [key, value]));
    }
    let path = Path::new("map.pkl");
    let mut order = maps::InOrder::new(|_: &str| Ok(()));
    if order.pickle(path, bytes).is_ok() {
        let _ = order.finish(path);
    }
}

/// Lines of N-Triples and N-Quads.
pub fn read_ntriples(bytes: &[u8]) {
    let strict = ntriples::Lines::default();
    let quads = ntriples::Lines { quads: true, lenient: true };
    for parsed in [
        strict.edges(bytes.into()),
        strict.labels(bytes.into()),
        quads.edges(bytes.into()),
        quads.labels(bytes.into()),
    ] {
        assert!(parsed.items().all(|item| item.iter().all(|text| text.len() <= 4 * bytes.len())));
        let _ = parsed.report(&mut BadLines::new(Path::new("train.nt"), true));
    }
}

/// Delimited triples of names or ids; the first byte chooses delimiter, columns and whether bad lines are skipped.
pub fn delimited(bytes: &[u8]) {
    let Some((&choice, text)) = bytes.split_first() else { return };
    let delimiter =
        [Delimiter::TAB, Delimiter::Character(b','), Delimiter::Blanks, Delimiter::Character(b'|')];
    let delimiter = delimiter[usize::from(choice % 4)];
    let columns = Columns::parse(["hrt", "htr-"][usize::from(choice / 4 % 2)]).expect("columns");
    let format = TripleFormat { delimiter, columns, header: choice & 16 != 0 };
    let path = Path::new("train.txt");
    let mut bad = BadLines::new(path, choice & 8 != 0);
    let named = |head: &str, relation: &str, tail: &str| match head.is_empty()
        || relation.is_empty()
        || tail.is_empty()
    {
        true => panic!("an empty name"),
        false => Ok::<_, Error>((tail == "objection").then(|| "objection".into())),
    };
    let _ = triples::read(text.into(), format, &mut bad, named);
    let _ = csv::read(text.into(), format, &mut bad, named);
    let _ = ids::triples(text.into(), format, [100, 10], &mut bad, &mut None, |[head, relation, tail]| {
        assert!(head < 100 && relation < 10 && tail < 100);
        Ok(())
    });
    let _ = maps::csv_map(path, text, |_, _, _, _| Ok(()));
}

/// NumPy arrays; the first byte chooses between one and an archive.
pub fn read_arrays(bytes: &[u8]) {
    let Some((&choice, rest)) = bytes.split_first() else { return };
    let take = |row: u64, _: [u32; 3]| match row < 100_000 {
        true => Ok(()),
        false => Err(Error::invalid("enough")),
    };
    if choice % 2 == 0 {
        let Ok(array) = Array::open(rest, Path::new("train.npy")) else { return };
        let _ = arrays::read(&mut [array], Columns::HRT, take);
    } else {
        let _ = arrays::read_npz(&file("train.npz", rest), take);
    }
}

/// Queries, structures and mixes.
pub fn query_text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(query) = parse_query(text) {
        assert_eq!(parse_query(&query.to_string()).expect("its own text"), query);
    }
    if let Ok(structure) = parse_structure(text) {
        assert_eq!(parse_structure(&structure.to_string()).expect("its own text"), structure);
    }
    let _ = smore::engine::query::parse_structures(text);
}

/// A configuration.
pub fn config(bytes: &[u8]) {
    let path = file("options.toml", bytes);
    let Ok(config) = Config::load(Some(&path), &[]) else { return };
    let explicit = config.explicit();
    std::fs::write(&path, explicit.to_toml()).expect("a temporary file");
    let again = Config::load(Some(&path), &[]).expect("its own text");
    assert_eq!(again.explicit(), explicit);
    let _ = config.with(&[String::from_utf8_lossy(bytes).into_owned()]);
}
