//! `smore query`: one query, or one a line.

use super::lines::Lines;
use super::options::{ChangesArgs, DeviceArgs, InferenceArgs, on};
use super::{Global, note, print, print_json};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::eval::answers::{self, Answer};
use crate::eval::ask::{Answered, Answerer, Asker, Probabilities, Show, Wanted};
use crate::eval::{ModelScorer, Reasoned};
use crate::inference::{Engine, Evidence, Inference};
use crate::model::{self, Model};
use crate::progress::Watch;
use crate::query::ground::{ground, with_names};
use crate::query::parse_query;
use crate::query::trained::Trained;
use crate::query::{Query, Structure};
use crate::table::counted;
use crate::train::RunFolder;
use crate::train::evaluate::{Loaded, load_model};
use crate::train::inference::Prepared;
use crate::train::plan::{is_untrained, why_untrained};
use anyhow::Context;
use serde_json::{Map, Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Arguments of `smore query`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples, with names or labels as the dataset has them; ^P is the inverse of P, 'n' negates a branch:
  ('Q1',('P1',))                          what P1 leads to from Q1
  ('Q1',('P1','P2'))                      two steps
  (('Q1',('P1',)),('Q2',('^P2',)))        both at once
  (('Q1',('P1',)),('Q2',('P2',)),('u',))  either of them
  (('Q1',('P1',)),('Q2',('P2','n')))      the first and not the second (a model with negation)

A file, or - for standard input, has one query a line. They are answered in batches; a line that cannot be answered is an \
error with its number, and the others are answered. --json then prints one JSON document a line.")]
pub struct Args {
    /// Folder of a run
    run: PathBuf,
    /// The query, as nested tuples; or a file with one query a line, or - for standard input
    #[arg(value_name = "QUERY|FILE|-")]
    query: String,
    /// Number of answers [default: 10; with --min-probability or --coverage all of them]
    #[arg(short = 'k', long = "top", value_name = "K", allow_negative_numbers = true, value_parser = parse_k)]
    k: Option<usize>,
    /// Of the predicted answers only those that are at least so probable (after `smore calibrate`)
    #[arg(long, value_name = "P", value_parser = super::calibrate::parse_coverage)]
    min_probability: Option<f64>,
    /// Of the predicted answers a set that holds an answer with this probability (conformal, after `smore calibrate`)
    #[arg(long, value_name = "SHARE", value_parser = super::calibrate::parse_coverage)]
    coverage: Option<f64>,
    /// Which answers: those that the training graph implies (known), those that it does not (predicted), or both
    #[arg(long, value_enum, value_name = "WHICH", default_value_t = Show::Both)]
    show: Show,
    /// Show what makes each answer true: the best binding of the inner variables and the links between them, each observed or
    /// predicted. Of beam and exact inference that is how the answer was found, of embeddings supporting evidence
    #[arg(long)]
    why: bool,
    /// A table, trees of what makes the answers true (as --why), JSON (as --json), or columns separated by tabs
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    format: Format,
    /// The same as --format tsv
    #[arg(long, conflicts_with_all = ["format", "json"])]
    tsv: bool,
    /// Language of labels
    #[arg(long, value_name = "LANGUAGE")]
    lang: Option<String>,
    #[command(flatten)]
    inference: InferenceArgs,
    #[command(flatten)]
    changes: ChangesArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

/// How answers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    Tree,
    Json,
    Tsv,
}

pub(super) fn parse_k(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&k| k > 0).ok_or_else(|| "expected a number from 1 on".into())
}

/// Where queries come from.
enum Source {
    /// The command line.
    One(String),
    /// Lines.
    Lines(Lines),
}

impl Source {
    /// A query starts with a parenthesis; anything else that is there is a file.
    fn of(text: String) -> Result<Self> {
        let path = Path::new(&text);
        Ok(match text.as_str() {
            _ if !text.contains('(') && path.extension().is_some() && !path.exists() => {
                let message =
                    "is no file, and no query, which begins with a parenthesis: ('ENTITY',('RELATION',))";
                return Err(Error::file(path, message));
            }
            _ if text == "-" || (!text.trim_start().starts_with('(') && path.exists()) => {
                Source::Lines(Lines::open(&text)?)
            }
            _ => Source::One(text),
        })
    }
}

