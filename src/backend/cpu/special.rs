//! Digamma, trigamma and ln Gamma in float64 without branches or tables, so that loops over them vectorise.
//!
//! Each shifts its argument by 10 with its recurrence, whose terms are gathered into one fraction or one
//! product, and then has the few terms that are left of the asymptotic series. For arguments from 1e-9 to 4e9; NaN
//! stays NaN.

/// The series are taken at x + 10 and beyond, where what they leave out is below 1e-15.
const SHIFT: u32 = 10;

/// ln x of a normal number above 0, within 2e-16 of 1 + |ln x|. A NaN may get lost.
#[inline(always)]
pub fn ln(x: f64) -> f64 {
    const SQRT_HALF: u64 = 0x3fe6_a09e_667f_3bcd;
    const ONE: u64 = 1023 << 52;
    // As the last digits of a number in 2^52..2^53, an integer becomes a float without a conversion.
    const INTEGERS: u64 = 0x4330_0000_0000_0000;
    // ln 2 in two parts, the first exact in few bits.
    const LN2_HIGH: f64 = 0.693_147_180_369_123_8;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    // x = m 2^e, m in sqrt(1/2)..sqrt(2).
    let e = x.to_bits().wrapping_sub(SQRT_HALF).wrapping_add(ONE) >> 52;
    let m = f64::from_bits(x.to_bits().wrapping_sub(e.wrapping_sub(1023) << 52));
    let e = f64::from_bits(e | INTEGERS) - (4_503_599_627_370_496.0 + 1023.0);
    // ln m = 2 atanh s, |s| <= 0.172.
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    let mut p = 1.0 / 21.0;
    p = p * z + 1.0 / 19.0;
    p = p * z + 1.0 / 17.0;
    p = p * z + 1.0 / 15.0;
    p = p * z + 1.0 / 13.0;
    p = p * z + 1.0 / 11.0;
    p = p * z + 1.0 / 9.0;
    p = p * z + 1.0 / 7.0;
    p = p * z + 1.0 / 5.0;
    p = p * z + 1.0 / 3.0;
    e * LN2_HIGH + (2.0 * s + (2.0 * s * z * p + e * LN2_LOW))
}

/// `sum 1 / (x + k)` and `product (x + k)` over `k < SHIFT`.
#[inline(always)]
fn shift(x: f64) -> (f64, f64) {
    let (mut sum, mut product) = (0.0, 1.0);
    for k in 0..SHIFT {
        let term = x + f64::from(k);
        sum = sum * term + product;
        product *= term;
    }
    (sum / product, product)
}

/// psi(y) from ln y, y >= SHIFT (Abramowitz and Stegun 6.3.18).
#[inline(always)]
fn digamma_series(y: f64, ln: f64) -> f64 {
    let r = 1.0 / y;
    let z = r * r;
    let mut p = -691.0 / 32_760.0;
    p = p * z + 1.0 / 132.0;
    p = p * z - 1.0 / 240.0;
    p = p * z + 1.0 / 252.0;
    p = p * z - 1.0 / 120.0;
    p = p * z + 1.0 / 12.0;
    ln - 0.5 * r - p * z
}

/// psi(x).
#[inline(always)]
pub fn digamma(x: f64) -> f64 {
    let y = x + f64::from(SHIFT);
    digamma_series(y, ln(y)) - shift(x).0
}

/// psi(x) and ln Gamma(x) (Abramowitz and Stegun 6.1.41).
#[inline(always)]
pub fn digamma_and_ln_gamma(x: f64) -> (f64, f64) {
    const HALF_LN_TAU: f64 = 0.918_938_533_204_672_8;
    let y = x + f64::from(SHIFT);
    let (sum, product) = shift(x);
    let ln_y = ln(y);
    let r = 1.0 / y;
    let z = r * r;
    let mut p = -691.0 / 360_360.0;
    p = p * z + 1.0 / 1188.0;
    p = p * z - 1.0 / 1680.0;
    p = p * z + 1.0 / 1260.0;
    p = p * z - 1.0 / 360.0;
    p = p * z + 1.0 / 12.0;
    let ln_gamma = (y - 0.5) * ln_y - y + (HALF_LN_TAU + p * r);
    (digamma_series(y, ln_y) - sum, ln_gamma - ln(product))
}

/// psi'(x) (Abramowitz and Stegun 6.4.12).
#[inline(always)]
pub fn trigamma(x: f64) -> f64 {
    let (mut sum, mut product) = (0.0, 1.0);
    for k in 0..SHIFT {
        let term = x + f64::from(k);
        let square = term * term;
        sum = sum * square + product;
        product *= square;
    }
    let r = 1.0 / (x + f64::from(SHIFT));
    let z = r * r;
    let mut p = 5.0 / 66.0;
    p = p * z - 1.0 / 30.0;
    p = p * z + 1.0 / 42.0;
    p = p * z - 1.0 / 30.0;
    p = p * z + 1.0 / 6.0;
    sum / product + r + z * (0.5 + r * p)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::reference::special as slow;

    #[test]
    fn special_functions_agree_with_the_reference_over_the_whole_range() {
        let mut x = 1e-9;
        while x < 4e9 {
            let close = |name: &str, got: f64, want: f64, error: f64| {
                assert!(
                    (got - want).abs() <= error * (1.0 + want.abs()),
                    "{name}({x}) = {got:e}, not {want:e}"
                );
            };
            close("ln", ln(x), x.ln(), 4e-16);
            close("digamma", digamma(x), slow::digamma(x), 4e-15);
            close("trigamma", trigamma(x), slow::trigamma(x), 4e-15);
            let (psi, ln_gamma) = digamma_and_ln_gamma(x);
            close("digamma", psi, slow::digamma(x), 4e-15);
            close("ln gamma", ln_gamma, slow::ln_gamma(x), 3e-14);
            x *= 1.000_7;
        }
    }

    #[test]
    fn special_functions_of_nan_are_nan() {
        assert!(digamma(f64::NAN).is_nan() && trigamma(f64::NAN).is_nan());
        let (psi, ln_gamma) = digamma_and_ln_gamma(f64::NAN);
        assert!(psi.is_nan() && ln_gamma.is_nan());
    }
}
