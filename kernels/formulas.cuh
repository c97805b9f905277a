// The formulas: one functor per score and per function of numbers, and nothing of loops.
// CPU twin: src/backend/cpu/formulas.rs; names and numbers for the host: src/backend/cuda/formulas.rs. The loops are in score.cu and
// elementwise.cu.
#pragma once
#include "common.cuh"

namespace formulas {

/// A score as a sum over columns, of query rows of QUERY parts side by side and entity rows of ENTITY: a box is a center and
/// an offset, a complex row a real and an imaginary part. What a geometry does not say itself is as here; each also has
///   accumulate(sum, q, e)      adds a column of each part to the sum
///   score(sum, constant)       the score of finished sums
///   backward(w, q, e, dq, de)  adds the gradients of `w * score`. A kernel that does not want all reads some of
///                              them, and the compiler leaves out the others.
/// A pair's score is the same bits in every kernel: sums go over columns in ascending order, in operations
/// that the compiler does not contract.
template <u32 QUERY_PARTS, u32 ENTITY_PARTS> struct Geometry {
    float gamma, inside;

    static constexpr u32 QUERY = QUERY_PARTS, ENTITY = ENTITY_PARTS;
    typedef float Query[QUERY];
    typedef float Entity[ENTITY];
    /// Warps of a block of the gradients, and how often 32 columns a tile has: small, to spread evenly, or large, where
    /// little is done with what a tile reads.
    static constexpr u32 WARPS = 2, GROUPS = 1;
    /// Whether `weight` reads the score.
    static constexpr bool SCORES = false;
    /// Whether `finish_query` and `finish_entity` read the sum of the weights.
    static constexpr bool TOTALS = false;

    /// Adds a column to what a query adds to all its sums.
    __device__ __forceinline__ float constant(float sum, const Query&) const { return sum; }
    /// The factor for `backward` from d loss / d score.
    __device__ __forceinline__ float weight(float w, float) const { return w; }
    /// The gradient of a part of a query, from what `backward` added up, its value and the sum of the weights.
    __device__ __forceinline__ float finish_query(u32, float sum, float, float) const { return sum; }
    /// The gradient of any part of an entity.
    __device__ __forceinline__ float finish_entity(float sum, float) const { return sum; }
};

/// gamma - sum |q - e|. Two additions a column; the absolute value is part of the second.
struct L1 : Geometry<1, 1> {
    static constexpr bool TOTALS = true;

    __device__ __forceinline__ float accumulate(float sum, const Query& q, const Entity& e) const {
        return __fadd_rn(sum, fabsf(__fsub_rn(q[0], e[0])));
    }
    __device__ __forceinline__ float score(float sum, float) const { return __fsub_rn(gamma, sum); }

    // With sign(q - e) = 1 - 2 [q < e] only the weights where q < e are added up: a comparison and an addition.
    __device__ __forceinline__ void backward(float w, const Query& q, const Entity& e, Query& dq, Entity& de) const {
        bool below = q[0] < e[0];
        if (below) dq[0] += w;
        if (below) de[0] += w;
    }
    __device__ __forceinline__ float finish_query(u32, float sum, float, float weights) const {
        return 2.0f * sum - weights;
    }
    __device__ __forceinline__ float finish_entity(float sum, float weights) const { return weights - 2.0f * sum; }
};

/// gamma - sqrt(sum (q - e)^2); its derivative at distance 0 is 0.
struct L2 : Geometry<1, 1> {
    static constexpr bool SCORES = true;

    __device__ __forceinline__ float accumulate(float sum, const Query& q, const Entity& e) const {
        float t = __fsub_rn(q[0], e[0]);
        return __fmaf_rn(t, t, sum);
    }
    __device__ __forceinline__ float score(float sum, float) const { return __fsub_rn(gamma, __fsqrt_rn(sum)); }

    __device__ __forceinline__ float weight(float w, float score) const {
        float distance = gamma - score;
        return distance > 0.0f ? __fdividef(w, distance) : 0.0f;
    }
    __device__ __forceinline__ void backward(float w, const Query& q, const Entity& e, Query& dq, Entity& de) const {
        dq[0] = fmaf(w, e[0] - q[0], dq[0]);
        de[0] = fmaf(w, q[0] - e[0], de[0]);
    }
};

/// gamma - sum relu(a - o) - inside * sum |min(a, o)|, a = |q - e|.
///
/// With m = min(a, o) a column's part is a - m + inside |m| = a + (inside - 1) m + inside (|o| - o): the last
/// term is the query's constant, and carries a NaN of an offset, which the minimum hides.
struct Box : Geometry<2, 1> {
    __device__ __forceinline__ float accumulate(float sum, const Query& q, const Entity& e) const {
        float a = fabsf(__fsub_rn(q[0], e[0]));
        return __fmaf_rn(fminf(a, q[1]), __fsub_rn(inside, 1.0f), __fadd_rn(sum, a));
    }
    __device__ __forceinline__ float constant(float sum, const Query& q) const {
        return __fadd_rn(sum, __fsub_rn(fabsf(q[1]), q[1]));
    }
    __device__ __forceinline__ float score(float sum, float constant) const {
        return __fsub_rn(gamma, __fmaf_rn(inside, constant, sum));
    }

