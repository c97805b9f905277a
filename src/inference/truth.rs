//! How true a link is: from a model's scores of all tails to one sparse row of truth values.
//!
//! The recipe is QTO's (Bai, Lv, Li and Hou, "Answering Complex Logical Queries on Knowledge Graphs via Query Computation Tree
//! Optimization", ICML 2023). The scores of `(h, r, ?)` go through a softmax over all tails. Multiplied by the number of tails that
//! `(h, r)` has in training, at least 1, it is the truth of each link: about as many tails are true as are known. What is below a
//! threshold is cut to 0; a predicted link is at most [`CAP`]; an observed one is 1.

use crate::error::{Error, Result};
use crate::ids::EntityId;
use crate::math::{LANES, exp};
use pulp::{Simd, WithSimd};

/// The greatest truth of a link that was not observed.
pub const CAP: f32 = 0.9999;

/// Truth values are kept in two bytes: 0 is an observed link, 1 is [`CAP`], and each following code is less by one factor, down to the threshold
/// at code 65,280. With a threshold of 2e-4 the factor is 1.00013.
pub type Code = u16;

/// The code of an observed link.
pub const OBSERVED: Code = 0;

/// The code of the threshold. Behind it 255 codes are left over, of which the one before 0 is how [`Truth::of`] finds observed links without asking.
const LAST: Code = 255 << 8;

/// Steps from [`CAP`] down to the threshold.
const STEPS: f32 = (LAST - 1) as f32;

/// The truth values of one `(head, relation)`: its tails, ascending, whose truth is not 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row<'a> {
    /// The tails, ascending.
    pub tails: &'a [EntityId],
    /// Their truth.
    pub codes: &'a [Code],
}

/// A [`Row`] that owns its arrays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OwnedRow {
    /// The tails, ascending.
    pub tails: Box<[EntityId]>,
    /// Their truth.
    pub codes: Box<[Code]>,
}

impl OwnedRow {
    /// The arrays.
    pub fn row(&self) -> Row<'_> {
        Row { tails: &self.tails, codes: &self.codes }
    }

    /// Bytes in memory, without the allocator's.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.tails.len() * (size_of::<EntityId>() + size_of::<Code>())
    }
}

/// Turns scores into truth values.
#[derive(Clone, Debug)]
pub struct Truth {
    temperature: f32,
    ln_threshold: f32,
    /// Logarithm of the factor between two codes.
    step: f32,
    /// Truth by the upper and the lower byte of the steps below [`CAP`], to be multiplied: unlike a table of all codes they fit the first-level cache.
    coarse: [f32; 256],
    fine: [f32; 256],
}

impl Truth {
    /// With a threshold between 0 and [`CAP`], both excluded, and scores divided by a temperature above 0.
    pub fn new(threshold: f32, temperature: f32) -> Self {
        let ln_threshold = threshold.ln();
        let step = (CAP.ln() - ln_threshold) / STEPS;
        let factor = |steps: usize| (-f64::from(step) * steps as f64).exp();
        let coarse = std::array::from_fn(|byte| match byte {
            // More than 1 whatever it is multiplied by.
            255 => 4.0,
            byte => (f64::from(CAP) * factor(byte << 8)) as f32,
        });
        let fine = std::array::from_fn(|byte| factor(byte) as f32);
        Truth { temperature, ln_threshold, step, coarse, fine }
    }

    /// The truth value of a code.
    #[inline(always)]
    pub fn of(&self, code: Code) -> f32 {
        let [coarse, fine] = code.wrapping_sub(1).to_be_bytes();
        let value = self.coarse[usize::from(coarse)] * self.fine[usize::from(fine)];
        // In one instruction, where `min` would care for NaN.
        if value < 1.0 { value } else { 1.0 }
    }

