//! Which files of a dataset's folder are what.
//!
//! | file | is |
//! | --- | --- |
//! | `train`, `valid`, `test` with `.txt`, `.tsv`, `.csv` or `.nt` | triples; all three are needed |
//! | `entity2id.txt`, `entities.dict`, `id2ent.pkl`, and as many for relations | ids ([`ids`](super::format::ids)) |
//! | any `.nt`, where there is none of these | triples of train |
//! | the same after `wikidata5m_transductive_` or `wikidata5m_inductive_` | the same |
//! | `wikidata5m_entity.txt`, `wikidata5m_relation.txt`, here or in `wikidata5m_alias` | labels: the first alias |
//! | `valid_negatives`, `test_negatives`, same endings | hard negatives |
//! | `../../{entities,relations}/LANG/*.json`, where the folder lies in `triples` | CoDEx's labels |
//! | `entity2text.txt`, `relation2text.txt`, here or in `text` | English labels |
//! | the manifest's `readable_copy` | the triples again, with readable names |
//!
//! Any of them may be compressed ([`source`](super::source)); `.gz` or `.zst` then follows the ending of
//! triples.

use super::format::ids::{MapFormat, are_ids};
use super::format::lines::lines;
use super::format::triples::{Column, TripleFormat};
use super::registry::Manifest;
use super::source::{Blocks, COMPRESSED, Source};
use crate::error::{Error, Result};
use crate::graph::{Split, Subject};
use crate::storage::checksum;
use std::path::{Path, PathBuf};

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Facts of a split.
    Triples(Split),
    /// Hard negatives of a split.
    HardNegatives(Split),
    /// `name<TAB>text`.
    Texts(Subject),
    /// `name<TAB>alias<TAB>alias...`, of which the first is the label.
    Aliases(Subject),
    /// CoDEx's JSON of a language.
    CodexLabels(Subject, String),
    /// The facts of a split again, line by line, with readable names.
    ReadableCopy(Split),
    /// The labels among the statements of an N-Triples file whose facts were read before.
    RdfLabels,
    /// Ids with their names.
    Ids(Subject, MapFormat),
}

/// How the triples of a file are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Columns: [`TripleFormat`].
    Delimited,
    /// Columns with quotes.
    Csv,
    /// RDF statements.
    NTriples,
    /// Numbers, whose names are in files of their own.
    Ids,
}

impl Format {
    /// By the ending before that of the compression; `None` where there is no known one.
    fn of_name(name: &str) -> Option<Self> {
        match uncompressed(name).rsplit_once('.')?.1 {
            "txt" | "tsv" => Some(Format::Delimited),
            "csv" => Some(Format::Csv),
            "nt" => Some(Format::NTriples),
            _ => None,
        }
    }

    /// By the first line that is no comment: N-Triples begin with an IRI or a blank node and end with a dot.
    fn of_content(input: &Input) -> Result<Self> {
        let line = first_line(input)?;
        let rdf = (line.starts_with(b"<") || line.starts_with(b"_:")) && line.ends_with(b".");
        Ok(if rdf { Format::NTriples } else { Format::Delimited })
    }
}

/// The first line that is not blank and no comment; empty where there is none.
fn first_line(input: &Input) -> Result<Vec<u8>> {
    let mut blocks = Blocks::new(Source::open(input)?);
    while let Some(block) = blocks.next()? {
        let mut text = lines(block).map(|(_, line)| line.trim_ascii());
        if let Some(line) = text.find(|line| !line.is_empty() && !line.starts_with(b"#")) {
            return Ok(line.to_vec());
        }
    }
    Ok(Vec::new())
}

/// A file's name without the ending of its compression.
fn uncompressed(name: &str) -> &str {
    COMPRESSED.iter().rev().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name)
}

