//! Input files -> graph file.

use super::format::lines::BadLines;
use super::format::triples::TripleFormat;
use super::format::{aligned, codex, csv, texts, triples};
use super::inventory::{Input, Inventory, Role};
use super::registry::Manifest;
use crate::error::{Error, Result};
use crate::graph::builder::check_dataset_name;
use crate::graph::layout::VERSION;
use crate::graph::metadata::{BySplit, Findings, SourceFile};
use crate::graph::{GraphBuilder, KnowledgeGraph, Metadata, Resources, Split, Subject};
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
    /// Who is told how far the import is.
    pub progress: Progress,
}

impl ImportOptions<'_> {
    /// What the builder of the graph file `path` may use; temporary files lie beside it.
    pub fn resources(&self, path: &Path) -> Resources {
        Resources::beside(path, self.memory, self.progress.clone())
    }
}

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
        let source = |input: &Input| {
            let (bytes, xxh128) = input.checksum()?;
            Ok(SourceFile { name: input.name.clone(), bytes, xxh128, skipped_lines: 0 })
        };
        let sources = inventory.inputs.iter().map(source).collect::<Result<_>>()?;
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
        let TripleFormat { delimiter, columns } = self.inventory.format;
        let mut text =
            format!("{VERSION}\n{name}\n{skip_bad_lines}\n{language:?}\n{delimiter}\n{columns:?}\n");
        for (input, source) in self.inventory.inputs.iter().zip(&self.sources) {
            text += &format!("{:?}\t{}\t{}\n", input.role, input.name, source.xxh128);
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
        let mut examples = Vec::new();
        let all: u64 = self.sources.iter().map(|source| source.bytes).sum();
        let mut done = 0;
        for (input, source) in self.inventory.inputs.iter().zip(&self.sources) {
            options.progress.report("reading", done, all);
            done += source.bytes;
            let bytes = input.read()?;
            if checksum::hex(&bytes) != source.xxh128 {
                return Err(Error::file(&input.path, "changed while it was read; import again"));
            }
            let mut bad = BadLines::new(&input.path, options.skip_bad_lines);
            self.read(input, &bytes, &mut bad, &mut builder)?;
            let source = SourceFile { skipped_lines: bad.skipped, ..source.clone() };
            builder.metadata_mut().sources.push(source);
            examples.append(&mut bad.examples);
        }
        builder.write(path, options.language)?;
        Ok(examples)
    }

    fn read(
        &self,
        input: &Input,
        bytes: &[u8],
        bad: &mut BadLines,
        builder: &mut GraphBuilder,
    ) -> Result<()> {
        match &input.role {
            Role::Triples(split) => self.triples(bytes, bad, |h, r, t| builder.add(*split, h, r, t)),
            Role::HardNegatives(split) => {
                self.triples(bytes, bad, |h, r, t| builder.add_hard_negative(*split, h, r, t))
            }
            Role::Texts(subject) => texts::read(bytes, bad, |name, text| {
                builder.add_label(*subject, "en", name, text);
            }),
            Role::CodexLabels(subject, language) => codex::read(&input.path, bytes, |name, label| {
                builder.add_label(*subject, language, name, label);
            }),
            Role::ReadableCopy(split) => {
                let original = self.inventory.inputs.iter().find(|i| i.role == Role::Triples(*split));
                let original = original.expect("an inventory has all splits");
                let (path, triples) = (original.path.as_path(), original.read()?);
                aligned::read((path, &triples), bytes, self.inventory.format, bad, |triple, labels| {
                    let [head, relation, tail] = labels;
                    builder.add_label(Subject::Entity, "en", triple[0], head);
                    builder.add_label(Subject::Relation, "en", triple[1], relation);
                    builder.add_label(Subject::Entity, "en", triple[2], tail);
                })
            }
        }
    }

    fn triples(
        &self,
        bytes: &[u8],
        bad: &mut BadLines,
        take: impl FnMut(&str, &str, &str) -> Result<()>,
    ) -> Result<()> {
        if bad.path().extension().is_some_and(|extension| extension == "csv") {
            let format = TripleFormat { delimiter: b',', ..self.inventory.format };
            csv::read(bytes, format, bad, take)
        } else {
            triples::read(bytes, self.inventory.format, bad, take)
        }
    }
}

/// The name of a folder's dataset: the folder's own, with `-` for what a name cannot have.
pub fn name_of_folder(folder: &Path) -> Result<String> {
    let real = folder.canonicalize().map_err(Error::io(folder))?;
    let name = real.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
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
        warnings.push(format!("{}: skipped {} bad lines", source.name, source.skipped_lines));
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
    if let Some(manifest) = manifest {
        warnings.extend(manifest.differences(graph));
    }
    warnings
}

fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
