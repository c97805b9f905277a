//! A graph -> a folder that DGL-KE reads as it reads its Freebase.
//!
//! `entity2id.txt` and `relation2id.txt` (the count, then `name<TAB>id`), and `train.txt`, `valid.txt` and
//! `test.txt`: ids as `head<TAB>tail<TAB>relation`. Ids, names and splits are the graph's own; labels and hard
//! negatives have no place there.

use super::inventory::missing_splits;
use crate::error::{Error, Result};
use crate::graph::{KnowledgeGraph, Names, Split};
use crate::progress::Progress;
use crate::storage::atomic;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Lines between two reports.
const STEP: u64 = 1 << 20;

/// Writes `graph` into `folder`, which is created. Returns the bytes written.
///
/// Each file appears under its name when it is whole, and `train.txt` last: a folder without it is refused by
/// every reader. A stream over the mapped graph: O(1) memory, O(triples + names) time.
///
/// Fails where `folder` has a train file already, and where a name has a line break.
pub fn dgl_ke(graph: &KnowledgeGraph, folder: &Path, progress: &Progress) -> Result<u64> {
    if folder.is_dir() && !missing_splits(folder).contains(&Split::Train) {
        return Err(Error::file(folder, "has triples of train already; choose another folder"));
    }
    let maps = [("entity2id.txt", graph.entities()), ("relation2id.txt", graph.relations())];
    let mut written = 0;
    for (file, names) in maps {
        let path = folder.join(file);
        written += atomic::write(&path, |out| names_of(&names, &path, out, progress))?;
    }
    for split in [Split::Valid, Split::Test, Split::Train] {
        let path = folder.join(format!("{}.txt", split.name()));
        written += atomic::write(&path, |out| triples_of(graph, split, &path, out, progress))?;
    }
    Ok(written)
}

fn names_of(names: &Names, path: &Path, out: &mut BufWriter<File>, progress: &Progress) -> Result<u64> {
    let count = names.len() as u32;
    let mut digits = itoa::Buffer::new();
    let mut line = format!("{count}\n").into_bytes();
    let mut written = 0;
    for id in 0..count {
        let name = names.name(id);
        if memchr::memchr2(b'\n', b'\r', name.as_bytes()).is_some() {
            return Err(Error::file(path, format!("cannot hold the name {name:?}, which has a line break")));
        }
        line.extend_from_slice(name.as_bytes());
        line.push(b'\t');
        line.extend_from_slice(digits.format(id).as_bytes());
        line.push(b'\n');
        written += put(&mut line, path, out)?;
        if u64::from(id) % STEP == 0 {
            progress.report("writing names", id.into(), count.into());
        }
    }
    Ok(written + put(&mut line, path, out)?)
}

fn triples_of(
    graph: &KnowledgeGraph,
    split: Split,
    path: &Path,
    out: &mut BufWriter<File>,
    progress: &Progress,
) -> Result<u64> {
    let edges = graph.split(split);
    let (stage, count) = (format!("writing {}", path.display()), edges.num_edges() as u64 / 2);
    let mut digits = itoa::Buffer::new();
    let mut line = Vec::new();
    let (mut written, mut done) = (0, 0);
    // By tail: real datasets come in no order of heads, and what is measured on this one should not profit
    // from one.
    for edge in edges.triples().filter(|edge| edge.relation.is_inverse()) {
        for (number, end) in [(edge.tail.0, b'\t'), (edge.head.0, b'\t'), (edge.relation.0 / 2, b'\n')] {
            line.extend_from_slice(digits.format(number).as_bytes());
            line.push(end);
        }
        written += put(&mut line, path, out)?;
        if done % STEP == 0 {
            progress.report(&stage, done, count);
        }
        done += 1;
    }
    Ok(written)
}

/// Writes the line and empties it.
fn put(line: &mut Vec<u8>, path: &Path, out: &mut BufWriter<File>) -> Result<u64> {
    out.write_all(line).map_err(Error::io(path))?;
    let length = line.len() as u64;
    line.clear();
    Ok(length)
}
