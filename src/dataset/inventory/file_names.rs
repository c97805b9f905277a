//! How the files of a folder are called.

use super::{Format, Input, Role, arrays};
use crate::dataset::source::COMPRESSED;
use crate::error::{Error, Result};
use crate::graph::Split;
use std::path::Path;

const ENDINGS: [&str; 7] = ["txt", "tsv", "csv", "nt", "nq", "ttl", "trig"];

/// As [`ENDINGS`], of other files of triples.
const OTHER_ENDINGS: [&str; 3] = ["npy", "npz", "del"];

/// What a file of triples called `stem` can be called: with an ending of its format, then of its compression.
pub(super) fn names_of(stem: &str) -> Vec<String> {
    ENDINGS.iter().flat_map(|ending| compressed(&format!("{stem}.{ending}"))).collect()
}

/// A name with each ending of a compression.
fn compressed(name: &str) -> Vec<String> {
    COMPRESSED.iter().map(|ending| format!("{name}{ending}")).collect()
}

/// How the files of splits are called, by the name of the split.
const SPLITS: [fn(&str) -> Vec<String>; 4] = [
    |split| {
        let prefixes = ["", "wikidata5m_transductive_", "wikidata5m_inductive_"];
        prefixes.iter().flat_map(|prefix| names_of(&format!("{prefix}{split}"))).collect()
    },
    |split| names_of(&format!("{split}_bidir")),
    // OpenKE and LibKGE.
    |split| compressed(&format!("{split}2id.txt")),
    |split| compressed(&format!("{split}.del")),
];

/// What people call a split.
fn calls(split: Split) -> &'static [&'static str] {
    match split {
        Split::Train => &["train"],
        Split::Valid => &["valid", "validation", "val", "dev"],
        Split::Test => &["test"],
    }
}

/// The first way to call the files of splits of which `folder` has one.
pub(super) fn splits_of(folder: &Path) -> Option<impl Fn(Split) -> Vec<String>> {
    let names = |call: fn(&str) -> Vec<String>| {
        move |split| calls(split).iter().flat_map(|name| call(name)).collect::<Vec<String>>()
    };
    let is_here = |call: &fn(&str) -> Vec<String>| {
        Split::ALL.into_iter().flat_map(names(*call)).any(|name| folder.join(name).is_file())
    };
    SPLITS.into_iter().find(is_here).map(names)
}

/// The one file with one of `names`; two are an error.
pub(super) fn one_of(folder: &Path, names: impl IntoIterator<Item = String>) -> Result<Option<Input>> {
    let mut found = names.into_iter().filter(|name| folder.join(name).is_file());
    let Some(name) = found.next() else { return Ok(None) };
    if let Some(other) = found.next() {
        return Err(Error::file(folder, format!("has both {name} and {other}; keep one of them")));
    }
    let path = folder.join(&name);
    Ok(Some(Input::new(Role::Triples(Split::Train), name, path)))
}

/// The splits whose triples `folder` lacks.
pub fn missing_splits(folder: &Path) -> Vec<Split> {
    let Some(names) = splits_of(folder) else { return Split::ALL.to_vec() };
    let is_there = |split: Split| names(split).iter().any(|name| folder.join(name).is_file());
    Split::ALL.into_iter().filter(|&split| !is_there(split)).collect()
}

/// The name of a file without the endings of its format and compression.
pub fn file_stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let plain = uncompressed(&name);
    match plain.rsplit_once('.') {
        Some((stem, ending)) if ENDINGS.contains(&ending) || OTHER_ENDINGS.contains(&ending) => {
            stem.to_owned()
        }
        _ => plain.to_owned(),
    }
}

/// Whether `folder` holds triples of at least one split, or RDF.
pub fn has_triples(folder: &Path) -> bool {
    missing_splits(folder).len() < Split::ALL.len()
        || statements(folder).is_ok_and(|all| !all.is_empty())
        || !arrays::triples(folder).is_empty()
}

/// A file's name without the ending of its compression.
pub(super) fn uncompressed(name: &str) -> &str {
    COMPRESSED.iter().rev().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name)
}

/// All RDF files of `folder`, as train, by name.
pub(super) fn statements(folder: &Path) -> Result<Vec<Input>> {
    let mut inputs = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let path = entry.map_err(Error::io(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if Format::of_name(&name).is_some_and(Format::is_rdf) && path.is_file() {
            inputs.push(Input::new(Role::Triples(Split::Train), name, path));
        }
    }
    inputs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(inputs)
}
