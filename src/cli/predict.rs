//! `smore predict`: links that a saved model predicts: tails, heads, relations, and scores of given triples.

use super::lines::Lines;
use super::options::{ChangesArgs, DeviceArgs, on};
use super::query::parse_k;
use super::{Global, print, print_json};
use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::eval::answers::{self, Answer};
use crate::eval::ask::{Answerer, Show};
use crate::eval::link_prediction::one_hop;
use crate::eval::{AnswerStatus, ModelScorer};
use crate::graph::{KnowledgeGraph, Split, View};
use crate::ids::{EntityId, RelationId, Triple};
use crate::query::ground::find;
use crate::query::{NameKind, NameLookup, Query, Tree};
use crate::train::RunFolder;
use crate::train::evaluate::{Loaded, load_model};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Arguments of `smore predict`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples, with names or labels as the dataset has them:
  smore predict RUN alga isa ?        tails of (alga, isa)
  smore predict RUN ? isa organism    heads
  smore predict RUN alga ? organism   relations between the two
  smore predict RUN alga isa plant    the score of a triple
  smore predict RUN questions.tsv     a file, or - for standard input, with one a line

A line has head, relation and tail, separated by tabs, with ? for what is asked for; or it is a JSON object with \"head\", \"relation\" and \
\"tail\", null or left out for what is asked for. --json prints one JSON document a line. Scores are the model's: they compare within one question. \
Known are triples of the training graph.")]
pub struct Args {
    /// Folder of a run
    run: PathBuf,
    /// Head, relation and tail, with ? for what is asked for; or a file with one question a line, or - for standard input
    #[arg(value_name = "HEAD RELATION TAIL|FILE|-", num_args = 1..=3, required = true)]
    question: Vec<String>,
    /// Number of answers
    #[arg(short = 'k', long = "top", value_name = "K", default_value_t = 10, allow_negative_numbers = true, value_parser = parse_k)]
    k: usize,
    /// Which answers: those that the training graph has (known), those that it has not (predicted), or both
    #[arg(long, value_enum, value_name = "WHICH", default_value_t = Show::Both)]
    show: Show,
    /// Language of labels
    #[arg(long, value_name = "LANGUAGE")]
    lang: Option<String>,
    #[command(flatten)]
    changes: ChangesArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

/// A triple with at most one gap.
#[derive(Clone, Copy, Debug)]
struct Question {
    head: Option<EntityId>,
    relation: Option<RelationId>,
    tail: Option<EntityId>,
}

/// The names of a question, `None` for a gap.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    head: Option<String>,
    relation: Option<String>,
    tail: Option<String>,
}

impl Named {
    fn of([head, relation, tail]: [&str; 3]) -> Self {
        let part = |text: &str| (text.trim() != "?").then(|| text.trim().to_string());
        Named { head: part(head), relation: part(relation), tail: part(tail) }
    }

    /// A line of a file.
    fn parse(line: &str) -> Result<Self> {
        if line.trim_start().starts_with('{') {
            let named: Named = serde_json::from_str(line).map_err(|e| {
                Error::invalid(format!("expected an object with \"head\", \"relation\" and \"tail\": {e}"))
            })?;
            let [head, relation, tail] = [&named.head, &named.relation, &named.tail];
            return Ok(Named::of([head, relation, tail].map(|part| part.as_deref().unwrap_or("?"))));
        }
        let columns: Vec<&str> = line.split('\t').collect();
        let parts = columns.try_into().map_err(|columns: Vec<&str>| {
            Error::invalid(format!(
                "expected head, relation and tail, separated by tabs, with ? for what is asked for; found {}",
                crate::table::counted(columns.len() as u64, "column", "columns")
            ))
        });
        parts.map(Named::of)
    }

