//! From what a user typed to an opened graph.

use super::cache::{Cache, NamedGraph};
use super::generate::{self, Synthetic};
use super::import::{Fingerprinted, ImportOptions, ImportReport, name_of_folder, warnings};
use super::inventory::{Inventory, Reading, has_triples};
use super::registry::{self, Manifest};
use crate::error::{Error, Result};
use crate::graph::builder::check_dataset_name;
use crate::graph::{KnowledgeGraph, Resources};
use crate::progress::Progress;
use std::path::{Path, PathBuf};

/// Where to look for datasets and how to import them.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// A folder of datasets' folders.
    pub data_dir: Option<PathBuf>,
    /// Where imported graphs are kept; `None` is the user's cache folder.
    pub cache_dir: Option<PathBuf>,
    /// Skip and count bad lines instead of failing at the first.
    pub skip_bad_lines: bool,
    /// Language whose labels are shown; `None` is English, or the first there is.
    pub language: Option<String>,
    /// How files are read, where it is not as usual.
    pub reading: Reading,
    /// Bytes of memory that an import takes; `None` is a quarter of the machine's.
    pub memory: Option<u64>,
    /// Where the progress of an import is reported.
    pub progress: Progress,
    /// When a graph that is in the cache already is used.
    pub reuse: Reuse,
}

/// When a graph that is in the cache already is used instead of an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reuse {
    /// Where it is whole, as far as is remembered; else it is made again, with a warning.
    #[default]
    Known,
    /// Where every byte of it is whole now; else it is made again, with a warning.
    Verified,
    /// Always: where it is damaged, that is an error.
    Always,
    /// Never.
    Never,
}

