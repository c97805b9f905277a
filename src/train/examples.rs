//! `examples.json` of a run folder: how a few validation queries of each structure are answered, and why.

use super::RunFolder;
use super::evaluate::query_set;
use super::observer::Observer;
use super::plan::evaluated;
use crate::backend::Backend;
use crate::config::{Config, Objective};
use crate::error::{Error, Result};
use crate::eval::answers::Answer;
use crate::eval::ask::{Answerer, Asker, Show, Wanted};
use crate::eval::{ModelScorer, QueryOptions, Reasoned};
use crate::graph::{KnowledgeGraph, Split};
use crate::inference::{Engine, Inference};
use crate::progress::Watch;
use crate::query::ground::with_names;
use crate::query::trained::Trained;
use crate::query::{Query, structure};
use crate::storage::atomic;
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::Path;

/// Its name in a run folder.
pub const NAME: &str = "examples.json";

/// Queries of a structure that are shown.
const QUERIES: usize = 2;

/// Answers of a query that are shown.
const ANSWERS: usize = 5;

/// Entities up to which examples are worked out at the end of training: of larger graphs it takes longer than one would wait.
pub const MAX_ENTITIES: usize = 20_000;

/// How a few queries are answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Examples {
    /// What answered.
    pub answered_by: String,
    /// Whether what makes an answer true is how it was found; else it is supporting evidence.
    pub computed: bool,
    /// The queries, by structure.
    pub queries: Vec<Example>,
}

/// A query with its best answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// Its structure.
    pub structure: String,
    /// Its text.
    pub query: String,
    /// How many hard answers it has.
    pub num_hard: usize,
    /// The best answers.
    pub answers: Vec<ExampleAnswer>,
}

/// One of the best answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExampleAnswer {
    /// The answer.
    #[serde(flatten)]
    pub answer: Answer,
    /// Whether it is one of the query's hard answers: it needs a validation edge.
    pub hard: bool,
}

/// Answers a few validation queries of each structure. By inference where the configuration has it or the model was trained on single links alone, else
/// by embeddings of queries; `inference` then explains the answers.
///
/// # Errors
///
/// Of the device; where the watcher stops it.
pub fn answer<B: Backend>(
    scorer: &ModelScorer<B>,
    graph: &KnowledgeGraph,
    config: &Config,
    inference: &Inference,
    cache: &Path,
    watch: &Watch,
    observer: &mut dyn Observer,
) -> Result<Examples> {
    let embeds =
        config.inference.engine == Engine::Embedding && config.training.objective == Objective::Queries;
    let structures = match embeds {
        true => evaluated(scorer.model(), config)?,
        false => structure::all_or_listed("all")?,
    };
    let evaluation = &config.evaluation;
    let (max_queries, max_answers) = (evaluation.valid_queries.max(QUERIES), evaluation.max_answers);
    let options = QueryOptions { structures, max_queries, max_answers, seed: evaluation.seed };
    let set = query_set(graph, Split::Valid, &options, cache, watch, observer)?;
    observer.stage("answering examples");
    let why = inference.over(graph, scorer, watch.clone());
    let reasoned = Reasoned::new(inference.over(graph, scorer, watch.clone()), String::new());
    let answerer: &dyn Answerer = if embeds { scorer } else { &reasoned };
    let asker = Asker {
        answerer,
        why: Some(&why),
        evidence: config.inference.evidence.view(graph),
        graph,
        trained: Trained::new(graph),
        probabilities: None,
        wanted: Wanted { k: ANSWERS, show: Show::Predicted, ..Wanted::default() },
    };
    let mut queries = Vec::new();
    for group in &set.groups {
        group.check(graph)?;
        let all = group.all();
        let some: Vec<Query> = (0..group.len().min(QUERIES)).map(|q| all.query(q)).collect();
        for (q, (query, answered)) in some.iter().zip(asker.answer(&some)?).enumerate() {
            let hard: Vec<String> =
                all.targets_of(q).iter().map(|entity| graph.entities().name(entity.0)).collect();
            let answers = answered.answers.into_iter().map(|answer| {
                let hard = hard.contains(&answer.entity);
                ExampleAnswer { answer, hard }
            });
            queries.push(Example {
                structure: group.structure.to_string(),
                query: with_names(query, graph).to_string(),
                num_hard: hard.len(),
                answers: answers.collect(),
            });
        }
    }
    let answered_by = if embeds { "embeddings of queries".into() } else { inference.options().describe() };
    Ok(Examples { answered_by, computed: !embeds, queries })
}

/// Writes the file.
///
/// # Errors
///
/// Where it cannot be written.
pub fn write(folder: &RunFolder, examples: &Examples) -> Result<()> {
    let text = serde_json::to_vec_pretty(examples).expect("plain data");
    atomic::write_bytes(&folder.file(NAME), &text)
}

/// The examples of a folder; `None` where it has none.
///
/// # Errors
///
/// Where the file is not what smore wrote.
pub fn read(folder: &RunFolder) -> Result<Option<Examples>> {
    let path = folder.file(NAME);
    match std::fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(&path)(error)),
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|e| {
            Error::file(
                &path,
                format!("is not what smore wrote ({e}): remove it, smore calibrate writes it again"),
            )
        }),
    }
}
