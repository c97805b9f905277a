//! The files of OGB's wikikg2 and WikiKG90Mv2, and others like them: triples as arrays.

use super::{Format, Input, Role};
use crate::dataset::format::maps::MapFormat;
use crate::dataset::source::COMPRESSED;
use crate::graph::{Split, Subject};
use std::path::{Path, PathBuf};

/// The first of `names` in any of `folders` of `folder`, be it compressed.
fn find(folder: &Path, folders: &[&str], names: &[&str]) -> Option<(String, PathBuf)> {
    let plain = folders.iter().flat_map(|sub| names.iter().map(move |name| Path::new(sub).join(name)));
    let all = plain.flat_map(|name| COMPRESSED.map(|ending| format!("{}{ending}", name.display())));
    all.map(|name| (name.clone(), folder.join(name))).find(|(_, path)| path.is_file())
}

/// The arrays of triples in `folder`; empty where there are none of train.
pub(super) fn triples(folder: &Path) -> Vec<Input> {
    let folders = ["", "processed", "raw", "split/time"];
    let stems = [(Split::Train, &["train"][..]), (Split::Valid, &["valid", "val"]), (Split::Test, &["test"])];
    let mut inputs = Vec::new();
    for (split, stems) in stems {
        let named = |endings: &[&str]| {
            let names = endings.iter().flat_map(|end| stems.iter().map(move |stem| format!("{stem}{end}")));
            let names: Vec<String> = names.collect();
            find(folder, &folders, &names.iter().map(String::as_str).collect::<Vec<_>>())
        };
        // What holds everything, then what is in two files.
        let parts = [
            (named(&[".npy", "_hrt.npy"]), None, Format::Npy),
            (named(&[".npz"]), None, Format::Npz),
            (named(&["_hr.npy"]), Some(named(&["_t.npy"])), Format::Npy),
        ];
        let edges = (
            find(folder, &folders, &["edge.csv"]).filter(|_| split == Split::Train),
            Some(find(folder, &folders, &["edge_reltype.csv"])),
            Format::OgbCsv,
        );
        for (first, second, format) in parts.into_iter().chain([edges]) {
            let (Some((name, path)), None | Some(Some(_))) = (first, &second) else { continue };
            let second = second.flatten();
            let beside = second.as_ref().map(|(_, path)| path.clone());
            inputs.push(Input { format, beside, ..Input::new(Role::Triples(split), name, path) });
            inputs.extend(second.map(|(name, path)| Input::new(Role::Columns(split), name, path)));
            break;
        }
        if inputs.is_empty() {
            break;
        }
    }
    inputs
}

/// OGB's maps between ids and names, where both are there.
pub(super) fn maps(folder: &Path) -> Vec<Input> {
    let folders = ["", "mapping", "../mapping", "wikikg90mv2_mapping", "../wikikg90mv2_mapping"];
    let names = [
        (Subject::Entity, &["nodeidx2entityid.csv", "entity.csv"][..]),
        (Subject::Relation, &["reltype2relid.csv", "relidx2relid.csv", "relation.csv"]),
    ];
    let found = names.map(|(subject, names)| {
        let (name, path) = find(folder, &folders, names)?;
        Some(Input::new(Role::Ids(subject, MapFormat::Csv), name, path))
    });
    match found {
        [Some(entities), Some(relations)] => vec![entities, relations],
        _ => Vec::new(),
    }
}
