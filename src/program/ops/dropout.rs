//! Which numbers are dropped.

/// Which numbers of a matrix are dropped: each with the same probability, by a hash of the key and its place, so that the
/// same key drops the same numbers on every device and in the backward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropout {
    /// 2^32 times the probability that a number is dropped.
    threshold: u32,
    /// What the hash starts from.
    key: [u32; 2],
}

impl Dropout {
    /// `probability` is at least 0 and below 1; a key of its own for each matrix and step.
    pub fn new(probability: f32, key: u64) -> Self {
        assert!((0.0..1.0).contains(&probability), "dropout {probability}");
        let threshold = (f64::from(probability) * 4_294_967_296.0) as u32;
        Dropout { threshold, key: [key as u32, (key >> 32) as u32] }
    }

    /// What the others are multiplied with, so that the expectation stays.
    pub fn scale(self) -> f32 {
        (1.0 / (1.0 - f64::from(self.threshold) / 4_294_967_296.0)) as f32
    }

    /// The hash of a row.
    #[inline(always)]
    pub(crate) fn row(self, row: u32) -> u32 {
        mix(self.key[0] ^ mix(row.wrapping_add(self.key[1])))
    }

    /// Whether a column of a row with this hash stays.
    #[inline(always)]
    pub(crate) fn keeps(self, row: u32, column: u32) -> bool {
        mix(row.wrapping_add(column.wrapping_mul(0x9e37_79b9))) >= self.threshold
    }

    /// Threshold, key and scale, as kernels take them.
    pub(crate) fn raw(self) -> [u32; 4] {
        [self.threshold, self.key[0], self.key[1], self.scale().to_bits()]
    }
}

/// A bijection of 32 bits after which every bit depends on all (Wellons' lowbias32).
#[inline(always)]
fn mix(mut x: u32) -> u32 {
    x = (x ^ x >> 16).wrapping_mul(0x7feb_352d);
    x = (x ^ x >> 15).wrapping_mul(0x846c_a68b);
    x ^ x >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_dropped_numbers_is_the_probability_in_every_row_and_column() {
        let dropout = Dropout::new(0.25, 0x1234_5678_9abc_def0);
        let keeps = |row, column| dropout.keeps(dropout.row(row), column);
        let all = (0..4096u32 * 64).filter(|i| keeps(i / 64, i % 64)).count();
        assert!((195_000..198_200).contains(&all), "{all} of {} stay, expected 196,608", 4096 * 64);
        for k in 0..64 {
            let column = (0..4096).filter(|&row| keeps(row, k)).count();
            let row = (0..4096).filter(|&column| keeps(k, column)).count();
            assert!(
                (2_920..3_220).contains(&column) && (2_920..3_220).contains(&row),
                "{column}, {row} of 4,096"
            );
        }
        // Neighbours do not follow each other.
        let both = (0..4096u32 * 63).filter(|i| keeps(i / 63, i % 63) == keeps(i / 63, i % 63 + 1)).count();
        let share = both as f64 / (4096.0 * 63.0);
        assert!((share - 0.625).abs() < 0.01, "{share} of the neighbours are alike, expected .625");
        let below = (0..4096u32 * 64).filter(|i| keeps(i / 64, i % 64) == keeps(i / 64 + 1, i % 64)).count();
        let share = below as f64 / (4096.0 * 64.0);
        assert!((share - 0.625).abs() < 0.01, "{share} of rows one below the other are alike, expected .625");
    }

    #[test]
    fn what_stays_makes_up_for_what_is_dropped() {
        assert_eq!(Dropout::new(0.0, 7).scale(), 1.0);
        assert_eq!(Dropout::new(0.75, 7).scale(), 4.0);
        assert!((0..1000).all(|i| Dropout::new(0.0, 7).keeps(i, i)));
    }
}
