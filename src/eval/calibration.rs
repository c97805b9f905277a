//! From scores to probabilities, and to sets that hold an answer as often as they say.
//!
//! The candidates of a query are the entities that are no observed answers. On validation queries it is known which of them are
//! answers. From that a curve is fitted for each structure, isotonic (pool adjacent violators) or logistic (Platt), whichever
//! predicts the other half of the queries better. It never falls, so ranks stay what they are.
//!
//! Conformal sets (split conformal prediction): each validation query gives the nonconformity of one of its hard answers, drawn
//! at random. A set takes all candidates up to that nonconformity which the wanted share of validation queries does not exceed. Were
//! test queries drawn like validation queries, it would miss an answer no more often than it says.

use serde::{Deserialize, Serialize};

/// Candidates of a query by which probabilities are fitted and judged: the best ones.
pub const CANDIDATES: usize = 100;

/// Least probability that counts in a logarithm.
const LEAST: f64 = 1e-4;

/// A candidate: its score, and whether it is an answer.
pub type Candidate = (f32, bool);

/// From a score to a probability; never falling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "method")]
pub enum Curve {
    /// Between these points straight lines, beyond them constant.
    Isotonic {
        /// Scores, ascending.
        scores: Vec<f32>,
        /// Their probabilities, never falling.
        probabilities: Vec<f64>,
    },
    /// `1 / (1 + e^-(slope x + intercept))`, with x the score, or the logarithm of a truth.
    Platt {
        /// At least 0.
        slope: f64,
        /// Where x is 0.
        intercept: f64,
        /// Whether scores are truth values.
        of_truth: bool,
    },
}

impl Curve {
    /// The name of the method.
    pub fn method(&self) -> &'static str {
        match self {
            Curve::Isotonic { .. } => "isotonic",
            Curve::Platt { .. } => "Platt",
        }
    }

    /// The probability of a candidate with this score.
    pub fn probability(&self, score: f32) -> f64 {
        match self {
            Curve::Isotonic { scores, probabilities } => {
                let after = scores.partition_point(|&s| s <= score);
                match (after.checked_sub(1), scores.get(after)) {
                    (None, _) => probabilities.first().copied().unwrap_or(0.0),
                    (Some(last), None) => probabilities[last],
                    (Some(before), Some(&next)) => {
                        let share = f64::from(score - scores[before]) / f64::from(next - scores[before]);
                        probabilities[before] + share * (probabilities[after] - probabilities[before])
                    }
                }
            }
            Curve::Platt { slope, intercept, of_truth } => {
                logistic(slope * feature(score, *of_truth) + intercept)
            }
        }
    }

    /// Pools adjacent violators; each block of equal probability becomes a point at its mean score.
    pub fn isotonic(candidates: impl Iterator<Item = Candidate>) -> Self {
        let mut sorted: Vec<Candidate> = candidates.collect();
        sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        // Sum of scores, answers, candidates.
        let mut blocks: Vec<[f64; 3]> = Vec::new();
        for equal in sorted.chunk_by(|a, b| a.0 == b.0) {
            let count = equal.len() as f64;
            let answers = equal.iter().filter(|(_, is_answer)| *is_answer).count() as f64;
            let mut block = [f64::from(equal[0].0) * count, answers, count];
            while let Some(before) = blocks.pop_if(|before| before[1] * block[2] >= block[1] * before[2]) {
                (0..3).for_each(|i| block[i] += before[i]);
            }
            blocks.push(block);
        }
        let mut points: Vec<(f32, f64)> =
            blocks.iter().map(|b| ((b[0] / b[2]) as f32, b[1] / b[2])).collect();
        points.dedup_by(|a, b| a.0 <= b.0);
        let (scores, probabilities) = points.into_iter().unzip();
        Curve::Isotonic { scores, probabilities }
    }

    /// The logistic curve of greatest likelihood (Platt 1999, with his targets), by Newton's method.
    pub fn platt(candidates: impl Iterator<Item = Candidate>, of_truth: bool) -> Self {
        let points: Vec<(f64, bool)> =
            candidates.map(|(score, is_answer)| (feature(score, of_truth), is_answer)).collect();
        let answers = points.iter().filter(|(_, is_answer)| *is_answer).count() as f64;
        let others = points.len() as f64 - answers;
        let target =
            |is_answer| if is_answer { (answers + 1.0) / (answers + 2.0) } else { 1.0 / (others + 2.0) };
        let (mut slope, mut intercept) = (0.0, ((answers + 1.0) / (others + 1.0)).ln());
        for _ in 0..100 {
            let (mut gradient, mut hessian) = ([0.0; 2], [1e-9, 0.0, 1e-9]);
            for &(x, is_answer) in &points {
                let p = logistic(slope * x + intercept);
                let (error, weight) = (p - target(is_answer), p * (1.0 - p));
                gradient[0] += error * x;
                gradient[1] += error;
                hessian[0] += weight * x * x;
                hessian[1] += weight * x;
                hessian[2] += weight;
            }
            let determinant = hessian[0] * hessian[2] - hessian[1] * hessian[1];
            let step = [
                (hessian[2] * gradient[0] - hessian[1] * gradient[1]) / determinant,
                (hessian[0] * gradient[1] - hessian[1] * gradient[0]) / determinant,
            ];
            // A step that is too long for where the likelihood is flat.
            let length = step[0].abs().max(step[1].abs()).max(1.0);
            slope -= step[0] / length;
            intercept -= step[1] / length;
            if !length.is_finite() || step[0].abs().max(step[1].abs()) < 1e-9 {
                break;
            }
        }
        // Scores that say the contrary of what they should say nothing.
        let of_nothing = slope < 0.0 || !slope.is_finite() || !intercept.is_finite();
        if of_nothing {
            (slope, intercept) = (0.0, ((answers + 1.0) / (others + 1.0)).ln());
        }
        Curve::Platt { slope, intercept, of_truth }
    }

    /// The curve that predicts better, each fitted on every other query and judged on the rest, then fitted on all.
    pub fn choose(queries: &[Vec<Candidate>], of_truth: bool) -> Self {
        let fold = |odd: usize| queries.iter().skip(odd).step_by(2).flatten().copied();
        let loss = |fit: &dyn Fn(usize) -> Curve, odd: usize| -> f64 {
            let curve = fit(odd);
            fold(1 - odd).map(|candidate| log_loss(&curve, candidate)).sum()
        };
        let both = |fit: &dyn Fn(usize) -> Curve| loss(fit, 0) + loss(fit, 1);
        let isotonic = both(&|odd| Curve::isotonic(fold(odd)));
        let platt = both(&|odd| Curve::platt(fold(odd), of_truth));
        let all = queries.iter().flatten().copied();
        if isotonic <= platt { Curve::isotonic(all) } else { Curve::platt(all, of_truth) }
    }
}

