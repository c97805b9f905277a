//! Every key of the configuration: what it takes, and what it means.
//!
//! What a key takes stands in [`all`], where values are checked before they become types, so that messages speak of keys
//! and values. What it means is the comment of its field, read from the source of this module.

use super::{Config, ModelConfig};
use crate::inference::{Engine, Evidence, TNorm};
use crate::model::{NAMES, REGISTRY};
use std::fmt;
use std::sync::LazyLock;
use toml::{Table, Value};

/// The values that a key takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Allowed {
    /// Text, described.
    Text(&'static str),
    /// `true` or `false`.
    Flag,
    /// One of these names, in any case.
    Names(&'static [&'static str]),
    /// A whole number between these, both included.
    Whole(u64, u64),
    /// A number in a range.
    Number(Range),
}

/// A range of numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Range {
    /// Every finite number.
    All,
    /// Numbers above this.
    Above(f64),
    /// Numbers of at least this.
    From(f64),
    /// Numbers between these, both included.
    Between(f64, f64),
    /// Numbers from 0 to below 1.
    Share,
}

/// Numbers that fit every type they go into.
const MOST: u64 = i64::MAX as u64;

/// Numbers of rows, columns and units far beyond any use, whose products do not overflow.
pub(crate) const WIDTH: u64 = 1 << 20;

/// Structures as they are written in a configuration.
const STRUCTURES: &str = "structures, by name or as tuples, with weights: 1p:2,2p:1";

/// Every key, in the order of the document: those that all models have, then in the section `model` those that only some
/// have.
pub fn all() -> &'static [(&'static str, Allowed)] {
    static ALL: LazyLock<Vec<(&'static str, Allowed)>> = LazyLock::new(|| {
        let mut keys = KEYS.to_vec();
        let mut place =
            keys.iter().rposition(|(key, _)| key.starts_with("model.")).map_or(0, |last| last + 1);
        for (key, allowed) in REGISTRY.iter().flat_map(|entry| entry.own.keys) {
            let path: &'static str = format!("model.{key}").leak();
            if !keys.iter().any(|(known, _)| *known == path) {
                keys.insert(place, (path, *allowed));
                place += 1;
            }
        }
        keys
    });
    &ALL
}

