//! Which files of a dataset's folder are what.
//!
//! | file | is |
//! | --- | --- |
//! | `train`, `valid` (`validation`, `val`, `dev`), `test` with `.txt`, `.tsv`, `.csv`, `.nt`, `.nq`, `.ttl` or `.trig` | triples; train is needed |
//! | `entity2id.txt`, `entities.dict`, `id2ent.pkl`, and as many for relations | ids ([`ids`](super::format::ids)) |
//! | OpenKE's `train2id.txt`, `valid2id.txt`, `test2id.txt` | numbers |
//! | LibKGE's `train.del`, `valid.del`, `test.del`; `entity_ids.del`, `relation_ids.del` | numbers; ids |
//! | `train`, `valid` (`val`), `test` with `.npy`, `_hrt.npy`, `.npz`, or `_hr.npy` and `_t.npy`, also in `processed`, `raw`, `split/time` | numbers ([`arrays`](super::format::arrays)); only train is needed |
//! | OGB's `edge.csv`, `edge_reltype.csv`, here or in `raw` | numbers of train |
//! | OGB's `nodeidx2entityid.csv`, `reltype2relid.csv`; `entity.csv`, `relation.csv`; here or in `mapping` | ids, and titles as labels |
//! | `train_bidir.txt`, `valid_bidir.txt`, `test_bidir.txt`, `stats.txt` | SMORE's numbers |
//! | any `.nt`, `.nq`, `.ttl`, `.trig`, where there is none of these | triples of train |
//! | the same after `wikidata5m_transductive_` or `wikidata5m_inductive_` | the same |
//! | `wikidata5m_entity.txt`, `wikidata5m_relation.txt`, here or in `wikidata5m_alias` | labels: the first alias |
//! | `valid_negatives`, `test_negatives`, same endings | hard negatives |
//! | `../../{entities,relations}/LANG/*.json`, where the folder lies in `triples` | CoDEx's labels |
//! | `entity2text.txt`, `relation2text.txt`, here or in `text` | English labels |
//! | the manifest's `readable_copy` | the triples again, with readable names |
//!
//! Any of them may be compressed ([`source`](super::source)); `.gz`, `.zst`, `.bz2` or `.xz` then follows the ending of
//! triples. A `.txt` or `.tsv` whose lines are RDF statements is read as these (`dataset/content.rs`); delimiters and
//! headers are detected from the first lines (`layout`). `file_names` has the names of files of triples, `label_files` and `maps` find
//! those of labels and of ids, `arrays` those of NumPy.

mod arrays;
mod file_names;
mod label_files;
mod layout;
mod maps;

use super::content::{Content, first_bytes};
use super::format::columns::Columns;
use super::format::delimiter::Delimiter;
use super::format::maps::MapFormat;
use super::format::triples::TripleFormat;
use super::registry::Manifest;
use crate::error::{Error, Result};
use crate::graph::{Split, Subject};
use crate::storage::checksum;
use std::path::{Path, PathBuf};

pub use file_names::{file_stem, has_triples, missing_splits};
use file_names::{names_of, one_of, splits_of, statements, uncompressed};

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
    /// RDF statements, a line each.
    NTriples,
    /// The same with named graphs.
    NQuads,
    /// RDF with prefixes.
    Turtle,
    /// The same with named graphs.
    TriG,
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
            "nq" => Some(Format::NQuads),
            "ttl" => Some(Format::Turtle),
            "trig" => Some(Format::TriG),
            "del" => Some(Format::Delimited),
            "npy" => Some(Format::Npy),
            "npz" => Some(Format::Npz),
            _ => None,
        }
    }

    /// Whether the file holds RDF.
    pub fn is_rdf(self) -> bool {
        matches!(self, Format::NTriples | Format::NQuads | Format::Turtle | Format::TriG)
    }

    /// Of a file that is called a text: RDF is detected from the content.
    fn of_content(input: &Input) -> Result<Self> {
        Ok(match Content::of(&first_bytes(input)?) {
            Content::NTriples => Format::NTriples,
            Content::NQuads => Format::NQuads,
            Content::Turtle => Format::Turtle,
            Content::TriG => Format::TriG,
            _ => Format::Delimited,
        })
    }
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
    /// The columns of its triples, where it has some.
    pub layout: TripleFormat,
    /// The file with their further columns.
    pub beside: Option<PathBuf>,
}

/// What a user says of the files, where it is not as usual.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// What the columns of triples hold; `None` is the format's own.
    pub columns: Option<Columns>,
    /// What stands between columns; `None`: it is detected from the first lines.
    pub delimiter: Option<Delimiter>,
    /// Whether the first lines are headers; `None`: it is detected from the first lines.
    pub header: Option<bool>,
    /// The files with the names of entities and of relations; `None` looks for those of known formats.
    pub maps: Option<[PathBuf; 2]>,
    /// Which column of these has the ids; `None`: it is detected from their content.
    pub map_columns: Option<MapFormat>,
    /// Keep IRIs that are none by their grammar.
    pub lenient: bool,
    /// Share of train that goes to valid, and as much to test, where there are no files of them.
    pub hold_out: f64,
}

