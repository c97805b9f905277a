//! Files that tell the names, or the number, of ids.

use super::{Format, Input, Reading, Role};
use crate::dataset::content::{first_bytes, first_lines};
use crate::dataset::format::ids::{are_ids, stated_counts};
use crate::dataset::format::maps::{MapColumns, MapFormat};
use crate::dataset::source::{Blocks, COMPRESSED, Source};
use crate::error::{Error, Result};
use crate::graph::Subject;
use std::path::{Path, PathBuf};

/// The file `name` in `folder`, be it compressed.
fn find(folder: &Path, name: &str) -> Option<(String, PathBuf)> {
    let names = COMPRESSED.iter().map(|ending| format!("{name}{ending}"));
    names.map(|name| (name.clone(), folder.join(name))).find(|(_, path)| path.is_file())
}

/// The maps between ids and names, or what stands for them; marks the triples that are numbers then.
pub(super) fn id_maps(folder: &Path, inputs: &mut [Input]) -> Result<Vec<Input>> {
    let kinds = [
        ("entity2id.txt", "relation2id.txt", MapFormat::NameId),
        ("id2ent.pkl", "id2rel.pkl", MapFormat::Pickle),
        ("entities.dict", "relations.dict", MapFormat::IdName),
        ("entity_ids.del", "relation_ids.del", MapFormat::IdName),
    ];
    for (entities, relations, format) in kinds {
        let (Some(entities), Some(relations)) = (find(folder, entities), find(folder, relations)) else {
            continue;
        };
        // Folders of names may have such maps too: for other programs.
        let are_ids = (format != MapFormat::IdName || entities.0.contains(".del")) && mark_ids(inputs)?;
        if !are_ids && !entities.0.contains(".dict") {
            continue;
        }
        let map = |subject, (name, path)| Input::new(Role::Ids(subject, format), name, path);
        return Ok(vec![map(Subject::Entity, entities), map(Subject::Relation, relations)]);
    }
    if let Some((name, path)) = find(folder, "stats.txt") {
        let input = Input::new(Role::Counts, name, path);
        if stated_counts(&std::fs::read(&input.path).map_err(Error::io(&input.path))?).is_some()
            && mark_ids(inputs)?
        {
            return Ok(vec![input]);
        }
    }
    Ok(Vec::new())
}

/// The maps that the user gave, by path or by name in `folder`.
pub(super) fn given(
    folder: &Path,
    maps: &[PathBuf; 2],
    inputs: &mut [Input],
    reading: &Reading,
) -> Result<Vec<Input>> {
    mark_ids(inputs)?;
    let mut found = Vec::new();
    for (subject, map) in [Subject::Entity, Subject::Relation].into_iter().zip(maps) {
        let path = if map.is_file() { map.clone() } else { folder.join(map) };
        if !path.is_file() {
            let message = format!("no such file, nor one in {}", folder.display());
            return Err(Error::file(map, message));
        }
        let name = map.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut input = Input::new(Role::Ids(subject, MapFormat::NameId), name, path);
        let format = match reading.map_columns {
            Some(format) => format,
            None => format_of(&input)?,
        };
        input.role = Role::Ids(subject, format);
        found.push(input);
    }
    Ok(found)
}

/// Which column of a map has the ids. Reads the map once.
fn format_of(map: &Input) -> Result<MapFormat> {
    let mut columns = MapColumns::default();
    let mut blocks = Blocks::new(Source::open(map)?);
    while let Some(block) = blocks.next()? {
        columns.see(block);
    }
    columns.format().ok_or_else(|| {
        let message = "both columns are the numbers 0, 1, 2 and so on: say which has the ids, `--map-columns id-name` or \
                       `--map-columns name-id`";
        Error::file(&map.path, message)
    })
}

/// Whether the triples are numbers; marks them if so.
fn mark_ids(inputs: &mut [Input]) -> Result<bool> {
    let is_triples = |input: &Input| matches!(input.role, Role::Triples(_) | Role::HardNegatives(_));
    let are = match inputs.first() {
        Some(input) if input.format.is_ids() => return Ok(true),
        Some(input) if matches!(input.format, Format::Delimited | Format::Csv) => {
            let first = first_bytes(input)?;
            // A header, or the count of OpenKE's files, may come first.
            first_lines(&first).iter().take(2).any(|line| are_ids(line, input.layout.delimiter))
        }
        _ => false,
    };
    if are {
        inputs.iter_mut().filter(|input| is_triples(input)).for_each(|input| input.format = Format::Ids);
    }
    Ok(are)
}