    // The slope is 1 outside of the box, `inside` in it, with the sign of q - e.
    __device__ __forceinline__ void backward(float w, const Query& q, const Entity& e, Query& dq, Entity& de) const {
        float t = q[0] - e[0];
        float signed_w = __uint_as_float(__float_as_uint(w) ^ (__float_as_uint(t) & 0x80000000u));
        dq[0] = fmaf(signed_w, -inside, dq[0]);
        de[0] = fmaf(signed_w, inside, de[0]);
        if (fabsf(t) > q[1]) {
            dq[0] = fmaf(signed_w, inside - 1.0f, dq[0]);
            de[0] = fmaf(signed_w, 1.0f - inside, de[0]);
            dq[1] += w;
        }
    }
    // Per weight outside: 1 - inside * sign(o).
    __device__ __forceinline__ float finish_query(u32 part, float sum, float o, float) const {
        return part == 0 ? sum : sum * (o < 0.0f ? 1.0f + inside : 1.0f - inside);
    }
};

/// sum q e.
struct Dot : Geometry<1, 1> {
    static constexpr u32 WARPS = 4, GROUPS = 2;

    __device__ __forceinline__ float accumulate(float sum, const Query& q, const Entity& e) const {
        return __fmaf_rn(q[0], e[0], sum);
    }
    __device__ __forceinline__ float score(float sum, float) const { return sum; }

    __device__ __forceinline__ void backward(float w, const Query& q, const Entity& e, Query& dq, Entity& de) const {
        dq[0] = fmaf(w, e[0], dq[0]);
        de[0] = fmaf(w, q[0], de[0]);
    }
};

/// gamma - sum sqrt((q - e)^2 + (o - f)^2); where both are equal the derivative is 0.
struct Rotation : Geometry<2, 2> {
    /// Below any squared modulus that matters, and far enough from 0 to be divided by.
    static constexpr float LEAST = 1e-30f;

    // A root is the square times its inverse root, which the special function unit has.
    __device__ __forceinline__ float accumulate(float sum, const Query& q, const Entity& e) const {
        float t = __fsub_rn(q[0], e[0]), u = __fsub_rn(q[1], e[1]), square = __fmaf_rn(t, t, __fmul_rn(u, u));
        return __fmaf_rn(square, inverse_root(__fadd_rn(square, LEAST)), sum);
    }
    __device__ __forceinline__ float score(float sum, float) const { return __fsub_rn(gamma, sum); }

    __device__ __forceinline__ void backward(float w, const Query& q, const Entity& e, Query& dq, Entity& de) const {
        float t = q[0] - e[0], u = q[1] - e[1];
        w *= inverse_root(fmaf(t, t, fmaf(u, u, LEAST)));
        dq[0] = fmaf(w, -t, dq[0]);
        dq[1] = fmaf(w, -u, dq[1]);
        de[0] = fmaf(w, t, de[0]);
        de[1] = fmaf(w, u, de[1]);
    }
};

/// gamma - sum (relu(|u| c - |v| s) + inside min(|u|, r)), u = A f - B e, v = A e + B f, of query rows [A, B, c, s, r] and
/// entity rows [e, f].
struct Cone : Geometry<5, 2> {
    // A maximum hides a NaN of its first operand: it would have to come from |u|, which the other term has too.
    __device__ __forceinline__ float accumulate(float sum, const Query& q, const Entity& e) const {
        float u = fabsf(__fsub_rn(__fmul_rn(q[0], e[1]), __fmul_rn(q[1], e[0])));
        float v = fabsf(__fmaf_rn(q[0], e[0], __fmul_rn(q[1], e[1])));
        float out = __fmaf_rn(u, q[2], -__fmul_rn(v, q[3]));
        out = out <= 0.0f ? 0.0f : out;
        return __fmaf_rn(inside, u > q[4] ? q[4] : u, __fadd_rn(sum, out));
    }
    __device__ __forceinline__ float score(float sum, float) const { return __fsub_rn(gamma, sum); }

