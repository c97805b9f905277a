//! Why a drawn query is thrown away, and how often each reason occurred.

/// A reason to draw a query again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rejection {
    /// The walk reached an entity without edges, or the graph has no second entity to draw.
    NoEdges,
    /// A projection follows its own inverse: `a -r-> . -r^-1->` leads back to `a`.
    StepsBack,
    /// Two branches of an intersection or a union are the same.
    EqualBranches,
    /// The drawn answer is in a negated branch.
    NegatedAnswer,
    /// A fragment or a set on the way to the cut has more entities than the relation bandwidth.
    Bandwidth,
    /// The frontier at the cut has more entities than the answer cap.
    Frontier,
    /// More entities of the pool are answers than the answer cap.
    Hits,
    /// Every entity of the pool is an answer.
    NoNegatives,
}

impl Rejection {
    /// All reasons, in the order of [`Rejections::counts`].
    pub const ALL: [Rejection; 8] = [
        Rejection::NoEdges,
        Rejection::StepsBack,
        Rejection::EqualBranches,
        Rejection::NegatedAnswer,
        Rejection::Bandwidth,
        Rejection::Frontier,
        Rejection::Hits,
        Rejection::NoNegatives,
    ];

    /// A short name for tables and JSON.
    pub fn name(self) -> &'static str {
        [
            "no_edges",
            "steps_back",
            "equal_branches",
            "negated_answer",
            "bandwidth",
            "frontier",
            "hits",
            "no_negatives",
        ][self as usize]
    }

    /// The reason in words, with what the user can do about it.
    pub fn explain(self) -> &'static str {
        match self {
            Rejection::NoEdges => "an entity on the way has no edges",
            Rejection::StepsBack => "a relation is followed by its own inverse",
            Rejection::EqualBranches => {
                "two branches are the same: the answers have too few different edges for this structure"
            }
            Rejection::NegatedAnswer => "the answer is in a negated branch",
            Rejection::Bandwidth => "a set on the way is larger than the relation bandwidth",
            Rejection::Frontier => "the frontier is larger than the answer cap",
            Rejection::Hits => "more negatives are answers than the answer cap",
            Rejection::NoNegatives => "every entity of the pool of negatives is an answer",
        }
    }

    /// The key whose larger value lets such draws pass, where there is one.
    pub fn key(self) -> Option<&'static str> {
        match self {
            Rejection::Bandwidth => Some("sampling.relation_bandwidth"),
            Rejection::Frontier | Rejection::Hits => Some("sampling.answer_cap"),
            _ => None,
        }
    }
}

/// How often each reason occurred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rejections {
    /// Counts in the order of [`Rejection::ALL`].
    pub counts: [u64; Rejection::ALL.len()],
}

impl Rejections {
    /// Counts one more.
    #[inline]
    pub fn add(&mut self, reason: Rejection) {
        self.counts[reason as usize] += 1;
    }

    /// Adds the counts of another.
    pub fn merge(&mut self, other: &Rejections) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine += theirs;
        }
    }

    /// How often one reason occurred.
    pub fn of(&self, reason: Rejection) -> u64 {
        self.counts[reason as usize]
    }

    /// Rejections of all reasons.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The most frequent reason with its count; `None` where there was no rejection.
    pub fn most_frequent(&self) -> Option<(Rejection, u64)> {
        let best = Rejection::ALL.into_iter().max_by_key(|&reason| self.counts[reason as usize])?;
        let count = self.counts[best as usize];
        (count > 0).then_some((best, count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_reason_is_found_and_counts_add_up() {
        let mut counts = Rejections::default();
        assert_eq!(counts.most_frequent(), None);
        for (i, reason) in Rejection::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, i, "ALL is in the order of the discriminants");
            counts.add(reason);
        }
        counts.add(Rejection::Frontier);
        let mut twice = counts;
        twice.merge(&counts);
        assert_eq!(twice.most_frequent(), Some((Rejection::Frontier, 4)));
        assert_eq!(twice.total(), 2 * (Rejection::ALL.len() as u64 + 1));
    }
}