fn feature(score: f32, of_truth: bool) -> f64 {
    let score = f64::from(score);
    if of_truth { score.max(1e-8).ln() } else { score }
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn log_loss(curve: &Curve, (score, is_answer): Candidate) -> f64 {
    let p = curve.probability(score).clamp(LEAST, 1.0 - LEAST);
    -(if is_answer { p } else { 1.0 - p }).ln()
}

/// What probabilities are worth on queries that they were not fitted on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reliability {
    /// Candidates.
    pub candidates: usize,
    /// Expected calibration error: the mean distance of probability and share of answers over ten bins, by candidates.
    pub ece: f64,
    /// That of the same probability for all candidates: the share of answers among those that were fitted on.
    pub ece_constant: f64,
    /// Mean squared error of the probabilities (Brier's score).
    pub brier: f64,
    /// That of the constant.
    pub brier_constant: f64,
    /// Mean probability, share of answers and candidates of each bin that has some.
    pub bins: Vec<(f64, f64, usize)>,
}

impl Reliability {
    /// Of a curve on these queries, beside a constant.
    pub fn of(curve: &Curve, constant: f64, queries: &[Vec<Candidate>]) -> Self {
        let mut bins = [(0.0, 0.0, 0usize); 10];
        let (mut brier, mut brier_constant) = (0.0, 0.0);
        for &(score, is_answer) in queries.iter().flatten() {
            let (p, is) = (curve.probability(score), f64::from(u8::from(is_answer)));
            let bin = &mut bins[((p * 10.0) as usize).min(9)];
            *bin = (bin.0 + p, bin.1 + is, bin.2 + 1);
            brier += (p - is) * (p - is);
            brier_constant += (constant - is) * (constant - is);
        }
        let candidates: usize = bins.iter().map(|bin| bin.2).sum();
        let all = (candidates as f64).max(1.0);
        let answers: f64 = bins.iter().map(|bin| bin.1).sum();
        Reliability {
            candidates,
            ece: bins.iter().map(|(p, is, _)| (p - is).abs()).sum::<f64>() / all,
            ece_constant: (constant - answers / all).abs(),
            brier: brier / all,
            brier_constant: brier_constant / all,
            bins: bins
                .into_iter()
                .filter(|bin| bin.2 > 0)
                .map(|(p, is, count)| (p / count as f64, is / count as f64, count))
                .collect(),
        }
    }
}

