//! CoDEx's labels: `{"Q42": {"label": "...", "description": "...", ...}, ...}`, one file a language.
//!
//! Only the label is taken. Where CoDEx has no text in a language, the label is empty.

use crate::error::{Error, Result};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::path::Path;

/// Calls `take(name, label)` for each entry, in the order of the file, without building the whole tree.
pub fn read(path: &Path, bytes: &[u8], take: impl FnMut(&str, &str)) -> Result<()> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    Entries(take)
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end())
        .map_err(|e| Error::line(path, e.line() as u64, format!("expected labels as JSON: {e}")))
}

/// The outer object.
struct Entries<F>(F);

impl<'de, F: FnMut(&str, &str)> DeserializeSeed<'de> for Entries<F> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: FnMut(&str, &str)> Visitor<'de> for Entries<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object from names to objects with a \"label\"")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> std::result::Result<(), A::Error> {
        while let Some(Text(name)) = map.next_key()? {
            let Entry(label) = map.next_value()?;
            (self.0)(&name, &label);
        }
        Ok(())
    }
}

/// A string that borrows from the input where it has no escapes.
#[derive(Default)]
struct Text<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> std::result::Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> std::result::Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// The label of an inner object; empty where it has none.
struct Entry<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Entry<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct EntryVisitor;
        impl<'de> Visitor<'de> for EntryVisitor {
            type Value = Entry<'de>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object with a \"label\"")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Entry<'de>, A::Error> {
                let mut label = Text::default();
                while let Some(Text(key)) = map.next_key()? {
                    if key == "label" {
                        label = map.next_value()?;
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Entry(label.0))
            }
        }
        deserializer.deserialize_map(EntryVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(bytes: &[u8]) -> Result<Vec<String>> {
        let mut found = Vec::new();
        read(Path::new("entities.json"), bytes, |n, l| found.push(format!("{n}={l}")))?;
        Ok(found)
    }

    #[test]
    fn labels_are_read_with_escapes_and_without() {
        let json =
            br#"{"Q1": {"wiki": [1], "label": "caf\u00e9 \"x\""}, "Q2": {"label": "plain"}, "Q3": {}}"#;
        assert_eq!(read_all(json).unwrap(), ["Q1=caf\u{e9} \"x\"", "Q2=plain", "Q3="]);
        assert!(read_all(b"{}").unwrap().is_empty());
    }

    #[test]
    fn other_json_names_file_and_line() {
        for json in [&b"[1]"[..], b"{\"Q1\": 7}", b"{\"Q1\": {\"label\": null}}", b"{\"Q1\"", b"", b"{} {}"] {
            let error = read_all(json).unwrap_err().to_string();
            assert!(error.starts_with("entities.json:") && error.contains("as JSON"), "{error}");
        }
        assert!(read_all(b"{\n\"Q1\": 7}").unwrap_err().to_string().starts_with("entities.json:2:"));
    }
}
