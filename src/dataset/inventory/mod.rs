//! Which files of a dataset's folder are what.
//!
//! | file | is |
//! | --- | --- |
//! | `train`, `valid`, `test` with `.txt`, `.tsv`, `.csv` or `.nt` | triples; all three are needed |
//! | `entity2id.txt`, `entities.dict`, `id2ent.pkl`, and as many for relations | ids ([`ids`](super::format::ids)) |
//! | `train`, `valid` (`val`), `test` with `.npy`, `_hrt.npy`, `.npz`, or `_hr.npy` and `_t.npy`, also in `processed`, `raw`, `split/time` | numbers ([`arrays`](super::format::arrays)); only train is needed |
//! | OGB's `edge.csv`, `edge_reltype.csv`, here or in `raw` | numbers of train |
//! | OGB's `nodeidx2entityid.csv`, `reltype2relid.csv`; `entity.csv`, `relation.csv`; here or in `mapping` | ids, and titles as labels |
//! | `train_bidir.txt`, `valid_bidir.txt`, `test_bidir.txt`, `stats.txt` | SMORE's numbers |
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

mod arrays;
mod labels;
mod maps;

use super::format::columns::{Columns, of_header};
use super::format::ids::MapFormat;
use super::format::lines::lines;
use super::format::triples::TripleFormat;
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
    /// Further columns of the triples of a split, which are read beside the others.
    Columns(Split),
    /// The labels in a map of ids.
    IdLabels(Subject),
    /// SMORE's `stats.txt`: how many entities and directed relations there are.
    Counts,
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
    /// Numbers as a NumPy array.
    Npy,
    /// Numbers as several NumPy arrays.
    Npz,
    /// Numbers in two files of OGB.
    OgbCsv,
}

impl Format {
    /// Whether triples are numbers.
    pub fn is_ids(self) -> bool {
        matches!(self, Format::Ids | Format::Npy | Format::Npz | Format::OgbCsv)
    }

