//! Datasets with ids of their own: triples of numbers, and the maps between ids and names.
//!
//! | folder | maps | triples |
//! | --- | --- | --- |
//! | DGL-KE's Freebase | `entity2id.txt`, `relation2id.txt`: the count, then `name<TAB>id` | numbers: head, tail, relation |
//! | OpenKE | the same | `train2id.txt` and so on: the count, then the same |
//! | LibKGE | `entity_ids.del`, `relation_ids.del`: `id<TAB>name` | `train.del` and so on: numbers |
//! | DGL-KE's other sets | `entities.dict`, `relations.dict`: `id<TAB>name` | names |
//! | DGL-KE's `udd` sets | any two files: `name<TAB>id` or `id<TAB>name` | numbers or names, in any order |
//! | KGReasoning, BetaE | `id2ent.pkl`, `id2rel.pkl`: a dict from ids to names | numbers, inverses among them |
//! | SMORE, BetaE without maps | `stats.txt`: the numbers of ids, which are the names then | the same |
//!
//! Ids are kept.

use super::delimiter::Delimiter;
use super::lines::{BadLines, Block, lines};
use super::triples::TripleFormat;
use crate::error::Result;

/// The numbers of entities and directed relations in SMORE's `stats.txt`, where `text` is one.
pub fn stated_counts(text: &[u8]) -> Option<[u32; 2]> {
    let text = std::str::from_utf8(text).ok()?;
    let entries = || text.lines().filter_map(|line| line.split_once(':'));
    let value = |names: [&str; 2]| {
        let (_, value) = entries().find(|(name, _)| names.contains(&name.trim()))?;
        value.trim().parse().ok()
    };
    Some([value(["numentity", "num_entities"])?, value(["numrelations", "num_relations"])?])
}

/// Calls `take([head, relation, tail])` for each line of `block`: three numbers in the columns of `format`,
/// separated by blanks or tabs where its delimiter is a tab. A number that is no id of `counts` (entities, relations) is bad.
///
/// `stated` becomes the number of triples that the first line tells, as in OpenKE's files.
pub fn triples(
    block: Block,
    format: TripleFormat,
    counts: [u32; 2],
    bad: &mut BadLines,
    stated: &mut Option<u64>,
    mut take: impl FnMut([u32; 3]) -> Result<()>,
) -> Result<()> {
    let [entities, relations] = counts;
    let format = match format.delimiter {
        Delimiter::TAB => TripleFormat { delimiter: Delimiter::Blanks, ..format },
        _ => format,
    };
    let limits = [(entities, "entities"), (relations, "relations"), (entities, "entities")];
    for (number, line) in lines(block) {
        let Some(text) = bad.text(number, line)? else { continue };
        if let Some(count) = text.trim().parse().ok().filter(|_| number == 1) {
            *stated = Some(count);
            continue;
        }
        let fields = format.delimiter.split(text).map(str::trim);
        let Some(fields) = format.triple(number, fields, bad)? else { continue };
        let mut triple = [0; 3];
        let wrong =
            fields.iter().zip(limits).zip(&mut triple).find_map(
                |((field, (limit, what)), place)| match field.parse::<u32>() {
                    Ok(id) if id < limit => {
                        *place = id;
                        None
                    }
                    Ok(id) => Some(format!("id {id} has no name: there are {limit} {what}")),
                    Err(_) => Some(format!("expected an id, found {field:?}")),
                },
            );
        match wrong {
            Some(message) => bad.report(number, &message)?,
            None => take(triple)?,
        }
    }
    Ok(())
}

/// Whether at least three fields of `line` are numbers, as in a triple of ids, be there a weight or not.
pub fn are_ids(line: &str, delimiter: Delimiter) -> bool {
    let delimiter = if delimiter == Delimiter::TAB { Delimiter::Blanks } else { delimiter };
    let number = |field: &str| !field.is_empty() && field.bytes().all(|byte| byte.is_ascii_digit());
    delimiter.split(line).filter(|field| number(field.trim())).count() >= 3
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_count_of_a_first_line_is_no_triple() {
        let mut bad = BadLines::new(Path::new("train2id.txt"), false);
        let (mut stated, mut found) = (None, 0);
        triples(
            b"2\n0 1 2\n1 2 0\n"[..].into(),
            TripleFormat::default(),
            [3, 3],
            &mut bad,
            &mut stated,
            |_| {
                found += 1;
                Ok(())
            },
        )
        .unwrap();
        assert_eq!((stated, found), (Some(2), 2));
    }

    #[test]
    fn numbers_are_checked_against_the_maps() {
        let read = |text: &str| {
            let mut bad = BadLines::new(Path::new("train.txt"), false);
            let mut found = Vec::new();
            let format = TripleFormat::default();
            triples(text.as_bytes().into(), format, [3, 2], &mut bad, &mut None, |triple| {
                found.push(triple);
                Ok(())
            })
            .map(|()| found)
        };
        assert_eq!(read("0\t1\t2\n2 0  0\r\n").unwrap(), [[0, 1, 2], [2, 0, 0]]);
        for (text, expected) in [
            ("0 1 3\n", "train.txt:1: id 3 has no name: there are 3 entities"),
            ("0 1 2\n0 2 1\n", "train.txt:2: id 2 has no name: there are 2 relations"),
            ("0 x 1\n", "train.txt:1: expected an id, found \"x\""),
            ("0 1\n", "train.txt:1: expected 3 blank-separated columns, found 2"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