/// One input file.
#[derive(Clone, Debug)]
pub struct Input {
    /// What it holds.
    pub role: Role,
    /// Its name within the dataset.
    pub name: String,
    /// Where it is, for reading and for messages.
    pub path: PathBuf,
    /// Its bytes, where they are part of the binary.
    pub embedded: Option<&'static [u8]>,
    /// How its triples are written.
    pub format: Format,
}

/// The input files of a dataset, in the order in which they are read.
#[derive(Clone, Debug)]
pub struct Inventory {
    /// The folder, for messages.
    pub folder: PathBuf,
    /// Layout of the `.txt` and `.tsv` files of triples.
    pub format: TripleFormat,
    /// Ids, then triples, then hard negatives, then labels.
    pub inputs: Vec<Input>,
}

impl Input {
    /// A file on disk; its format is told by its name.
    pub fn new(role: Role, name: String, path: PathBuf) -> Self {
        let format = Format::of_name(&name).unwrap_or(Format::Delimited);
        Input { role, name, path, embedded: None, format }
    }

    /// Length and XXH3-128.
    pub fn checksum(&self) -> Result<(u64, String)> {
        match self.embedded {
            Some(bytes) => Ok((bytes.len() as u64, checksum::hex(bytes))),
            None => checksum::file(&self.path),
        }
    }
}

const ENDINGS: [&str; 4] = ["txt", "tsv", "csv", "nt"];

/// What a file of triples called `stem` can be called: with an ending of its format, then of its compression.
fn names_of(stem: &str) -> impl Iterator<Item = String> {
    ENDINGS.iter().flat_map(move |e| COMPRESSED.iter().map(move |c| format!("{stem}.{e}{c}")))
}

/// What a split's file of triples can be called, also in Wikidata5M.
fn names_of_split(split: Split) -> impl Iterator<Item = String> {
    let prefixes = ["", "wikidata5m_transductive_", "wikidata5m_inductive_"];
    prefixes
        .into_iter()
        .flat_map(move |prefix| names_of(&format!("{prefix}{}", split.name())).collect::<Vec<_>>())
}

/// The one file with one of `names`; two are an error.
fn one_of(folder: &Path, names: impl Iterator<Item = String>) -> Result<Option<Input>> {
    let mut found = names.filter(|name| folder.join(name).is_file());
    let Some(name) = found.next() else { return Ok(None) };
    if let Some(other) = found.next() {
        return Err(Error::file(folder, format!("has both {name} and {other}; keep one of them")));
    }
    let path = folder.join(&name);
    Ok(Some(Input::new(Role::Triples(Split::Train), name, path)))
}

/// The splits whose triples `folder` lacks.
pub fn missing_splits(folder: &Path) -> Vec<Split> {
    let is_there = |split: Split| names_of_split(split).any(|name| folder.join(name).is_file());
    Split::ALL.into_iter().filter(|&split| !is_there(split)).collect()
}

/// The name of a file without the endings of its format and compression.
pub fn file_stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let plain = uncompressed(&name);
    match plain.rsplit_once('.') {
        Some((stem, ending)) if ENDINGS.contains(&ending) => stem.to_owned(),
        _ => plain.to_owned(),
    }
}

/// Whether `folder` holds triples of at least one split, or RDF.
pub fn has_triples(folder: &Path) -> bool {
    missing_splits(folder).len() < Split::ALL.len() || statements(folder).is_ok_and(|all| !all.is_empty())
}

