//! How a document, assignments and the defaults of a model come together.

use super::{Config, DEFAULT_EPOCHS, DEFAULT_SCALE, keys};
use crate::error::{Error, Result};
use crate::model::REGISTRY;
use crate::storage::regular;
use std::path::Path;
use toml::{Table, Value};

impl Config {
    /// Resolves a document and assignments `key.path=value` on top of the defaults.
    pub fn load(file: Option<&Path>, assignments: &[String]) -> Result<Self> {
        let mut table = Table::new();
        if let Some(path) = file {
            table = read(path)?;
            // Checked apart from the assignments, so that the message names the file.
            parse(table.clone()).map_err(|message| Error::file(path, message))?;
        }
        apply(table, assignments)
    }

    /// Whether a document has `key`.
    pub fn file_sets(file: &Path, key: &str) -> Result<bool> {
        let table = read(file)?;
        let (section, field) = key.split_once('.').unwrap_or((key, ""));
        Ok(table.get(section).and_then(Value::as_table).is_some_and(|fields| fields.contains_key(field)))
    }

    /// This configuration with assignments `key.path=value` on top.
    pub fn with(&self, assignments: &[String]) -> Result<Self> {
        apply(self.to_toml().parse().expect("written a moment ago"), assignments)
    }

    /// A document with every key, to know them by.
    pub(super) fn with_every_key() -> Table {
        let mut config = Config::default();
        config.model.gamma = Some(config.model.gamma());
        config.model.regulariser = Some(config.regulariser());
        config.model.with_all_own();
        config.training.loss = Some(config.training.loss());
        config.training.query_weighting = Some(config.training.query_weighting());
        config.inference.negation_scale = Some(DEFAULT_SCALE);
        config.training.steps = Some(1);
        config.training.epochs = Some(DEFAULT_EPOCHS);
        config.to_toml().parse().expect("written a moment ago")
    }
}

/// The document in a file.
fn read(path: &Path) -> Result<Table> {
    let text = String::from_utf8(regular::read(path)?)
        .map_err(|_| Error::file(path, "is not a text in UTF-8: save it as such"))?;
    text.parse().map_err(|e: toml::de::Error| Error::file(path, e.to_string().trim_end()))
}

/// A document with assignments on top, checked.
fn apply(mut table: Table, assignments: &[String]) -> Result<Config> {
    const LENGTH: [&str; 2] = ["steps", "epochs"];
    let sets_length = |assignment: &String| {
        let key = assignment.split('=').next().and_then(|path| path.trim().strip_prefix("training."));
        key.is_some_and(|key| LENGTH.contains(&key))
    };
    // A length that is given replaces that of the document, whatever it is counted in.
    if let Some(Value::Table(training)) = table.get_mut("training")
        && assignments.iter().any(sets_length)
    {
        LENGTH.iter().for_each(|key| drop(training.remove(*key)));
    }
    for assignment in assignments {
        assign(&mut table, assignment)?;
    }
    // Names as the defaults have them.
    keys::check_values(&mut table).map_err(|message| Error::invalid(format!("configuration: {message}")))?;
    let by_model =
        REGISTRY.iter().flat_map(|entry| entry.defaults.iter().map(|default| (entry.name, *default)));
    for (model, (objective, key, value)) in by_model {
        let (section, field) = key.split_once('.').expect("a path of two keys");
        let get = |section, field| table.get(section).and_then(|fields| fields.get(field));
        let text = |section, field| get(section, field).and_then(Value::as_str);
        let counts = ["*", text("training", "objective").unwrap_or("queries")].contains(&objective);
        if counts && text("model", "name") == Some(model) && get(section, field).is_none() {
            assign(&mut table, &format!("{key}={value}"))?;
        }
    }
    let config = parse(table).map_err(|message| Error::invalid(format!("configuration: {message}")))?;
    config.check()?;
    Ok(config)
}

/// A document as a configuration, or what is wrong with it.
fn parse(mut table: Table) -> Result<Config, String> {
    let known = Config::with_every_key();
    for (section, value) in &table {
        let fields = known.get(section).and_then(Value::as_table);
        match (fields, value) {
            (Some(_), Value::Table(given)) if section == "model" && given.contains_key("n3") => {
                return Err(
                    "model.n3 has become model.regulariser = \"n3\" with the weights model.regularise_entities and \
                     model.regularise_relations"
                        .into(),
                );
            }
            (Some(fields), Value::Table(given)) => {
                if let Some(key) = given.keys().find(|key| !fields.contains_key(*key)) {
                    return Err(unknown(&format!("{section}.{key}"), &known));
                }
            }
            (Some(_), _) => {
                let name = if section == "model" { "model.name".into() } else { format!("{section}.KEY") };
                return Err(format!("{section} is a table, not a value: set {name}"));
            }
            (None, Value::Table(given)) if !given.is_empty() => {
                let key = given.keys().next().expect("it is not empty");
                return Err(unknown(&format!("{section}.{key}"), &known));
            }
            (None, _) => return Err(unknown(section, &known)),
        }
    }
    keys::check_values(&mut table)?;
    // The second line of the message is the key.
    Value::Table(table).try_into().map_err(|e| e.to_string().trim_end().replace("\nin ", " in "))
}

/// That there is no such key, and which one may be meant.
fn unknown(key: &str, known: &Table) -> String {
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_string();
    let paths = known.iter().flat_map(|(section, fields)| {
        fields.as_table().into_iter().flat_map(Table::keys).map(move |field| format!("{section}.{field}"))
    });
    // The last part decides; among alike ones, the whole path.
    let scored = paths.map(|path| {
        let near = strsim::jaro_winkler(&last(key), &last(&path));
        (near, near + strsim::jaro_winkler(key, &path), path)
    });
    if let Some(path) = keys::key_of(&last(key)) {
        return format!("unknown key {key} (did you mean {path}?)");
    }
    match scored.filter(|(near, ..)| *near >= 0.8).max_by(|a, b| a.1.total_cmp(&b.1)) {
        Some((.., path)) => format!("unknown key {key} (did you mean {path}?)"),
        None => format!("unknown key {key}: smore train --help-config lists them all"),
    }
}

/// Sets `key.path=value`; the value is TOML, or a string where it is none.
fn assign(table: &mut Table, assignment: &str) -> Result<()> {
    let (path, text) = assignment
        .split_once('=')
        .ok_or_else(|| Error::invalid(format!("'{assignment}': expected key.path=value")))?;
    let value = format!("value = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut t| t.remove("value"))
        // `.1` is a number to everyone but TOML.
        .or_else(|| text.trim().parse().ok().map(Value::Float))
        .unwrap_or_else(|| Value::String(text.to_string()));
    let keys: Vec<&str> = path.trim().split('.').collect();
    let (last, parents) = keys.split_last().expect("split gives at least one part");
    let mut at = table;
    for key in parents {
        at = at
            .entry(*key)
            .or_insert_with(|| Value::Table(Table::new()))
            .as_table_mut()
            .ok_or_else(|| Error::invalid(format!("'{assignment}': {key} is not a table")))?;
    }
    at.insert(last.to_string(), value);
    Ok(())
}
