//! One functor per score: what a query and an entity row do to each other in one vector of columns.
//!
//! The launchers in [`super::score`] hold the loops; a functor says how a vector of columns adds to
//! the sum, how the sum becomes a score, and how a weight on the score becomes gradients.

use pulp::Simd;

/// A vector of columns of a query and an entity.
#[derive(Clone, Copy)]
pub struct Columns<V> {
    /// Of the query's first half.
    pub q: V,
    /// Of its second half, or the first again.
    pub o: V,
    /// Of the entity's first half.
    pub e: V,
    /// Of its second half, or the first again.
    pub f: V,
}

/// Sums of the gradients by [`Columns`].
pub struct Sums<'a, V> {
    /// By `q`.
    pub dq: &'a mut V,
    /// By `o`.
    pub d_o: &'a mut V,
    /// By `e`.
    pub de: &'a mut V,
    /// By `f`.
    pub d_f: &'a mut V,
}

/// A score as a sum over columns.
pub trait Geometry: Copy + Send + Sync {
    /// Whether query rows have a second half (box offsets, imaginary parts).
    const OFFSETS: bool = false;
    /// Whether entity rows have a second half (imaginary parts); only where query rows have one.
    const PAIRS: bool = false;

    /// Columns of the first half of an entity row.
    fn half(entity_width: usize) -> usize {
        if Self::PAIRS { entity_width / 2 } else { entity_width }
    }

    /// Adds a vector of columns to the sum.
    fn accumulate<S: Simd>(self, s: S, sum: S::f32s, at: Columns<S::f32s>) -> S::f32s;

    /// What a query adds to all its sums.
    fn constant(self, _query: &[f32]) -> f32 {
        0.0
    }

    /// The score of a finished sum.
    fn score(self, sum: f32) -> f32;

    /// The factor on a weight before [`Geometry::backward`], from the score.
    fn weight(self, weight: f32, _score: f32) -> f32 {
        weight
    }

    /// Adds the gradients of `w * score`.
    fn backward<S: Simd>(self, s: S, w: S::f32s, at: Columns<S::f32s>, to: Sums<S::f32s>);

    /// The query's gradient from what was added up and the sum of the row's weights.
    fn finish_query(self, sum: f32, _weights: f32) -> f32 {
        sum
    }

    /// The gradient of the query's second half, from what was added up, its value, and the sum of the
    /// row's weights.
    fn finish_offset(self, _sum: f32, _value: f32, _weights: f32) -> f32 {
        0.0
    }

    /// The entity's gradient, in either half, from what was added up and the sum of the column's weights.
    fn finish_entity(self, sum: f32, _weights: f32) -> f32 {
        sum
    }
}

/// `gamma - sum |q - e|`. Where q = e the derivative of one side is taken.
#[derive(Clone, Copy)]
pub struct L1 {
    gamma: f32,
    /// 1, of which the compiler does not know: it keeps `x * one + sum` a multiply-add, and so half of
    /// the additions on the multipliers' ports.
    one: f32,
}

impl L1 {
    /// L1 with a margin.
    pub fn new(gamma: f32) -> Self {
        L1 { gamma, one: std::hint::black_box(1.0) }
    }
}

impl Geometry for L1 {
    #[inline(always)]
    fn accumulate<S: Simd>(self, s: S, sum: S::f32s, Columns { q, e, .. }: Columns<S::f32s>) -> S::f32s {
        s.mul_add_e_f32s(s.abs_f32s(s.sub_f32s(q, e)), s.splat_f32s(self.one), sum)
    }

    fn score(self, sum: f32) -> f32 {
        self.gamma - sum
    }

    // With sign(q - e) = 1 - 2 [q < e], only the weights where q < e need to be added up:
    // dq = -sum w sign = 2 sum w [q < e] - sum w, and de = sum w sign = sum w - 2 sum w [q < e].
    #[inline(always)]
    fn backward<S: Simd>(
        self,
        s: S,
        w: S::f32s,
        Columns { q, e, .. }: Columns<S::f32s>,
        Sums { dq, de, .. }: Sums<S::f32s>,
    ) {
        let below = s.less_than_f32s(q, e);
        *dq = s.select_f32s(below, s.add_f32s(*dq, w), *dq);
        *de = s.select_f32s(below, s.add_f32s(*de, w), *de);
    }

    fn finish_query(self, sum: f32, weights: f32) -> f32 {
        2.0 * sum - weights
    }