/// Runs `smore query`.
pub fn run(args: Args, global: &Global) -> anyhow::Result<()> {
    let folder = global.opened(RunFolder::open_with(&args.run, args.changes.changes())?)?;
    let config = args.inference.applied(folder.config()?)?;
    let mut graph = folder.graph()?;
    if let Some(language) = &args.lang {
        graph.set_language(language)?;
    }
    let format = match args.format {
        _ if global.json => Format::Json,
        _ if args.tsv => Format::Tsv,
        format => format,
    };
    let Prepared { inference, calibration, .. } = args.inference.prepare(&config, &folder, &graph, global)?;
    // Of embeddings: by the scores of single links.
    let wants_why = args.why || format == Format::Tree;
    let reasons = match wants_why {
        true if inference.is_none() => {
            args.inference.prepare_engine(Engine::Auto, &config, &folder, &graph, global)?.inference
        }
        _ => None,
    };
    let source = Source::of(args.query.clone())?;
    // Before the model is loaded: a slip is reported at once.
    let one = match &source {
        Source::One(text) => Some(ground(&parse_query(text)?, &graph)?),
        Source::Lines(..) => None,
    };
    on!(args.device.open(config.training.math, global)?, backend => {
        let Loaded { model, weights, note: age, .. } = load_model(&backend, &graph, &config, &folder)?;
        if let Some(age) = age {
            note(format_args!("note: {age}"));
        }
        let scorer = ModelScorer::new(&backend, &*model, &weights);
        let reasoned = inference.as_ref().map(|inference| {
            Reasoned::new(inference.over(&graph, &scorer, Watch::nobody()), model.spec().name.into())
        });
        let answerer: &dyn Answerer = match &reasoned {
            Some(reasoned) => reasoned,
            None => &scorer,
        };
        let explains = if wants_why { reasons.as_ref().or(inference.as_ref()) } else { None };
        let why = explains.map(|inference| inference.over(&graph, &scorer, Watch::nobody()));
        let evidence = config.inference.evidence.view(&graph);
        let trained = Trained::new(&graph);
        let probabilities = calibration.as_ref().map(|entry| Probabilities {
            structures: &entry.structures,
            of_truth: inference.is_some(),
        });
        let Args { show, min_probability, coverage, .. } = args;
        let by_probability = min_probability.is_some() || coverage.is_some();
        let k = args.k.unwrap_or(if by_probability { usize::MAX } else { 10 });
        let wanted = Wanted { k, show, min_probability, coverage };
        let asker =
            Asker { answerer, why: why.as_ref(), evidence, graph: &graph, trained, probabilities, wanted };
        let session = Session { model: &*model, config: &config, asker, inference: inference.as_ref(), format };
        match (source, one) {
            (Source::Lines(lines), _) => session.answer_lines(lines),
            (Source::One(_), query) => session.answer_one(query.expect("resolved above")),
        }
    })
}

/// A model that is asked, and how its answers are printed.
struct Session<'a> {
    model: &'a dyn Model,
    config: &'a Config,
    asker: Asker<'a>,
    /// How the model's links are reasoned over, where that answers.
    inference: Option<&'a Inference>,
    format: Format,
}

/// The columns of `--format tsv`; with lines of queries the number of the line comes first.
const COLUMNS: &str = "rank\tentity\tlabel\tscore\tstatus\tprobability\n";

