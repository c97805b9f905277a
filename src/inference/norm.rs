//! What "and" and "or" are between truth values.

use serde::{Deserialize, Serialize};

/// A t-norm with its matching co-norm, both over `[0, 1]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum TNorm {
    /// and: `x y`; or: `x + y - x y`.
    #[default]
    Product,
    /// and: the smaller one; or: the greater one (Gödel).
    Minimum,
    /// and: `max(0, x + y - 1)`; or: `min(1, x + y)`.
    Lukasiewicz,
}

impl TNorm {
    /// The names, as options have them.
    pub const NAMES: [&str; 3] = ["product", "minimum", "lukasiewicz"];

    /// The name.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// The truth of both. It never falls where `x` or `y` rises, also as rounded.
    #[inline(always)]
    pub fn and(self, x: f32, y: f32) -> f32 {
        match self {
            TNorm::Product => x * y,
            TNorm::Minimum => x.min(y),
            TNorm::Lukasiewicz => (x.min(y) - (1.0 - x.max(y))).max(0.0),
        }
    }

    /// The truth of either.
    #[inline(always)]
    pub fn or(self, x: f32, y: f32) -> f32 {
        match self {
            // In more bits: a small truth must not be lost beside 1, nor one beside 0 change.
            TNorm::Product => {
                let (x, y) = (f64::from(x), f64::from(y));
                (x + y - x * y) as f32
            }
            TNorm::Minimum => x.max(y),
            TNorm::Lukasiewicz => (x + y).min(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [TNorm; 3] = [TNorm::Product, TNorm::Minimum, TNorm::Lukasiewicz];

    #[test]
    fn a_truth_of_one_is_neutral_to_and_and_of_zero_to_or() {
        for norm in ALL {
            for x in [0.0, 1e-20, 2e-4, 0.3, 0.9999, 1.0] {
                assert_eq!(
                    (norm.and(x, 1.0), norm.and(1.0, x), norm.and(x, 0.0)),
                    (x, x, 0.0),
                    "{norm:?} {x}"
                );
                assert_eq!((norm.or(x, 1.0), norm.or(1.0, x)), (1.0, 1.0), "{norm:?} {x}");
                assert_eq!((norm.or(x, 0.0), norm.or(0.0, x)), (x, x), "{norm:?} {x}");
            }
        }
    }

    proptest! {
        #[test]
        fn norms_commute_never_fall_and_stay_between_zero_and_one(x in 0f32..=1.0, y in 0f32..=1.0, z in 0f32..=1.0) {
            let (x, y) = (x.min(y), x.max(y));
            for norm in ALL {
                prop_assert!(norm.and(x, z) <= norm.and(y, z) && norm.or(x, z) <= norm.or(y, z));
                for value in [norm.and(x, z), norm.or(x, z)] {
                    prop_assert!((0.0..=1.0).contains(&value));
                }
                prop_assert!((norm.and(x, z) - norm.and(z, x)).abs() < 1e-6);
                prop_assert!(norm.and(x, z) <= x.min(z) && norm.or(x, z) >= x.max(z) - 1e-6);
            }
        }
    }
}