    __device__ __forceinline__ void backward(float w, const Query& q, const Entity& e, Query& dq, Entity& de) const {
        float u = __fsub_rn(__fmul_rn(q[0], e[1]), __fmul_rn(q[1], e[0])), v = fmaf(q[0], e[0], q[1] * e[1]), b = fabsf(u), a = fabsf(v);
        float outside = fmaf(b, q[2], -a * q[3]) > 0.0f ? w : 0.0f;
        bool near = b < q[4];
        float du = copysignf(1.0f, u) * -fmaf(outside, q[2], near ? w * inside : 0.0f);
        float dv = copysignf(1.0f, v) * outside * q[3];
        dq[0] = fmaf(du, e[1], fmaf(dv, e[0], dq[0]));
        dq[1] = fmaf(dv, e[1], fmaf(-du, e[0], dq[1]));
        dq[2] = fmaf(-outside, b, dq[2]);
        dq[3] = fmaf(outside, a, dq[3]);
        if (!near) dq[4] = fmaf(-w, inside, dq[4]);
        de[0] = fmaf(dv, q[0], fmaf(-du, q[1], de[0]));
        de[1] = fmaf(du, q[0], fmaf(dv, q[1], de[1]));
    }
};

__device__ __forceinline__ void spread(float4 v, float (&to)[4]) {
    to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
}

/// Column `k` of four of each part.
template <u32 N> __device__ __forceinline__ void take(const float4 (&from)[N], u32 k, float (&to)[N]) {
#pragma unroll
    for (u32 part = 0; part < N; part++) {
        const float4& v = from[part];
        to[part] = k == 0 ? v.x : k == 1 ? v.y : k == 2 ? v.z : v.w;
    }
}

/// Adds four columns to a sum, in their order.
template <class G>
__device__ __forceinline__ float accumulate(const G& g, float sum, const float4 (&q)[G::QUERY],
                                            const float4 (&e)[G::ENTITY]) {
#pragma unroll
    for (u32 k = 0; k < 4; k++) {
        typename G::Query query;
        typename G::Entity entity;
        take(q, k, query);
        take(e, k, entity);
        sum = g.accumulate(sum, query, entity);
    }
    return sum;
}

/// Adds four columns to what a query adds to all its sums.
template <class G> __device__ __forceinline__ float constant(const G& g, float sum, const float4 (&q)[G::QUERY]) {
#pragma unroll
    for (u32 k = 0; k < 4; k++) {
        typename G::Query query;
        take(q, k, query);
        sum = g.constant(sum, query);
    }
    return sum;
}

/// A function of IN numbers that gives OUT, and its gradient at AT numbers: its inputs or its values. Each has
///   value(x, y)          its values
///   backward(at, dy, dx) its gradient by x from the gradient by its values
template <u32 INPUTS, u32 VALUES, u32 READ> struct Formula {
    static constexpr u32 IN = INPUTS, OUT = VALUES, AT = READ;
    typedef float Inputs[IN];
    typedef float Values[OUT];
    typedef float At[AT];
};

/// clamp(x + 1, least, greatest); NaN stays NaN.
struct BetaParameter : Formula<1, 1, 1> {
    float least, greatest, unused[2];
    __device__ __forceinline__ void value(const Inputs& x, Values& y) const {
        float above = x[0] + 1.0f;
        y[0] = above < least ? least : above > greatest ? greatest : above;
    }
    __device__ __forceinline__ void backward(const At& y, const Values& dy, Inputs& dx) const {
        dx[0] = y[0] > least && y[0] < greatest ? dy[0] : 0.0f;
    }
};

/// 1 / x.
struct Reciprocal : Formula<1, 1, 1> {
    float unused[4];
    __device__ __forceinline__ void value(const Inputs& x, Values& y) const { y[0] = __fdiv_rn(1.0f, x[0]); }
    __device__ __forceinline__ void backward(const At& y, const Values& dy, Inputs& dx) const {
        dx[0] = -y[0] * y[0] * dy[0];
    }
};

/// Sine and cosine of an angle of a few turns at most, as src/backend/cpu/math.rs has them.
__device__ __forceinline__ void sine_cosine(float x, float& sine, float& cosine) {
    float n = rintf(x * 0.636619772f);
    float r = fmaf(n, -7.54979e-8f, fmaf(n, -4.837513e-4f, fmaf(n, -1.5703125f, x))), t = r * r;
    float s = fmaf(fmaf(fmaf(fmaf(2.75573192e-6f, t, -1.98412698e-4f), t, 8.33333333e-3f), t, -1.66666667e-1f), t * r, r);
    float c = fmaf(fmaf(fmaf(fmaf(fmaf(-2.75573192e-7f, t, 2.48015873e-5f), t, -1.38888889e-3f), t, 4.16666667e-2f), t, -0.5f),
                   t, 1.0f);
    int quarter = (int)n;
    sine = quarter & 1 ? c : s;
    cosine = quarter & 1 ? s : c;
    if (quarter & 2) sine = -sine;
    if ((quarter + 1) & 2) cosine = -cosine;
}

/// height tanh(slope x) + shift.
struct Tanh : Formula<1, 1, 1> {
    float slope, height, shift, unused;
    __device__ __forceinline__ void value(const Inputs& x, Values& y) const {
        y[0] = fmaf(height, tanhf(slope * x[0]), shift);
    }
    __device__ __forceinline__ void backward(const At& y, const Values& dy, Inputs& dx) const {
        float t = __fdiv_rn(y[0] - shift, height);
        dx[0] = dy[0] * slope * height * (1.0f - t * t);
    }
};

/// [cos(scale x), sin(scale x)].
struct Direction : Formula<1, 2, 2> {
    float scale, unused[3];
    __device__ __forceinline__ void value(const Inputs& x, Values& y) const { sine_cosine(scale * x[0], y[1], y[0]); }
    __device__ __forceinline__ void backward(const At& y, const Values& dy, Inputs& dx) const {
        dx[0] = scale * (y[0] * dy[1] - y[1] * dy[0]);
    }
};

/// The angle of [x, y].
struct Angle : Formula<2, 1, 2> {
    float least_radius, unused[3];
    __device__ __forceinline__ void value(const Inputs& x, Values& y) const { y[0] = atan2f(x[1], x[0]); }
    __device__ __forceinline__ void backward(const At& x, const Values& dy, Inputs& dx) const {
        float square = x[0] * x[0] + x[1] * x[1], least = least_radius * least_radius;
        float by = __fdiv_rn(dy[0], square < least ? least : square);
        dx[0] = -x[1] * by;
        dx[1] = x[0] * by;
    }
};

/// A sector's beginning and end.
struct Ends : Formula<2, 2, 2> {
    float unused[4];
    __device__ __forceinline__ void value(const Inputs& x, Values& y) const { y[0] = x[0] - x[1], y[1] = x[0] + x[1]; }
    __device__ __forceinline__ void backward(const At&, const Values& dy, Inputs& dx) const {
        dx[0] = dy[0] + dy[1], dx[1] = dy[1] - dy[0];
    }
};

constexpr float PI = 3.14159274f;

/// What a sector leaves of the circle.
struct Complement : Formula<2, 2, 2> {
    float unused[4];
    __device__ __forceinline__ void value(const Inputs& x, Values& y) const {
        y[0] = x[0] >= 0.0f ? x[0] - PI : x[0] + PI, y[1] = PI - x[1];
    }
    __device__ __forceinline__ void backward(const At&, const Values& dy, Inputs& dx) const { dx[0] = dy[0], dx[1] = -dy[1]; }
};

/// [axis, half-aperture, x] to a query row of `Cone`.
struct Sector : Formula<3, 5, 3> {
    float modulus, unused[3];
    __device__ __forceinline__ void value(const Inputs& x, Values& y) const {
        float m = modulus * (1.0f + x[2]), sine, cosine;
        sine_cosine(0.5f * x[0], sine, cosine);
        y[0] = m * cosine, y[1] = m * sine;
        sine_cosine(0.5f * x[1], y[3], y[2]);
        y[4] = m * y[3];
    }
    __device__ __forceinline__ void backward(const At& x, const Values& dy, Inputs& dx) const {
        float m = modulus * (1.0f + x[2]), axis_sine, axis_cosine, sine, cosine;
        sine_cosine(0.5f * x[0], axis_sine, axis_cosine);
        sine_cosine(0.5f * x[1], sine, cosine);
        dx[0] = 0.5f * m * (axis_cosine * dy[1] - axis_sine * dy[0]);
        dx[1] = 0.5f * (cosine * dy[3] - sine * dy[2] + m * cosine * dy[4]);
        dx[2] = modulus * (axis_cosine * dy[0] + axis_sine * dy[1] + sine * dy[4]);
    }
};

} // namespace formulas

/// All geometries and functions: what their kernels' names end or begin with.
#define EACH_GEOMETRY(with)                                                                                   \
    with(l1, L1) with(l2, L2) with(box, Box) with(dot, Dot) with(rotation, Rotation) with(cone, Cone)
#define EACH_FUNCTION(with)                                                                                   \
    with(beta_parameter, BetaParameter) with(reciprocal, Reciprocal) with(tanh, Tanh) with(direction, Direction) \
    with(angle, Angle) with(ends, Ends) with(complement, Complement) with(sector, Sector)