/// Every key that all models have, in the order of the document.
const KEYS: [(&str, Allowed); 65] = {
    use Allowed::{Flag, Names, Number, Text, Whole};
    use Range::{Above, All, Between, From, Share};
    [
        ("data.dataset", Text("a dataset's name, a folder, or a graph file")),
        ("model.name", Names(&NAMES)),
        ("model.dim", Whole(1, WIDTH)),
        ("model.gamma", Number(Above(-2.0))),
        ("model.norm", Names(&["l1", "l2"])),
        ("model.hidden", Whole(1, WIDTH)),
        ("model.hidden_layers", Whole(0, 64)),
        ("model.union", Names(&["dnf", "demorgan"])),
        ("model.regulariser", Names(&["none", "n3", "l2", "l3"])),
        ("model.regularise_entities", Number(From(0.0))),
        ("model.regularise_relations", Number(From(0.0))),
        ("model.regularise_by", Names(&["frequency", "table"])),
        ("model.start", Names(&["uniform", "xavier-normal", "xavier-uniform"])),
        ("model.dropout_entity", Number(Share)),
        ("model.dropout_relation", Number(Share)),
        ("sampling.structures", Text(STRUCTURES)),
        ("sampling.negatives", Whole(1, 1 << 24)),
        ("sampling.pool", Names(&["shared", "own"])),
        ("sampling.direction", Names(&["both", "forward", "inverse"])),
        ("sampling.relation_bandwidth", Whole(0, MOST)),
        ("sampling.answer_cap", Whole(0, MOST)),
        ("sampling.verification", Names(&["bidirectional", "exhaustive", "none"])),
        ("sampling.answer_exponent", Number(Between(-8.0, 8.0))),
        ("sampling.negative_exponent", Number(Between(-8.0, 8.0))),
        ("sampling.queue", Whole(1, 65_536)),
        ("sampling.workers", Whole(0, 1024)),
        ("training.seed", Whole(0, MOST)),
        ("training.objective", Names(&["queries", "negatives", "1vsall", "kvsall"])),
        ("training.loss", Names(&["cross-entropy", "logistic", "margin"])),
        ("training.margin", Number(All)),
        ("training.label_smoothing", Number(Between(0.0, 1.0))),
        ("training.relation_prediction", Number(From(0.0))),
        ("training.batch_size", Whole(1, 1 << 24)),
        ("training.steps", Whole(1, MOST)),
        ("training.epochs", Number(Above(0.0))),
        ("training.optimizer", Names(&["adam", "adagrad", "rowwise-adagrad", "sgd"])),
        ("training.learning_rate", Number(Above(0.0))),
        ("training.network_rate", Number(Above(0.0))),
        ("training.schedule", Names(&["linear", "cosine", "step", "plateau", "constant"])),
        ("training.final_rate", Number(Between(0.0, 1.0))),
        ("training.plateau_patience", Whole(0, MOST)),
        ("training.plateau_factor", Number(Between(0.0, 1.0))),
        ("training.warm_up", Whole(0, MOST)),
        ("training.clip_norm", Number(From(0.0))),
        ("training.adversarial_temperature", Number(From(0.0))),
        ("training.query_weighting", Names(&["answers", "uniform"])),
        ("training.valid_every", Whole(0, MOST)),
        ("training.patience", Whole(0, MOST)),
        ("training.divergence_factor", Number(From(0.0))),
        ("training.math", Names(&["fp32", "tf32"])),
        ("training.table", Names(&["memory", "file"])),
        ("evaluation.structures", Text("all, or structures by name or as tuples: 1p.2p.2i")),
        ("evaluation.queries", Whole(1, MOST)),
        ("evaluation.valid_queries", Whole(0, MOST)),
        ("evaluation.max_answers", Whole(0, MOST)),
        ("evaluation.link_prediction", Flag),
        ("evaluation.seed", Whole(0, MOST)),
        ("inference.engine", Names(&Engine::NAMES)),
        ("inference.evidence", Names(&Evidence::NAMES)),
        ("inference.norm", Names(&TNorm::NAMES)),
        ("inference.negation_scale", Number(Above(0.0))),
        ("inference.row_threshold", Number(Between(1e-6, 0.5))),
        ("inference.temperature", Number(Above(0.0))),
        ("inference.beam", Whole(1, MOST)),
        ("inference.exact_entities", Whole(0, MOST)),
    ]
};

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Range::All => write!(f, "a number"),
            Range::Above(least) => write!(f, "a number above {least}"),
            Range::From(least) => write!(f, "a number of at least {least}"),
            Range::Between(least, most) => write!(f, "a number from {least} to {most}"),
            Range::Share => write!(f, "a number from 0 to below 1"),
        }
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Allowed::Text(what) => f.write_str(what),
            Allowed::Flag => f.write_str("true or false"),
            Allowed::Names(names) => match names.split_last() {
                Some((last, [])) => f.write_str(last),
                Some((last, first)) => write!(f, "{} or {last}", first.join(", ")),
                None => f.write_str("nothing"),
            },
            Allowed::Whole(least, MOST) => write!(f, "a whole number from {least} on"),
            Allowed::Whole(least, most) => {
                write!(f, "a whole number from {least} to {}", crate::table::count(*most))
            }
            Allowed::Number(range) => range.fmt(f),
        }
    }
}

impl Range {
    fn has(self, x: f64) -> bool {
        // Numbers of 32 bits, too.
        (x as f32).is_finite()
            && match self {
                Range::All => true,
                Range::Above(least) => x > least,
                Range::From(least) => x >= least,
                Range::Between(least, most) => (least..=most).contains(&x),
                Range::Share => (0.0..1.0).contains(&x),
            }
    }
}

/// A name without what people write differently: case, hyphens, underscores, blanks.
fn plain(name: &str) -> String {
    name.chars().filter(|c| !"-_ ".contains(*c)).flat_map(char::to_lowercase).collect()
}

