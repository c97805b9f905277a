//! The second half of the builder: from what was collected to the graph file.

use super::{GraphBuilder, OPEN, OpenTriple};
use crate::error::{Error, Result};
use crate::graph::Split;
use crate::graph::alike::{Alike, MOST, alike};
use crate::graph::deduplicate::{Deduplicated, STEP, deduplicate};
use crate::graph::edges::{EdgeWriter, merge};
use crate::graph::id_assigner::{AllNames, IdAssigner};
use crate::graph::label_builder::{LabelBuilder, LabelTables};
use crate::graph::layout::{Kind, MAGIC, Subject, VERSION};
use crate::graph::metadata::Findings;
use crate::graph::string_writer::StringWriter;
use crate::ids::{EntityId, Triple};
use crate::storage::atomic;
use crate::storage::container::Writer;
use crate::storage::scratch::Spool;
use crate::storage::sort::{Sorted, Sorter};
use crate::storage::sort_records::Record;
use std::io::ErrorKind;
use std::path::Path;

impl GraphBuilder {
    /// Writes the graph to `path`, atomically. `language` is the one whose labels are shown (`None`:
    /// English, or the first there is).
    ///
    /// Fails where there is no triple in train, where labels in `language` are missing, where an id has no
    /// name or two have the same, and where the file cannot be written.
    pub fn write(mut self, path: &Path, language: Option<&str>) -> Result<()> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let memory = usize::try_from(self.resources.memory).unwrap_or(usize::MAX);
        let empty = IdAssigner::new(&self.scratch, 0);
        let (names, by_position) = std::mem::replace(&mut self.entities, empty).finish()?;
        self.close(&by_position)?;
        drop(by_position);
        if self.triples[Split::Train as usize].is_empty() {
            return Err(Error::invalid(format!("{}: train has no triple", self.metadata.dataset)));
        }
        let mut entities = self.entity_names(&names, memory)?;
        drop(names);
        let num_entities = entities.num_texts() as usize;
        self.name_relations()?;
        self.resources.progress.report("sorting names", 0, 0);
        let sorted = entities.sort()?;
        if let (Some(sorted), true) = (&sorted, self.by_ids) {
            check_unique(sorted.iter()?)?;
        }
        let alike_entities = match &sorted {
            Some(sorted) if num_entities as u64 <= MOST => {
                alike(|take| sorted.iter()?.try_for_each(|record| record.map(|record| take(record.key()))))?
            }
            _ => Alike::default(),
        };
        let alike_relations = alike(|take| {
            (0..self.relations.len() as u32).for_each(|id| take(self.relations.name(id).as_bytes()));
            Ok(())
        })?;
        let labels = std::mem::replace(&mut self.labels, LabelBuilder::new(&self.scratch, 0));
        let labels = labels.finish(sorted.as_ref())?;
        drop(sorted);
        self.metadata.languages = labels.languages.clone();
        self.metadata.set_language(language)?;
        self.metadata.smore_version = env!("CARGO_PKG_VERSION").to_owned();
        let sizes = (num_entities, self.relations.len());
        let empty = std::array::from_fn(|_| Sorter::new(&self.scratch, 0));
        let triples = std::mem::replace(&mut self.triples, empty);
        let Deduplicated { splits, findings } =
            deduplicate(triples, &self.hard_negatives, sizes, &self.scratch, &self.resources)?;
        self.metadata.findings = Findings { alike_entities, alike_relations, ..findings };

