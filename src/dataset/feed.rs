//! One input file -> calls on the graph builder; `numbers` has those of files whose triples are ids.

mod numbers;

use super::format::arrays::{Array, read, read_npz, read_ogb};
use super::format::lines::{BadLines, Block};
use super::format::maps;
use super::format::ntriples::{self, Lines};
use super::format::rdf::{Parsed, Reason};
use super::format::triples::Objection;
use super::format::{aligned, codex, csv, entity2text, triples, turtle};
use super::inventory::{Format, Input, Inventory, Role};
use super::source::{Blocks, Source};
use crate::error::{Error, Result};
use crate::graph::{GraphBuilder, Split, Subject};
use crate::storage::checksum;
use numbers::Ids;
use rustc_hash::FxHashSet;

impl Inventory {
    /// Feeds one file to the builder, as a stream. Only labels as JSON and readable copies are read whole.
    pub(super) fn feed(
        &self,
        input: &Input,
        mut source: Source,
        bad: &mut BadLines,
        state: &mut State,
        builder: &mut GraphBuilder,
    ) -> Result<Source> {
        let State { skipped, ids, graphs } = state;
        match &input.role {
            Role::Ids(subject, format) => self.ids(*subject, *format, source, bad, ids, builder),
            Role::Counts => self.counts(source, bad, ids, builder),
            // Read with the first columns.
            Role::Columns(_) => Ok(source),
            Role::IdLabels(subject) => maps::csv_map(&input.path, &mut source, |_, _, name, title| {
                builder.add_label(*subject, "en", name, title);
                Ok(())
            })
            .map(|_| source),
            Role::Triples(split) if input.format != Format::Ids && input.format.is_ids() => {
                self.arrays(input, &mut source, *split, ids.counts, builder)?;
                Ok(source)
            }
            Role::Triples(split) if input.format == Format::Ids => {
                self.numbers(input, source, bad, ids, |h, r, t| {
                    builder.add_ids(self.split_of(*split, || place_of_ids([h, r, t])), h, r, t)
                })
            }
            Role::HardNegatives(split) if input.format == Format::Ids => {
                self.numbers(input, source, bad, ids, |h, r, t| {
                    builder.add_hard_negative_ids(*split, h, r, t)
                })
            }
            Role::Triples(split) if !ids.names[0].is_empty() => {
                self.triples(input, source, bad, |h, r, t| {
                    let split = self.split_of(*split, || place_of_names([h, r, t]));
                    match ids.find([h, r, t]) {
                        Ok([h, r, t]) => builder.add_ids(split, h, r, t).map(|()| None),
                        Err(unknown) => Ok(Some(unknown)),
                    }
                })
            }
            Role::HardNegatives(split) if !ids.names[0].is_empty() => {
                self.triples(input, source, bad, |h, r, t| match ids.find([h, r, t]) {
                    Ok([h, r, t]) => builder.add_hard_negative_ids(*split, h, r, t).map(|()| None),
                    Err(unknown) => Ok(Some(unknown)),
                })
            }
            Role::Triples(split) if input.format.is_rdf() => {
                self.statements(input, source, bad, true, |parsed| {
                    skipped.iter_mut().zip(parsed.skipped).for_each(|(all, here)| *all += here);
                    graphs.extend(&parsed.graphs);
                    parsed.items().try_for_each(|[h, r, t]| {
                        builder.add(self.split_of(*split, || place_of_names([h, r, t])), h, r, t)
                    })
                })
            }
            Role::RdfLabels => self.statements(input, source, bad, false, |parsed| {
                for [name, language, label] in parsed.items() {
                    let mut add = |subject| builder.add_label(subject, language, name, label);
                    // A predicate can be a subject too.
                    if !(add(Subject::Entity) | add(Subject::Relation)) {
                        skipped[Reason::UnusedLabel as usize] += 1;
                    }
                }
                Ok(())
            }),
            Role::Triples(split) => self.triples(input, source, bad, |h, r, t| {
                builder.add(self.split_of(*split, || place_of_names([h, r, t])), h, r, t).map(|()| None)
            }),
            Role::HardNegatives(split) => self.triples(input, source, bad, |h, r, t| {
                builder.add_hard_negative(*split, h, r, t).map(|()| None)
            }),
            Role::Texts(subject) => texts(source, bad, |name, text| {
                builder.add_label(*subject, "en", name, text);
            }),
            Role::Aliases(subject) => texts(source, bad, |name, text| {
                builder.add_label(*subject, "en", name, text.split('\t').next().unwrap_or_default());
            }),
            Role::CodexLabels(subject, language) => {
                codex::read(&input.path, &source.read_all()?, |name, label| {
                    builder.add_label(*subject, language, name, label);
                })?;
                Ok(source)
            }
            Role::ReadableCopy(split) => {
                let original = self.triples_of(*split);
                let triples = Source::open(original)?.read_all()?;
                let (path, format) = (original.path.as_path(), original.layout);
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

    /// Triples of an array of ids.
    fn arrays(
        &self,
        input: &Input,
        source: &mut Source,
        split: Split,
        counts: [u32; 2],
        builder: &mut GraphBuilder,
    ) -> Result<()> {
        let most = self.most_ids();
        arrays(input, source, |row, [h, r, t]| {
            let limits = [(h, 0, "entities"), (r, 1, "relations"), (t, 0, "entities")];
            for (id, subject, what) in limits {
                let count: u32 = counts[subject];
                if count == 0 && u64::from(id) >= most {
                    let message = format!(
                        "row {row}: id {id} is far above the number of {what} that so few triples can have: \
                         number them from 0 without gaps, or give triples with names instead"
                    );
                    return Err(Error::file(&input.path, message));
                }
                if count > 0 && id >= count {
                    let message = format!("row {row}: id {id} has no name: there are {count} {what}");
                    return Err(Error::file(&input.path, message));
                }
            }
            builder.add_ids(self.split_of(split, || place_of_ids([h, r, t])), h, r, t)
        })
    }

    /// The file of a split's triples.
    fn triples_of(&self, split: Split) -> &Input {
        let input = self.inputs.iter().find(|i| i.role == Role::Triples(split));
        input.expect("an inventory has all splits")
    }

    /// The split of a triple of the file of `split` at this place: a share of train may be held out.
    fn split_of(&self, split: Split, place: impl FnOnce() -> f64) -> Split {
        let share = self.hold_out;
        if share == 0.0 || split != Split::Train {
            return split;
        }
        let place = place() / share;
        self.held_out.get(place as usize).copied().unwrap_or(Split::Train)
    }

    /// The edges, or the labels, of a file of RDF.
    fn statements(
        &self,
        input: &Input,
        mut source: Source,
        bad: &mut BadLines,
        edges: bool,
        mut take: impl FnMut(&Parsed) -> Result<()> + Send,
    ) -> Result<Source> {
        let lenient = self.lenient;
        if matches!(input.format, Format::Turtle | Format::TriG) {
            let document = turtle::Document { graphs: input.format == Format::TriG, lenient, labels: !edges };
            if edges {
                turtle::read(&mut source, document, bad, take)?;
            } else {
                // The reading of edges reports bad statements.
                turtle::read(&mut source, document, &mut BadLines::new(&input.path, true), take)?;
            }
            return Ok(source);
        }
        let reader = Lines { quads: input.format == Format::NQuads, lenient };
        let mut blocks = Blocks::new(source);
        let parse = |block: Block| if edges { reader.edges(block) } else { reader.labels(block) };
        ntriples::read(&mut blocks, parse, |parsed| {
            parsed.report(bad)?;
            take(parsed)
        })?;
        Ok(blocks.into_source())
    }

    fn triples(
        &self,
        input: &Input,
        source: Source,
        bad: &mut BadLines,
        mut take: impl FnMut(&str, &str, &str) -> Result<Objection>,
    ) -> Result<Source> {
        let mut first = FirstTriple::default();
        let mut take = |h: &str, r: &str, t: &str| {
            first.see([h, r, t]);
            take(h, r, t)
        };
        let mut empty = true;
        let mut blocks = Blocks::new(source);
        while let Some(block) = blocks.next()? {
            match input.format {
                Format::Csv => csv::read(block, input.layout, bad, &mut take)?,
                _ => triples::read(block, input.layout, bad, &mut take)?,
            }
            empty = false;
        }
        let source = blocks.into_source();
        if empty && input.role == Role::Triples(Split::Train) {
            let message = "is empty; expected one triple per line: head, relation, tail";
            return Err(Error::file(bad.path(), message));
        }
        if let Some([h, r, t]) = first.looks_like_a_header().filter(|_| !bad.header) {
            bad.remarks.push(format!(
                "its first line may be a header: {h:?}, {r:?} and {t:?} do not come again; it is kept as a triple, unless \
                 `--header yes` says otherwise"
            ));
        }
        Ok(source)
    }
}

/// The first triple of a file, and whether any of its names comes again.
#[derive(Debug, Default)]
struct FirstTriple {
    names: Option<[String; 3]>,
    again: bool,
    others: u64,
}

impl FirstTriple {
    fn see(&mut self, [h, r, t]: [&str; 3]) {
        let Some([head, relation, tail]) = &self.names else {
            self.names = Some([h, r, t].map(str::to_owned));
            return;
        };
        self.others += 1;
        self.again = self.again || r == relation || [h, t].iter().any(|name| name == head || name == tail);
    }

    /// Its names, where there are some triples more and none of them shares one.
    fn looks_like_a_header(self) -> Option<[String; 3]> {
        self.names.filter(|_| !self.again && self.others >= 3)
    }
}

/// Reads arrays of triples.
fn arrays(input: &Input, source: &mut Source, take: impl FnMut(u64, [u32; 3]) -> Result<()>) -> Result<()> {
    let second = input.beside.as_ref().map(|path| {
        let part = Input::new(Role::Columns(Split::Train), String::new(), path.clone());
        Source::open(&part).map(|source| (path, source))
    });
    let mut second = second.transpose()?;
    match (input.format, &mut second) {
        (Format::Npz, _) => read_npz(&input.path, take),
        (Format::OgbCsv, Some((path, second))) => read_ogb([(&input.path, source), (path, second)], take),
        (_, Some((path, second))) => {
            let arrays = &mut [Array::open(source, &input.path)?, Array::open(second, path)?];
            read(arrays, input.layout.columns, take)
        }
        (_, None) => read(&mut [Array::open(source, &input.path)?], input.layout.columns, take),
    }
}

/// The place of a triple in a random order, from 0 to 1, which neither the order of lines nor duplicates
/// change.
fn place_of_names(triple: [&str; 3]) -> f64 {
    place(checksum::section(triple.join("\t").as_bytes()))
}

/// As [`place_of_names`], of a triple that is written as ids.
fn place_of_ids(triple: [u32; 3]) -> f64 {
    place(checksum::section(bytemuck::bytes_of(&triple)))
}

fn place(hash: u64) -> f64 {
    (hash >> 11) as f64 / (1u64 << 53) as f64
}

/// What outlives a file while a dataset is read.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Statements of the file at hand, by [`Reason`].
    pub skipped: [u64; Reason::ALL.len()],
    /// Named graphs of the file at hand, by hash.
    pub graphs: FxHashSet<u64>,
    ids: Ids,
}

/// Names with texts, line by line.
fn texts(source: Source, bad: &mut BadLines, mut add: impl FnMut(&str, &str)) -> Result<Source> {
    let mut blocks = Blocks::new(source);
    while let Some(block) = blocks.next()? {
        entity2text::read(block, bad, &mut add)?;
    }
    Ok(blocks.into_source())
}
