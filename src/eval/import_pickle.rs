//! The pickle files of KGReasoning (BetaE) and of SMORE -> queries; [`export_pickle`](super::export_pickle) has
//! the formats.

use super::export_pickle::{NEGATION, UNION};
use super::import::Found;
use crate::error::{Error, Result};
use crate::graph::{KnowledgeGraph, Names, Split};
use crate::ids::{EntityId, RelationId};
use crate::query::ground::with_names;
use crate::query::parse::{MAX_DEPTH, MAX_DISJUNCTS};
use crate::query::{Query, Tree};
use crate::storage::pickle::{self, Value};
use hashbrown::HashMap;
use std::path::Path;

/// Reads a folder of either kind, or one of SMORE's files.
pub(super) fn read(path: &Path, graph: &KnowledgeGraph, split: Split, found: &mut Found) -> Result<()> {
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) };
    let ids = Ids::open(folder, graph)?;
    let split = split.name();
    let [queries, data] = [format!("{split}-queries.pkl"), format!("all-{split}-data.pkl")];
    if !path.is_dir() {
        read_smore(path, &ids, found)
    } else if folder.join(&queries).exists() {
        read_kg_reasoning(folder, split, &ids, found)
    } else if folder.join(&data).exists() {
        read_smore(&folder.join(data), &ids, found)
    } else {
        Err(Error::file(path, format!("has neither {queries} (KGReasoning) nor {data} (SMORE)")))
    }
}

/// `{structure: set of queries}` and `{query: set of ids}`, easy and hard.
fn read_kg_reasoning(folder: &Path, split: &str, ids: &Ids, found: &mut Found) -> Result<()> {
    let answers = |kind: &str| {
        let path = folder.join(format!("{split}-{kind}-answers.pkl"));
        let value = pickle::read(&path)?;
        let pairs = value.pairs().ok_or_else(|| Error::file(&path, "expected a dict of queries"))?;
        let wrong = |message| Error::file(&path, message);
        let mut of = HashMap::with_capacity(pairs.len());
        for (key, set) in pairs {
            let query = ids.query(key).map_err(wrong)?;
            let entities = ids.entities(set).map_err(|e| wrong(format!("{}: {e}", ids.text(&query))))?;
            of.insert(query, entities);
        }
        Ok((path, of))
    };
    let path = folder.join(format!("{split}-queries.pkl"));
    let value = pickle::read(&path)?;
    let wrong = |message| Error::file(&path, message);
    let expected = || wrong("expected a dict of structures, each with its set of queries".into());
    let ((_, mut easy), (hard_path, mut hard)) = (answers("easy")?, answers("hard")?);
    for (_, queries) in value.pairs().ok_or_else(expected)? {
        for query in queries.items().ok_or_else(expected)? {
            let query = ids.query(query).map_err(wrong)?;
            let Some(hard) = hard.remove(&query) else {
                let text = ids.text(&query);
                return Err(Error::file(
                    &hard_path,
                    format!("has no answers of a query of {split}-queries.pkl: {text}"),
                ));
            };
            found.push(&query, easy.remove(&query).unwrap_or_default(), hard);
        }
    }
    Ok(())
}

/// A list of (structure, query, easy, hard, negatives).
fn read_smore(path: &Path, ids: &Ids, found: &mut Found) -> Result<()> {
    let value = pickle::read(path)?;
    let Value::List(entries) = &value else {
        let remedy = "expected a list of (structure, query, easy, hard, negatives), as in all-test-data.pkl; \
                      of KGReasoning's files give the folder";
        return Err(Error::file(path, remedy));
    };
    let mut with_negatives = 0;
    for (number, entry) in entries.iter().enumerate() {
        let wrong = |message: String| Error::file(path, format!("entry {number}: {message}"));
        let Some([_, query, easy, hard, negatives]) = entry.items() else {
            return Err(wrong("expected (structure, query, easy, hard, negatives)".into()));
        };
        let query = ids.query(query).map_err(wrong)?;
        let [easy, hard] = [easy, hard].map(|set| ids.entities(set).map_err(wrong));
        with_negatives += usize::from(negatives.items().is_some_and(|list| !list.is_empty()));
        found.push(&query, easy?, hard?);
    }
    if with_negatives > 0 {
        let note = format!("{with_negatives} queries have negatives of their own: ranked among all entities");
        found.notes.push(note);
    }
    Ok(())
}

/// What the integers of the files are in the graph.
struct Ids<'a> {
    graph: &'a KnowledgeGraph,
    /// `id2ent.pkl` and `id2rel.pkl`, where the folder has them.
    entities: Option<HashMap<i64, Known<EntityId>>>,
    relations: Option<HashMap<i64, Known<RelationId>>>,
}

