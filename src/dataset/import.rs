//! Input files -> graph file.

use super::content;
use super::feed::State;
use super::format::lines::BadLines;
use super::format::rdf::Reason;
use super::inventory::{Input, Inventory, file_stem};
use super::registry::Manifest;
use super::source::Source;
use crate::error::{Error, Result};
use crate::graph::builder::check_dataset_name;
use crate::graph::layout::VERSION;
use crate::graph::metadata::{BySplit, Findings, SourceFile};
use crate::graph::{GraphBuilder, KnowledgeGraph, Metadata, Resources, Split};
use crate::progress::Progress;
use crate::storage::checksum;
use std::path::{Path, PathBuf};

/// What decides the content of a graph file besides the input files.
#[derive(Clone, Debug)]
pub struct ImportOptions<'o> {
    /// Name of the dataset.
    pub name: &'o str,
    /// Skip and count bad lines instead of failing at the first.
    pub skip_bad_lines: bool,
    /// Language whose labels are shown; `None` is English, or the first there is.
    pub language: Option<&'o str>,
    /// Bytes of memory that the builder takes, which the file does not depend on; `None` is a quarter of the
    /// machine's.
    pub memory: Option<u64>,
    /// Where the progress of the import is reported.
    pub progress: Progress,
}

impl ImportOptions<'_> {
    /// What the builder of the graph file `path` may use; temporary files lie beside it.
    pub fn resources(&self, path: &Path) -> Resources {
        Resources::beside(path, self.memory, self.progress.clone())
    }
}

/// Why the first line of a file of triples may be skipped.
const HEADER: &str = "header";

/// What a user should know of an import.
#[derive(Clone, Debug)]
pub struct ImportReport {
    /// Where the graph came from: a folder, `(bundled)/NAME`, `(generated)`, or the graph file itself.
    pub source: PathBuf,
    /// The graph file.
    pub graph: PathBuf,
    /// Whether the graph was there already and nothing was read but checksums.
    pub cached: bool,
    /// The first few bad lines of each file, if this run skipped any.
    pub bad_lines: Vec<String>,
    /// What deserves attention: skipped lines, duplicates, unseen entities, unexpected content.
    pub warnings: Vec<String>,
}

/// Input files with their checksums: all that is needed to tell whether a graph is up to date.
#[derive(Clone, Debug)]
pub struct Fingerprinted {
    inventory: Inventory,
    sources: Vec<SourceFile>,
}

impl Fingerprinted {
    /// Reads every file once. O(bytes).
    pub fn new(inventory: Inventory) -> Result<Self> {
        let mut sources: Vec<SourceFile> = Vec::with_capacity(inventory.inputs.len());
        for (place, input) in inventory.inputs.iter().enumerate() {
            if let Some(same) = inventory.inputs[..place].iter().position(|i| i.path == input.path) {
                sources.push(sources[same].clone());
                continue;
            }
            let (bytes, xxh128) = input.checksum()?;
            sources.push(SourceFile { name: input.name.clone(), bytes, xxh128, ..SourceFile::default() });
        }
        Ok(Fingerprinted { inventory, sources })
    }

    /// The files.
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// Whether every file that `manifest` has a checksum of is there as published.
    pub fn is_as_published(&self, manifest: &Manifest) -> bool {
        manifest.files.iter().all(|(name, hash)| {
            self.sources.iter().any(|source| source.name == *name && source.xxh128 == *hash)
        })
    }

    /// Names the graph that these files give with these options: 16 hexadecimal digits.
    pub fn key(&self, options: &ImportOptions) -> String {
        let ImportOptions { name, skip_bad_lines, language, .. } = options;
        let Inventory { hold_out, held_out, lenient, .. } = &self.inventory;
        let mut text = format!(
            "{VERSION}\n{name}\n{skip_bad_lines}\n{language:?}\n{hold_out}\n{held_out:?}\n{lenient}\n"
        );
        for (input, source) in self.inventory.inputs.iter().zip(&self.sources) {
            let Input { role, name, format, layout, .. } = input;
            text += &format!("{role:?}\t{name}\t{format:?}\t{layout:?}\t{}\n", source.xxh128);
        }
        format!("{:016x}", checksum::section(text.as_bytes()))
    }