/// How little a candidate looks like an answer: below 1 it is one minus its truth; for a candidate that is false, or where scores are no
/// truth values, 1 plus its place among all candidates as a share of all entities.
pub fn nonconformity(truth: Option<f32>, place: usize, num_entities: usize) -> f64 {
    match truth {
        Some(truth) if truth > 0.0 => 1.0 - f64::from(truth),
        _ => 1.0 + place as f64 / num_entities as f64,
    }
}

/// The greatest nonconformity of a set that holds an answer with this probability, from those of answers, ascending; `None` where
/// there are too few of them to say: then a set has all entities.
pub fn quantile(nonconformities: &[f64], coverage: f64) -> Option<f64> {
    let place = ((nonconformities.len() + 1) as f64 * coverage).ceil() as usize;
    nonconformities.get(place.max(1) - 1).copied()
}

/// How many of the best candidates a conformal set has; `truths` are those of all candidates, the best first, where scores are truth values.
pub fn set_size(
    most: Option<f64>,
    truths: Option<&[f32]>,
    num_candidates: usize,
    num_entities: usize,
) -> usize {
    let Some(most) = most else { return num_candidates };
    let places = (((most - 1.0) * num_entities as f64).round().max(0.0) as usize).min(num_candidates);
    match truths {
        None => places,
        Some(truths) => {
            let is_in = |&truth: &f32| truth > 0.0 && (most >= 1.0 || 1.0 - f64::from(truth) <= most);
            truths.partition_point(is_in).max(places)
        }
    }
}

/// Coverage of conformal sets on queries that they were not made from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Coverage {
    /// What was asked for.
    pub wanted: f64,
    /// Queries.
    pub queries: usize,
    /// Share of them whose drawn answer is in the set.
    pub covered: f64,
    /// Its 95 % interval (Wilson).
    pub interval: (f64, f64),
    /// Mean number of candidates in a set.
    pub mean_size: f64,
    /// Median number of candidates in a set.
    pub median_size: usize,
}

impl Coverage {
    /// Of sets: whether each holds the drawn answer, and its size.
    pub fn of(wanted: f64, sets: &[(bool, usize)]) -> Self {
        let n = sets.len() as f64;
        let covered = sets.iter().filter(|(holds, _)| *holds).count() as f64 / n.max(1.0);
        let mut sizes: Vec<usize> = sets.iter().map(|(_, size)| *size).collect();
        sizes.sort_unstable();
        Coverage {
            wanted,
            queries: sets.len(),
            covered,
            interval: wilson(covered, n),
            mean_size: sizes.iter().sum::<usize>() as f64 / n.max(1.0),
            median_size: sizes.get(sizes.len() / 2).copied().unwrap_or(0),
        }
    }
}