    fn finish_entity(self, sum: f32, weights: f32) -> f32 {
        weights - 2.0 * sum
    }
}

/// `gamma - sqrt(sum (q - e)^2)`; its derivative at distance 0 is 0.
#[derive(Clone, Copy)]
pub struct L2 {
    /// The margin.
    pub gamma: f32,
}

impl Geometry for L2 {
    #[inline(always)]
    fn accumulate<S: Simd>(self, s: S, sum: S::f32s, Columns { q, e, .. }: Columns<S::f32s>) -> S::f32s {
        let t = s.sub_f32s(q, e);
        s.mul_add_e_f32s(t, t, sum)
    }

    fn score(self, sum: f32) -> f32 {
        self.gamma - sum.sqrt()
    }

    fn weight(self, weight: f32, score: f32) -> f32 {
        let distance = self.gamma - score;
        if distance > 0.0 { weight / distance } else { 0.0 }
    }

    #[inline(always)]
    fn backward<S: Simd>(
        self,
        s: S,
        w: S::f32s,
        Columns { q, e, .. }: Columns<S::f32s>,
        Sums { dq, de, .. }: Sums<S::f32s>,
    ) {
        let t = s.sub_f32s(e, q);
        *dq = s.mul_add_e_f32s(w, t, *dq);
        *de = s.negate_mul_add_e_f32s(w, t, *de);
    }
}

/// Query2Box: `gamma - sum relu(a - o) - inside * sum |min(a, o)|`, a = |e - c|.
///
/// Rewritten as `inside * a + (1 - inside) * max(a, o)` per column and a constant per query,
/// `sum 2 inside max(-o, 0) - (1 - inside) o`: the same number for either sign of o.
#[derive(Clone, Copy)]
pub struct Box {
    /// The margin.
    pub gamma: f32,
    /// Weight of the distance inside the box.
    pub inside: f32,
}

impl Geometry for Box {
    const OFFSETS: bool = true;

    #[inline(always)]
    fn accumulate<S: Simd>(self, s: S, sum: S::f32s, Columns { q, o, e, .. }: Columns<S::f32s>) -> S::f32s {
        let a = s.abs_f32s(s.sub_f32s(q, e));
        let sum = s.mul_add_e_f32s(s.splat_f32s(self.inside), a, sum);
        s.mul_add_e_f32s(s.splat_f32s(1.0 - self.inside), s.max_f32s(a, o), sum)
    }

    fn constant(self, query: &[f32]) -> f32 {
        let mut sums = [0f32; 16];
        for offsets in query[query.len() / 2..].chunks(16) {
            for (sum, &o) in sums.iter_mut().zip(offsets) {
                *sum += 2.0 * self.inside * (-o).max(0.0) - (1.0 - self.inside) * o;
            }
        }
        sums.iter().sum()
    }

    fn score(self, sum: f32) -> f32 {
        self.gamma - sum
    }

    #[inline(always)]
    fn backward<S: Simd>(
        self,
        s: S,
        w: S::f32s,
        Columns { q, o, e, .. }: Columns<S::f32s>,
        Sums { dq, d_o, de, .. }: Sums<S::f32s>,
    ) {
        let t = s.sub_f32s(q, e);
        let outside = s.greater_than_f32s(s.abs_f32s(t), o);
        let slope = s.select_f32s(outside, s.splat_f32s(1.0), s.splat_f32s(self.inside));
        let signed = s.xor_f32s(slope, s.and_f32s(t, s.splat_f32s(-0.0)));
        *dq = s.negate_mul_add_e_f32s(w, signed, *dq);
        *de = s.mul_add_e_f32s(w, signed, *de);
        *d_o = s.select_f32s(outside, s.add_f32s(*d_o, w), *d_o);
    }

    fn finish_offset(self, sum: f32, value: f32, weights: f32) -> f32 {
        (1.0 - self.inside) * sum + if value < 0.0 { 2.0 * self.inside * weights } else { 0.0 }
    }
}

/// `sum q e`. Backward is a matrix product; the functor serves single pairs.
#[derive(Clone, Copy)]
pub struct Dot;

impl Geometry for Dot {
    #[inline(always)]
    fn accumulate<S: Simd>(self, s: S, sum: S::f32s, Columns { q, e, .. }: Columns<S::f32s>) -> S::f32s {
        s.mul_add_e_f32s(q, e, sum)
    }