    /// Reads the files and writes the graph to `path`, atomically. Returns the bad lines that were
    /// skipped, as examples.
    ///
    /// Fails at the first bad line (unless they are skipped), at an empty or missing file, and where a
    /// file changes while it is read.
    pub fn import(&self, options: &ImportOptions, path: &Path) -> Result<Vec<String>> {
        let metadata = Metadata {
            dataset: options.name.to_owned(),
            skip_bad_lines: options.skip_bad_lines,
            ..Metadata::default()
        };
        let mut builder = GraphBuilder::with_resources(metadata, options.resources(path))?;
        let mut state = State::default();
        let mut examples = Vec::new();
        let all: u64 = self.sources.iter().map(|source| source.bytes).sum();
        let mut done = 0;
        for (input, source) in self.inventory.inputs.iter().zip(&self.sources) {
            options.progress.report("reading", done, all);
            let (progress, before) = (options.progress.clone(), done);
            let watch = move |read| progress.report("reading", before + read, all);
            done += source.bytes;
            let mut bad =
                BadLines::new(&input.path, options.skip_bad_lines).advised(content::advice_for(input)?);
            let read = Source::open(input)?.watched(watch);
            let read = self.inventory.feed(input, read, &mut bad, &mut state, &mut builder)?;
            if read.finish()?.1 != source.xxh128 {
                return Err(Error::file(&input.path, "changed while it was read; import again"));
            }
            let sources = &mut builder.metadata_mut().sources;
            // A file that is read for a second purpose is listed once.
            let place = sources.iter().position(|s| s.name == source.name).unwrap_or_else(|| {
                sources.push(source.clone());
                sources.len() - 1
            });
            sources[place].skipped_lines += bad.skipped;
            if bad.header {
                sources[place].skipped_statements.insert(HEADER.to_owned(), 1);
            }
            if bad.trimmed > 0 {
                let lines = counted(bad.trimmed, "line", "lines");
                bad.remarks.push(format!("blanks around names were taken off on {lines}"));
            }
            if bad.padded > 0 {
                let lines = counted(bad.padded, "line", "lines");
                bad.remarks.push(format!("names begin or end with a blank on {lines}; it is part of them"));
            }
            let graphs = std::mem::take(&mut state.graphs).len() as u64;
            if graphs > 0 {
                let graphs = counted(graphs, "named graph", "named graphs");
                bad.remarks.push(format!("the statements of {graphs} are read as those of one"));
            }
            sources[place].remarks.append(&mut bad.remarks);
            for (reason, count) in Reason::ALL
                .into_iter()
                .zip(std::mem::take(&mut state.skipped))
                .filter(|(_, count)| *count > 0)
            {
                *sources[place].skipped_statements.entry(reason.name().to_owned()).or_default() += count;
            }
            examples.append(&mut bad.examples);
        }
        let skipped = builder.metadata_mut().skipped_statements();
        let skipped: Vec<String> =
            skipped.iter().map(|(reason, count)| format!("{count} ({reason})")).collect();
        match builder.write(path, options.language) {
            // A file of statements that has no edge: say what it has.
            Err(Error::Invalid(message)) if !skipped.is_empty() => {
                Err(Error::Invalid(format!("{message}; skipped statements: {}", skipped.join(", "))))
            }
            written => written.map(|()| examples),
        }
    }
}

/// The name of a folder's or a file's dataset: its own without endings, with `-` for what a name cannot have.
pub fn name_of_folder(folder: &Path) -> Result<String> {
    let real = folder.canonicalize().map_err(Error::io(folder))?;
    let name = match real.is_dir() {
        true => real.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        false => file_stem(&real),
    };
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let name: String = name.chars().map(plain).take(crate::storage::container::MAX_NAME).collect();
    let name = name.trim_start_matches(['.', '-']).to_owned();
    check_dataset_name(&name)
        .map_err(|_| Error::file(folder, "its name cannot name a dataset; choose one with --name"))?;
    Ok(name)
}

/// What deserves attention in an opened graph.
pub fn warnings(graph: &KnowledgeGraph, manifest: Option<&Manifest>) -> Vec<String> {
    let Metadata { findings, sources, .. } = graph.metadata();
    let mut warnings = Vec::new();
    for source in sources.iter().filter(|source| source.skipped_lines > 0) {
        let lines = counted(source.skipped_lines, "bad line", "bad lines");
        warnings.push(format!("{}: skipped {lines}", source.name));
    }
    for source in sources.iter().filter(|source| source.skipped_statements.contains_key(HEADER)) {
        warnings.push(format!("{}: its first line is a header, and no triple", source.name));
    }
    for source in sources {
        warnings.extend(source.remarks.iter().map(|remark| format!("{}: {remark}", source.name)));
    }
    let Findings { unseen_entities, unseen_relations, unseen_triples, .. } = findings;
    if unseen_entities + unseen_relations > 0 {
        let entities = counted(*unseen_entities, "entity", "entities");
        let relations = counted(*unseen_relations, "relation", "relations");
        warnings.push(format!(
            "{entities} and {relations} do not occur in train and are kept; {} valid and {} test triples \
             have one",
            unseen_triples[1], unseen_triples[2]
        ));
    }
    let mut by_split = |counts: &BySplit, what: &str| {
        for (split, &count) in Split::ALL.iter().zip(counts).filter(|(_, count)| **count > 0) {
            warnings.push(format!("{}: {} {what}", split.name(), counted(count, "triple", "triples")));
        }
    };
    by_split(&findings.duplicates, "given more than once; each was kept once");
    by_split(&findings.duplicates_of_earlier_splits, "also in an earlier split, where they were kept");
    by_split(&findings.false_hard_negatives, "given as hard negatives although they are facts");
    for (alike, what) in [(&findings.alike_entities, "entities"), (&findings.alike_relations, "relations")] {
        if let [[first, second], ..] = alike.examples.as_slice() {
            let names = alike.names;
            warnings.push(format!(
                "names of {what} that differ in case, blanks or Unicode form alone are kept apart: {names}, as {first:?} and {second:?}"
            ));
        }
    }
    if let Some(manifest) = manifest {
        warnings.extend(manifest.differences(graph));
    }
    warnings
}

fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
