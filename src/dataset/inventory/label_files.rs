//! Files of labels.

use super::{Input, Role};
use crate::dataset::source::COMPRESSED;
use crate::error::{Error, Result};
use crate::graph::Subject;
use std::path::{Path, PathBuf};

/// The RDF files among `inputs` once more, for their labels: by then all names are known.
pub(super) fn rdf_labels(inputs: &[Input]) -> Vec<Input> {
    let rdf = inputs.iter().filter(|input| input.format.is_rdf() && matches!(input.role, Role::Triples(_)));
    rdf.map(|input| Input { role: Role::RdfLabels, ..input.clone() }).collect()
}

/// Labels as texts and aliases.
pub(super) fn texts(folder: &Path) -> impl Iterator<Item = Input> {
    let kinds = [
        (["", "text/"], "entity2text.txt", Role::Texts(Subject::Entity)),
        (["", "text/"], "relation2text.txt", Role::Texts(Subject::Relation)),
        (["", "wikidata5m_alias/"], "wikidata5m_entity.txt", Role::Aliases(Subject::Entity)),
        (["", "wikidata5m_alias/"], "wikidata5m_relation.txt", Role::Aliases(Subject::Relation)),
    ];
    kinds.into_iter().filter_map(move |(folders, file, role)| {
        let names = folders.into_iter().flat_map(|f| COMPRESSED.map(|c| format!("{f}{file}{c}")));
        names.into_iter().find_map(|name| {
            let path = folder.join(&name);
            path.is_file().then(|| Input::new(role.clone(), name, path))
        })
    })
}

/// Labels beside the triples in a CoDEx checkout, language by language.
pub(super) fn codex_labels(folder: &Path) -> Result<Vec<Input>> {
    // The real path, because the folder may be given as `.`.
    let real = folder.canonicalize().map_err(Error::io(folder))?;
    let Some(triples) = real.parent().filter(|parent| parent.ends_with("triples")) else {
        return Ok(Vec::new());
    };
    let root = triples.with_file_name("");
    let mut inputs = Vec::new();
    for (subject, what) in [(Subject::Entity, "entities"), (Subject::Relation, "relations")] {
        let Ok(languages) = std::fs::read_dir(root.join(what)) else { continue };
        let mut languages: Vec<PathBuf> = languages.flatten().map(|entry| entry.path()).collect();
        languages.sort();
        for path in languages {
            let Some(language) = path.file_name().and_then(|name| name.to_str()).map(str::to_owned) else {
                continue;
            };
            let (name, path) = (format!("{what}/{language}/{what}.json"), path.join(format!("{what}.json")));
            if path.is_file() {
                inputs.push(Input::new(Role::CodexLabels(subject, language), name, path));
            }
        }
    }
    Ok(inputs)
}
