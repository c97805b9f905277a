//! What stands between the columns of a text.

use super::csv;
use std::fmt;
use std::str::{Split, SplitAsciiWhitespace};

/// What stands between columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delimiter {
    /// One ASCII character. Blanks around fields are taken off where it is printed.
    Character(u8),
    /// Blanks and tabs, as many as there are.
    Blanks,
}

impl Delimiter {
    /// A tab.
    pub const TAB: Delimiter = Delimiter::Character(b'\t');

    /// What is looked for where nothing is said.
    const CHARACTERS: [Delimiter; 4] =
        [Delimiter::TAB, Delimiter::Character(b','), Delimiter::Character(b';'), Delimiter::Character(b'|')];

    /// Reads what a user writes: a character, `\t` or `blanks`.
    pub fn parse(text: &str) -> Option<Self> {
        match text.as_bytes() {
            b"\\t" => Some(Delimiter::TAB),
            b"blanks" => Some(Delimiter::Blanks),
            [character @ (b'\t' | b' '..=b'~')] => Some(Delimiter::Character(*character)),
            _ => None,
        }
    }

    /// What [`Delimiter::parse`] reads, quoted for a shell.
    pub fn option(self) -> String {
        match self {
            Delimiter::TAB => r"'\t'".into(),
            Delimiter::Blanks => "blanks".into(),
            Delimiter::Character(b',') => ",".into(),
            Delimiter::Character(b'\'') => "\"'\"".into(),
            Delimiter::Character(other) => format!("'{}'", char::from(other)),
        }
    }

    /// In plural.
    pub fn name(self) -> String {
        match self {
            Delimiter::TAB => "tabs".into(),
            Delimiter::Character(b',') => "commas".into(),
            Delimiter::Character(b';') => "semicolons".into(),
            Delimiter::Character(b'|') => "bars".into(),
            Delimiter::Character(b' ') | Delimiter::Blanks => "blanks".into(),
            Delimiter::Character(other) => format!("{:?}", char::from(other)),
        }
    }

    /// Whether blanks around fields do not belong to them.
    pub fn trims(self) -> bool {
        !matches!(self, Delimiter::TAB | Delimiter::Character(b' ') | Delimiter::Blanks)
    }

    /// The fields of a line, as they are.
    pub fn split(self, line: &str) -> Fields<'_> {
        match self {
            Delimiter::Character(character) => Fields::Between(line.split(char::from(character))),
            Delimiter::Blanks => Fields::Words(line.split_ascii_whitespace()),
        }
    }
}

/// The fields of a line; see [`Delimiter::split`].
#[derive(Clone, Debug)]
pub enum Fields<'l> {
    /// Between characters.
    Between(Split<'l, char>),
    /// Between blanks.
    Words(SplitAsciiWhitespace<'l>),
}

impl<'l> Iterator for Fields<'l> {
    type Item = &'l str;

    fn next(&mut self) -> Option<&'l str> {
        match self {
            Fields::Between(fields) => fields.next(),
            Fields::Words(fields) => fields.next(),
        }
    }
}

impl fmt::Display for Delimiter {
    /// As in `tab-separated`.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.name().as_str() {
            "tabs" => f.write_str("tab"),
            "commas" => f.write_str("comma"),
            "semicolons" => f.write_str("semicolon"),
            "bars" => f.write_str("bar"),
            "blanks" => f.write_str("blank"),
            other => f.write_str(other),
        }
    }
}

/// What the first lines of a file say of its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// These separate `width` columns on nearly all lines, and nothing else does.
    One(Delimiter),
    /// Either could be meant.
    Either(Delimiter, Delimiter),
    /// None does.
    None,
}

/// Nearly all of `lines`.
fn nearly_all(lines: &[&str], fits: impl Fn(&str) -> bool) -> bool {
    let fitting = lines.iter().filter(|line| fits(line)).count();
    !lines.is_empty() && 10 * fitting >= 9 * lines.len()
}

/// What separates `width` names on nearly all lines of a text. `usual` is taken wherever it does on half of them.
pub fn of_text(lines: &[&str], width: usize, usual: Delimiter) -> Found {
    let fits = |d: Delimiter| {
        move |line: &str| {
            let (mut count, mut whole) = (0, true);
            d.split(line).for_each(|field| (count, whole) = (count + 1, whole && !field.trim().is_empty()));
            count == width && whole
        }
    };
    let as_usual = lines.iter().filter(|line| fits(usual)(line)).count();
    if as_usual > 0 && 2 * as_usual >= lines.len() {
        return Found::One(usual);
    }
    let all = Delimiter::CHARACTERS.into_iter();
    let mut found: Vec<Delimiter> = all.filter(|&d| nearly_all(lines, fits(d))).collect();
    if nearly_all(lines, fits(Delimiter::Blanks)) {
        // `a, r, b`: the blanks belong to the commas.
        let belong = |d: &Delimiter| {
            let Delimiter::Character(character) = *d else { return false };
            let ends = |line: &str| {
                line.split_ascii_whitespace().filter(|word| word.ends_with(char::from(character))).count()
            };
            nearly_all(lines, |line| ends(line) == width - 1)
        };
        if !found.iter().any(belong) {
            found.push(Delimiter::Blanks);
        }
    }
    one_of(&found)
}

