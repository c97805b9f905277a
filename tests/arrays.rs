//! OGB's folders and other arrays -> a graph.

use npyz::WriterBuilder;
use smore::engine::dataset::OpenOptions;
use smore::engine::dataset::inventory::Reading;
use smore::engine::dataset::open::import_as;
use smore::engine::graph::{KnowledgeGraph, Split};
use std::io::{Cursor, Write};

mod common;
use common::Folder;

/// The bytes that `numpy.save` writes of an array.
fn npy<T: npyz::AutoSerialize + Copy>(shape: &[u64], values: &[T]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let options = npyz::WriteOptions::new().default_dtype().shape(shape).writer(&mut bytes);
    let mut writer = options.begin_nd().unwrap();
    writer.extend(values.iter().copied()).unwrap();
    writer.finish().unwrap();
    bytes
}

/// The bytes that `numpy.savez_compressed` writes.
fn npz(arrays: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in arrays {
        let options =
            zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
        zip.start_file(format!("{name}.npy"), options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn put(folder: &Folder, name: &str, bytes: &[u8]) {
    let path = folder.data().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn import(folder: &Folder, options: &OpenOptions) -> smore::Result<KnowledgeGraph> {
    import_as(&folder.data(), None, None, options).map(|(graph, _)| graph)
}

/// The facts of a split by name, sorted.
fn facts(graph: &KnowledgeGraph, split: Split) -> Vec<String> {
    let (entities, relations) = (graph.entities(), graph.relations());
    let forward = graph.split(split).triples().filter(|t| t.relation.0 % 2 == 0);
    let mut facts: Vec<String> = forward
        .map(|t| {
            let relation = relations.name(t.relation.0 / 2);
            format!("{} {relation} {}", entities.name(t.head.0), entities.name(t.tail.0))
        })
        .collect();
    facts.sort();
    facts
}

#[test]
fn wikikg90ms_arrays_are_read_with_hidden_tails_and_titles_as_labels() {
    let folder = Folder::with(&[
        ("mapping/entity.csv", "idx,entity,title,desc\n1,Q1,Universe,\"all, of it\"\n0,Q0,Zero,\n2,Q2,,\n"),
        ("mapping/relation.csv", "idx,relation,title,desc\n0,P0,part of,x\n1,P1,has,y\n"),
    ]);
    put(&folder, "processed/train_hrt.npy", &npy(&[3, 3], &[0i32, 1, 1, 1, 0, 2, 2, 1, 0]));
    put(&folder, "processed/val_hr.npy", &npy(&[2, 2], &[0i64, 0, 1, 1]));
    put(&folder, "processed/val_t.npy", &npy(&[2], &[2i64, 0]));
    // What is asked for in the challenge: there are no tails.
    put(&folder, "processed/test-dev_hr.npy", &npy(&[1, 2], &[0i64, 0]));
    let graph = import(&folder, &folder.options()).unwrap();
    assert_eq!(facts(&graph, Split::Train), ["Q0 P1 Q1", "Q1 P0 Q2", "Q2 P1 Q0"]);
    assert_eq!(facts(&graph, Split::Valid), ["Q0 P0 Q2", "Q1 P1 Q0"]);
    assert_eq!(graph.split(Split::Test).num_edges(), 0);
    let label = |id| graph.entities().label(id);
    assert_eq!([0, 1, 2].map(label), [Some("Zero".into()), Some("Universe".into()), None]);
    assert_eq!(graph.relations().label(1).as_deref(), Some("has"));
    graph.verify().unwrap();

    put(&folder, "processed/val_t.npy", &npy(&[2], &[2i64, 3]));
    let error = import(&folder, &folder.options()).unwrap_err().to_string();
    assert!(error.contains("row 1: id 3 has no name: there are 3 entities"), "{error}");
    put(&folder, "processed/val_t.npy", &npy(&[1], &[2i64]));
    let error = import(&folder, &folder.options()).unwrap_err().to_string();
    assert!(error.contains("val_t.npy: has 1 rows, but "), "{error}");
}

#[test]
fn wikikg2_is_read_as_its_raw_files_or_as_its_splits() {
    let folder = Folder::with(&[
        ("raw/edge.csv", "0,1\n1,2\n2,0\n"),
        ("raw/edge_reltype.csv", "0\n1\n0\n"),
        ("mapping/nodeidx2entityid.csv", "node idx,entity id\n0,Q5\n1,Q6\n2,Q7\n"),
        ("mapping/reltype2relid.csv", "reltype,rel id\n0,P31\n1,P279\n"),
    ]);
    let graph = import(&folder, &folder.options()).unwrap();
    assert_eq!(facts(&graph, Split::Train), ["Q5 P31 Q6", "Q6 P279 Q7", "Q7 P31 Q5"]);

    // The split's arrays, with the negatives that OGB puts beside them.
    for (name, ids) in [("train", [0i64, 1, 2]), ("valid", [1, 0, 2]), ("test", [2, 1, 0])] {
        let [h, r, t] = [ids[0], ids[1].min(1), ids[2]].map(|id| npy(&[1], &[id]));
        let negatives = npy(&[1, 500], &[0i32; 500]);
        let arrays = [("tail", t), ("relation", r), ("head", h), ("head_neg", negatives)];
        put(&folder, &format!("split/time/{name}.npz"), &npz(&arrays));
    }
    let graph = import(&folder, &folder.options()).unwrap();
    assert_eq!(
        Split::ALL.map(|split| facts(&graph, split).join("")),
        ["Q5 P279 Q7", "Q6 P31 Q7", "Q7 P279 Q5"]
    );
    put(&folder, "split/time/test.npz", &npz(&[("head", npy(&[1], &[1])), ("tail", npy(&[1], &[1]))]));
    let error = import(&folder, &folder.options()).unwrap_err().to_string();
    assert!(error.contains("expected the arrays head, relation and tail, found head, tail"), "{error}");
}

#[test]
fn arrays_without_maps_are_named_by_their_ids_and_one_file_is_a_dataset() {
    let folder = Folder::with(&[]);
    let rows: Vec<u32> = (0..30_000).flat_map(|i| [i % 300, i % 7, (i * i) % 299]).collect();
    put(&folder, "train.npy", &npy(&[30_000, 3], &rows));
    let whole = import(&folder, &folder.options()).unwrap();
    assert_eq!((whole.num_entities(), whole.num_relations()), (300, 14));
    assert_eq!(whole.entities().find("17"), Some(17));
    let path = folder.data().join("train.npy");
    let one = import_as(&path, None, None, &folder.options()).unwrap().0;
    assert_eq!(facts(&one, Split::Train), facts(&whole, Split::Train));
    let reading = Reading { hold_out: 0.1, ..Reading::default() };
    let split = import(&folder, &OpenOptions { reading, ..folder.options() }).unwrap();
    let mut all: Vec<String> = Split::ALL.iter().flat_map(|&s| facts(&split, s)).collect();
    all.sort();
    assert!(all == facts(&whole, Split::Train) && !facts(&split, Split::Test).is_empty());
}

#[test]
fn an_id_far_above_the_number_of_triples_is_refused_at_once_with_the_remedy() {
    let folder = Folder::with(&[]);
    for (name, id) in [("train", 100_000_000i64), ("valid", 2), ("test", 3)] {
        put(&folder, &format!("{name}.npy"), &npy(&[2, 3], &[0i64, 0, 1, 1, 0, id]));
    }
    let start = std::time::Instant::now();
    let error = import(&folder, &folder.options()).unwrap_err().to_string();
    assert!(start.elapsed().as_secs() < 5);
    let expected = "train.npy: row 1: id 100000000 is far above the number of entities that so few triples can have: number \
                    them from 0 without gaps, or give triples with names instead";
    assert!(error.ends_with(expected), "{error}");
    // A gap that a graph of this size may have is none.
    put(&folder, "train.npy", &npy(&[2, 3], &[0i64, 0, 1, 1, 0, 5_000]));
    assert_eq!(import(&folder, &folder.options()).unwrap().num_entities(), 5_001);
}

#[test]
fn a_stated_count_far_above_the_number_of_triples_is_refused_at_once_with_the_remedy() {
    let folder = Folder::with(&[("stats.txt", "numentity: 2000000000\nnumrelations: 2\n")]);
    for split in ["train", "valid", "test"] {
        put(&folder, &format!("{split}.txt"), b"0\t0\t1\n1\t1\t0\n");
    }
    let start = std::time::Instant::now();
    let error = import(&folder, &folder.options()).unwrap_err().to_string();
    assert!(start.elapsed().as_secs() < 5);
    let expected = "stats.txt: numentity: 2000000000 is far more than the triples beside it can have: correct the number, or \
                    remove the file if the numbers in the triples are names";
    assert!(error.ends_with(expected), "{error}");
}