    /// A row, to be made of the scores of its links. `known` is the number of tails that it has in training, `observed` those that are
    /// observed, ascending. `space` is any list, whose memory is used.
    pub fn row<'a>(&'a self, known: usize, observed: &'a [EntityId], space: Candidates) -> RowBuilder<'a> {
        let mut candidates = space;
        candidates.clear();
        let ln_known = (known.max(1) as f32).ln();
        RowBuilder { truth: self, ln_known, observed, softmax: Softmax::default(), candidates, pruned: 0 }
    }
}

/// Tails with their scores.
pub type Candidates = Vec<(EntityId, f32)>;

/// The maximum of scores, and the sum of the exponentials of what they are below it.
#[derive(Clone, Copy, Debug)]
struct Softmax {
    max: f32,
    sum: f64,
}

impl Default for Softmax {
    fn default() -> Self {
        Softmax { max: f32::NEG_INFINITY, sum: 0.0 }
    }
}

impl Softmax {
    /// Of at most [`ALIGNMENT`] scores; the maximum is NaN where one of them is.
    #[inline(always)]
    fn of(scores: &[f32], temperature: f32) -> Self {
        let max = max_or_nan(scores);
        if max == f32::NEG_INFINITY || max.is_nan() {
            return Softmax { max, sum: 0.0 };
        }
        let (scale, mut lanes) = (1.0 / temperature, [0f32; LANES]);
        let chunks = scores.chunks_exact(LANES);
        let rest = chunks.remainder();
        for chunk in chunks {
            for (lane, score) in lanes.iter_mut().zip(chunk) {
                *lane += exp((score - max) * scale);
            }
        }
        for (lane, score) in lanes.iter_mut().zip(rest) {
            *lane += exp((score - max) * scale);
        }
        Softmax { max, sum: lanes.iter().map(|lane| f64::from(*lane)).sum() }
    }

    /// Of these scores and others.
    fn with(self, other: Softmax, temperature: f32) -> Self {
        let max = self.max.max(other.max);
        let share = |of: Softmax| match of.sum > 0.0 {
            true => of.sum * f64::from((of.max - max) / temperature).exp(),
            false => 0.0,
        };
        Softmax { max, sum: share(self) + share(other) }
    }
}

/// The greatest number; NaN where one of them is.
#[inline(always)]
fn max_or_nan(scores: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for chunk in scores.chunks(LANES) {
        for (lane, &score) in lanes.iter_mut().zip(chunk) {
            *lane = if score > *lane || score.is_nan() { score } else { *lane };
        }
    }
    lanes
        .into_iter()
        .fold(f32::NEG_INFINITY, |max, lane| if lane > max || lane.is_nan() { lane } else { max })
}

/// That the scores of entities from `first` on are numbers.
///
/// # Errors
///
/// Where one is not, with the entity.
pub fn check_numbers(first: usize, scores: &[f32]) -> Result<()> {
    match scores.iter().position(|score| score.is_nan()) {
        None => Ok(()),
        Some(place) => Err(Error::invalid(format!(
            "the score of entity {} is not a number: the run's model is damaged; train again, or use another run",
            first + place
        ))),
    }
}

/// Scores come in blocks of entities whose first one is a multiple of this, so that the order of additions is the same for any blocks.
pub const ALIGNMENT: usize = 4096;

/// A block of scores that a row takes, compiled for each instruction set.
struct Push<'b, 'a> {
    row: &'b mut RowBuilder<'a>,
    first: usize,
    scores: &'b [f32],
}

impl WithSimd for Push<'_, '_> {
    type Output = Result<()>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Result<()> {
        self.row.push_block(self.first, self.scores)
    }
}

/// Makes a row of the scores of its links, block by block. Memory is that of the row, not of all entities.
#[derive(Debug)]
pub struct RowBuilder<'a> {
    truth: &'a Truth,
    ln_known: f32,
    observed: &'a [EntityId],
    softmax: Softmax,
    /// Scores that were above the threshold by the sum so far, which only grows.
    candidates: Candidates,
    /// How many were left when candidates were last looked through.
    pruned: usize,
}

