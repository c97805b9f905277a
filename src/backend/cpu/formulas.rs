//! The formulas of this backend: a functor per score and per function of numbers, and nothing of loops.
//!
//! Rows of a score have one part or more, side by side and equally wide: a box is a center and an offset, a complex row a real
//! and an imaginary part. A functor says how a vector of columns, one of each part, adds to the sum, how the sum becomes a score,
//! and how a weight on the score becomes gradients; what a functor is and the loops are in
//! [`super::score`], those of functions in [`super::elementwise`].

use super::elementwise::Formula;
use super::score::{Columns, Geometry, Sums};
use crate::backend::{BETA_MAX, BETA_MIN};
use crate::math::{sigmoid, sin_cos};
use crate::program::ops::elementwise::LEAST_RADIUS;
use pulp::Simd;
use std::f32::consts::{FRAC_PI_2, FRAC_PI_4, PI};

/// Runs `$body` with `$functor` bound to that of the first pattern that fits.
macro_rules! choose {
    ($value:expr, $functor:ident => $body:expr; $($pattern:pat => $of:expr,)*) => {
        match $value {
            $($pattern => {
                let $functor = $of;
                $body
            })*
        }
    };
}

/// Runs `$body` with `$g` bound to the functor of a score.
macro_rules! with_geometry {
    ($kind:expr, $g:ident => $body:expr) => {{
        use $crate::backend::{Scoring, cpu::formulas};
        formulas::choose!($kind, $g => $body;
            Scoring::L1 { gamma } => formulas::L1::new(gamma),
            Scoring::L2 { gamma } => formulas::L2 { gamma },
            Scoring::Box { gamma, inside } => formulas::Box { gamma, inside },
            Scoring::Dot => formulas::Dot,
            Scoring::Rotation { gamma } => formulas::Rotation { gamma },
            Scoring::Cone { gamma, inside } => formulas::Cone { gamma, inside },
            Scoring::Beta { .. } => formulas::scored_by_beta(),
        )
    }};
}

/// Runs `$body` with `$f` bound to the functor of a function.
macro_rules! with_function {
    ($function:expr, $f:ident => $body:expr) => {{
        use $crate::backend::{Function, cpu::formulas};
        formulas::choose!($function, $f => $body;
            Function::BetaParameter => formulas::BetaParameter {},
            Function::Reciprocal => formulas::Reciprocal {},
            Function::Tanh { slope, height, shift } => formulas::Tanh { slope, height, shift },
            Function::Direction { scale } => formulas::Direction { scale },
            Function::Angle => formulas::Angle {},
            Function::Ends => formulas::Ends {},
            Function::Complement => formulas::Complement {},
            Function::Sector { modulus } => formulas::Sector { modulus },
        )
    }};
}

pub(super) use {choose, with_function, with_geometry};

