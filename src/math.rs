//! Sums, and exp, sigmoid, softplus, sine and cosine without branches or tables, so that loops over them vectorise.

/// e^x within 2 units in the last place; 0 below -87.3, infinite above 88.7, NaN stays NaN.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    // ln 2 in two parts, the first exact in few bits (Cody and Waite 1980).
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Adding 1.5 * 2^23 rounds to the nearest integer and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let shifted = x.clamp(-87.4, 88.8) * LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x.clamp(-87.4, 88.8) - n * LN2_HIGH) - n * LN2_LOW;
    // Taylor's series to the seventh order: below 1e-8 on |r| <= ln 2 / 2.
    let mut p = 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    // 2^n in two factors, so that n = 128 does not overflow before its time.
    let n = shifted.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    let half = n >> 1;
    let power = |k: i32| f32::from_bits(((k + 127) << 23) as u32);
    let y = p * power(half) * power(n - half);
    if x < -87.3 {
        0.0
    } else if x > 88.72 {
        f32::INFINITY
    } else {
        y
    }
}

/// 1 / (1 + e^-x).
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// ln(1 + e^x) = -log sigmoid(-x).
#[inline(always)]
pub fn softplus(x: f32) -> f32 {
    softplus_and_sigmoid(x).0
}

/// [`softplus`] and its derivative, [`sigmoid`], from one exponential.
#[inline(always)]
pub fn softplus_and_sigmoid(x: f32) -> (f32, f32) {
    // ln(1 + z) = 2 atanh(z / (2 + z)), z in [0, 1]: the argument is at most 1/3.
    let z = exp(-x.abs());
    let s = z / (2.0 + z);
    let t = s * s;
    let mut p = 1.0 / 13.0;
    p = p * t + 1.0 / 11.0;
    p = p * t + 1.0 / 9.0;
    p = p * t + 1.0 / 7.0;
    p = p * t + 1.0 / 5.0;
    p = p * t + 1.0 / 3.0;
    p = p * t + 1.0;
    let softplus = (if x > 0.0 { x } else { 0.0 }) + 2.0 * s * p;
    (softplus, (if x >= 0.0 { 1.0 } else { z }) / (1.0 + z))
}

/// Sine and cosine, within 2e-7 for |x| <= 1e3; beyond, the error grows with |x|. NaN stays NaN.
#[inline(always)]
pub fn sin_cos(x: f32) -> (f32, f32) {
    // pi / 2 in three parts, the first two exact in few bits.
    const HIGH: f32 = 1.570_312_5;
    const MIDDLE: f32 = 4.837_513e-4;
    const LOW: f32 = 7.549_79e-8;
    // As in `exp`: the nearest quarter turn, and its number in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let shifted = x * std::f32::consts::FRAC_2_PI + ROUND;
    let n = shifted - ROUND;
    let r = ((x - n * HIGH) - n * MIDDLE) - n * LOW;
    // Taylor's series on |r| <= pi / 4, to orders 9 and 10: below 2e-9.
    let t = r * r;
    let mut sin = 1.0 / 362_880.0;
    sin = sin * t - 1.0 / 5040.0;
    sin = sin * t + 1.0 / 120.0;
    sin = sin * t - 1.0 / 6.0;
    sin = sin * t * r + r;
    let mut cos = -1.0 / 3_628_800.0;
    cos = cos * t + 1.0 / 40_320.0;
    cos = cos * t - 1.0 / 720.0;
    cos = cos * t + 1.0 / 24.0;
    cos = cos * t - 0.5;
    cos = cos * t + 1.0;
    // Of the four quarters the odd ones swap both, the second half negates the sine, the middle two the cosine.
    let quarter = shifted.to_bits();
    let (a, b) = if quarter & 1 == 0 { (sin, cos) } else { (cos, sin) };
    let negated = |x: f32, bit: u32| f32::from_bits(x.to_bits() ^ (bit & 2) << 30);
    (negated(a, quarter), negated(b, quarter.wrapping_add(1)))
}

/// Partial sums that a row is added up in: wide enough for every instruction set, and fixed.
pub const LANES: usize = 64;

/// The sum of a row, in [`LANES`] partial sums.
#[inline(always)]
pub fn sum(values: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += value;
        }
    }
    lanes.iter().chain(rest).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_and_softplus_agree_with_float64() {
        for i in -100_000..=100_000 {
            let x = i as f32 * 1e-3;
            let (fast, exact) = (f64::from(exp(x)), f64::from(x).exp());
            if (-87.2..88.7).contains(&x) {
                assert!((fast - exact).abs() <= 4e-7 * exact, "exp({x}) = {fast}, not {exact}");
            }
            let exact = f64::from(x).exp().ln_1p();
            let exact = if x > 30.0 { f64::from(x) } else { exact };
            let fast = f64::from(softplus(x));
            assert!((fast - exact).abs() <= 1e-6 * exact.max(1e-30), "softplus({x}) = {fast}, not {exact}");
            let exact = 1.0 / (1.0 + (-f64::from(x)).exp());
            assert!((f64::from(sigmoid(x)) - exact).abs() <= 1e-6 * exact.max(1e-30));
        }
    }

    #[test]
    fn sine_and_cosine_agree_with_float64() {
        for i in -100_000..=100_000 {
            for scale in [1e-5, 1e-4, 1e-2] {
                let x = i as f32 * scale;
                let ((sin, cos), (sin64, cos64)) = (sin_cos(x), f64::from(x).sin_cos());
                let gap = (f64::from(sin) - sin64).abs().max((f64::from(cos) - cos64).abs());
                assert!(gap <= 2e-7, "{x}: sine {sin}, not {sin64}; cosine {cos}, not {cos64}");
            }
        }
        assert!(sin_cos(f32::NAN).0.is_nan() && sin_cos(f32::INFINITY).1.is_nan());
    }

    #[test]
    fn extreme_arguments_neither_overflow_nor_hide_nan() {
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert_eq!((sigmoid(-1e9), sigmoid(1e9)), (0.0, 1.0));
        assert_eq!(softplus(1e9), 1e9);
        assert!(exp(f32::NAN).is_nan() && softplus(f32::NAN).is_nan() && sigmoid(f32::NAN).is_nan());
    }
}