/// Wilson's 95 % interval of a share of `n`.
fn wilson(share: f64, n: f64) -> (f64, f64) {
    if n == 0.0 {
        return (0.0, 1.0);
    }
    const Z: f64 = 1.959_964;
    let centre = (share + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt() / (1.0 + Z * Z / n);
    ((centre - half).max(0.0), (centre + half).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{below, stream};

    /// Queries whose candidates have scores between 0 and 1 and are answers with the probability `of` of the score.
    fn queries(count: usize, of: impl Fn(f64) -> f64) -> Vec<Vec<Candidate>> {
        let mut rng = stream(3, "candidates", 0);
        let mut uniform = || below(&mut rng, 1 << 24) as f64 / f64::from(1 << 24);
        let mut candidate = || {
            let score = uniform();
            (score as f32, uniform() < of(score))
        };
        (0..count).map(|_| (0..50).map(|_| candidate()).collect()).collect()
    }

    #[test]
    fn the_curve_is_chosen_by_what_predicts_better_and_finds_the_probabilities() {
        let logistic_truth = |score: f64| logistic(4.0 * (score.max(1e-8)).ln() + 1.0);
        let stairs = |score: f64| if score < 0.5 { 0.05 } else { 0.6 };
        for (of, expected) in [(&logistic_truth as &dyn Fn(f64) -> f64, "Platt"), (&stairs, "isotonic")] {
            let curve = Curve::choose(&queries(400, of), true);
            assert_eq!(curve.method(), expected);
            let gaps = [0.1, 0.3, 0.45, 0.55, 0.7, 0.9].map(|s| (curve.probability(s as f32) - of(s)).abs());
            assert!(gaps.iter().all(|gap| *gap < 0.05), "{expected}: {gaps:?}");
            let steps: Vec<f64> = (0..=1000).map(|i| curve.probability(i as f32 / 1000.0)).collect();
            assert!(steps.is_sorted() && steps.iter().all(|p| (0.0..=1.0).contains(p)));
            let reliability = Reliability::of(&curve, 0.3, &queries(300, of));
            assert!(
                reliability.ece < 0.02 && reliability.brier < reliability.brier_constant,
                "{reliability:?}"
            );
        }
    }

    #[test]
    fn adjacent_violators_are_pooled() {
        let points = [(1.0, false), (2.0, true), (3.0, false), (4.0, true), (4.0, true)];
        let Curve::Isotonic { scores, probabilities } = Curve::isotonic(points.into_iter()) else { panic!() };
        assert_eq!((scores, probabilities), (vec![1.0, 2.5, 4.0], vec![0.0, 0.5, 1.0]));
    }

    #[test]
    fn scores_that_say_nothing_give_the_share_of_answers() {
        let mut backwards = queries(100, |score| 1.0 - score);
        let curve = Curve::platt(backwards.iter().flatten().copied(), true);
        assert!(
            (curve.probability(0.1) - 0.5).abs() < 0.02 && curve.probability(0.1) == curve.probability(0.9)
        );
        backwards.iter_mut().flatten().for_each(|candidate| candidate.1 = false);
        let never = Curve::choose(&backwards, true);
        assert!(never.probability(1.0) < 1e-3);
        assert_eq!(Curve::choose(&[], false).probability(3.0), 0.0);
    }

    #[test]
    fn a_set_holds_an_answer_as_often_as_it_says() {
        // Truth of the drawn answers, uniform; those below .2 are cut.
        let mut rng = stream(5, "answers", 0);
        let mut draw = || {
            let truth = below(&mut rng, 1 << 20) as f32 / (1 << 20) as f32;
            let place = 1 + ((1.0 - truth) * 1000.0) as usize;
            nonconformity(Some(if truth < 0.2 { 0.0 } else { truth }), place, 1000)
        };
        let mut valid: Vec<f64> = (0..2000).map(|_| draw()).collect();
        valid.sort_unstable_by(f64::total_cmp);
        for wanted in [0.5, 0.9, 0.99] {
            let most = quantile(&valid, wanted);
            let sets: Vec<(bool, usize)> = (0..4000).map(|_| (draw() <= most.unwrap(), 1)).collect();
            let coverage = Coverage::of(wanted, &sets);
            assert!((coverage.covered - wanted).abs() < 0.03, "{coverage:?}");
            assert!(coverage.interval.0 < coverage.covered && coverage.covered < coverage.interval.1);
        }
        assert_eq!(quantile(&valid[..5], 0.9), None, "five are too few");
        assert_eq!(quantile(&[0.1, 0.2, 0.3], 0.5), Some(0.2));
    }

    #[test]
    fn a_set_is_the_best_candidates_up_to_a_nonconformity() {
        let truths = [0.9, 0.5, 0.5, 0.1, 0.0, 0.0, 0.0];
        let size = |most| set_size(most, Some(&truths), 7, 100);
        assert_eq!([0.05, 0.1001, 0.5, 0.95, 1.0].map(|most| size(Some(most))), [0, 1, 3, 4, 4]);
        assert_eq!((size(Some(1.06)), size(Some(1.5)), size(None)), (6, 7, 7));
        assert_eq!(set_size(Some(1.03), None, 7, 100), 3);
        // What is in and what is not agrees with the nonconformity of each candidate.
        for most in [0.05, 0.3, 0.5, 0.9, 1.0, 1.05, 1.07] {
            let is_in = |place: usize| nonconformity(Some(truths[place]), place + 1, 100) <= most + 1e-12;
            assert_eq!((0..7).filter(|&place| is_in(place)).count(), size(Some(most)), "{most}");
        }
    }
}