    fn ground(&self, graph: &KnowledgeGraph) -> Result<Question> {
        let entity = |name: &Option<String>| {
            name.as_ref().map(|name| find(graph, NameKind::Entity, name).map(EntityId)).transpose()
        };
        let relation = |name: &String| {
            let id = |name: &str| find(graph, NameKind::Relation, name);
            match (id(name), name.strip_prefix('^').map(id)) {
                (Err(_), Some(Ok(inverse))) => Ok(RelationId(2 * inverse + 1)),
                (id, _) => id.map(|id| RelationId(2 * id)),
            }
        };
        let question = Question {
            head: entity(&self.head)?,
            relation: self.relation.as_ref().map(relation).transpose()?,
            tail: entity(&self.tail)?,
        };
        let gaps = [question.head.is_none(), question.relation.is_none(), question.tail.is_none()];
        match gaps.into_iter().filter(|gap| *gap).count() {
            0 | 1 => Ok(question),
            _ => Err(Error::invalid(
                "only one of head, relation and tail can be asked for: give the other two",
            )),
        }
    }
}

/// Runs `smore predict`.
pub fn run(args: Args, global: &Global) -> anyhow::Result<()> {
    let folder = global.opened(RunFolder::open_with(&args.run, args.changes.changes())?)?;
    let config = folder.config()?;
    let mut graph = folder.graph()?;
    if let Some(language) = &args.lang {
        graph.set_language(language)?;
    }
    let parts: Vec<&str> = args.question.iter().map(String::as_str).collect();
    let one = match parts[..] {
        [head, relation, tail] => Some(Named::of([head, relation, tail]).ground(&graph)?),
        [_] => None,
        _ => anyhow::bail!(
            "expected head, relation and tail, with ? for what is asked for, or a file of such lines"
        ),
    };
    on!(args.device.open(config.training.math, global)?, backend => {
        let Loaded { model, weights, .. } = load_model(&backend, &graph, &config, &folder)?;
        let scorer = ModelScorer::new(&backend, &*model, &weights);
        let predictor = Predictor { scorer, graph: &graph, train: graph.view(Split::Train), k: args.k, show: args.show };
        if let Some(question) = one {
            let filled = predictor.answer(&[question])?.remove(0);
            return match global.json {
                true => print_json(&predictor.document(&question, &filled)),
                false => print(render(&question, &filled)),
            };
        }
        let mut lines = Lines::open(parts[0])?;
        while let Some(batch) = lines.next(|line| Named::parse(line)?.ground(&graph))? {
            let questions: Vec<Question> = batch.iter().map(|(_, question)| *question).collect();
            let filled = predictor.answer(&questions)?;
            let text = questions.iter().zip(&filled).map(|(question, filled)| match global.json {
                true => format!("{}\n", predictor.document(question, filled)),
                false => format!("{}\n{}\n", predictor.title(question), render(question, filled)),
            });
            print(text.collect::<String>())?;
        }
        lines.finish()
    })
}

struct Predictor<'a, B: Backend> {
    scorer: ModelScorer<'a, B>,
    graph: &'a KnowledgeGraph,
    train: View<'a>,
    k: usize,
    show: Show,
}