    /// By the ending before that of the compression; `None` where there is no known one.
    fn of_name(name: &str) -> Option<Self> {
        match uncompressed(name).rsplit_once('.')?.1 {
            "txt" | "tsv" => Some(Format::Delimited),
            "csv" => Some(Format::Csv),
            "nt" => Some(Format::NTriples),
            "npy" => Some(Format::Npy),
            "npz" => Some(Format::Npz),
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

/// The first line that is not blank, no comment and no header; empty where there is none.
fn first_line(input: &Input) -> Result<Vec<u8>> {
    Ok(first_lines(input, 1)?.pop().unwrap_or_default())
}

/// As many of these lines as there are, up to `count`.
fn first_lines(input: &Input, count: usize) -> Result<Vec<Vec<u8>>> {
    let mut blocks = Blocks::new(Source::open(input)?);
    let mut found = Vec::new();
    let is_header = |line: &[u8]| {
        let text = String::from_utf8_lossy(line);
        of_header(text.split(|c: char| !c.is_alphanumeric() && c != '_')).is_some()
    };
    while let Some(block) = blocks.next()? {
        let text = lines(block).map(|(_, line)| line.trim_ascii());
        let text = text.filter(|line| !line.is_empty() && !line.starts_with(b"#") && !is_header(line));
        found.extend(text.take(count - found.len()).map(<[u8]>::to_vec));
        if found.len() == count {
            break;
        }
    }
    Ok(found)
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
    /// The file with their further columns.
    pub beside: Option<PathBuf>,
}

/// What a user says of the files, where it is not as usual.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// What the columns of triples hold; `None` is the format's own.
    pub columns: Option<Columns>,
    /// Delimiter of `.txt` and `.tsv` triples, an ASCII character; `None` is the format's own.
    pub delimiter: Option<u8>,
    /// The files with the names of entities and of relations; `None` looks for those of known formats.
    pub maps: Option<[PathBuf; 2]>,
    /// Share of train that goes to valid, and as much again to test. Files of these must not exist then.
    pub hold_out: f64,
}

/// The input files of a dataset, in the order in which they are read.
#[derive(Clone, Debug)]
pub struct Inventory {
    /// The folder, for messages.
    pub folder: PathBuf,
    /// Layout of the `.txt` and `.tsv` files of triples.
    pub format: TripleFormat,
    /// Share of train that goes to valid, and as much again to test.
    pub hold_out: f64,
    /// Ids, then triples, then hard negatives, then labels.
    pub inputs: Vec<Input>,
}

impl Input {
    /// A file on disk; its format is told by its name.
    pub fn new(role: Role, name: String, path: PathBuf) -> Self {
        let format = Format::of_name(&name).unwrap_or(Format::Delimited);
        Input { role, name, path, embedded: None, format, beside: None }
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

/// As [`ENDINGS`], of files of arrays.
const ARRAYS: [&str; 2] = ["npy", "npz"];

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
        Some((stem, ending)) if ENDINGS.contains(&ending) || ARRAYS.contains(&ending) => stem.to_owned(),
        _ => plain.to_owned(),
    }
}

/// Whether `folder` holds triples of at least one split, or RDF.
pub fn has_triples(folder: &Path) -> bool {
    missing_splits(folder).len() < Split::ALL.len()
        || names_of("train_bidir").any(|name| folder.join(name).is_file())
        || statements(folder).is_ok_and(|all| !all.is_empty())
        || !arrays::triples(folder).is_empty()
}

impl Inventory {
    /// Looks through `folder`. The error for a missing split says which, and where to get it.
    pub fn of_folder(folder: &Path, manifest: Option<&Manifest>, reading: &Reading) -> Result<Self> {
        if !folder.is_dir() {
            return Err(Error::file(folder, "is not a folder"));
        }
        let mut inputs = Vec::new();
        let mut missing = Vec::new();
        let bidirectional = missing_splits(folder).len() == Split::ALL.len();
        for split in Split::ALL {
            let found = match bidirectional {
                false => one_of(folder, names_of_split(split))?,
                true => one_of(folder, names_of(&format!("{}_bidir", split.name())))?,
            };
            match found {
                Some(input) => inputs.push(Input { role: Role::Triples(split), ..input }),
                None => missing.push(split.name()),
            }
        }
        if inputs.is_empty() {
            // A dump in several files.
            inputs = statements(folder)?;
        }
        if inputs.is_empty() {
            inputs = arrays::triples(folder);
        }
        let whole = missing.is_empty()
            || (missing.len() == Split::ALL.len() && !inputs.is_empty())
            || (reading.hold_out > 0.0 && missing == ["valid", "test"]);
        if !whole {
            return Err(Error::file(folder, explain_missing(folder, &missing, &inputs, manifest)));
        }
        for split in Split::ALL {
            if let Some(input) = one_of(folder, names_of(&format!("{}_negatives", split.name())))? {
                inputs.push(Input { role: Role::HardNegatives(split), ..input });
            }
        }
        inputs.extend(labels::rdf_labels(&inputs));
        inputs.extend(labels::texts(folder));
        inputs.extend(labels::codex_labels(folder)?);
        if let Some(copy) = manifest.and_then(|m| m.readable_copy.as_ref()) {
            inputs.extend(Split::ALL.iter().filter_map(|&split| {
                let name = format!("{copy}/{}.txt", split.name());
                let path = folder.join(&name);
                path.is_file().then(|| Input::new(Role::ReadableCopy(split), name, path))
            }));
        }
        let format = manifest.map(Manifest::format).unwrap_or_default();
        let mut all = Inventory { folder: folder.to_path_buf(), format, inputs, hold_out: 0.0 };
        all.lay_out(manifest.is_none(), reading)?;
        Ok(all)
    }

    /// One file of triples, which all belong to train. Its format is told by its name, else by its content.
    pub fn of_file(path: &Path, reading: &Reading) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut input = Input::new(Role::Triples(Split::Train), name, path.to_path_buf());
        if Format::of_name(&input.name).is_none_or(|format| format == Format::Delimited) {
            input.format = Format::of_content(&input)?;
        }
        let mut inputs = vec![input];
        inputs.extend(labels::rdf_labels(&inputs));
        let format = TripleFormat::default();
        let mut all = Inventory { folder: path.to_path_buf(), format, inputs, hold_out: 0.0 };
        all.lay_out(false, reading)?;
        Ok(all)
    }

    /// Finds the maps of ids, if any, and settles the columns.
    fn lay_out(&mut self, look_for_maps: bool, reading: &Reading) -> Result<()> {
        let is_held_out = |i: &Input| matches!(i.role, Role::Triples(Split::Valid | Split::Test));
        if reading.hold_out > 0.0 && self.inputs.iter().any(is_held_out) {
            let message =
                "has files of valid or test: a share of train is held out only where there are none";
            return Err(Error::file(&self.folder, message));
        }
        self.hold_out = reading.hold_out;
        let Inventory { folder, format, inputs, .. } = self;
        format.delimiter = reading.delimiter.unwrap_or(format.delimiter);
        let parent =
            if folder.is_dir() { folder.as_path() } else { folder.parent().unwrap_or(Path::new("")) };
        let maps = match &reading.maps {
            Some(maps) => maps::given(parent, maps, inputs, format.delimiter)?,
            None if inputs.first().is_some_and(|input| input.format.is_ids()) => arrays::maps(parent),
            None if look_for_maps => maps::id_maps(parent, inputs, format.delimiter)?,
            None => Vec::new(),
        };
        let is_freebase = reading.maps.is_none()
            && maps.first().is_some_and(|map| matches!(map.role, Role::Ids(_, MapFormat::NameId)));
        if is_freebase {
            format.columns = Columns::HTR;
        }
        format.columns = reading.columns.unwrap_or(format.columns);
        let labels = maps.iter().filter_map(|map| match map.role {
            Role::Ids(subject, MapFormat::Csv) => {
                Some(Input { role: Role::IdLabels(subject), ..map.clone() })
            }
            _ => None,
        });
        inputs.extend(labels);
        inputs.splice(..0, maps);
        Ok(())
    }

    /// The dataset that ships inside the binary; `None` where it does not.
    pub fn bundled(manifest: &Manifest) -> Option<Self> {
        let files = manifest.bundled()?;
        let folder = Path::new("(bundled)").join(&manifest.name);
        let inputs = Split::ALL.iter().zip(files).map(|(&split, &(name, bytes))| Input {
            embedded: Some(bytes),
            ..Input::new(Role::Triples(split), name.to_owned(), folder.join(name))
        });
        Some(Inventory { inputs: inputs.collect(), format: manifest.format(), folder, hold_out: 0.0 })
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
        None if missing == ["valid", "test"] => {
            message + "; give a share of train to them with `smore data import --hold-out 0.05`"
        }
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