impl Inventory {
    /// Looks through `folder`. The error for a missing split says which, and where to get it.
    pub fn of_folder(folder: &Path, manifest: Option<&Manifest>) -> Result<Self> {
        if !folder.is_dir() {
            return Err(Error::file(folder, "is not a folder"));
        }
        let mut inputs = Vec::new();
        let mut missing = Vec::new();
        for split in Split::ALL {
            match one_of(folder, names_of_split(split))? {
                Some(input) => inputs.push(Input { role: Role::Triples(split), ..input }),
                None => missing.push(split.name()),
            }
        }
        if inputs.is_empty() {
            // A dump in several files.
            inputs = statements(folder)?;
        }
        let whole = missing.is_empty() || (missing.len() == Split::ALL.len() && !inputs.is_empty());
        if !whole {
            return Err(Error::file(folder, explain_missing(folder, &missing, &inputs, manifest)));
        }
        for split in Split::ALL {
            if let Some(input) = one_of(folder, names_of(&format!("{}_negatives", split.name())))? {
                inputs.push(Input { role: Role::HardNegatives(split), ..input });
            }
        }
        inputs.extend(rdf_labels(&inputs));
        inputs.extend(texts(folder));
        inputs.extend(codex_labels(folder)?);
        if let Some(copy) = manifest.and_then(|m| m.readable_copy.as_ref()) {
            inputs.extend(Split::ALL.iter().filter_map(|&split| {
                let name = format!("{copy}/{}.txt", split.name());
                let path = folder.join(&name);
                path.is_file().then(|| Input::new(Role::ReadableCopy(split), name, path))
            }));
        }
        let mut format = manifest.map(Manifest::format).unwrap_or_default();
        if manifest.is_none() {
            let maps = id_maps(folder, &mut inputs)?;
            if maps.first().is_some_and(|map| matches!(map.role, Role::Ids(_, MapFormat::NameId))) {
                format.columns = [Column::Head, Column::Tail, Column::Relation];
            }
            inputs.splice(..0, maps);
        }
        Ok(Inventory { folder: folder.to_path_buf(), format, inputs })
    }

    /// One file of triples, which all belong to train. Its format is told by its name, else by its content.
    pub fn of_file(path: &Path) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut input = Input::new(Role::Triples(Split::Train), name, path.to_path_buf());
        if Format::of_name(&input.name).is_none_or(|format| format == Format::Delimited) {
            input.format = Format::of_content(&input)?;
        }
        let mut inputs = vec![input];
        inputs.extend(rdf_labels(&inputs));
        Ok(Inventory { folder: path.to_path_buf(), format: TripleFormat::default(), inputs })
    }

    /// The dataset that ships inside the binary; `None` where it does not.
    pub fn bundled(manifest: &Manifest) -> Option<Self> {
        let files = manifest.bundled()?;
        let folder = Path::new("(bundled)").join(&manifest.name);
        let inputs = Split::ALL.iter().zip(files).map(|(&split, &(name, bytes))| Input {
            embedded: Some(bytes),
            ..Input::new(Role::Triples(split), name.to_owned(), folder.join(name))
        });
        Some(Inventory { inputs: inputs.collect(), format: manifest.format(), folder })
    }
}

fn explain_missing(
    folder: &Path,
    missing: &[&str],
    present: &[Input],
    manifest: Option<&Manifest>,
) -> String {
    let files: Vec<String> = missing.iter().map(|stem| format!("{stem}.txt")).collect();
    let mut message = format!("{} missing (or .tsv, .csv)", files.join(" and "));
    message = match files.len() {
        1 => message.replacen(" missing", " is missing", 1),
        _ => message.replacen(" missing", " are missing", 1),
    };
    if !present.is_empty() {
        let names: Vec<&str> = present.iter().map(|input| input.name.as_str()).collect();
        message += &format!("; {} here", names.join(" and ") + if names.len() == 1 { " is" } else { " are" });
    }
    if folder.join("data/triples").is_dir() {
        message +=
            "; this looks like a CoDEx checkout: name a size with `--name codex-s`, codex-m or codex-l";
    }
    match manifest {
        Some(manifest) => message + &format!("; {} comes from {}", manifest.title, manifest.source),
        None => message + "; a dataset's folder holds train, valid and test triples",
    }
}