/// The graph's id, or the name that the graph does not have.
type Known<Id> = std::result::Result<Id, String>;

impl<'a> Ids<'a> {
    fn open(folder: &Path, graph: &'a KnowledgeGraph) -> Result<Self> {
        let entities = names(&folder.join("id2ent.pkl"), |name| graph.entities().find(name).map(EntityId))?;
        let relation = |name: &str| directed(graph.relations(), name);
        let mut relations = names(&folder.join("id2rel.pkl"), relation)?;
        if let Some(map) = &mut relations {
            // Inverse relations come after their own, under names that differ from dataset to dataset.
            let inverses: Vec<(i64, RelationId)> = map
                .iter()
                .filter(|(id, known)| *id % 2 == 1 && known.is_err())
                .filter_map(|(id, _)| Some((*id, map.get(&(id - 1))?.as_ref().ok()?.inverse())))
                .collect();
            map.extend(inverses.into_iter().map(|(id, inverse)| (id, Ok(inverse))));
        }
        Ok(Ids { graph, entities, relations })
    }

    fn entity(&self, value: &Value) -> Known<EntityId> {
        let id = value.int().ok_or("expected the id of an entity, an integer")?;
        let dataset = self.graph.dataset();
        match &self.entities {
            None => match u32::try_from(id) {
                Ok(word) if (word as usize) < self.graph.num_entities() => Ok(EntityId(word)),
                _ => Err(format!(
                    "entity {id} is out of range: {dataset} has {} entities; evaluate on the graph that the queries \
                     were made from",
                    self.graph.num_entities()
                )),
            },
            Some(map) => match map.get(&id) {
                Some(Ok(entity)) => Ok(*entity),
                Some(Err(name)) => Err(format!("entity {id}, \"{name}\" in id2ent.pkl, is not in {dataset}")),
                None => Err(format!("entity {id} is not in id2ent.pkl")),
            },
        }
    }

    fn relation(&self, id: i64) -> Known<RelationId> {
        let dataset = self.graph.dataset();
        match &self.relations {
            None => match u32::try_from(id) {
                Ok(word) if (word as usize) < self.graph.num_relations() => Ok(RelationId(word)),
                _ => Err(format!(
                    "relation {id} is out of range: {dataset} has {} directed relations; evaluate on the graph that \
                     the queries were made from",
                    self.graph.num_relations()
                )),
            },
            Some(map) => match map.get(&id) {
                Some(Ok(relation)) => Ok(*relation),
                Some(Err(name)) => {
                    Err(format!("relation {id}, \"{name}\" in id2rel.pkl, is not in {dataset}"))
                }
                None => Err(format!("relation {id} is not in id2rel.pkl")),
            },
        }
    }

    fn entities(&self, set: &Value) -> Known<Vec<EntityId>> {
        set.items().ok_or("expected a set of entity ids")?.iter().map(|id| self.entity(id)).collect()
    }

    /// A query from nested tuples.
    fn query(&self, value: &Value) -> Known<Query> {
        let query = self.tree(value)?;
        if height(&query) > MAX_DEPTH {
            return Err(format!("a query is deeper than {MAX_DEPTH} levels"));
        }
        match query.num_disjuncts() > MAX_DISJUNCTS {
            true => Err(format!("the unions of a query expand to more than {MAX_DISJUNCTS} disjuncts")),
            false => Ok(query),
        }
    }

    fn tree(&self, value: &Value) -> Known<Query> {
        const EXPECTED: &str = "expected a query such as (5, (2, 7)) or ((5, (2,)), (6, (3, -2)))";
        let Value::Tuple(items) = value else { return Err(EXPECTED.into()) };
        let branches = |items: &[Value]| match items.len() {
            0 | 1 => Err(EXPECTED.to_string()),
            _ => items.iter().map(|item| self.tree(item)).collect::<Known<Vec<Query>>>(),
        };
        match &items[..] {
            [anchor @ Value::Int(_), Value::Tuple(path)] => {
                self.along(Tree::Anchor(self.entity(anchor)?), path)
            }
            [.., Value::Tuple(union)] if **union == [Value::Int(UNION)] => {
                branches(&items[..items.len() - 1]).map(Tree::Union)
            }
            [base, Value::Tuple(path)] if path.iter().all(|step| step.int().is_some()) => {
                self.along(self.tree(base)?, path)
            }
            _ => branches(items).map(Tree::Intersection),
        }
    }

