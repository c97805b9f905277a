//! Query sets on disk, so that every evaluation of a graph ranks the same queries without drawing them again.
//!
//! Little-endian file: magic (8 bytes), [`VERSION`] (u32), zero (u32), key (u64), length of the payload
//! (u64), its XXH3-64 (u64), payload. The key names graph, split, options and [`VERSION`]. The payload is
//! a sequence of lists, each a u64 count and its elements: the notes (a list of bytes each, after their
//! u64 number), then for each structure of the options anchors, relations, targets, targets per query,
//! missing and observed edges of the best proof per target, filter and filter per query (u32 each).

use super::group::QueryGroup;
use super::queries::{QueryOptions, QuerySet, generate};
use crate::error::Result;
use crate::graph::{KnowledgeGraph, Split};
use crate::ids::{EntityId, RelationId};
use crate::progress::Watch;
use crate::query::Proof;
use crate::query::print::structure_tuple;
use crate::storage::{atomic, checksum};
use std::path::{Path, PathBuf};

/// Raised when the format **or the generator** changes, so that old sets are drawn anew.
pub const VERSION: u32 = 4;

const MAGIC: [u8; 8] = *b"SMOREQRY";
const HEADER: usize = 40;

/// The query set of a split: read from `folder` where it is there and whole, else generated and stored.
///
/// `folder` is usually the graph file's own. The second value is for the user: a damaged file that was
/// replaced, or a folder that cannot be written to, neither of which is an error.
///
/// # Errors
///
/// [`Error::Interrupted`](crate::Error::Interrupted) where the watcher stops the generation.
pub fn load_or_generate(
    graph: &KnowledgeGraph,
    split: Split,
    options: &QueryOptions,
    folder: &Path,
    watch: &Watch,
) -> Result<(QuerySet, Option<String>)> {
    let path = path(graph, split, options, folder);
    let mut note = None;
    match std::fs::read(&path) {
        Ok(bytes) => match decode(&bytes, key(graph, split, options), graph, options) {
            Ok(set) => return Ok((set, None)),
            Err(reason) => {
                let path = path.display();
                note = Some(format!("{path}: {reason}; the queries were generated again"));
            }
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => note = Some(format!("{}: {error}; the queries were generated again", path.display())),
    }
    let set = generate(graph, split, options, watch)?;
    if let Err(error) = atomic::write_bytes(&path, &encode(&set, key(graph, split, options))) {
        note = Some(format!("{error}; the queries are not kept for the next time"));
    }
    Ok((set, note))
}

/// Where the set is kept.
pub fn path(graph: &KnowledgeGraph, split: Split, options: &QueryOptions, folder: &Path) -> PathBuf {
    let key = key(graph, split, options);
    folder.join(format!("{}-{}-{key:016x}.queries", graph.dataset(), split.name()))
}

fn key(graph: &KnowledgeGraph, split: Split, options: &QueryOptions) -> u64 {
    let QueryOptions { structures, max_queries, max_answers, seed } = options;
    let structures: Vec<String> = structures.iter().map(structure_tuple).collect();
    let text = format!(
        "{VERSION} {:016x} {} {max_queries} {max_answers} {seed} {}",
        graph.fingerprint(),
        split.name(),
        structures.join(" ")
    );
    checksum::section(text.as_bytes())
}

fn encode(set: &QuerySet, key: u64) -> Vec<u8> {
    let mut payload = Vec::new();
    let count = |payload: &mut Vec<u8>, n: usize| payload.extend((n as u64).to_le_bytes());
    let list = |payload: &mut Vec<u8>, words: &mut dyn ExactSizeIterator<Item = u32>| {
        count(payload, words.len());
        words.for_each(|word| payload.extend(word.to_le_bytes()));
    };
    count(&mut payload, set.notes.len());
    for note in &set.notes {
        count(&mut payload, note.len());
        payload.extend(note.as_bytes());
    }
    for group in &set.groups {
        let lengths = |offsets: &[usize]| -> Vec<u32> {
            offsets.windows(2).map(|pair| (pair[1] - pair[0]) as u32).collect()
        };
        list(&mut payload, &mut group.anchors.iter().map(|e| e.0));
        list(&mut payload, &mut group.relations.iter().map(|r| r.0));
        list(&mut payload, &mut group.targets.iter().map(|e| e.0));
        list(&mut payload, &mut lengths(&group.target_offsets).into_iter());
        let proofs =
            group.proofs.iter().map(|proof| proof.expect("drawn with its answers on the full graph"));
        list(&mut payload, &mut proofs.clone().map(|proof| proof.missing));
        list(&mut payload, &mut proofs.map(|proof| proof.observed));
        list(&mut payload, &mut group.filter.iter().map(|e| e.0));
        list(&mut payload, &mut lengths(&group.filter_offsets).into_iter());
    }
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(0u32.to_le_bytes());
    for word in [key, payload.len() as u64, checksum::section(&payload)] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(payload);
    bytes
}

/// What is left of a payload.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    fn count(&mut self) -> Option<usize> {
        let bytes = self.bytes(8)?.try_into().expect("eight bytes");
        usize::try_from(u64::from_le_bytes(bytes)).ok()
    }

    /// A list of words, all of them below `end`.
    fn words(&mut self, end: usize) -> Option<Vec<u32>> {
        let count = self.count()?;
        let bytes = self.bytes(count.checked_mul(4)?)?;
        let words = bytes.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().expect("four bytes")));
        let words: Vec<u32> = words.collect();
        words.iter().all(|&w| (w as usize) < end).then_some(words)
    }

    /// A list of lengths as offsets; they cover `total` elements.
    fn offsets(&mut self, total: usize) -> Option<Vec<usize>> {
        let mut offsets = vec![0];
        for length in self.words(usize::MAX)? {
            offsets.push(offsets[offsets.len() - 1] + length as usize);
        }
        (offsets[offsets.len() - 1] == total).then_some(offsets)
    }
}

