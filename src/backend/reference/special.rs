//! Functions of the Beta distribution in float64, by their textbook recurrences and series.

/// Shifts the argument this far, where the series below are exact to the last bits.
const FAR: f64 = 20.0;

/// psi(x), x > 0: recurrence, then the asymptotic series (Abramowitz and Stegun 6.3.18).
pub fn digamma(mut x: f64) -> f64 {
    let mut sum = 0.0;
    while x < FAR {
        sum -= 1.0 / x;
        x += 1.0;
    }
    let z = 1.0 / (x * x);
    sum + x.ln()
        - 0.5 / x
        - z * (1.0 / 12.0 - z * (1.0 / 120.0 - z * (1.0 / 252.0 - z * (1.0 / 240.0 - z / 132.0))))
}

/// psi'(x), x > 0 (Abramowitz and Stegun 6.4.12).
pub fn trigamma(mut x: f64) -> f64 {
    let mut sum = 0.0;
    while x < FAR {
        sum += 1.0 / (x * x);
        x += 1.0;
    }
    let z = 1.0 / (x * x);
    sum + 1.0 / x + 0.5 * z + z / x * (1.0 / 6.0 - z * (1.0 / 30.0 - z * (1.0 / 42.0 - z / 30.0)))
}

/// ln Gamma(x), x > 0 (Abramowitz and Stegun 6.1.41).
pub fn ln_gamma(mut x: f64) -> f64 {
    let mut sum = 0.0;
    while x < FAR {
        sum -= x.ln();
        x += 1.0;
    }
    let z = 1.0 / (x * x);
    let series = 1.0 / 12.0 - z * (1.0 / 360.0 - z * (1.0 / 1260.0 - z * (1.0 / 1680.0 - z / 1188.0)));
    sum + (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + series / x
}

/// KL(Beta(e) || Beta(q)) of parameters [alpha, beta], as it is defined.
pub fn kl_of_betas([a, b]: [f64; 2], [alpha, beta]: [f64; 2]) -> f64 {
    let ln_beta = |x: f64, y: f64| ln_gamma(x) + ln_gamma(y) - ln_gamma(x + y);
    ln_beta(alpha, beta) - ln_beta(a, b)
        + (a - alpha) * digamma(a)
        + (b - beta) * digamma(b)
        + (alpha - a + beta - b) * digamma(a + b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: f64, want: f64) {
        assert!((got - want).abs() <= 2e-15 * (1.0 + want.abs()) * 4.0, "{got}, not {want}");
    }

    #[test]
    fn special_functions_have_their_known_values() {
        const EULER: f64 = 0.577_215_664_901_532_9;
        let pi = std::f64::consts::PI;
        close(digamma(1.0), -EULER);
        close(digamma(0.5), -EULER - 4f64.ln());
        close(digamma(0.25), -EULER - 0.5 * pi - 8f64.ln());
        close(trigamma(1.0), pi * pi / 6.0);
        close(trigamma(0.5), pi * pi / 2.0);
        close(ln_gamma(0.5), 0.5 * pi.ln());
        close(ln_gamma(1.0), 0.0);
        // 100! / 100 and 20! as exact products.
        close(ln_gamma(21.0), (1..=20).map(f64::from).product::<f64>().ln());
        close(ln_gamma(101.0), (1..=100).map(|n| f64::from(n).ln()).sum());
        // Their recurrences, across the shift and far beyond it.
        for x in [0.05, 0.3, 1.7, 19.5, 20.0, 777.7, 1e4] {
            close(digamma(x + 1.0) - digamma(x), 1.0 / x);
            close(trigamma(x) - trigamma(x + 1.0), 1.0 / (x * x));
        }
    }

    #[test]
    fn the_divergence_is_that_of_an_integral_and_0_of_a_distribution_with_itself() {
        assert_eq!(kl_of_betas([0.05, 7.0], [0.05, 7.0]), 0.0);
        // Midpoints of ln(p / q) p on 0..1.
        let ([a, b], [alpha, beta]) = ([2.5, 3.5], [4.0, 2.25]);
        let ln_beta = |x: f64, y: f64| ln_gamma(x) + ln_gamma(y) - ln_gamma(x + y);
        let density =
            |t: f64, x: f64, y: f64| (x - 1.0) * t.ln() + (y - 1.0) * (1.0 - t).ln() - ln_beta(x, y);
        let n = 200_000;
        let integral: f64 = (0..n)
            .map(|i| {
                let t = (f64::from(i) + 0.5) / f64::from(n);
                let (p, q) = (density(t, a, b), density(t, alpha, beta));
                p.exp() * (p - q) / f64::from(n)
            })
            .sum();
        let got = kl_of_betas([a, b], [alpha, beta]);
        assert!((got - integral).abs() < 1e-8, "{got}, not {integral}");
    }
}
