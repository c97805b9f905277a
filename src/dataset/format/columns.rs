//! Which column of a file holds what, as told by the user, a manifest, or a header.

use serde::Deserialize;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Column {
    /// The head.
    Head,
    /// The relation.
    Relation,
    /// The tail.
    Tail,
}

/// Where head, relation and tail are, and how many columns there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Columns {
    /// Columns of head, relation and tail, from 0.
    pub(super) places: [u8; 3],
    /// Number of columns.
    pub(super) width: u8,
}

impl Columns {
    /// `head relation tail`.
    pub const HRT: Columns = Columns { places: [0, 1, 2], width: 3 };
    /// `head tail relation`, as in DGL-KE's Freebase.
    pub const HTR: Columns = Columns { places: [0, 2, 1], width: 3 };

    /// Reads `htr` and the like: a letter for each column, where `-` is a column that is passed over.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let place = |letter| bytes.iter().position(|&b| b == letter).map(|place| place as u8);
        let places = [place(b'h')?, place(b'r')?, place(b't')?];
        let others = bytes.iter().filter(|&&b| b == b'-').count();
        (bytes.len() == 3 + others && bytes.len() < 256)
            .then_some(Columns { places, width: bytes.len() as u8 })
    }

    /// Columns of head, relation and tail, from 0.
    pub fn places(&self) -> [u8; 3] {
        self.places
    }

    /// The letters that [`Columns::parse`] reads.
    pub fn letters(&self) -> String {
        let mut letters = vec![b'-'; self.width.into()];
        self.places.iter().zip(b"hrt").for_each(|(&place, &letter)| letters[usize::from(place)] = letter);
        String::from_utf8(letters).expect("ASCII")
    }
}

impl From<[Column; 3]> for Columns {
    /// Each column once.
    fn from(order: [Column; 3]) -> Self {
        let mut places = [0; 3];
        (0..).zip(order).for_each(|(place, column)| places[column as usize] = place);
        Columns { places, width: 3 }
    }
}

/// How headers call head, relation and tail.
const HEADERS: [[&str; 3]; 21] = [
    ["head", "relation", "tail"],
    ["head", "rel", "tail"],
    ["head", "label", "tail"],
    ["head", "type", "tail"],
    ["h", "r", "t"],
    ["subject", "predicate", "object"],
    ["subj", "pred", "obj"],
    ["s", "p", "o"],
    ["source", "relation", "target"],
    ["source", "label", "target"],
    ["src", "rel", "dst"],
    ["from", "relation", "to"],
    ["from", "rel", "to"],
    ["head_id", "relation_id", "tail_id"],
    ["head_entity", "relation", "tail_entity"],
    ["entity1", "relation", "entity2"],
    ["e1", "rel", "e2"],
    ["e1", "relation", "e2"],
    // KGTK and Neo4j.
    ["node1", "label", "node2"],
    ["start_id", "type", "end_id"],
    ["start", "type", "end"],
];

/// The columns that a header of these fields announces; `None` where it is none.
pub fn of_header<'f>(fields: impl Iterator<Item = &'f str>) -> Option<Columns> {
    let marks = |c: char| c.is_whitespace() || "#:\"'".contains(c);
    let fields: Vec<String> =
        fields.take(256).map(|field| field.trim_matches(marks).to_lowercase()).collect();
    let place = |name: &str| fields.iter().position(|field| field == name).map(|place| place as u8);
    let width = u8::try_from(fields.len()).ok()?;
    HEADERS.iter().find_map(|names| {
        let [head, relation, tail] = names.map(place);
        Some(Columns { places: [head?, relation?, tail?], width })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_name_each_column_once_and_dashes_the_others() {
        for text in ["hrt", "htr", "trh", "hrt-", "-t-hr"] {
            assert_eq!(Columns::parse(text).unwrap().letters(), text);
        }
        for text in ["", "hr", "hrr", "hrtt", "hrtx", "---"] {
            assert_eq!(Columns::parse(text), None, "{text}");
        }
        assert_eq!(Columns::from([Column::Head, Column::Tail, Column::Relation]), Columns::HTR);
    }

    #[test]
    fn headers_are_known_by_their_names_in_any_order() {
        let header = |text: &str| of_header(text.split(',')).map(|columns| columns.letters());
        assert_eq!(header("Head,Relation,Tail").as_deref(), Some("hrt"));
        assert_eq!(header("from,to,rel,weight").as_deref(), Some("htr-"));
        assert_eq!(header("subject,relation,tail"), None);
        assert_eq!(header("a,r,b"), None);
        assert_eq!(header("#head,\"relation\", tail").as_deref(), Some("hrt"));
        assert_eq!(header(":START_ID,:END_ID,:TYPE").as_deref(), Some("htr"));
    }
}