impl Allowed {
    /// The value as the configuration has it; `None` where it is not allowed.
    fn take(self, value: &Value) -> Option<Value> {
        let number = match value {
            Value::Integer(n) => Some(*n as f64),
            Value::Float(x) => Some(*x),
            _ => None,
        };
        match (self, value) {
            (Allowed::Text(_), Value::String(_)) | (Allowed::Flag, Value::Boolean(_)) => Some(value.clone()),
            // A name that is a number.
            (Allowed::Text(_), Value::Integer(_)) => Some(Value::String(value.to_string())),
            (Allowed::Names(names), Value::String(given)) => {
                let name = names.iter().find(|name| plain(name) == plain(given))?;
                Some(Value::String(name.to_string()))
            }
            (Allowed::Whole(least, most), _) => {
                let whole = match value {
                    Value::Integer(n) => u64::try_from(*n).ok()?,
                    // 1e6.
                    _ => number.filter(|x| x.fract() == 0.0 && (0.0..9e15).contains(x))? as u64,
                };
                (least..=most).contains(&whole).then_some(Value::Integer(whole as i64))
            }
            (Allowed::Number(range), _) => number.filter(|x| range.has(*x)).map(Value::Float),
            _ => None,
        }
    }
}

/// What a key takes; `None` where there is no such key.
pub fn allowed(path: &str) -> Option<Allowed> {
    all().iter().find(|(key, _)| *key == path).map(|(_, allowed)| *allowed)
}

/// Checks the values of a document with known keys and writes names as types have them. The error has key, value and what
/// is allowed.
pub(super) fn check_values(document: &mut Table) -> Result<(), String> {
    for (section, fields) in document.iter_mut() {
        for (field, value) in fields.as_table_mut().into_iter().flatten() {
            let path = format!("{section}.{field}");
            let Some(allowed) = allowed(&path) else { continue };
            let Some(taken) = allowed.take(value) else {
                let given = match &*value {
                    Value::Float(x) => format!("{x:?}").to_lowercase(),
                    value => value.to_string(),
                };
                let mut message = format!("{path} = {given}: expected {allowed}");
                if let (Allowed::Names(names), Value::String(given)) = (allowed, &*value) {
                    let near = |name: &&&str| strsim::jaro_winkler(&plain(name), &plain(given));
                    let best = names.iter().max_by(|a, b| near(a).total_cmp(&near(b)));
                    if let Some(name) = best.filter(|name| near(name) > 0.8) {
                        message += &format!(" (did you mean {name}?)");
                    }
                }
                return Err(message);
            };
            *value = taken;
        }
    }
    Ok(())
}

/// A key as the help shows it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Key {
    /// Its path: `section.field`.
    pub key: &'static str,
    /// What stands where it is not given; `None` where that depends on the model or the objective, or it is not set.
    pub default: Option<String>,
    /// What it takes, in words.
    pub allowed: String,
    /// What it means.
    pub meaning: String,
}

/// Every key with its default and its meaning, in the order of the document.
pub fn help() -> Vec<Key> {
    let mut defaults: Table = Config::default().to_toml().parse().expect("written a moment ago");
    // What a model alone has, where it is the same for every dimension.
    if let Some(Value::Table(model)) = defaults.get_mut("model") {
        for own in REGISTRY.iter().map(|entry| entry.own.defaults) {
            let other = own(&ModelConfig { dim: 7, ..ModelConfig::default() });
            let same =
                own(&ModelConfig::default()).into_iter().filter(|(key, value)| other.get(key) == Some(value));
            model.extend(same);
        }
    }
    let key = |&(key, allowed): &(&'static str, Allowed)| {
        let (section, field) = key.split_once('.').expect("a path of two keys");
        let default = defaults.get(section).and_then(|fields| fields.get(field)).map(Value::to_string);
        let meaning = MEANINGS.iter().find(|(path, _)| path == key).map(|(_, text)| text.clone());
        Key { key, default, allowed: allowed.to_string(), meaning: meaning.unwrap_or_default() }
    };
    all().iter().map(key).collect()
}

/// The sections, with the source that declares them and the name of their type.
const SOURCES: [(&str, &str, &str); 6] = [
    ("data", include_str!("mod.rs"), "pub struct DataConfig {"),
    ("model", include_str!("model.rs"), "pub struct ModelConfig {"),
    ("sampling", include_str!("sampling.rs"), "pub struct SamplingConfig {"),
    ("training", include_str!("training.rs"), "pub struct TrainingConfig {"),
    ("evaluation", include_str!("mod.rs"), "pub struct EvaluationConfig {"),
    ("inference", include_str!("inference.rs"), "pub struct InferenceConfig {"),
];

