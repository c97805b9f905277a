//! Structures (queries without names) and mixes of them.

use super::tree::Tree;
use crate::error::{Error, Result};
use std::sync::LazyLock;

/// A query's shape: anchors and relations still to be filled in.
pub type Structure = Tree<(), ()>;

/// The named structures in the order of every table, with their nested tuples.
pub const NAMED: [(&str, &str); 14] = [
    ("1p", "('e',('r',))"),
    ("2p", "('e',('r','r'))"),
    ("3p", "('e',('r','r','r'))"),
    ("2i", "(('e',('r',)),('e',('r',)))"),
    ("3i", "(('e',('r',)),('e',('r',)),('e',('r',)))"),
    ("ip", "((('e',('r',)),('e',('r',))),('r',))"),
    ("pi", "(('e',('r','r')),('e',('r',)))"),
    ("2in", "(('e',('r',)),('e',('r','n')))"),
    ("3in", "(('e',('r',)),('e',('r',)),('e',('r','n')))"),
    ("inp", "((('e',('r',)),('e',('r','n'))),('r',))"),
    ("pin", "(('e',('r','r')),('e',('r','n')))"),
    ("pni", "(('e',('r','r','n')),('e',('r',)))"),
    ("2u", "(('e',('r',)),('e',('r',)),('u',))"),
    ("up", "((('e',('r',)),('e',('r',)),('u',)),('r',))"),
];

/// [`NAMED`] as trees, in the same order.
pub fn named() -> &'static [(&'static str, Structure)] {
    static PARSED: LazyLock<Vec<(&'static str, Structure)>> = LazyLock::new(|| {
        NAMED.iter().map(|&(name, tuple)| (name, super::parse::plain_structure(tuple))).collect()
    });
    &PARSED
}

/// The structures of a list without weights; of `all`, every named one.
pub fn all_or_listed(text: &str) -> Result<Vec<Structure>> {
    Ok(match text {
        "all" => named().iter().map(|(_, structure)| structure.clone()).collect(),
        _ => super::parse_structures(text)?.into_iter().map(|(structure, _)| structure).collect(),
    })
}

/// How many queries of each structure a batch holds: fixed, so that its shape never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mix {
    /// Structures with the number of queries of each, none of them zero.
    pub parts: Vec<(Structure, usize)>,
}

impl Mix {
    /// Shares `batch_size` queries among structures in proportion to their weights.
    ///
    /// Largest remainders get the queries that are left over, and every structure gets at least one.
    pub fn new(weighted: &[(Structure, f64)], batch_size: usize) -> Result<Self> {
        let total: f64 = weighted.iter().map(|(_, w)| w).sum();
        if weighted.is_empty() || weighted.iter().any(|(_, w)| !w.is_finite() || *w <= 0.0) {
            return Err(Error::invalid("a mix needs at least one structure, each with a weight above 0"));
        }
        if batch_size < weighted.len() {
            return Err(Error::invalid(format!(
                "a batch of {batch_size} queries cannot hold {} structures: use a larger --batch-size",
                weighted.len()
            )));
        }
        let ideal: Vec<f64> = weighted.iter().map(|(_, w)| w / total * batch_size as f64).collect();
        let mut counts: Vec<usize> = ideal.iter().map(|x| (x.floor() as usize).max(1)).collect();
        while counts.iter().sum::<usize>() != batch_size {
            let surplus = counts.iter().sum::<usize>() > batch_size;
            let gap = |i: usize| (ideal[i] - counts[i] as f64) * if surplus { -1.0 } else { 1.0 };
            let pick = (0..counts.len())
                .filter(|&i| !surplus || counts[i] > 1)
                .max_by(|&a, &b| gap(a).total_cmp(&gap(b)).then(b.cmp(&a)))
                .expect("a batch holds at least one query of each structure");
            if surplus {
                counts[pick] -= 1;
            } else {
                counts[pick] += 1;
            }
        }
        Ok(Mix { parts: weighted.iter().map(|(s, _)| s.clone()).zip(counts).collect() })
    }

    /// Number of queries in a batch.
    pub fn num_queries(&self) -> usize {
        self.parts.iter().map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::parse_structures;

    fn counts(list: &str, batch_size: usize) -> Vec<usize> {
        let mix = Mix::new(&parse_structures(list).unwrap(), batch_size).unwrap();
        assert_eq!(mix.num_queries(), batch_size);
        mix.parts.iter().map(|(_, count)| *count).collect()
    }

    #[test]
    fn a_batch_is_shared_in_proportion_to_the_weights() {
        assert_eq!(counts("1p:2,2p:2,3p:2,2i:1,3i:1", 512), [128, 128, 128, 64, 64]);
        assert_eq!(counts("1p.2p.3p", 512), [171, 171, 170]);
        assert_eq!(counts("1p:0.3,2p:0.7", 10), [3, 7]);
    }

    #[test]
    fn every_structure_gets_at_least_one_query() {
        assert_eq!(counts("1p:1000,2p:1,3p:1", 8), [6, 1, 1]);
        assert_eq!(counts("1p:1000,2p:1,3p:1", 3), [1, 1, 1]);
    }

    #[test]
    fn a_mix_that_cannot_be_is_refused_with_a_remedy() {
        let list = parse_structures("1p.2p.3p").unwrap();
        assert!(Mix::new(&list, 2).unwrap_err().to_string().contains("larger --batch-size"));
        assert!(Mix::new(&[], 2).is_err());
        let negative = [(list[0].0.clone(), -1.0)];
        assert!(Mix::new(&negative, 2).unwrap_err().to_string().contains("above 0"));
    }
}