    fn score(self, sum: f32) -> f32 {
        sum
    }

    #[inline(always)]
    fn backward<S: Simd>(
        self,
        s: S,
        w: S::f32s,
        Columns { q, e, .. }: Columns<S::f32s>,
        Sums { dq, de, .. }: Sums<S::f32s>,
    ) {
        *dq = s.mul_add_e_f32s(w, e, *dq);
        *de = s.mul_add_e_f32s(w, q, *de);
    }
}

/// RotatE: `gamma - sum sqrt((q - e)^2 + (o - f)^2)`; where both are equal the derivative is 0.
///
/// Twice the moduli are added up, and gradients of half the weights: the factor would be an operation a column.
#[derive(Clone, Copy)]
pub struct Rotation {
    /// The margin.
    pub gamma: f32,
}

impl Rotation {
    /// The differences of both halves, and the square of their modulus: at least a number below any that
    /// matters and far enough from 0 to be divided by.
    #[inline(always)]
    fn difference<S: Simd>(s: S, q: S::f32s, o: S::f32s, e: S::f32s, f: S::f32s) -> [S::f32s; 3] {
        let (t, u) = (s.sub_f32s(q, e), s.sub_f32s(o, f));
        [t, u, s.mul_add_e_f32s(t, t, s.mul_add_e_f32s(u, u, s.splat_f32s(1e-30)))]
    }
}

impl Geometry for Rotation {
    const OFFSETS: bool = true;
    const PAIRS: bool = true;

    #[inline(always)]
    fn accumulate<S: Simd>(self, s: S, sum: S::f32s, Columns { q, o, e, f }: Columns<S::f32s>) -> S::f32s {
        let [_, _, square] = Self::difference(s, q, o, e, f);
        match inverse_root_estimate(s, square) {
            // With h = x y, 2 sqrt(x) = h (3 - h y): Newton's step for the estimate y.
            Some(y) => {
                let h = s.mul_f32s(square, y);
                s.mul_add_e_f32s(h, s.negate_mul_add_e_f32s(h, y, s.splat_f32s(3.0)), sum)
            }
            None => s.mul_add_e_f32s(s.splat_f32s(2.0), s.sqrt_f32s(square), sum),
        }
    }

    fn score(self, sum: f32) -> f32 {
        self.gamma - 0.5 * sum
    }

    fn weight(self, weight: f32, _score: f32) -> f32 {
        0.5 * weight
    }

    #[inline(always)]
    fn backward<S: Simd>(
        self,
        s: S,
        w: S::f32s,
        Columns { q, o, e, f }: Columns<S::f32s>,
        Sums { dq, d_o, de, d_f }: Sums<S::f32s>,
    ) {
        let [t, u, square] = Self::difference(s, q, o, e, f);
        let slope = match inverse_root_estimate(s, square) {
            Some(y) => {
                let h = s.mul_f32s(square, y);
                s.mul_f32s(s.mul_f32s(w, y), s.negate_mul_add_e_f32s(h, y, s.splat_f32s(3.0)))
            }
            None => s.div_f32s(s.add_f32s(w, w), s.sqrt_f32s(square)),
        };
        // Products first, so that the additions go to units of their own.
        let (t, u) = (s.mul_f32s(slope, t), s.mul_f32s(slope, u));
        *dq = s.sub_f32s(*dq, t);
        *d_o = s.sub_f32s(*d_o, u);
        *de = s.add_f32s(*de, t);
        *d_f = s.add_f32s(*d_f, u);
    }

    fn finish_offset(self, sum: f32, _value: f32, _weights: f32) -> f32 {
        sum
    }
}

/// 1 / sqrt(x) to 14 bits, where the instruction set has it: a root and a division take longer than all else.
#[inline(always)]
fn inverse_root_estimate<S: Simd>(s: S, x: S::f32s) -> Option<S::f32s> {
    #[cfg(target_arch = "x86_64")]
    if let Some(v4) = (&s as &dyn std::any::Any).downcast_ref::<pulp::x86::V4>() {
        // SAFETY: S is V4, whose f32s are 16 floats in a vector register, as __m512 is.
        unsafe {
            let y = v4.avx512f._mm512_rsqrt14_ps(std::mem::transmute_copy(&x));
            return Some(std::mem::transmute_copy(&y));
        }
    }
    let _ = (s, x);
    None
}