/// As [`of_text`], of CSV, whose fields may be quoted. What is `settled` is taken wherever it separates.
pub fn of_csv(lines: &[&str], width: usize, settled: Option<Delimiter>) -> Found {
    let fits = |d: &Delimiter| {
        let Delimiter::Character(delimiter) = *d else { return false };
        nearly_all(lines, |line| csv::fields(line, delimiter).is_ok_and(|fields| fields.len() == width))
    };
    match settled.filter(fits) {
        Some(settled) => Found::One(settled),
        None => one_of(&Delimiter::CHARACTERS.into_iter().filter(fits).collect::<Vec<_>>()),
    }
}

/// What separates `width` quoted names on nearly all lines of a text.
pub fn of_quoted(lines: &[&str], width: usize) -> Option<Delimiter> {
    let mut all = Delimiter::CHARACTERS.into_iter().chain([Delimiter::Character(b' ')]);
    all.find(|d| {
        let Delimiter::Character(delimiter) = *d else { return false };
        nearly_all(lines, |line| csv::quoted_fields(line, delimiter) == Some(width))
    })
}

fn one_of(found: &[Delimiter]) -> Found {
    match *found {
        [] => Found::None,
        [one] => Found::One(one),
        [one, other, ..] => Found::Either(one, other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMA: Delimiter = Delimiter::Character(b',');
    const SEMICOLON: Delimiter = Delimiter::Character(b';');

    #[test]
    fn what_a_user_writes_is_what_is_printed() {
        for (text, delimiter) in
            [(",", COMMA), ("';'", SEMICOLON), ("blanks", Delimiter::Blanks), (r"'\t'", Delimiter::TAB)]
        {
            assert_eq!(delimiter.option(), text);
            assert_eq!(Delimiter::parse(text.trim_matches('\'')), Some(delimiter));
        }
        assert_eq!((Delimiter::parse(""), Delimiter::parse("ab"), Delimiter::parse("é")), (None, None, None));
    }

    #[test]
    fn columns_are_recognised_by_what_separates_as_many_on_all_lines() {
        let found = |text: &str| of_text(&text.lines().collect::<Vec<_>>(), 3, Delimiter::TAB);
        assert_eq!(found("a\tr\tb\nx y\tr, s\tz"), Found::One(Delimiter::TAB));
        assert_eq!(found("a,r,b\nx y,r,z"), Found::One(COMMA));
        assert_eq!(found("a, r, b\nb, r, c"), Found::One(COMMA));
        assert_eq!(found("a;r;b"), Found::One(SEMICOLON));
        assert_eq!(found("a  r   b\nb\t r c\nc r a"), Found::One(Delimiter::Blanks));
        assert_eq!(found("x,y r z,w\na,b s c,d"), Found::Either(COMMA, Delimiter::Blanks));
        assert_eq!(found("a,r;s,b;c"), Found::Either(COMMA, SEMICOLON));
        assert_eq!(found("a,r;s,b;c\nb,t,d"), Found::One(COMMA));
        assert_eq!(found("a,r,b,1\nb,r,c,2"), Found::None);
        assert_eq!(found(""), Found::None);
        assert_eq!(found("a\tr\tb\na b c"), Found::One(Delimiter::TAB), "the second line is bad");
        // A few bad lines do not matter.
        assert_eq!(found(&("a,r,b\n".repeat(19) + "oops\n")), Found::One(COMMA));
    }

    #[test]
    fn quoted_fields_of_csv_are_seen() {
        let found = |text: &str| of_csv(&text.lines().collect::<Vec<_>>(), 3, None);
        assert_eq!(found("\"a, b\",r,c"), Found::One(COMMA));
        assert_eq!(found("\"a;b\";r;c\nx;r;y"), Found::One(SEMICOLON));
        assert_eq!(found("a\tr\tb"), Found::One(Delimiter::TAB));
        assert_eq!(found("a,r"), Found::None);
        assert_eq!(found("1,5;r;2,5\n2,5;r;3,5"), Found::Either(COMMA, SEMICOLON));
        let lines = ["1,5;r;2,5"];
        assert_eq!(of_csv(&lines, 3, Some(SEMICOLON)), Found::One(SEMICOLON));
        assert_eq!(of_csv(&["a,r,b"], 3, Some(SEMICOLON)), Found::One(COMMA));
    }
}
