//! Which files of a dataset's folder are what.
//!
//! | file | is |
//! | --- | --- |
//! | `train`, `valid`, `test` with `.txt`, `.tsv` or `.csv` | triples; all three are needed |
//! | `valid_negatives`, `test_negatives`, same endings | hard negatives |
//! | `../../{entities,relations}/LANG/*.json`, where the folder lies in `triples` | CoDEx's labels |
//! | `entity2text.txt`, `relation2text.txt`, here or in `text` | English labels |
//! | the manifest's `readable_copy` | the triples again, with readable names |

use super::format::triples::TripleFormat;
use super::registry::Manifest;
use crate::error::{Error, Result};
use crate::graph::{Split, Subject};
use crate::storage::checksum;
use std::borrow::Cow;
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
    /// CoDEx's JSON of a language.
    CodexLabels(Subject, String),
    /// The facts of a split again, line by line, with readable names.
    ReadableCopy(Split),
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
}

/// The input files of a dataset, in the order in which they are read.
#[derive(Clone, Debug)]
pub struct Inventory {
    /// The folder, for messages.
    pub folder: PathBuf,
    /// Layout of the `.txt` and `.tsv` files of triples.
    pub format: TripleFormat,
    /// Triples, then hard negatives, then labels.
    pub inputs: Vec<Input>,
}

impl Input {
    /// Length and XXH3-128.
    pub fn checksum(&self) -> Result<(u64, String)> {
        match self.embedded {
            Some(bytes) => Ok((bytes.len() as u64, checksum::hex(bytes))),
            None => checksum::file(&self.path),
        }
    }

    /// All bytes.
    pub fn read(&self) -> Result<Cow<'static, [u8]>> {
        match self.embedded {
            Some(bytes) => Ok(Cow::Borrowed(bytes)),
            None => std::fs::read(&self.path).map(Cow::Owned).map_err(Error::io(&self.path)),
        }
    }
}

const ENDINGS: [&str; 3] = ["txt", "tsv", "csv"];

/// The one file called `stem` with one of the [`ENDINGS`]; two are an error.
fn one_of(folder: &Path, stem: &str) -> Result<Option<Input>> {
    let mut found = ENDINGS.iter().map(|e| format!("{stem}.{e}")).filter(|name| folder.join(name).is_file());
    let Some(name) = found.next() else { return Ok(None) };
    if let Some(other) = found.next() {
        return Err(Error::file(folder, format!("has both {name} and {other}; keep one of them")));
    }
    let path = folder.join(&name);
    Ok(Some(Input { role: Role::Triples(Split::Train), name, path, embedded: None }))
}

/// The splits whose triples `folder` lacks.
pub fn missing_splits(folder: &Path) -> Vec<Split> {
    let file = |split: Split, ending: &str| folder.join(format!("{}.{ending}", split.name())).is_file();
    Split::ALL.into_iter().filter(|&split| !ENDINGS.iter().any(|ending| file(split, ending))).collect()
}

/// Whether `folder` holds triples of at least one split.
pub fn has_triples(folder: &Path) -> bool {
    missing_splits(folder).len() < Split::ALL.len()
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
            match one_of(folder, split.name())? {
                Some(input) => inputs.push(Input { role: Role::Triples(split), ..input }),
                None => missing.push(split.name()),
            }
        }
        if !missing.is_empty() {
            return Err(Error::file(folder, explain_missing(folder, &missing, &inputs, manifest)));
        }
        for split in Split::ALL {
            if let Some(input) = one_of(folder, &format!("{}_negatives", split.name()))? {
                inputs.push(Input { role: Role::HardNegatives(split), ..input });
            }
        }
        inputs.extend(texts(folder));
        inputs.extend(codex_labels(folder)?);
        if let Some(copy) = manifest.and_then(|m| m.readable_copy.as_ref()) {
            inputs.extend(Split::ALL.iter().filter_map(|&split| {
                let name = format!("{copy}/{}.txt", split.name());
                let path = folder.join(&name);
                path.is_file().then_some(Input {
                    role: Role::ReadableCopy(split),
                    name,
                    path,
                    embedded: None,
                })
            }));
        }
        let format = manifest.map(Manifest::format).unwrap_or_default();
        Ok(Inventory { folder: folder.to_path_buf(), format, inputs })
    }

    /// The dataset that ships inside the binary; `None` where it does not.
    pub fn bundled(manifest: &Manifest) -> Option<Self> {
        let files = manifest.bundled()?;
        let folder = Path::new("(bundled)").join(&manifest.name);
        let inputs = Split::ALL.iter().zip(files).map(|(&split, &(name, bytes))| Input {
            role: Role::Triples(split),
            name: name.to_owned(),
            path: folder.join(name),
            embedded: Some(bytes),
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

fn texts(folder: &Path) -> impl Iterator<Item = Input> {
    [("entity2text.txt", Subject::Entity), ("relation2text.txt", Subject::Relation)].into_iter().filter_map(
        move |(file, subject)| {
            [file.to_owned(), format!("text/{file}")].into_iter().find_map(|name| {
                let path = folder.join(&name);
                path.is_file().then_some(Input { role: Role::Texts(subject), name, path, embedded: None })
            })
        },
    )
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
                inputs.push(Input { role: Role::CodexLabels(subject, language), name, path, embedded: None });
            }
        }
    }
    Ok(inputs)
}
