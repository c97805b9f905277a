//! The columns of a text: what is between them, and whether the first line is a header.

use super::{Format, Input, Reading, Role};
use crate::dataset::content::{Content, first_bytes, first_lines};
use crate::dataset::format::columns::of_header;
use crate::dataset::format::delimiter::{Delimiter, Found, of_csv, of_quoted, of_text};
use crate::dataset::format::ntriples::Lines;
use crate::error::{Error, Result};

/// Options that the format of `train` has no use for.
pub(super) fn refuse_options(train: &Input, reading: &Reading) -> Result<()> {
    let Reading { columns, delimiter, header, maps, map_columns, lenient, .. } = reading;
    let given = [
        ("--columns", columns.is_some()),
        ("--delimiter", delimiter.is_some()),
        ("--header", header.is_some()),
        ("--maps", maps.is_some()),
        ("--map-columns", map_columns.is_some() && maps.is_none()),
        ("--lenient", *lenient),
    ];
    let (refused, why): (&[&str], _) = match train.format {
        format if format.is_rdf() => (
            &["--columns", "--delimiter", "--header", "--maps"],
            "statements of RDF name everything in one order",
        ),
        Format::Npy => (&["--delimiter", "--header", "--lenient"], "an array has no text"),
        Format::Npz | Format::OgbCsv => {
            (&["--columns", "--delimiter", "--header", "--lenient"], "its arrays are known by their names")
        }
        _ => (&["--lenient"], "it is for IRIs in RDF"),
    };
    for (option, _) in given.into_iter().filter(|(_, given)| *given) {
        if refused.contains(&option) {
            return Err(Error::file(
                &train.path,
                format!("{option} has no effect on it: {why}; leave it out"),
            ));
        }
        if option == "--map-columns" {
            return Err(Error::invalid("--map-columns is for the files of --maps: give both or none"));
        }
    }
    Ok(())
}

/// Settles what stands between the columns of each file: what the user says, else what its first lines say. What train has
/// is usual for the files after it. A text whose fields are all quoted is read as CSV.
pub(super) fn delimiters(inputs: &mut [Input], reading: &Reading, notes: &mut Vec<String>) -> Result<()> {
    let (mut in_text, mut in_csv) = (Delimiter::TAB, None);
    for input in inputs.iter_mut().filter(|input| input.has_columns()) {
        let first = first_bytes(input)?;
        let lines = first_lines(&first);
        let width = reading.columns.map_or(3, |columns| columns.letters().len());
        let quoted = match input.format {
            Format::Delimited => of_quoted(&lines, width),
            _ => None,
        };
        if let Some(delimiter) = quoted.filter(|&found| reading.delimiter.is_none_or(|given| given == found))
        {
            (input.format, input.layout.delimiter) = (Format::Csv, delimiter);
            notes.push(format!("{}: its columns are read as quoted and {delimiter}-separated", input.name));
            continue;
        }
        if let Some(given) = reading.delimiter {
            input.layout.delimiter = given;
            continue;
        }
        let content = Content::of(&first);
        let no_columns = match content {
            Content::Binary | Content::Tar | Content::LfsPointer => true,
            // An object of three members has commas where columns would have them.
            Content::JsonLines | Content::Json => !lines.first().is_some_and(|line| line.contains('\t')),
            _ => false,
        };
        if let Some(advice) = content.advice().filter(|_| no_columns) {
            return Err(Error::file(&input.path, advice));
        }
        let (found, usual) = match input.format {
            Format::Csv => (of_csv(&lines, width, in_csv), in_csv.unwrap_or(Delimiter::Character(b','))),
            _ => (of_text(&lines, width, in_text), in_text),
        };
        let delimiter = match found {
            Found::One(delimiter) => delimiter,
            Found::None => usual,
            Found::Either(one, other) => {
                let message = format!(
                    "{} or {} could separate its columns: say which, `--delimiter {}` or `--delimiter {}`",
                    one.name(),
                    other.name(),
                    one.option(),
                    other.option()
                );
                return Err(Error::file(&input.path, message));
            }
        };
        if delimiter == Delimiter::Blanks && lacks_dots(&lines) {
            let message = "its lines look like N-Triples without the dot at their end: add it (`sed 's/$/ ./' FILE`), or give \
                           `--delimiter blanks` where brackets belong to the names";
            return Err(Error::file(&input.path, message));
        }
        if delimiter != usual {
            notes.push(format!("{}: its columns are read as {delimiter}-separated", input.name));
        }
        match input.format {
            Format::Csv => in_csv = Some(delimiter),
            _ => in_text = delimiter,
        }
        input.layout.delimiter = delimiter;
    }
    Ok(())
}

/// Whether lines are statements of N-Triples but for the dot.
fn lacks_dots(lines: &[&str]) -> bool {
    let reader = Lines { quads: false, lenient: true };
    !lines.is_empty() && lines.iter().all(|line| reader.reads(format!("{line} .").as_bytes()))
}

/// Finds headers: a first line of known words, or one that all files of triples begin with. Where its relation comes again in
/// the lines below, it is none.
pub(super) fn headers(inputs: &mut [Input], given: Option<bool>) -> Result<()> {
    let texts: Vec<usize> =
        (0..inputs.len()).filter(|&i| inputs[i].has_columns() && inputs[i].embedded.is_none()).collect();
    if let Some(given) = given {
        texts.iter().for_each(|&i| inputs[i].layout.header = given);
        return Ok(());
    }
    let firsts = texts.iter().map(|&i| first_bytes(&inputs[i])).collect::<Result<Vec<_>>>()?;
    let lines: Vec<Vec<&str>> = firsts.iter().map(|first| first_lines(first)).collect();
    let of_splits = || texts.iter().zip(&lines).filter(|(i, _)| matches!(inputs[**i].role, Role::Triples(_)));
    let first_of_train = of_splits().next().and_then(|(_, lines)| lines.first().copied());
    let alike =
        of_splits().count() > 1 && of_splits().all(|(_, lines)| lines.first().copied() == first_of_train);
    let numbers = |line: &str| {
        line.split(|c: char| !c.is_alphanumeric()).all(|word| word.bytes().all(|b| b.is_ascii_digit()))
    };
    let mut found = Vec::new();
    for (&i, own) in texts.iter().zip(&lines) {
        let Some((first, rest)) = own.split_first() else { continue };
        let layout = inputs[i].layout;
        let fields = |line| layout.delimiter.split(line);
        let known = of_header(fields(first));
        let place = known.unwrap_or(layout.columns).places()[1];
        let relation = |line| fields(line).nth(place.into()).map(str::trim);
        let again = rest.iter().any(|line| relation(line) == relation(first));
        if !again && !numbers(first) && (known.is_some() || (alike && Some(*first) == first_of_train)) {
            found.push(i);
        }
    }
    found.into_iter().for_each(|i| inputs[i].layout.header = true);
    Ok(())
}