impl<B: Backend> Predictor<'_, B> {
    /// What fills the gaps; of a triple without one the triple itself, without a name. Questions of a kind are answered together.
    fn answer(&self, questions: &[Question]) -> Result<Vec<Vec<Answer>>> {
        let mut filled: Vec<Vec<Answer>> = questions.iter().map(|_| Vec::new()).collect();
        // Tails, and heads as tails of the inverse.
        let numbers = |wanted: fn(&Question) -> bool| -> Vec<usize> {
            (0..questions.len()).filter(|&n| wanted(&questions[n])).collect()
        };
        let entities = numbers(|q| q.relation.is_some() && (q.head.is_none() || q.tail.is_none()));
        let walks: Vec<(EntityId, RelationId)> = entities
            .iter()
            .map(|&n| match questions[n] {
                Question { head: Some(head), relation: Some(relation), .. } => (head, relation),
                Question { tail: Some(tail), relation: Some(relation), .. } => (tail, relation.inverse()),
                _ => unreachable!("a question has one gap"),
            })
            .collect();
        let queries: Vec<Query> = walks
            .iter()
            .map(|&(from, along)| Tree::Projection(Box::new(Tree::Anchor(from)), along))
            .collect();
        let queries: Vec<&Query> = queries.iter().collect();
        let status = |triple: Triple| match self.train.contains(triple) {
            true => AnswerStatus::Known,
            false => AnswerStatus::Predicted,
        };
        let of_walk =
            |walk: usize, tail| status(Triple { head: walks[walk].0, relation: walks[walk].1, tail });
        let keep = |walk: usize, entity| self.show.wants(|| of_walk(walk, entity) == AnswerStatus::Known);
        let best = self.scorer.best_of_each(&one_hop(), &queries, self.k, &keep)?;
        for (walk, best) in best.into_iter().enumerate() {
            filled[entities[walk]] = best
                .into_iter()
                .map(|(entity, score)| self.filled(NameKind::Entity, entity.0, score, of_walk(walk, entity)))
                .collect();
        }
        // Relations, and given triples.
        let relations = (self.graph.num_relations() / 2) as u32;
        for number in numbers(|q| q.head.is_some() && q.tail.is_some()) {
            let Question { head: Some(head), relation, tail: Some(tail) } = questions[number] else {
                unreachable!("chosen above")
            };
            let triples: Vec<Triple> = match relation {
                Some(relation) => vec![Triple { head, relation, tail }],
                None => (0..relations).map(|r| Triple { head, relation: RelationId(2 * r), tail }).collect(),
            };
            let scores = self.scorer.scores_of_triples(&triples)?;
            let mut all: Vec<Answer> = triples
                .iter()
                .zip(scores)
                .map(|(&triple, score)| {
                    self.filled(NameKind::Relation, triple.relation.0 / 2, score, status(triple))
                })
                .filter(|filled| {
                    relation.is_some() || self.show.wants(|| filled.status == AnswerStatus::Known)
                })
                .collect();
            all.sort_by(|a, b| b.score.total_cmp(&a.score));
            all.truncate(self.k);
            filled[number] = all;
        }
        Ok(filled)
    }

    fn filled(&self, kind: NameKind, id: u32, score: f32, status: AnswerStatus) -> Answer {
        Answer::new(kind, id, score, status, self.graph)
    }

    fn names(&self, question: &Question) -> [Option<String>; 3] {
        let entity = |id: Option<EntityId>| id.map(|id| self.graph.name(NameKind::Entity, id.0));
        let relation = |id: RelationId| {
            let inverse = if id.is_inverse() { "^" } else { "" };
            format!("{inverse}{}", self.graph.name(NameKind::Relation, id.0 / 2))
        };
        [entity(question.head), question.relation.map(relation), entity(question.tail)]
    }

    fn title(&self, question: &Question) -> String {
        self.names(question).map(|name| name.unwrap_or("?".into())).join("  ")
    }

    fn document(&self, question: &Question, filled: &[Answer]) -> Value {
        let [head, relation, tail] = self.names(question);
        let mut document = json!({ "head": head, "relation": relation, "tail": tail });
        let fields = document.as_object_mut().expect("an object stands above");
        match what(question) {
            None => {
                let one = &filled[0];
                fields.insert("score".into(), one.score.into());
                fields.insert("status".into(), one.status.name().into());
            }
            Some(what) => {
                let answer = |f: &Answer| json!({ what: f.entity, "label": f.label, "score": f.score, "status": f.status });
                fields.insert("answers".into(), filled.iter().map(answer).collect());
            }
        }
        document
    }
}

/// What is asked for; nothing but a score where the triple has no gap.
fn what(question: &Question) -> Option<&'static str> {
    match question {
        Question { head: None, .. } | Question { tail: None, .. } => Some("entity"),
        Question { relation: None, .. } => Some("relation"),
        _ => None,
    }
}

fn render(question: &Question, filled: &[Answer]) -> String {
    let Some(what) = what(question) else {
        return format!("{:.4}  {}\n", filled[0].score, filled[0].status.name());
    };
    answers::render(what, filled, false)
}
