//! Labels while a graph is built, in bounded memory.

use super::layout::Subject;
use super::string_writer::StringWriter;
use crate::error::Result;
use crate::storage::container::Writer;
use crate::storage::scratch::Scratch;
use crate::storage::sort_records::{Record, RecordSorter, SortedRecords};
use std::sync::Arc;

/// Labels of entities and relations in several languages.
#[derive(Debug)]
pub struct LabelBuilder {
    scratch: Arc<Scratch>,
    memory: usize,
    /// In the order in which they were met, which numbers them here.
    languages: Vec<String>,
    /// Key: subject, language, id; number: position in the input.
    by_id: RecordSorter,
    /// Labels of entities whose ids are not known yet. Key: name; payload: language and label.
    by_name: RecordSorter,
    given: u64,
}

/// Label tables, ready to be written.
#[derive(Debug)]
pub struct LabelTables {
    /// Languages that have labels, ascending.
    pub languages: Vec<String>,
    tables: Vec<(Subject, String, StringWriter)>,
}

impl LabelBuilder {
    /// No labels; takes `memory` bytes.
    pub fn new(scratch: &Arc<Scratch>, memory: usize) -> Self {
        let sorter = || RecordSorter::new(scratch, memory / 2);
        let (by_id, by_name) = (sorter(), sorter());
        LabelBuilder { scratch: scratch.clone(), memory, languages: Vec::new(), by_id, by_name, given: 0 }
    }

    fn language(&mut self, language: &str) -> u32 {
        let number = self.languages.iter().position(|known| known == language).unwrap_or_else(|| {
            self.languages.push(language.to_owned());
            self.languages.len() - 1
        });
        number as u32
    }

    /// Adds a label of an id. Of several in one language the first stays.
    pub fn add(&mut self, subject: Subject, language: &str, id: u32, label: &str) -> Result<()> {
        let language = self.language(language);
        self.given += 1;
        self.by_id.push(&key(subject, language, id), self.given, label.as_bytes())
    }

    /// Adds a label of an entity that is known by name only, so far.
    pub fn add_by_name(&mut self, language: &str, name: &str, label: &str) -> Result<()> {
        let language = self.language(language);
        self.given += 1;
        let payload = [&language.to_be_bytes(), label.as_bytes()].concat();
        self.by_name.push(name.as_bytes(), self.given, &payload)
    }

    /// Makes the tables. `names` are the entities' names, numbered by id; a label of another name is
    /// passed over.
    pub fn finish(self, names: Option<&SortedRecords>) -> Result<LabelTables> {
        let LabelBuilder { scratch, memory, languages, mut by_id, by_name, .. } = self;
        if let Some(names) = names.filter(|_| !by_name.is_empty()) {
            let mut names = names.iter()?;
            let mut name = names.next().transpose()?;
            for label in by_name.finish()?.iter()? {
                let label = label?;
                while name.as_ref().is_some_and(|name| name.key() < label.key()) {
                    name = names.next().transpose()?;
                }
                if let Some(name) = name.as_ref().filter(|name| name.key() == label.key()) {
                    let (language, text) = label.payload().split_at(4);
                    let language = u32::from_be_bytes(language.try_into().expect("four bytes"));
                    by_id.push(&key(Subject::Entity, language, name.number as u32), label.number, text)?;
                }
            }
        }
        let mut tables: Vec<(Subject, String, StringWriter)> = Vec::new();
        let mut last = [0; KEY];
        for record in by_id.finish()?.iter()? {
            let record: Record = record?;
            let new_table = tables.is_empty() || last[..5] != record.key()[..5];
            if !new_table && last == record.key() {
                continue;
            }
            last.copy_from_slice(record.key());
            let (subject, language, id) = parse(&last);
            if new_table {
                if let Some((_, _, table)) = tables.last_mut() {
                    table.sort()?;
                }
                let table = StringWriter::new(&scratch, false, memory / 2);
                tables.push((subject, languages[language as usize].clone(), table));
            }
            if let Some((_, _, table)) = tables.last_mut() {
                table.push(id, record.payload())?;
            }
        }
        if let Some((_, _, table)) = tables.last_mut() {
            table.sort()?;
        }
        let mut languages: Vec<String> = tables.iter().map(|(_, language, _)| language.clone()).collect();
        languages.sort();
        languages.dedup();
        Ok(LabelTables { languages, tables })
    }
}

impl LabelTables {
    /// Writes the tables of `subject`, by language.
    pub fn write(&mut self, writer: &mut Writer, subject: Subject) -> Result<()> {
        for (number, language) in self.languages.iter().enumerate() {
            let found = self.tables.iter().position(|(s, l, _)| (*s, l) == (subject, language));
            if let Some((_, _, table)) = found.map(|index| self.tables.swap_remove(index)) {
                table.write(writer, subject.labels(number))?;
            }
        }
        Ok(())
    }
}

const KEY: usize = 9;

fn key(subject: Subject, language: u32, id: u32) -> [u8; KEY] {
    let mut key = [subject as u8; KEY];
    key[1..5].copy_from_slice(&language.to_be_bytes());
    key[5..].copy_from_slice(&id.to_be_bytes());
    key
}

fn parse(key: &[u8; KEY]) -> (Subject, u32, u32) {
    let word = |at: usize| u32::from_be_bytes(key[at..at + 4].try_into().expect("four bytes"));
    (if key[0] == 0 { Subject::Entity } else { Subject::Relation }, word(1), word(5))
}