/// The comments of the fields by path.
static MEANINGS: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
    let mut all = Vec::new();
    let of_models = REGISTRY.iter().map(|entry| ("model", entry.own.source.0, entry.own.source.1));
    for (section, source, declaration) in SOURCES.into_iter().chain(of_models) {
        let mut comment = String::new();
        let lines = source.lines().skip_while(move |line| *line != declaration).skip(1);
        for line in lines.take_while(|line| *line != "}").map(str::trim) {
            if let Some(text) = line.strip_prefix("///") {
                comment += text;
            } else if let Some((field, _)) = line.strip_prefix("pub ").and_then(|line| line.split_once(':')) {
                all.push((format!("{section}.{field}"), without_links(std::mem::take(&mut comment).trim())));
            }
        }
    }
    all
});

/// A comment without what only its HTML page needs.
fn without_links(comment: &str) -> String {
    let mut text = String::new();
    let mut rest = comment;
    // [`a`](b) becomes a.
    while let Some((before, link)) = rest.split_once("[`") {
        let Some((name, after)) = link.split_once("`]") else { break };
        text += &(before.to_string() + name);
        rest = match after.strip_prefix('(').and_then(|target| target.split_once(')')) {
            Some((_, after)) => after,
            None => after,
        };
    }
    (text + rest).replace('`', "")
}

/// Names of options that other programs have.
const ALIASES: [(&str, &str); 14] = [
    ("lr", "training.learning_rate"),
    ("rate", "training.learning_rate"),
    ("bs", "training.batch_size"),
    ("batch", "training.batch_size"),
    ("embedding-dim", "model.dim"),
    ("hidden-dim", "model.dim"),
    ("hidden-size", "model.hidden"),
    ("num-negatives", "sampling.negatives"),
    ("negative-sample-size", "sampling.negatives"),
    ("max-steps", "training.steps"),
    ("num-epochs", "training.epochs"),
    ("early-stopping", "training.patience"),
    ("weight-decay", "model.regularise_entities"),
    ("num-workers", "sampling.workers"),
];

/// The key that an option means, by its last part or by another program's name for it.
pub fn key_of(option: &str) -> Option<&'static str> {
    let option = option.trim_start_matches('-').replace(['_', '.'], "-").to_lowercase();
    let last = |key: &'static str| key.rsplit('.').next().unwrap_or_default().replace('_', "-");
    let by_name = all()
        .iter()
        .map(|(key, _)| *key)
        .find(|&key| last(key) == option || key.replace(['_', '.'], "-") == option);
    let by_alias = || ALIASES.iter().find(|(alias, _)| *alias == option).map(|(_, key)| *key);
    let near = || {
        let keys = all().iter().map(|(key, _)| (strsim::jaro_winkler(&last(key), &option), *key));
        keys.filter(|(near, _)| *near > 0.93).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, key)| key)
    };
    by_name.or_else(by_alias).or_else(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_configuration_has_a_line_in_the_table_and_a_meaning_of_its_own() {
        let known = Config::with_every_key();
        let paths = known.iter().flat_map(|(section, fields)| {
            fields.as_table().unwrap().keys().map(move |field| format!("{section}.{field}"))
        });
        let mut paths: Vec<String> = paths.collect();
        let mut keys: Vec<String> = all().iter().map(|(key, _)| key.to_string()).collect();
        paths.sort();
        keys.sort();
        assert_eq!(keys, paths);
        for Key { key, meaning, .. } in help() {
            assert!(
                meaning.len() > 5 && !meaning.contains('[') && !meaning.contains('`'),
                "{key}: {meaning}"
            );
        }
    }

    #[test]
    fn every_name_in_the_table_is_one_that_the_types_know_in_any_case() {
        for &(key, allowed) in all() {
            let Allowed::Names(names) = allowed else { continue };
            let (section, field) = key.split_once('.').unwrap();
            for name in names {
                for name in [name.to_string(), name.to_uppercase(), name.replace('-', "_")] {
                    let mut document = Table::new();
                    document.insert(
                        section.into(),
                        Value::Table(Table::from_iter([(field.into(), name.into())])),
                    );
                    check_values(&mut document).unwrap();
                    Value::Table(document).try_into::<Config>().unwrap_or_else(|e| panic!("{key}: {e}"));
                }
            }
        }
    }

    #[test]
    fn a_default_is_allowed() {
        let mut document = Config::with_every_key();
        check_values(&mut document).unwrap();
    }

    #[test]
    fn the_names_of_other_programs_mean_keys_that_there_are() {
        assert!(ALIASES.iter().all(|(_, key)| allowed(key).is_some()));
    }
}
