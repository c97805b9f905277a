//! Names that differ in nothing but case, blanks or Unicode form.

use crate::error::Result;
use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use xxhash_rust::xxh3::xxh3_64;

/// Most names that are compared: 16 bytes of memory each.
pub const MOST: u64 = 5_000_000;

/// Examples that are kept.
const EXAMPLES: usize = 3;

/// Names that a reader may take for one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Alike {
    /// Names that differ from an earlier one in nothing else.
    pub names: u64,
    /// The first pairs.
    pub examples: Vec<[String; 2]>,
}

/// Finds the names that are alike among those that `for_each` gives, the same in each of its calls.
pub fn alike(mut for_each: impl FnMut(&mut dyn FnMut(&[u8])) -> Result<()>) -> Result<Alike> {
    let (mut seen, mut again) = (FxHashSet::default(), FxHashSet::default());
    let mut names = 0;
    for_each(&mut |name| {
        let hash = fold(name);
        if !seen.insert(hash) {
            again.insert(hash);
            names += 1;
        }
    })?;
    drop(seen);
    let mut examples = Vec::new();
    if names > 0 {
        let mut first: FxHashMap<u64, String> = FxHashMap::default();
        for_each(&mut |name| {
            let hash = fold(name);
            if examples.len() < EXAMPLES && again.contains(&hash) {
                let name = String::from_utf8_lossy(name).into_owned();
                match first.get(&hash) {
                    Some(first) => examples.push([first.clone(), name]),
                    None => drop(first.insert(hash, name)),
                }
            }
        })?;
    }
    Ok(Alike { names, examples })
}

/// A hash of what is left of a name without case, form and blanks at its ends; blanks within count as one.
fn fold(name: &[u8]) -> u64 {
    // Most names are what is left of them.
    if name.iter().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase()) {
        return xxh3_64(name);
    }
    let text = String::from_utf8_lossy(name);
    let words: Vec<&str> = text.split_whitespace().collect();
    let folded = match text.is_ascii() {
        true => words.join(" ").to_ascii_lowercase(),
        false => words.join(" ").nfc().flat_map(char::to_lowercase).collect(),
    };
    xxh3_64(folded.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str]) -> Alike {
        alike(|take| {
            names.iter().for_each(|name| take(name.as_bytes()));
            Ok(())
        })
        .unwrap()
    }

    #[test]
    fn names_are_alike_but_for_case_blanks_and_form() {
        let found = of(&[
            "Paris",
            "caf\u{e9}",
            "paris",
            " Paris",
            "New York",
            "cafe\u{301}",
            "New  York",
            "007",
            "7",
        ]);
        assert_eq!(found.names, 4);
        let pair = |a: &str, b: &str| [a.to_owned(), b.to_owned()];
        assert_eq!(
            found.examples,
            [pair("Paris", "paris"), pair("Paris", " Paris"), pair("caf\u{e9}", "cafe\u{301}")]
        );
        assert_eq!(of(&["a", "b", "ab"]), Alike::default());
    }
}