impl RowBuilder<'_> {
    /// Takes the scores of entities from `first` on, a multiple of [`ALIGNMENT`], in ascending order.
    ///
    /// # Errors
    ///
    /// Where a score is not a number.
    pub fn push(&mut self, first: usize, scores: &[f32]) -> Result<()> {
        for (block, scores) in scores.chunks(ALIGNMENT).enumerate() {
            let first = first + block * ALIGNMENT;
            pulp::Arch::new().dispatch(Push { row: self, first, scores })?;
        }
        Ok(())
    }

    #[inline(always)]
    fn push_block(&mut self, first: usize, scores: &[f32]) -> Result<()> {
        let here = Softmax::of(scores, self.truth.temperature);
        if here.max.is_nan() {
            check_numbers(first, scores)?;
        }
        self.softmax = self.softmax.with(here, self.truth.temperature);
        // A little below, for the rounding of what follows.
        let least = (self.truth.ln_threshold - self.shift() - 1e-3) * self.truth.temperature;
        if here.max < least {
            return Ok(());
        }
        let entities = (first as u32..).map(EntityId).step_by(LANES);
        for (entity, scores) in entities.zip(scores.chunks(LANES)) {
            // Most hold none, and that is seen of many scores at once.
            if scores.iter().fold(false, |any, score| any | (*score >= least)) {
                let entities = (entity.0..).map(EntityId).zip(scores.iter().copied());
                self.candidates.extend(entities.filter(|(_, score)| *score >= least));
            }
        }
        if self.candidates.len() > 2 * self.pruned + ALIGNMENT {
            self.candidates.retain(|(_, score)| *score >= least);
            self.pruned = self.candidates.len();
        }
        Ok(())
    }

    /// Scores become logarithms of truth, by all scores so far, neither cut nor capped.
    pub fn ln_truth(&self, scores: &mut [f32]) {
        let shift = self.shift();
        scores.iter_mut().for_each(|score| *score = *score / self.truth.temperature + shift);
    }

    /// What is added to a score over the temperature.
    fn shift(&self) -> f32 {
        self.ln_known - self.softmax.sum.ln() as f32 - self.softmax.max / self.truth.temperature
    }

    /// The row, after all scores, and the memory that it was made in.
    pub fn finish(self) -> (OwnedRow, Candidates) {
        let (truth, shift) = (self.truth, self.shift());
        let (mut tails, mut codes) = (Vec::new(), Vec::new());
        let mut observed = self.observed.iter().copied().peekable();
        for &(tail, score) in &self.candidates {
            while let Some(before) = observed.next_if(|observed| *observed < tail) {
                tails.push(before);
                codes.push(OBSERVED);
            }
            let ln = score / truth.temperature + shift;
            if observed.next_if_eq(&tail).is_some() {
                tails.push(tail);
                codes.push(OBSERVED);
            } else if ln >= truth.ln_threshold {
                tails.push(tail);
                codes.push(1 + ((CAP.ln() - ln) / truth.step).clamp(0.0, STEPS).round() as Code);
            }
        }
        codes.resize(codes.len() + observed.len(), OBSERVED);
        tails.extend(observed);
        (OwnedRow { tails: tails.into(), codes: codes.into() }, self.candidates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(truth: &Truth, scores: &[f32], known: usize, observed: &[EntityId]) -> Result<OwnedRow> {
        let mut builder = truth.row(known, observed, Vec::new());
        builder.push(0, scores)?;
        Ok(builder.finish().0)
    }

    fn values(truth: &Truth, row: &OwnedRow) -> Vec<(u32, f32)> {
        row.tails.iter().zip(&row.codes).map(|(tail, &code)| (tail.0, truth.of(code))).collect()
    }

    #[test]
    fn a_row_is_the_softmax_times_the_known_tails_cut_capped_and_observed() {
        let truth = Truth::new(2e-4, 1.0);
        // Softmax: .6439, .2369, .0871, .0321 and less than 1e-5.
        let scores = [3.0, 2.0, 1.0, 0.0, -9.0];
        let links = values(&truth, &row(&truth, &scores, 0, &[EntityId(3), EntityId(4)]).unwrap());
        let expected = [(0, 0.6439), (1, 0.2369), (2, 0.0871), (3, 1.0), (4, 1.0)];
        assert_eq!(links.len(), expected.len());
        for ((tail, value), (expected, of)) in links.iter().zip(expected) {
            assert!(*tail == expected && (value - of).abs() < 1e-4, "{links:?}");
        }
        let twice = values(&truth, &row(&truth, &scores, 2, &[]).unwrap());
        assert_eq!(twice.len(), 4, "the last is below the threshold");
        assert_eq!(twice[0], (0, CAP));
        assert!((twice[1].1 - 2.0 * 0.2369).abs() < 1e-4);
    }

    #[test]
    fn codes_fall_with_truth_and_lose_less_than_a_ten_thousandth_of_it() {
        let truth = Truth::new(2e-4, 1.0);
        let values: Vec<f32> = (0..=LAST).map(|code| truth.of(code)).collect();
        assert_eq!((values[0], values[1]), (1.0, CAP));
        assert!((values[usize::from(LAST)] / 2e-4 - 1.0).abs() < 1e-4);
        assert!(values.is_sorted_by(|a, b| a > b));
        for probability in [0.9, 0.5, 0.1, 1e-3, 3e-4] {
            let scores = [f32::ln(probability), f32::ln(1.0 - probability)];
            let link = row(&truth, &scores, 1, &[]).unwrap();
            let value = values[link.codes[0] as usize];
            assert!((value / probability - 1.0).abs() < 1e-4, "{probability} became {value}");
        }
    }

    #[test]
    fn not_a_number_is_an_error_that_names_the_entity() {
        let truth = Truth::new(2e-4, 1.0);
        let error = row(&truth, &[0.0, f32::NAN], 1, &[]).unwrap_err();
        assert!(error.to_string().contains("entity 1"), "{error}");
        // A score of minus infinity is that of an impossible tail.
        assert_eq!(row(&truth, &[f32::NEG_INFINITY, 0.0], 1, &[]).unwrap().tails.len(), 1);
    }

    #[test]
    fn a_temperature_flattens() {
        let warm = Truth::new(2e-4, 2.0);
        let links = values(&warm, &row(&warm, &[2.0, 0.0], 1, &[]).unwrap());
        assert!((links[0].1 - 0.7311).abs() < 1e-4, "{links:?}");
    }

    #[test]
    fn a_row_has_the_same_bits_whatever_blocks_its_scores_come_in() {
        let mut rng = crate::rng::stream(1, "scores", 0);
        let mut score = || crate::rng::below(&mut rng, 1 << 20) as f32 / (1 << 16) as f32;
        let scores: Vec<f32> = (0..5 * ALIGNMENT + 77).map(|_| score()).collect();
        let observed = [3, 4096, 4097, 20_500].map(EntityId);
        let truth = Truth::new(2e-4, 1.0);
        let whole = row(&truth, &scores, 9, &observed).unwrap();
        assert!(whole.tails.len() > 100 && whole.tails.len() < 5000 && whole.tails.is_sorted());
        assert_eq!(whole.codes.iter().filter(|&&code| code == OBSERVED).count(), 4);
        for blocks in [1, 2, 3] {
            let mut builder = truth.row(9, &observed, Vec::new());
            for (block, scores) in scores.chunks(blocks * ALIGNMENT).enumerate() {
                builder.push(block * blocks * ALIGNMENT, scores).unwrap();
            }
            assert_eq!(builder.finish().0, whole);
        }
    }
}