/// In the place of a functor where there is none.
pub(super) fn scored_by_beta() -> Dot {
    unreachable!("scored by `beta`")
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

impl Geometry<1, 1> for L1 {
    #[inline(always)]
    fn accumulate<S: Simd>(self, s: S, sum: S::f32s, at: Columns<S::f32s, 1, 1>) -> S::f32s {
        let Columns { q: [q], e: [e] } = at;
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
        Columns { q: [q], e: [e] }: Columns<S::f32s, 1, 1>,
        Sums { q: [dq], e: [de] }: Sums<S::f32s, 1, 1>,
    ) {
        let below = s.less_than_f32s(q, e);
        *dq = s.select_f32s(below, s.add_f32s(*dq, w), *dq);
        *de = s.select_f32s(below, s.add_f32s(*de, w), *de);
    }

    fn finish_query(self, _part: usize, sum: f32, _value: f32, weights: f32) -> f32 {
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

impl Geometry<1, 1> for L2 {
    #[inline(always)]
    fn accumulate<S: Simd>(self, s: S, sum: S::f32s, at: Columns<S::f32s, 1, 1>) -> S::f32s {
        let Columns { q: [q], e: [e] } = at;
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
        Columns { q: [q], e: [e] }: Columns<S::f32s, 1, 1>,
        Sums { q: [dq], e: [de] }: Sums<S::f32s, 1, 1>,
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

impl Geometry<2, 1> for Box {
    #[inline(always)]
    fn accumulate<S: Simd>(self, s: S, sum: S::f32s, at: Columns<S::f32s, 2, 1>) -> S::f32s {
        let Columns { q: [q, o], e: [e] } = at;
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
        Columns { q: [q, o], e: [e] }: Columns<S::f32s, 2, 1>,
        Sums { q: [dq, d_o], e: [de] }: Sums<S::f32s, 2, 1>,
    ) {
        let t = s.sub_f32s(q, e);
        let outside = s.greater_than_f32s(s.abs_f32s(t), o);
        let slope = s.select_f32s(outside, s.splat_f32s(1.0), s.splat_f32s(self.inside));
        let signed = s.xor_f32s(slope, s.and_f32s(t, s.splat_f32s(-0.0)));
        *dq = s.negate_mul_add_e_f32s(w, signed, *dq);
        *de = s.mul_add_e_f32s(w, signed, *de);
        *d_o = s.select_f32s(outside, s.add_f32s(*d_o, w), *d_o);
    }

    fn finish_query(self, part: usize, sum: f32, value: f32, weights: f32) -> f32 {
        match part {
            0 => sum,
            _ => (1.0 - self.inside) * sum + if value < 0.0 { 2.0 * self.inside * weights } else { 0.0 },
        }
    }
}

/// `sum q e`. Backward is a matrix product; the functor serves single pairs.
#[derive(Clone, Copy)]
pub struct Dot;

impl Geometry<1, 1> for Dot {
    #[inline(always)]
    fn accumulate<S: Simd>(self, s: S, sum: S::f32s, at: Columns<S::f32s, 1, 1>) -> S::f32s {
        let Columns { q: [q], e: [e] } = at;
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
        Columns { q: [q], e: [e] }: Columns<S::f32s, 1, 1>,
        Sums { q: [dq], e: [de] }: Sums<S::f32s, 1, 1>,
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

impl Geometry<2, 2> for Rotation {
    #[inline(always)]
    fn accumulate<S: Simd>(self, s: S, sum: S::f32s, at: Columns<S::f32s, 2, 2>) -> S::f32s {
        let Columns { q: [q, o], e: [e, f] } = at;
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
        Columns { q: [q, o], e: [e, f] }: Columns<S::f32s, 2, 2>,
        Sums { q: [dq, d_o], e: [de, d_f] }: Sums<S::f32s, 2, 2>,
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
}

/// ConE: see [`Scoring::Cone`](crate::backend::Scoring::Cone). Where u or v is 0 the derivative of one side is taken.
#[derive(Clone, Copy)]
pub struct Cone {
    /// The margin.
    pub gamma: f32,
    /// Weight of the distance inside the sector.
    pub inside: f32,
}

impl Cone {
    /// u and v, and how far outside: `|u| c - |v| s`. u is exactly 0 where an entity is on a query's axis.
    #[inline(always)]
    fn distances<S: Simd>(s: S, [a, b, c, side, _]: [S::f32s; 5], [e, f]: [S::f32s; 2]) -> [S::f32s; 3] {
        let u = s.sub_f32s(s.mul_f32s(a, f), s.mul_f32s(b, e));
        let v = s.mul_add_e_f32s(a, e, s.mul_f32s(b, f));
        [u, v, s.negate_mul_add_e_f32s(s.abs_f32s(v), side, s.mul_f32s(s.abs_f32s(u), c))]
    }
}

impl Geometry<5, 2> for Cone {
    #[inline(always)]
    fn accumulate<S: Simd>(self, s: S, sum: S::f32s, at: Columns<S::f32s, 5, 2>) -> S::f32s {
        let [u, _, outside] = Self::distances(s, at.q, at.e);
        let (u, reach) = (s.abs_f32s(u), at.q[4]);
        // What is not a number is not below anything, and is added.
        let is_inside = s.less_than_or_equal_f32s(outside, s.splat_f32s(0.0));
        let sum = s.select_f32s(is_inside, sum, s.add_f32s(sum, outside));
        let near = s.select_f32s(s.less_than_f32s(u, reach), u, reach);
        s.mul_add_e_f32s(s.splat_f32s(self.inside), near, sum)
    }

    fn score(self, sum: f32) -> f32 {
        self.gamma - sum
    }

    #[inline(always)]
    fn backward<S: Simd>(
        self,
        s: S,
        w: S::f32s,
        Columns { q, e }: Columns<S::f32s, 5, 2>,
        to: Sums<S::f32s, 5, 2>,
    ) {
        let ([a, b, c, side, reach], [e, f]) = (q, e);
        let [u, v, outside] = Self::distances(s, q, [e, f]);
        let (zero, sign) = (s.splat_f32s(0.0), s.splat_f32s(-0.0));
        let (far, deep) = (s.abs_f32s(u), s.abs_f32s(v));
        let outside = s.select_f32s(s.greater_than_f32s(outside, zero), w, zero);
        let weight = s.mul_f32s(w, s.splat_f32s(self.inside));
        let is_near = s.less_than_f32s(far, reach);
        // By |u| and |v|, and with their signs by u (to be subtracted) and v.
        let by_far = s.mul_add_e_f32s(outside, c, s.select_f32s(is_near, weight, zero));
        let du = s.xor_f32s(by_far, s.and_f32s(u, sign));
        let dv = s.xor_f32s(s.mul_f32s(outside, side), s.and_f32s(v, sign));
        let [da, db, dc, d_side, d_reach] = to.q;
        *da = s.mul_add_e_f32s(dv, e, s.negate_mul_add_e_f32s(du, f, *da));
        *db = s.mul_add_e_f32s(dv, f, s.mul_add_e_f32s(du, e, *db));
        *dc = s.negate_mul_add_e_f32s(outside, far, *dc);
        *d_side = s.mul_add_e_f32s(outside, deep, *d_side);
        *d_reach = s.select_f32s(is_near, *d_reach, s.sub_f32s(*d_reach, weight));
        let [de, df] = to.e;
        *de = s.mul_add_e_f32s(dv, a, s.mul_add_e_f32s(du, b, *de));
        *df = s.mul_add_e_f32s(dv, b, s.negate_mul_add_e_f32s(du, a, *df));
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

/// A functor of a function: its name and numbers, how many inputs and values it has and how many numbers its gradient reads, its
/// values, and its gradient from the gradient by the values. Without branches, so that loops vectorise.
macro_rules! function {
    ($name:ident { $($number:ident),* }: $inputs:literal -> $values:literal, reads $read:literal;
     $x:pat => $value:expr; $at:pat, $dy:pat => $gradient:expr) => {
        #[doc = concat!("See [`Function::", stringify!($name), "`](crate::backend::Function::", stringify!($name), ").")]
        #[derive(Clone, Copy)]
        pub struct $name {
            $(#[allow(missing_docs)] pub $number: f32,)*
        }

        impl Formula<$inputs, $values, $read> for $name {
            #[inline(always)]
            fn value(self, $x: [f32; $inputs]) -> [f32; $values] {
                let $name { $($number),* } = self;
                $value
            }

            #[inline(always)]
            fn backward(self, $at: [f32; $read], $dy: [f32; $values]) -> [f32; $inputs] {
                #[allow(unused_variables)]
                let $name { $($number),* } = self;
                $gradient
            }
        }
    };
}

function!(BetaParameter {}: 1 -> 1, reads 1;
    [x] => [(x + 1.0).clamp(BETA_MIN, BETA_MAX)];
    [y], [dy] => [if y > BETA_MIN && y < BETA_MAX { dy } else { 0.0 }]);

function!(Reciprocal {}: 1 -> 1, reads 1;
    [x] => [1.0 / x];
    [y], [dy] => [-y * y * dy]);

function!(Tanh { slope, height, shift }: 1 -> 1, reads 1;
[x] => [height * (2.0 * sigmoid(2.0 * slope * x) - 1.0) + shift];
[y], [dy] => {
    let t = (y - shift) / height;
    [dy * slope * height * (1.0 - t * t)]
});

function!(Direction { scale }: 1 -> 2, reads 2;
    [x] => {
        let (sin, cos) = sin_cos(scale * x);
        [cos, sin]
    };
    [cos, sin], [by_cos, by_sin] => [scale * (cos * by_sin - sin * by_cos)]);

function!(Angle {}: 2 -> 1, reads 2;
[x, y] => [angle(x, y)];
[x, y], [by] => {
    let square = x * x + y * y;
    let by = by / if square < LEAST_RADIUS * LEAST_RADIUS { LEAST_RADIUS * LEAST_RADIUS } else { square };
    [-y * by, x * by]
});

function!(Ends {}: 2 -> 2, reads 2;
    [axis, arg] => [axis - arg, axis + arg];
    _, [begin, end] => [begin + end, end - begin]);

function!(Complement {}: 2 -> 2, reads 2;
    [axis, arg] => [if axis >= 0.0 { axis - PI } else { axis + PI }, PI - arg];
    _, [axis, arg] => [axis, -arg]);

function!(Sector { modulus }: 3 -> 5, reads 3;
[axis, arg, x] => {
    let m = modulus * (1.0 + x);
    let ((axis_sin, axis_cos), (sin, cos)) = (sin_cos(0.5 * axis), sin_cos(0.5 * arg));
    [m * axis_cos, m * axis_sin, cos, sin, m * sin]
};
[axis, arg, x], [da, db, dc, ds, dr] => {
    let m = modulus * (1.0 + x);
    let ((axis_sin, axis_cos), (sin, cos)) = (sin_cos(0.5 * axis), sin_cos(0.5 * arg));
    [
        0.5 * m * (axis_cos * db - axis_sin * da),
        0.5 * (cos * ds - sin * dc + m * cos * dr),
        modulus * (axis_cos * da + axis_sin * db + sin * dr),
    ]
});

/// The angle of (x, y) within 4e-7; that of (0, 0) is 0.
#[inline(always)]
fn angle(x: f32, y: f32) -> f32 {
    let (ax, ay) = (x.abs(), y.abs());
    let steep = ay > ax;
    let (high, low) = if steep { (ay, ax) } else { (ax, ay) };
    // Of at most an eighth of a turn, taken to a sixteenth: tan(t - pi / 4) = (tan t - 1) / (tan t + 1).
    let wide = low > 0.414_213_57 * high;
    let (above, below) = if wide { (low - high, low + high) } else { (low, high) };
    let z = above / if below == 0.0 { 1.0 } else { below };
    let t = z * z;
    // The series of the arc tangent, economised (Moshier's Cephes): below 1e-7.
    let p = ((8.053_744_5e-2 * t - 1.387_768_6e-1) * t + 1.997_771_1e-1) * t - 3.333_295e-1;
    let mut angle = p * t * z + z + if wide { FRAC_PI_4 } else { 0.0 };
    angle = if steep { FRAC_PI_2 - angle } else { angle };
    angle = if x < 0.0 { PI - angle } else { angle };
    if y < 0.0 { -angle } else { angle }
}