/// The input files of a dataset, in the order in which they are read.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// The folder, for messages.
    pub folder: PathBuf,
    /// Share of train that goes to each split of `held_out`.
    pub hold_out: f64,
    /// The splits that have no file of their own, if a share is held out.
    pub held_out: Vec<Split>,
    /// Keep IRIs that are none by their grammar.
    pub lenient: bool,
    /// What a user should know of how the files are read.
    pub notes: Vec<String>,
    /// Ids, then triples, then hard negatives, then labels.
    pub inputs: Vec<Input>,
}

impl Input {
    /// A file on disk; its format is detected from its name.
    pub fn new(role: Role, name: String, path: PathBuf) -> Self {
        let format = Format::of_name(&name).unwrap_or(Format::Delimited);
        Input { role, name, path, embedded: None, format, layout: TripleFormat::default(), beside: None }
    }

    /// Whether the file is a text.
    pub fn is_text(&self) -> bool {
        !matches!(self.role, Role::Ids(_, MapFormat::Pickle))
            && !matches!(self.format, Format::Npy | Format::Npz)
    }

    /// Whether the file holds triples, in columns.
    fn has_columns(&self) -> bool {
        matches!(self.role, Role::Triples(_) | Role::HardNegatives(_))
            && matches!(self.format, Format::Delimited | Format::Csv | Format::Ids)
    }

    /// Length and XXH3-128.
    pub fn checksum(&self) -> Result<(u64, String)> {
        match self.embedded {
            Some(bytes) => Ok((bytes.len() as u64, checksum::hex(bytes))),
            None => checksum::file(&self.path),
        }
    }
}

impl Inventory {
    /// Looks through `folder`. The error for a missing split says which, and where to get it. Valid and test may be missing,
    /// unless `manifest` has them.
    pub fn of_folder(folder: &Path, manifest: Option<&Manifest>, reading: &Reading) -> Result<Self> {
        if !folder.is_dir() {
            return Err(Error::file(folder, "is not a folder"));
        }
        let mut inputs = Vec::new();
        let mut missing = Vec::new();
        if let Some(names) = splits_of(folder) {
            for split in Split::ALL {
                match one_of(folder, names(split))? {
                    Some(input) => inputs.push(Input { role: Role::Triples(split), ..input }),
                    None => missing.push(split),
                }
            }
        }
        let statements = statements(folder)?;
        let mut notes = Vec::new();
        if inputs.is_empty() {
            // A dump in several files.
            inputs = statements;
        } else {
            let others = statements.iter().filter(|file| inputs.iter().all(|input| input.path != file.path));
            notes.extend(others.map(|file| {
                format!(
                    "{} is not read: where there are files of splits, no other file of triples is",
                    file.name
                )
            }));
        }
        if inputs.is_empty() {
            inputs = arrays::triples(folder);
        }
        let whole = missing.is_empty() || (manifest.is_none() && missing[0] != Split::Train);
        if inputs.is_empty() || !whole {
            return Err(Error::file(folder, explain_missing(folder, &missing, &inputs, manifest)));
        }
        if reading.hold_out == 0.0 && !missing.is_empty() {
            let names: Vec<&str> = missing.iter().map(|split| split.name()).collect();
            notes.push(match names.as_slice() {
                [one] => format!(
                    "there is no file of {one}: the split is empty; `smore data import --hold-out 0.05` takes a share of \
                     train for it"
                ),
                several => format!(
                    "there is no file of {}: the splits are empty; `smore data import --hold-out 0.05` takes a share of \
                     train for each",
                    several.join(", nor of ")
                ),
            });
        }
        if manifest.is_none() {
            by_content(&mut inputs)?;
        }
        for split in Split::ALL {
            if let Some(input) = one_of(folder, names_of(&format!("{}_negatives", split.name())))? {
                inputs.push(Input { role: Role::HardNegatives(split), ..input });
            }
        }
        inputs.extend(label_files::rdf_labels(&inputs));
        inputs.extend(label_files::texts(folder));
        inputs.extend(label_files::codex_labels(folder)?);
        if let Some(copy) = manifest.and_then(|m| m.readable_copy.as_ref()) {
            inputs.extend(Split::ALL.iter().filter_map(|&split| {
                let name = format!("{copy}/{}.txt", split.name());
                let path = folder.join(&name);
                path.is_file().then(|| Input::new(Role::ReadableCopy(split), name, path))
            }));
        }
        let mut all = Inventory { folder: folder.to_path_buf(), inputs, notes, ..Inventory::default() };
        if let Some(manifest) = manifest {
            all.inputs.iter_mut().for_each(|input| input.layout = manifest.format());
        }
        all.lay_out(manifest, true, reading)?;
        Ok(all)
    }