impl Session<'_> {
    fn check(&self, structure: &Structure) -> Result<()> {
        match self.inference {
            None => model::check_expressible(self.model, &structure.to_string(), structure),
            Some(_) => Ok(()),
        }
    }

    /// What answers follow from that are known.
    fn evidence(&self) -> &'static str {
        match self.config.inference.evidence {
            Evidence::Train => "the training graph",
            Evidence::TrainAndValid => "the graph of train and valid",
        }
    }

    fn answer_one(&self, query: Query) -> anyhow::Result<()> {
        let structure = query.structure();
        self.check(&structure)?;
        let answered = self.asker.answer(std::slice::from_ref(&query))?.remove(0);
        self.warnings(&structure, &answered).iter().for_each(|text| note(format_args!("warning: {text}")));
        match self.format {
            Format::Json => return print_json(&self.document(&query, &answered)),
            Format::Tsv => print(COLUMNS.to_string() + &tsv(&answered.answers, ""))?,
            Format::Table => print(answers::render("entity", &answered.answers, self.asker.why.is_some()))?,
            Format::Tree => print(answers::render_trees(&answered.answers))?,
        }
        note(format_args!(
            "{structure} query, answered by {}; {} implies {}",
            self.inference.map_or("the model's embedding of it".into(), |by| by.options().describe()),
            self.evidence(),
            counted(answered.num_known, "answer", "answers")
        ));
        if self.asker.why.is_some() && self.inference.is_none() {
            note(
                "the links are supporting evidence by the model's scores of single links: its answers are not computed from them",
            );
        }
        Ok(())
    }

    fn answer_lines(&self, mut lines: Lines) -> anyhow::Result<()> {
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        let written = |result: std::io::Result<()>| result.context("cannot write to standard output");
        if self.format == Format::Tsv {
            written(write!(out, "line\t{COLUMNS}"))?;
        }
        while let Some(batch) = lines.next(|line| self.parse(line))? {
            let (numbers, queries): (Vec<u64>, Vec<Query>) = batch.into_iter().unzip();
            let answered = self.asker.answer(&queries)?;
            for ((number, query), answered) in numbers.iter().zip(&queries).zip(&answered) {
                written(self.write_line(&mut out, *number, query, answered))?;
            }
            written(out.flush())?;
        }
        lines.finish()
    }

    /// The query of a line.
    fn parse(&self, line: &str) -> Result<Query> {
        let query = ground(&parse_query(line.trim())?, self.asker.graph)?;
        self.check(&query.structure())?;
        Ok(query)
    }

    fn write_line(
        &self,
        out: &mut impl Write,
        number: u64,
        query: &Query,
        answered: &Answered,
    ) -> std::io::Result<()> {
        if self.format == Format::Json {
            let mut document = Map::from_iter([("line".to_string(), number.into())]);
            document.extend(self.document(query, answered));
            return writeln!(out, "{}", Value::Object(document));
        }
        for text in self.warnings(&query.structure(), answered) {
            note(format_args!("warning: line {number}: {text}"));
        }
        match self.format {
            Format::Tsv => write!(out, "{}", tsv(&answered.answers, &format!("{number}\t"))),
            Format::Tree => writeln!(
                out,
                "{}\n{}",
                with_names(query, self.asker.graph),
                answers::render_trees(&answered.answers)
            ),
            _ => writeln!(
                out,
                "{}\n{}",
                with_names(query, self.asker.graph),
                answers::render("entity", &answered.answers, self.asker.why.is_some())
            ),
        }
    }

    /// What makes the scores of a query worth less than they look.
    fn warnings(&self, structure: &Structure, answered: &Answered) -> Vec<String> {
        let mut warnings: Vec<String> = answered
            .untrained
            .iter()
            .map(|what| {
                format!("no training edge has the {what}: its row was never trained, and scores say nothing")
            })
            .collect();
        if self.inference.is_none() && is_untrained(self.model, self.config, structure) {
            warnings.push(format!(
                "the networks that combine sets were never trained ({}): the scores of a {structure} query are those of \
                 random networks",
                why_untrained(self.config)
            ));
        }
        warnings
    }

    fn document(&self, query: &Query, answered: &Answered) -> Map<String, Value> {
        let structure = query.structure();
        let document = json!({
            "query": with_names(query, self.asker.graph).to_string(),
            "structure": structure.to_string(),
            "inference": self.inference.map_or(json!({ "engine": Engine::Embedding }), |by| json!(by.options())),
            "known_answers": answered.num_known,
            "untrained": answered.untrained,
            "untrained_networks": self.inference.is_none() && is_untrained(self.model, self.config, &structure),
            "answers": answered.answers,
        });
        let Value::Object(mut document) = document else { unreachable!("an object stands above") };
        if self.asker.why.is_some() {
            let is = if self.inference.is_some() { "computation" } else { "supporting evidence" };
            document.insert("why_is".into(), is.into());
        }
        document
    }
}

/// Answers as lines of columns.
fn tsv(answers: &[Answer], before: &str) -> String {
    let cell = |text: &str| text.replace(['\t', '\n', '\r'], " ");
    let line = |(i, answer): (usize, &Answer)| {
        let Answer { entity, label, score, status, probability, .. } = answer;
        let probability = probability.map(|p| p.to_string()).unwrap_or_default();
        let status = status.name();
        let label = cell(label.as_deref().unwrap_or_default());
        format!("{before}{}\t{}\t{label}\t{score}\t{status}\t{probability}\n", i + 1, cell(entity))
    };
    answers.iter().enumerate().map(line).collect()
}