/// What an argument turned out to be.
#[derive(Clone, Debug)]
pub enum Place {
    /// A graph file.
    Graph(PathBuf),
    /// A folder of triples.
    Folder(PathBuf, Option<&'static Manifest>),
    /// A dataset inside the binary.
    Bundled(&'static Manifest),
}

/// Opens the graph that `argument` means, importing it first where it is not in the cache.
///
/// `argument` is, in this order: a path (where it has a separator or starts with a dot); a name given
/// with `data import --name`; the name of a known dataset, found in the data folder or bundled; a
/// folder in the data folder; a path. Sources are read and never written to. With a cached graph, the
/// cost is that of reading the source files once for their checksums.
///
/// ```no_run
/// use smore::engine::dataset::{OpenOptions, open};
/// let (graph, _) = open("umls", &OpenOptions::default())?;
/// assert_eq!(graph.num_entities(), 135);
/// # Ok::<(), smore::Error>(())
/// ```
pub fn open(argument: &str, options: &OpenOptions) -> Result<(KnowledgeGraph, ImportReport)> {
    let cache = Cache::new(options.cache_dir.as_deref())?;
    match locate(argument, options.data_dir.as_deref(), &cache)? {
        Place::Graph(path) => {
            let mut graph = KnowledgeGraph::open_known(&path, &cache.verified())?;
            if let Some(language) = &options.language {
                graph.set_language(language)?;
            }
            let warnings = warnings(&graph, None);
            let report =
                ImportReport { source: path.clone(), graph: path, cached: true, bad_lines: vec![], warnings };
            Ok((graph, report))
        }
        Place::Bundled(manifest) => {
            let inventory = Inventory::bundled(manifest).expect("located as bundled");
            let files = Fingerprinted::new(inventory)?;
            open_or_import(&files, &manifest.name, Some(manifest), options, &cache)
        }
        Place::Folder(folder, Some(manifest)) => {
            let inventory = Inventory::of_folder(&folder, Some(manifest), &options.reading)?;
            let files = Fingerprinted::new(inventory)?;
            open_or_import(&files, &manifest.name, Some(manifest), options, &cache)
        }
        Place::Folder(folder, None) => {
            let (files, manifest) = recognise(&folder, &options.reading)?;
            let name = manifest.map_or_else(|| name_of_folder(&folder), |m| Ok(m.name.clone()))?;
            open_or_import(&files, &name, manifest, options, &cache)
        }
    }
}

/// Imports `path` (a folder of triples, one file of them, or a dataset's checkout) under `name` and remembers the name.
///
/// Where `name` is a known dataset's, its folders are looked for in `path` first. The graph goes to
/// `output`, or to the cache.
pub fn import_as(
    path: &Path,
    name: Option<&str>,
    output: Option<&Path>,
    options: &OpenOptions,
) -> Result<(KnowledgeGraph, ImportReport)> {
    let cache = Cache::new(options.cache_dir.as_deref())?;
    let known = name.and_then(registry::find);
    let checkout = known.and_then(|manifest| folder_in(path, manifest));
    let is_checkout = checkout.is_some();
    let (files, manifest) = match known {
        Some(manifest) => {
            let folder = checkout.unwrap_or_else(|| path.to_path_buf());
            let inventory = Inventory::of_folder(&folder, Some(manifest), &options.reading)?;
            (Fingerprinted::new(inventory)?, Some(manifest))
        }
        None => recognise(path, &options.reading)?,
    };
    let name = match (name, manifest) {
        (Some(name), _) => name.to_owned(),
        (None, Some(manifest)) => manifest.name.clone(),
        (None, None) => name_of_folder(path)?,
    };
    // The name would mean these files from now on. What a checkout has changed is reported as a warning.
    match registry::find(&name).filter(|_| !is_checkout) {
        Some(Manifest { title, .. }) if !manifest.is_some_and(|known| files.is_as_published(known)) => {
            let message =
                format!("{name} is the name of {title}, whose files these are not: choose another --name");
            return Err(Error::file(path, message));
        }
        _ => {}
    }
    let (graph, report) = match output {
        None => open_or_import(&files, &name, manifest, options, &cache)?,
        Some(output) => import(&files, &name, manifest, options, output)?,
    };
    remember(&cache, name, &report.graph, absolute(&report.source)?)?;
    Ok((graph, report))
}

/// Generates a synthetic graph under `name` and remembers the name, as [`import_as`] does.
///
/// Of `resources`, the cache, memory and progress count. Fails also where `name` is a known dataset's, which would be hidden by it.
pub fn generate_as(
    options: &Synthetic,
    name: &str,
    output: Option<&Path>,
    resources: &OpenOptions,
) -> Result<(KnowledgeGraph, ImportReport)> {
    check_dataset_name(name)?;
    if let Some(Manifest { title, .. }) = registry::find(name) {
        return Err(Error::invalid(format!("{name} is the name of {title}: choose another --name")));
    }
    let cache = Cache::new(resources.cache_dir.as_deref())?;
    let write = |path: &Path| {
        let resources = Resources::beside(path, resources.memory, resources.progress.clone());
        generate::generate(options, name, path, resources).map(|()| Vec::new())
    };
    let (graph, report) = match output {
        None => {
            let path = cache.graph(name, &generate::key(options, name));
            open_or_make(&path, Path::new(GENERATED), None, resources.reuse, &cache, write)
                .map_err(|e| cache.explain(e))?
        }
        Some(output) => make(output, Path::new(GENERATED), None, write)?,
    };
    remember(&cache, name.to_owned(), &report.graph, GENERATED.into())?;
    Ok((graph, report))
}

/// Stands where the folder of an imported graph does.
const GENERATED: &str = "(generated)";

fn remember(cache: &Cache, name: String, graph: &Path, source: PathBuf) -> Result<()> {
    cache.remember(&NamedGraph { name, graph: absolute(graph)?, source })
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(Error::io(path))
}

/// Finds out what `argument` means; see [`open`]. Reads no data.
pub fn locate(argument: &str, data_dir: Option<&Path>, cache: &Cache) -> Result<Place> {
    let path = Path::new(argument);
    let is_path = argument.starts_with('.') || argument.contains(std::path::is_separator);
    if !is_path {
        if let Some(entry) = cache.recall(argument) {
            return Ok(Place::Graph(entry.graph));
        }
        if let Some(manifest) = registry::find(argument) {
            return locate_known(manifest, data_dir).ok_or_else(|| not_here(manifest, data_dir));
        }
        if let Some(folder) = data_dir.map(|dir| dir.join(path)).filter(|folder| has_triples(folder)) {
            return Ok(Place::Folder(folder, None));
        }
    }
    if path.is_dir() {
        Ok(Place::Folder(path.to_path_buf(), None))
    } else if path.exists() {
        Ok(Place::Graph(path.to_path_buf()))
    } else if is_path {
        Err(Error::file(path, "no such folder or graph file"))
    } else {
        Err(unknown(argument, data_dir, cache))
    }
}

/// Where a known dataset is: in the data folder, else in the binary.
pub fn locate_known(manifest: &'static Manifest, data_dir: Option<&Path>) -> Option<Place> {
    let folder = data_dir.and_then(|dir| folder_in(dir, manifest));
    match folder {
        Some(folder) => Some(Place::Folder(folder, Some(manifest))),
        None => manifest.bundled().map(|_| Place::Bundled(manifest)),
    }
}

/// The first of the manifest's folders in `parent` that holds triples.
fn folder_in(parent: &Path, manifest: &Manifest) -> Option<PathBuf> {
    manifest.folders.iter().map(|folder| parent.join(folder)).find(|folder| has_triples(folder))
}

/// The files of a folder (or a file alone), and the known dataset that they are, by the folder's name and all checksums.
fn recognise(folder: &Path, reading: &Reading) -> Result<(Fingerprinted, Option<&'static Manifest>)> {
    if folder.is_file() {
        return Ok((Fingerprinted::new(Inventory::of_file(folder, reading)?)?, None));
    }
    let name = folder.canonicalize().map_err(Error::io(folder))?;
    let name = name.file_name().unwrap_or_default();
    let called = |manifest: &&Manifest| {
        manifest
            .folders
            .iter()
            .any(|f| Path::new(f).file_name().is_some_and(|f| f.eq_ignore_ascii_case(name)))
    };
    let candidate = registry::all().iter().find(called);
    let files = Fingerprinted::new(Inventory::of_folder(folder, candidate, reading)?)?;
    match candidate {
        Some(manifest) if !files.is_as_published(manifest) => {
            Ok((Fingerprinted::new(Inventory::of_folder(folder, None, reading)?)?, None))
        }
        _ => Ok((files, candidate)),
    }
}

fn open_or_import(
    files: &Fingerprinted,
    name: &str,
    manifest: Option<&Manifest>,
    options: &OpenOptions,
    cache: &Cache,
) -> Result<(KnowledgeGraph, ImportReport)> {
    let path = cache.graph(name, &files.key(&import_options(name, options)));
    let write = |path: &Path| files.import(&import_options(name, options), path);
    let Inventory { folder, notes, .. } = files.inventory();
    let (graph, mut report) =
        open_or_make(&path, folder, manifest, options.reuse, cache, write).map_err(|e| cache.explain(e))?;
    report.warnings.extend_from_slice(notes);
    Ok((graph, report))
}

fn import(
    files: &Fingerprinted,
    name: &str,
    manifest: Option<&Manifest>,
    options: &OpenOptions,
    path: &Path,
) -> Result<(KnowledgeGraph, ImportReport)> {
    let write = |path: &Path| files.import(&import_options(name, options), path);
    let Inventory { folder, notes, .. } = files.inventory();
    let (graph, mut report) = make(path, folder, manifest, write)?;
    report.warnings.extend_from_slice(notes);
    Ok((graph, report))
}

/// Opens the graph file `path` of the cache where `reuse` has it so, else makes it.
fn open_or_make(
    path: &Path,
    source: &Path,
    manifest: Option<&Manifest>,
    reuse: Reuse,
    cache: &Cache,
    write: impl FnOnce(&Path) -> Result<Vec<String>>,
) -> Result<(KnowledgeGraph, ImportReport)> {
    let opened = match reuse {
        _ if !path.exists() => None,
        Reuse::Never => None,
        Reuse::Verified => Some(KnowledgeGraph::open(path).and_then(|graph| graph.verify().map(|()| graph))),
        Reuse::Known | Reuse::Always => Some(KnowledgeGraph::open_known(path, &cache.verified())),
    };
    let damage = match opened {
        Some(Ok(graph)) => {
            let report = ImportReport {
                source: source.to_path_buf(),
                graph: path.to_path_buf(),
                cached: true,
                bad_lines: Vec::new(),
                warnings: warnings(&graph, manifest),
            };
            return Ok((graph, report));
        }
        Some(Err(error)) if reuse == Reuse::Always => return Err(error),
        Some(Err(error)) => Some(error),
        None => None,
    };
    let (graph, mut report) = make(path, source, manifest, write)?;
    // Cut short by a full disk, say.
    report.warnings.extend(damage.map(|error| format!("the cached graph was replaced: {error}")));
    Ok((graph, report))
}

/// Makes the graph file `path` by `write`, which returns examples of bad lines, and opens it.
fn make(
    path: &Path,
    source: &Path,
    manifest: Option<&Manifest>,
    write: impl FnOnce(&Path) -> Result<Vec<String>>,
) -> Result<(KnowledgeGraph, ImportReport)> {
    let bad_lines = write(path)?;
    let graph = KnowledgeGraph::open(path)?;
    let report = ImportReport {
        source: source.to_path_buf(),
        graph: path.to_path_buf(),
        cached: false,
        bad_lines,
        warnings: warnings(&graph, manifest),
    };
    Ok((graph, report))
}

fn import_options<'o>(name: &'o str, options: &'o OpenOptions) -> ImportOptions<'o> {
    ImportOptions {
        name,
        skip_bad_lines: options.skip_bad_lines,
        language: options.language.as_deref(),
        memory: options.memory,
        progress: options.progress.clone(),
    }
}

fn not_here(manifest: &Manifest, data_dir: Option<&Path>) -> Error {
    let Manifest { name, title, source, folders, .. } = manifest;
    Error::invalid(match data_dir {
        None => format!(
            "{name} needs its files: {title} comes from {source}; name the folder above {} with --data-dir \
             (or SMORE_DATA), or give the dataset's own folder",
            folders[0]
        ),
        Some(dir) if !dir.is_dir() => format!(
            "{name} needs its files: {title} comes from {source}; {}",
            missing_data_dir(data_dir).unwrap_or_default()
        ),
        Some(dir) => format!(
            "{name} is not in {}: looked for {}; {title} comes from {source}",
            dir.display(),
            folders.join(", ")
        ),
    })
}

/// That the data folder is not there, where it is not.
pub fn missing_data_dir(data_dir: Option<&Path>) -> Option<String> {
    let dir = data_dir.filter(|dir| !dir.is_dir())?;
    Some(format!("the data folder {} (--data-dir or SMORE_DATA) does not exist", dir.display()))
}

fn unknown(argument: &str, data_dir: Option<&Path>, cache: &Cache) -> Error {
    let imported = cache.named();
    let mut names: Vec<&str> = registry::all().iter().map(|manifest| manifest.name.as_str()).collect();
    for entry in &imported {
        // One that was imported is known by its name all the same.
        if !names.contains(&entry.name.as_str()) {
            names.push(&entry.name);
        }
    }
    let near = names.iter().copied().map(|name| (strsim::jaro_winkler(&argument.to_lowercase(), name), name));
    let best = near.filter(|(score, _)| *score >= 0.8).max_by(|a, b| a.0.total_cmp(&b.0));
    let hint = best.map_or(String::new(), |(_, name)| format!(" (did you mean {name}?)"));
    Error::invalid(format!(
        "unknown dataset {argument:?}{hint}: known are {}; or give a folder with train, valid and test \
         triples, or a graph file{}",
        names.join(", "),
        missing_data_dir(data_dir).map_or(String::new(), |missing| format!("; {missing}"))
    ))
}
