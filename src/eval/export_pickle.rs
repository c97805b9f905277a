//! Query sets as the pickle files of KGReasoning (BetaE) and of SMORE.

use super::export::easy_answers;
use super::group::QueryGroup;
use super::queries::QuerySet;
use crate::error::{Error, Result};
use crate::graph::{KnowledgeGraph, Split};
use crate::ids::{EntityId, RelationId};
use crate::query::nested::{Nested, Spelling};
use crate::query::{Query, Structure};
use crate::storage::atomic;
use crate::storage::pickle_write::PickleWriter;
use std::io::{self, Write};
use std::path::Path;

/// The integer that stands for a union in a query; see [`Spelling`].
pub const UNION: i64 = -1;
/// The integer that stands for a negation.
pub const NEGATION: i64 = -2;

/// Refuses a folder that holds anything: it may be a data set, whose files have the same names.
pub fn check_empty(folder: &Path) -> Result<()> {
    match std::fs::read_dir(folder).map(Iterator::count) {
        Ok(0) => Ok(()),
        Ok(_) => Err(Error::file(folder, "is not empty: name a new folder, so that nothing is overwritten")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io(folder)(error)),
    }
}

/// Writes the sets of train, valid and test into `folder`, which stands alone: KGReasoning and SMORE train and
/// evaluate on it. See [`check_empty`].
///
/// | file | holds |
/// | --- | --- |
/// | `{train,valid,test}-queries.pkl` | `{structure: set of queries}` |
/// | `train-answers.pkl`, `{valid,test}-{easy,hard}-answers.pkl` | `{query: set of entity ids}` |
/// | `all-{valid,test}-data.pkl` | list of (structure, query, easy, hard, no negatives: rank among all entities) |
/// | `id2ent.pkl`, `id2rel.pkl` | `{id: name}`; a relation `r` is `2r`, named `+name`, its inverse `2r + 1`, `-name` |
/// | `{train,valid,test}.txt` | `head<TAB>relation<TAB>tail`, ids, each triple in both directions |
/// | `stats.txt` | the numbers of entities and of directed relations |
///
/// Each file is written as it goes, and is there whole or not at all. Errors: the first file that cannot be
/// written.
pub fn write_folder(folder: &Path, graph: &KnowledgeGraph, sets: [&QuerySet; 3]) -> Result<()> {
    let write = |name: &str, fill: &dyn Fn(&mut Pickle<'_>) -> io::Result<()>| {
        let path = folder.join(name);
        atomic::write(&path, |file| {
            let mut done = || -> io::Result<()> {
                let mut pickle = PickleWriter::new(file as &mut dyn Write)?;
                fill(&mut pickle)?;
                pickle.finish().map(drop)
            };
            done().map_err(Error::io(&path))
        })
    };
    for (split, set) in [Split::Train, Split::Valid, Split::Test].into_iter().zip(sets) {
        let groups: Vec<&QueryGroup> = set.groups.iter().filter(|group| !group.is_empty()).collect();
        let split_name = split.name();
        let path = folder.join(format!("{split_name}.txt"));
        atomic::write(&path, |file| {
            let mut triples = graph.split(split).triples();
            triples
                .try_for_each(|t| writeln!(file, "{}\t{}\t{}", t.head.0, t.relation.0, t.tail.0))
                .map_err(Error::io(&path))
        })?;
        write(&format!("{split_name}-queries.pkl"), &|out| {
            out.dict(&groups, |out, group| {
                nested(out, &structure(&group.structure))?;
                let block = group.all();
                out.set(0..block.len(), |out, q| nested(out, &integers(&block.query(q))))
            })
        })?;
        let answers = |easy: bool| {
            let groups = &groups;
            move |out: &mut Pickle<'_>| {
                out.dict(places(groups), |out, (group, q)| {
                    nested(out, &integers(&group.block(q..q + 1).query(0)))?;
                    answers(out, group, q, easy)
                })
            }
        };
        if split == Split::Train {
            write("train-answers.pkl", &answers(false))?;
            continue;
        }
        write(&format!("{split_name}-easy-answers.pkl"), &answers(true))?;
        write(&format!("{split_name}-hard-answers.pkl"), &answers(false))?;
        write(&format!("all-{split_name}-data.pkl"), &|out| {
            out.list(places(&groups), |out, (group, q)| {
                out.tuple(0..5, |out, part| match part {
                    0 => nested(out, &structure(&group.structure)),
                    1 => nested(out, &integers(&group.block(q..q + 1).query(0))),
                    2 | 3 => self::answers(out, group, q, part == 2),
                    _ => out.list([], |out, ()| out.int(0)),
                })
            })
        })?;
    }
    write("id2ent.pkl", &|out| {
        out.dict(0..graph.num_entities() as u32, |out, id| {
            out.int(id.into())?;
            out.str(&graph.entities().name(id))
        })
    })?;
    write("id2rel.pkl", &|out| {
        out.dict(0..graph.num_relations() as u32, |out, id| {
            out.int(id.into())?;
            let sign = if RelationId(id).is_inverse() { '-' } else { '+' };
            out.str(&format!("{sign}{}", graph.relations().name(id / 2)))
        })
    })?;
    let stats = format!("numentity: {}\nnumrelations: {}\n", graph.num_entities(), graph.num_relations());
    atomic::write_bytes(&folder.join("stats.txt"), stats.as_bytes())
}

pub(super) type Pickle<'a> = PickleWriter<&'a mut dyn Write>;

/// Every query of some groups.
fn places<'a>(groups: &'a [&'a QueryGroup]) -> impl Iterator<Item = (&'a QueryGroup, usize)> {
    groups.iter().flat_map(|group| (0..group.len()).map(move |q| (*group, q)))
}

/// A set of the easy, or of the hard, answers of a query.
fn answers(out: &mut Pickle<'_>, group: &QueryGroup, q: usize, easy: bool) -> io::Result<()> {
    let block = group.block(q..q + 1);
    let int = |out: &mut Pickle<'_>, id: &EntityId| out.int(id.0.into());
    if easy { out.set(easy_answers(&block, 0), int) } else { out.set(block.targets_of(0), int) }
}

/// A leaf of a structure or of a query.
#[derive(Clone)]
pub(super) enum Leaf {
    Text(&'static str),
    Integer(i64),
}

fn structure(structure: &Structure) -> Nested<Leaf> {
    let [anchor, relation] = ["e", "r"].map(|text| move |&(): &()| Leaf::Text(text));
    let (negation, union) = (Leaf::Text("n"), Leaf::Text("u"));
    Spelling { anchor: &anchor, relation: &relation, negation, union }.spell(structure)
}

pub(super) fn integers(query: &Query) -> Nested<Leaf> {
    let anchor = |id: &EntityId| Leaf::Integer(id.0.into());
    let relation = |id: &RelationId| Leaf::Integer(id.0.into());
    let (negation, union) = (Leaf::Integer(NEGATION), Leaf::Integer(UNION));
    Spelling { anchor: &anchor, relation: &relation, negation, union }.spell(query)
}

pub(super) fn nested(out: &mut Pickle<'_>, value: &Nested<Leaf>) -> io::Result<()> {
    match value {
        Nested::Leaf(Leaf::Text(text)) => out.str(text),
        Nested::Leaf(Leaf::Integer(number)) => out.int(*number),
        Nested::Tuple(items) => out.tuple(items, nested),
    }
}