/// All N-Triples files of `folder`, as train, by name.
fn statements(folder: &Path) -> Result<Vec<Input>> {
    let mut inputs = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let path = entry.map_err(Error::io(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if Format::of_name(&name) == Some(Format::NTriples) && path.is_file() {
            inputs.push(Input::new(Role::Triples(Split::Train), name, path));
        }
    }
    inputs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(inputs)
}

/// The N-Triples files among `inputs` once more, for their labels: by then all names are known.
fn rdf_labels(inputs: &[Input]) -> Vec<Input> {
    let rdf = inputs
        .iter()
        .filter(|input| input.format == Format::NTriples && matches!(input.role, Role::Triples(_)));
    rdf.map(|input| Input { role: Role::RdfLabels, ..input.clone() }).collect()
}

/// The maps between ids and names, where `folder` has both; marks the triples that are numbers then.
fn id_maps(folder: &Path, inputs: &mut [Input]) -> Result<Vec<Input>> {
    let kinds = [
        ("entity2id.txt", "relation2id.txt", MapFormat::NameId),
        ("id2ent.pkl", "id2rel.pkl", MapFormat::Pickle),
        ("entities.dict", "relations.dict", MapFormat::IdName),
    ];
    for (entities, relations, format) in kinds {
        let map = |subject, name: &str| {
            let name = COMPRESSED
                .map(|ending| format!("{name}{ending}"))
                .into_iter()
                .find(|name| folder.join(name).is_file())?;
            let path = folder.join(&name);
            Some(Input::new(Role::Ids(subject, format), name, path))
        };
        let (Some(entities), Some(relations)) =
            (map(Subject::Entity, entities), map(Subject::Relation, relations))
        else {
            continue;
        };
        let is_triples = |input: &Input| matches!(input.role, Role::Triples(_) | Role::HardNegatives(_));
        if format != MapFormat::IdName {
            // Folders of names may have such maps too: for other programs.
            if !inputs.first().map_or(Ok(false), |input| first_line(input).map(|line| are_ids(&line)))? {
                continue;
            }
            inputs.iter_mut().filter(|input| is_triples(input)).for_each(|input| input.format = Format::Ids);
        }
        return Ok(vec![entities, relations]);
    }
    Ok(Vec::new())
}

fn texts(folder: &Path) -> impl Iterator<Item = Input> {
    let kinds = [
        (["", "text/"], "entity2text.txt", Role::Texts(Subject::Entity)),
        (["", "text/"], "relation2text.txt", Role::Texts(Subject::Relation)),
        (["", "wikidata5m_alias/"], "wikidata5m_entity.txt", Role::Aliases(Subject::Entity)),
        (["", "wikidata5m_alias/"], "wikidata5m_relation.txt", Role::Aliases(Subject::Relation)),
    ];
    kinds.into_iter().filter_map(move |(folders, file, role)| {
        let names = folders.into_iter().flat_map(|f| COMPRESSED.map(|c| format!("{f}{file}{c}")));
        names.into_iter().find_map(|name| {
            let path = folder.join(&name);
            path.is_file().then(|| Input::new(role.clone(), name, path))
        })
    })
}

/// Labels beside the triples in a CoDEx checkout, language by language.
fn codex_labels(folder: &Path) -> Result<Vec<Input>> {
    // The real path, because the folder may be given as `.`.
    let real = folder.canonicalize().map_err(Error::io(folder))?;
    let Some(triples) = real.parent().filter(|parent| parent.ends_with("triples")) else {
        return Ok(Vec::new());
    };
    let root = triples.with_file_name("");
    let mut inputs = Vec::new();
    for (subject, what) in [(Subject::Entity, "entities"), (Subject::Relation, "relations")] {
        let Ok(languages) = std::fs::read_dir(root.join(what)) else { continue };
        let mut languages: Vec<PathBuf> = languages.flatten().map(|entry| entry.path()).collect();
        languages.sort();
        for path in languages {
            let Some(language) = path.file_name().and_then(|name| name.to_str()).map(str::to_owned) else {
                continue;
            };
            let (name, path) = (format!("{what}/{language}/{what}.json"), path.join(format!("{what}.json")));
            if path.is_file() {
                inputs.push(Input::new(Role::CodexLabels(subject, language), name, path));
            }
        }
    }
    Ok(inputs)
}