        let written = atomic::write(path, |file| {
            let mut writer = Writer::new(file, path)?;
            self.write_sections(&mut writer, splits, entities, labels)?;
            let counts = [num_entities as u64, 2 * self.relations.len() as u64, 0];
            writer.finish(MAGIC, VERSION, counts, &self.metadata.dataset)
        });
        written.map_err(|error| match error {
            Error::Io { source, .. } if source.kind() == ErrorKind::StorageFull => self.scratch.error(source),
            other => other,
        })
    }

    /// Sorts in the triples that were put aside; `[position, id]` tells their entities.
    fn close(&mut self, by_position: &Sorted<[u64; 2]>) -> Result<()> {
        let mut ids = by_position.iter()?;
        let mut fill = |entity: &mut EntityId| -> Result<()> {
            if entity.0 == OPEN {
                let [_, id] = ids.next().transpose()?.expect("each occurrence put aside has an id");
                *entity = EntityId(id as u32);
            }
            Ok(())
        };
        for (index, entry) in self.open.values::<OpenTriple>(1 << 18).enumerate() {
            let OpenTriple { mut triple, kind } = entry?;
            fill(&mut triple.head)?;
            fill(&mut triple.tail)?;
            match kind {
                0..3 => self.triples[kind as usize].push(triple)?,
                _ => self.hard_negatives[kind as usize - 3].push(triple)?,
            }
            if index.is_multiple_of(STEP) {
                self.resources.progress.report("numbering names", index as u64, self.num_open);
            }
        }
        self.open = Spool::new(&self.scratch, 0);
        Ok(())
    }

    fn entity_names(&mut self, names: &AllNames, memory: usize) -> Result<StringWriter> {
        let declared = self.declared.take();
        if let Some(declared) = declared {
            if declared.num_texts() < self.needed[0] {
                return Err(Error::invalid(format!(
                    "entity {} has no name: the names of {} were given",
                    self.needed[0] - 1,
                    declared.num_texts()
                )));
            }
            return Ok(declared);
        }
        let mut writer = StringWriter::new(&self.scratch, true, memory / 4);
        if self.by_ids {
            (0..self.needed[0]).try_for_each(|id| writer.push(id, id.to_string().as_bytes()))?;
        }
        names.for_each(|name| writer.push(writer.num_texts(), name))?;
        Ok(writer)
    }

    fn name_relations(&mut self) -> Result<()> {
        let (named, needed) = (self.relations.len(), self.needed[1]);
        if named == 0 {
            (0..needed).try_for_each(|id| self.relations.intern(&id.to_string()).map(drop))?;
        }
        match self.relations.len() < needed as usize {
            true => Err(Error::invalid(format!(
                "relation {} has no name: the names of {named} were given",
                needed - 1
            ))),
            false => Ok(()),
        }
    }

    fn write_sections(
        &self,
        writer: &mut Writer,
        splits: [(Spool, Sorted<Triple>); 3],
        entities: StringWriter,
        mut labels: LabelTables,
    ) -> Result<()> {
        let metadata = serde_json::to_vec(&self.metadata).expect("metadata is plain data");
        writer.section(Kind::Metadata as u32, 0, &metadata)?;
        let num_entities = entities.num_texts() as usize;
        for (split, (facts, inverses)) in Split::ALL.into_iter().zip(splits) {
            let (number, stage) =
                (facts.len() / size_of::<Triple>() as u64, format!("writing {}", split.name()));
            let mut edges = EdgeWriter::new(
                &self.scratch,
                (self.resources.memory / 64) as usize,
                2 * self.relations.len(),
            );
            let both = merge(facts.values::<Triple>(1 << 20), inverses.iter()?);
            for (index, edge) in (0..).zip(both) {
                edges.push(edge?)?;
                if index % (2 * STEP as u64) == 0 {
                    self.resources.progress.report(&stage, index / 2, number);
                }
            }
            drop((facts, inverses));
            edges.write(writer, split as u32, num_entities)?;
        }
        for (tag, negatives) in (0..).zip(&self.hard_negatives) {
            if !negatives.is_empty() {
                writer.stream(Kind::HardNegatives as u32, tag, |section| {
                    negatives.for_each_block(|block| section.append(block))
                })?;
            }
        }
        self.resources.progress.report("writing names", 0, 0);
        entities.write(writer, Subject::Entity.names())?;
        labels.write(writer, Subject::Entity)?;
        let mut relations = StringWriter::new(&self.scratch, true, 1 << 24);
        self.relations.iter().try_for_each(|name| relations.push(relations.num_texts(), name.as_bytes()))?;
        relations.write(writer, Subject::Relation.names())?;
        labels.write(writer, Subject::Relation)
    }
}

/// Fails where a text occurs twice.
fn check_unique(names: impl Iterator<Item = Result<Record>>) -> Result<()> {
    let mut last: Option<Record> = None;
    for name in names {
        let name = name?;
        if let Some(last) = last.filter(|last| last.key() == name.key()) {
            return Err(Error::invalid(format!(
                "entities {} and {} have the same name {:?}",
                last.number,
                name.number,
                String::from_utf8_lossy(name.key())
            )));
        }
        last = Some(name);
    }
    Ok(())
}
