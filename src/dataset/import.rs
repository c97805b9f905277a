//! Input files -> graph file.

use super::format::ids::{self, InOrder, MapFormat, Mirror};
use super::format::lines::BadLines;
use super::format::ntriples::{self, Reason};
use super::format::triples::{Column, TripleFormat};
use super::format::{aligned, codex, csv, texts, triples};
use super::inventory::{Format, Input, Inventory, Role, file_stem};
use super::registry::Manifest;
use super::source::{Blocks, Source};
use crate::error::{Error, Result};
use crate::graph::builder::check_dataset_name;
use crate::graph::layout::VERSION;
use crate::graph::metadata::{BySplit, Findings, SourceFile};
use crate::graph::vocabulary::Vocabulary;
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
    /// Share of train that goes to valid, and as much again to test; 0 where there are files of these splits.
    pub hold_out: f64,
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

    /// Reads columns in this order and with this delimiter, where given, instead of the usual ones.
    pub fn with_layout(mut self, columns: Option<[Column; 3]>, delimiter: Option<u8>) -> Self {
        let format = &mut self.inventory.format;
        format.columns = columns.unwrap_or(format.columns);
        format.delimiter = delimiter.unwrap_or(format.delimiter);
        self
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
        let ImportOptions { name, skip_bad_lines, language, hold_out, .. } = options;
        let TripleFormat { delimiter, columns } = self.inventory.format;
        let mut text = format!(
            "{VERSION}\n{name}\n{skip_bad_lines}\n{language:?}\n{hold_out}\n{delimiter}\n{columns:?}\n"
        );
        for (input, source) in self.inventory.inputs.iter().zip(&self.sources) {
            let Input { role, name, format, .. } = input;
            text += &format!("{role:?}\t{name}\t{format:?}\t{}\n", source.xxh128);
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
        let is_held_out = |i: &Input| matches!(i.role, Role::Triples(Split::Valid | Split::Test));
        if options.hold_out > 0.0 && self.inventory.inputs.iter().any(is_held_out) {
            let message =
                "has files of valid or test: a share of train is held out only where there are none";
            return Err(Error::file(&self.inventory.folder, message));
        }
        let mut state = State { hold_out: options.hold_out, ..State::default() };
        let mut examples = Vec::new();
        let all: u64 = self.sources.iter().map(|source| source.bytes).sum();
        let mut done = 0;
        for (input, source) in self.inventory.inputs.iter().zip(&self.sources) {
            options.progress.report("reading", done, all);
            let (progress, before) = (options.progress.clone(), done);
            let watch = move |read| progress.report("reading", before + read, all);
            done += source.bytes;
            let mut bad = BadLines::new(&input.path, options.skip_bad_lines);
            let read = Source::open(input)?.watched(watch);
            let read = self.read(input, read, &mut bad, &mut state, &mut builder)?;
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

    /// Feeds one file to the builder, as a stream. Only labels as JSON and readable copies are read whole.
    fn read(
        &self,
        input: &Input,
        mut source: Source,
        bad: &mut BadLines,
        state: &mut State,
        builder: &mut GraphBuilder,
    ) -> Result<Source> {
        let State { skipped, ids, hold_out } = state;
        let hold_out = *hold_out;
        match &input.role {
            Role::Ids(subject, format) => self.ids(*subject, *format, source, ids, builder),
            Role::Triples(split) if input.format == Format::Ids => {
                self.numbers(source, bad, ids, |h, r, t| builder.add_ids(*split, h, r, t))
            }
            Role::HardNegatives(split) if input.format == Format::Ids => {
                self.numbers(source, bad, ids, |h, r, t| builder.add_hard_negative_ids(*split, h, r, t))
            }
            Role::Triples(split) if !ids.names[0].is_empty() => {
                self.triples(input, source, bad, |h, r, t| {
                    let [h, r, t] = ids.find([h, r, t])?;
                    builder.add_ids(*split, h, r, t)
                })
            }
            Role::HardNegatives(split) if !ids.names[0].is_empty() => {
                self.triples(input, source, bad, |h, r, t| {
                    let [h, r, t] = ids.find([h, r, t])?;
                    builder.add_hard_negative_ids(*split, h, r, t)
                })
            }
            Role::Triples(split) if input.format == Format::NTriples => {
                let mut blocks = Blocks::new(source);
                ntriples::read(&mut blocks, ntriples::edges, |parsed| {
                    parsed.report(bad)?;
                    skipped.iter_mut().zip(parsed.skipped).for_each(|(all, here)| *all += here);
                    parsed
                        .items()
                        .try_for_each(|[h, r, t]| builder.add(held_out(*split, hold_out, [h, r, t]), h, r, t))
                })?;
                Ok(blocks.into_source())
            }
            Role::RdfLabels => {
                let mut blocks = Blocks::new(source);
                ntriples::read(&mut blocks, ntriples::labels, |parsed| {
                    for [name, language, label] in parsed.items() {
                        let mut add = |subject| builder.add_label(subject, language, name, label);
                        // A predicate can be a subject too.
                        if !(add(Subject::Entity) | add(Subject::Relation)) {
                            skipped[Reason::UnusedLabel as usize] += 1;
                        }
                    }
                    Ok(())
                })?;
                Ok(blocks.into_source())
            }
            Role::Triples(split) => self.triples(input, source, bad, |h, r, t| {
                builder.add(held_out(*split, hold_out, [h, r, t]), h, r, t)
            }),
            Role::HardNegatives(split) => {
                self.triples(input, source, bad, |h, r, t| builder.add_hard_negative(*split, h, r, t))
            }
            Role::Texts(subject) => {
                let mut blocks = Blocks::new(source);
                while let Some(block) = blocks.next()? {
                    texts::read(block, bad, |name, text| {
                        builder.add_label(*subject, "en", name, text);
                    })?;
                }
                Ok(blocks.into_source())
            }
            Role::Aliases(subject) => {
                let mut blocks = Blocks::new(source);
                while let Some(block) = blocks.next()? {
                    texts::read(block, bad, |name, aliases| {
                        let label = aliases.split('\t').next().unwrap_or_default();
                        builder.add_label(*subject, "en", name, label);
                    })?;
                }
                Ok(blocks.into_source())
            }
            Role::CodexLabels(subject, language) => {
                codex::read(&input.path, &source.read_all()?, |name, label| {
                    builder.add_label(*subject, language, name, label);
                })?;
                Ok(source)
            }
            Role::ReadableCopy(split) => {
                let original = self.inventory.inputs.iter().find(|i| i.role == Role::Triples(*split));
                let original = original.expect("an inventory has all splits");
                let triples = Source::open(original)?.read_all()?;
                let (path, format) = (original.path.as_path(), self.inventory.format);
                aligned::read((path, &triples), &source.read_all()?, format, bad, |triple, labels| {
                    let [head, relation, tail] = labels;
                    builder.add_label(Subject::Entity, "en", triple[0], head);
                    builder.add_label(Subject::Relation, "en", triple[1], relation);
                    builder.add_label(Subject::Entity, "en", triple[2], tail);
                })?;
                Ok(source)
            }
        }
    }

    /// Declares the names of a map, in the order of their ids.
    fn ids(
        &self,
        subject: Subject,
        format: MapFormat,
        mut source: Source,
        ids: &mut Ids,
        builder: &mut GraphBuilder,
    ) -> Result<Source> {
        let path = source.path().to_path_buf();
        let doubled = format == MapFormat::Pickle && subject == Subject::Relation && self.is_doubled()?;
        let mut before = String::new();
        let mut number = 0u32;
        let mut in_order = InOrder::new(|name: &str| {
            number += 1;
            if doubled && number % 2 == 1 {
                before = name.to_owned();
                return Ok(());
            }
            let forward = before.strip_prefix('+').filter(|f| name.strip_prefix('-') == Some(f));
            let name = if doubled { forward.unwrap_or(&before) } else { name };
            if format == MapFormat::IdName {
                ids.names[subject as usize].intern(name)?;
            }
            builder.declare(subject, name).map(|_| ())
        });
        let mut stated = None;
        if format == MapFormat::Pickle {
            in_order.pickle(&path, &source.read_all()?)?;
        } else {
            let mut blocks = Blocks::new(source);
            while let Some(block) = blocks.next()? {
                in_order.lines(block, format, &path, &mut stated)?;
            }
            source = blocks.into_source();
        }
        let count = in_order.finish(&path)?;
        if let Some(stated) = stated.filter(|&stated| stated != count) {
            return Err(Error::file(&path, format!("its first line says {stated} names, found {count}")));
        }
        if doubled && count % 2 == 1 {
            let message =
                format!("train has each fact in both directions, but {count} relations are no pairs");
            return Err(Error::file(&path, message));
        }
        ids.counts[subject as usize] = count;
        ids.doubled |= doubled;
        Ok(source)
    }

    /// Whether the numbers of train hold each fact in both directions. Reads train once. O(1) memory.
    fn is_doubled(&self) -> Result<bool> {
        let train = self.inventory.inputs.iter().find(|input| input.role == Role::Triples(Split::Train));
        let Some(train) = train else { return Ok(false) };
        let mut mirror = Mirror::default();
        // Its own import reports bad lines.
        let mut passed_over = BadLines::new(&train.path, true);
        let mut blocks = Blocks::new(Source::open(train)?);
        while let Some(block) = blocks.next()? {
            ids::triples(block, self.inventory.format, [u32::MAX; 2], &mut passed_over, |triple| {
                mirror.see(triple);
                Ok(())
            })?;
        }
        Ok(mirror.is_whole())
    }

    /// Triples of numbers. Where train has each fact in both directions, so must this file, and the inverse is
    /// dropped.
    fn numbers(
        &self,
        source: Source,
        bad: &mut BadLines,
        ids: &Ids,
        mut take: impl FnMut(u32, u32, u32) -> Result<()>,
    ) -> Result<Source> {
        let mut mirror = Mirror::default();
        let mut blocks = Blocks::new(source);
        while let Some(block) = blocks.next()? {
            ids::triples(block, self.inventory.format, ids.counts, bad, |triple| {
                if !ids.doubled {
                    return take(triple[0], triple[1], triple[2]);
                }
                mirror.see(triple);
                match triple[1] % 2 {
                    0 => take(triple[0], triple[1] / 2, triple[2]),
                    _ => Ok(()),
                }
            })?;
        }
        if ids.doubled && !mirror.is_whole() && !mirror.is_empty() {
            let message = "has facts without their inverse, although train has each in both directions; \
                           give both or none";
            return Err(Error::file(bad.path(), message));
        }
        Ok(blocks.into_source())
    }

    fn triples(
        &self,
        input: &Input,
        mut source: Source,
        bad: &mut BadLines,
        mut take: impl FnMut(&str, &str, &str) -> Result<()>,
    ) -> Result<Source> {
        let mut empty = true;
        if input.format == Format::Csv {
            let format = TripleFormat { delimiter: b',', ..self.inventory.format };
            empty = !csv::read(&mut source, format, bad, take)?;
        } else {
            let mut blocks = Blocks::new(source);
            while let Some(block) = blocks.next()? {
                triples::read(block, self.inventory.format, bad, &mut take)?;
                empty = false;
            }
            source = blocks.into_source();
        }
        if empty {
            let message = "is empty; expected one triple per line: head, relation, tail";
            return Err(Error::file(bad.path(), message));
        }
        Ok(source)
    }
}

/// The split of a triple of train of which `share` is held out for valid, and as much for test: by a hash of
/// its names, so that neither the order nor duplicates matter.
fn held_out(split: Split, share: f64, triple: [&str; 3]) -> Split {
    if share == 0.0 || split != Split::Train {
        return split;
    }
    let hash = checksum::section(triple.join("\t").as_bytes());
    match (hash >> 11) as f64 / (1u64 << 53) as f64 {
        place if place < share => Split::Valid,
        place if place < 2.0 * share => Split::Test,
        _ => Split::Train,
    }
}

/// What outlives a file while a dataset is read.
#[derive(Debug, Default)]
struct State {
    /// See [`ImportOptions::hold_out`].
    hold_out: f64,
    /// Statements of the file at hand, by [`Reason`].
    skipped: [u64; Reason::ALL.len()],
    ids: Ids,
}

/// What is known of a dataset that has its own ids.
#[derive(Debug, Default)]
struct Ids {
    /// Numbers of entities and relations, by [`Subject`].
    counts: [u32; 2],
    /// Whether relations 2k and 2k + 1 are each other's inverses.
    doubled: bool,
    /// The names, where triples are written with them.
    names: [Vocabulary; 2],
}

impl Ids {
    fn find(&self, [head, relation, tail]: [&str; 3]) -> Result<[u32; 3]> {
        let find = |subject: Subject, name: &str| {
            let unknown = || Error::invalid(format!("{name:?} of a triple has no id: its map lacks it"));
            self.names[subject as usize].get(name).ok_or_else(unknown)
        };
        Ok([find(Subject::Entity, head)?, find(Subject::Relation, relation)?, find(Subject::Entity, tail)?])
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