    /// Relations and negations that follow a tree.
    fn along(&self, mut tree: Query, path: &[Value]) -> Known<Query> {
        if path.len() > MAX_DEPTH {
            return Err(format!("a query is deeper than {MAX_DEPTH} levels"));
        }
        for step in path {
            tree = match step.int() {
                Some(NEGATION) => Tree::Negation(Box::new(tree)),
                Some(id) => Tree::Projection(Box::new(tree), self.relation(id)?),
                None => return Err("expected the ids of relations after an anchor".into()),
            };
        }
        Ok(tree)
    }

    fn text(&self, query: &Query) -> String {
        with_names(query, self.graph).to_string()
    }
}

/// `{id: name}` with the names looked up; `None` where there is no such file.
fn names<Id>(path: &Path, find: impl Fn(&str) -> Option<Id>) -> Result<Option<HashMap<i64, Known<Id>>>> {
    if !path.exists() {
        return Ok(None);
    }
    let value = pickle::read(path)?;
    let expected = || Error::file(path, "expected a dict from ids to names");
    let mut map = HashMap::new();
    for (id, name) in value.pairs().ok_or_else(expected)? {
        let (Some(id), Some(name)) = (id.int(), name.str()) else { return Err(expected()) };
        map.insert(id, find(name).ok_or_else(|| name.to_string()));
    }
    Ok(Some(map))
}

/// A relation by a name with its direction before it, or without one: forward.
fn directed(relations: Names<'_>, name: &str) -> Option<RelationId> {
    let id = |name: &str, inverse| Some(RelationId(2 * relations.find(name)? + inverse));
    id(name, 0).or_else(|| id(name.strip_prefix('+')?, 0)).or_else(|| id(name.strip_prefix('-')?, 1))
}

fn height(query: &Query) -> usize {
    1 + query.children().iter().map(height).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::export_pickle::{integers, nested};
    use crate::graph::{GraphBuilder, Metadata};
    use crate::storage::pickle_write::PickleWriter;
    use proptest::prelude::*;
    use std::io::Write;

    const IDS: u32 = 300;

    /// A graph in which every name is its id.
    fn graph(folder: &Path) -> KnowledgeGraph {
        let mut builder =
            GraphBuilder::new(Metadata { dataset: "ring".into(), ..Metadata::default() }).unwrap();
        for id in 0..IDS {
            let [head, relation, tail] = [id, id, (id + 1) % IDS].map(|id| id.to_string());
            builder.add(Split::Train, &head, &relation, &tail).unwrap();
        }
        let path = folder.join("ring.graph");
        builder.write(&path, None).unwrap();
        KnowledgeGraph::open(&path).unwrap()
    }

    fn any_query() -> impl Strategy<Value = Query> {
        let leaf = (0..IDS).prop_map(|e| Tree::Anchor(EntityId(e)));
        leaf.prop_recursive(6, 24, 3, |inner| {
            prop_oneof![
                3 => (inner.clone(), 0..2 * IDS)
                    .prop_map(|(t, r)| Tree::Projection(Box::new(t), RelationId(r))),
                1 => inner.clone().prop_map(|t| Tree::Negation(Box::new(t))),
                1 => prop::collection::vec(inner.clone(), 2..4).prop_map(Tree::Intersection),
                1 => prop::collection::vec(inner, 2..4).prop_map(Tree::Union),
            ]
        })
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![(-3i64..400).prop_map(Value::Int), Just(Value::None)];
        leaf.prop_recursive(6, 40, 4, |inner| {
            prop::collection::vec(inner, 0..4).prop_map(|items| Value::Tuple(items.into()))
        })
    }

    #[test]
    fn any_tree_survives_as_nested_integers_and_any_tuple_is_read_or_refused() {
        let folder = tempfile::tempdir().unwrap();
        let graph = graph(folder.path());
        let ids = Ids::open(folder.path(), &graph).unwrap();
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        });
        let written = |query: &Query| {
            let mut bytes = Vec::new();
            let mut out = PickleWriter::new(&mut bytes as &mut dyn Write).unwrap();
            nested(&mut out, &integers(query)).unwrap();
            out.finish().unwrap();
            pickle::parse(&bytes).unwrap()
        };
        runner
            .run(&any_query(), |query| {
                prop_assert_eq!(ids.query(&written(&query)), Ok(query));
                Ok(())
            })
            .unwrap();
        runner
            .run(&any_value(), |value| {
                // What is read has one spelling; the value may have had another.
                if let Ok(query) = ids.query(&value) {
                    prop_assert_eq!(ids.query(&written(&query)), Ok(query));
                }
                Ok(())
            })
            .unwrap();
    }
}
