//! `smore query`.

use super::options::{ChangesArgs, DeviceArgs, on};
use super::{Global, note, print, print_json};
use crate::eval::{ModelScorer, answers};
use crate::graph::Split;
use crate::query::execute;
use crate::query::parse_query;
use crate::query::resolve::{resolve, with_names};
use crate::table::count;
use crate::train::RunFolder;
use crate::train::evaluate::{Loaded, load_model};
use serde_json::json;
use std::path::PathBuf;

/// Arguments of `smore query`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples, with names or labels as the dataset has them; ^P is the inverse of P, 'n' negates a branch:
  ('Q1',('P1',))                          what P1 leads to from Q1
  ('Q1',('P1','P2'))                      two steps
  (('Q1',('P1',)),('Q2',('^P2',)))        both at once
  (('Q1',('P1',)),('Q2',('P2',)),('u',))  either of them
  (('Q1',('P1',)),('Q2',('P2','n')))      the first and not the second (models with negation: betae)")]
pub struct Args {
    /// Folder of a run
    run: PathBuf,
    /// The query, as nested tuples
    query: String,
    /// Number of answers
    #[arg(short = 'k', long = "top", value_name = "K", default_value_t = 10, allow_negative_numbers = true, value_parser = parse_k)]
    k: usize,
    /// Language of labels
    #[arg(long, value_name = "LANGUAGE")]
    lang: Option<String>,
    #[command(flatten)]
    changes: ChangesArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

fn parse_k(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&k| k > 0).ok_or_else(|| "expected a number from 1 on".into())
}

/// Runs `smore query`.
pub fn run(args: Args, global: &Global) -> anyhow::Result<()> {
    let folder = Global::opened(RunFolder::open_with(&args.run, args.changes.changes())?);
    let config = folder.config()?;
    let mut graph = folder.known_graph(&global.cache()?.verified())?;
    if let Some(language) = &args.lang {
        graph.set_language(language)?;
    }
    let query = resolve(&parse_query(&args.query)?, &graph)?;
    let structure = query.structure();
    let best = on!(args.device.open(config.training.math, global)?, backend => {
        let Loaded { model, weights, note: age, .. } = load_model(&backend, &graph, &config, &folder)?;
        if let Some(age) = age {
            note(format_args!("note: {age}"));
        }
        crate::model::check_expressible(&*model, &structure.to_string(), &structure)?;
        ModelScorer::new(&backend, &*model, &weights).best(&query, args.k)?
    });
    let known = execute::answers(&graph.view(Split::Train), &query);
    let answers = answers::with_names(best, &known, &graph);
    let canonical = with_names(&query, &graph).to_string();
    if global.json {
        return print_json(&json!({
            "query": canonical,
            "structure": structure.to_string(),
            "known_answers": known.len(),
            "answers": answers,
        }));
    }
    print(answers::render(&answers))?;
    let answers = if known.len() == 1 { "answer" } else { "answers" };
    note(format_args!(
        "{structure} query; the training graph implies {} {answers}",
        count(known.len() as u64)
    ));
    Ok(())
}
