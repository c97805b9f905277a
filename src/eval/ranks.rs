//! The rank of an answer, and the plain reference that every faster way is held against.

use crate::ids::EntityId;

/// How many candidates stand before an answer (`better`), and how many beside it (`equal`).
///
/// The candidates of a (query, answer) are all entities but the query's other answers, easy or hard
/// (the *filter*), and but the answer itself.
pub use crate::backend::RankCount as RankCounts;

impl RankCounts {
    /// The rank if every tie is decided for the answer.
    pub fn optimistic(self) -> f64 {
        1.0 + f64::from(self.better)
    }

    /// The rank if every tie is decided against the answer.
    pub fn pessimistic(self) -> f64 {
        1.0 + f64::from(self.better) + f64::from(self.equal)
    }

    /// The mean of the two: what metrics use, so that a constant score ranks in the middle.
    pub fn rank(self) -> f64 {
        0.5 * (self.optimistic() + self.pessimistic())
    }
}

/// Counts for each of `targets`, one comparison per candidate. O(targets x entities).
///
/// `scores` has one score per entity, higher is better; `filter` holds all answers of the query,
/// ascending. Not-a-number ranks last: no candidate with it is better than or equal to an answer with a
/// number, and for an answer with it every candidate is better.
pub fn count_ranks(scores: &[f32], targets: &[EntityId], filter: &[EntityId]) -> Vec<RankCounts> {
    let counts = |&target: &EntityId| {
        let own = scores[target.index()];
        let mut counts = RankCounts::default();
        for (entity, &score) in scores.iter().enumerate() {
            let entity = EntityId(entity as u32);
            if entity == target || filter.binary_search(&entity).is_ok() {
                continue;
            }
            if own.is_nan() || score > own {
                counts.better += 1;
            } else if score == own {
                counts.equal += 1;
            }
        }
        counts
    };
    targets.iter().map(counts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(scores: &[f32], target: u32, filter: &[u32]) -> (u32, u32) {
        let filter: Vec<EntityId> = filter.iter().map(|&e| EntityId(e)).collect();
        let counts = count_ranks(scores, &[EntityId(target)], &filter)[0];
        (counts.better, counts.equal)
    }

    #[test]
    fn other_answers_are_filtered_out_and_ties_are_counted_apart() {
        let scores = [5.0, 4.0, 4.0, 4.0, 1.0];
        assert_eq!(count(&scores, 1, &[1]), (1, 2));
        assert_eq!(count(&scores, 1, &[0, 1, 3]), (0, 1));
        assert_eq!(count(&scores, 4, &[0, 1, 2, 3, 4]), (0, 0));
        let counts = RankCounts { better: 1, equal: 2 };
        assert_eq!((counts.optimistic(), counts.rank(), counts.pessimistic()), (2.0, 3.0, 4.0));
    }

    #[test]
    fn not_a_number_ranks_last() {
        let scores = [f32::NAN, 1.0, f32::NAN, f32::NEG_INFINITY];
        assert_eq!(count(&scores, 3, &[3]), (1, 0));
        assert_eq!(count(&scores, 0, &[0]), (3, 0));
        assert_eq!(count(&[f32::NAN; 7], 2, &[2]), (6, 0));
    }

    #[test]
    fn a_constant_score_ranks_in_the_middle() {
        let counts = count_ranks(&[0.5; 101], &[EntityId(9)], &[EntityId(9)])[0];
        assert_eq!(counts.rank(), 51.0);
        assert_eq!(count(&[0.0, -0.0], 0, &[0]), (0, 1));
    }
}
