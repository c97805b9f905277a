//! Descriptions of a graph: degrees and relation cardinalities.

use super::Csr;
use crate::ids::{EntityId, RelationId};

/// How many facts entities take part in, as head or tail.
#[derive(Clone, Debug, PartialEq)]
pub struct Degrees {
    /// Smallest.
    pub min: usize,
    /// Middle one; of two middle ones the mean.
    pub median: f64,
    /// Mean over all entities.
    pub mean: f64,
    /// Largest.
    pub max: usize,
    /// Entities without a fact.
    pub isolated: usize,
    /// The entities with the most facts, most first; by id where equal.
    pub top: Vec<(EntityId, usize)>,
}

/// Degrees of all entities in one index, with the `top` largest. O(entities log entities).
pub fn degrees(csr: Csr, top: usize) -> Degrees {
    let mut degrees: Vec<(usize, EntityId)> =
        (0..csr.num_entities() as u32).map(|id| (csr.degree(EntityId(id)), EntityId(id))).collect();
    degrees.sort_unstable_by_key(|&(degree, entity)| (std::cmp::Reverse(degree), entity));
    let (n, at) = (degrees.len(), |index: usize| degrees.get(index).map_or(0, |d| d.0));
    Degrees {
        min: at(n.saturating_sub(1)),
        median: (at(n / 2) + at(n.saturating_sub(1) / 2)) as f64 / 2.0,
        mean: csr.num_edges() as f64 / n.max(1) as f64,
        max: at(0),
        isolated: degrees.iter().rev().take_while(|d| d.0 == 0).count(),
        top: degrees.iter().take(top).map(|&(degree, entity)| (entity, degree)).collect(),
    }
}

/// Kind of a relation after Bordes et al. (2013): a side is "N" where it has on average at least 1.5
/// entities for each entity of the other side that has any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cardinality {
    /// Fewer than 1.5 tails a head and fewer than 1.5 heads a tail.
    OneToOne,
    /// At least 1.5 tails a head, fewer than 1.5 heads a tail.
    OneToMany,
    /// Fewer than 1.5 tails a head, at least 1.5 heads a tail.
    ManyToOne,
    /// At least 1.5 of both.
    ManyToMany,
}

impl Cardinality {
    /// All kinds, in the order of the literature.
    pub const ALL: [Cardinality; 4] =
        [Cardinality::OneToOne, Cardinality::OneToMany, Cardinality::ManyToOne, Cardinality::ManyToMany];

    /// The literature's name.
    pub fn name(self) -> &'static str {
        ["1-1", "1-N", "N-1", "N-N"][self as usize]
    }
}

/// One relation of the dataset.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RelationStats {
    /// The forward relation.
    pub relation: RelationId,
    /// Number of facts.
    pub facts: usize,
    /// Mean number of tails of a head that has this relation.
    pub tails_per_head: f64,
    /// Mean number of heads of a tail that has this relation.
    pub heads_per_tail: f64,
    /// `None` where there is no fact.
    pub cardinality: Option<Cardinality>,
}

/// Statistics of every forward relation, by relation. O(fragments).
pub fn relations(csr: Csr, num_relations: usize) -> Vec<RelationStats> {
    let (mut facts, mut fragments) = (vec![0usize; num_relations], vec![0usize; num_relations]);
    for entity in csr.entities_with_edges() {
        for (relation, tails) in csr.row(entity).iter().filter(|(r, _)| r.index() < num_relations) {
            facts[relation.index()] += tails.len();
            fragments[relation.index()] += 1;
        }
    }
    let mean = |relation: usize| facts[relation] as f64 / fragments[relation].max(1) as f64;
    let describe = |relation: usize| {
        let (tails_per_head, heads_per_tail) = (mean(relation), mean(relation + 1));
        let kind = usize::from(tails_per_head >= 1.5) + 2 * usize::from(heads_per_tail >= 1.5);
        RelationStats {
            relation: RelationId(relation as u32),
            facts: facts[relation],
            tails_per_head,
            heads_per_tail,
            cardinality: (facts[relation] > 0).then_some(Cardinality::ALL[kind]),
        }
    };
    (0..num_relations).step_by(2).map(describe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::CsrBuf;
    use crate::ids::Triple;

    fn graph(num_entities: usize, triples: &[(u32, u32, u32)]) -> CsrBuf {
        let triple = |&(h, r, t): &(u32, u32, u32)| Triple {
            head: EntityId(h),
            relation: RelationId(2 * r),
            tail: EntityId(t),
        };
        CsrBuf::from_triples(num_entities, &triples.iter().map(triple).collect::<Vec<_>>())
    }

    #[test]
    fn degrees_count_both_ends_of_a_fact() {
        let csr = graph(4, &[(0, 0, 1), (0, 0, 2), (1, 0, 2), (0, 1, 1)]);
        let top = vec![(EntityId(0), 3), (EntityId(1), 3)];
        let expected = Degrees { min: 0, median: 2.5, mean: 2.0, max: 3, isolated: 1, top };
        assert_eq!(degrees(csr.view(), 2), expected);
    }

    #[test]
    fn cardinalities_follow_the_mean_number_at_each_side() {
        let triples = [
            (0, 0, 1),
            (2, 0, 3),
            // Two tails of one head; two heads of one tail; two by two.
            (0, 1, 1),
            (0, 1, 2),
            (1, 2, 0),
            (2, 2, 0),
            (0, 3, 1),
            (0, 3, 2),
            (3, 3, 1),
            (3, 3, 2),
        ];
        let stats = relations(graph(4, &triples).view(), 10);
        let names: Vec<_> = stats.iter().map(|s| s.cardinality.map(Cardinality::name)).collect();
        assert_eq!(names, [Some("1-1"), Some("1-N"), Some("N-1"), Some("N-N"), None]);
        assert_eq!((stats[1].tails_per_head, stats[1].heads_per_tail, stats[1].facts), (2.0, 1.0, 2));
        assert_eq!(stats[2].relation, RelationId(4));
    }

    #[test]
    fn an_exact_mean_of_one_and_a_half_is_many() {
        let stats = relations(graph(5, &[(0, 0, 1), (0, 0, 2), (3, 0, 4)]).view(), 2);
        assert_eq!(stats[0].cardinality, Some(Cardinality::OneToMany));
    }
}