/// The set in a file, or why the file cannot be used. Trusts nothing in it.
fn decode(
    bytes: &[u8],
    key: u64,
    graph: &KnowledgeGraph,
    options: &QueryOptions,
) -> std::result::Result<QuerySet, &'static str> {
    if bytes.len() < HEADER || bytes[..8] != MAGIC {
        return Err("not a file of queries");
    }
    let (header, payload) = bytes.split_at(HEADER);
    let word = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
    if word(8) != u64::from(VERSION) || word(16) != key {
        return Err("made by another version or for another graph");
    }
    if word(24) != payload.len() as u64 || word(32) != checksum::section(payload) {
        return Err("the file is damaged");
    }
    let bounds = (graph.num_entities(), graph.num_relations());
    decode_payload(payload, bounds, options).ok_or("the file is damaged")
}

fn decode_payload(
    payload: &[u8],
    (num_entities, num_relations): (usize, usize),
    options: &QueryOptions,
) -> Option<QuerySet> {
    let mut reader = Reader(payload);
    let mut set = QuerySet { groups: Vec::new(), notes: Vec::new() };
    for _ in 0..reader.count()? {
        let length = reader.count()?;
        set.notes.push(std::str::from_utf8(reader.bytes(length)?).ok()?.to_string());
    }
    let proof = |(missing, observed)| Some(Proof { missing, observed });
    let entities = |words: Vec<u32>| words.into_iter().map(EntityId).collect::<Vec<_>>();
    for structure in &options.structures {
        let anchors = entities(reader.words(num_entities)?);
        let relations: Vec<_> = reader.words(num_relations)?.into_iter().map(RelationId).collect();
        let targets = entities(reader.words(num_entities)?);
        let target_offsets = reader.offsets(targets.len())?;
        let [missing, observed] = [reader.words(usize::MAX)?, reader.words(usize::MAX)?];
        let filter = entities(reader.words(num_entities)?);
        let filter_offsets = reader.offsets(filter.len())?;
        let (leaves, edges) = structure.flatten();
        let queries = target_offsets.len() - 1;
        let fits = [missing.len(), observed.len()] == [targets.len(); 2]
            && anchors.len() == queries * leaves.len()
            && relations.len() == queries * edges.len()
            && filter_offsets.len() == queries + 1
            && filter_offsets.windows(2).all(|b| filter[b[0]..b[1]].is_sorted_by(|x, y| x < y));
        if !fits {
            return None;
        }
        set.groups.push(QueryGroup {
            structure: structure.clone(),
            anchors,
            relations,
            targets,
            target_offsets,
            proofs: missing.into_iter().zip(observed).map(proof).collect(),
            filter,
            filter_offsets,
        });
    }
    reader.0.is_empty().then_some(set)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{GraphBuilder, Metadata};
    use crate::query::parse_structure;
    use crate::rng::{below, stream};

    fn graph(folder: &Path, seed: u64) -> KnowledgeGraph {
        let mut builder =
            GraphBuilder::new(Metadata { dataset: "random".into(), ..Metadata::default() }).unwrap();
        let mut rng = stream(seed, "test", 0);
        let mut id = |n| below(&mut rng, n).to_string();
        for split in [Split::Train, Split::Train, Split::Train, Split::Valid, Split::Test] {
            for _ in 0..40 {
                let (head, relation, tail) = (id(30), id(3), id(30));
                builder.add(split, &head, &relation, &tail).unwrap();
            }
        }
        let path = folder.join("random.graph");
        builder.write(&path, None).unwrap();
        KnowledgeGraph::open(&path).unwrap()
    }

    fn options() -> QueryOptions {
        // The last one has no queries and gives a note.
        let structures = ["1p", "2i", "pin", "('e',('r','n'))"].map(|s| parse_structure(s).unwrap());
        QueryOptions { structures: structures.to_vec(), max_queries: 20, max_answers: 10, seed: 1 }
    }

    #[test]
    fn a_stored_set_is_read_back_and_a_damaged_file_is_made_again_with_a_note() {
        let folder = tempfile::tempdir().unwrap();
        let (graph, options) = (graph(folder.path(), 1), options());
        let load =
            || load_or_generate(&graph, Split::Test, &options, folder.path(), &Watch::nobody()).unwrap();
        let (first, note) = load();
        assert_eq!((first.groups.len(), note), (4, None));
        assert!(first.groups[..3].iter().all(|g| !g.is_empty()) && !first.notes.is_empty());
        let path = path(&graph, Split::Test, &options, folder.path());
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(load(), (first.clone(), None));
        assert_eq!(decode(&whole, key(&graph, Split::Test, &options), &graph, &options), Ok(first.clone()));

        for at in [0, 9, 17, 25, 33, HEADER + 3, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            std::fs::write(&path, &damaged).unwrap();
            let (again, note) = load();
            assert_eq!(again, first);
            assert!(note.unwrap().contains("generated again"), "byte {at}");
            assert_eq!(std::fs::read(&path).unwrap(), whole);
        }
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(load().1.unwrap().contains("damaged"));
    }

    #[test]
    fn any_payload_is_refused_or_read_without_a_panic() {
        let folder = tempfile::tempdir().unwrap();
        let (graph, options) = (graph(folder.path(), 1), options());
        let bytes = encode(&generate(&graph, Split::Test, &options, &Watch::nobody()).unwrap(), 0);
        let payload = &bytes[HEADER..];
        let bounds = (graph.num_entities(), graph.num_relations());
        for length in 0..payload.len() {
            assert_eq!(decode_payload(&payload[..length], bounds, &options), None);
        }
        assert_eq!(decode_payload(payload, (1, 1), &options), None);
        for at in 0..payload.len() {
            for change in [1, 0x80, 0xff] {
                let mut damaged = payload.to_vec();
                damaged[at] ^= change;
                if let Some(set) = decode_payload(&damaged, bounds, &options) {
                    assert!(set.groups.iter().all(|g| g.all().len() == g.len()));
                }
            }
        }
    }

    #[test]
    fn every_option_the_split_and_the_graph_are_part_of_the_key() {
        let folder = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let (graph, another) = (graph(folder.path(), 1), graph(other.path(), 2));
        let base = options();
        let mut fewer = base.clone();
        fewer.structures.pop();
        let mut keys = vec![
            key(&graph, Split::Test, &base),
            key(&graph, Split::Valid, &base),
            key(&another, Split::Test, &base),
            key(&graph, Split::Test, &fewer),
            key(&graph, Split::Test, &QueryOptions { max_queries: 21, ..base.clone() }),
            key(&graph, Split::Test, &QueryOptions { max_answers: 21, ..base.clone() }),
            key(&graph, Split::Test, &QueryOptions { seed: 21, ..base.clone() }),
        ];
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 7);
    }
}