    /// One file of triples, which all belong to train. Its format is detected from its name, else from its content.
    pub fn of_file(path: &Path, reading: &Reading) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut inputs = vec![Input::new(Role::Triples(Split::Train), name, path.to_path_buf())];
        by_content(&mut inputs)?;
        inputs.extend(label_files::rdf_labels(&inputs));
        let mut all = Inventory { folder: path.to_path_buf(), inputs, ..Inventory::default() };
        all.lay_out(None, false, reading)?;
        Ok(all)
    }

    /// Finds the maps of ids, if any, and settles the columns.
    fn lay_out(&mut self, manifest: Option<&Manifest>, is_folder: bool, reading: &Reading) -> Result<()> {
        let has = |split: Split| self.inputs.iter().any(|input| input.role == Role::Triples(split));
        if reading.hold_out > 0.0 {
            self.held_out = [Split::Valid, Split::Test].into_iter().filter(|&split| !has(split)).collect();
            if self.held_out.is_empty() {
                let message =
                    "has files of valid and test: a share of train is held out only where there is none";
                return Err(Error::file(&self.folder, message));
            }
        }
        self.hold_out = reading.hold_out;
        self.lenient = reading.lenient;
        if let Some(first) = self.inputs.first() {
            layout::refuse_options(first, reading)?;
        }
        let Inventory { folder, inputs, notes, .. } = self;
        if manifest.is_none() || reading.delimiter.is_some() {
            layout::delimiters(inputs, reading, notes)?;
        }
        let parent = if is_folder { folder.as_path() } else { folder.parent().unwrap_or(Path::new("")) };
        let maps = match &reading.maps {
            Some(maps) => maps::given(parent, maps, inputs, reading)?,
            None if inputs.first().is_some_and(|input| input.format.is_ids()) => arrays::maps(parent),
            None if is_folder && manifest.is_none() => maps::id_maps(parent, inputs)?,
            None => Vec::new(),
        };
        let is_freebase = reading.maps.is_none()
            && maps.first().is_some_and(|map| matches!(map.role, Role::Ids(_, MapFormat::NameId)));
        let columns = reading.columns.or(is_freebase.then_some(Columns::HTR));
        if let Some(columns) = columns {
            inputs.iter_mut().for_each(|input| input.layout.columns = columns);
        }
        layout::headers(inputs, reading.header)?;
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
            layout: manifest.format(),
            ..Input::new(Role::Triples(split), name.to_owned(), folder.join(name))
        });
        Some(Inventory { inputs: inputs.collect(), folder, ..Inventory::default() })
    }
}

/// RDF in files that are called texts, or nothing that is known.
fn by_content(inputs: &mut [Input]) -> Result<()> {
    for input in inputs {
        let is_text = Format::of_name(&input.name).is_none_or(|format| format == Format::Delimited);
        if is_text && matches!(input.role, Role::Triples(_)) {
            input.format = Format::of_content(input)?;
        }
    }
    Ok(())
}

fn explain_missing(
    folder: &Path,
    missing: &[Split],
    present: &[Input],
    manifest: Option<&Manifest>,
) -> String {
    let missing = if missing.is_empty() { &[Split::Train] } else { missing };
    let files: Vec<String> = missing.iter().map(|split| format!("{}.txt", split.name())).collect();
    let verb = if files.len() == 1 { "is" } else { "are" };
    let mut message = format!("{} {verb} missing (or .tsv, .csv, .nt)", files.join(" and "));
    if !present.is_empty() {
        let names: Vec<&str> = present.iter().map(|input| input.name.as_str()).collect();
        message += &format!("; {} here", names.join(" and ") + if names.len() == 1 { " is" } else { " are" });
    }
    if folder.join("data/triples").is_dir() {
        message +=
            "; this looks like a CoDEx checkout: name a size with `--name codex-s`, codex-m or codex-l";
    }
    if let Some((name, advice)) = present.is_empty().then(|| foreign_file(folder)).flatten() {
        message += &format!("; {name} is here: {advice}");
    }
    match manifest {
        Some(manifest) => message + &format!("; {} comes from {}", manifest.title, manifest.source),
        None => message + "; a dataset's folder holds train, and maybe valid and test triples",
    }
}

/// The first file of `folder`, by name, that looks like a format which is not read, and what to do with it.
fn foreign_file(folder: &Path) -> Option<(String, String)> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.into_iter().filter(|path| path.is_file()).take(50).find_map(|path| {
        let name = path.file_name()?.to_string_lossy().into_owned();
        let input = Input::new(Role::Triples(Split::Train), name.clone(), path);
        let content = Content::of(&first_bytes(&input).ok()?);
        Some((name, content.advice()?))
    })
}
